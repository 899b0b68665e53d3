"""Small builders that the unit tests share: targets, interpreters, given values, wheels, records."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from packaging.utils import parse_wheel_filename

from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.interpreters import Interpreter
from manywheels.plan.project import Project
from manywheels.plan.targets import PlannedTarget, Target, known_targets
from manywheels.verify import Finding
from manywheels.wheels.manifest import Failure, Manifest, TargetRecord, TargetState, WheelRecord
from unit.wheelmaker import record_of

PLATFORM = "manylinux_2_17_x86_64.manylinux2014_x86_64"
TARGETS = known_targets("manylinux", "x86_64")
METADATA = (
    "Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nLicense-Expression: MIT\nLicense-File: LICENSE\n"
    "Description-Content-Type: text/plain\n\nA demonstration.\n"
)


def target(tag: str) -> Target:
    """Return the known target `cp312` and the like."""
    return next(known for known in TARGETS if known.tag == tag)


def interpreter(tag: str) -> Interpreter:
    known = target(tag)
    return Interpreter(
        abi=known.abi, version=f"{known.python}.1", path=Path("/opt/python", tag, "bin/python"), source="/opt/python"
    )


def planned(*tags: str) -> list[PlannedTarget]:
    return [PlannedTarget(target=target(tag), interpreter=interpreter(tag), asked_by_name=True) for tag in tags]


def given(value: str, origin: str = "--option", source: OriginKind = OriginKind.COMMAND_LINE) -> Value:
    return Value(value=value, origin=Origin(source, origin))


def project(**settings: object) -> Project:
    """Return a project that declares nothing but `[tool.manywheels]`; `_` in names stands for `-`."""
    return Project(
        path=Path("demo"), is_sdist=False, name="demo", version="1.0", requires_python=None,
        build_backend="setuptools.build_meta",
        settings={name.replace("_", "-"): value for name, value in settings.items()},
    )  # fmt: skip


def write_project(folder: Path, *, name: str = "demo", settings: str = "", **files: str) -> Path:
    """Write a project folder; `settings` are lines of `[tool.manywheels]`."""
    folder.mkdir(parents=True, exist_ok=True)
    tool = f"[tool.manywheels]\n{settings}\n" if settings else ""
    (folder / "pyproject.toml").write_text(f'[project]\nname = "{name}"\nversion = "1.0"\n{tool}')
    for file, content in files.items():
        (folder / file).write_text(content)
    return folder


def write_wheel(
    folder: Path,
    *,
    tags: str = f"cp312-cp312-{PLATFORM}",
    members: Mapping[str, bytes] | None = None,
    wheel_file: str | None = None,
    start: str = "demo-1.0",
    metadata: str | None = METADATA,
    licence: bytes | None = b"Do as you like.\n",
    executable: Collection[str] = (),
) -> Path:
    """Write a wheel; WHEEL and METADATA agree with its name unless others are given. None leaves a file out.

    Members that are `executable` have the mode of a program.
    """
    path = folder / f"{start}-{tags}.whl"
    name, version = start.split("-")[:2]
    dist_info = f"{name}-{version}.dist-info"
    if wheel_file is None:
        expanded = "".join(f"Tag: {tag}\n" for tag in sorted(map(str, parse_wheel_filename(path.name)[3])))
        wheel_file = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: false\n{expanded}\n"
    contents = {**(members or {}), f"{dist_info}/WHEEL": wheel_file.encode()}
    if metadata is not None:
        filled = metadata.replace("{name}", name).replace("{version}", version)
        contents[f"{dist_info}/METADATA"] = filled.encode()
    if licence is not None:
        contents[f"{dist_info}/licenses/LICENSE"] = licence
    contents.setdefault(f"{dist_info}/RECORD", record_of(contents, dist_info))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in contents.items():
            info = zipfile.ZipInfo(member, (2025, 1, 1, 0, 0, 0))
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
            if member in executable:
                info.external_attr = 0o100755 << 16
            archive.writestr(info, content)
    return path


def nest(folder: Path, depth: int, name: str = "d") -> Path:
    """Make folders inside of each other, with a file in the deepest; no path is made of them."""
    folder.mkdir()
    at = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=at)
        below = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=at))
    os.close(at)
    return folder


def write_sdist(
    folder: Path, *, start: str = "demo-1.0", metadata: str = METADATA, licence: bytes | None = b"Do as you like.\n"
) -> Path:
    """Write an sdist, the same bytes each time. None leaves the licence file out."""
    name, version = start.split("-")
    members = {
        "PKG-INFO": metadata.replace("{name}", name).replace("{version}", version).encode(),
        "pyproject.toml": f'[project]\nname = "{name}"\nversion = "{version}"\n'.encode(),
    }
    if licence is not None:
        members["LICENSE"] = licence
    path = folder / f"{start}.tar.gz"
    with gzip.GzipFile(path, "wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for member, content in members.items():
            entry = tarfile.TarInfo(f"{start}/{member}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def codes(found: tuple[Finding, ...]) -> list[str]:
    return [finding.code for finding in found]


def the_one(found: tuple[Finding, ...], code: str) -> Finding:
    """Return the only finding, which is of this code and says what to do."""
    assert codes(found) == [code], [str(finding) for finding in found]
    assert found[0].problem.remedy
    return found[0]


def wheel_record(tag: str = "cp312", *, size: int = 417_000, platform: str = PLATFORM) -> WheelRecord:
    return WheelRecord(
        name=f"demo-1.0-{tag}-{tag}-{platform}.whl", size=size, sha256="0" * 64, tags=(f"{tag}-{tag}-{platform}",),
        glibc="2.17", libraries=(),
    )  # fmt: skip


def seal(folder: Path, record: TargetRecord) -> TargetRecord:
    """Write a record's wheel, whose content is its name; return the record with its size and digest."""
    assert record.wheel
    content = record.wheel.name.encode()
    (folder / record.wheel.name).write_bytes(content)
    return replace(record, wheel=replace(record.wheel, size=len(content), sha256=hashlib.sha256(content).hexdigest()))


def built(tag: str = "cp312", *, seconds: float = 8.3, warnings: tuple[str, ...] = ()) -> TargetRecord:
    identifier = target(tag).identifier
    return TargetRecord(
        identifier=identifier, state=TargetState.BUILT, python=f"{target(tag).python}.1", wheel=wheel_record(tag),
        seconds={"build": seconds, "waiting": 50.0}, log=f"logs/{identifier}.log", warnings=warnings,
    )  # fmt: skip


def failed(
    tag: str = "cp312",
    *,
    problem: str = "spam.c:9:5: error: unknown type name",
    excerpt: tuple[str, ...] = ("spam.c:9:5: error: unknown type name 'fooo'",),
    remedy: str = "Mend it.",
) -> TargetRecord:
    identifier = target(tag).identifier
    failure = Failure(code="MW101", stage="build", problem=problem, remedy=remedy, excerpt=excerpt)
    return TargetRecord(
        identifier=identifier, state=TargetState.FAILED, python=f"{target(tag).python}.1", seconds={"build": 2.0},
        log=f"logs/{identifier}.log", failure=failure,
    )  # fmt: skip


def manifest(*records: TargetRecord, seconds: float = 12.34) -> Manifest:
    return Manifest(
        project="demo", version="1.0", source="sha256:" + "0" * 64, platform="manylinux_2_28_x86_64", toolchain="zig",
        manywheels="0.1.0", seconds=seconds, targets=records,
    )  # fmt: skip
