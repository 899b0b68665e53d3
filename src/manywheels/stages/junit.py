"""What pytest found, from the JUnit file that it was asked to write: how many tests ran, and which failed, where.

The file is project code's own: it is read within bounds, a link in its place is not followed, and one that is no such
file says nothing.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from manywheels import untrusted_files

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_LARGEST: Final = 32 << 20  # bytes; some 100,000 tests
_MOST_FAILED: Final = 200
_LINES: Final = 8  # of one failure
_PLACE: Final = re.compile(r"^(\S[^:\n]*):(\d+): ", re.MULTILINE)


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


def read_results(file: Path, owner: int | None = None) -> Results | None:
    """Return what stands in a JUnit file of that owner's (a user id, None: us); None where there is no such file."""
    from xml.etree import ElementTree as ET

    content = _content(file, owner)
    if content is None or b"<!" in content[:4096].replace(b"<![CDATA[", b""):  # no document types: pytest has none
        return None
    try:
        cases = list(ET.fromstring(content).iter("testcase"))  # noqa: S314 - bounded, and without entities
    except ET.ParseError:
        return None
    failed = tuple(test for case in cases if (test := _failure(case)))[:_MOST_FAILED]
    return Results(count=sum(case.find("skipped") is None for case in cases), failed=failed)


def _content(file: Path, owner: int | None) -> bytes | None:
    try:
        with untrusted_files.open_file(file.parent, file.name, owner=owner) as stream:
            content = stream.read(_LARGEST + 1)
    except untrusted_files.Suspicious:
        return None
    return content if len(content) <= _LARGEST else None


def _failure(case: Element) -> FailedTest | None:
    found = next((child for child in case if child.tag in {"failure", "error"}), None)
    if found is None:
        return None
    text = found.text or ""
    places = _PLACE.findall(text)
    file, line = (places[-1][0], int(places[-1][1])) if places else (None, None)
    return FailedTest(name=_name(case), lines=tuple(_telling(found, text))[:_LINES], file=file, line=line)


def _telling(found: Element, text: str) -> Iterator[str]:
    """Yield the lines that pytest marks as the reason; else the message."""
    marked = [line for line in text.splitlines() if line.startswith(("E ", ">"))]
    yield from marked or (found.get("message") or text).splitlines()


def _name(case: Element) -> str:
    """Return a test's name as pytest's own summary has it: `tests/test_a.py::TestB::test_c[1]`."""
    file, owner, name = (case.get(key) or "" for key in ("file", "classname", "name"))
    if not file:
        return f"{owner}::{name}".removeprefix("::")
    inner = owner.removeprefix(file.removesuffix(".py").replace("/", ".")).strip(".").replace(".", "::")
    return "::".join(part for part in (file, inner, name) if part)
