"""A copy of the source: its places, and paths of the caller's settings that lead into it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from manywheels.plan.pip_settings import Follower, local_path
from manywheels.plan.target_options import Constraints
from manywheels.runtime import untrusted_files
from manywheels.runtime.workspace import Snapshot


@dataclass(frozen=True, kw_only=True)
class SourceCopy:
    """A copy of `snapshot` in `folder`; the project's own folder is `origin`."""

    snapshot: Snapshot
    folder: Path
    origin: Path

    @property
    def project(self) -> Path:
        """The folder of the copy that commands run in."""
        return self.folder / self.snapshot.project

    @property
    def places(self) -> dict[str, Path]:
        """The values of `{project}` and `{package}`."""
        return {"project": self.project, "package": self.folder / self.snapshot.package}

    @property
    def source(self) -> Path:
        """The package's folder in the snapshot, which project code cannot write."""
        return self.snapshot.root / self.snapshot.package

    def follower(self, constraints: str) -> Follower:
        """Return what follows the caller's settings of indexes and versions; `constraints` is a file, or empty."""
        return Follower(locate=self._located, is_there=self._is_there, constraints=constraints)

    @property
    def top(self) -> Path:
        """The caller's folder that was copied."""
        project, package = self.origin.resolve(), self.snapshot.package
        return project.parents[len(package.parts) - 1] if package.parts else project

    def _located(self, word: str) -> str:
        """Return a path of pip's variables, if it is one in the source, as that of the copy.

        A relative one is in the project or, if it is not there, in the package.
        """
        path = local_path(word)
        if path is None:
            return word
        if Path(path).is_absolute():
            inside = Path(path).relative_to(self.top) if Path(path).is_relative_to(self.top) else None
            return str(self.folder / inside) if inside and self._is_copied(inside) else word
        project, package = (folder / path for folder in (self.snapshot.project, self.snapshot.package))
        return str(self.folder / (project if self._is_copied(project) or not self._is_copied(package) else package))

    def _is_there(self, path: str) -> bool:
        if Path(path).is_relative_to(self.folder):
            return self._is_copied(Path(path).relative_to(self.folder))
        return Path(path).is_dir()

    def _is_copied(self, relative: Path) -> bool:
        """Whether the source has a path, or the copy, where `before-build` may have made it."""
        relative = Path(os.path.normpath(relative))
        if ".." in relative.parts:
            return False
        if os.path.lexists(self.snapshot.root / relative):
            return True
        return self.folder.exists() and untrusted_files.is_there(self.folder, str(relative))


def written_constraints(constraints: Constraints, source: Path, python: str, sealed: Path) -> str:
    """Write the file that makes every front end follow `dependency-versions`; return its path, empty without any.

    `source` is the package's folder, `sealed` a folder of this process's user. Raises OSError.
    """
    if not (constraints.file or constraints.packages):
        return ""
    file = sealed / "constraints.txt"
    if not file.exists():
        untrusted_files.make_public_folder(sealed)
        untrusted_files.write_file(file, constraints.text(source, python).encode())
    return str(file)
