"""What the index demands of an upload, in the order in which it looks, and in its own words."""

from __future__ import annotations

import hashlib
import json
import tarfile
import zipfile
from collections.abc import Mapping
from typing import Any

from packaging.metadata import Metadata
from packaging.utils import canonicalize_name

from index.archives import check_sdist, check_wheel
from index.attested import read_attestations
from index.form import Form, Upload
from index.metadata import Rejected, check_description, read_fields
from index.minting import Token, why_not_new
from index.store import Store, StoredFile

_DIGESTS = ("md5", "sha256", "blake2_256")


def accept(form: Form, token: Token, store: Store, projects: set[str]) -> None:
    """Store an upload, if the very same file is not here already. Raises Rejected.

    The caller holds the store's lock.
    """
    _drop_unknown(form)
    metadata = _check_form(form)
    upload = form.upload
    if upload is None:
        raise Rejected("Upload payload does not have a file.")
    project, version = canonicalize_name(metadata.name), str(metadata.version)
    _check_permission(token, project, metadata.name, projects)
    if store.states.get(project) == "archived":
        raise Rejected(f"The user 'ada' isn't allowed to upload to project '{metadata.name}'.", status=403)
    check_description(metadata)
    _check_name(form, upload)
    _check_content(form, upload, store, project)
    if _is_known(upload, store):
        return
    _check_release(form, store, (project, version))
    dist_metadata = _check_archive(form, upload, metadata)
    attestations, provenance = _attestations(form, upload, token, store)
    file = StoredFile(
        filename=upload.filename,
        project=project,
        version=version,
        path=store.folder / "files" / upload.digests["sha256"] / upload.filename,
        size=upload.size,
        digests=upload.digests,
        uploaded=store.settings.clock(),
        fields={name: tuple(values) for name, values in form.fields.items()},
        metadata_sha256=hashlib.sha256(dist_metadata).hexdigest() if dist_metadata else "",
        attestations=attestations,
        provenance=provenance,
    )
    store.add(file, upload.path)
    if dist_metadata:
        file.metadata_path.write_bytes(dist_metadata)
    projects.add(project)


def _drop_unknown(form: Form) -> None:
    """Forget each field that is `UNKNOWN`: before anything else, and by its last value."""
    for name, values in list(form.fields.items()):
        if values[-1].strip() == "UNKNOWN":
            del form.fields[name]


def _check_form(form: Form) -> Metadata:
    if form.fields.get("protocol_version", ["1"]) != ["1"]:
        raise Rejected("Unknown protocol version.")
    if form.first(":action") != "file_upload":
        raise Rejected("Invalid value for :action.")
    for name in ("name", "filetype"):
        if not form.first(name):
            raise Rejected(f"Invalid value for {name}. Error: This field is required.")
    if form.first("filetype") not in {"sdist", "bdist_wheel"}:
        raise Rejected("Invalid value for filetype. Error: Use a known file type.")
    if not any(form.first(f"{name}_digest") for name in _DIGESTS):
        raise Rejected("Error: Include at least one message digest.")
    return read_fields(form)


def _check_permission(token: Token, project: str, name: str, projects: set[str]) -> None:
    if token.publisher and project not in projects:
        raise Rejected(
            "Non-user identities cannot create new projects. This was probably caused by successfully using a pending "
            "publisher but specifying the project name incorrectly (either in the publisher or in your project's "
            "metadata). Please ensure that both match."
        )
    if project not in projects and (problem := why_not_new(name)):
        raise Rejected(problem)
    if token.projects is not None and project not in token.projects:
        raise Rejected(f"The given token isn't allowed to upload to project '{name}'.", status=403)


def _check_name(form: Form, upload: Upload) -> None:
    if not upload.filename.isprintable() or "/" in upload.filename or "\\" in upload.filename:
        raise Rejected("Cannot upload a file with non-printable characters, '/' or '\\' in the name.")
    if not upload.filename.endswith((".whl",) if form.first("filetype") == "bdist_wheel" else (".tar.gz", ".zip")):
        raise Rejected("Invalid file extension: Use .tar.gz, .whl or .zip extension.")
    if not upload.content_type or upload.content_type.startswith("image/"):
        raise Rejected("Invalid distribution file.")


def _check_content(form: Form, upload: Upload, store: Store, project: str) -> None:
    limit = store.settings.max_file_size
    if upload.size > limit:
        raise Rejected(f"File too large. Limit for project {project!r} is {limit // (1 << 20)} MB.")
    limit = store.settings.max_project_size
    if upload.size + sum(file.size for file in store.of_project(project)) > limit:
        raise Rejected(f"Project size too large. Limit for project {project!r} total size is {limit // (1 << 30)} GB.")
    for name in _DIGESTS:
        given = form.first(f"{name}_digest")
        if given and given.lower() != upload.digests[name]:
            raise Rejected("The digest supplied does not match a digest calculated from the uploaded file.")


def _is_known(upload: Upload, store: Store) -> bool:
    blake = upload.digests["blake2_256"]
    for file in store.files.values():
        if file.filename == upload.filename or file.digests["blake2_256"] == blake:
            if file.filename == upload.filename and file.digests == upload.digests:
                return True
            raise Rejected(f"File already exists ({upload.filename!r}, with blake2_256 hash {blake!r}).")
    if upload.filename in store.used_names:
        raise Rejected(
            "This filename was previously used by a file that has since been deleted. Use a different version."
        )
    return False


def _check_release(form: Form, store: Store, release: tuple[str, str]) -> None:
    now, limit = store.settings.clock(), store.settings.max_release_age
    if store.created.get(release, now) < now - limit:
        raise Rejected(f"Uploading new files to releases older than {limit / 86_400:.0f} days is not allowed.")
    others = [file for file in store.of_project(release[0]) if file.version == release[1]]
    if form.first("filetype") == "sdist" and any(not file.filename.endswith(".whl") for file in others):
        raise Rejected("Only one sdist may be uploaded per release.")


def _check_archive(form: Form, upload: Upload, metadata: Metadata) -> bytes | None:
    """Return a wheel's METADATA."""
    try:
        if form.first("filetype") == "sdist":
            check_sdist(upload, metadata)
            return None
        return check_wheel(upload, metadata)
    except (zipfile.BadZipFile, tarfile.ReadError, EOFError, OSError) as problem:
        raise Rejected(f"Invalid distribution file. {problem}") from None


def _attestations(
    form: Form, upload: Upload, token: Token, store: Store
) -> tuple[tuple[Mapping[str, Any], ...], Mapping[str, Any] | None]:
    if "attestations" not in form.fields:
        return (), None
    if not token.publisher:
        problem = "Attestations are only supported when using Trusted Publishing"
        raise Rejected(f"Invalid attestations supplied during upload: {problem}")
    try:
        text = form.first("attestations")
        provenance = read_attestations(
            text, upload.filename, upload.digests["sha256"], token.publisher, verifier=store.settings.verifier
        )
    except ValueError as problem:
        raise Rejected(f"Invalid attestations supplied during upload: {problem}") from None
    return tuple(json.loads(text)), provenance
