"""Archive: all readers see the same members, and installing writes below one folder only."""

from __future__ import annotations

import re
import stat
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from manywheels.verify.model import Check, Problem, Wheel
from manywheels.wheels.archive import DEFLATED, STORED, Entry, Kind

_REBUILD: Final = "Build the wheel again, and change it only with `wheel unpack` and `wheel pack`."
_LONGEST_NAME: Final = 255  # bytes: NAME_MAX of common file systems
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
_DRIVE: Final = re.compile("[A-Za-z]:")
_FOLDER_ATTRIBUTE: Final = 0x10
_EMPTY_DEFLATED: Final = 2  # bytes: some tools deflate folders, too
_SET_BITS: Final = {stat.S_ISUID: "setuid", stat.S_ISGID: "setgid", stat.S_ISVTX: "sticky"}
_TYPES: Final = {stat.S_IFLNK: "symbolic link", stat.S_IFCHR: "device", stat.S_IFBLK: "device",
                 stat.S_IFIFO: "named pipe", stat.S_IFSOCK: "socket", stat.S_IFDIR: "folder"}  # fmt: skip
_INSTALLED_AT_ROOT: Final = re.compile(r"^[^/]+\.data/(purelib|platlib)/")


def structure_is_whole(wheel: Wheel) -> Iterator[Problem]:
    """The members follow one another from the first byte to the list of members, and the archive ends with the file."""
    yield from _problems_of(wheel, Kind.STRUCTURE, _REBUILD)


def names_do_not_collide(wheel: Wheel) -> Iterator[Problem]:
    """No two members have the same name: ignoring case and Unicode forms, as file and folder, or once installed."""
    yield from _collisions(wheel.entries)


def paths_stay_inside(wheel: Wheel) -> Iterator[Problem]:
    """Every path is relative, without `..`, backslashes or control characters, and the same in every encoding."""
    yield from (
        Problem(member=entry.name, message=", ".join(wrong), remedy="Leave it out, or give it a plain relative path.")
        for entry in wheel.entries
        if (wrong := tuple(_wrong_with_path(entry)))
    )


def members_are_plain(wheel: Wheel) -> Iterator[Problem]:
    """Every member is a plain file or folder, not encrypted, without setuid bits, stored or deflated."""
    yield from (
        Problem(member=entry.name, message=", ".join(wrong), remedy="Replace it by a plain file, or leave it out.")
        for entry in wheel.entries
        if (wrong := tuple(_special_in(entry)))
    )


def headers_agree(wheel: Wheel) -> Iterator[Problem]:
    """The header before each member's data agrees with the list of members, and there are no data descriptors."""
    yield from _problems_of(wheel, Kind.HEADERS, f"The index refuses such archives. {_REBUILD}")


def sizes_are_sane(wheel: Wheel) -> Iterator[Problem]:
    """All members together do not inflate to more than 50 times the archive's size, from 64 MiB on."""
    yield from _problems_of(wheel, Kind.SIZE, "Leave out generated or empty data, or create it at run time.")


def data_is_readable(wheel: Wheel) -> Iterator[Problem]:
    """Every member's data has the size and the CRC in its headers."""
    yield from _problems_of(wheel, Kind.DATA, "The file is damaged: build or copy the wheel again.")


def _problems_of(wheel: Wheel, kind: Kind, remedy: str) -> Iterator[Problem]:
    for irregularity in wheel.irregularities:
        if irregularity.kind is kind:
            yield Problem(member=irregularity.member, message=irregularity.message, remedy=remedy)


def _collisions(entries: tuple[Entry, ...]) -> Iterator[Problem]:
    # With the slash as the lowest character, a folder's files follow a file of its name.
    paths = sorted((_folded(entry.name).replace("/", "\0"), place) for place, entry in enumerate(entries))
    for (path, place), (other_path, other_place) in pairwise(paths):
        entry, other = entries[place], entries[other_place]
        if entry.is_folder:
            continue
        if path == other_path:
            yield _collision(other.name, entry.name)
        elif other_path.startswith(f"{path}\0"):
            yield Problem(
                member=entry.name,
                message=f"is a file where `{other.name}` needs a folder of that name",
                remedy="Rename one of the two.",
            )


def _folded(name: str) -> str:
    """Return a key that is equal for names of one file once installed, on some file system."""
    path = _INSTALLED_AT_ROOT.sub("", name, count=1)
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())


def _collision(name: str, other: str) -> Problem:
    if name == other:
        return Problem(member=name, message="is there twice: installers differ in which they use", remedy=_REBUILD)
    return Problem(
        member=name,
        message=f"is the same file as `{other}` on file systems that ignore case or Unicode forms"
        if ".data/" not in name + other
        else f"is installed where `{other}` is installed",
        remedy="Rename one of the two.",
    )


def _wrong_with_path(entry: Entry) -> Iterator[str]:
    parts = entry.name.removesuffix("/").split("/")
    if entry.name.startswith("/") or _DRIVE.match(entry.name):
        yield "is an absolute path"
    elif "" in parts or "." in parts:
        yield "has empty parts, or `.`, in its path"
    if ".." in parts:
        yield "leads out of the folder with `..`"
    if b"\\" in entry.raw:
        yield "has a backslash, which is a slash on some systems"
    if _CONTROL.search(entry.raw):
        yield "has control characters in its name"
    if len(entry.raw) > _LONGEST_NAME and any(len(part) > _LONGEST_NAME for part in entry.raw.split(b"/")):
        yield f"has a name of more than {_LONGEST_NAME} bytes"
    if not entry.raw.isascii() and not _is_utf8(entry):
        yield "has a name that is not UTF-8, or not marked as such"


def _is_utf8(entry: Entry) -> bool:
    try:
        entry.raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return entry.is_utf8


def _special_in(entry: Entry) -> Iterator[str]:
    kind = stat.S_IFMT(entry.mode)
    if kind not in {0, stat.S_IFDIR if entry.is_folder else stat.S_IFREG}:
        yield f"is a {_TYPES.get(kind, 'file of an unknown type')}, not a plain one"
    if entry.is_folder and (entry.size or entry.compressed > _EMPTY_DEFLATED):
        yield "is a folder with data"
    elif not entry.is_folder:
        if entry.dos_attributes & _FOLDER_ATTRIBUTE and kind != stat.S_IFDIR:
            yield "is a folder by its attributes, and a file by its name"
        yield from (f"has the {name} bit" for bit, name in _SET_BITS.items() if entry.mode & bit)
    if entry.is_encrypted:
        yield "is encrypted"
    if entry.unknown_flags:
        yield f"has flags that installers need not support ({entry.unknown_flags:#x})"
    if entry.method not in {STORED, DEFLATED}:
        yield f"is compressed by method {entry.method}, which installers need not support"


CHECKS: Final = (
    Check(code="MW220", title="archive structure", run=structure_is_whole,
          reason="With unaccounted bytes, programs differ in what they find in the archive."),
    Check(code="MW221", title="colliding names", run=names_do_not_collide,
          reason="One overwrites the other, and which one depends on the installer and the file system."),
    Check(code="MW222", title="safe paths", run=paths_stay_inside,
          reason="Such a path writes outside of the environment, or to different places on different systems."),
    Check(code="MW223", title="plain members", run=members_are_plain,
          reason="Links and devices lead out of the environment; encrypted files cannot be installed."),
    Check(code="MW224", title="headers agree", run=headers_agree,
          reason="Programs that read the archive as a stream see other members than those that read the list."),
    Check(code="MW225", title="sizes", run=sizes_are_sane,
          reason="A wheel that inflates without end fills its users' disks."),
    Check(code="MW226", title="readable data", run=data_is_readable,
          reason="Installers stop at such a member, or install something other than what was built."),
)  # fmt: skip
