"""What the index demands of an upload, in the order in which it looks, and in its own words."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import zipfile
from collections.abc import Mapping
from typing import Any

from packaging.metadata import Metadata, RawMetadata
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

from index.attested import read_attestations
from index.form import Form, Upload
from index.minting import Token
from index.store import Store, StoredFile
from manywheels.data import table

# Names in the form that differ from packaging's, and fields that may be given more than once.
_RENAMED = {"platform": "platforms", "supported_platform": "supported_platforms", "license_file": "license_files"}
_LISTS = frozenset(
    {"platforms", "supported_platforms", "classifiers", "requires_dist", "provides_dist", "obsoletes_dist",
     "requires_external", "provides_extra", "dynamic", "license_files", "requires", "provides", "obsoletes"}
)  # fmt: skip
_SINGLE = frozenset(
    {"metadata_version", "name", "version", "summary", "description", "description_content_type", "home_page",
     "download_url", "author", "author_email", "maintainer", "maintainer_email", "license", "license_expression",
     "requires_python"}
)  # fmt: skip
_DIGESTS = ("md5", "sha256", "blake2_256")


class Rejected(Exception):
    """The upload is not taken; `status` is HTTP's, the text is what the index says."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message, self.status = message, status


def accept(form: Form, token: Token, store: Store, projects: set[str]) -> None:
    """Store an upload, if the very same file is not here already. Raises Rejected.

    The caller holds the store's lock.
    """
    metadata = _check_form(form)
    upload = form.upload
    if upload is None:
        raise Rejected("Upload payload does not have a file.")
    project, version = canonicalize_name(metadata.name), str(metadata.version)
    _check_permission(token, project, metadata.name, projects)
    _check_name(upload)
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
    return _metadata(form)


def _metadata(form: Form) -> Metadata:
    raw: dict[str, Any] = {}
    for field, values in form.fields.items():
        name = _RENAMED.get(field, field)
        if name in _LISTS:
            raw[name] = values
        elif name in _SINGLE:
            raw[name] = values[0]
        elif name == "keywords":
            raw[name] = [word.strip() for word in values[0].split(",")]
        elif name == "project_urls":
            raw[name] = {label.strip(): url.strip() for label, _, url in (value.partition(",") for value in values)}
    try:
        metadata = Metadata.from_raw(RawMetadata(**raw))  # type: ignore[typeddict-item]
    except ExceptionGroup as problems:
        first = str(problems.exceptions[0])
        see = "https://packaging.python.org/specifications/core-metadata"
        raise Rejected(f"{first.removesuffix('.')}. See {see} for more information.") from None
    if metadata.version.local:
        raise Rejected(f"The use of local versions in {str(metadata.version)!r} is not allowed.")
    return metadata


def _check_permission(token: Token, project: str, name: str, projects: set[str]) -> None:
    if token.publisher and project not in projects:
        raise Rejected(
            "Non-user identities cannot create new projects. This was probably caused by successfully using a pending "
            "publisher but specifying the project name incorrectly (either in the publisher or in your project's "
            "metadata). Please ensure that both match."
        )
    if token.projects is not None and project not in token.projects:
        raise Rejected(f"The given token isn't allowed to upload to project '{name}'.", status=403)


def _check_name(upload: Upload) -> None:
    if not re.fullmatch(r"[\w.+!-]+", upload.filename, re.ASCII):
        raise Rejected("Invalid distribution file name.")
    if not upload.content_type or upload.content_type.startswith("image/"):
        raise Rejected("Invalid distribution file.")


def _check_content(form: Form, upload: Upload, store: Store, project: str) -> None:
    limit = store.settings.max_file_size
    if upload.size > limit:
        raise Rejected(f"File too large. Limit for project {project!r} is {limit // (1 << 20)} MB.")
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
    if form.first("filetype") == "sdist" and any(file.filename.endswith(".tar.gz") for file in others):
        raise Rejected("Only one sdist may be uploaded per release.")


def _check_archive(form: Form, upload: Upload, metadata: Metadata) -> bytes | None:
    """Return a wheel's METADATA."""
    try:
        if form.first("filetype") == "sdist":
            _check_sdist(upload, metadata)
            return None
        return _check_wheel(upload, metadata)
    except (zipfile.BadZipFile, tarfile.ReadError, EOFError, OSError) as problem:
        raise Rejected(f"Invalid distribution file. {problem}") from None


def _check_sdist(upload: Upload, metadata: Metadata) -> None:
    try:
        name, version = parse_sdist_filename(upload.filename)
    except InvalidSdistFilename:
        raise Rejected(f"Invalid source distribution filename: {upload.filename}") from None
    _check_belongs(str(name), version, metadata)
    top = upload.filename.removesuffix(".tar.gz")
    with tarfile.open(upload.path, "r:gz") as archive:
        if f"{top}/PKG-INFO" not in archive.getnames():
            raise Rejected(f"Invalid distribution file. PKG-INFO not found at {top}/PKG-INFO")


def _check_wheel(upload: Upload, metadata: Metadata) -> bytes:
    try:
        name, version, _, tags = parse_wheel_filename(upload.filename)
    except InvalidWheelFilename as problem:
        raise Rejected(str(problem)) from None
    for tag in tags:
        if not any(re.fullmatch(pattern, tag.platform) for pattern in table("index")["platforms"]):
            raise Rejected(f"Binary wheel '{upload.filename}' has an unsupported platform tag '{tag.platform}'.")
    _check_belongs(str(name), version, metadata)
    dist_info = "-".join(upload.filename.split("-")[:2]) + ".dist-info"
    with zipfile.ZipFile(upload.path) as archive:
        return _read_dist_info(archive, upload.filename, dist_info, metadata)


def _read_dist_info(archive: zipfile.ZipFile, filename: str, dist_info: str, metadata: Metadata) -> bytes:
    names = set(archive.namelist())
    for file in ("WHEEL", "RECORD", "METADATA"):
        if f"{dist_info}/{file}" not in names:
            raise Rejected(f"Wheel '{filename}' does not contain the required {file} file: {dist_info}/{file}")
    for licence in metadata.license_files or ():
        if f"{dist_info}/licenses/{licence}" not in names:
            place = f"{dist_info}/licenses/{licence}"
            raise Rejected(f"License-File {licence} does not exist in distribution file {filename} at {place}")
    if archive.testzip():
        raise Rejected("Invalid distribution file. ZIP archive has a wrong CRC")
    return archive.read(f"{dist_info}/METADATA")


def _check_belongs(name: str, version: Version, metadata: Metadata) -> None:
    if canonicalize_name(name) != canonicalize_name(metadata.name):
        raise Rejected(
            f"Start filename for {metadata.name!r} with {canonicalize_name(metadata.name).replace('-', '_')!r}."
        )
    if version != metadata.version:
        raise Rejected(f"Version in filename should be {str(metadata.version)!r} not {str(version)!r}.")


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
