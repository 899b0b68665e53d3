"""RECORD: every file is listed once, and every hash and size is the file's own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from manywheels.verify.checks import record
from manywheels.verify.model import open_wheel
from manywheels.wheels.record import parse_record
from unit.wheelmaker import DIST_INFO, RECORD, record_of, wheel_spec, wheel_texts, write_spec
from unit.zipmaker import MemberSpec, ZipFileSpec

NAME = "demo/__init__.py"
CONTENT = b"answer = 42\n"
HONEST = {NAME: CONTENT, **wheel_texts()}


def found(folder: Path, spec: ZipFileSpec) -> list[str]:
    with open_wheel(write_spec(folder, spec)) as wheel:
        findings = [finding for check in record.CHECKS for finding in check.findings(wheel)]
    assert all(finding.problem.remedy.endswith(".") for finding in findings)
    return [f"{finding.code} {finding.problem.member or ''} {finding.problem.message}" for finding in findings]


def found_in(folder: Path, content: bytes, *members: MemberSpec) -> list[str]:
    return found(folder, wheel_spec(*members, record=content))


def digest(content: bytes, algorithm: str = "sha256") -> str:
    hashed = base64.urlsafe_b64encode(hashlib.new(algorithm, content).digest()).rstrip(b"=").decode()
    return f"{algorithm}={hashed}"


def changed(line: str | None, *more: str, honest: Mapping[str, bytes] = HONEST) -> bytes:
    """Return an honest RECORD in which the line of the package's only file is another one (None: none)."""
    lines = record_of(honest).decode().splitlines()[1:]
    return "".join(f"{one}\n" for one in (*([line] if line is not None else []), *lines, *more)).encode()


def right(path: str = NAME) -> str:
    return f"{path},{digest(CONTENT)},{len(CONTENT)}"


def test_honest_records(tmp_path: Path) -> None:
    assert found(tmp_path, wheel_spec()) == []
    assert found_in(tmp_path, changed(right())) == []


@pytest.mark.parametrize(
    "name", ["demo/a b.txt", "demo/a,b.txt", 'demo/a"b.txt', "demo/ä.txt", "demo/日本.txt", "demo/it's"]
)
def test_names_that_must_be_quoted(tmp_path: Path, name: str) -> None:
    assert found(tmp_path, wheel_spec(MemberSpec(name=name, content=b"x"))) == []


# --- MW230: the table -------------------------------------------------------------------------------------------------


def test_mw230_there_is_no_record(tmp_path: Path) -> None:
    spec = wheel_spec()
    assert found(tmp_path, ZipFileSpec(members=spec.members[:-1])) == [f"MW230  there is no {RECORD}"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (changed(right(), right()), f"lists `{NAME}` more than once"),
        (changed(right(), ""), "has 0 columns"),
        (changed(right(), "demo/x"), "has 1 columns"),
        (changed(right(), "a,b,c,d"), "has 4 columns"),
        (changed(right(), '"demo/x'), "cannot be read beyond line"),
        (changed(right()) + b"\xff\xfe,,\n", "cannot be read beyond line"),
        (changed(right()) + b"x" * 140_000, "a line has more than"),
        (changed(right("./demo/__init__.py")), f"not written as `{NAME}`"),
        (changed(right("demo//__init__.py")), f"not written as `{NAME}`"),
        (changed(right("demo\\__init__.py")), f"not written as `{NAME}`"),
        (changed(right("/demo/__init__.py")), f"not written as `{NAME}`"),
        (changed(right("demo/x/../__init__.py")), f"not written as `{NAME}`"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mw230_what_is_no_table_of_files(tmp_path: Path, content: bytes, told: str) -> None:
    lines = found_in(tmp_path, content)
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"MW230 {RECORD} ")
    assert told in lines[0]


@pytest.mark.parametrize("content", [changed(right()).replace(b"\n", b"\r\n"), changed(right()).rstrip(b"\n")])
def test_mw230_line_ends_do_not_matter(tmp_path: Path, content: bytes) -> None:
    assert found_in(tmp_path, content) == []


# --- MW231: files -----------------------------------------------------------------------------------------------------


def test_mw231_files_that_are_not_listed(tmp_path: Path) -> None:
    assert found_in(tmp_path, changed(None)) == [f"MW231 {NAME} is not listed in RECORD"]


def test_mw231_files_that_are_not_there(tmp_path: Path) -> None:
    (line,) = found_in(tmp_path, changed(right(), f"demo/gone.py,{digest(b'')},0"))
    assert line == "MW231 demo/gone.py is listed in RECORD, but is not in the wheel"


def test_mw231_record_lists_itself(tmp_path: Path) -> None:
    content = b"".join(line + b"\n" for line in changed(right()).splitlines() if not line.startswith(RECORD.encode()))
    assert found_in(tmp_path, content) == [f"MW231 {RECORD} is not listed in RECORD"]


@pytest.mark.parametrize(("name", "exempt"), [("RECORD.jws", True), ("RECORD.p7s", True), ("RECORD.sig", False)])
def test_mw231_signatures_need_not_be_listed(tmp_path: Path, name: str, exempt: bool) -> None:  # noqa: FBT001
    signature = MemberSpec(name=f"{DIST_INFO}/{name}", content=b"signed")
    lines = found(tmp_path, wheel_spec(signature, unlisted=[f"{DIST_INFO}/{name}"]))
    assert lines == ([] if exempt else [f"MW231 {DIST_INFO}/{name} is not listed in RECORD"])


def test_mw231_folders_need_not_be_listed(tmp_path: Path) -> None:
    assert found(tmp_path, wheel_spec(MemberSpec(name="demo/", mode=0o40755))) == []


def test_mw231_a_member_that_cannot_be_read_is_listed_all_the_same(tmp_path: Path) -> None:
    """What is wrong with it is told once, as MW226."""
    assert found(tmp_path, wheel_spec(MemberSpec(name="demo/x", content=b"x", data=b"\xff"))) == []


# --- MW232: hashes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512", "blake2b", "sha3_256"])
def test_mw232_hashes_that_count(tmp_path: Path, algorithm: str) -> None:
    assert found_in(tmp_path, changed(f"{NAME},{digest(CONTENT, algorithm)},{len(CONTENT)}")) == []
    right, wrong = digest(CONTENT, algorithm), digest(b"other", algorithm)
    (line,) = found_in(tmp_path, changed(f"{NAME},{wrong},{len(CONTENT)}"))
    assert line == f"MW232 {NAME} has the hash `{right}`; RECORD has `{wrong}`"


@pytest.mark.parametrize(
    ("hashed", "told"),
    [
        ("", "has no hash"),
        (digest(CONTENT, "md5"), "weak or unknown algorithm (`md5`)"),
        (digest(CONTENT, "sha1"), "weak or unknown algorithm (`sha1`)"),
        (digest(CONTENT, "sha224"), "weak or unknown algorithm (`sha224`)"),
        ("shake_128=abc", "weak or unknown algorithm (`shake_128`)"),
        ("crc32=abc", "weak or unknown algorithm (`crc32`)"),
        (digest(CONTENT) + "=", "has the hash"),
        ("sha256=" + hashlib.sha256(CONTENT).hexdigest(), "has the hash"),
        ("sha256=", "has the hash"),
    ],
)
def test_mw232_hashes_that_do_not(tmp_path: Path, hashed: str, told: str) -> None:
    (line,) = found_in(tmp_path, changed(f"{NAME},{hashed},{len(CONTENT)}"))
    assert line.startswith(f"MW232 {NAME} ")
    assert told in line


def test_mw232_record_has_no_hash_of_itself(tmp_path: Path) -> None:
    content = changed(right()).replace(f"{RECORD},,".encode(), f"{RECORD},{digest(b'')},".encode())
    (line,) = found_in(tmp_path, content)
    assert line.startswith(f"MW232 {RECORD} ")


# --- MW233: sizes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "fits"), [("12", True), ("", True), ("13", False), ("-12", False), ("012", False), ("twelve", False)]
)
def test_mw233_sizes(tmp_path: Path, size: str, fits: bool) -> None:  # noqa: FBT001
    lines = found_in(tmp_path, changed(f"{NAME},{digest(CONTENT)},{size}"))
    assert lines == ([] if fits else [f"MW233 {NAME} has 12 bytes; RECORD has `{size}`"])


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_lines_without_end() -> None:
    found = parse_record(b"".join(b"%d,,\n" % number for number in range(140_000)))
    assert not found.complete
    assert len(found.rows) == 131_070


def test_problems_are_told_within_bounds(tmp_path: Path) -> None:
    gone = (f"demo/{number},{digest(b'')},0" for number in range(60))
    lines = found_in(tmp_path, changed(right(), *gone))
    assert len(lines) == 51
    assert lines[-1] == "MW231  there are 10 more problems like these"
