"""Write what is said of each check, in docs/verify.md and by `explain`, from the catalogue and the corpus of wheels.

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
EXAMPLES = ROOT / "src" / "manywheels" / "data" / "check_examples.toml"  # for `explain`
HEAD = "# What `manywheels explain` says of the checks, from the corpus of broken wheels; written by `make docs`.\n"
OPTIONS = {"MW272": ["--import"], "MW273": ["--import"], "MW280": ["--attestations"]}


def check_examples() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return, for each check, what the corpus's wheel breaks, and what `verify` finds."""
    with tempfile.TemporaryDirectory(prefix="manywheels-docs-") as name:
        corpus = Path(name) / "corpus"
        subprocess.run([sys.executable, "-m", "tests.corpus", str(corpus)], cwd=ROOT, check=True, capture_output=True)
        cases = json.loads((corpus / "corpus.json").read_text("utf-8"))
        return {
            entry.code: (cases[entry.code]["breaks"], _finding(entry.code, corpus / entry.code / "broken"))
            for entry in CHECKS
        }


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


def _table(code: str, breaks: str, finding: dict[str, Any]) -> str:
    place = f"{finding['member']} " if finding["member"] else ""
    said = {"example": breaks, "message": f"{place}{finding['message']}", "cure": finding["remedy"]}
    written = "".join(f"{key} = {json.dumps(text, ensure_ascii=False)}\n" for key, text in said.items())
    return f"[{code}]\n{written}"


if __name__ == "__main__":
    examples = check_examples()
    sections = "\n\n".join(_section(entry, *examples[entry.code]) for entry in CHECKS)
    PAGE.write_text(fill(PAGE.read_text("utf-8"), "checks", sections), encoding="utf-8")
    EXAMPLES.write_text(HEAD + "".join(_table(code, *found) for code, found in examples.items()), encoding="utf-8")
