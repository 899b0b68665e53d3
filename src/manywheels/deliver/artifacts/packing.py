"""Artifacts as zip files: packed reproducibly, unpacked without trust in their content."""

from __future__ import annotations

import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from manywheels.core.log_files import open_ends
from manywheels.core.regular_files import open_regular
from manywheels.errors import ArtifactDamaged, FileChanged, WheelFileError
from manywheels.wheels.archive import Archive, BadData, Entry, Kind, open_archive
from manywheels.wheels.output import copy

LOG_FOLDER: Final = "logs/"  # the only folder; later jobs ignore it
_MOST_REPORTED: Final = 10
_NOT_FLAT: Final = re.compile(r"[/\\\x00-\x1f\x7f]|^\.{0,2}$")


@dataclass(frozen=True, kw_only=True)
class ArtifactMember:
    """A file for an artifact; its bytes must have `sha256` (hex), if any."""

    name: str
    path: Path
    sha256: str | None = None

    @property
    def is_log(self) -> bool:
        """Whether it is a log: project code writes logs, of any size."""
        return self.name.startswith(LOG_FOLDER)


def pack(members: Iterable[ArtifactMember], file: IO[bytes]) -> None:
    """Write a zip of the members, sorted by name, reproducibly.

    Wheels and sdists are stored. Of a very long log, the two ends are packed. `file` must be seekable: streaming
    readers need sizes in the headers of stored members. Raises FileChanged.
    """
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        for member in sorted(members, key=lambda member: member.name):
            info = zipfile.ZipInfo(member.name)  # 1980-01-01
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            packed = member.name.endswith((".whl", ".gz"))
            info.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
            try:
                with open_ends(member.path) if member.is_log else open_regular(member.path, links=False) as source:
                    if not member.is_log:  # a part of it may be left out
                        info.file_size = os.fstat(source.fileno()).st_size
                    with archive.open(info, "w") as target:
                        digest = copy(source, target)
            except OSError as error:
                raise FileChanged(
                    f"`{member.path}` cannot be packed: {error.strerror}.", remedy="Check what else uses the folder."
                ) from None
            if member.sha256 not in {None, digest}:
                raise FileChanged(
                    f"`{member.path}` has the sha256 {digest}; {member.sha256} was verified.",
                    remedy="Find out what changed it after it was verified, and build again.",
                )


def unpack(path: Path, folder: Path, artifact: str, stop: Callable[[], None] = lambda: None) -> None:
    """Unpack an artifact's files, without logs, into an empty folder; `stop` is called often, and may raise.

    Raises ArtifactDamaged, before anything is written, for folders, links, duplicate names and other irregularities;
    sizes are bounded as for wheels.
    """
    try:
        with open_archive(path, stop) as archive:
            problems = list(_problems(archive))
            if problems:
                raise _damaged(artifact, problems)
            for entry in _wanted(archive):
                with (folder / entry.name).open("xb") as target:
                    target.writelines(archive.read(entry))
    except WheelFileError:
        raise _damaged(artifact, ["it is not a zip archive, or is truncated"]) from None
    except BadData as error:
        raise _damaged(artifact, [f"a member {error}"]) from None


def _wanted(archive: Archive) -> list[Entry]:
    return [entry for entry in archive.entries if not entry.name.startswith(LOG_FOLDER)]


def _problems(archive: Archive) -> Iterator[str]:
    """Yield why not to unpack an archive; data descriptors are allowed, since GitHub's client writes them."""
    if not archive.complete:
        yield "it has more members than can be read"
    names: set[str] = set()
    for entry in _wanted(archive):
        if _NOT_FLAT.search(entry.name):
            yield f"`{entry.name}` is not a plain file name"
        elif entry.name.casefold() in names:
            yield f"`{entry.name}` is in it twice"
        elif stat.S_IFMT(entry.mode) not in {0, stat.S_IFREG}:
            yield f"`{entry.name}` is a link or a special file"
        elif not entry.is_readable:
            yield f"`{entry.name}` is encrypted, or cannot be read within the limits"
        names.add(entry.name.casefold())
    for irregularity in archive.irregularities:
        if irregularity.kind is Kind.STRUCTURE:
            yield f"`{irregularity.member}` {irregularity.message}" if irregularity.member else irregularity.message


def _damaged(artifact: str, problems: list[str]) -> ArtifactDamaged:
    lines = problems[:_MOST_REPORTED] + (
        [f"and {len(problems) - _MOST_REPORTED} more"] if len(problems) > _MOST_REPORTED else []
    )
    return ArtifactDamaged(
        "\n".join((f"The artifact `{artifact}` cannot be unpacked safely:", *lines)),
        remedy="Use an artifact of `manywheels build`; if it is one, run the building job again.",
    )
