"""Artifacts as zip files: packed the same way for the same files, unpacked with nothing in them believed."""

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

LOGS: Final = "logs/"  # the one folder that artifacts have; later jobs do not take it
_MOST_TOLD: Final = 10
_NOT_FLAT: Final = re.compile(r"[/\\\x00-\x1f\x7f]|^\.{0,2}$")


@dataclass(frozen=True, kw_only=True)
class ArtifactMember:
    """A file that goes into an artifact; `sha256` (hex) is what its bytes must be, None where any will do."""

    name: str
    path: Path
    sha256: str | None = None

    @property
    def is_log(self) -> bool:
        """Whether project code wrote it, as much of it as it likes."""
        return self.name.startswith(LOGS)


def pack(members: Iterable[ArtifactMember], file: IO[bytes]) -> None:
    """Write a zip of the members, in the order of their names; the same members give the same bytes.

    Wheels and sdists are stored, for they are compressed already. Of a very long log, the beginning and the end are
    packed. `file` must be seekable: the headers then have the sizes, without which a reader that streams cannot tell
    where a stored archive ends. Raises FileChanged.
    """
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        for member in sorted(members, key=lambda member: member.name):
            info = zipfile.ZipInfo(member.name)  # 1980-01-01
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            packed = member.name.endswith((".whl", ".gz"))
            info.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
            try:
                with open_ends(member.path) if member.is_log else open_regular(member.path, links=False) as source:
                    if not member.is_log:  # whose size says nothing: its middle may be left out
                        info.file_size = os.fstat(source.fileno()).st_size
                    with archive.open(info, "w") as target:
                        digest = copy(source, target)
            except OSError as error:
                raise FileChanged(
                    f"`{member.path}` cannot be packed: {error.strerror}.", remedy="Look at what else uses the folder."
                ) from None
            if member.sha256 not in {None, digest}:
                raise FileChanged(
                    f"`{member.path}` has the sha256 {digest}; verified was {member.sha256}.",
                    remedy="Something changed it after it was verified: find out what, and build again.",
                )


def unpack(path: Path, folder: Path, artifact: str, stop: Callable[[], None] = lambda: None) -> None:
    """Unpack an artifact's files into an empty folder; the logs stay behind. What `stop` raises ends it.

    Raises ArtifactDamaged, before anything is written, for members in other folders, links, names twice, and whatever
    else no honest archive has; sizes are bounded as those of wheels are.
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
        raise _damaged(artifact, ["it is no zip archive, or its end is missing"]) from None
    except BadData as error:
        raise _damaged(artifact, [f"a member {error}"]) from None


def _wanted(archive: Archive) -> list[Entry]:
    return [entry for entry in archive.entries if not entry.name.startswith(LOGS)]


def _problems(archive: Archive) -> Iterator[str]:
    """Yield what speaks against unpacking. Data descriptors are no fault here: GitHub's own client writes them."""
    if not archive.complete:
        yield "it has more members than can be read"
    names: set[str] = set()
    for entry in _wanted(archive):
        if _NOT_FLAT.search(entry.name):
            yield f"`{entry.name}` is no plain file name"
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
    told = problems[:_MOST_TOLD] + ([f"and {len(problems) - _MOST_TOLD} more"] if len(problems) > _MOST_TOLD else [])
    return ArtifactDamaged(
        "\n".join((f"The artifact `{artifact}` cannot be unpacked safely:", *told)),
        remedy="Take one that `manywheels build` uploaded; if it is one, run the building job again.",
    )
