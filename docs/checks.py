"""Write the sections of docs/verify.md, one for each check, from the catalogue and the corpus of wheels.

python docs/checks.py
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from manywheels.build.target.sdist_proof import differences
from manywheels.verify.checks import CHECKS, SDIST_SAME
from manywheels.verify.model import CheckInfo
from tables import fill

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "verify.md"
OPTIONS = {"MW272": ["--import"], "MW273": ["--import"], "MW280": ["--attestations"]}


def verify_pages() -> str:
    """Return a section for each check, ordered by code."""
    with tempfile.TemporaryDirectory(prefix="manywheels-docs-") as name:
        corpus = Path(name) / "corpus"
        subprocess.run([sys.executable, "-m", "tests.corpus", str(corpus)], cwd=ROOT, check=True, capture_output=True)
        cases = json.loads((corpus / "corpus.json").read_text("utf-8"))
        sections = [
            _section(entry, cases[entry.code]["breaks"], _finding(entry.code, corpus / entry.code / "broken"))
            for entry in CHECKS
        ]
    return "\n\n".join(sections)


def _finding(code: str, folder: Path) -> dict[str, Any]:
    """Return the finding of `manywheels verify`, with this code, in a folder with a broken wheel."""
    if code == SDIST_SAME.code:  # only `build` has both wheels
        (wheel,) = folder.glob("*.whl")
        problem = next(iter(differences(folder / "from-sdist" / wheel.name, wheel)))
        return {"member": None, "message": problem.message, "remedy": problem.remedy}
    options = OPTIONS.get(code, [])
    done = subprocess.run(
        [sys.executable, "-m", "manywheels", "verify", "--format", "json", *options, str(folder)],
        cwd=folder, check=False, capture_output=True, text=True,
    )  # fmt: skip
    verdict = json.loads(done.stdout)
    findings = [
        *verdict["set"],
        *(finding for file in (*verdict["wheels"], *verdict["sdists"]) for finding in file["findings"]),
    ]
    finding: dict[str, Any] = next(finding for finding in findings if finding["code"] == code)
    # Replace what differs in each run: the path of the folder, and digests.
    message = finding["message"].replace(f"{folder}/", "")
    for number, digest in enumerate(dict.fromkeys(re.findall(r"\b[0-9a-f]{64}\b", message)), 1):
        message = message.replace(digest, f"{str(number) * 8}…")
    finding["message"] = message
    return finding


def _section(entry: CheckInfo, breaks: str, finding: dict[str, Any]) -> str:
    place = f"{finding['member']} " if finding["member"] else ""
    return "\n".join([
        f"### {entry.code} {entry.title}",
        "",
        f"{entry.must_hold} {entry.reason} *({entry.severity})*",
        "",
        f"For example: {breaks}",
        "",
        f"    {entry.code} {place}{finding['message']}",
        "",
        f"What to do: {finding['remedy']}",
    ])  # fmt: skip


if __name__ == "__main__":
    PAGE.write_text(fill(PAGE.read_text("utf-8"), "checks", verify_pages()), encoding="utf-8")
