"""Loading: why a loader (glibc's elf/dl-load.c, x86-64 psABI) or kernel refuses an ELF file, apart from symbols."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Final

from manywheels.verify.model import Check, Problem, Severity, Wheel
from manywheels.wheels.elf import Elf
from manywheels.wheels.wheelfile import is_tagged

_PYTHON_LIBRARY: Final = re.compile(r"libpython3(\.\d+[dmtu]*)?\.so(\.|$)")
# auditwheel adds a hash: libgomp-a34b3233.so.1.0.0
_RUNTIME: Final = re.compile(r"(libstdc\+\+|libgcc_s|libgomp)(-[0-9a-f]{6,})?\.so(\.[\d.]+)?")
_HARDWARE_FOLDER: Final = re.compile(r"(^|/)glibc-hwcaps/x86-64-v(\d)/")
_BASELINE: Final = 1
_SHOWN: Final = 8


def stacks_are_not_executable(wheel: Wheel) -> Iterator[Problem]:
    """No loaded ELF file makes glibc set the stack executable."""
    if not any(platform.startswith("manylinux") for platform in wheel.name.platforms):
        return
    for file in wheel.elves:
        if file.executable_stack and not file.program:
            yield Problem(
                member=file.member,
                message="needs an executable stack (PT_GNU_STACK), which glibc 2.41 and later refuse",
                remedy="Give each assembler source a `.note.GNU-stack` section, use no nested functions, and link "
                "with -Wl,-z,noexecstack.",
            )


def texts_are_not_relocated(wheel: Wheel) -> Iterator[Problem]:
    """No ELF file has relocations in its code."""
    for file in wheel.elves:
        if file.text_relocations:
            yield Problem(
                member=file.member,
                message="has text relocations (DT_TEXTREL): loading it writes to its code",
                remedy="Compile everything that is linked in with -fPIC, static libraries too, and link with "
                "-Wl,-z,text.",
            )


def processors_are_promised(wheel: Wheel) -> Iterator[Problem]:
    """No ELF file needs a newer processor than the tag `x86_64` promises."""
    if not any(platform.endswith("_x86_64") for platform in wheel.name.platforms):
        return
    for file in wheel.elves:
        folder = _HARDWARE_FOLDER.search(file.member)
        promised = int(folder[2]) if folder else _BASELINE
        if file.isa_level > promised:
            yield Problem(
                member=file.member,
                message=f"needs x86-64-v{file.isa_level} by its property note, but the tag is `x86_64`",
                remedy="Build without -march and without -z x86-64-v…; select faster code at run time.",
            )


def runtimes_are_single(wheel: Wheel) -> Iterator[Problem]:
    """There is one copy of libstdc++, of libgcc_s and of libgomp: the system's, or one in the wheel."""
    inside = _by_soname(wheel)
    names = {name: file.member for name, file in inside.items()}
    users = {name: file.member for file in wheel.elves for name in file.needed}
    copies: dict[str, set[str]] = {}
    for name in {*names, *users}:
        if found := _RUNTIME.fullmatch(name):
            copies.setdefault(found[1], set()).add(name)
    for runtime, found_names in sorted(copies.items()):
        bundled = sorted(found_names & set(names))
        if len(found_names) < 2 or not bundled:  # noqa: PLR2004
            continue
        yield Problem(
            member=names[bundled[0]],
            message=f"is one of {len(found_names)} copies of `{runtime}` in one process: "
            + ", ".join(_copy(name, names, users) for name in sorted(found_names)[:_SHOWN]),
            remedy="Build all parts with the same toolchain, and let auditwheel choose the libraries to graft.",
        )


def extensions_do_not_need_libpython(wheel: Wheel) -> Iterator[Problem]:
    """No extension module needs libpython."""
    for file in wheel.elves:
        for name in file.needed:
            if is_libpython_of_extension(file, name):
                yield Problem(
                    member=file.member,
                    message=f"needs `{name}`, which a statically linked Python does not have",
                    remedy="Do not link extension modules with -lpython3: use `python3-config --ldflags` "
                    "without --embed, or Python::Module instead of Python::Python in CMake.",
                )


def libraries_are_named_without_paths(wheel: Wheel) -> Iterator[Problem]:
    """Every needed library is named without a path."""
    for file in wheel.elves:
        for name in file.needed:
            if "/" in name and not _is_beside(wheel, file, name):
                yield Problem(
                    member=file.member,
                    message=f"needs `{name}` by a path, and the loader searches nowhere else",
                    remedy="Give the library a SONAME (-Wl,-soname,libname.so.1), or link it with -L and -l.",
                )


def is_libpython_of_extension(file: Elf, needed: str) -> bool:
    return bool(_PYTHON_LIBRARY.match(needed)) and is_extension_module(file)


def is_extension_module(file: Elf) -> bool:
    """Whether Python imports this file: by its suffix, or its function PyInit_…."""
    return is_tagged(file.member) or any(name.startswith("PyInit_") for name in file.exports)


def _is_beside(wheel: Wheel, file: Elf, name: str) -> bool:
    """Whether a path starts at the file ($ORIGIN, which glibc expands here too) and names a file of the wheel."""
    found = re.match(r"\$(?:ORIGIN|\{ORIGIN\})/(.+)", name)
    if found is None or not any(platform.startswith("manylinux") for platform in wheel.name.platforms):
        return False
    return posixpath.normpath(posixpath.join(posixpath.dirname(file.member), found[1])) in wheel.members


def _by_soname(wheel: Wheel) -> Mapping[str, Elf]:
    return {file.soname or posixpath.basename(file.member): file for file in wheel.elves}


def _copy(name: str, inside: Mapping[str, str], users: Mapping[str, str]) -> str:
    place = f"in `{inside[name]}`" if name in inside else "the system's"
    return f"`{name}` ({place}, needed by `{users[name]}`)" if name in users else f"`{name}` ({place})"


CHECKS: Final = (
    Check(code="MW212", title="executable stack", run=stacks_are_not_executable, of_linux=True,
          reason="Since glibc 2.41 (Debian 13, Fedora 42, Ubuntu 25.04) dlopen refuses a library that needs one, or "
          "that has no PT_GNU_STACK where an executable stack is the default."),
    Check(code="MW213", title="text relocations", run=texts_are_not_relocated, of_linux=True,
          reason="SELinux (execmod) and hardened systems refuse to load such a file, and its pages cannot be shared."),
    Check(code="MW214", title="processor level", run=processors_are_promised, of_linux=True,
          reason="The loader (since glibc 2.33) refuses the file on processors below the level in its note."),
    Check(code="MW215", title="one runtime", run=runtimes_are_single, of_linux=True, severity=Severity.WARNING,
          reason="Two copies in one process do not share exceptions, streams and threads."),
    Check(code="MW217", title="libpython", run=extensions_do_not_need_libpython, of_linux=True,
          reason="Many Pythons, also those of the manylinux images, have no libpython; others get a second interpreter "
          "into the process."),
    Check(code="MW219", title="libraries by path", run=libraries_are_named_without_paths, of_linux=True,
          reason="The loader does not search for a library with a path in its name, and the path is of the build "
          "machine."),
)  # fmt: skip
