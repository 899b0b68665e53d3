"""The manifest, `manywheels.json`: the sealed set of wheels, with what was proved of each and what failed.

Later steps and jobs deliver exactly what stands here, by sha256. The file is JSON with a stable schema; new keys may be
added within one schema version, none changes its meaning.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from packaging.utils import parse_wheel_filename

from manywheels.core.files import digest_file, write_atomically
from manywheels.core.regular_files import open_regular
from manywheels.errors import WheelFileError
from manywheels.wheels.output import MANIFEST

MOST_SHARDS: Final = 1000


SCHEMA: Final = 1
_LARGEST: Final = 64 << 20  # bytes; a manifest of a thousand targets has three millions
_LONGEST: Final = 1_000  # characters of a fault
_LOG: Final = re.compile(r"logs/(?!\.\.?$)[^/\\]+")


class TargetState(StrEnum):
    """How a target ended."""

    BUILT = "built"
    REUSED = "reused"
    FAILED = "failed"
    NO_INTERPRETER = "no interpreter"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class WheelRecord:
    """A finished wheel: `size` in bytes, `sha256` in hex, `glibc` the lowest that has all symbols, as `2.17`.

    `libraries` were grafted into it; `left_out` are patterns of those that were left out on purpose.
    """

    name: str
    size: int
    sha256: str
    tags: tuple[str, ...]
    glibc: str | None
    libraries: tuple[str, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a target has no wheel: the error's code, the stage, and the lines of the log that matter.

    `file` and `line` (1-based) are the place in the project that the compiler or interpreter named.
    """

    code: str
    stage: str
    problem: str
    remedy: str
    excerpt: tuple[str, ...] = ()
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True, kw_only=True)
class TestRun:
    """How the project's own tests of a wheel ended. `count` is None where their output tells no number."""

    passed: bool
    seconds: float
    log: str
    count: int | None = None
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TargetRecord:
    """One target of the plan. `log` is relative to the output folder.

    For each stage, `began` is when it began, in seconds since the run did, and `seconds` how long it took. `checks` are
    those that were made of the wheel, by their codes, with the errors that each found: none where it holds. One whose
    findings the project ignores is left out.
    """

    identifier: str
    state: TargetState
    python: str | None = None
    wheel: WheelRecord | None = None
    built_for: str | None = None
    began: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    checks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tests: TestRun | None = None
    log: str | None = None
    failure: Failure | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A finished run. `version` is the wheels' own, None where none was made; `warnings` are about the whole set.

    Where the run was a part of a plan, `shard` says which. `planned` are the identifiers of the whole plan.
    """

    project: str
    version: str | None
    source: str
    platform: str
    toolchain: str
    manywheels: str
    seconds: float
    targets: tuple[TargetRecord, ...]
    warnings: tuple[str, ...] = ()
    planned: tuple[str, ...] = ()
    shard: Shard | None = None
    schema: int = SCHEMA

    @property
    def wheels(self) -> tuple[WheelRecord, ...]:
        """Each finished wheel once, in the order of the targets."""
        return tuple(dict.fromkeys(record.wheel for record in self.targets if record.wheel))

    @property
    def failures(self) -> tuple[TargetRecord, ...]:
        """The targets that failed."""
        return tuple(record for record in self.targets if record.state is TargetState.FAILED)

    def serialized(self) -> bytes:
        """Return the content of the file: the same bytes for the same manifest, so that its digest stands for it."""
        return json.dumps(asdict(self), indent=2).encode() + b"\n"

    @property
    def digest(self) -> str:
        """The sha256 of the file, in hex."""
        return hashlib.sha256(self.serialized()).hexdigest()

    def write(self, folder: Path) -> Path:
        """Write the manifest into a folder, whole or not at all, and return its path."""
        path = folder / MANIFEST
        with write_atomically(path) as file:
            file.write(self.serialized())
        return path


def describe_wheel(
    path: Path,
    *,
    glibc: str | None,
    libraries: tuple[str, ...],
    left_out: tuple[str, ...] = (),
    sha256: str | None = None,
) -> WheelRecord:
    """Return a finished wheel's record. `sha256` is that of the bytes that were verified; without it they are read."""
    from manywheels.wheels.wheelfile import parse_name

    return WheelRecord(
        name=path.name,
        size=path.stat().st_size,
        sha256=sha256 or digest_file(path),
        tags=tuple(sorted(map(str, parse_name(path.name).tags))),
        glibc=glibc,
        libraries=libraries,
        left_out=left_out,
    )


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder; keys that this version does not know are passed over.

    Raises WheelFileError where there is none, it is damaged, or it has a schema that this version cannot read.
    """
    return read_sealed(folder)[0]


def read_sealed(folder: Path) -> tuple[Manifest, str]:
    """Return the manifest of a folder, and the sha256 (hex) of the very bytes that it was read from.

    Raises WheelFileError as `read_manifest` does.
    """
    path = folder / MANIFEST
    try:
        with open_regular(path, largest=_LARGEST, links=False) as file:
            content = file.read(_LARGEST)
    except OSError as error:
        raise WheelFileError(
            f"There is no manifest `{path}` to read: {error.strerror}.",
            remedy="Give the output folder of `manywheels build`.",
        ) from None
    return _parse_file(path, content), hashlib.sha256(content).hexdigest()


def _parse_file(path: Path, content: bytes) -> Manifest:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise WheelFileError(f"`{path}` is no JSON: {error}.", remedy=_REMEDY) from None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        schema = found.get("schema") if isinstance(found, dict) else None
        raise WheelFileError(
            f"`{path}` has the schema `{schema}`; this version of manywheels reads {SCHEMA}.",
            remedy="Read it with the version of manywheels that wrote it, which stands in its key `manywheels`.",
        )
    try:
        return _parse(found)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        fault = f"it lacks `{error.args[0]}`" if isinstance(error, KeyError) else str(error)
        raise WheelFileError(f"`{path}` is no manifest: {fault[:_LONGEST]}.", remedy=_REMEDY) from None


_REMEDY: Final = "Build again; nobody but manywheels should write this file."


def _parse(found: Mapping[str, Any]) -> Manifest:
    return Manifest(
        project=_text(found, "project"),
        version=_text_or_none(found, "version"),
        source=_text(found, "source"),
        platform=_text(found, "platform"),
        toolchain=_text(found, "toolchain"),
        manywheels=_text(found, "manywheels"),
        seconds=_number(found["seconds"]),
        targets=tuple(map(_parse_target, _objects(found["targets"]))),
        warnings=_texts(found.get("warnings", [])),
        planned=_texts(found.get("planned", [])),
        shard=_parse_shard(*_objects([found["shard"]])) if found.get("shard") is not None else None,
    )


def _parse_shard(found: Mapping[str, Any]) -> Shard:
    shard = Shard(index=int(_number(found["index"])), count=int(_number(found["count"])))
    if not 1 <= shard.index <= shard.count <= MOST_SHARDS:
        raise ValueError(f"{shard} is no part of a plan")
    return shard


def _parse_target(found: Mapping[str, Any]) -> TargetRecord:
    wheel, failure = found.get("wheel"), found.get("failure")
    return TargetRecord(
        identifier=_text(found, "identifier"),
        state=TargetState(found["state"]),
        python=_text_or_none(found, "python"),
        wheel=_parse_wheel(*_objects([wheel])) if wheel is not None else None,
        built_for=_text_or_none(found, "built_for"),
        began=_numbers(found.get("began", {})),
        seconds=_numbers(found.get("seconds", {})),
        checks=_parse_checks(found.get("checks", {})),
        tests=_parse_tests(*_objects([found["tests"]])) if found.get("tests") is not None else None,
        log=_log(found) if found.get("log") is not None else None,
        failure=_parse_failure(*_objects([failure])) if failure is not None else None,
        warnings=_texts(found.get("warnings", [])),
    )


def _parse_checks(found: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(found, dict):
        raise TypeError(f"`{found}` is no table of checks")
    return {str(code): _texts(errors) for code, errors in found.items()}


def _parse_wheel(found: Mapping[str, Any]) -> WheelRecord:
    name, sha256 = _text(found, "name"), _text(found, "sha256")
    if "/" in name or not name.isprintable() or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError(f"`{name}` with the sha256 `{sha256}` is no wheel of this folder")
    parse_wheel_filename(name)  # InvalidWheelFilename is a ValueError
    return WheelRecord(
        name=name,
        size=int(_number(found["size"])),
        sha256=sha256,
        tags=_texts(found["tags"]),
        glibc=_text_or_none(found, "glibc"),
        libraries=_texts(found["libraries"]),
        left_out=_texts(found.get("left_out", [])),
    )


def _parse_failure(found: Mapping[str, Any]) -> Failure:
    return Failure(
        code=_text(found, "code"),
        stage=_text(found, "stage"),
        problem=_text(found, "problem"),
        remedy=_text(found, "remedy"),
        excerpt=_texts(found.get("excerpt", [])),
        file=_text_or_none(found, "file"),
        line=None if found.get("line") is None else int(_number(found["line"])),
    )


def _parse_tests(found: Mapping[str, Any]) -> TestRun:
    return TestRun(
        passed=found["passed"] is True,
        seconds=_number(found["seconds"]),
        log=_log(found),
        count=None if found.get("count") is None else int(_number(found["count"])),
        failed=_texts(found.get("failed", [])),
    )


def _text(found: Mapping[str, Any], key: str) -> str:
    if not isinstance(found[key], str):
        raise TypeError(f"`{key}` is no text")
    return str(found[key])


def _log(found: Mapping[str, Any]) -> str:
    """Return the path of a log: those of a run lie in one folder, and nobody is led out of it."""
    log = _text(found, "log")
    if not _LOG.fullmatch(log) or not log.isprintable():
        raise ValueError(f"`{log}` is no log of this folder")
    return log


def _text_or_none(found: Mapping[str, Any], key: str) -> str | None:
    return None if found.get(key) is None else _text(found, key)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"`{value}` is no number")
    return value


def _numbers(value: object) -> dict[str, float]:
    if not isinstance(value, dict):
        raise TypeError(f"`{value}` is no table of numbers")
    return {str(stage): _number(seconds) for stage, seconds in value.items()}


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise TypeError(f"`{value}` is no list of texts")
    return tuple(value)


def _objects(value: object) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise TypeError("it holds something else where targets, wheels and failures should be")
    return value


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One of `count` parts of a plan; `index` counts from 1."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"
