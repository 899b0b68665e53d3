"""What a loader finds, what users start, and files in whose place something else was delivered."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import auditwheel.policy  # noqa: F401 - loaded here, so that no one test bears its time
import pytest

from manywheels.verify import Finding, Severity, check_wheel
from unit.elfmaker import AARCH64, RISCV64, SharedObject, Symbol
from unit.helpers import METADATA, write_wheel

CODES = frozenset({"MW207", "MW209", "MW210", "MW213", "MW229", "MW234", "MW235", "MW236", "MW238", "MW239"})
TAGS = "cp312-cp312-manylinux_2_28_x86_64"
EXTENSION = "demo/_core.cpython-312-x86_64-linux-gnu.so"
TOOL = "demo-1.0.data/scripts/demo-tool"
SHOUT = SharedObject(soname="libshout.so.1")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 12345678\n"

Members = Mapping[str, SharedObject] | Mapping[str, bytes] | Mapping[str, SharedObject | bytes]


def problems(
    folder: Path, members: Members, *, tags: str = TAGS, executable: Collection[str] = (TOOL,), metadata: str = METADATA
) -> list[tuple[str, Severity, str]]:
    """Return what these checks find in a wheel: code, severity, and the finding as text."""
    contents = {name: one.to_bytes() if isinstance(one, SharedObject) else one for name, one in members.items()}
    path = write_wheel(folder, tags=tags, members=contents, executable=executable, metadata=metadata)
    return [(one.code, one.severity, str(one)) for one in check_wheel(path).findings if one.code in CODES]


def the_one(found: list[tuple[str, Severity, str]], code: str, severity: Severity) -> str:
    assert [(one[0], one[1]) for one in found] == [(code, severity)], found
    return found[0][2]


def program(*needed: str, **fields: str) -> SharedObject:
    return SharedObject(needed=(*needed, "libc.so.6"), interpreter=True, **fields)  # type: ignore[arg-type]


# --- MW209: programs, and run paths that are inherited ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("run_path", "library"),
    [
        ("$ORIGIN/../../.demo.mesonpy.libs", ".demo.mesonpy.libs/libshout.so.1"),  # right in the wheel alone
        ("$ORIGIN", "demo-1.0.data/platlib/libshout.so.1"),
        ("$ORIGIN/../lib", "demo-1.0.data/data/lib64/libshout.so.1"),
        ("$ORIGIN/../lib", "demo-1.0.data/data/lib/libshout.so.1.0"),  # the name is another
        ("/usr/lib", "demo.libs/libshout.so.1"),
        ("", "demo/libshout.so.1"),
    ],
)
@pytest.mark.parametrize("place", [TOOL, "demo-1.0.data/data/bin/demo-tool"])
def test_mw209_a_program_that_can_never_start(tmp_path: Path, run_path: str, library: str, place: str) -> None:
    tool = program("libshout.so.1", runpath=run_path)
    found = problems(tmp_path, {EXTENSION: SharedObject(), place: tool, library: SHOUT}, executable=(place,))
    found = [one for one in found if one[0] == "MW209"]
    text = the_one(found, "MW209", Severity.ERROR)
    assert place in text
    assert f"needs `libshout.so.1`, which is `{library}`" in text


@pytest.mark.parametrize(
    ("run_path", "library"),
    [
        ("$ORIGIN/../lib", "demo-1.0.data/data/lib/libshout.so.1"),
        ("$ORIGIN", "demo-1.0.data/scripts/libshout.so.1"),
        ("$ORIGIN/../lib/python3.12/site-packages/demo.libs", "demo.libs/libshout.so.1"),
        ("/nowhere:$ORIGIN/../lib64/python3.12/site-packages/demo", "demo-1.0.data/purelib/demo/libshout.so.1"),
    ],
)
def test_mw209_a_program_that_finds_its_library(tmp_path: Path, run_path: str, library: str) -> None:
    members = {EXTENSION: SharedObject(), TOOL: program("libshout.so.1", runpath=run_path), library: SHOUT}
    assert [one for one in problems(tmp_path, members) if one[0] != "MW207"] == []


def test_mw209_a_program_whose_library_does_not_find_its_own(tmp_path: Path) -> None:
    members = {
        EXTENSION: SharedObject(),
        TOOL: program("libshout.so.1", runpath="$ORIGIN/../lib"),
        "demo-1.0.data/data/lib/libshout.so.1": SharedObject(soname="libshout.so.1", needed=("libdeep.so.1",)),
        "demo-1.0.data/data/lib/libdeep.so.1": SharedObject(soname="libdeep.so.1"),
    }
    first, second = problems(tmp_path, members)
    assert first[:2] == ("MW209", Severity.ERROR)
    assert "`demo-1.0.data/data/lib/libshout.so.1`, which it loads, needs `libdeep.so.1`" in first[2]
    assert second[1] is Severity.WARNING
    members[TOOL] = program("libshout.so.1", rpath="$ORIGIN/../lib")  # this serves also what it loads
    assert problems(tmp_path, members) == []


def test_mw209_a_program_that_auditwheel_moved(tmp_path: Path) -> None:
    members = {
        EXTENSION: SharedObject(),
        "demo.scripts/demo-tool": program("libshout.so.1", runpath="$ORIGIN/../demo.libs"),
        "demo-1.0.data/platlib/libs/libshout.so.1": SHOUT,
    }
    the_one(problems(tmp_path, members), "MW209", Severity.ERROR)
    members["demo.libs/libshout.so.1"] = SHOUT
    assert problems(tmp_path, members) == []


def test_mw209_a_package_may_start_its_own_program_with_libraries(tmp_path: Path) -> None:
    members = {"demo/bin/tool": program("libshout.so.1"), "demo/lib/libshout.so.1": SHOUT, EXTENSION: SharedObject()}
    the_one(problems(tmp_path, members), "MW209", Severity.WARNING)


@pytest.mark.parametrize(
    ("module", "library", "tags", "found"),
    [
        ({"rpath": "$ORIGIN/../demo.libs"}, {}, TAGS, []),
        ({"runpath": "$ORIGIN/../demo.libs"}, {}, TAGS, ["MW209"]),
        ({"rpath": "/a", "runpath": "$ORIGIN/../demo.libs"}, {}, TAGS, ["MW207", "MW209"]),
        ({"rpath": "$ORIGIN/../demo.libs"}, {"runpath": "$ORIGIN/x"}, TAGS, ["MW209"]),  # RUNPATH ends it
        ({"rpath": "$ORIGIN/../demo.libs"}, {"rpath": "$ORIGIN/x"}, TAGS, []),
        ({"runpath": "$ORIGIN/../demo.libs"}, {}, "cp312-cp312-musllinux_1_2_x86_64", []),  # musl asks all
    ],
)
def test_mw209_rpath_is_inherited_and_runpath_is_not(
    tmp_path: Path, module: dict[str, str], library: dict[str, str], tags: str, found: list[str]
) -> None:
    """glibc, elf/dl-load.c, _dl_map_object; musl, ldso/dynlink.c, load_library."""
    own = () if "musl" in tags else ("libc.so.6",)
    members = {
        "demo/_core.so": SharedObject(needed=("libshout.so.1", *own), **module),  # type: ignore[arg-type]
        "demo.libs/libshout.so.1": SharedObject(soname="libshout.so.1", needed=("libdeep.so.1", *own), **library),  # type: ignore[arg-type]
        "demo.libs/libdeep.so.1": SharedObject(soname="libdeep.so.1", needed=own),
    }
    assert [one[0] for one in problems(tmp_path, members, tags=tags)] == found


def test_mw209_a_chain_that_bites_its_tail(tmp_path: Path) -> None:
    """Libraries that need each other in a ring, and nobody finds any: told, and without end it is not."""
    names = [f"libring{number}.so" for number in range(60)]
    members: dict[str, SharedObject | bytes] = {
        f"demo.libs/{name}": SharedObject(soname=name, needed=tuple(names), rpath="$ORIGIN/x") for name in names
    }
    found = problems(tmp_path, {EXTENSION: SharedObject(), **members})
    assert {one[0] for one in found} <= {"MW209"}


# --- MW213, MW229: what is no fault ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("relocations", "found"),
    [
        (((0, 0), (0, 0)), []),
        (((0, 0), (0x100, 3)), ["MW213"]),
        (((0, 0), (1 << 32, 3)), []),  # in no segment that is read only
        ((), ["MW213"]),
    ],
)
@pytest.mark.parametrize("flag", ["TEXTREL", "FLAGS"])
def test_mw213_relocations_that_do_nothing(
    tmp_path: Path, relocations: tuple[tuple[int, int], ...], found: list[str], flag: str
) -> None:
    module = SharedObject(machine=RISCV64, text_relocations=flag, relocations=relocations)
    members = {"demo/_core.so": module}
    assert [one[0] for one in problems(tmp_path, members, tags="cp312-cp312-manylinux_2_39_riscv64")] == found


@pytest.mark.parametrize(
    ("tags", "symbol", "known"),
    [
        ("pp311-pypy311_pp73", "pypy_carefully_make_gil", True),
        ("cp312-cp312", "pypy_carefully_make_gil", False),
        ("cp311.pp311-none", "pypy_carefully_make_gil", False),
        ("pp311-pypy311_pp73", "no_such_thing", False),
        ("graalpy311-graalpy242_311_native", "GraalPyTruffle_Initialize", True),
        ("cp312-cp312", "GraalPyTruffle_Initialize", False),
    ],
)
def test_mw229_each_interpreter_has_symbols_of_its_own(tmp_path: Path, tags: str, symbol: str, known: bool) -> None:  # noqa: FBT001
    module = SharedObject(symbols=(Symbol(name=symbol, version=None), Symbol(name="PyList_New", version=None)))
    found = problems(tmp_path, {"demo/_core.so": module}, tags=f"{tags}-manylinux_2_28_x86_64")
    assert [one[0] for one in found] == ([] if known else ["MW229"])


def test_mw229_the_loaders_of_other_machines_export_more(tmp_path: Path) -> None:
    module = SharedObject(machine=AARCH64, symbols=(Symbol(name="__stack_chk_guard", version=None),))
    assert problems(tmp_path, {"demo/_core.so": module}, tags="cp312-cp312-manylinux_2_28_aarch64") == []


# --- MW234, MW235: something else in a file's place ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["demo/libkernel.so", "demo.libs/libx-1a2b3c4d.so.1.2", EXTENSION])
def test_mw234_a_pointer_in_place_of_a_library(tmp_path: Path, name: str) -> None:
    text = the_one(problems(tmp_path, {"demo/_other.so": SharedObject(), name: POINTER}), "MW234", Severity.ERROR)
    assert f"{name} is a Git LFS pointer" in text


def test_mw234_a_library_that_is_needed_is_missed_once(tmp_path: Path) -> None:
    members: dict[str, SharedObject | bytes] = {
        EXTENSION: SharedObject(needed=("libx.so",), runpath="$ORIGIN"),
        "demo/libx.so": POINTER,
    }
    the_one(problems(tmp_path, members), "MW234", Severity.ERROR)


def test_mw234_pointers_in_place_of_data_are_named_together(tmp_path: Path) -> None:
    old = POINTER.replace(b"https://git-lfs.github.com/spec/v1", b"https://hawser.github.com/spec/v1")
    members: dict[str, SharedObject | bytes] = {
        EXTENSION: SharedObject(),
        "demo/model.bin": POINTER,
        "demo/logo.png": old,
    }
    text = the_one(problems(tmp_path, members), "MW234", Severity.WARNING)
    assert "2 Git LFS pointers" in text
    assert "`demo/model.bin`, `demo/logo.png`" in text


@pytest.mark.parametrize(
    "content", [POINTER.ljust(1025), b"# " + POINTER, b"version 1\n", POINTER.replace(b"github.com", b"example.org")]
)
def test_mw234_what_is_no_pointer(tmp_path: Path, content: bytes) -> None:
    assert problems(tmp_path, {EXTENSION: SharedObject(), "demo/notes.txt": content}) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"libshout.so.1.2", "the text of a link to `libshout.so.1.2`"),
        (b"../lib/libshout.so\n", "the text of a link to `libshout.so`"),
        (b"<!DOCTYPE html>\n<html>", "a web page"),
        (b"\xcf\xfa\xed\xfe" + bytes(40), "a library for macOS"),
        (b"MZ\x90\x00" + bytes(40), "a library for Windows"),
        (b"!<arch>\nx", "a static library"),
        (b"\x1f\x8b\x08\x00", "a packed archive"),
        (b"some text\n", "not an ELF file"),
    ],
)
@pytest.mark.parametrize("name", ["demo/libshout.so", "demo/libshout.so.1"])
def test_mw235_what_is_only_named_like_a_library(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    found = problems(tmp_path, {EXTENSION: SharedObject(), name: content})
    assert f"is named like a shared library, but is {said}" in the_one(found, "MW235", Severity.WARNING)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("demo/lib/libtbb.so", b"INPUT (libtbb.so.12)\n"),
        ("demo/lib/libc.so", b"/* GNU ld script */\nOUTPUT_FORMAT(elf64-x86-64)\nGROUP ( /lib/libc.so.6 )\n"),
        ("demo/libshout.so.txt", b"text"),
        ("demo/libshout.a", b"!<arch>\n"),
        ("demo/libshout.dylib", b"\xcf\xfa\xed\xfe"),
    ],
)
def test_mw235_what_may_be_there(tmp_path: Path, name: str, content: bytes) -> None:
    assert problems(tmp_path, {EXTENSION: SharedObject(), name: content}) == []


# --- MW236: programs start -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interpreter", "platform"),
    [
        ("/lib/ld-musl-x86_64.so.1", "manylinux_2_28_x86_64"),
        ("/lib64/ld-linux-x86-64.so.2", "musllinux_1_2_x86_64"),
        ("/nix/store/abc-glibc-2.40/lib/ld-linux-x86-64.so.2", "manylinux_2_28_x86_64"),
        ("/lib/ld-linux-x86-64.so.2", "manylinux_2_28_x86_64"),
        ("/system/bin/linker64", "manylinux_2_28_x86_64"),
        ("/nix/store/abc/ld-linux-x86-64.so.2", "linux_x86_64"),
    ],
)
def test_mw236_a_loader_that_users_do_not_have(tmp_path: Path, interpreter: str, platform: str) -> None:
    tool = SharedObject(needed=(), interpreter=interpreter)
    found = problems(tmp_path, {TOOL: tool}, tags=f"py3-none-{platform}")
    assert f"`{interpreter}`" in the_one(found, "MW236", Severity.ERROR)
    found = problems(tmp_path, {"demo/tool": tool}, tags=f"py3-none-{platform}")  # its package may start it by a loader
    the_one(found, "MW236", Severity.WARNING)


@pytest.mark.parametrize(
    ("interpreter", "platform"),
    [
        ("/lib64/ld-linux-x86-64.so.2", "manylinux_2_28_x86_64"),
        ("/usr/lib64/ld-linux-x86-64.so.2", "manylinux_2_28_x86_64"),
        ("/lib/ld-musl-x86_64.so.1", "musllinux_1_2_x86_64"),
        ("/lib/ld-musl-x86_64.so.1", "linux_x86_64"),
        ("", "manylinux_2_28_x86_64"),  # a static program
    ],
)
def test_mw236_loaders_that_are_there(tmp_path: Path, interpreter: str, platform: str) -> None:
    tool = SharedObject(needed=(), interpreter=interpreter)
    assert problems(tmp_path, {TOOL: tool}, tags=f"py3-none-{platform}") == []


def test_mw236_a_library_that_can_be_started_too(tmp_path: Path) -> None:
    library = SharedObject(soname="libshout.so.1", interpreter="/nix/store/abc/ld-linux-x86-64.so.2")
    assert problems(tmp_path, {EXTENSION: SharedObject(), "demo/libshout.so.1": library}) == []


@pytest.mark.parametrize(
    ("line", "severity", "said"),
    [
        (b"#!/tmp/build-env/bin/python", Severity.ERROR, "`/tmp/build-env/bin/python`, a program of the build machine"),
        (b"#! /opt/python/cp312-cp312/bin/python3 -E", Severity.ERROR, "a program of the build machine"),
        (b"#!/bin/sh\r", Severity.ERROR, "CR and LF"),
        (b"#!/usr/bin/python3", Severity.WARNING, "the system's `/usr/bin/python3`"),
    ],
)
def test_mw236_first_lines_that_fail(tmp_path: Path, line: bytes, severity: Severity, said: str) -> None:
    found = problems(tmp_path, {EXTENSION: SharedObject(), TOOL: line + b"\nprint(1)\n"})
    assert said in the_one(found, "MW236", severity)


@pytest.mark.parametrize(
    "content",
    [
        b"#!python\n",
        b"#!pythonw\r\n",
        b"#!/bin/sh\n",
        b"#!/usr/bin/env python3\n",
        b"#!/usr/bin/perl -w\n",
        b"x = 1\n",
        b"",
    ],
)
def test_mw236_first_lines_that_work(tmp_path: Path, content: bytes) -> None:
    assert problems(tmp_path, {EXTENSION: SharedObject(), TOOL: content}) == []
    outside: dict[str, SharedObject | bytes] = {EXTENSION: SharedObject(), "demo/tool": b"#!/opt/python/bin/python\n"}
    assert problems(tmp_path, outside) == []


@pytest.mark.parametrize("content", [b"#!python\n", SharedObject(interpreter=True).to_bytes()])
def test_mw236_what_pip_does_not_make_executable(tmp_path: Path, content: bytes) -> None:
    found = problems(tmp_path, {EXTENSION: SharedObject(), TOOL: content}, executable=())
    assert "may not be executed" in the_one(found, "MW236", Severity.WARNING)


# --- MW238: systems that exist ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ("cp312-cp312-manylinux_9_99_x86_64", "there is no glibc 9"),
        ("cp312-cp312-manylinux_2_999_x86_64", "there is no glibc 2.999"),
        ("cp312-cp312-manylinux_3_0_x86_64", "there is no glibc 3"),
        ("cp312-cp312-manylinux_2_4_x86_64", "they look for glibc 2.5 and later"),
        ("cp312-cp312-manylinux_2_12_aarch64", "they look for glibc 2.17 and later"),
        ("cp312-cp312-musllinux_9_9_x86_64", "there is no musl 9"),
        ("cp312-cp312-musllinux_1_99_x86_64", "there is no musl 1.99"),
        ("cp3999-cp3999-manylinux_2_28_x86_64", "`cp3999`, but there is no such Python"),
        ("cp314t-cp314t-manylinux_2_28_x86_64", "`cp314t`, but there is no such Python"),
        ("cp41-cp41-manylinux_2_28_x86_64", "`cp41`, but there is no such Python"),
    ],
)
def test_mw238_tags_that_no_installer_takes(tmp_path: Path, tags: str, said: str) -> None:
    machine = AARCH64 if tags.endswith("aarch64") else 62
    found = problems(tmp_path, {"demo/_core.so": SharedObject(machine=machine, needed=())}, tags=tags)
    assert said in the_one(found, "MW238", Severity.ERROR)


@pytest.mark.parametrize(
    "tags",
    [
        "cp312-cp312-manylinux_2_5_x86_64.manylinux1_x86_64",
        "cp312-cp312-manylinux_2_17_x86_64",
        "cp312-cp312-manylinux_2_45_x86_64",
        "cp312-cp312-musllinux_1_1_x86_64",
        "cp316-cp316t-manylinux_2_40_x86_64",
        "py3-none-manylinux_2_28_x86_64",
        "py2.py3-none-manylinux1_x86_64",
        "cp27-cp27mu-manylinux1_x86_64",
        "cp35.cp36.pp35-abi3-manylinux1_x86_64",
        "graalpy311-graalpy242_311_native-manylinux_2_28_x86_64",
    ],
)
def test_mw238_tags_that_some_installer_takes(tmp_path: Path, tags: str) -> None:
    assert problems(tmp_path, {"demo/_core.so": SharedObject(needed=())}, tags=tags) == []


# --- MW239: grafted libraries -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("library", "run_path", "python", "unused"),
    [
        ("libshout-1a2b3c4d.so.1", "$ORIGIN/../demo.libs", b"", True),  # nobody knows the name beforehand
        ("libshout.so.1", None, b"", True),
        ("libshout.so.1", "$ORIGIN/../demo.libs", b"", False),  # may be opened by name
        ("libshout-1a2b3c4d.so.1", None, b"for path in glob('demo.libs/*'): CDLL(path)\n", False),
    ],
)
def test_mw239_a_library_that_nothing_needs(
    tmp_path: Path,
    library: str,
    run_path: str | None,
    python: bytes,
    unused: bool,  # noqa: FBT001
) -> None:
    members: dict[str, SharedObject | bytes] = {
        EXTENSION: SharedObject(runpath=run_path),
        f"demo.libs/{library}": SharedObject(soname=library),
        "demo/__init__.py": python,
    }
    found = problems(tmp_path, members)
    if unused:
        assert f"demo.libs/{library}" in the_one(found, "MW239", Severity.WARNING)
    else:
        assert found == []


def test_mw239_libraries_in_the_package_may_be_opened_by_anything(tmp_path: Path) -> None:
    assert problems(tmp_path, {EXTENSION: SharedObject(), "demo/plugins/libshout-1a2b3c4d.so": SHOUT}) == []


# --- wheels for other systems -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "members", "system"),
    [
        ("win_amd64", {"demo/_core.cp312-win_amd64.pyd": b"MZ"}, "Windows"),
        ("win32", {"demo/_core.cp312-win32.pyd": b"MZ"}, "Windows"),
        ("macosx_11_0_arm64", {"demo/_core.cpython-312-darwin.so": b"\xcf\xfa\xed\xfe"}, "macOS"),
        ("macosx_10_9_x86_64.macosx_11_0_arm64", {"demo/_core.so": b"\xca\xfe\xba\xbe"}, "macOS"),
        ("ios_13_0_arm64_iphoneos", {"demo/_core.so": b"\xcf\xfa\xed\xfe"}, "iOS"),
        ("android_24_x86_64", {"demo/_core.so": SharedObject(needed=("libc.so", "liblog.so")).to_bytes()}, "Android"),
    ],
)
def test_wheels_for_other_systems(tmp_path: Path, platform: str, members: dict[str, bytes], system: str) -> None:
    report = check_wheel(write_wheel(tmp_path, tags=f"cp312-cp312-{platform}", members=members))
    assert (report.findings, report.other_system) == ((), system)


def test_what_holds_for_every_wheel_is_looked_at_in_those_for_other_systems(tmp_path: Path) -> None:
    members = {"demo/data.bin": POINTER, "tests/__init__.py": b""}
    found = check_wheel(write_wheel(tmp_path, tags="cp312-cp312-win_amd64", members=members)).findings
    assert [finding.code for finding in found] == ["MW252", "MW234"]


@pytest.mark.parametrize(
    ("members", "told", "severity"),
    [
        ({"demo/_core.so": SharedObject()}, "is an ELF file, which macOS cannot load, and there is", Severity.ERROR),
        ({"demo/tool": SharedObject(dynamic=False)}, "is an ELF file, which macOS cannot load, and", Severity.ERROR),
        ({"demo/a.so": SharedObject(), "demo/b.so": SharedObject()}, "has 2 ELF files: `demo/a", Severity.ERROR),
        (
            {"demo/_core.so": SharedObject(), "demo/_core.cpython-312-darwin.so": b"\xcf\xfa\xed\xfe"},
            "is an ELF file, which macOS cannot load", Severity.WARNING,
        ),
        ({"demo/_core.so": b"\x7fELF, and no more"}, "is an ELF file, which macOS", Severity.ERROR),
    ],
)  # fmt: skip
def test_mw237_elf_files_for_a_system_that_loads_none(
    tmp_path: Path, members: dict[str, SharedObject | bytes], told: str, severity: Severity
) -> None:
    contents = {name: file if isinstance(file, bytes) else file.to_bytes() for name, file in members.items()}
    wheel = write_wheel(tmp_path, tags="cp312-cp312-macosx_11_0_arm64", members=contents)
    (found,) = check_wheel(wheel).findings
    assert (found.code, found.severity) == ("MW237", severity)
    assert found.problem.message.startswith(told)


def test_a_wheel_for_linux_too_is_checked(tmp_path: Path) -> None:
    def found(tags: str) -> tuple[Finding, ...]:
        return check_wheel(write_wheel(tmp_path, tags=tags)).findings

    assert [finding.code for finding in found("py3-none-manylinux_2_28_x86_64.win_amd64")] == ["MW250"]
    assert found("py3-none-win_amd64") == ()
