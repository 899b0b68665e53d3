"""RECORD: every file of the wheel is listed once, with its hash and size (PEP 376, 427)."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator
from typing import Final

from manywheels.verify.model import Check, Problem, Wheel
from manywheels.wheels.record import Row

_REWRITE: Final = "Rewrite RECORD with `wheel unpack` and `wheel pack`."
_SIGNATURES: Final = ("RECORD.jws", "RECORD.p7s")  # made after RECORD, so not in it
_GOOD: Final = frozenset(
    name
    for name in hashlib.algorithms_guaranteed
    if name not in {"md5", "sha1", "sha224"} and not name.startswith("shake_")
)


def record_is_readable(wheel: Wheel) -> Iterator[Problem]:
    """There is a RECORD, a table of three columns with one line for each path."""
    if wheel.dist_info is None:  # MW202
        return
    name = f"{wheel.dist_info}/RECORD"
    if wheel.archive.complete and not any(entry.name == name for entry in wheel.entries):
        yield Problem(message=f"there is no {name}", remedy=_REWRITE)
    if wheel.record is None:
        return
    names = {entry.name for entry in wheel.entries}
    unnormalised = (f"lists the path `{path}`, which is not written as `{_normal(path)}`"
           for path in wheel.record.rows if path not in names and path != _normal(path))  # fmt: skip
    for problems in (wheel.record.problems, unnormalised):
        yield from (Problem(member=name, message=problem, remedy=_REWRITE) for problem in problems)


def record_lists_every_file(wheel: Wheel) -> Iterator[Problem]:
    """RECORD lists every file in the wheel, itself too, and no other; its signatures need not be listed."""
    yield from _unlisted(wheel)
    yield from _missing(wheel)


def hashes_are_right(wheel: Wheel) -> Iterator[Problem]:
    """Every file's hash in RECORD is right, and sha256 or better; RECORD itself has none."""
    yield from _wrong_hashes(wheel)


def sizes_are_right(wheel: Wheel) -> Iterator[Problem]:
    """Every size in RECORD is right; it may be left out."""
    yield from (
        Problem(
            member=name,
            message=f"has {wheel.members[name].size} bytes; RECORD has `{row.size}`",
            remedy=f"The file was changed after RECORD was written. {_REWRITE}",
        )
        for name, row in _listed(wheel).items()
        if row.size and name in wheel.members and row.size != str(wheel.members[name].size)
    )


def _listed(wheel: Wheel) -> dict[str, Row]:
    """Return RECORD's rows by their members' names."""
    if wheel.record is None:
        return {}
    names = {entry.name for entry in wheel.entries}
    return {path if path in names else _normal(path): row for path, row in wheel.record.rows.items()}


def _normal(path: str) -> str:
    return posixpath.normpath(path.replace("\\", "/")).lstrip("/")


def _unlisted(wheel: Wheel) -> Iterator[Problem]:
    if wheel.record is None or not wheel.record.complete:
        return
    listed = _listed(wheel)
    signatures = {f"{wheel.dist_info}/{name}" for name in _SIGNATURES}
    for name in dict.fromkeys(entry.name for entry in wheel.entries if not entry.is_folder):
        if name not in listed and name not in signatures:
            yield Problem(member=name, message="is not listed in RECORD", remedy=_REWRITE)


def _missing(wheel: Wheel) -> Iterator[Problem]:
    files = {entry.name for entry in wheel.entries if not entry.is_folder}
    for name in _listed(wheel) if wheel.archive.complete else ():
        if name not in files:
            yield Problem(member=name, message="is listed in RECORD, but is not in the wheel", remedy=_REWRITE)


def _wrong_hashes(wheel: Wheel) -> Iterator[Problem]:
    itself = f"{wheel.dist_info}/RECORD"
    signatures = {f"{wheel.dist_info}/{name}" for name in _SIGNATURES}
    for name, row in _listed(wheel).items():
        algorithm = row.digest.partition("=")[0]
        if name == itself:
            wrong = "has a hash of itself, which cannot be right" if row.digest else None
        elif name not in wheel.members or name in signatures:
            continue
        elif not row.digest:
            wrong = "has no hash in RECORD"
        elif algorithm not in _GOOD:
            wrong = f"has a hash in RECORD by a weak or unknown algorithm (`{algorithm}`)"
        elif (found := wheel.digest(name, algorithm)) != row.digest:
            wrong = f"has the hash `{found}`; RECORD has `{row.digest}`"
        else:
            continue
        if wrong:
            yield Problem(member=name, message=wrong, remedy=_REWRITE)


CHECKS: Final = (
    Check(code="MW230", title="readable RECORD", run=record_is_readable,
          reason="Installers need it for the list of files, and refuse a wheel without it."),
    Check(code="MW231", title="RECORD is complete", run=record_lists_every_file,
          reason="A file that is not listed is neither checked on installation nor removed on uninstallation."),
    Check(code="MW232", title="hashes", run=hashes_are_right,
          reason="A file that differs from RECORD was changed after the build."),
    Check(code="MW233", title="recorded sizes", run=sizes_are_right,
          reason="A file that differs from RECORD was changed after the build."),
)  # fmt: skip
