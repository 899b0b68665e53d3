"""What PyPI alone refuses, beside metadata (MW248): a warning in a wheel, as another index may take it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from manywheels.verify import Finding, Severity, check_wheel
from unit.helpers import the_one, write_wheel

# In parts: PyPI refuses a project whose sdist has a test with the whole words.
HOOK = b"__pyarmor" + b"_enter__"
CALL = b"__pyarmor" + b"__(__name__, __file__, b'')"
BEGIN, END = b"---BEGIN PYE " + b"FILE---", b"---END PYE " + b"FILE---"


def findings(folder: Path, members: Mapping[str, bytes]) -> tuple[Finding, ...]:
    path = write_wheel(folder, tags="py3-none-any", members=members)
    return tuple(finding for finding in check_wheel(path).findings if finding.code == "MW257")


@pytest.mark.parametrize(
    ("name", "content", "program"),
    [
        ("demo/a.py", CALL, "PyArmor"),
        ("demo/a.PY", b"# " + HOOK, "PyArmor"),
        ("demo/a.py", b"x = 1\n" * 40_000 + HOOK + b"\n" * 300_000, "PyArmor"),
        ("demo/a.pye", BEGIN + b"\n" + END, "SourceDefender"),
        ("demo-1.0.dist-info/a.py", HOOK, "PyArmor"),
    ],
)
def test_mw257_marks_of_encryption(tmp_path: Path, name: str, content: bytes, program: str) -> None:
    finding = the_one(findings(tmp_path, {name: content}), "MW257")
    assert (finding.severity, finding.problem.only_pypi_refuses) == (Severity.WARNING, True)
    assert finding.problem.member == name
    assert f"a mark of {program}" in finding.problem.message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("demo/a.txt", HOOK),
        ("demo/a.pyi", HOOK),
        ("demo/a.py", b"pyarmor __pyarmor__(x)"),
        ("demo/a.pye", BEGIN),
        ("demo/a.py", b"#" * (5 << 20) + HOOK),  # longer than what the index looks into
    ],
)
def test_mw257_what_the_index_does_not_look_at(tmp_path: Path, name: str, content: bytes) -> None:
    assert findings(tmp_path, {name: content}) == ()


def test_mw258_the_longest_name(tmp_path: Path) -> None:
    start = f"demo-1.{'1' * (247 - len('demo-1.-py3-none-any.whl'))}"
    found = check_wheel(write_wheel(tmp_path, tags="py3-none-any", start=start)).findings
    assert [(one.code, one.severity) for one in found if one.code == "MW258"] == [("MW258", Severity.WARNING)]
    short = check_wheel(write_wheel(tmp_path, tags="py3-none-any", start=start[:-1])).findings
    assert not [one for one in short if one.code == "MW258"]
