"""The archive's checks: each lie in a zip file is found as what it is, and its honest neighbour passes."""

from __future__ import annotations

import random
import stat
import struct
import tracemalloc
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from manywheels.data import table
from manywheels.errors import WheelFileError
from manywheels.verify import check_wheel
from manywheels.verify.checks import archive, record
from manywheels.verify.model import Finding, open_wheel
from manywheels.wheels.archive import open_archive
from scale import scaled
from unit.wheelmaker import DIST_INFO, WHEEL_NAME, wheel_spec, write_spec
from unit.zipmaker import DEFLATED, DESCRIPTOR, ENCRYPTED, STORED, UTF8, Lies, MemberSpec, ZipFileSpec

FILE = "demo/data.bin"
CONTENT = b"some bytes that deflate, some bytes that deflate"
MIB = 1 << 20
LIMITS = table("index")["archive"]


def member(name: str | bytes = FILE, **fields: object) -> MemberSpec:
    return MemberSpec(**{"name": name, "content": CONTENT, **fields})  # type: ignore[arg-type]


def findings_of(path: Path) -> list[Finding]:
    """What the archive's and RECORD's checks say of a wheel; the others have tests of their own."""
    with open_wheel(path) as wheel:
        return [finding for check in (*archive.CHECKS, *record.CHECKS) for finding in check.findings(wheel)]


def found(folder: Path, spec: ZipFileSpec) -> list[str]:
    findings = findings_of(write_spec(folder, spec))
    for finding in findings:
        assert finding.problem.remedy.endswith(".")
        assert str(finding).isprintable()
    return [str(finding) for finding in findings]


def codes(told: list[str]) -> list[str]:
    return [line.split()[0] for line in told]


def spec_with(*members: MemberSpec, **fields: object) -> ZipFileSpec:
    return replace(wheel_spec(*members), **fields)  # type: ignore[arg-type]


# --- honest archives --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(wheel_spec(), id="nothing but a file"),
        pytest.param(wheel_spec(member(method=STORED)), id="stored"),
        pytest.param(wheel_spec(member(content=b"")), id="an empty file"),
        pytest.param(wheel_spec(member(content=b"", method=STORED)), id="an empty file, stored"),
        pytest.param(
            wheel_spec(member(name="demo/", content=b"", method=STORED, mode=0o40755, dos_attributes=0x10)),
            id="a folder",
        ),
        pytest.param(wheel_spec(member(mode=0)), id="no mode"),
        pytest.param(wheel_spec(member(mode=0o100755)), id="executable"),
        pytest.param(wheel_spec(member(zip64=True)), id="a member of zip64"),
        pytest.param(wheel_spec(member().lying(version=45)), id="version 4.5"),
        pytest.param(wheel_spec(member().lying(flags=0x2)), id="deflated with more effort"),
        pytest.param(wheel_spec(member(name="demo/naïve-日本語.txt")), id="a name in UTF-8"),
        pytest.param(wheel_spec(member().lying(extra=struct.pack("<HHBL", 0x5455, 5, 1, 1_700_000_000))), id="a time"),
        pytest.param(spec_with(member(), zip64=True), id="zip64"),
    ],
)
def test_honest_archives_pass(tmp_path: Path, spec: ZipFileSpec) -> None:
    assert found(tmp_path, spec) == []
    assert zipfile.ZipFile(tmp_path / WHEEL_NAME).testzip() is None


def test_an_archive_of_pythons_own_zipfile(tmp_path: Path) -> None:
    path = tmp_path / WHEEL_NAME
    honest = wheel_spec(member(), member(name="demo/é", content=b"\0" * MIB))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zip_file:
        for one in honest.members:
            with zip_file.open(zipfile.ZipInfo(str(one.name)), "w", force_zip64=True) as stream:
                stream.write(one.content)
    assert findings_of(path) == []


# --- MW220: structure -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (spec_with(prefix=b"#!/bin/sh\n"), "the 10 bytes at offset 0 are of no member"),
        (spec_with(prefix=b"#!/bin/sh\n", counted=False), "10 bytes before the archive"),
        (spec_with(tail=b"\n"), "1 bytes after the archive"),
        (spec_with(tail=b"\0" * 70_000), None),
        (spec_with(comment=b"he\x50\x4b\x05\x06llo"), "the comment on the archive can be read as"),
        (spec_with(comment=b"he", comment_size=9), "truncated within its comment"),
        (spec_with(gap=b"\0" * 8), "the 8 bytes at offset"),
        (spec_with(after=b"\0" * 8), "does not end where"),
        (spec_with(member(before=b"xy")), "the 2 bytes at offset"),
        (spec_with(member(listed=False)), "a member that is not in the list"),
        (spec_with(count=9), "its end says 9"),
        (spec_with(count_here=1), "one of several parts"),
        (spec_with(disk=3), "one of several parts"),
        (spec_with(directory_offset=1), "bytes before the archive"),
        (spec_with(directory_offset=100_000), "offset of the list of members is wrong"),
        (spec_with(zip64=True, locator_offset=1), "zip64 locator does not point"),
        (spec_with(zip64=True, after=b"\0" * 8), "does not end where"),
        (spec_with(member(central=Lies(comment=b"hello"))), f"{FILE} has a comment"),
        (spec_with(member(central=Lies(disk=2))), f"{FILE} needs another disk"),
        (spec_with(member(central=Lies(version=200))), f"{FILE} needs another disk, or a newer version"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mw220_structure(tmp_path: Path, spec: ZipFileSpec, told: str | None) -> None:
    if told is None:  # the end is further away than any reader looks
        with pytest.raises(WheelFileError):
            found(tmp_path, spec)
        return
    lines = found(tmp_path, spec)
    assert set(codes(lines)) - {"MW224", "MW231"} == {"MW220"}, lines
    assert any(told in line for line in lines), lines


def test_mw220_two_members_share_their_bytes(tmp_path: Path) -> None:
    """As in bombs that inflate the same bytes again and again (D. Fifield, A better zip bomb, 2019)."""
    first = member(name="demo/a", method=STORED)
    second = member(name="demo/b", content=b"", present=False, central=Lies(offset=0))
    lines = found(tmp_path, wheel_spec(first, second))
    assert "MW220 demo/b shares its bytes with another member" in lines


def test_mw220_a_member_in_the_data_of_another(tmp_path: Path) -> None:
    """The headers of the later members are quoted in blocks of the earlier one's data, as in the same paper's bombs."""
    inner = member(name="demo/inner", content=b"x" * 100)
    quoted = ZipFileSpec(members=(inner,)).to_bytes().partition(b"PK\1\2")[0]
    outer = member(name="demo/outer", method=STORED, content=quoted)
    header = len(ZipFileSpec(members=(replace(outer, content=b""),)).to_bytes().partition(b"PK\1\2")[0])
    first = wheel_spec()
    spec = replace(first, members=(outer, replace(inner, present=False, central=Lies(offset=header)), *first.members))
    lines = found(tmp_path, spec)
    assert "MW220 demo/inner shares its bytes with another member" in lines
    with open_wheel(tmp_path / WHEEL_NAME) as wheel:
        assert "demo/inner" not in wheel.members


def test_mw220_an_archive_in_its_own_comment(tmp_path: Path) -> None:
    """Two archives in one file, each whole: readers that take the first end record see the other members."""
    other = wheel_spec(member(name="demo/evil.py"))
    assert "MW220" in codes(found(tmp_path, spec_with(comment=other.to_bytes())))


def test_mw220_data_that_runs_into_the_directory(tmp_path: Path) -> None:
    honest = wheel_spec()
    last = replace(honest.members[-1].lying(compressed=5000, size=5000), method=STORED)
    lines = found(tmp_path, replace(honest, members=(*honest.members[:-1], last)))
    assert any("extends into the list" in line for line in lines)


def test_mw220_the_second_end_record_is_the_comment_of_the_first(tmp_path: Path) -> None:
    """Readers that search from the end see an empty archive; those that follow the comment see all of it."""
    empty = ZipFileSpec().to_bytes()
    lines = found(tmp_path, spec_with(comment=empty + b"!"))
    assert codes(lines) == ["MW220"]


def test_mw220_a_directory_that_breaks_off(tmp_path: Path) -> None:
    honest = wheel_spec(member())
    broken = replace(honest, members=(*honest.members[:2], member(name="x", central=Lies(signature=b"PK\x09\x09"))))
    lines = found(tmp_path, broken)
    assert any("the list of members cannot be read after 2" in line for line in lines)
    assert not any(line.startswith("MW231") for line in lines)


# --- MW221: names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "collide"),
    [
        ("demo/data", "demo/DATA", True),
        ("demo/data", "demo/data2", False),
        ("demo/caf\u00e9", "demo/cafe\u0301", True),  # composed and decomposed
        ("demo/caf\u00e9", "demo/cafe", False),
        ("demo/\ufb01le", "demo/file", True),  # a ligature
        ("demo/stra\u00dfe", "demo/STRASSE", True),
        ("demo/x", "demo/x/y", True),
        ("demo/x", "demo/X/y", True),
        ("demo/x", "demo/xy/y", False),
        ("demo/Sub/a", "demo/sub/b", False),  # two folders become one: nothing is lost
        ("demo-1.0.data/purelib/demo/x", "demo/x", True),
        ("demo-1.0.data/purelib/demo/x", "demo-1.0.data/platlib/demo/x", True),
        ("demo-1.0.data/scripts/x", "demo-1.0.data/data/x", False),
    ],
)
def test_mw221_names(tmp_path: Path, first: str, second: str, collide: bool) -> None:  # noqa: FBT001
    lines = found(tmp_path, wheel_spec(member(name=first), member(name=second)))
    assert codes(lines) == (["MW221"] if collide else []), lines
    assert all(first in line and second in line for line in lines)


def test_mw221_a_name_that_is_there_twice(tmp_path: Path) -> None:
    lines = found(tmp_path, wheel_spec(member(), member()))
    assert len(lines) == 1
    assert lines[0].startswith(f"MW221 {FILE} is there twice")


def test_mw221_a_folder_and_a_file(tmp_path: Path) -> None:
    lines = found(tmp_path, wheel_spec(member(name="demo/x/", content=b"", mode=0o40755), member(name="demo/x")))
    assert codes(lines) == ["MW221"]


# --- MW222: paths -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("../evil.py", "leads out"),
        ("demo/../../evil.py", "leads out"),
        ("demo/..", "leads out"),
        ("demo-1.0.data/scripts/../../x", "leads out"),
        ("demo/..data", None),
        ("demo/...", None),
        ("/etc/passwd", "absolute"),
        ("C:/evil.py", "absolute"),
        ("C:evil.py", "absolute"),
        ("demo/C:x", None),
        ("demo\\evil.py", "backslash"),
        ("..\\evil.py", "backslash"),
        ("demo/evil.py\0.txt", "control"),
        ("demo/\x1b[31m", "control"),
        ("demo/\x7f", "control"),
        ("demo//x", "empty parts"),
        ("./demo/x", "empty parts"),
        ("demo/./x", "empty parts"),
        ("", "empty parts"),
        ("demo/" + 256 * "x", "more than 255"),
        ("demo/" + 255 * "x", None),
        ("demo/" + 128 * "é", "more than 255"),
        ("demo/a b,c\"d'e.txt", None),
        ("demo/\u202egnp.py", None),  # shown escaped
    ],
)
def test_mw222_paths(tmp_path: Path, name: str, wrong: str | None) -> None:
    lines = found(tmp_path, wheel_spec(member(name=name)))
    assert codes(lines) == (["MW222"] if wrong else []), lines
    assert all(wrong in line for line in lines if wrong)


@pytest.mark.parametrize(("flags", "is_right"), [(0, False), (UTF8, True)])
def test_mw222_names_that_encodings_change(tmp_path: Path, flags: int, is_right: bool) -> None:  # noqa: FBT001
    lines = found(tmp_path, wheel_spec(member(name="demo/é", flags=flags)))
    assert codes(lines) == ([] if is_right else ["MW222"])


def test_mw222_names_that_are_no_utf8(tmp_path: Path) -> None:
    lines = found(tmp_path, wheel_spec(member(name=b"demo/\xff\xfe", flags=UTF8)))
    assert "MW222" in codes(lines)


# --- MW223: kinds of members ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "wrong"),
    [
        (stat.S_IFLNK | 0o777, "symbolic link"),
        (stat.S_IFCHR | 0o600, "device"),
        (stat.S_IFBLK | 0o600, "device"),
        (stat.S_IFIFO | 0o600, "named pipe"),
        (stat.S_IFSOCK | 0o600, "socket"),
        (stat.S_IFDIR | 0o755, "is a folder"),
        (0o170000 | 0o644, "file of an unknown type"),
        (stat.S_IFREG | stat.S_ISUID | 0o755, "setuid"),
        (stat.S_IFREG | stat.S_ISGID | 0o755, "setgid"),
        (stat.S_IFREG | stat.S_ISVTX | 0o755, "sticky"),
        (stat.S_ISUID | 0o755, "setuid"),
        (stat.S_IFREG | 0o777, None),
        (0o644, None),
    ],
)
def test_mw223_modes(tmp_path: Path, mode: int, wrong: str | None) -> None:
    lines = found(tmp_path, wheel_spec(member(mode=mode)))
    assert codes(lines) == (["MW223"] if wrong else []), lines
    assert all(f"{FILE} " in line and wrong in line for line in lines if wrong)


@pytest.mark.parametrize(
    ("special", "wrong"),
    [
        (member(flags=ENCRYPTED), "encrypted"),
        (member(flags=0x41), "encrypted"),
        (member(flags=0x20), "flags that installers need not support (0x20)"),  # compressed patched data
        (member(method=9), "method 9"),  # Deflate64
        (member(method=12), "method 12"),  # bzip2
        (member(method=14), "method 14"),  # LZMA
        (member(method=93), "method 93"),  # Zstandard
        (member(dos_attributes=0x10), "a folder by its attributes"),
        (member(name="demo/data/", mode=0o40755), "is a folder with data"),
        (member(name="demo/data/", content=b"", mode=0o120777), "symbolic link"),
        (member(name="demo/data/", content=b"", mode=0o42755), None),  # setgid on folders is what builds in such give
    ],
)
def test_mw223_members_that_are_not_plain(tmp_path: Path, special: MemberSpec, wrong: str | None) -> None:
    lines = found(tmp_path, wheel_spec(special))
    assert codes(lines) == (["MW223"] if wrong else []), lines
    assert all(wrong in line for line in lines if wrong)


# --- MW224: headers ---------------------------------------------------------------------------------------------------

UNICODE_PATH = struct.pack("<HHBL", 0x7075, 5 + 9, 1, zlib.crc32(FILE.encode()))


@pytest.mark.parametrize(
    ("lying", "told"),
    [
        (member(local=Lies(name=b"demo/other.bin")), "name"),
        (member(local=Lies(crc=1)), "CRC"),
        (member(local=Lies(size=1)), "size"),
        (member(local=Lies(compressed=1)), "compressed size"),
        (member(local=Lies(method=STORED)), "compression method"),
        (member(local=Lies(flags=ENCRYPTED)), "flags"),
        (member(local=Lies(flags=UTF8)), "flags"),
        (member(local=Lies(extra=b"\1\2\3")), "damaged extra field"),
        (member(central=Lies(extra=struct.pack("<HH", 7, 9))), "damaged extra field"),
        (member(central=Lies(extra=struct.pack("<HHQ", 1, 8, 1))), "zip64 field that can be read in two ways"),
        (member(local=Lies(extra=struct.pack("<HHQQ", 1, 16, 1, 1))), "zip64 field that can be read in two ways"),
        (member(local=Lies(extra=struct.pack("<HHQ", 1, 8, len(CONTENT)))), "zip64 field that can be read in two ways"),
        (member(method=STORED, local=Lies(extra=struct.pack("<HHQ", 1, 8, len(CONTENT)))), None),
        (member(local=Lies(extra=2 * struct.pack("<HH", 1, 0))), "an extra field twice"),
        (member(local=Lies(size=0xFFFFFFFF)), "refers to a zip64 field"),
        (member().lying(extra=UNICODE_PATH + b"evil/x.py"), "a second name"),
        (member().lying(extra=struct.pack("<HHBL", 0x7075, 18, 1, 0) + FILE.encode()), None),
        (member(local=Lies(signature=b"PK\x09\x09")), "no local header"),
        (member(local=Lies(version=10)), None),
        (member(local=Lies(extra=struct.pack("<HHQQ", 1, 16, len(CONTENT), len(member().raw_data)))), None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mw224_headers_that_disagree(tmp_path: Path, lying: MemberSpec, told: str | None) -> None:
    lines = found(tmp_path, wheel_spec(lying))
    assert set(codes(lines)) == ({"MW224"} if told else set()), lines
    assert all(FILE in line for line in lines)
    if told:
        assert told in lines[0]


@pytest.mark.parametrize("sign", [b"", b"PK\7\x08"])
@pytest.mark.parametrize("form", ["<LLL", "<LQQ"])
@pytest.mark.parametrize("hidden", [True, False])
def test_mw224_data_descriptors(tmp_path: Path, sign: bytes, form: str, hidden: bool) -> None:  # noqa: FBT001
    honest = member(flags=DESCRIPTOR)
    trailer = sign + struct.pack(form, zlib.crc32(CONTENT), len(honest.raw_data), len(CONTENT))
    local = Lies(crc=0, size=0, compressed=0) if hidden else Lies()
    lines = found(tmp_path, wheel_spec(replace(honest, descriptor=trailer, local=local)))
    assert lines == [f"MW224 {FILE} has a data descriptor"]


# --- MW225: bombs -----------------------------------------------------------------------------------------------------


def zeros(mebibytes: int, name: str = FILE) -> MemberSpec:
    return member(name=name, content=bytes(mebibytes * MIB))


def test_mw225_a_bomb(tmp_path: Path) -> None:
    lines = found(tmp_path, wheel_spec(zeros(65)))
    assert codes(lines) == ["MW225"]
    assert "inflate to 68158" in lines[0]


def test_mw225_up_to_64_mib_may_be_as_empty_as_they_like(tmp_path: Path) -> None:
    assert found(tmp_path, wheel_spec(zeros(63))) == []


def test_mw225_many_members_are_a_bomb(tmp_path: Path) -> None:
    lines = found(tmp_path, wheel_spec(*(zeros(9, name=f"demo/{number}") for number in range(8))))
    assert codes(lines) == ["MW225"]
    assert "together" in lines[0]


def test_mw225_one_empty_member_among_others_is_no_bomb(tmp_path: Path) -> None:
    """The index compares the whole archives."""
    content = zlib.compress(Path(zipfile.__file__).read_bytes(), 9)[2:] * 100
    assert 50 * len(content) > LIMITS["ratio-from"]
    assert found(tmp_path, wheel_spec(zeros(65), member(name="demo/full", content=content, method=STORED))) == []


@pytest.mark.parametrize("size", [66 * MIB, 1 << 31, (1 << 32) - 2])
def test_mw225_sizes_that_are_only_claimed(tmp_path: Path, size: int) -> None:
    lines = found(tmp_path, wheel_spec(member().lying(size=size)))
    assert "MW225 the members inflate" in lines[0]


def test_mw225_texts_that_are_too_long(tmp_path: Path) -> None:
    long = member(name="demo.pth", content=b"#" * (LIMITS["text"] + 1))
    lines = found(tmp_path, wheel_spec(long))
    assert codes(lines) == ["MW225"]
    assert "too many for a file of its kind" in lines[0]
    licence = member(name=f"{DIST_INFO}/licenses/LONG", content=b"#" * (LIMITS["text"] + 1))
    assert found(tmp_path, wheel_spec(licence)) == []


def test_mw225_members_without_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "members", 3)
    lines = found(tmp_path, wheel_spec(member()))
    assert codes(lines) == ["MW225"]
    assert "the rest was not read" in lines[0]


def test_mw225_headers_that_take_their_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before each member's data there may be 128 KiB, of which a sparse file needs none on the disk."""
    monkeypatch.setitem(LIMITS, "directory", 6_000)
    fields = 1_000 * struct.pack("<HH", 0x9999, 0)
    lines = found(tmp_path, wheel_spec(*(member(name=f"demo/{n}", local=Lies(extra=fields)) for n in range(3))))
    assert codes(lines) == ["MW225"] * len(lines)
    assert "MW225 demo/1 has headers beyond the limit for all members together" in lines


def test_mw225_a_list_of_members_of_seven_gibibytes(tmp_path: Path) -> None:
    """The zip64 record says that it begins far before: most of it is a hole in the file."""
    hole, path = 7 << 30, tmp_path / WHEEL_NAME
    content = wheel_spec().to_bytes()
    listed = content[content.index(b"PK\1\2") : content.index(b"PK\5\6")]
    end = replace(ZipFileSpec(), zip64=True, directory_size=hole + len(listed), directory_offset=0, locator_offset=0)
    with path.open("wb") as file:
        file.write(listed)
        file.seek(hole + len(listed))
        file.write(end.to_bytes())
    told = [str(finding) for finding in findings_of(path)]
    assert any(line.startswith("MW225 the archive has more than 65535 members, or more than") for line in told), told


def test_archives_in_archives_are_data(tmp_path: Path) -> None:
    """Bombs that lie in one another, and archives that hold themselves, are for those who unpack what they find."""
    bomb = ZipFileSpec(members=(zeros(100),)).to_bytes()
    assert found(tmp_path, wheel_spec(member(name="demo/bomb.zip", content=bomb, method=STORED))) == []


# --- MW226: data ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damaged", "told"),
    [
        (member(data=b"\xff" * 20), "cannot be inflated"),
        (member(data=member().raw_data[:-4]), "it is truncated"),
        (member(data=b""), "it is truncated"),
        (member(data=member().raw_data + b"more"), "bytes after the end"),
        (member().lying(crc=1), "its header says 00000001"),
        (member().lying(size=3), "more than the 3 bytes"),
        (member().lying(size=3000), "its header says 3000"),
        (member(method=STORED).lying(size=3), "more than the 3 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mw226_data(tmp_path: Path, damaged: MemberSpec, told: str) -> None:
    lines = found(tmp_path, wheel_spec(damaged))
    assert codes(lines) == ["MW226"], lines
    assert lines[0].startswith(f"MW226 {FILE} ")
    assert told in lines[0]
    with open_wheel(tmp_path / WHEEL_NAME) as wheel:
        assert FILE not in wheel.members
        assert "demo/__init__.py" in wheel.members


@pytest.mark.parametrize("blocks", [1, 60_000])
def test_mw226_empty_blocks_hide_no_elf_file(tmp_path: Path, blocks: int) -> None:
    """Deflated data may begin with any number of blocks that hold nothing."""
    content = b"\x7fELF" + b"\xff" * 100
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    data = b"\0\0\0\xff\xff" * blocks + b"\0\1\0\xfe\xff\x7f" + deflate.compress(content[1:]) + deflate.flush()
    path = write_spec(tmp_path, wheel_spec(member(content=content, data=data)))
    assert findings_of(path) == []
    with open_wheel(path) as wheel:
        assert set(wheel.broken_elves) == {FILE}


# --- memory, and archives that are none -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", b"PK\5\6", b"PK\5\6" * 5000, ZipFileSpec().to_bytes()[:-1], wheel_spec().to_bytes()[:-30],
     replace(wheel_spec(), directory_size=0xFFFFFFFF, directory_offset=0xFFFFFFFF).to_bytes(), b"x" * 100_000],
)  # fmt: skip
def test_files_without_a_list_of_members(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / WHEEL_NAME
    path.write_bytes(content)
    with pytest.raises(WheelFileError) as caught, open_archive(path):
        pass
    assert str(path) in caught.value.message
    assert caught.value.remedy


def test_an_empty_archive(tmp_path: Path) -> None:
    assert found(tmp_path, ZipFileSpec()) == []


def peak_of_checking(path: Path) -> int:
    """Check an honest wheel; return the bytes that this took at most."""
    tracemalloc.start()
    try:
        report = check_wheel(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert report.findings == ()
    return peak


def test_memory_does_not_depend_on_what_members_inflate_to(tmp_path: Path) -> None:
    """72 MiB of zeros that the limits of the ratio let through: each member is small, and the wheel holds noise."""
    noise = random.Random(0).randbytes(2 * MIB)
    spec = wheel_spec(member(content=noise, method=STORED), *(zeros(9, name=f"demo/{n}") for n in range(8)))
    assert peak_of_checking(write_spec(tmp_path, spec)) < 6 * MIB  # less than one member


def test_memory_grows_little_with_the_number_of_members(tmp_path: Path) -> None:
    count = scaled(25_000)
    spec = wheel_spec(*(member(name=f"demo/{number:060}.py", content=b"") for number in range(count)))
    assert peak_of_checking(write_spec(tmp_path, spec)) < MIB + 3000 * count


def test_what_is_odd_is_told_within_bounds(tmp_path: Path) -> None:
    lines = found(tmp_path, wheel_spec(*(member(name=f"demo/{n}", local=Lies(crc=1)) for n in range(60))))
    assert codes(lines) == ["MW224"] * 51
    assert lines[-1] == "MW224 there are 10 more problems like these"


def test_deflated_and_stored_members_are_read_alike(tmp_path: Path) -> None:
    content = bytes(range(256)) * 20_000
    path = write_spec(
        tmp_path, ZipFileSpec(members=tuple(member(str(m), method=m, content=content) for m in (STORED, DEFLATED)))
    )
    with open_archive(path) as opened:
        for entry in opened.entries:
            pieces = list(opened.read(entry))
            assert b"".join(pieces) == content
            assert all(len(piece) >= 1 << 16 for piece in pieces[:-1])
