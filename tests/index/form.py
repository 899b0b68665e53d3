"""Request bodies as streams: with a length or in chunks, and multipart forms (RFC 7578) whose files go to disk."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from io import BufferedIOBase
from pathlib import Path
from typing import Protocol

_PIECE = 64 * 1024
_LARGEST_FIELD = 1 << 20


class Hash(Protocol):
    """What hashlib's objects have in common."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class BadForm(Exception):
    """The body is no multipart form."""


class Cut(Exception):
    """The client went away, or shall be cut off, in the middle of its body."""


class Body:
    """A request's body, read once, never beyond its end; `limit` makes it end with Cut after so many bytes."""

    def __init__(self, stream: BufferedIOBase, headers: Message) -> None:
        self._stream = stream
        self._chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
        self._left = 0 if self._chunked else int(headers.get("Content-Length") or 0)
        self._ended = False
        self.received = 0
        self.limit: int | None = None

    @property
    def finished(self) -> bool:
        """Whether all of it has been read."""
        return self._ended if self._chunked else self._left == 0

    def read(self, size: int = _PIECE) -> bytes:
        """Return up to `size` bytes, none at the end. Raises Cut."""
        if self._chunked and not self._left and not self._ended:
            self._next_chunk()
        allowed = size if self.limit is None else min(size, self.limit - self.received)
        if not allowed:
            raise Cut
        wanted = min(allowed, self._left)
        if not wanted:
            return b""
        data = self._stream.read(wanted)
        if not data:
            raise Cut
        self._left -= len(data)
        self.received += len(data)
        if self._chunked and not self._left:
            self._stream.readline()
        return data

    def read_all(self, most: int = _LARGEST_FIELD) -> bytes:
        """Return a small body. Raises BadForm if it is not small."""
        pieces, size = [], 0
        while piece := self.read():
            size += len(piece)
            if size > most:
                raise BadForm("the body is too large")
            pieces.append(piece)
        return b"".join(pieces)

    def _next_chunk(self) -> None:
        self._left = int(self._stream.readline().split(b";")[0] or b"0", 16)
        if not self._left:
            self._ended = True
            while self._stream.readline().strip():
                pass


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file that came with a form: where it lies, and its digests in hex."""

    filename: str
    content_type: str
    path: Path
    size: int
    digests: Mapping[str, str]


@dataclass(kw_only=True)
class Form:
    """A form's fields, each with all of its values in order, and its file."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    upload: Upload | None = None

    def first(self, name: str) -> str:
        """Return a field's first value, or nothing."""
        return self.fields.get(name, [""])[0]


def read_form(body: Body, content_type: str, spool: Path, largest: int) -> Form:
    """Read a multipart form; its file goes to `spool`. Raises BadForm, and Cut.

    Of a file larger than `largest` bytes only that much is kept: the sum of its bytes is still told.
    """
    boundary = re.search(r'boundary="?([^";,]+)"?', content_type)
    if not content_type.startswith("multipart/form-data") or not boundary:
        raise BadForm("not a multipart form")
    reader = _Parts(body, b"\r\n--" + boundary[1].encode())
    form = Form()
    reader.skip_preamble()
    while (headers := reader.next_headers()) is not None:
        name = re.search(r'[; ]name="([^"]*)"', headers.get("content-disposition", ""))
        file = re.search(r'filename="([^"]*)"', headers.get("content-disposition", ""))
        if not name:
            raise BadForm("a part has no name")
        if file:
            kind = headers.get("content-type", "text/plain")  # uv sends none; this is what it then is (RFC 7578)
            form.upload = _receive(reader, file[1], kind, spool, largest)
        else:
            pieces: list[bytes] = []
            reader.content(pieces.append)
            if sum(map(len, pieces)) > _LARGEST_FIELD:
                raise BadForm(f"the field {name[1]} is too large")
            form.fields.setdefault(name[1], []).append(b"".join(pieces).decode("utf-8"))
    return form


def _receive(reader: _Parts, filename: str, content_type: str, spool: Path, largest: int) -> Upload:
    hashes: dict[str, Hash] = {
        "md5": hashlib.md5(usedforsecurity=False),
        "sha256": hashlib.sha256(),
        "blake2_256": hashlib.blake2b(digest_size=32),
    }
    size = 0
    with spool.open("wb") as file:

        def keep(data: bytes) -> None:
            nonlocal size
            size += len(data)
            if size <= largest:
                file.write(data)
            for digest in hashes.values():
                digest.update(data)

        reader.content(keep)
    digests = {name: digest.hexdigest() for name, digest in hashes.items()}
    return Upload(filename=filename, content_type=content_type, path=spool, size=size, digests=digests)


class _Parts:
    """The parts of a multipart body; holds little more than one piece of it."""

    def __init__(self, body: Body, delimiter: bytes) -> None:
        self._body, self._delimiter = body, delimiter
        self._held = b"\r\n"  # as if a line had ended before the first delimiter

    def skip_preamble(self) -> None:
        self.content(lambda _data: None)

    def next_headers(self) -> dict[str, str] | None:
        """Return the next part's headers, names in lower case; None after the last."""
        while len(self._held) < len(b"--") and self._more():
            pass
        if self._held.startswith(b"--"):
            while self._body.read():
                pass
            return None
        while b"\r\n\r\n" not in self._held:
            if len(self._held) > _PIECE or not self._more():
                raise BadForm("a part's headers do not end")
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        lines = [line.partition(":") for line in head.decode("utf-8").split("\r\n")]
        return {name.strip().lower(): value.strip() for name, colon, value in lines if colon}

    def content(self, sink: Callable[[bytes], object]) -> None:
        """Give the part's content to `sink`, up to its delimiter."""
        while True:
            place = self._held.find(self._delimiter)
            # The end of what is here may be the beginning of the delimiter.
            end = place if place >= 0 else max(len(self._held) - len(self._delimiter), 0)
            sink(self._held[:end])
            if place >= 0:
                self._held = self._held[place + len(self._delimiter) :]
                return
            self._held = self._held[end:]
            if not self._more():
                raise BadForm("the form has no end")

    def _more(self) -> bool:
        data = self._body.read()
        self._held += data
        return bool(data)
