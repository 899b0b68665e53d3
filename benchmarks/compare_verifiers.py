"""Compare what manywheels and other verifiers find in the corpus of broken wheels, tests/corpus.

    python benchmarks/compare_verifiers.py                          print the table
    python benchmarks/compare_verifiers.py --write docs/verify.md   put it between that file's markers

The peers are the newest releases, in their own environment. Each runs on a broken wheel and on its near miss. It finds
the problem if it reports something about the broken wheel, by exit status or by name, that it does not report about the
near miss.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from uv import find_uv_bin

from manywheels import __version__

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "docs"))

from tables import fill  # noqa: E402 - a script of the documents, in no package

PEERS = ("auditwheel", "check-wheel-contents", "abi3audit", "twine", "pip")
ASKED_FOR = {"MW272": ["--import"], "MW273": ["--import"], "MW280": ["--attestations"]}
TIMEOUT = 300.0  # seconds for one run of one tool

Complaints = frozenset[str]


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The exit status and output of a tool."""

    status: int
    output: str
    errors: str

    def lines(self, pattern: str) -> Iterator[str]:
        """Yield the lines' text from a pattern on, without names and numbers, which differ between wheels."""
        for line in f"{self.output}\n{self.errors}".splitlines():
            if found := re.search(pattern, line):
                yield re.sub(r"\S*[\d/]\S*", "…", line[found.start() :])


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A verifier, a column of the table. `complaints` returns what it reports about the wheels of a folder."""

    name: str
    complaints: Callable[[Path], Complaints]


# --- the peers -------------------------------------------------------------------------------------------------------


class Peers:
    """An environment with the newest release of each peer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        uv = find_uv_bin()
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")], check=True)
        self.bin = folder / "venv" / "bin"
        target = ["--python", str(self.bin / "python")]
        subprocess.run([uv, "pip", "install", "--quiet", "--upgrade", *target, *PEERS], check=True)
        listed = subprocess.run([uv, "pip", "list", "--format", "json", *target], check=True, capture_output=True)
        self.versions: Mapping[str, str] = {one["name"]: one["version"] for one in json.loads(listed.stdout)}

    def tools(self) -> tuple[Tool, ...]:
        """Return the peers as columns of the table."""
        return (
            Tool(name="auditwheel", complaints=_of_each(self._auditwheel)),
            Tool(name="check-wheel-contents", complaints=_of_each(self._check_wheel_contents)),
            Tool(name="abi3audit", complaints=_of_each(self._abi3audit)),
            Tool(name="twine", complaints=_of_each(self._twine)),
            Tool(name="pip", complaints=_of_each(self._pip)),
        )

    def _run(self, program: str, *arguments: str) -> RunResult:
        environment = {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}", "NO_COLOR": "1", "COLUMNS": "500"}
        return run(str(self.bin / program), *arguments, environment=environment)

    def _auditwheel(self, wheel: Path) -> Complaints:
        """`show`, which prints the tag that the wheel could have: a complaint if it does not meet its own tags."""
        result = self._run("auditwheel", "show", "--json", "--allow-pure-python-wheel", str(wheel))
        if result.status != 0:
            return frozenset({f"exit status {result.status}"})
        report = json.loads(result.output)
        found = {name for name in ("error", "pyfpe", "ucs2", "unsupported_isa") if report.get(name)}
        if report.get("pure"):
            return frozenset(found)  # it warns about the missing architecture of every pure wheel
        if not _is_within(report.get("overall_tag", ""), _tags(wheel)):
            found.add("does not meet the tag")
        return frozenset({*found, *result.lines(r"^(WARNING|ERROR):")})

    def _check_wheel_contents(self, wheel: Path) -> Complaints:
        result = self._run("check-wheel-contents", "--no-config", str(wheel))
        named = frozenset(re.findall(r": (W\d+): ", result.output))
        return named or _by_status(result)

    def _abi3audit(self, wheel: Path) -> Complaints:
        """Whether its report has violations: its exit status is also 1 for a wheel without abi3 modules."""
        result = self._run("abi3audit", "--report", str(wheel))
        if not result.output.startswith("{"):
            return frozenset(result.lines("Traceback|BadZipFile"))
        results = re.findall(r'"result": (\{.*?"future_abi3_objects": \{.*?\}\})', result.output, re.DOTALL)
        modules = [json.loads(one) for one in results]
        right = all(one["is_abi3"] and one["is_abi3_baseline_compatible"] for one in modules)
        return frozenset() if right else frozenset({"violations of the stable ABI"})

    def _twine(self, wheel: Path) -> Complaints:
        result = self._run("twine", "--no-color", "check", "--strict", str(wheel))
        return frozenset(result.lines(r"\b(ERROR|WARNING)\b")) | _by_status(result)

    def _pip(self, wheel: Path) -> Complaints:
        """An installation into a folder, for the Python and platform of the wheel's tags; its code does not run."""
        asked: list[str] = []
        for tag in sorted(_tags(wheel), key=str)[:1]:
            if found := re.fullmatch(r"(cp|py)3(\d*)", tag.interpreter):
                minor = found[2] or "12"
                gil = "t" if tag.abi.endswith("t") and tag.abi.startswith("cp") else ""
                asked += ["--implementation", "cp", "--python-version", f"3.{minor}.99", "--abi", f"cp3{minor}{gil}"]
                asked += ["--platform", tag.platform] if tag.platform != "any" else []
        with tempfile.TemporaryDirectory(dir=self.folder) as target:
            result = self._run(
                "python", "-I", "-m", "pip", "--isolated", "install", "--no-compile", "--no-deps", "--no-index",
                "--no-input", "--disable-pip-version-check", "--only-binary=:all:", *asked, "--target", target,
                str(wheel),
            )  # fmt: skip
        return frozenset(result.lines(r"^(ERROR|WARNING):")) | _by_status(result)


def run(*argv: str, environment: Mapping[str, str] | None = None) -> RunResult:
    """Run a tool. Raises TimeoutExpired."""
    done = subprocess.run(
        argv, env=environment, check=False, capture_output=True, text=True, errors="replace", timeout=TIMEOUT,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return RunResult(status=done.returncode, output=done.stdout, errors=done.stderr)


def _of_each(complaints: Callable[[Path], Complaints]) -> Callable[[Path], Complaints]:
    """Return a function for all wheels of a folder, from one for a single wheel."""
    return lambda folder: frozenset().union(*(complaints(wheel) for wheel in sorted(folder.glob("*.whl"))))


def _by_status(result: RunResult) -> Complaints:
    return frozenset({"exit status"} if result.status != 0 else ())


def _tags(wheel: Path) -> frozenset[Tag]:
    try:
        return parse_wheel_filename(wheel.name)[3]
    except InvalidWheelFilename:
        return frozenset()


def _is_within(met: str, claimed: frozenset[Tag]) -> bool:
    """Whether a policy is at least as old as each of the tags, as manylinux_2_17 is for manylinux_2_28."""
    asked = [_policy(tag.platform) for tag in claimed]
    found = _policy(met)
    return all(
        wanted is None or (found is not None and found[0] == wanted[0] and found[1] <= wanted[1]) for wanted in asked
    )


def _policy(tag: str) -> tuple[str, tuple[int, int]] | None:
    found = re.match(r"(many|musl)linux_(\d+)_(\d+)_", tag)
    return (found[1], (int(found[2]), int(found[3]))) if found else None


# --- manywheels ------------------------------------------------------------------------------------------------------


def manywheels(folder: Path) -> Complaints:
    """Return the codes that `manywheels verify` reports for a folder, with the option that the check needs."""
    extra = ASKED_FOR.get(folder.parent.name, [])
    trust = {"MANYWHEELS_TRUST_CONFIG": str(folder / "trust-config.json")}  # exists beside signed wheels
    result = run(
        sys.executable, "-m", "manywheels", "verify", "--format", "json", *extra, str(folder),
        environment={**os.environ, **trust},
    )  # fmt: skip
    verdict = json.loads(result.output)
    findings = [*verdict["set"], *(finding for wheel in verdict["wheels"] for finding in wheel["findings"])]
    return frozenset(finding["code"] for finding in findings)


# --- the table -------------------------------------------------------------------------------------------------------


def mark(tool: Tool, case: Path) -> str:
    """Return a tool's mark for a case: ✓ finds it, ≈ reports the near miss alike, a dash if it reports nothing."""
    broken, near = tool.complaints(case / "broken"), tool.complaints(case / "near-miss")
    if broken - near:
        return "✓"
    return "≈" if broken else "\N{EN DASH}"


def table(corpus: Path, tools: tuple[Tool, ...], versions: Mapping[str, str]) -> str:
    """Return the comparison as Markdown, with a row for each case, and the totals."""
    cases = json.loads((corpus / "corpus.json").read_text("utf-8"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        marks = {code: [pool.submit(mark, tool, corpus / code) for tool in tools] for code in cases}
        rows = {code: [one.result() for one in row] for code, row in marks.items()}
    heads = " | ".join(tool.name for tool in tools)
    lines = [f"| code | what is wrong in the wheel | {heads} |", f"| --- | --- |{' :-: |' * len(tools)}"]
    lines += [f"| {code} | {cases[code]['breaks']} | {' | '.join(row)} |" for code, row in rows.items()]
    totals = [sum(row[column] == "✓" for row in rows.values()) for column in range(len(tools))]
    lines.append(f"| | **found, of {len(rows)}** | {' | '.join(f'**{total}**' for total in totals)} |")
    used = ", ".join(f"{name} {versions[name]}" for name in PEERS)
    lines += ["", f"{datetime.now(UTC).date()}: {used}, manywheels {__version__}."]
    return "\n".join(lines)


def main() -> None:
    """Print the comparison, or write it into a document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table between the markers of this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="manywheels-compare-") as name:
        folder = Path(name)
        corpus = folder / "corpus"
        subprocess.run([sys.executable, "-m", "tests.corpus", str(corpus)], cwd=ROOT, check=True, capture_output=True)
        peers = Peers(folder)
        tools = (*peers.tools(), Tool(name="manywheels", complaints=manywheels))
        made = table(corpus, tools, peers.versions)
    if options.write:
        options.write.write_text(fill(options.write.read_text("utf-8"), "comparison", made), encoding="utf-8")
    else:
        print(made)


if __name__ == "__main__":
    main()
