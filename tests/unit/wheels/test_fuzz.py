"""Wheels that were damaged, or made to harm: whatever they are, checking them ends soon, with findings or one error.

And where the archive's checks find nothing, Python's own zipfile, the one that pip reads wheels with, sees the same.
"""

from __future__ import annotations

import base64
import hashlib
import resource
import struct
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import auditwheel.policy  # noqa: F401 - loaded here, so that no one example bears its time
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manywheels.errors import WheelFileError
from manywheels.verify import check_wheel
from manywheels.verify.checks.archive import CHECKS
from manywheels.verify.model import Member, Wheel, open_wheel
from scale import scaled
from unit.elfmaker import SharedObject, Symbol
from unit.helpers import PLATFORM
from unit.wheelmaker import DIST_INFO, RECORD, record_of, wheel_spec
from unit.zipmaker import DEFLATED, DESCRIPTOR, STORED, UTF8, Lies, MemberSpec, ZipFileSpec

WHEEL_NAME: Final = f"demo-1.0-cp312-cp312-{PLATFORM}.whl"
EXTENSION: Final = SharedObject(symbols=(Symbol(name="malloc", version="GLIBC_2.2.5"),)).to_bytes()
HONEST: Final = wheel_spec(
    MemberSpec(name="demo/_core.cpython-312-x86_64-linux-gnu.so", content=EXTENSION, mode=0o100755),
    MemberSpec(name="demo/data/", method=STORED, mode=0o40755, dos_attributes=0x10),
    MemberSpec(name="demo/data/zeros", content=bytes(100_000)),
    MemberSpec(name="demo/data/é", content=b"stored", method=STORED, zip64=True),
    MemberSpec(name="demo.pth", content=b"import demo\n"),
    wheel_name=WHEEL_NAME,
)
HONEST_BYTES: Final = HONEST.to_bytes()
SECONDS: Final = 2.0  # of the processor
MEMORY: Final = 200_000  # KiB

EDGES = st.sampled_from([0, 1, 2, 8, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, len(HONEST_BYTES)])
NAMES = st.sampled_from(
    [b"", b"/", b"..", b"../x", b"a\0b", b"demo", b"DEMO/data/", b"\xff", b"demo\\x", b"x" * 0xFFFF, b"a/" * 2000,
     RECORD.encode(), f"{DIST_INFO}/METADATA".encode(), f"{DIST_INFO}/WHEEL".encode(), b"other-1.dist-info/WHEEL"]
) | st.binary(max_size=30)  # fmt: skip
EXTRAS = st.binary(max_size=40) | st.builds(
    lambda field, length, content: struct.pack("<HH", field, length) + content,
    st.sampled_from([1, 0x7075, 0x5455, 0x9901]), st.integers(0, 40), st.binary(max_size=40),
)  # fmt: skip
NUMBERS = EDGES | st.integers(0, 0xFFFFFFFF)
SHORTS = st.sampled_from([0, 1, 8, 9, 14, 20, 63, 64, DESCRIPTOR, UTF8, 0xFFFF]) | st.integers(0, 0xFFFF)


def maybe(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Mostly the truth: an archive of lies alone is not read far."""
    return st.one_of(st.none(), st.none(), st.none(), st.none(), strategy)


LIES = st.builds(
    Lies, version=maybe(SHORTS), name=maybe(NAMES), flags=maybe(SHORTS), method=maybe(SHORTS), crc=maybe(NUMBERS),
    compressed=maybe(NUMBERS), size=maybe(NUMBERS), extra=maybe(EXTRAS), offset=maybe(NUMBERS),
)  # fmt: skip
MEMBERS = st.builds(
    MemberSpec, name=NAMES, content=st.binary(max_size=200), method=st.sampled_from([STORED, DEFLATED]),
    mode=st.integers(0, 0xFFFF), data=maybe(st.binary(max_size=200)), zip64=st.booleans(), local=LIES, central=LIES,
    before=st.just(b"") | st.binary(max_size=30), descriptor=st.just(b"") | st.binary(max_size=30),
    listed=st.sampled_from([True, True, True, False]), present=st.sampled_from([True, True, True, False]),
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def memory() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY


def examine(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, WHEEL_NAME)
        path.write_bytes(content)
        started = time.process_time()
        with suppress(WheelFileError):
            check_wheel(path)
        assert time.process_time() - started < SECONDS
        with suppress(WheelFileError), open_wheel(path) as wheel:
            if not any(list(check.run(wheel)) for check in CHECKS):
                assert_python_sees_the_same(wheel)


def assert_python_sees_the_same(wheel: Wheel) -> None:
    with zipfile.ZipFile(wheel.path) as archive:
        assert [info.filename for info in archive.infolist()] == [entry.raw.decode() for entry in wheel.entries]
        for info in archive.infolist():
            if not info.is_dir():
                digest = base64.urlsafe_b64encode(hashlib.sha256(archive.read(info)).digest()).rstrip(b"=").decode()
                assert {f"sha256={digest}"} == {
                    member.digest for entry, member in zip(wheel.entries, _members(wheel), strict=True)
                    if member and entry.raw.decode() == info.filename
                }  # fmt: skip


def _members(wheel: Wheel) -> Iterator[Member | None]:
    return (wheel.members.get(entry.name) for entry in wheel.entries)


def test_the_honest_wheel_is_one() -> None:
    examine(HONEST_BYTES)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, WHEEL_NAME)
        path.write_bytes(HONEST_BYTES)
        with open_wheel(path) as wheel:
            assert not any(list(check.run(wheel)) for check in CHECKS)


@settings(max_examples=scaled(80, least=20), deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["flip", "insert", "delete", "repeat"]),
            st.integers(0, len(HONEST_BYTES)),
            st.binary(min_size=1, max_size=12),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_damaged_wheels(damages: list[tuple[str, int, bytes]]) -> None:
    content = bytearray(HONEST_BYTES)
    for kind, place, new in damages:
        if kind == "insert":
            content[place:place] = new
        elif kind == "delete":
            del content[place : place + len(new)]
        elif kind == "repeat":
            content[place:place] = content[place : place + 40 * len(new)]
        else:
            content[place : place + len(new)] = new
    examine(bytes(content))


FIELDS: Final = tuple(
    (start + offset, size)
    for signature, sizes in (
        (b"PK\3\4", (4, 2, 2, 2, 2, 2, 4, 4, 4, 2, 2)),
        (b"PK\1\2", (4, 2, 2, 2, 2, 2, 2, 4, 4, 4, 2, 2, 2, 2, 2, 4, 4)),
        (b"PK\5\6", (4, 2, 2, 2, 2, 4, 4, 2)),
    )
    for start in range(len(HONEST_BYTES))
    if HONEST_BYTES.startswith(signature, start)
    for offset, size in ((sum(sizes[:index]), size) for index, size in enumerate(sizes))
)


@settings(max_examples=scaled(80, least=20), deadline=None)
@given(st.lists(st.tuples(st.sampled_from(FIELDS), NUMBERS), min_size=1, max_size=3))
def test_fields_that_lie(lies: list[tuple[tuple[int, int], int]]) -> None:
    content = bytearray(HONEST_BYTES)
    for (place, size), value in lies:
        content[place : place + size] = (value & (256**size - 1)).to_bytes(size, "little")
    examine(bytes(content))


@settings(max_examples=scaled(60, least=20), deadline=None)
@given(
    members=st.lists(MEMBERS, min_size=1, max_size=4),
    ends=st.fixed_dictionaries(
        {},
        optional={
            "prefix": st.binary(max_size=30), "counted": st.booleans(), "gap": st.binary(max_size=30),
            "after": st.binary(max_size=30), "comment": st.binary(max_size=30), "tail": st.binary(max_size=30),
            "zip64": st.booleans(), "count": SHORTS, "count_here": SHORTS, "directory_size": NUMBERS,
            "directory_offset": NUMBERS, "comment_size": SHORTS, "disk": SHORTS, "locator_offset": NUMBERS,
        },
    ),
)  # fmt: skip
def test_wheels_made_to_lie(members: list[MemberSpec], ends: dict[str, object]) -> None:
    spec = replace(HONEST, members=(*HONEST.members[:3], *members, *HONEST.members[3:]))
    examine(replace(spec, **ends).to_bytes())  # type: ignore[arg-type]


# All of Unicode would cost Hypothesis 200 MB.
TEXTS = st.text("abc019=,\"'/\\.- \n\r\t\0\x1bé日\u202e\U0001f600", max_size=40)
ROWS = st.tuples(
    st.sampled_from([*(str(member.name) for member in HONEST.members), "../x", "/x", "", "a\0b", '"', "\r"]) | TEXTS,
    st.sampled_from(["", "sha256=", "md5=x", "sha512=x", "shake_128=x", "=", "sha256"]) | TEXTS,
    st.sampled_from(["", "0", "-1", "9" * 5000, "1e9", "x"]) | TEXTS,
).map(",".join)


@settings(max_examples=scaled(40, least=20), deadline=None)
@given(st.lists(ROWS, max_size=6), st.booleans())
def test_records_made_to_lie(rows: list[str], honest: bool) -> None:  # noqa: FBT001
    files = {str(member.name): member.content for member in HONEST.members[:-1] if not str(member.name).endswith("/")}
    content = "\n".join(rows).encode("utf-8", "surrogatepass") + record_of(files) * honest
    record = replace(HONEST.members[-1], content=content)
    examine(ZipFileSpec(members=(*HONEST.members[:-1], record)).to_bytes())
