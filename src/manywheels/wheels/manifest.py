"""The manifest, `manywheels.json`: the sealed set of wheels, with their checks and failures.

Later jobs deliver exactly these files, by sha256. A schema version may get new keys, but none changes its meaning.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from packaging.utils import parse_sdist_filename, parse_wheel_filename

from manywheels.core.files import digest_file, write_atomically
from manywheels.core.regular_files import open_regular
from manywheels.errors import SdistFailed, WheelFileError
from manywheels.wheels.output import MANIFEST

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")
MOST_SHARDS: Final = 1000
SCHEMA: Final = 1
_LARGEST: Final = 64 << 20  # bytes; a thousand targets take three million
_LONGEST: Final = 1_000  # characters of an error's detail
_LOG: Final = re.compile(r"logs/(?!\.\.?$)[^/\\]+")
_REMEDY: Final = "Build again; only manywheels should write this file."


class _Rule:
    """A rule for a field besides its type: pydantic's schema settings, and a function that raises ValueError.

    Not pydantic's own, which is slow to import; only reading needs it.
    """

    def __init__(self, check: Callable[[Any], Any] | None = None, **settings: object) -> None:
        self.check = check
        self.settings = settings

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:  # noqa: ANN401
        from pydantic_core.core_schema import no_info_after_validator_function

        schema = {**handler(source), **self.settings}
        return no_info_after_validator_function(self.check, schema) if self.check else schema


def _require_wheel_name(name: str) -> str:
    if "/" in name or not name.isprintable():
        raise ValueError(f"`{name}` is not a file of this folder")
    parse_wheel_filename(name)  # InvalidWheelFilename is a ValueError
    return name


def _require_distribution_name(name: str) -> str:
    if name.endswith(".whl"):
        return _require_wheel_name(name)
    if "/" in name or not name.isprintable():
        raise ValueError(f"`{name}` is not a file of this folder")
    parse_sdist_filename(name)  # InvalidSdistFilename is a ValueError
    return name


def _require_log(path: str) -> str:
    if not _LOG.fullmatch(path) or not path.isprintable():
        raise ValueError(f"`{path}` is not a log of this folder")
    return path


def _require_part(shard: Shard) -> Shard:
    if not 1 <= shard.index <= shard.count <= MOST_SHARDS:
        raise ValueError(f"{shard} is not a part of a plan")
    return shard


# JSON has no tuples and enumerations, so pydantic converts to those, but not to numbers and booleans.
# It stops at a list's first fault: a hostile manifest could hold millions, and each takes memory.
_Number = Annotated[float, _Rule(strict=True, allow_inf_nan=False)]
_Count = Annotated[int, _Rule(strict=True, ge=0, lt=1 << 63)]
_Bool = Annotated[bool, _Rule(strict=True)]
_Texts = Annotated[tuple[str, ...], _Rule(fail_fast=True)]
_Seconds = Annotated[Mapping[str, _Number], _Rule(fail_fast=True)]
_LogPath = Annotated[str, _Rule(_require_log)]
_Digest = Annotated[str, _Rule(pattern="^[0-9a-f]{64}$")]


class TargetState(StrEnum):
    """How a target ended."""

    BUILT = "built"
    REUSED = "reused"
    FAILED = "failed"
    NO_INTERPRETER = "no interpreter"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class WheelRecord:
    """A finished wheel: `size` in bytes, `sha256` in hex, `glibc` the lowest that suffices, as `2.17`.

    `libraries` were grafted; `left_out` are patterns of libraries excluded on purpose.
    """

    name: Annotated[str, _Rule(_require_wheel_name)]
    size: _Count
    sha256: _Digest
    tags: _Texts
    glibc: str | None = None
    libraries: _Texts
    left_out: _Texts = ()


@dataclass(frozen=True, kw_only=True)
class SealedFile:
    """A file of the set that no target made: the sdist, or a wheel that was built elsewhere.

    `size` in bytes, `sha256` in hex. `origin` is the artifact or folder that it was taken from; empty for what the run
    made itself.
    """

    name: Annotated[str, _Rule(_require_distribution_name)]
    size: _Count
    sha256: _Digest
    origin: str = ""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a target has no wheel, with an excerpt of the log.

    `file`, `line` (1-based): the place that the compiler or interpreter named.
    """

    code: str
    stage: str
    problem: str
    remedy: str
    excerpt: _Texts = ()
    file: str | None = None
    line: _Count | None = None


@dataclass(frozen=True, kw_only=True)
class TestRun:
    """How the project's tests of a wheel ended; `count` is None if their output has no number."""

    passed: _Bool
    seconds: _Number
    log: _LogPath
    count: _Count | None = None
    failed: _Texts = ()


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One of `count` parts of a plan, or of its targets for `arch`; `index` counts from 1."""

    index: _Count
    count: _Count
    arch: str = ""

    def __str__(self) -> str:
        return f"{self.arch}:{self.index}/{self.count}" if self.arch else f"{self.index}/{self.count}"


@dataclass(frozen=True, kw_only=True)
class MadeFrom:
    """What a target's wheel was made from, besides the source: a later run compares it.

    `recipe` and `tools` are sha256 (hex): of options and variables, and of the image, or the compilers, interpreter and
    manywheels. `requires`: the declared build requirements as an index resolved them, such as `setuptools==84.2.1`;
    None if they could not be resolved without building any of them.
    """

    recipe: _Digest
    tools: _Digest
    requires: _Texts | None = None


@dataclass(frozen=True, kw_only=True)
class TargetRecord:
    """One target of the plan; `log` is relative to the output folder.

    `began` and `seconds`: each stage's start since the run's and duration, in seconds. `checks`: the errors found, by
    code of each check made, without checks whose findings the project ignores. `tests_not_run`: why this machine could
    not run the project's tests; empty if it did, or the project has none. `kept`: its wheel is an earlier run's.
    """

    identifier: str
    state: TargetState
    python: str | None = None
    wheel: WheelRecord | None = None
    built_for: str | None = None
    began: _Seconds = field(default_factory=dict)
    seconds: _Seconds = field(default_factory=dict)
    checks: Annotated[Mapping[str, _Texts], _Rule(fail_fast=True)] = field(default_factory=dict)
    tests: TestRun | None = None
    tests_not_run: str = ""
    log: _LogPath | None = None
    failure: Failure | None = None
    warnings: _Texts = ()
    made_from: MadeFrom | None = None
    kept: _Bool = False

    @property
    def has_failed(self) -> bool:
        """Whether it makes the run fail: with `allow-missing`, a target without interpreter has no failure."""
        missing = self.state is TargetState.NO_INTERPRETER and self.failure is not None
        return missing or self.state is TargetState.FAILED


@dataclass(frozen=True, kw_only=True)
class Compilations:
    """How many objects builds asked for: `compiled` for them, `shared` as they had been, or `alone` by the build."""

    compiled: _Count
    shared: _Count
    alone: _Count

    def __add__(self, other: Compilations) -> Compilations:
        return Compilations(
            compiled=self.compiled + other.compiled,
            shared=self.shared + other.shared,
            alone=self.alone + other.alone,
        )


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A finished run. `version` is the wheels', None without wheels; `warnings` concern the set.

    `source`: the digest of the package's files; `checkout`: that of all that builds saw, with git's state.
    `shard`: the part of the plan that was built. `planned`: identifiers of the whole plan. `compilations`: None if
    targets shared none. `sdist_failure`: why the run has no sdist, if it should have one. `foreign`: wheels that were
    built elsewhere, for other systems as a rule.
    """

    project: str
    version: str | None = None
    source: str
    platform: str
    toolchain: str
    manywheels: str
    seconds: _Number
    targets: Annotated[tuple[TargetRecord, ...], _Rule(fail_fast=True)]
    warnings: _Texts = ()
    planned: _Texts = ()
    shard: Annotated[Shard, _Rule(_require_part)] | None = None
    compilations: Compilations | None = None
    checkout: str = ""
    sdist: SealedFile | None = None
    sdist_failure: Failure | None = None
    foreign: Annotated[tuple[SealedFile, ...], _Rule(fail_fast=True)] = ()
    schema: int = SCHEMA

    @property
    def wheels(self) -> tuple[WheelRecord, ...]:
        """Each finished wheel once, in the targets' order."""
        return tuple(dict.fromkeys(record.wheel for record in self.targets if record.wheel))

    @property
    def files(self) -> tuple[WheelRecord | SealedFile, ...]:
        """All files of the set: the sdist, the targets' wheels, and those that were built elsewhere."""
        return (*([self.sdist] if self.sdist else []), *self.wheels, *self.foreign)

    @property
    def failures(self) -> tuple[TargetRecord, ...]:
        """The targets that make the run fail."""
        return tuple(record for record in self.targets if record.has_failed)

    def serialized(self) -> bytes:
        """Return the file's content; equal manifests give equal bytes."""
        return json.dumps(asdict(self), indent=2).encode() + b"\n"

    @property
    def digest(self) -> str:
        """The file's sha256, in hex."""
        return hashlib.sha256(self.serialized()).hexdigest()

    def write(self, folder: Path) -> Path:
        """Write atomically; return the file's path."""
        path = folder / MANIFEST
        with write_atomically(path) as file:
            file.write(self.serialized())
        return path


def all_compilations(manifests: Iterable[Manifest]) -> Compilations | None:
    """Return the sum; None if no manifest has any."""
    found = [manifest.compilations for manifest in manifests if manifest.compilations]
    return sum(found[1:], found[0]) if found else None


def joined(values: Iterable[str]) -> str:
    """Return each value once, in one line."""
    return ", ".join(sorted(set(values)))


def describe_wheel(
    path: Path,
    *,
    glibc: str | None,
    libraries: tuple[str, ...],
    left_out: tuple[str, ...] = (),
    sha256: str | None = None,
) -> WheelRecord:
    """Without `sha256` of the verified bytes, the file is read."""
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


def no_sdist(problem: str) -> Failure:
    """Return why a run has no sdist."""
    remedy = "Look at what was built, and build again."
    return Failure(code=SdistFailed.code, stage="sdist", problem=problem, remedy=remedy)


def seal(path: Path, *, sha256: str, origin: str = "") -> SealedFile:
    """`sha256` (hex) is that of the verified bytes."""
    return SealedFile(name=path.name, size=path.stat().st_size, sha256=sha256, origin=origin)


def read_manifest(folder: Path) -> Manifest:
    """Unknown keys are ignored. Raises WheelFileError, also for another schema."""
    return read_sealed(folder)[0]


def read_sealed(folder: Path) -> tuple[Manifest, str]:
    """Return the manifest, and the sha256 (hex) of the bytes it was parsed from. Raises WheelFileError."""
    path = folder / MANIFEST
    try:
        with open_regular(path, largest=_LARGEST, links=False) as file:
            content = file.read(_LARGEST)
    except OSError as error:
        raise WheelFileError(
            f"There is no manifest `{path}` to read: {error.strerror}.",
            remedy="Give the output folder of `manywheels build`.",
        ) from None
    return _parse(path, content), hashlib.sha256(content).hexdigest()


def parse_record(found: object) -> TargetRecord:
    """Return the record that `asdict` made, also through JSON. Raises ValueError for anything else."""
    record: TargetRecord = _adapter_of(TargetRecord).validate_python(found)
    return record


def parse_manifest(found: object) -> Manifest:
    """Return the manifest that `asdict` made, also through JSON. Raises ValueError for anything else."""
    manifest: Manifest = _adapter_of(Manifest).validate_python(found)
    return manifest


def _parse(path: Path, content: bytes) -> Manifest:
    from pydantic import ValidationError

    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise WheelFileError(f"`{path}` is not JSON: {error}.", remedy=_REMEDY) from None
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != SCHEMA:
        raise WheelFileError(
            f"`{path}` has the schema `{str(schema)[:_LONGEST]}`; this version of manywheels reads {SCHEMA}.",
            remedy="Read it with the version of manywheels that wrote it, which its key `manywheels` names.",
        )
    try:
        return parse_manifest(found)
    except ValidationError as error:
        raise WheelFileError(f"`{path}` is not a manifest: {_first_fault(error)}.", remedy=_REMEDY) from None


@cache
def _adapter_of(kind: type[T]) -> TypeAdapter[T]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _first_fault(error: ValidationError) -> str:
    """Return place and fault: `targets[3].wheel.size`: Field required."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in fault["loc"]).lstrip(".")
    return f"`{place[:_LONGEST]}`: {fault['msg'].removeprefix('Value error, ')[:_LONGEST]}"
