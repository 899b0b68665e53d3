"""Read pytest's JUnit file: how many tests ran, which failed, and where.

Project code writes it: links are not followed, memory is bounded, and an invalid file is ignored. pytest's is UTF-8
without a document type, so entities are impossible.
"""

from __future__ import annotations

import codecs
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final
from xml.parsers import expat

from manywheels.core.cancellation import Cancellation
from manywheels.runtime import untrusted_files

_LARGEST: Final = 32 << 20  # bytes; about 100,000 tests
_PIECE: Final = 1 << 16  # bytes for the parser at once
_LONGEST: Final = 1 << 20  # bytes of a tag or comment, which the parser keeps
_MOST_EVENTS: Final = 1_000_000  # tags, and pieces of text between them
_MOST_NAMES: Final = 1_000  # of elements and attributes, which the parser keeps
_DEEPEST: Final = 32
_MOST_FAILED: Final = 200
_LINES: Final = 8  # of one failure
_COLUMNS: Final = 500  # characters of a line or a name
_TEXT: Final = 1 << 16  # characters used of a failure's text, at each end
_DOCUMENT_TYPE: Final = "<!DOCTYPE"  # XML has no other spelling of it
_PLACE: Final = re.compile(r"^(\S[^:\n]*):(\d{1,9}): ", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class FailedTest:
    """A failed test: pytest's name, the lines that say why, and their place."""

    name: str
    lines: tuple[str, ...]
    file: str | None
    line: int | None


@dataclass(frozen=True, kw_only=True)
class Results:
    """pytest's results; `count` leaves out skipped tests."""

    count: int
    failed: tuple[FailedTest, ...]


def asking_for(file: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which every pytest writes its results to `file`; the last run counts.

    The project may disable the plugin, so enable it; `record_property` warns in formats other than xunit1.
    """
    options = f"-p junitxml -o junit_family=xunit1 --junitxml={shlex.quote(str(file))}"
    return {**environment, "PYTEST_ADDOPTS": f"{environment.get('PYTEST_ADDOPTS', '')} {options}".strip()}


def read_results(file: Path, cancellation: Cancellation, owner: int | None = None) -> Results | None:
    """Return the results in a JUnit file that `owner` (a user id, None for this process's) owns.

    None if it is missing or invalid. Raises Cancelled.
    """
    report = _Report()
    try:
        with untrusted_files.open_file(file.parent, file.name, owner=owner) as stream:
            for text in _texts(stream):
                cancellation.stop_if_requested("Reading the test results")
                report.feed(text)
        report.close()
    except (untrusted_files.Suspicious, _Invalid, expat.ExpatError, UnicodeDecodeError):
        return None
    return Results(count=report.count, failed=tuple(report.failed))


class _Invalid(Exception):
    """pytest does not write such a file."""


def _texts(stream: BinaryIO) -> Iterator[str]:
    """Yield a file's text in pieces. Raises UnicodeDecodeError and _Invalid."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    size, before = 0, ""
    while piece := stream.read(_PIECE):
        size += len(piece)
        text = decoder.decode(piece)
        # Here, because the parser would finish the piece. With NUL characters, it would read UTF-16, in which the
        # document type is not found.
        if size > _LARGEST or "\0" in text or _DOCUMENT_TYPE in before + text:
            raise _Invalid
        before = (before + text)[-len(_DOCUMENT_TYPE) :]
        yield text
    decoder.decode(b"", final=True)


class _Report:
    """A parser that keeps what `Results` has. Raises _Invalid and ExpatError."""

    def __init__(self) -> None:
        self.count = 0
        self.failed: list[FailedTest] = []
        self._parser = expat.ParserCreate("utf-8", intern=None)  # no table of names
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.DefaultHandler = self._other
        self._events = self._pending = self._depth = 0
        self._names: set[str] = set()
        self._case: _Case | None = None

    def feed(self, text: str) -> None:
        self._pending += len(text)
        self._parser.Parse(text)
        if self._pending > _LONGEST:
            raise _Invalid

    def close(self) -> None:
        self._parser.Parse("", True)  # noqa: FBT003 - expat takes it by position only

    def _event(self) -> None:
        self._pending = 0
        self._events += 1
        if self._events > _MOST_EVENTS:
            raise _Invalid

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._event()
        self._depth += 1
        self._names |= {tag, *attributes}
        if self._depth > _DEEPEST or len(self._names) > _MOST_NAMES:
            raise _Invalid
        if tag == "testcase":
            self._case = _Case(_name(attributes), self._depth)
        elif self._case and self._depth == self._case.depth + 1:
            self._case.begin(tag, attributes.get("message", ""))

    def _end(self, _tag: str) -> None:
        self._event()
        if self._case and self._depth == self._case.depth:
            self.count += not self._case.skipped
            if self._case.failed and len(self.failed) < _MOST_FAILED:
                self.failed.append(self._case.failure())
            self._case = None
        elif self._case and self._depth == self._case.depth + 1:
            self._case.reading = False
        self._depth -= 1

    def _text(self, text: str) -> None:
        self._event()
        if self._case and self._case.reading and self._depth == self._case.depth + 1:
            self._case.add(text)

    def _other(self, _text: str) -> None:
        self._event()


class _Case:
    def __init__(self, name: str, depth: int) -> None:
        self.name, self.depth = name, depth
        self.skipped = self.failed = self.reading = False
        self._message = self._text = ""

    def begin(self, tag: str, message: str) -> None:
        self.skipped |= tag == "skipped"
        self.reading = tag in {"failure", "error"} and not self.failed
        if self.reading:
            self.failed, self._message = True, message[:_TEXT]

    def add(self, text: str) -> None:
        self._text += text
        if len(self._text) > 4 * _TEXT:
            self._text = f"{self._text[:_TEXT]}\n{self._text[-_TEXT:]}"

    def failure(self) -> FailedTest:
        places = _PLACE.findall(self._text)
        file, line = (places[-1][0][:_COLUMNS], int(places[-1][1])) if places else (None, None)
        lines = tuple(line[:_COLUMNS] for line in self._reasons())[:_LINES]
        return FailedTest(name=self.name[:_COLUMNS], lines=lines, file=file, line=line)

    def _reasons(self) -> list[str]:
        marked = [line for line in self._text.splitlines() if line.startswith(("E ", ">"))]
        return marked or (self._message or self._text).splitlines()


def _name(case: Mapping[str, str]) -> str:
    """Return a test's name as in pytest's summary: `tests/test_a.py::TestB::test_c[1]`."""
    file, owner, name = (case.get(key, "") for key in ("file", "classname", "name"))
    if not file:
        return f"{owner}::{name}".removeprefix("::")
    inner = owner.removeprefix(file.removesuffix(".py").replace("/", ".")).strip(".").replace(".", "::")
    return "::".join(part for part in (file, inner, name) if part)
