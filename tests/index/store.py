"""What the index has: projects, releases, files on disk; and the pages that show them (PEP 503, 658, 691, 700)."""

from __future__ import annotations

import html
import json
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from index.settings import Settings

JSON = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file of a release. `fields` are those of the form that it came with, `uploaded` is in Unix seconds."""

    filename: str
    project: str
    version: str
    path: Path
    size: int
    digests: Mapping[str, str]
    uploaded: float
    fields: Mapping[str, tuple[str, ...]]
    metadata_sha256: str = ""
    attestations: tuple[Mapping[str, Any], ...] = ()
    provenance: Mapping[str, Any] | None = None

    @property
    def sha256(self) -> str:
        return self.digests["sha256"]

    @property
    def metadata_path(self) -> Path:
        return self.path.with_name(self.filename + ".metadata")


@dataclass
class Store:
    """All files, and what there once was. Every method may be called from several threads."""

    folder: Path
    settings: Settings
    lock: threading.RLock = field(default_factory=threading.RLock)
    files: dict[str, StoredFile] = field(default_factory=dict)
    used_names: set[str] = field(default_factory=set)
    created: dict[tuple[str, str], float] = field(default_factory=dict)  # release: Unix seconds
    states: dict[str, str] = field(default_factory=dict)  # project: `archived` or `quarantined`
    _hidden: dict[str, int] = field(default_factory=dict)  # file name: requests that do not show it yet

    def add(self, file: StoredFile, spooled: Path) -> None:
        """Keep a file whose bytes lie in `spooled`, which is moved."""
        with self.lock:
            file.path.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(spooled, file.path)
            self.files[file.filename] = file
            self.used_names.add(file.filename)
            self.created.setdefault((file.project, file.version), file.uploaded)
            self._hidden[file.filename] = self.settings.lag

    def new_release(self, project: str, version: str) -> tuple[str, str] | None:
        """Return a release's key, if there is none of it yet."""
        try:
            release = (canonicalize_name(project), str(Version(version)))
        except InvalidVersion:
            return None
        with self.lock:
            return release if release not in self.created else None

    def delete(self, filename: str) -> None:
        """Delete a file; its name stays used."""
        with self.lock:
            self.files.pop(filename).path.unlink()

    def age(self, project: str, version: str, seconds: float) -> None:
        """Make a release older."""
        with self.lock:
            release = (canonicalize_name(project), str(Version(version)))
            self.created[release] -= seconds
            for name, file in self.files.items():
                if (file.project, file.version) == release:
                    self.files[name] = replace(file, uploaded=file.uploaded - seconds)

    def of_project(self, project: str) -> list[StoredFile]:
        """Return a project's files by name."""
        with self.lock:
            return sorted(
                (file for file in self.files.values() if file.project == project), key=lambda file: file.filename
            )

    def shown(self, project: str) -> list[StoredFile]:
        """Return what the simple page shows to this request: new files come late where settings.lag says so."""
        with self.lock:
            if self.states.get(project) == "quarantined":
                return []
            visible = []
            for file in self.of_project(project):
                if self._hidden.get(file.filename, 0) > 0:
                    self._hidden[file.filename] -= 1
                else:
                    visible.append(file)
            return visible


def simple_json(store: Store, project: str, files: list[StoredFile]) -> bytes:
    """Return a project's page as JSON (PEP 691, version 1.1 of PEP 700, with PEP 740's provenance)."""
    return json.dumps(
        {
            "meta": {"api-version": "1.4"},
            "name": project,
            "project-status": {"status": store.states.get(project, "active")},
            "versions": sorted({file.version for file in files}, key=Version),
            "files": [_entry(store, file) for file in files],
        }
    ).encode()


def _entry(store: Store, file: StoredFile) -> dict[str, Any]:
    metadata: object = {"sha256": file.metadata_sha256} if file.metadata_sha256 else False
    return {
        "filename": file.filename,
        "url": f"../../files/{file.sha256}/{file.filename}",
        "hashes": {"sha256": _claimed(store, file)},
        "size": file.size,
        "upload-time": datetime.fromtimestamp(file.uploaded, UTC).isoformat().replace("+00:00", "Z"),
        "requires-python": _requires_python(file),
        "core-metadata": metadata,
        "data-dist-info-metadata": metadata,
        "yanked": False,
        "provenance": f"../../integrity/{file.project}/{file.version}/{file.filename}/provenance"
        if file.provenance
        else None,
    }


def simple_html(store: Store, project: str, files: list[StoredFile]) -> bytes:
    """Return a project's page as HTML (PEP 503, with PEP 658's attributes)."""
    lines = [
        f'<a href="../../files/{file.sha256}/{file.filename}#sha256={_claimed(store, file)}"'
        + (f' data-requires-python="{html.escape(python)}"' if (python := _requires_python(file)) else "")
        + (f' data-core-metadata="sha256={file.metadata_sha256}"' if file.metadata_sha256 else "")
        + f">{file.filename}</a><br>"
        for file in files
    ]
    meta = '<meta name="pypi:repository-version" content="1.3">'
    return f"<!DOCTYPE html><html><head>{meta}</head><body><h1>{project}</h1>{''.join(lines)}</body></html>".encode()


def release_page(files: list[StoredFile], project: str, version: str) -> bytes:
    """Return a page for people."""
    items = "".join(f"<li>{file.filename}</li>" for file in files if file.version == version)
    return f"<!DOCTYPE html><title>{project} {version}</title><h1>{project} {version}</h1><ul>{items}</ul>".encode()


def _claimed(store: Store, file: StoredFile) -> str:
    return store.settings.lies.get(file.filename, file.sha256)


def _requires_python(file: StoredFile) -> str | None:
    return (file.fields.get("requires_python") or (None,))[0]
