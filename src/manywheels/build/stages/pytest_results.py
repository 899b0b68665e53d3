"""What pytest found, from the JUnit file that it was asked to write: how many tests ran, and which failed, where.

The file is project code's own: a link in its place is not followed, it is read piece by piece in little memory, and one
that is no such file says nothing. It has no document type, so it has no entities, and it is UTF-8, as pytest writes it.
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

_LARGEST: Final = 32 << 20  # bytes; some 100,000 tests
_PIECE: Final = 1 << 16  # bytes given to the parser at once
_LONGEST: Final = 1 << 20  # bytes of a tag, a comment or the like, which the parser holds as a whole
_MOST_EVENTS: Final = 1_000_000  # tags, and pieces of text between them
_MOST_NAMES: Final = 1_000  # of elements and attributes; the parser keeps each of them
_DEEPEST: Final = 32
_MOST_FAILED: Final = 200
_LINES: Final = 8  # of one failure
_COLUMNS: Final = 500  # characters of a line or a name
_TEXT: Final = 1 << 16  # characters of a failure's text that are looked at, at each end
_DOCUMENT_TYPE: Final = "<!DOCTYPE"  # nothing else declares one, in whatever case or with whatever blanks
_PLACE: Final = re.compile(r"^(\S[^:\n]*):(\d{1,9}): ", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class FailedTest:
    """A test that failed: its name as pytest takes it, the lines that say why, and the place that they name."""

    name: str
    lines: tuple[str, ...]
    file: str | None
    line: int | None


@dataclass(frozen=True, kw_only=True)
class Results:
    """What a run of pytest found. `count` are the tests that ran, those that were skipped left out."""

    count: int
    failed: tuple[FailedTest, ...]


def asking_for(file: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with which every pytest below writes what it finds into `file`; the last one counts.

    The plugin is named as well, for projects that turn it off; in the older family of the format, no test's own
    properties make it warn.
    """
    options = f"-p junitxml -o junit_family=xunit1 --junitxml={shlex.quote(str(file))}"
    return {**environment, "PYTEST_ADDOPTS": f"{environment.get('PYTEST_ADDOPTS', '')} {options}".strip()}


def read_results(file: Path, cancellation: Cancellation, owner: int | None = None) -> Results | None:
    """Return what stands in a JUnit file of that owner's (a user id, None: us); None where there is no such file.

    Raises Cancelled.
    """
    report = _Report()
    try:
        with untrusted_files.open_file(file.parent, file.name, owner=owner) as stream:
            for text in _texts(stream):
                cancellation.stop_if_requested("Reading what the tests found")
                report.feed(text)
        report.close()
    except (untrusted_files.Suspicious, _NoReport, expat.ExpatError, UnicodeDecodeError):
        return None
    return Results(count=report.count, failed=tuple(report.failed))


class _NoReport(Exception):
    """The file is nothing that pytest writes."""


def _texts(stream: BinaryIO) -> Iterator[str]:
    """Yield a file's text in pieces. Raises UnicodeDecodeError, and _NoReport where it is too long or has a type."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    size, before = 0, ""
    while piece := stream.read(_PIECE):
        size += len(piece)
        text = decoder.decode(piece)
        # Looked for here, not by the parser: what follows in the same piece would be parsed before that stops. With
        # zeros in it, it would take the text for UTF-16, where it looks otherwise.
        if size > _LARGEST or "\0" in text or _DOCUMENT_TYPE in before + text:
            raise _NoReport
        before = (before + text)[-len(_DOCUMENT_TYPE) :]
        yield text
    decoder.decode(b"", final=True)


class _Report:
    """A parser that keeps of a report what is told of it. Each of its methods raises _NoReport and ExpatError."""

    def __init__(self) -> None:
        self.count = 0
        self.failed: list[FailedTest] = []
        self._parser = expat.ParserCreate("utf-8", intern=None)  # it keeps no table of names
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._said
        self._parser.DefaultHandler = self._other
        self._events = self._waiting = self._depth = 0
        self._names: set[str] = set()
        self._case: _Case | None = None

    def feed(self, text: str) -> None:
        """Parse the next piece."""
        self._waiting += len(text)
        self._parser.Parse(text)
        if self._waiting > _LONGEST:
            raise _NoReport

    def close(self) -> None:
        """Parse the end."""
        self._parser.Parse("", True)  # noqa: FBT003 - expat takes it by position only

    def _event(self) -> None:
        self._waiting = 0
        self._events += 1
        if self._events > _MOST_EVENTS:
            raise _NoReport

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._event()
        self._depth += 1
        self._names |= {tag, *attributes}
        if self._depth > _DEEPEST or len(self._names) > _MOST_NAMES:
            raise _NoReport
        if tag == "testcase":
            self._case = _Case(_name(attributes), self._depth)
        elif self._case and self._depth == self._case.depth + 1:
            self._case.begin(tag, attributes.get("message", ""))

    def _end(self, _tag: str) -> None:
        self._event()
        if self._case and self._depth == self._case.depth:
            self.count += not self._case.skipped
            if self._case.failed and len(self.failed) < _MOST_FAILED:
                self.failed.append(self._case.told())
            self._case = None
        elif self._case and self._depth == self._case.depth + 1:
            self._case.listening = False
        self._depth -= 1

    def _said(self, text: str) -> None:
        self._event()
        if self._case and self._case.listening and self._depth == self._case.depth + 1:
            self._case.hear(text)

    def _other(self, _text: str) -> None:
        self._event()


class _Case:
    """A test as far as it has been read: what its first failure says."""

    def __init__(self, name: str, depth: int) -> None:
        self.name, self.depth = name, depth
        self.skipped = self.failed = self.listening = False
        self._message = self._text = ""

    def begin(self, tag: str, message: str) -> None:
        self.skipped |= tag == "skipped"
        self.listening = tag in {"failure", "error"} and not self.failed
        if self.listening:
            self.failed, self._message = True, message[:_TEXT]

    def hear(self, text: str) -> None:
        self._text += text
        if len(self._text) > 4 * _TEXT:
            self._text = f"{self._text[:_TEXT]}\n{self._text[-_TEXT:]}"

    def told(self) -> FailedTest:
        places = _PLACE.findall(self._text)
        file, line = (places[-1][0][:_COLUMNS], int(places[-1][1])) if places else (None, None)
        lines = tuple(line[:_COLUMNS] for line in self._telling())[:_LINES]
        return FailedTest(name=self.name[:_COLUMNS], lines=lines, file=file, line=line)

    def _telling(self) -> list[str]:
        """Return the lines that pytest marks as the reason; else the message."""
        marked = [line for line in self._text.splitlines() if line.startswith(("E ", ">"))]
        return marked or (self._message or self._text).splitlines()


def _name(case: Mapping[str, str]) -> str:
    """Return a test's name as pytest's own summary has it: `tests/test_a.py::TestB::test_c[1]`."""
    file, owner, name = (case.get(key, "") for key in ("file", "classname", "name"))
    if not file:
        return f"{owner}::{name}".removeprefix("::")
    inner = owner.removeprefix(file.removesuffix(".py").replace("/", ".")).strip(".").replace(".", "::")
    return "::".join(part for part in (file, inner, name) if part)
