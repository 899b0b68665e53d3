"""Wheels that are honest but for what a test puts in: the files of *.dist-info, and archives written by `zipmaker`."""

from __future__ import annotations

import base64
import csv
import hashlib
from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Final

from packaging.utils import parse_wheel_filename

from unit.zipmaker import MemberSpec, ZipFileSpec

WHEEL_NAME: Final = "demo-1.0-py3-none-any.whl"
DIST_INFO: Final = "demo-1.0.dist-info"
RECORD: Final = f"{DIST_INFO}/RECORD"
METADATA: Final = (
    "Metadata-Version: 2.4\nName: demo\nVersion: 1.0\nLicense-Expression: MIT\nLicense-File: LICENSE\n"
    "Description-Content-Type: text/plain\n\nA demonstration.\n"
)


def record_of(members: Mapping[str, bytes], dist_info: str = DIST_INFO) -> bytes:
    """Return an honest RECORD of these members and itself."""
    stream = StringIO(newline="")
    table = csv.writer(stream, lineterminator="\n")
    for name, content in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        table.writerow((name, f"sha256={digest}", len(content)))
    table.writerow((f"{dist_info}/RECORD", "", ""))
    return stream.getvalue().encode()


def wheel_texts(wheel_name: str = WHEEL_NAME) -> dict[str, bytes]:
    """Return the *.dist-info files of an honest wheel, without RECORD."""
    tags = "".join(f"Tag: {tag}\n" for tag in sorted(map(str, parse_wheel_filename(wheel_name)[3])))
    pure = "true" if wheel_name.endswith("-any.whl") else "false"
    return {
        f"{DIST_INFO}/licenses/LICENSE": b"Do as you like.\n",
        f"{DIST_INFO}/METADATA": METADATA.encode(),
        f"{DIST_INFO}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: {pure}\n{tags}\n".encode(),
    }


def wheel_spec(
    *extra: MemberSpec, record: bytes | None = None, unlisted: Iterable[str] = (), wheel_name: str = WHEEL_NAME
) -> ZipFileSpec:
    """Return a wheel that is honest but for the given members; RECORD lists them too, but for those `unlisted`."""
    members = (
        MemberSpec(name="demo/__init__.py", content=b"answer = 42\n"),
        *extra,
        *(MemberSpec(name=name, content=content) for name, content in wheel_texts(wheel_name).items()),
    )
    if record is None:
        files = {member.raw_name.decode("utf-8", "replace"): member.content for member in members if member.listed}
        record = record_of({name: content for name, content in files.items()
                            if name not in set(unlisted) and not name.endswith("/")})  # fmt: skip
    return ZipFileSpec(members=(*members, MemberSpec(name=RECORD, content=record)))


def write_spec(folder: Path, spec: ZipFileSpec, name: str = WHEEL_NAME) -> Path:
    """Write an archive under a wheel's name."""
    path = folder / name
    path.write_bytes(spec.to_bytes())
    return path
