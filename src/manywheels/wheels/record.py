"""RECORD: a wheel's files, with hashes and sizes (binary distribution format; PEP 376, 627)."""

from __future__ import annotations

import base64
import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from manywheels.data import table
from manywheels.wheels.archive import printable

_LONGEST_LINE: Final = 1 << 17  # bytes: a path may have 64 KiB
_COLUMNS: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A line's hash (`sha256=…`) and size as written, maybe empty."""

    digest: str
    size: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """Rows by path, and the table's problems. `complete` is false if reading stopped early."""

    rows: Mapping[str, Row]
    problems: tuple[str, ...] = ()
    complete: bool = True


def parse_record(content: bytes) -> Record:
    """Of two lines for one path, the first counts."""
    rows: dict[str, Row] = {}
    problems: list[str] = []
    complete = True
    most = 2 * int(table("index")["archive"]["members"])
    lines = csv.reader(_lines(content), strict=True)
    try:
        for columns in lines:
            if len(rows) + len(problems) >= most:
                problems.append(f"has more than {most} lines: the rest was not read")
                complete = False
                break
            if len(columns) != _COLUMNS:
                problems.append(f"has {len(columns)} columns in line {lines.line_num}, not path, hash and size")
                continue
            path, digest, size = columns
            path = printable(path)
            if path in rows:
                problems.append(f"lists `{path}` more than once")
            else:
                rows[path] = Row(digest=printable(digest), size=printable(size))
    except (csv.Error, ValueError) as error:
        problems.append(f"cannot be read beyond line {lines.line_num}: {error}")
        complete = False
    return Record(rows=rows, problems=tuple(problems), complete=complete)


def written(algorithm: str, digest: bytes) -> str:
    """The form is `sha256=` and URL-safe base64 without padding."""
    return f"{algorithm}={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def _lines(content: bytes) -> Iterator[str]:
    stream = BytesIO(content)
    while line := stream.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
            raise ValueError(f"a line has more than {_LONGEST_LINE} bytes")
        yield line.decode("utf-8")
