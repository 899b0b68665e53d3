"""The corpus: each check finds the wheel that breaks it, and nothing else in it; of its near miss it says nothing."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from corpus.generator import CASES, Case
from corpus.makers import FROM_SDIST
from manywheels.build.target.sdist_proof import differences
from manywheels.core.cancellation import Cancellation
from manywheels.plan.interpreters import Interpreter
from manywheels.verify import collect
from manywheels.verify.attestations import attested
from manywheels.verify.checks import CHECKS
from manywheels.verify.installs import chosen_by_installers, imports, interpreter_for, requires_python
from manywheels.verify.rules import Rules
from manywheels.verify.run import verify_wheels
from manywheels.verify.sdists import check_sdists
from manywheels.wheels.manifest import read_manifest
from manywheels.wheels.output import MANIFEST
from manywheels.wheels.wheelfile import parse_name

ROOT = Path(__file__).resolve().parents[3]
INSTALLERS = ("MW270", "MW271")
IMPORTS, TRIED, ATTESTED, SDIST_IS_WHOLE = "MW272", "MW273", "MW280", "MW291"
THIS_PYTHON = Interpreter(
    abi=f"cp3{sys.version_info.minor}{'t' if sysconfig.get_config_var('Py_GIL_DISABLED') else ''}",
    version=platform.python_version(), path=Path(sys.executable), source="this one",
)  # fmt: skip


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that is gone after the test: some wheels are large."""
    with TemporaryDirectory(prefix="manywheels-corpus-") as name:
        yield Path(name)


def codes_of(case: Case, folder: Path) -> set[str]:
    """Return every code that is found in a folder's wheels; what starts processes is asked where the case is of it."""
    manifest = read_manifest(folder) if (folder / MANIFEST).is_file() else None
    wheels, sdists = collect([folder])
    found = {finding.code for finding in verify_wheels(wheels, Rules(), manifest=manifest).findings}
    reports, _ = check_sdists(sdists, manifest, Rules(), Cancellation())
    found |= {finding.code for report in reports for finding in report.findings}
    for wheel in wheels:
        if case.code == SDIST_IS_WHOLE and list(differences(folder / FROM_SDIST / wheel.name, wheel)):
            found.add(SDIST_IS_WHOLE)
        if case.code in INSTALLERS:
            found |= {finding.code for finding in chosen_by_installers(wheel)}
        if case.code == ATTESTED:
            trust = {"MANYWHEELS_TRUST_CONFIG": str(folder / "trust-config.json")}
            found |= {finding.code for finding in attested(None, trust)(wheel)}
        interpreter = interpreter_for(parse_name(wheel.name), [THIS_PYTHON], requires_python(wheel))
        if case.code == TRIED and interpreter is None:
            found.add(TRIED)
        if case.code == IMPORTS and interpreter:
            found |= {finding.code for finding in imports(wheel, interpreter, Cancellation())}
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.code)
def test_the_broken_one_breaks_just_its_check(case: Case, folder: Path) -> None:
    case.make_broken(folder)
    assert codes_of(case, folder) == {case.code, *case.also}, case.breaks


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.code)
def test_the_near_miss_is_clean(case: Case, folder: Path) -> None:
    case.make_near_miss(folder)
    assert codes_of(case, folder) == set(), case.near


def test_each_check_has_one_case() -> None:
    assert [case.code for case in CASES] == [entry.code for entry in CHECKS]
    for case in CASES:
        for sentence in (case.breaks, case.near):
            assert re.fullmatch(r"[A-Z0-9].*\.", sentence), case.code
        assert case.code not in case.also


def test_the_same_bytes_each_time(tmp_path: Path) -> None:
    case = next(case for case in CASES if case.code == "MW220")
    made = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        made.append(case.make_broken(tmp_path / name).read_bytes())
    assert made[0] == made[1]


def test_the_command_line_says_how_it_is_called() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.corpus", "--help"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert "FOLDER" in done.stdout


def test_every_check_has_its_page() -> None:
    page = (Path(__file__).parents[3] / "docs" / "verify.md").read_text("utf-8")
    assert re.findall(r"^### (MW2\d\d) ", page, re.MULTILINE) == [entry.code for entry in CHECKS]
    for entry in CHECKS:  # as `make docs` writes it
        assert f"\n{entry.must_hold} {entry.reason} *({entry.severity})*\n" in page
