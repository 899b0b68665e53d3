"""The input of the checks, a wheel, and their output, findings."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Final, Generic, ParamSpec, TypeVar

from packaging.metadata import RawMetadata

from manywheels.data import table
from manywheels.verify.places import other_system_of
from manywheels.wheels import archive, elf, record, wheelfile
from manywheels.wheels.archive import Archive, BadData, Entry, Irregularities, Irregularity, Kind
from manywheels.wheels.elf import BrokenElf, Elf, Header
from manywheels.wheels.encrypted import encrypted_by, is_searched
from manywheels.wheels.metadata import read_metadata
from manywheels.wheels.record import Record
from manywheels.wheels.wheelfile import WheelFile, WheelName, is_tagged, suffix_of

P = ParamSpec("P")
T = TypeVar("T")

_HEAD: Final = 256  # bytes that are kept of each member: an ELF header, or a text's first lines
_LIBS: Final = b".libs"  # how the folders end into which auditwheel grafts
_SPOOL: Final = 8 << 20  # bytes of an ELF file in memory; a longer one goes to a temporary file
_MOST_REPORTED: Final = 50  # problems of one check
_LONGEST: Final = 200  # characters of another program's message


class Severity(StrEnum):
    """Only an error keeps the wheel out of the output folder."""

    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong, and what to do. `member` is None for the whole wheel, `severity` for the check's own.

    With `only_pypi_refuses`, PyPI refuses the file, but an index without PyPI's rules may take it.
    """

    message: str
    remedy: str
    member: str | None = None
    severity: Severity | None = None
    only_pypi_refuses: bool = False


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A problem with its check's code; `wheel` is a file name, empty for the set."""

    code: str
    severity: Severity
    wheel: str
    problem: Problem

    def __str__(self) -> str:
        place = f"{self.problem.member} " if self.problem.member else ""
        return f"{self.code} {place}{self.problem.message}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A file in the wheel: `digest` is in RECORD's form, `head` its first bytes."""

    name: str
    size: int
    digest: str
    head: bytes


class Wheel:
    """An open wheel. Its bytes are read in one pass, when the first check needs them.

    A member that is too large or unreadable is in `entries` but not in `members`; `irregularities` say why. Libraries
    that match `external` need not be in the wheel. Checks that wait call `stop` repeatedly, which may raise.
    """

    def __init__(
        self,
        path: Path,
        archive: Archive,
        external: tuple[str, ...] = (),
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        self.archive = archive
        self.external = external
        self.stop = stop
        self.name: WheelName = wheelfile.parse_name(path.name)

    @cached_property
    def other_system(self) -> str | None:
        """The system that the wheel is for, as `Windows`, if it is for none of Linux."""
        systems = {other_system_of(platform) for platform in self.name.platforms}
        return None if None in systems else " and ".join(sorted(filter(None, systems)))

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All members, in the archive's order, also folders and unreadable ones."""
        return self.archive.entries

    @property
    def irregularities(self) -> tuple[Irregularity, ...]:
        return (*self.archive.irregularities, *self._contents.irregularities)

    @property
    def members(self) -> Mapping[str, Member]:
        """The files by name, in the archive's order; of two of one name, the last."""
        return self._contents.members

    @property
    def elves(self) -> tuple[Elf, ...]:
        """The ELF files that the dynamic loader loads or starts."""
        return self._contents.elves

    @property
    def broken_elves(self) -> Mapping[str, str]:
        """Why files that should be ELF files are unreadable."""
        return self._contents.broken

    @cached_property
    def unlinked(self) -> Mapping[str, Header]:
        """Static programs: ELF files without the dynamic loader, except object files and code for devices."""
        known = {*(file.member for file in self.elves), *self.broken_elves}
        headers = {
            member.name: elf.read_header(member.head)
            for member in self.members.values()
            if member.head.startswith(elf.MAGIC) and member.name not in known
        }
        return {
            name: header
            for name, header in headers.items()
            if header.kind != elf.RELOCATABLE and header.machine not in elf.DEVICES
        }

    @property
    def encrypted(self) -> Mapping[str, str]:
        """The programs that encrypted Python files, by member."""
        return self._contents.encrypted

    @property
    def machine_code(self) -> frozenset[str]:
        """The names of all ELF files except object files."""
        return frozenset({*(file.member for file in self.elves), *self.broken_elves, *self.unlinked})

    @property
    def names_libs(self) -> bool:
        """Whether a Python file has the name of a folder *.libs in it."""
        return self._contents.names_libs

    def read(self, name: str) -> bytes | None:
        """Return a file in *.dist-info, or *.pth; None for others, and above the size limits."""
        return self._contents.texts.get(name)

    def digest(self, name: str, algorithm: str) -> str:
        """Return a digest in RECORD's form, by a hashlib algorithm of fixed length."""
        if algorithm == "sha256":
            return self.members[name].digest
        hasher = hashlib.new(algorithm, usedforsecurity=False)
        for piece in self.archive.read(self._contents.read_from[name]):
            hasher.update(piece)
        return record.written(algorithm, hasher.digest())

    @cached_property
    def dist_info(self) -> str | None:
        """The name of the *.dist-info folder; None unless there is exactly one at the top."""
        folders = {entry.name.partition("/")[0] for entry in self.entries if "/" in entry.name}
        found = [folder for folder in folders if folder.endswith(".dist-info")]
        return found[0] if len(found) == 1 else None

    @cached_property
    def wheel_file(self) -> WheelFile | None:
        content = self.read(f"{self.dist_info}/WHEEL")
        return wheelfile.parse_wheel_file(content) if content is not None else None

    @cached_property
    def metadata(self) -> RawMetadata:
        """METADATA's raw fields; empty if there is none."""
        return read_metadata(self.read(f"{self.dist_info}/METADATA") or b"")[0]

    @cached_property
    def record(self) -> Record | None:
        """The RECORD file; None if it is missing or unreadable."""
        content = self.read(f"{self.dist_info}/RECORD")
        return record.parse_record(content) if content is not None else None

    @cached_property
    def _contents(self) -> _Contents:
        return _Contents(self.archive)


class _Contents:
    def __init__(self, archive: Archive) -> None:
        self.members: dict[str, Member] = {}
        self.read_from: dict[str, Entry] = {}
        self.texts: dict[str, bytes] = {}
        self.broken: dict[str, str] = {}
        self.encrypted: dict[str, str] = {}
        self.names_libs = False
        self._elves: list[Elf] = []
        self._names = elf.NameBudget()
        self._irregularities = Irregularities()
        self._limits: dict[str, int] = table("index")["archive"]
        self._text_budget = self._limits["texts"]
        for entry in archive.entries:
            if entry.is_readable and not entry.is_folder:
                try:
                    self._add(entry, archive.read(entry))
                except BadData as error:
                    self._irregularities.add(Kind.DATA, str(error), entry.name)

    @property
    def irregularities(self) -> tuple[Irregularity, ...]:
        return self._irregularities.all()

    @property
    def elves(self) -> tuple[Elf, ...]:
        return tuple(self._elves)

    def _add(self, entry: Entry, pieces: Iterator[bytes]) -> None:
        """Raises BadData if the file's data contradicts the archive's headers."""
        hasher = hashlib.sha256()
        first = next(pieces, b"")
        is_kept = self._is_kept_text(entry)
        text: list[bytes] | None = [] if is_kept or is_searched(entry.name, entry.size) else None
        is_elf, is_python, last = first.startswith(elf.MAGIC), entry.name.endswith(".py"), b""
        with SpooledTemporaryFile(max_size=_SPOOL) as spool:
            for piece in chain([first], pieces):
                hasher.update(piece)
                if text is not None:
                    text.append(piece)
                if is_elf:
                    spool.write(piece)
                if is_python:
                    self.names_libs = self.names_libs or _LIBS in last + piece
                    last = piece[-len(_LIBS) :]
            self.members[entry.name] = Member(
                name=entry.name, size=entry.size, head=first[:_HEAD],
                digest=record.written("sha256", hasher.digest()),
            )  # fmt: skip
            self.read_from[entry.name] = entry
            if is_kept:
                self.texts[entry.name] = b"".join(text or [])
            if is_searched(entry.name, entry.size) and (program := encrypted_by(b"".join(text or []))):
                self.encrypted[entry.name] = program
            if is_elf:
                self._read_elf(entry.name, spool)
            elif is_tagged(entry.name):
                self.broken[entry.name] = "it does not start like one"

    def _is_kept_text(self, entry: Entry) -> bool:
        if ".dist-info/" not in entry.name and not entry.name.endswith(".pth"):
            return False
        limit = self._limits["record" if entry.name.endswith(".dist-info/RECORD") else "text"]
        if entry.size <= min(limit, self._text_budget):
            self._text_budget -= entry.size
            return True
        if entry.name.endswith(".pth") or entry.name.count("/") == 1:  # not licences, which may be long
            self._irregularities.add(Kind.SIZE, f"has {entry.size} bytes, too many for a file of its kind", entry.name)
        return False

    def _read_elf(self, name: str, stream: SpooledTemporaryFile[bytes]) -> None:
        stream.seek(0)
        try:
            found = elf.read_elf(name, stream, self._names)
        except BrokenElf as error:
            self.broken[name] = str(error)
        else:
            if found:
                self._elves.append(found)
            elif suffix_of(name) and not self._is_for_a_device(name):
                self.broken[name] = "it has no dynamic section, so nothing can load it"

    def _is_for_a_device(self, name: str) -> bool:
        return elf.read_header(self.members[name].head).machine in elf.DEVICES


@contextmanager
def open_wheel(path: Path, external: tuple[str, ...] = (), stop: Callable[[], None] = lambda: None) -> Iterator[Wheel]:
    """`stop` is called while the wheel is read, and may raise. Raises OSError, WheelFileError."""
    with archive.open_archive(path, stop) as opened:
        yield Wheel(path, opened, external, stop)


def _limited(problems: Iterable[Problem]) -> Iterator[Problem]:
    """Yield the first problems: a hostile wheel may have a hundred thousand."""
    rest = iter(problems)
    yield from islice(rest, _MOST_REPORTED)
    last = next(rest, None)
    more = Counter(problem.severity for problem in rest)
    if last and not more:
        yield last
    elif last:
        more[last.severity] += 1
        yield Problem(
            message=f"there are {more.total()} more problems like these", remedy="Fix those above first.",
            severity=None if None in more else max(filter(None, more), key=list(Severity).index),
        )  # fmt: skip


def short(text: str) -> str:
    """Return the first line of another program's message, shortened."""
    line = text.strip().partition("\n")[0]
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


@dataclass(frozen=True, kw_only=True)
class CheckInfo:
    """What users read of a check, in one sentence each; the code is stable."""

    code: str
    title: str
    must_hold: str
    reason: str
    severity: Severity = Severity.ERROR

    def finding(self, wheel: str, problem: Problem) -> Finding:
        severity = problem.severity or self.severity
        return Finding(code=self.code, severity=severity, wheel=wheel, problem=problem)


@dataclass(frozen=True, kw_only=True)
class FunctionCheck(CheckInfo, Generic[P, T]):
    """A check that is a function: its docstring is what must hold."""

    must_hold: str = field(init=False)
    run: Callable[P, Iterable[T]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "must_hold", " ".join((self.run.__doc__ or "").split()))


@dataclass(frozen=True, kw_only=True)
class Check(FunctionCheck[[Wheel], Problem]):
    """A check of one wheel; those `of_linux` look at nothing in a wheel for another system."""

    of_linux: bool = False

    def findings(self, wheel: Wheel) -> Iterator[Finding]:
        """Yield the findings; above a limit, only how many more there are."""
        if self.of_linux and wheel.other_system:
            return
        for problem in _limited(self.run(wheel)):
            yield self.finding(wheel.path.name, problem)
