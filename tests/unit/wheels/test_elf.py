"""What is read of an ELF file; the files are written by `elfmaker`."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from manywheels.verify import check_wheel
from manywheels.verify.model import open_wheel
from manywheels.wheels.elf import BrokenElf, Elf, Import, NameBudget, parse_symbol_version, read_elf
from unit.elfmaker import AARCH64, PPC64, SharedObject, Symbol
from unit.helpers import write_wheel

SYMBOLS = (
    Symbol(name="close_range", version="GLIBC_2.34"),
    Symbol(name="memcpy", version="GLIBC_2.14"),
    Symbol(name="malloc", version="GLIBC_2.2.5"),
    Symbol(name="pow", version="GLIBC_2.29", library="libm.so.6"),
)
WHOLE = SharedObject(
    needed=("libc.so.6", "libm.so.6"), soname="libdemo.so.1", runpath="$ORIGIN/../demo.libs", symbols=SYMBOLS
)


def read(wanted: SharedObject) -> Elf:
    found = read_elf("demo.so", BytesIO(wanted.to_bytes()))
    assert found is not None
    return found


def test_the_dynamic_interface() -> None:
    found = read(WHOLE)
    assert (found.member, found.machine, found.bits, found.little_endian) == ("demo.so", "EM_X86_64", 64, True)
    assert found.soname == "libdemo.so.1"
    assert found.needed == ("libc.so.6", "libm.so.6")
    assert found.run_paths == ("$ORIGIN/../demo.libs",)
    assert found.needs == {
        "libc.so.6": frozenset({"GLIBC_2.34", "GLIBC_2.14", "GLIBC_2.2.5"}),
        "libm.so.6": frozenset({"GLIBC_2.29"}),
    }
    assert set(found.imports) == {Import(name=symbol.name, version=symbol.version, weak=False) for symbol in SYMBOLS}


@pytest.mark.parametrize(
    ("machine", "big_endian", "expected"),
    [(AARCH64, False, ("EM_AARCH64", True)), (PPC64, True, ("EM_PPC64", False)), (PPC64, False, ("EM_PPC64", True))],
)
def test_machines(
    machine: int,
    big_endian: bool,  # noqa: FBT001
    expected: tuple[str, bool],
) -> None:
    found = read(SharedObject(machine=machine, big_endian=big_endian, symbols=SYMBOLS))
    assert (found.machine, found.little_endian) == expected
    assert found.highest("GLIBC") == (2, 34)


@pytest.mark.parametrize(
    ("rpath", "runpath", "expected"),
    [
        (None, None, ()),
        ("/a", None, ("/a",)),
        (None, "/a:$ORIGIN/b", ("/a", "$ORIGIN/b")),
        ("/a", "/b", ("/a", "/b")),
    ],
)
def test_run_paths(rpath: str | None, runpath: str | None, expected: tuple[str, ...]) -> None:
    assert read(SharedObject(rpath=rpath, runpath=runpath)).run_paths == expected


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ((), None),
        (("GLIBC_2.9",), (2, 9)),
        (("GLIBC_2.9", "GLIBC_2.17", "GLIBC_2.2.5"), (2, 17)),
        (("GLIBC_PRIVATE",), None),
        (("GLIBCXX_3.4.30",), None),
    ],
)
def test_the_highest_version_is_the_highest_number(versions: tuple[str, ...], expected: tuple[int, ...] | None) -> None:
    symbols = tuple(Symbol(name=f"f{number}", version=version) for number, version in enumerate(versions))
    assert read(SharedObject(symbols=symbols)).highest("GLIBC") == expected


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("GLIBC_2.17", ("GLIBC", (2, 17))),
        ("GLIBC_2.2.5", ("GLIBC", (2, 2, 5))),
        ("GLIBCXX_3.4", ("GLIBCXX", (3, 4))),
        ("GLIBC_PRIVATE", None),
        ("GLIBC_ABI_DT_RELR", None),
        ("CXXABI_1.3", ("CXXABI", (1, 3))),
        ("CXXABI_TM_1", None),
        ("libfoo", None),
        ("", None),
    ],
)
def test_versions_of_symbols(version: str, expected: tuple[str, tuple[int, ...]] | None) -> None:
    assert parse_symbol_version(version) == expected


def test_a_library_named_twice_keeps_both_lists() -> None:
    """Linkers write one entry for each library; tools that rename libraries may leave two."""
    twice = (
        Symbol(name="close_range", version="GLIBC_2.34"),
        Symbol(name="pow", version="GLIBC_2.29", library="libm.so.6"),
        Symbol(name="malloc", version="GLIBC_2.2.5"),
    )
    assert read(SharedObject(symbols=twice)).highest("GLIBC") == (2, 34)


def test_section_headers_are_not_needed() -> None:
    """The loader reads segments; `strip --strip-section-headers` leaves a file that loads as before."""
    found = read_elf("demo.so", BytesIO(SharedObject(sections=False, runpath="/build", symbols=SYMBOLS).to_bytes()))
    assert found is not None
    assert found.needed == ("libc.so.6",)
    assert found.run_paths == ("/build",)
    assert found.highest("GLIBC") == (2, 34)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ({"GLIBC_2.34"}, ("close_range@GLIBC_2.34",)),
        ({"GLIBC_2.34", "GLIBC_2.29"}, ("close_range@GLIBC_2.34", "pow@GLIBC_2.29")),
        ({"GLIBC_2.38"}, ()),
        (set(), ()),
    ],
)
def test_which_symbols_want_a_version(versions: set[str], expected: tuple[str, ...]) -> None:
    assert read(WHOLE).wanting(frozenset(versions)) == expected


def test_a_file_without_versions_wants_none() -> None:
    assert read(SharedObject()).wanting(frozenset({"GLIBC_2.34"})) == ()


def test_the_loader_has_no_part_in_an_object_file() -> None:
    assert read_elf("x.o", BytesIO(SharedObject(dynamic=False).to_bytes())) is None


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"\x7fELF" + b"\xff" * 200, WHOLE.to_bytes()[:300]])
def test_what_cannot_be_read_is_broken(content: bytes) -> None:
    with pytest.raises(BrokenElf, match=r"\w"):
        read_elf("x.so", BytesIO(content))


def test_only_elf_members_are_read(tmp_path: Path) -> None:
    members = {
        "demo/a.so": WHOLE.to_bytes(),
        "demo/script": b"#!/bin/sh\n",
        "demo/empty": b"",
        "demo/program-without-suffix": WHOLE.to_bytes(),
        "demo/linker-script.so": b"INPUT(-ldemo)\n",
    }
    with open_wheel(write_wheel(tmp_path, members=members)) as wheel:
        assert [found.member for found in wheel.elves] == ["demo/a.so", "demo/program-without-suffix"]
        assert wheel.broken_elves == {}


@pytest.mark.parametrize("seed", range(12))
def test_damaged_files_never_stop_the_program(seed: int) -> None:
    """Whoever made the wheel may have made it so on purpose: the answer is a value or BrokenElf, at once."""
    chance, whole = random.Random(seed), WHOLE.to_bytes()
    for _ in range(8):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 1, 2, 8])):
            damaged[chance.randrange(4, len(damaged))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
        content = bytes(damaged[: chance.choice([len(damaged), chance.randrange(len(damaged))])])
        with suppress(BrokenElf):
            read_elf("x.so", BytesIO(content))


def test_lists_that_go_round_in_circles_end() -> None:
    """An entry that names itself as the next one, and a count of four thousand million."""
    content = bytearray(WHOLE.to_bytes())
    entry = content.index(struct.pack("<HH", 1, 3))  # the first of .gnu.version_r: version 1, three versions
    content[entry + 12 : entry + 16] = b"\xf0\xff\xff\xff"
    number = content.index(struct.pack("<Q", 0x6FFFFFFF)) + 8  # DT_VERNEEDNUM
    content[number : number + 8] = struct.pack("<Q", 0xFFFFFFFF)
    started = time.process_time()
    with suppress(BrokenElf):
        read_elf("x.so", BytesIO(bytes(content)))
    content[entry + 12 : entry + 16] = b"\x01\x00\x00\x00"
    with suppress(BrokenElf):
        read_elf("x.so", BytesIO(bytes(content)))
    assert time.process_time() - started < 20


# --- files that are made to cost memory and time ----------------------------------------------------------------------


def with_one_long_name(count: int, length: int) -> bytes:
    """Return a file of a megabyte whose symbols are all called by a part of one long name."""
    content = bytearray(SharedObject(exports=("x" * length, *(f"f{number}" for number in range(count)))).to_bytes())
    table = ELFFile(BytesIO(content)).get_section_by_name(".dynsym")
    assert table is not None
    for number in range(2, count):
        struct.pack_into("<I", content, table["sh_offset"] + 24 * number, 10 + number)
    return bytes(content)


def test_names_that_lie_in_one_another_do_not_fill_the_memory(tmp_path: Path) -> None:
    """A wheel of a few kilobytes, whose names are 20 GB when each is taken out: 64 kB of each of 4,000, 80 times."""
    content = with_one_long_name(4_000, 60_000)
    path = write_wheel(tmp_path, members={f"demo/x{number}.so": content for number in range(80)})
    assert path.stat().st_size < 4 << 20
    started = time.process_time()
    tracemalloc.start()
    try:
        found = check_wheel(path).findings
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "MW210" in {finding.code for finding in found}
    assert len(found) < 60
    assert most < 200 << 20
    assert time.process_time() - started < 60


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (SharedObject(runpath="/" * 5_000), "longer than"),
        (SharedObject(runpath=":" * 20_000), "longer than"),
        (SharedObject(runpath=":" * 3_000), "run paths"),
        (SharedObject(exports=("x" * 70_000,)), "longer than"),
        (SharedObject(needed=("x" * 5_000,)), "longer than"),
        (SharedObject(needed=("x",) * 10_100), "entries"),
    ],
)
def test_more_than_any_honest_file_has(wanted: SharedObject, said: str) -> None:
    with pytest.raises(BrokenElf, match=said):
        read(wanted)


@pytest.mark.parametrize(
    ("limit", "said"), [("_MOST_VERSIONS", "versions"), ("_MOST_SYMBOLS", "symbols"), ("_LONGEST_STRINGS", "table")]
)
def test_counts_have_bounds(limit: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"manywheels.wheels.elf.{limit}", 3)
    with pytest.raises(BrokenElf, match=said):
        read(WHOLE)


def test_more_program_headers_than_a_kernel_takes() -> None:
    content = bytearray(WHOLE.to_bytes())
    content[56:58] = b"\xff\xff"  # e_phnum
    with pytest.raises(BrokenElf, match="program headers"):
        read_elf("x.so", BytesIO(content))


def test_many_problems_of_one_kind_are_counted(tmp_path: Path) -> None:
    found = check_wheel(
        write_wheel(tmp_path, members={"demo/_core.abi3.so": SharedObject(runpath=":/x" * 900).to_bytes()})
    ).findings
    assert len(found) == 51
    assert "more problems like these" in found[-1].problem.message


def test_what_glibc_goes_by_are_the_links_of_the_version_lists() -> None:
    """It does not look at DT_VERNEEDNUM, nor at the counts of each list."""
    content = bytearray(WHOLE.to_bytes())
    number = content.index(struct.pack("<Q", 0x6FFFFFFF)) + 8
    content[number : number + 8] = bytes(8)
    found = read_elf("x.so", BytesIO(content))
    assert found is not None
    assert found.highest("GLIBC") == (2, 34)


def test_the_symbols_of_all_files_of_a_wheel_have_one_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them may have a million; those without a name take no room for names."""
    monkeypatch.setattr("manywheels.wheels.elf._MOST_ENTRIES", 25_000, raising=False)
    content = bytearray(SharedObject(exports=tuple(f"f{number}" for number in range(10_000))).to_bytes())
    symbols = ELFFile(BytesIO(content)).get_section_by_name(".dynsym")
    assert symbols is not None
    content[symbols["sh_offset"] : symbols["sh_offset"] + symbols["sh_size"]] = bytes(symbols["sh_size"])
    members = {f"demo/x{number}.so": bytes(content) for number in range(6)}
    with open_wheel(write_wheel(tmp_path, members=members)) as wheel:
        assert len(wheel.elves) == 2
        assert len(wheel.broken_elves) == 4
        assert all("too many to be read" in reason for reason in wheel.broken_elves.values())
    found = check_wheel(write_wheel(tmp_path, members=members)).findings
    assert "MW210" in {finding.code for finding in found}


def with_an_endless_chain(words: int) -> bytes:
    """Return a file whose hash table has one bucket, and a chain of hashes none of which says that it is the last."""
    content = SharedObject(sections=True).to_bytes()
    table = ELFFile(BytesIO(content)).get_section_by_name(".hash")
    assert table is not None
    changed = bytearray(content.replace(struct.pack("<QQ", 4, table["sh_offset"]),
                                        struct.pack("<QQ", 0x6FFFFEF5, len(content))))  # fmt: skip
    changed += struct.pack("<IIIII", 1, 1, 0, 0, 1) + bytes(4 * words)
    struct.pack_into("<QQ", changed, 64 + 32, len(changed), len(changed))  # the size of the first segment
    return bytes(changed)


def test_hashes_that_are_gone_through_to_count_symbols_count_as_well() -> None:
    content = with_an_endless_chain(200_000)
    room = NameBudget(entries=1_000_000)
    with pytest.raises(BrokenElf, match="too many"):
        read_elf("x.so", BytesIO(content), room)
    assert room.entries <= 800_000
    room.entries = 100_000  # less than there are
    with pytest.raises(BrokenElf, match="too many to be read"):
        read_elf("x.so", BytesIO(content), room)


def test_program_headers_and_tags_count_as_well() -> None:
    room = NameBudget(entries=1_000)
    read_elf("x.so", BytesIO(WHOLE.to_bytes()), room)
    assert room.entries <= 1_000 - 3 - 12  # program headers, tags
