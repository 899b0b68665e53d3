"""What the corpus is made with: functions that return makers, and a maker writes one wheel, or a set, into a folder.

Every wheel is written from its bytes, without a compiler: the files are the same on each machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from manywheels.wheels.manifest import TargetRecord, TargetState, describe_wheel
from manywheels.wheels.record import written
from unit.elfmaker import AARCH64, PPC64, SharedObject, Symbol
from unit.helpers import METADATA, manifest, write_sdist, write_wheel
from unit.wheelmaker import RECORD, record_of, wheel_spec, write_spec
from unit.zipmaker import MemberSpec, ZipFileSpec

Make = Callable[[Path], Path]

TAGS: Final = "cp312-cp312-manylinux_2_28_x86_64"
EXTENSION: Final = "demo/_core.cpython-312-x86_64-linux-gnu.so"
STABLE: Final = "demo/_core.abi3.so"
PLAIN: Final = "demo/_core.so"
SHOUT: Final = "libshout-1a2b3c4d.so.1"
MIB: Final = 1 << 20


# --- what a compiler would have made ---------------------------------------------------------------------------------


def loose(*names: str, weak: bool = False) -> tuple[Symbol, ...]:
    """Return symbols without a version."""
    return tuple(Symbol(name=name, version=None, weak=weak) for name in names)


def versioned(name: str, version: str) -> Symbol:
    """Return a symbol of glibc's, as `close_range` of `GLIBC_2.34`."""
    return Symbol(name=name, version=version)


def extension(*symbols: Symbol, **fields: Any) -> SharedObject:
    """Return an honest extension module `_core` but for what is given."""
    usual = (versioned("malloc", "GLIBC_2.2.5"), *loose("PyModule_Create2", "PyList_New"))
    own = SharedObject(exports=("PyInit__core",), symbols=(*usual, *symbols))
    return replace(own, **fields)


def library(**fields: Any) -> SharedObject:
    """Return an honest library that needs nothing of libc by name."""
    return replace(SharedObject(soname=SHOUT, exports=("shout",)), **fields)


def program(interpreter: str) -> SharedObject:
    """Return a program with this loader, which needs no libraries."""
    return SharedObject(needed=(), interpreter=interpreter)


CORE: Final = extension()
ON_AARCH64: Final = extension(machine=AARCH64, symbols=(versioned("malloc", "GLIBC_2.17"),))
ON_MUSL: Final = extension(needed=(), symbols=loose("PyModule_Create2"))
ON_PPC64LE: Final = extension(machine=PPC64, symbols=())
STATIC_PROGRAM: Final = SharedObject(dynamic=False)


# --- wheels with machine code ----------------------------------------------------------------------------------------


def wheel(
    core: SharedObject | bytes | None = CORE,
    *,
    at: str = EXTENSION,
    also: Mapping[str, SharedObject | bytes] | None = None,
    **fields: Any,
) -> Make:
    """Return a maker of a platform wheel with an extension module, and other members; `fields` are write_wheel's."""
    given = {"demo/__init__.py": b"answer = 42\n", **({at: core} if core is not None else {}), **(also or {})}
    members = {name: one.to_bytes() if isinstance(one, SharedObject) else one for name, one in given.items()}

    def make(folder: Path) -> Path:
        return write_wheel(folder, **{"tags": TAGS, "members": members, **fields})

    return make


def with_metadata(
    fields: str = "", *, licensed: str = "License-Expression: MIT\nLicense-File: LICENSE\n",
    kind: str = "Description-Content-Type: text/plain\n", description: str = "A demonstration.\n", **others: Any,
) -> Make:  # fmt: skip
    """Return a maker of a platform wheel with these fields of METADATA, and this description."""
    head = METADATA.partition("License-Expression")[0]
    return wheel(metadata=f"{head}{fields}{licensed}{kind}\n{description}", **others)


# --- pure wheels, whose archive lies ---------------------------------------------------------------------------------


def pure(*members: MemberSpec, unlisted: tuple[str, ...] = (), **fields: Any) -> Make:
    """Return a maker of a pure wheel with further members; `fields` are the archive's."""
    return archive(replace(wheel_spec(*members, unlisted=unlisted), **fields))


def when_asked(maker: Callable[[], Make]) -> Make:
    """Return a maker that is made each time it is asked, and not kept: it holds much."""

    def make(folder: Path) -> Path:
        return maker()(folder)

    return make


def archive(spec: ZipFileSpec) -> Make:
    """Return a maker of a pure wheel of this very archive."""
    return lambda folder: write_spec(folder, spec)


def file(name: str = "demo/data.txt", content: bytes = b"data\n", **fields: Any) -> MemberSpec:
    """Return a member."""
    return MemberSpec(name=name, content=content, **fields)


def recorded(change: Callable[[str], str]) -> Make:
    """Return a maker of a pure wheel whose RECORD is changed; what is not asked for stays honest."""
    honest = wheel_spec().members[-1].content.decode()
    return archive(wheel_spec(record=change(honest).encode()))


def without_record() -> ZipFileSpec:
    """Return an honest pure wheel that lacks RECORD."""
    spec = wheel_spec()
    return replace(spec, members=tuple(member for member in spec.members if member.name != RECORD))


def with_sha512(record: str) -> str:
    """Return RECORD with a better hash of `demo/__init__.py`."""
    digest = written("sha512", hashlib.sha512(b"answer = 42\n").digest())
    return "\n".join(f"{line.split(',')[0]},{digest},12" if "__init__" in line else line for line in record.split("\n"))


def other_hash(record: str) -> str:
    """Return RECORD with the hash of another content of the same size."""
    other = record_of({"demo/__init__.py": b"answer = 41\n"}).decode().splitlines()[0]
    return "\n".join(other if "__init__" in line else line for line in record.split("\n"))


def truncated(make: Make) -> Make:
    """Return a maker of the first half of a file."""

    def halve(folder: Path) -> Path:
        path = make(folder)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        return path

    return halve


# --- sets ------------------------------------------------------------------------------------------------------------


def several(*makers: Make) -> Make:
    """Return a maker of all of them in one folder, which it returns."""

    def make(folder: Path) -> Path:
        for maker in makers:
            maker(folder)
        return folder

    return make


def of_python(python: str, core: SharedObject | bytes = CORE, **fields: Any) -> Make:
    """Return a maker of the wheel for one Python: `cp312`."""
    at = f"demo/_core.cpython-{python.removeprefix('cp')}-x86_64-linux-gnu.so"
    return wheel(core, at=at, **{"tags": f"{python}-{python}-manylinux_2_28_x86_64", **fields})


def sealed(
    maker: Make, *, then: Callable[[Path], object] = lambda _: None, others: Sequence[TargetRecord] = ()
) -> Make:
    """Return a maker of a wheel with its manifest, which has `others` too; `then` is done to the wheel afterwards."""

    def make(folder: Path) -> Path:
        path = maker(folder)
        record = describe_wheel(path, glibc="2.2.5", libraries=())
        sealed_as = manifest(
            TargetRecord(identifier="cp312-manylinux_x86_64", state=TargetState.BUILT, python="3.12.1", wheel=record),
            *others,
        )
        sealed_as.write(folder)
        then(path)
        return folder

    return make


def built_again(path: Path) -> None:
    """Put an honest wheel of the same name in a wheel's place."""
    wheel(also={"demo/late.py": b"late = True\n"})(path.parent)


# --- attestations ----------------------------------------------------------------------------------------------------


def attested(make: Make, sha256: str | None = None) -> Make:
    """Return a maker that has the wheel signed as a job of octo/demo, or another file of the same name.

    `trust-config.json` says whom to trust in that; these signatures are others each time.
    """

    def make_it(folder: Path) -> Path:
        from index import LocalIndex
        from index.signing import sign

        path = make(folder)
        with LocalIndex() as index:
            digest = sha256 or hashlib.sha256(path.read_bytes()).hexdigest()
            path.with_name(path.name + ".publish.attestation").write_text(sign(index, path.name, digest), "utf-8")
            (folder / "trust-config.json").write_text(index.trust_config.read_text("utf-8"), "utf-8")
        return path

    return make_it


# --- sdists ----------------------------------------------------------------------------------------------------------

FROM_SDIST: Final = "from-sdist"  # the folder of a wheel that a build from the sdist has made


def sdist(**fields: Any) -> Make:
    """Return a maker of an sdist; `fields` are write_sdist's."""
    return lambda folder: write_sdist(folder, **fields)


def built_from_both(from_source: Make, from_sdist: Make) -> Make:
    """Return a maker of the source's wheel, and of the sdist's in the folder FROM_SDIST; the first is returned."""

    def make(folder: Path) -> Path:
        (folder / FROM_SDIST).mkdir()
        from_sdist(folder / FROM_SDIST)
        return from_source(folder)

    return make
