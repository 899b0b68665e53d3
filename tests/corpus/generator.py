"""The table of cases: for each check, a wheel that breaks only this check, and a valid one that nearly does."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from corpus.makers import (
    CORE,
    EXTENSION,
    MIB,
    ON_AARCH64,
    ON_MUSL,
    ON_PPC64LE,
    PLAIN,
    SHOUT,
    STABLE,
    STATIC_PROGRAM,
    TAGS,
    Make,
    archive,
    attested,
    built_again,
    built_from_both,
    extension,
    file,
    library,
    loose,
    of_python,
    other_hash,
    program,
    pure,
    recorded,
    sdist,
    sealed,
    several,
    truncated,
    versioned,
    wheel,
    when_asked,
    with_metadata,
    with_sha512,
    without_record,
)
from manywheels.wheels.manifest import TargetRecord, TargetState
from unit.elfmaker import SharedObject
from unit.helpers import METADATA
from unit.wheelmaker import DIST_INFO
from unit.zipmaker import STORED, Lies

TABLE: Final = {"demo/table.csv": b"1,2\n"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A check's pair of wheels: `breaks` says what is wrong with the broken one, `near` how the valid one differs.

    `also` are codes that are always found with it. `make_broken` and `make_near_miss` write into an empty folder.
    """

    code: str
    breaks: str
    near: str
    make_broken: Make
    make_near_miss: Make
    also: frozenset[str] = frozenset()


def write_corpus(folder: Path) -> None:
    """Write every case, and `corpus.json` with the texts of each."""
    for case in CASES:
        for name, make in (("broken", case.make_broken), ("near-miss", case.make_near_miss)):
            place = folder / case.code / name
            place.mkdir(parents=True)
            make(place)
    told = {case.code: {"breaks": case.breaks, "near": case.near} for case in CASES}
    (folder / "corpus.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _start_of(length: int) -> str:
    """Return name and version of a wheel whose file name has this length."""
    return f"demo-1.{'1' * (length - len(f'demo-1.-{TAGS}.whl'))}"


# --- the table -------------------------------------------------------------------------------------------------------

_INDEX_LIMIT: Final = 100 * MIB
_HOOK: Final = b"# __pyarmor" + b"_enter__\n"  # in two parts: the index refuses a file with the whole word
_NOISE: Final = random.Random(0).randbytes(40_000)  # does not compress
_RST: Final = "Description-Content-Type: text/x-rst\n"
_SHOUT_INSIDE: Final = {f"demo.libs/{SHOUT}": library()}
_TOOL: Final = "demo-1.0.data/scripts/demo-tool"
_POINTER: Final = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 12345678\n"
_LIBSTDCXX: Final = "libstdc++-1a2b3c4d.so.6.0.33"

CASES: Final[tuple[Case, ...]] = (
    Case(
        code="MW200",
        breaks="The file is truncated.",
        near="It is complete, and has a build tag.",
        make_broken=truncated(wheel()),
        make_near_miss=wheel(start="demo-1.0-1a"),
    ),
    Case(
        code="MW201",
        breaks="The file name says `Demo.Pkg`.",
        near="The file name says `demo_pkg`.",
        make_broken=wheel(start="Demo.Pkg-1.0"),
        make_near_miss=wheel(start="demo_pkg-1.0"),
    ),
    Case(
        code="MW202",
        breaks="The wheel was renamed from manylinux_2_34 to manylinux_2_28.",
        near="WHEEL expands the compressed tag set of the file name.",
        make_broken=wheel(
            wheel_file="Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: false\n"
            "Tag: cp312-cp312-manylinux_2_34_x86_64\n\n"
        ),
        make_near_miss=wheel(tags="cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64"),
    ),
    Case(
        code="MW203",
        breaks="A wheel with machine code is installed into purelib.",
        near="A pure wheel is.",
        make_broken=wheel(wheel_file=f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {TAGS}\n\n"),
        make_near_miss=pure(),
    ),
    Case(
        code="MW204",
        breaks="The wheel was not repaired: its tag is `linux_x86_64`.",
        near="The same content is tagged musllinux_1_2.",
        make_broken=wheel(ON_MUSL, at=PLAIN, tags="cp312-cp312-linux_x86_64"),
        make_near_miss=wheel(ON_MUSL, at=PLAIN, tags="cp312-cp312-musllinux_1_2_x86_64"),
    ),
    Case(
        code="MW205",
        breaks="An extension module for Python 3.11 was left in a wheel for 3.12.",
        near="The wheel also has one for abi3.",
        make_broken=wheel(also={EXTENSION.replace("312", "311"): CORE}),
        make_near_miss=wheel(also={STABLE: CORE}),
    ),
    Case(
        code="MW206",
        breaks="The extension module is for aarch64, the tag for x86_64.",
        near="Both are for aarch64.",
        make_broken=wheel(ON_AARCH64, at=PLAIN),
        make_near_miss=wheel(ON_AARCH64, at=PLAIN, tags="cp312-cp312-manylinux_2_28_aarch64"),
    ),
    Case(
        code="MW207",
        breaks="The RUNPATH is a folder of the build machine.",
        near="It starts with $ORIGIN.",
        make_broken=wheel(extension(runpath="/build/demo/lib")),
        make_near_miss=wheel(extension(runpath="$ORIGIN/../demo.libs")),
    ),
    Case(
        code="MW208",
        breaks="The extension module needs close_range@GLIBC_2.34, but the tag is manylinux_2_28.",
        near="It needs fcntl64@GLIBC_2.28.",
        make_broken=wheel(extension(versioned("close_range", "GLIBC_2.34"))),
        make_near_miss=wheel(extension(versioned("fcntl64", "GLIBC_2.28"))),
    ),
    Case(
        code="MW209",
        breaks="The extension module needs a library that was not grafted.",
        near="The library was grafted.",
        make_broken=wheel(extension(needed=("libc.so.6", SHOUT))),
        make_near_miss=wheel(
            extension(needed=("libc.so.6", SHOUT), runpath="$ORIGIN/../demo.libs"), also=_SHOUT_INSIDE
        ),
    ),
    Case(
        code="MW210",
        breaks="The extension module is truncated to 200 bytes.",
        near="Its section headers were stripped.",
        make_broken=wheel(CORE.to_bytes()[:200]),
        make_near_miss=wheel(extension(sections=False)),
    ),
    Case(
        code="MW211",
        breaks="The extension module needs close_range, new in glibc 2.34, without a version, as zig links it.",
        near="The symbol is weak.",
        make_broken=wheel(extension(*loose("close_range"))),
        make_near_miss=wheel(extension(*loose("close_range", weak=True))),
    ),
    Case(
        code="MW212",
        breaks="The extension module requests an executable stack.",
        near="It has no stack header, on aarch64, where no stack is executable.",
        make_broken=wheel(extension(stack="rwx")),
        make_near_miss=wheel(replace(ON_AARCH64, stack=None), at=PLAIN, tags="cp312-cp312-manylinux_2_28_aarch64"),
    ),
    Case(
        code="MW213",
        breaks="The extension module has text relocations.",
        near="It has none.",
        make_broken=wheel(extension(text_relocations="TEXTREL")),
        make_near_miss=wheel(),
    ),
    Case(
        code="MW214",
        breaks="The property note of the extension module requires x86-64-v3.",
        near="Only that of a copy in glibc-hwcaps/x86-64-v3 does.",
        make_broken=wheel(extension(isa_needed=0b100)),
        make_near_miss=wheel(
            extension(needed=("libc.so.6", SHOUT), runpath="$ORIGIN/../demo.libs"),
            also={**_SHOUT_INSIDE, f"demo.libs/glibc-hwcaps/x86-64-v3/{SHOUT}": library(isa_needed=0b100)},
        ),
    ),
    Case(
        code="MW215",
        breaks="One module needs the system's libstdc++, another a copy in the wheel.",
        near="Both need the copy.",
        make_broken=wheel(
            extension(needed=("libstdc++.so.6", "libc.so.6")),
            also={
                "demo/_other.cpython-312-x86_64-linux-gnu.so": extension(
                    needed=(_LIBSTDCXX,), runpath="$ORIGIN/../demo.libs"
                ),
                f"demo.libs/{_LIBSTDCXX}": library(soname=_LIBSTDCXX),
            },
        ),
        make_near_miss=wheel(
            extension(needed=(_LIBSTDCXX,), runpath="$ORIGIN/../demo.libs"),
            also={f"demo.libs/{_LIBSTDCXX}": library(soname=_LIBSTDCXX)},
        ),
    ),
    Case(
        code="MW216",
        breaks="The extension module was built for 3.13t, but the tag is for 3.13.",
        near="The tag is for 3.13t, too.",
        make_broken=wheel(extension(*loose("_Py_DecRefShared")), at=PLAIN, tags="cp313-cp313-manylinux_2_28_x86_64"),
        make_near_miss=wheel(
            extension(*loose("_Py_DecRefShared")), at=PLAIN, tags="cp313-cp313t-manylinux_2_28_x86_64"
        ),
    ),
    Case(
        code="MW217",
        breaks="The extension module needs libpython3.12.so.1.0.",
        near="A program in the wheel embeds a libpython of the wheel.",
        make_broken=wheel(extension(needed=("libc.so.6", "libpython3.12.so.1.0"))),
        make_near_miss=wheel(
            also={
                "demo/bin/embed": SharedObject(
                    needed=("libpython3.12.so.1.0",), runpath="$ORIGIN/../lib", interpreter=True
                ),
                "demo/lib/libpython3.12.so.1.0": library(soname="libpython3.12.so.1.0"),
            }
        ),
    ),
    Case(
        code="MW218",
        breaks="The wheel is tagged cp39-abi3 and uses PyUnicode_AsUTF8AndSize, which is stable since 3.10.",
        near="It is tagged cp310-abi3.",
        make_broken=wheel(
            extension(*loose("PyUnicode_AsUTF8AndSize")), at=STABLE, tags="cp39-abi3-manylinux_2_28_x86_64"
        ),
        make_near_miss=wheel(
            extension(*loose("PyUnicode_AsUTF8AndSize")), at=STABLE, tags="cp310-abi3-manylinux_2_28_x86_64"
        ),
    ),
    Case(
        code="MW219",
        breaks="The extension module needs a library by its path, `/build/lib/libshout.so.1`.",
        near="The path starts with $ORIGIN.",
        make_broken=wheel(extension(needed=("libc.so.6", f"/build/lib/{SHOUT}")), also={f"demo/{SHOUT}": library()}),
        make_near_miss=wheel(extension(needed=("libc.so.6", f"$ORIGIN/{SHOUT}")), also={f"demo/{SHOUT}": library()}),
    ),
    Case(
        code="MW220",
        breaks="There is a shell script before the archive.",
        near="The archive is in zip64 format.",
        make_broken=pure(prefix=b"#!/bin/sh\nexit\n"),
        make_near_miss=pure(zip64=True),
    ),
    Case(
        code="MW221",
        breaks="Two file names differ only in case.",
        near="The files are in different folders.",
        make_broken=pure(file("demo/data.txt"), file("demo/Data.txt", b"other\n")),
        make_near_miss=pure(file("demo/a/data.txt"), file("demo/b/Data.txt", b"other\n")),
    ),
    Case(
        code="MW222",
        breaks="A path leads out of the folder: `../outside.txt`.",
        near="The name of a folder starts with dots.",
        make_broken=pure(file("../outside.txt")),
        make_near_miss=pure(file("demo/..data/inside.txt")),
    ),
    Case(
        code="MW223",
        breaks="A member is a symbolic link to /etc/passwd.",
        near="A member is executable.",
        make_broken=pure(file(content=b"/etc/passwd", mode=0o120777)),
        make_near_miss=pure(file(mode=0o100755)),
    ),
    Case(
        code="MW224",
        breaks="A member has another name in its own header than in the list of members.",
        near="A member's own header has the sizes in a zip64 field.",
        make_broken=pure(file(local=Lies(name=b"demo/evil.txt"))),
        make_near_miss=pure(file(zip64=True)),
    ),
    Case(
        code="MW225",
        breaks="66 MiB of zeros are compressed to 66 kB.",
        near="62 MiB of zeros are.",
        make_broken=when_asked(lambda: pure(file(content=bytes(66 * MIB)))),
        make_near_miss=when_asked(lambda: pure(file(content=bytes(62 * MIB)))),
    ),
    Case(
        code="MW226",
        breaks="One byte of a member has changed.",
        near="No byte has changed.",
        make_broken=pure(file(method=STORED, data=b"dada\n")),
        make_near_miss=pure(file(method=STORED)),
    ),
    Case(
        code="MW229",
        breaks="The extension module needs `spam_new`, which nothing defines.",
        near="Another file in the wheel defines it.",
        make_broken=wheel(extension(*loose("spam_new"))),
        make_near_miss=wheel(extension(*loose("spam_new")), also={"demo/_base.so": library(exports=("spam_new",))}),
    ),
    Case(
        code="MW230",
        breaks="There is no RECORD.",
        near="Its lines end with CR and LF.",
        make_broken=archive(without_record()),
        make_near_miss=recorded(lambda record: record.replace("\n", "\r\n")),
    ),
    Case(
        code="MW231",
        breaks="A file is not listed in RECORD.",
        near="Only the signature of RECORD is not listed.",
        make_broken=pure(file(), unlisted=("demo/data.txt",)),
        make_near_miss=pure(file(f"{DIST_INFO}/RECORD.jws", b"{}\n"), unlisted=(f"{DIST_INFO}/RECORD.jws",)),
    ),
    Case(
        code="MW232",
        breaks="RECORD has a wrong hash for a file, of the right size.",
        near="A hash is sha512.",
        make_broken=recorded(other_hash),
        make_near_miss=recorded(with_sha512),
    ),
    Case(
        code="MW233",
        breaks="RECORD has size 13 for a file of 12 bytes.",
        near="RECORD leaves the size out.",
        make_broken=recorded(lambda record: record.replace(",12\n", ",13\n")),
        make_near_miss=recorded(lambda record: record.replace(",12\n", ",\n")),
    ),
    Case(
        code="MW234",
        breaks="A library is a Git LFS pointer.",
        near="A text names the address of the pointers' specification.",
        make_broken=wheel(also={"demo/libkernel.so": _POINTER}),
        make_near_miss=wheel(also={"demo/notes.txt": b"See https://git-lfs.github.com/spec/v1\n"}),
    ),
    Case(
        code="MW235",
        breaks="A file named `libshout.so` is the text of a link, `libshout.so.1`.",
        near="It is a script for linkers.",
        make_broken=wheel(also={"demo/libshout.so": b"libshout.so.1"}),
        make_near_miss=wheel(also={"demo/libshout.so": b"INPUT(libshout.so.1)\n"}),
    ),
    Case(
        code="MW236",
        breaks="A program in a wheel for glibc is started by the loader of musl.",
        near="It is started by the loader of glibc.",
        make_broken=wheel(also={_TOOL: program("/lib/ld-musl-x86_64.so.1")}, executable=(_TOOL,)),
        make_near_miss=wheel(also={_TOOL: program("/lib64/ld-linux-x86-64.so.2")}, executable=(_TOOL,)),
    ),
    Case(
        code="MW237",
        breaks="A wheel for macOS has an extension module for Linux, and none for macOS.",
        near="The wheel is for Android, which loads ELF files.",
        make_broken=wheel(at=PLAIN, tags="cp312-cp312-macosx_11_0_arm64"),
        make_near_miss=wheel(at=PLAIN, tags="cp312-cp312-android_24_x86_64"),
    ),
    Case(
        code="MW238",
        breaks="The tag is manylinux_9_99, but there is no glibc 9.",
        near="It is manylinux_2_40.",
        make_broken=wheel(tags="cp312-cp312-manylinux_9_99_x86_64"),
        make_near_miss=wheel(tags="cp312-cp312-manylinux_2_40_x86_64"),
    ),
    Case(
        code="MW239",
        breaks="No file of the wheel needs a library in its folder of grafted ones.",
        near="The extension module needs it.",
        make_broken=wheel(also=_SHOUT_INSIDE),
        make_near_miss=wheel(
            extension(needed=("libc.so.6", SHOUT), runpath="$ORIGIN/../demo.libs"), also=_SHOUT_INSIDE
        ),
    ),
    Case(
        code="MW240",
        breaks="A dependency is declared as `numpy=>1`.",
        near="It is declared as `numpy>=1`.",
        make_broken=with_metadata("Requires-Dist: numpy=>1\n"),
        make_near_miss=with_metadata("Requires-Dist: numpy>=1\n"),
    ),
    Case(
        code="MW241",
        breaks="The version is 1.1 in METADATA, and 1.0 in the file name.",
        near="METADATA has 1.0.0, which is equal.",
        make_broken=wheel(metadata=METADATA.replace("{version}", "1.1")),
        make_near_miss=wheel(metadata=METADATA.replace("{version}", "1.0.0")),
    ),
    Case(
        code="MW242",
        breaks="The reStructuredText description uses a Sphinx directive.",
        near="The same text is declared as plain.",
        make_broken=with_metadata(kind=_RST, description="Demo\n====\n\n.. automodule:: demo\n"),
        make_near_miss=with_metadata(description="Demo\n====\n\n.. automodule:: demo\n"),
    ),
    Case(
        code="MW243",
        breaks="License-Expression is `MIT License`.",
        near="It is `MIT OR Apache-2.0`.",
        make_broken=with_metadata(licensed="License-Expression: MIT License\nLicense-File: LICENSE\n"),
        make_near_miss=with_metadata(licensed="License-Expression: MIT OR Apache-2.0\nLicense-File: LICENSE\n"),
    ),
    Case(
        code="MW244",
        breaks="Requires-Python is `>=3.13`, but the tag is cp312.",
        near="Requires-Python is `>=3.12.4`.",
        make_broken=with_metadata("Requires-Python: >=3.13\n"),
        make_near_miss=with_metadata("Requires-Python: >=3.12.4\n"),
    ),
    Case(
        code="MW245",
        breaks="A script's entry point names a module without a function.",
        near="It names both.",
        make_broken=wheel(also={f"{DIST_INFO}/entry_points.txt": b"[console_scripts]\ndemo = demo.cli\n"}),
        make_near_miss=wheel(also={f"{DIST_INFO}/entry_points.txt": b"[console_scripts]\ndemo = demo.cli:main\n"}),
    ),
    Case(
        code="MW246",
        breaks="There is no description.",
        near="The description is one word.",
        make_broken=with_metadata(description=""),
        make_near_miss=with_metadata(description="Demo\n"),
    ),
    Case(
        code="MW247",
        breaks="The wheel has no licence text.",
        near="The text is in *.dist-info/COPYING, which is not declared.",
        make_broken=with_metadata(licensed="License-Expression: MIT\n", licence=None),
        make_near_miss=with_metadata(
            licensed="License-Expression: MIT\n", licence=None, also={f"{DIST_INFO}/COPYING": b"Do as you like.\n"}
        ),
    ),
    Case(
        code="MW248",
        breaks="The label of a project URL has 33 characters.",
        near="It has 32.",
        make_broken=with_metadata(f"Project-URL: {'x' * 33}, https://example.org\n"),
        make_near_miss=with_metadata(f"Project-URL: {'x' * 32}, https://example.org\n"),
    ),
    Case(
        code="MW250",
        breaks="A wheel for manylinux has no machine code.",
        near="It has a static program.",
        make_broken=wheel(None),
        make_near_miss=wheel(None, also={"demo/bin/tool": STATIC_PROGRAM}),
    ),
    Case(
        code="MW251",
        breaks="A pure wheel has a program for x86_64.",
        near="The program is a script.",
        make_broken=pure(file("demo/bin/tool", STATIC_PROGRAM.to_bytes())),
        make_near_miss=pure(file("demo/bin/tool", b"#!/bin/sh\n")),
    ),
    Case(
        code="MW252",
        breaks="The tests are installed at the top of site-packages.",
        near="They are in the package.",
        make_broken=wheel(also={"tests/__init__.py": b"tests = 1\n"}),
        make_near_miss=wheel(also={"demo/tests/__init__.py": b"tests = 1\n"}),
    ),
    Case(
        code="MW253",
        breaks="A .pth file runs code at each start of Python.",
        near="It is in a folder where Python does not read it.",
        make_broken=wheel(also={"demo.pth": b"import demo\n"}),
        make_near_miss=wheel(also={"demo/demo.pth": b"import demo\n"}),
    ),
    Case(
        code="MW254",
        breaks="A compiled Python file was left in the wheel.",
        near="A C++ source in include/ belongs to a header.",
        make_broken=wheel(also={"demo/__pycache__/old.cpython-312.pyc": b"\xcb\r\r\n"}),
        make_near_miss=wheel(also={"demo/include/demo/impl.cpp": b"int demo();\n"}),
    ),
    Case(
        code="MW255",
        breaks="A file is in demo-1.0.data/plat/, but there is no such scheme.",
        near="It is in demo-1.0.data/platlib/.",
        make_broken=wheel(also={"demo-1.0.data/plat/demo/more.py": b"more = 1\n"}),
        make_near_miss=wheel(also={"demo-1.0.data/platlib/demo/more.py": b"more = 1\n"}),
    ),
    Case(
        code="MW256",
        breaks="A .pth file names a folder of the build machine.",
        near="The same file is in the package.",
        make_broken=wheel(also={"demo.pth": b"/home/build/demo/src\n"}),
        make_near_miss=wheel(also={"demo/demo.pth": b"/home/build/demo/src\n"}),
        also=frozenset({"MW253"}),  # found for every .pth file
    ),
    Case(
        code="MW257",
        breaks="A comment names a hook of PyArmor.",
        near="A text file does.",
        make_broken=wheel(also={"demo/notes.py": _HOOK}),
        make_near_miss=wheel(also={"demo/notes.txt": _HOOK}),
    ),
    Case(
        code="MW258",
        breaks="The file name has 247 bytes.",
        near="It has 246 bytes.",
        make_broken=wheel(metadata=METADATA, start=_start_of(247)),
        make_near_miss=wheel(metadata=METADATA, start=_start_of(246)),
    ),
    Case(
        code="MW260",
        breaks="The wheel was built again after the set was sealed.",
        near="It is the sealed one.",
        make_broken=sealed(wheel(), then=built_again),
        make_near_miss=sealed(wheel()),
    ),
    Case(
        code="MW261",
        breaks="The folder has wheels of two versions.",
        near="It has wheels for two Pythons.",
        make_broken=several(of_python("cp312"), of_python("cp313", start="demo-1.1")),
        make_near_miss=several(of_python("cp312"), of_python("cp313")),
    ),
    Case(
        code="MW262",
        breaks="One wheel is twenty times as large as another.",
        near="It is less than three times as large.",
        make_broken=several(of_python("cp312"), of_python("cp313", CORE.to_bytes() + _NOISE)),
        make_near_miss=several(of_python("cp312"), of_python("cp313", CORE.to_bytes() + _NOISE[:1500])),
    ),
    Case(
        code="MW263",
        breaks="The wheel is slightly larger than 100 MiB.",
        near="It is slightly smaller.",
        make_broken=when_asked(lambda: pure(file(content=bytes(_INDEX_LIMIT), method=STORED))),
        make_near_miss=when_asked(lambda: pure(file(content=bytes(_INDEX_LIMIT - 4096), method=STORED))),
    ),
    Case(
        code="MW264",
        breaks="A version file differs between the wheels.",
        near="It is the same in both.",
        make_broken=several(
            *(
                of_python(python, also={"demo/version.py": f"built = '{python}'\n".encode()})
                for python in ("cp312", "cp313")
            )
        ),
        make_near_miss=several(
            *(of_python(python, also={"demo/version.py": b"built = ''\n"}) for python in ("cp312", "cp313"))
        ),
    ),
    Case(
        code="MW265",
        breaks="Two wheels for one Python have the tag manylinux_2_28.",
        near="They have different build tags.",
        make_broken=several(wheel(), wheel(tags="cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64")),
        make_near_miss=several(
            wheel(), wheel(start="demo-1.0-1", tags="cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64")
        ),
    ),
    Case(
        code="MW266",
        breaks="The plan has cp313, and there was no Python 3.13 to build it with.",
        near="The plan leaves cp313 out.",
        make_broken=sealed(
            wheel(), others=[TargetRecord(identifier="cp313-manylinux_x86_64", state=TargetState.NO_INTERPRETER)]
        ),
        make_near_miss=sealed(wheel()),
    ),
    Case(
        code="MW270",
        breaks="The tag combines Python 3.12 with the ABI of 3.13; uv does not support ppc64le.",
        near="It combines 3.13 with its own ABI.",
        make_broken=wheel(ON_PPC64LE, at=PLAIN, tags="cp312-cp313-manylinux_2_28_ppc64le"),
        make_near_miss=wheel(ON_PPC64LE, at=PLAIN, tags="cp313-cp313-manylinux_2_28_ppc64le"),
    ),
    Case(
        code="MW271",
        breaks="A dependency is in a Bazaar repository, which pip accepts and uv refuses.",
        near="It is on the index.",
        make_broken=with_metadata("Requires-Dist: shout @ bzr+https://example.org/shout\n"),
        make_near_miss=with_metadata("Requires-Dist: shout\n"),
        also=frozenset({"MW248"}),  # found for every dependency with an address
    ),
    Case(
        code="MW272",
        breaks="A module imports a package that no dependency declares.",
        near="It catches the ImportError.",
        make_broken=pure(file("shout.py", b"import demo_of_nowhere\n")),
        make_near_miss=pure(file("shout.py", b"try:\n    import demo_of_nowhere\nexcept ImportError:\n    pass\n")),
    ),
    Case(
        code="MW273",
        breaks="The wheel is for another architecture than this machine's.",
        near="It is for any architecture.",
        make_broken=wheel(ON_PPC64LE, at=PLAIN, tags="cp313-cp313-manylinux_2_28_ppc64le"),
        make_near_miss=pure(),
    ),
    Case(
        code="MW280",
        breaks="The attestation is for another build of the wheel.",
        near="It is for this build.",
        make_broken=attested(wheel(), sha256="0" * 64),
        make_near_miss=attested(wheel()),
    ),
    Case(
        code="MW290",
        breaks="The sdist lacks the licence file that its metadata name.",
        near="It has the file.",
        make_broken=sdist(licence=None),
        make_near_miss=sdist(),
    ),
    Case(
        code="MW291",
        breaks="A table is in the wheel, and not in the one that was built from the sdist.",
        near="Both wheels have it.",
        make_broken=built_from_both(wheel(also=TABLE), wheel()),
        make_near_miss=built_from_both(wheel(also=TABLE), wheel(also=TABLE)),
    ),
)
