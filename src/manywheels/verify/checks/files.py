"""Files: what was delivered is the thing itself, not a note about it in its place."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import Final

from manywheels.core.text import some
from manywheels.verify.model import Check, Problem, Severity, Wheel
from manywheels.wheels.elf import MAGIC

# Git LFS, docs/spec.md: the first line, here also of the pre-release versions; at most 1,024 bytes.
_POINTERS: Final = (b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/",
                    b"version http://git-media.io/v/")  # fmt: skip
_LONGEST_POINTER: Final = 1024
_LIBRARY: Final = re.compile(r"\.so(\.\d+)*$")
_LINKER_SCRIPT: Final = re.compile(rb"\s*(/\*|(INPUT|GROUP|OUTPUT_FORMAT|SEARCH_DIR)\s*\()")
_KINDS: Final = (
    (re.compile(rb"\xcf\xfa\xed\xfe|\xce\xfa\xed\xfe|\xca\xfe\xba\xbe"), "a library for macOS"),
    (re.compile(rb"MZ"), "a library for Windows"),
    (re.compile(rb"\s*<(!doctype html|html|\?xml)", re.IGNORECASE), "a web page"),
    (re.compile(rb"PK\x03\x04|\x1f\x8b|BZh|\xfd7zXZ"), "a packed archive"),
    (re.compile(rb"!<arch>\n"), "a static library"),
)

_OTHER_CODE: Final = re.compile(rb"\xcf\xfa\xed\xfe|\xce\xfa\xed\xfe|\xca\xfe\xba[\xbe\xbf]|MZ|\0asm")


def is_pointer(wheel: Wheel, name: str) -> bool:
    """Whether a member is a Git LFS pointer."""
    member = wheel.members[name]
    return member.size <= _LONGEST_POINTER and member.head.startswith(_POINTERS)


def no_pointers_of_git_lfs(wheel: Wheel) -> Iterator[Problem]:
    """No file is a Git LFS pointer; a warning for files that are not named like shared libraries."""
    found = [name for name in wheel.members if is_pointer(wheel, name)]
    libraries = [name for name in found if _LIBRARY.search(name)]
    for names, severity in ((libraries, None), ([name for name in found if name not in libraries], Severity.WARNING)):
        if names:
            yield Problem(
                member=names[0] if len(names) == 1 else None,
                message=f"is a Git LFS pointer of {wheel.members[names[0]].size} bytes in place of the file"
                if len(names) == 1
                else f"has {len(names)} Git LFS pointers in place of files: {some(names)}",
                remedy="Fetch the files before the build: `lfs: true` for actions/checkout, `git lfs pull` elsewhere; "
                "GitLab fetches them unless GIT_LFS_SKIP_SMUDGE is set. An sdist with pointers must be made again.",
                severity=severity,
            )


def libraries_are_libraries(wheel: Wheel) -> Iterator[Problem]:
    """Every file that is named like a shared library is an ELF file, or a script for linkers."""
    for name, member in wheel.members.items():
        if not _LIBRARY.search(name) or member.head.startswith(MAGIC) or name in wheel.broken_elves:
            continue
        if not is_pointer(wheel, name) and not _LINKER_SCRIPT.match(member.head):
            yield Problem(
                member=name,
                message=f"is named like a shared library, but is {_kind(member.head)}",
                remedy="Look where the build takes the file from; wheels cannot hold links, so a linked file must be "
                "there under each name that is needed.",
            )


def no_elf_files_elsewhere(wheel: Wheel) -> Iterator[Problem]:
    """A wheel for macOS, iOS, Windows or WebAssembly has no ELF file; a warning if it has code of its system too."""
    if wheel.other_system is None or "Android" in wheel.other_system:
        return
    broken = (name for name in wheel.broken_elves if wheel.members[name].head.startswith(MAGIC))
    found = sorted({*(file.member for file in wheel.elves), *wheel.unlinked, *broken})
    if not found:
        return
    has_own = any(_OTHER_CODE.match(member.head) for member in wheel.members.values())
    what = "is an ELF file" if len(found) == 1 else f"has {len(found)} ELF files: {some(found)}"
    alone = "" if has_own else ", and there is no other machine code"
    yield Problem(
        member=found[0] if len(found) == 1 else None,
        message=f"{what}, which {wheel.other_system} cannot load{alone}",
        remedy="Look for files that a build for Linux has left in the source tree; remove them, and build again.",
        severity=Severity.WARNING if has_own else None,
    )


def _kind(head: bytes) -> str:
    if not head:
        return "empty"
    target = head.strip()
    if target and b"\n" not in target and _LIBRARY.search(target.decode("utf-8", "replace")):
        return f"the text of a link to `{posixpath.basename(target.decode('utf-8', 'replace'))}`"
    return next((kind for pattern, kind in _KINDS if pattern.match(head)), "not an ELF file")


CHECKS: Final = (
    Check(code="MW234", title="no Git LFS pointers", run=no_pointers_of_git_lfs,
          reason="Without the file itself, whatever opens it fails on the users' machines."),
    Check(code="MW235", title="shared libraries are such", run=libraries_are_libraries, of_linux=True,
          severity=Severity.WARNING,
          reason="No loader of Linux accepts such a file."),
    Check(code="MW237", title="no ELF files elsewhere", run=no_elf_files_elsewhere,
          reason="Other systems do not load them: imports fail, or the wheel is larger for nothing."),
)  # fmt: skip
