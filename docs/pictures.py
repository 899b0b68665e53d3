"""Take docs/report.png and docs/summary.png: the pages of a real `manywheels build`, in a real browser.

python docs/pictures.py [PACKAGE_DIR]     needs Chromium, npm, and the packages of the development group
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from containers.chromium import View, browser  # noqa: E402 - the tests' own browser
from containers.pages import fetch_mermaid, write_summary  # noqa: E402
from manywheels.wheels.manifest import read_manifest  # noqa: E402

_VIEW = View(width=1200, scheme="light")
_LONGEST = 1300  # pixels


def main() -> None:
    """Build a project and take the pictures."""
    project = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "examples" / "spam")
    with tempfile.TemporaryDirectory(prefix="manywheels-pictures-") as name:
        folder = Path(name)
        report, dist = folder / "report.html", folder / "dist"
        command = ["build", project, "--output-dir", str(dist), "--report", str(report)]
        subprocess.run([sys.executable, "-m", "manywheels", *command], check=False)  # a failed build has more to show
        summary = write_summary(read_manifest(dist), folder / "summary.html", fetch_mermaid(folder), _VIEW.scheme)
        with browser() as page:
            for source, picture in ((report, "report.png"), (summary, "summary.png")):
                page.open(source, _VIEW)
                page.evaluate("window.drawn")
                height = min(_LONGEST, page.evaluate("document.body.getBoundingClientRect().bottom"))
                page.picture(ROOT / "docs" / picture, height=height)


if __name__ == "__main__":
    main()
