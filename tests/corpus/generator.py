"""The table of cases: what each check is there for, as a wheel that breaks just it, and a near miss that is honest."""

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
    extension,
    file,
    library,
    loose,
    of_python,
    other_hash,
    pure,
    recorded,
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
from unit.elfmaker import SharedObject
from unit.helpers import METADATA
from unit.wheelmaker import DIST_INFO
from unit.zipmaker import STORED, Lies


@dataclass(frozen=True, kw_only=True)
class Case:
    """A check's pair. `breaks` says what is wrong with the broken wheel, `near` what the near miss does instead.

    `also` are codes that cannot but be found with it. `make_broken` and `make_near_miss` write into an empty folder.
    """

    code: str
    breaks: str
    near: str
    make_broken: Make
    make_near_miss: Make
    also: frozenset[str] = frozenset()


def write_corpus(folder: Path) -> None:
    """Write every case, and `corpus.json` with what each breaks."""
    for case in CASES:
        for name, make in (("broken", case.make_broken), ("near-miss", case.make_near_miss)):
            place = folder / case.code / name
            place.mkdir(parents=True)
            make(place)
    told = {case.code: {"breaks": case.breaks, "near": case.near} for case in CASES}
    (folder / "corpus.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


# --- the table -------------------------------------------------------------------------------------------------------

_INDEX_LIMIT: Final = 100 * MIB
_NOISE: Final = random.Random(0).randbytes(40_000)  # does not compress
_RST: Final = "Description-Content-Type: text/x-rst\n"
_SHOUT_INSIDE: Final = {f"demo.libs/{SHOUT}": library()}
_LIBSTDCXX: Final = "libstdc++-1a2b3c4d.so.6.0.33"

CASES: Final[tuple[Case, ...]] = (
    Case(
        code="MW200",
        breaks="The file breaks off in the middle.",
        near="The whole file, with a build tag.",
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
        breaks="It was renamed from manylinux_2_34 to manylinux_2_28.",
        near="The compressed tag set of the name stands expanded in WHEEL.",
        make_broken=wheel(
            wheel_file="Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: false\n"
            "Tag: cp312-cp312-manylinux_2_34_x86_64\n\n"
        ),
        make_near_miss=wheel(tags="cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64"),
    ),
    Case(
        code="MW203",
        breaks="A wheel with machine code goes to purelib.",
        near="A pure wheel goes to purelib.",
        make_broken=wheel(wheel_file=f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {TAGS}\n\n"),
        make_near_miss=pure(),
    ),
    Case(
        code="MW204",
        breaks="It was not repaired: the tag is `linux_x86_64`.",
        near="The same content, tagged musllinux_1_2.",
        make_broken=wheel(ON_MUSL, at=PLAIN, tags="cp312-cp312-linux_x86_64"),
        make_near_miss=wheel(ON_MUSL, at=PLAIN, tags="cp312-cp312-musllinux_1_2_x86_64"),
    ),
    Case(
        code="MW205",
        breaks="The extension module of Python 3.11 was left in it.",
        near="One for abi3 lies beside it.",
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
        breaks="The RUNPATH is a folder of the machine that built it.",
        near="It begins with $ORIGIN.",
        make_broken=wheel(extension(runpath="/build/demo/lib")),
        make_near_miss=wheel(extension(runpath="$ORIGIN/../demo.libs")),
    ),
    Case(
        code="MW208",
        breaks="It wants close_range@GLIBC_2.34, tagged manylinux_2_28.",
        near="It wants fcntl64@GLIBC_2.28.",
        make_broken=wheel(extension(versioned("close_range", "GLIBC_2.34"))),
        make_near_miss=wheel(extension(versioned("fcntl64", "GLIBC_2.28"))),
    ),
    Case(
        code="MW209",
        breaks="It needs a library that was not grafted.",
        near="The library was grafted.",
        make_broken=wheel(extension(needed=("libc.so.6", SHOUT))),
        make_near_miss=wheel(
            extension(needed=("libc.so.6", SHOUT), runpath="$ORIGIN/../demo.libs"), also=_SHOUT_INSIDE
        ),
    ),
    Case(
        code="MW210",
        breaks="The extension module breaks off after its first 200 bytes.",
        near="Its section headers were stripped.",
        make_broken=wheel(CORE.to_bytes()[:200]),
        make_near_miss=wheel(extension(sections=False)),
    ),
    Case(
        code="MW211",
        breaks="It wants close_range of glibc 2.34 without a version, as zig links it.",
        near="The symbol is weak.",
        make_broken=wheel(extension(*loose("close_range"))),
        make_near_miss=wheel(extension(*loose("close_range", weak=True))),
    ),
    Case(
        code="MW212",
        breaks="It asks for an executable stack.",
        near="It says nothing of its stack, on aarch64, where none is executable.",
        make_broken=wheel(extension(stack="rwx")),
        make_near_miss=wheel(replace(ON_AARCH64, stack=None), at=PLAIN, tags="cp312-cp312-manylinux_2_28_aarch64"),
    ),
    Case(
        code="MW213",
        breaks="It has text relocations.",
        near="It has none.",
        make_broken=wheel(extension(text_relocations="TEXTREL")),
        make_near_miss=wheel(),
    ),
    Case(
        code="MW214",
        breaks="Its property note asks for x86-64-v3.",
        near="Only its copy in glibc-hwcaps/x86-64-v3 does.",
        make_broken=wheel(extension(isa_needed=0b100)),
        make_near_miss=wheel(
            also={**_SHOUT_INSIDE, f"demo.libs/glibc-hwcaps/x86-64-v3/{SHOUT}": library(isa_needed=0b100)}
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
        breaks="The extension module is built for 3.13t, the tag says 3.13.",
        near="So does the tag.",
        make_broken=wheel(extension(*loose("_Py_DecRefShared")), at=PLAIN, tags="cp313-cp313-manylinux_2_28_x86_64"),
        make_near_miss=wheel(
            extension(*loose("_Py_DecRefShared")), at=PLAIN, tags="cp313-cp313t-manylinux_2_28_x86_64"
        ),
    ),
    Case(
        code="MW217",
        breaks="The extension module needs libpython3.12.so.1.0.",
        near="A program in the wheel embeds the libpython that lies beside it.",
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
        breaks="Tagged cp39-abi3, it wants PyUnicode_AsUTF8AndSize, stable since 3.10.",
        near="Tagged cp310-abi3.",
        make_broken=wheel(
            extension(*loose("PyUnicode_AsUTF8AndSize")), at=STABLE, tags="cp39-abi3-manylinux_2_28_x86_64"
        ),
        make_near_miss=wheel(
            extension(*loose("PyUnicode_AsUTF8AndSize")), at=STABLE, tags="cp310-abi3-manylinux_2_28_x86_64"
        ),
    ),
    Case(
        code="MW219",
        breaks="It needs `/build/lib/libshout.so.1`, by that path.",
        near="It needs `$ORIGIN/` and the name.",
        make_broken=wheel(extension(needed=("libc.so.6", f"/build/lib/{SHOUT}")), also={f"demo/{SHOUT}": library()}),
        make_near_miss=wheel(extension(needed=("libc.so.6", f"$ORIGIN/{SHOUT}")), also={f"demo/{SHOUT}": library()}),
    ),
    Case(
        code="MW220",
        breaks="A shell script stands before the archive.",
        near="The archive is zip64.",
        make_broken=pure(prefix=b"#!/bin/sh\nexit\n"),
        make_near_miss=pure(zip64=True),
    ),
    Case(
        code="MW221",
        breaks="Two files differ in capitals only.",
        near="They lie in different folders.",
        make_broken=pure(file("demo/data.txt"), file("demo/Data.txt", b"other\n")),
        make_near_miss=pure(file("demo/a/data.txt"), file("demo/b/Data.txt", b"other\n")),
    ),
    Case(
        code="MW222",
        breaks="A file leads out of the folder: `../outside.txt`.",
        near="A folder's name begins with dots.",
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
        breaks="A member's own header names it otherwise than the list of members.",
        near="A member's own header says its sizes in a zip64 field.",
        make_broken=pure(file(local=Lies(name=b"demo/evil.txt"))),
        make_near_miss=pure(file(zip64=True)),
    ),
    Case(
        code="MW225",
        breaks="12 MiB of zeros, in 12 kB.",
        near="9 MiB of zeros.",
        make_broken=pure(file(content=bytes(12 * MIB))),
        make_near_miss=pure(file(content=bytes(9 * MIB))),
    ),
    Case(
        code="MW226",
        breaks="A byte of a member was changed on the way.",
        near="It is as it was.",
        make_broken=pure(file(method=STORED, data=b"dada\n")),
        make_near_miss=pure(file(method=STORED)),
    ),
    Case(
        code="MW229",
        breaks="It wants `spam_new`, which nothing defines.",
        near="Another file in the wheel defines it.",
        make_broken=wheel(extension(*loose("spam_new"))),
        make_near_miss=wheel(extension(*loose("spam_new")), also={"demo/_base.so": library(exports=("spam_new",))}),
    ),
    Case(
        code="MW230",
        breaks="There is no RECORD.",
        near="Its lines end as those of Windows do.",
        make_broken=archive(without_record()),
        make_near_miss=recorded(lambda record: record.replace("\n", "\r\n")),
    ),
    Case(
        code="MW231",
        breaks="A file is not listed in RECORD.",
        near="Only RECORD's signature is not.",
        make_broken=pure(file(), unlisted=("demo/data.txt",)),
        make_near_miss=pure(file(f"{DIST_INFO}/RECORD.jws", b"{}\n"), unlisted=(f"{DIST_INFO}/RECORD.jws",)),
    ),
    Case(
        code="MW232",
        breaks="RECORD has the hash of another content of the same size.",
        near="A hash is sha512.",
        make_broken=recorded(other_hash),
        make_near_miss=recorded(with_sha512),
    ),
    Case(
        code="MW233",
        breaks="RECORD says 13 bytes of a file of 12.",
        near="RECORD leaves the size out.",
        make_broken=recorded(lambda record: record.replace(",12\n", ",13\n")),
        make_near_miss=recorded(lambda record: record.replace(",12\n", ",\n")),
    ),
    Case(
        code="MW240",
        breaks="A dependency is declared as `numpy=>1`.",
        near="As `numpy>=1`.",
        make_broken=with_metadata("Requires-Dist: numpy=>1\n"),
        make_near_miss=with_metadata("Requires-Dist: numpy>=1\n"),
    ),
    Case(
        code="MW241",
        breaks="METADATA says version 1.1, the file name 1.0.",
        near="METADATA says 1.0.0, which is the same.",
        make_broken=wheel(metadata=METADATA.replace("{version}", "1.1")),
        make_near_miss=wheel(metadata=METADATA.replace("{version}", "1.0.0")),
    ),
    Case(
        code="MW242",
        breaks="The description uses a directive of Sphinx, in reStructuredText.",
        near="The same text, declared as plain.",
        make_broken=with_metadata(kind=_RST, description="Demo\n====\n\n.. automodule:: demo\n"),
        make_near_miss=with_metadata(description="Demo\n====\n\n.. automodule:: demo\n"),
    ),
    Case(
        code="MW243",
        breaks="License-Expression says `MIT License`.",
        near="It says `MIT OR Apache-2.0`.",
        make_broken=with_metadata(licensed="License-Expression: MIT License\nLicense-File: LICENSE\n"),
        make_near_miss=with_metadata(licensed="License-Expression: MIT OR Apache-2.0\nLicense-File: LICENSE\n"),
    ),
    Case(
        code="MW244",
        breaks="Requires-Python is `>=3.13`, the tag cp312.",
        near="Requires-Python is `>=3.12.4`.",
        make_broken=with_metadata("Requires-Python: >=3.13\n"),
        make_near_miss=with_metadata("Requires-Python: >=3.12.4\n"),
    ),
    Case(
        code="MW245",
        breaks="A script names a module and no function.",
        near="It names both.",
        make_broken=wheel(also={f"{DIST_INFO}/entry_points.txt": b"[console_scripts]\ndemo = demo.cli\n"}),
        make_near_miss=wheel(also={f"{DIST_INFO}/entry_points.txt": b"[console_scripts]\ndemo = demo.cli:main\n"}),
    ),
    Case(
        code="MW246",
        breaks="There is no description.",
        near="It is one word.",
        make_broken=with_metadata(description=""),
        make_near_miss=with_metadata(description="Demo\n"),
    ),
    Case(
        code="MW247",
        breaks="No licence text is in the wheel.",
        near="It lies in *.dist-info, undeclared, as COPYING.",
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
        breaks="A wheel for manylinux holds no machine code.",
        near="It holds one static program.",
        make_broken=wheel(None),
        make_near_miss=wheel(None, also={"demo/bin/tool": STATIC_PROGRAM}),
    ),
    Case(
        code="MW251",
        breaks="A pure wheel holds a program for x86_64.",
        near="The program is a script.",
        make_broken=pure(file("demo/bin/tool", STATIC_PROGRAM.to_bytes())),
        make_near_miss=pure(file("demo/bin/tool", b"#!/bin/sh\n")),
    ),
    Case(
        code="MW252",
        breaks="The tests go to the top of site-packages.",
        near="They lie in the package.",
        make_broken=wheel(also={"tests/__init__.py": b"tests = 1\n"}),
        make_near_miss=wheel(also={"demo/tests/__init__.py": b"tests = 1\n"}),
    ),
    Case(
        code="MW253",
        breaks="A .pth file runs code whenever Python starts.",
        near="It lies where no Python reads it.",
        make_broken=wheel(also={"demo.pth": b"import demo\n"}),
        make_near_miss=wheel(also={"demo/demo.pth": b"import demo\n"}),
    ),
    Case(
        code="MW254",
        breaks="A compiled Python file was left in it.",
        near="A C++ header's source, in include/.",
        make_broken=wheel(also={"demo/__pycache__/old.cpython-312.pyc": b"\xcb\r\r\n"}),
        make_near_miss=wheel(also={"demo/include/demo/impl.cpp": b"int demo();\n"}),
    ),
    Case(
        code="MW255",
        breaks="A file lies in demo-1.0.data/plat/, a scheme that there is not.",
        near="It lies in demo-1.0.data/platlib/.",
        make_broken=wheel(also={"demo-1.0.data/plat/demo/more.py": b"more = 1\n"}),
        make_near_miss=wheel(also={"demo-1.0.data/platlib/demo/more.py": b"more = 1\n"}),
    ),
    Case(
        code="MW256",
        breaks="A .pth file names a folder of the machine that built it.",
        near="The same file, within the package.",
        make_broken=wheel(also={"demo.pth": b"/home/build/demo/src\n"}),
        make_near_miss=wheel(also={"demo/demo.pth": b"/home/build/demo/src\n"}),
        also=frozenset({"MW253"}),  # which speaks of every .pth file
    ),
    Case(
        code="MW260",
        breaks="The wheel was built again after it was sealed.",
        near="It is the one that was sealed.",
        make_broken=sealed(wheel(), then=built_again),
        make_near_miss=sealed(wheel()),
    ),
    Case(
        code="MW261",
        breaks="Wheels of two versions lie together.",
        near="Wheels of two Pythons do.",
        make_broken=several(of_python("cp312"), of_python("cp313", start="demo-1.1")),
        make_near_miss=several(of_python("cp312"), of_python("cp313")),
    ),
    Case(
        code="MW262",
        breaks="One wheel has twenty times the size of its sibling.",
        near="It has less than three times.",
        make_broken=several(of_python("cp312"), of_python("cp313", CORE.to_bytes() + _NOISE)),
        make_near_miss=several(of_python("cp312"), of_python("cp313", CORE.to_bytes() + _NOISE[:1500])),
    ),
    Case(
        code="MW263",
        breaks="The wheel has a little more than 100 MiB.",
        near="It has a little less.",
        make_broken=when_asked(lambda: pure(file(content=bytes(_INDEX_LIMIT), method=STORED))),
        make_near_miss=when_asked(lambda: pure(file(content=bytes(_INDEX_LIMIT - 4096), method=STORED))),
    ),
    Case(
        code="MW264",
        breaks="A version file differs from wheel to wheel.",
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
        breaks="Two wheels have the tag manylinux_2_28 of one Python.",
        near="A build tag ranks them.",
        make_broken=several(wheel(), wheel(tags="cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64")),
        make_near_miss=several(
            wheel(), wheel(start="demo-1.0-1", tags="cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64")
        ),
    ),
    Case(
        code="MW270",
        breaks="The tag pairs Python 3.12 with the ABI of 3.13; uv cannot be asked about ppc64le.",
        near="It pairs 3.13 with its own.",
        make_broken=wheel(ON_PPC64LE, at=PLAIN, tags="cp312-cp313-manylinux_2_28_ppc64le"),
        make_near_miss=wheel(ON_PPC64LE, at=PLAIN, tags="cp313-cp313-manylinux_2_28_ppc64le"),
    ),
    Case(
        code="MW271",
        breaks="A dependency lies in Bazaar, which uv refuses and pip takes.",
        near="It lies in the index.",
        make_broken=with_metadata("Requires-Dist: shout @ bzr+https://example.org/shout\n"),
        make_near_miss=with_metadata("Requires-Dist: shout\n"),
        also=frozenset({"MW248"}),  # which speaks of every dependency that says where it lies
    ),
    Case(
        code="MW272",
        breaks="A module imports what no dependency declares.",
        near="It tries to, and does without.",
        make_broken=pure(file("shout.py", b"import demo_of_nowhere\n")),
        make_near_miss=pure(file("shout.py", b"try:\n    import demo_of_nowhere\nexcept ImportError:\n    pass\n")),
    ),
    Case(
        code="MW273",
        breaks="It is for another architecture than this machine's.",
        near="It is for any.",
        make_broken=wheel(ON_PPC64LE, at=PLAIN, tags="cp313-cp313-manylinux_2_28_ppc64le"),
        make_near_miss=pure(),
    ),
    Case(
        code="MW280",
        breaks="The attestation beside it is of another build.",
        near="It is of this one.",
        make_broken=attested(wheel(), sha256="0" * 64),
        make_near_miss=attested(wheel()),
    ),
)
