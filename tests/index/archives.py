"""What the index demands of the archives of sdists and wheels, and of their names."""

from __future__ import annotations

import configparser
import csv
import os
import re
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from packaging.metadata import Metadata
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

from index.form import Upload
from index.metadata import Rejected

_CODE = (".py", ".pye")

# The index's own words, for manywheels to be compared with.
_LINUX = "x86_64|i686|aarch64|armv7l|ppc64le|s390x"
_MAC = "ppc|ppc64|i386|x86_64|arm64|intel|fat|fat3|fat64|universal|universal2"
_PLATFORMS = re.compile(
    rf"any|win32|win_(amd64|arm64|ia64)|linux_armv[67]l|manylinux(1|2010)_(x86_64|i686)|manylinux2014_({_LINUX}|ppc64)|"
    rf"manylinux_\d+_\d+_({_LINUX}|riscv64|ppc64)|musllinux_\d+_\d+_({_LINUX}|riscv64)|"
    rf"macosx_(10_\d+|(1[1-5]|26)_0)_({_MAC})|ios_\d+_\d+_(arm64|x86_64)_(iphoneos|iphonesimulator)|"
    r"android_\d+_(armeabi_v7a|arm64_v8a|x86|x86_64)|pyemscripten_\d+_\d+_wasm32.*"
)


def check_sdist(upload: Upload, metadata: Metadata) -> None:
    if zipfile.is_zipfile(upload.path) and tarfile.is_tarfile(upload.path):
        raise Rejected("Invalid distribution file. File is both a zip and a tar file")
    is_tar = upload.filename.endswith(".tar.gz")
    files = _of_tar(upload.path) if is_tar else _of_zip(upload.path)
    top = os.path.commonpath(files)
    if top in {".", "/", ""}:
        raise Rejected("Invalid distribution file. Incorrect number of top-level directories in sdist")
    if f"{top}/PKG-INFO" not in files:
        raise Rejected(f"Invalid distribution file. PKG-INFO not found at {top}/PKG-INFO")
    _check_code(files)
    try:
        name, _ = parse_sdist_filename(upload.filename)
    except InvalidSdistFilename:
        raise Rejected(f"Invalid source distribution filename: {upload.filename}") from None
    _check_belongs(str(name), metadata)
    wanted = f"{canonicalize_name(metadata.name).replace('-', '_')}-{metadata.version}.tar.gz"
    if upload.filename != wanted:
        raise Rejected(f"Filename {upload.filename!r} is invalid, should be {wanted!r}.")
    for licence in metadata.license_files or ():
        if (place := f"{top}/{licence}") not in files:
            raise _no_licence(licence, upload.filename, place)


def _of_tar(path: Path) -> dict[str, bytes]:
    """Return the members, with the content of those that are Python code."""
    files = {}
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            if member.issparse():
                raise Rejected("Invalid distribution file. tar archive not accepted: Sparse members are not allowed.")
            stream = archive.extractfile(member) if member.isfile() and member.name.endswith(_CODE) else None
            files[member.name] = stream.read() if stream else b""
    return files


def _of_zip(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) if name.endswith(_CODE) else b"" for name in archive.namelist()}


def _check_code(files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        if name.endswith(_CODE) and len(content) <= 5 << 20 and (program := _encrypted_by(content)):
            raise Rejected(f"Invalid distribution file. {program}-encrypted content is not allowed.")


def _encrypted_by(content: bytes) -> str | None:
    # In parts: an sdist of these tests would be refused for the whole words.
    arms = (b"enter", b"exit", b"assert", b"bcc")
    if any(b"__pyarmor" + b"_%b__" % arm in content for arm in arms) or b"__pyarmor" + b"__(__name__, __f" in content:
        return "PyArmor"
    borders = (b"---%b PYE " % border + b"FILE---" for border in (b"BEGIN", b"END"))
    return "SourceDefender" if all(border in content for border in borders) else None


def _no_licence(licence: str, filename: str, place: str) -> Rejected:
    return Rejected(f"License-File {licence} does not exist in distribution file {filename} at {place}")


def check_wheel(upload: Upload, metadata: Metadata) -> bytes:
    dist_info = "-".join(upload.filename.split("-")[:2]) + ".dist-info"
    with zipfile.ZipFile(upload.path) as archive:
        _check_zip(archive, upload, dist_info)
        _check_wheel_name(upload, metadata)
        return _read_dist_info(archive, upload.filename, dist_info, metadata)


def _check_zip(archive: zipfile.ZipFile, upload: Upload, dist_info: str) -> None:
    members = archive.infolist()
    total = sum(member.file_size for member in members)
    if total > 64 << 20 and total > 50 * upload.size:
        raise Rejected("Invalid distribution file. File exceeds compression ratio of 50")
    if any(member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} for member in members):
        raise Rejected("Invalid distribution file. File does not use a supported compression type")
    if f"{dist_info}/WHEEL" not in archive.namelist():
        raise Rejected(f"Invalid distribution file. WHEEL not found at {dist_info}/WHEEL")
    _check_code({member.filename: archive.read(member) for member in members if member.filename.endswith(_CODE)})
    if any(member.flag_bits & 0x8 for member in members):
        raise Rejected("Invalid distribution file. ZIP archive not accepted: ZIP contains a data descriptor.")
    if any(member.comment for member in members):
        raise Rejected("Invalid distribution file. ZIP archive not accepted: Comment in central directory.")
    if len({member.filename for member in members}) < len(members):
        raise Rejected("Invalid distribution file. ZIP archive not accepted: Duplicate filename in local headers.")
    if min((member.header_offset for member in members), default=0) > 0:
        raise Rejected("Invalid distribution file. ZIP archive not accepted: Unknown record signature.")


def _check_wheel_name(upload: Upload, metadata: Metadata) -> None:
    try:
        name, version, _, tags = parse_wheel_filename(upload.filename)
    except InvalidWheelFilename as problem:
        raise Rejected(str(problem)) from None
    for tag in tags:
        if not _PLATFORMS.fullmatch(tag.platform):
            raise Rejected(f"Binary wheel '{upload.filename}' has an unsupported platform tag '{tag.platform}'.")
    _check_belongs(str(name), metadata)
    wanted, found = canonicalize_name(metadata.name).replace("-", "_"), upload.filename.partition("-")[0]
    if found != wanted:
        raise Rejected(
            f"Filename {upload.filename!r} should contain the normalized project name {wanted!r}, not {found!r}."
        )
    if version != metadata.version:
        raise Rejected(f"Version in filename should be {str(metadata.version)!r} not {str(version)!r}.")
    if len(upload.filename.encode()) > 255 - len(".metadata"):
        raise Rejected(f"Filename is too long: '{upload.filename}'")


def _read_dist_info(archive: zipfile.ZipFile, filename: str, dist_info: str, metadata: Metadata) -> bytes:
    names = set(archive.namelist())
    for licence in metadata.license_files or ():
        if (place := f"{dist_info}/licenses/{licence}") not in names:
            raise _no_licence(licence, filename, place)
    try:
        list(csv.reader(archive.read(f"{dist_info}/RECORD").decode().splitlines()))
    except (KeyError, UnicodeError, csv.Error):
        place = f"{dist_info}/RECORD"
        raise Rejected(f"Wheel '{filename}' does not contain the required RECORD file: {place}") from None
    if f"{dist_info}/entry_points.txt" in names:
        _check_entry_points(archive.read(f"{dist_info}/entry_points.txt"), filename)
    if f"{dist_info}/METADATA" not in names:
        raise Rejected(f"Wheel '{filename}' does not contain the required METADATA file: {dist_info}/METADATA")
    return archive.read(f"{dist_info}/METADATA")


def _check_entry_points(content: bytes, filename: str) -> None:
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(content.decode())
        names = [name for group in ("console_scripts", "gui_scripts") if group in parser for name in parser[group]]
    except (UnicodeError, configparser.Error):
        names = [""]
    if not all(re.fullmatch(r"[\w.-]+", name) for name in names):
        raise Rejected(f"Wheel '{filename}' has invalid entry points defined in the entry_points.txt file")


def _check_belongs(name: str, metadata: Metadata) -> None:
    if canonicalize_name(name) != canonicalize_name(metadata.name):
        raise Rejected(
            f"Start filename for {metadata.name!r} with {canonicalize_name(metadata.name).replace('-', '_')!r}."
        )
