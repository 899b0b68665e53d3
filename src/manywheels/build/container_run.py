"""Execute a plan in containers: one for each platform, side by side, each with this same program.

The programs in there tell their events (`events`); here they become one run with one table and one manifest.
"""

from __future__ import annotations

import io
import secrets
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, redirect_stderr, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Final

from manywheels import __version__
from manywheels.build.events import EventReader
from manywheels.build.ingredients import Ingredients, image_of
from manywheels.build.reporter import Reporter
from manywheels.build.trace import NO_TRACE, Trace, TracePart
from manywheels.build.unchanged import Kept, with_set_findings
from manywheels.core.cancellation import Cancellation
from manywheels.core.files import digest_file
from manywheels.core.printing import say
from manywheels.core.regular_files import is_regular
from manywheels.errors import (
    EXIT_OK,
    EXIT_TARGET_FAILED,
    EXIT_VERIFICATION,
    Cancelled,
    EngineError,
    ManywheelsError,
)
from manywheels.plan.options import Options
from manywheels.plan.platforms import Platform
from manywheels.plan.project import Project
from manywheels.plan.targets import Plan, PlannedTarget, Target
from manywheels.runtime.containers.engine import connect, connected, translate_errors
from manywheels.runtime.containers.image import image_name
from manywheels.runtime.containers.program import SHARED, STOPPED, ContainerBuild, run_build, what_is_not_known
from manywheels.runtime.containers.run import LABEL
from manywheels.runtime.workspace import take_snapshot, work_folder
from manywheels.verify.rules import Rules
from manywheels.wheels.manifest import (
    Failure,
    Manifest,
    SealedFile,
    TargetRecord,
    TargetState,
    all_compilations,
    joined,
    no_sdist,
)
from manywheels.wheels.output import OutputFolder

JOBSERVER: Final = f"{SHARED}/jobserver"
_STAGE: Final = "container"
_MIXED: Final = "the source changed during the run, so that wheels of two sources are one set: build again"


@dataclass(frozen=True, kw_only=True)
class ContainerRun:
    """A planned run; `builds` are the containers of the platforms that have a target to build, besides what is `kept`.

    `rules` decide which findings in the set count.
    """

    project: Project
    plan: Plan
    options: Options
    output: OutputFolder
    rules: Rules
    builds: Mapping[Platform, ContainerBuild]
    trace: Trace = NO_TRACE
    ingredients: Ingredients | None = None
    kept: Kept = field(default_factory=Kept)

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """The platforms of the plan's targets."""
        return self.options.platforms_of(planned.target for planned in self.plan.targets)

    @property
    def at_once(self) -> int:
        """The number of containers that run side by side."""
        return max(1, min(len(self.builds), self.options.jobs or len(self.builds)))


@dataclass(frozen=True, kw_only=True)
class _Part:
    """How a container ended: `records` of finished targets, by identifier; `manifest` if it came to its end.

    `error` is why it could not run.
    """

    status: int
    records: Mapping[str, TargetRecord]
    manifest: Manifest | None = None
    error: ManywheelsError | None = None


def execute(run: ContainerRun, reporter: Reporter, cancellation: Cancellation) -> tuple[int, Manifest | None]:
    """Build the plan; return the exit status, and the manifest, which is written, unless no container built anything.

    With a manifest, the status is that of the set: 3 if wheels of several platforms do not belong together. Raises
    EngineError if the only container cannot run, and Cancelled.
    """
    started = time.monotonic()
    said = _Said(run.builds)
    for build in run.builds.values():
        for note in what_is_not_known(build):
            said.note(note)
    reporter.started(run.plan, f"{run.project.title} for {joined(platform.tag for platform in run.platforms)}")
    for record in run.kept.records.values():
        reporter.finished(record)
    with _sharing(run) as builds:
        parts = _Containers(run, said, reporter, cancellation).run_all(builds)
    if not run.kept.records and not any(part.manifest for part in parts.values()):
        return _why_nothing(parts), None
    manifest = replace(_merged(run, parts), seconds=round(time.monotonic() - started, 3))
    is_wrong = False
    if len(parts) > 1 or run.kept.records:
        manifest, is_wrong = with_set_findings(manifest, run.kept, run.rules, run.output.path, cancellation)
    if run.kept.manifest and manifest.checkout != run.kept.manifest.checkout:
        is_wrong, manifest = True, replace(manifest, warnings=(*manifest.warnings, _MIXED))
    manifest.write(run.output.path)
    for record in manifest.failures:
        if record.failure and record.failure.stage == _STAGE:
            reporter.finished(record)
    reporter.closed(manifest)
    return EXIT_VERIFICATION if is_wrong else EXIT_OK, manifest


def tools_of(options: Options, plan: Plan) -> dict[Target, str]:
    """Return digests of the images that targets are built in, whose bases are here. Raises EngineError."""
    with connected("find an image") as client:

        @cache
        def image(platform: Platform) -> str:
            return image_name(client, platform.policy, platform.arch, platform.image)

        return {one.target: image_of(one, image(options.platform_of(one.target))) for one in plan.targets}


def checkout_of(project: Project, own: Iterable[Path], cancellation: Cancellation) -> str:
    """Return the digest of what builds would see of the source now, without the run's `own` files.

    Raises ProjectError, DiskError and Cancelled.

    What is to say about the copy, the program in the container says of its own.
    """
    with work_folder(cancellation=cancellation) as work, redirect_stderr(io.StringIO()):
        return take_snapshot(project, work / "source", cancellation, leave_out=own).checkout


@dataclass(frozen=True)
class _Containers:
    run: ContainerRun
    said: _Said
    reporter: Reporter
    cancellation: Cancellation

    def run_all(self, builds: Mapping[Platform, ContainerBuild]) -> dict[Platform, _Part]:
        with ThreadPoolExecutor(max_workers=self.run.at_once, thread_name_prefix="container") as pool:
            return dict(zip(builds, pool.map(self.run_one, builds, builds.values()), strict=True))

    def run_one(self, platform: Platform, build: ContainerBuild) -> _Part:
        run = self.run
        targets = {
            planned.target.identifier: planned.target
            for planned in run.plan.targets
            if run.options.platform_of(planned.target) == platform
        }
        part = TracePart(run.trace, platform.tag, targets) if run.trace.on else None
        if part:
            build = replace(build, step=part.step, arguments=(*build.arguments, "--traced"))
        reader = EventReader(targets, run.output.path, self.reporter, self.said.sayer(platform), part)
        try:
            status = run_build(build, self.cancellation, reader.feed)
            reader.end()
        except ManywheelsError as error:
            if len(run.builds) == 1:
                raise
            return _Part(status=error.exit_status, records=reader.records, manifest=reader.manifest, error=error)
        finally:
            if part:
                part.end(run.trace.now())
        return _Part(status=status, records=reader.records, manifest=reader.manifest)


class _Said:
    """Prints what the programs in the containers say besides their events; a note of several is printed once."""

    def __init__(self, platforms: Collection[Platform]) -> None:
        self._several = len(platforms) > 1
        self._notes: set[str] = set()
        self._lock = threading.Lock()

    def sayer(self, platform: Platform) -> Callable[[str], None]:
        prefix = f"{platform.tag}: " if self._several else ""

        def pass_on(line: str) -> None:
            if line.startswith("note: "):
                self.note(line)
            else:
                say(f"{prefix}{line}", stream=sys.stderr)

        return pass_on

    def note(self, line: str) -> None:
        with self._lock:
            is_new = line not in self._notes
            self._notes.add(line)
        if is_new:
            say(line, stream=sys.stderr)


@contextmanager
def _sharing(run: ContainerRun) -> Iterator[Mapping[Platform, ContainerBuild]]:
    """Let several containers share the machine: they get a volume for their jobserver, and their part of `jobs`."""
    if len(run.builds) <= 1:
        yield run.builds
        return
    arguments = [f"--jobserver={JOBSERVER}"]
    arguments += [f"--jobs={max(1, run.options.jobs // run.at_once)}"] if run.options.jobs else []
    with closing(connect()) as client:
        with translate_errors("create a volume"):
            volume = client.volumes.create(f"manywheels-run-{secrets.token_hex(8)}", labels={LABEL: ""})
        try:
            yield {
                platform: replace(build, volume=str(volume.name), arguments=(*build.arguments, *arguments))
                for platform, build in run.builds.items()
            }
        finally:
            with suppress(Exception):  # an earlier error matters more
                volume.remove(force=True)


# --- one run of several -----------------------------------------------------------------------------------------------


def _why_nothing(parts: Mapping[Platform, _Part]) -> int:
    """Return the exit status of a run in which no container built anything; each has said why."""
    for part in parts.values():
        if part.error:
            raise part.error
    return next((part.status for part in parts.values() if part.status), EXIT_TARGET_FAILED)


def _merged(run: ContainerRun, parts: Mapping[Platform, _Part]) -> Manifest:
    made = [part.manifest for part in parts.values() if part.manifest]
    manifests = [*([run.kept.manifest] if run.kept.manifest else []), *made]
    told = [*(part.records for part in parts.values()), run.kept.records]
    records = {name: record for own in told for name, record in own.items()}
    sdist, sdist_failure = _sdist_of(run, parts)
    merged = Manifest(
        project=run.project.title,
        version=next((manifest.version for manifest in manifests if manifest.version), None),
        source=joined(manifest.source for manifest in manifests),
        platform=joined(platform.tag for platform in run.platforms),
        toolchain=joined(_longest(manifest.toolchain for manifest in manifests)),
        manywheels=__version__,
        seconds=0,
        targets=tuple(
            records.get(planned.target.identifier) or _without_container(run, planned, parts)
            for planned in run.plan.targets
        ),
        warnings=(*dict.fromkeys(warning for manifest in made for warning in manifest.warnings),),
        planned=run.plan.identifiers,
        shard=run.plan.shard,
        compilations=all_compilations(made),
        checkout=joined(manifest.checkout for manifest in manifests),  # one, unless it has changed meanwhile
        sdist=sdist,
        sdist_failure=sdist_failure,
    )
    return run.ingredients.noted_in(merged) if run.ingredients else merged


def _sdist_of(run: ContainerRun, parts: Mapping[Platform, _Part]) -> tuple[SealedFile | None, Failure | None]:
    """Return the sdist, or why there is none: only the container of the plan's first target makes it."""
    if run.kept.sdist or not (run.options.sdist and run.plan.leads):
        return run.kept.sdist, None
    leading = parts.get(run.options.platform_of(run.plan.targets[0].target))
    told = leading.manifest if leading else None
    if told is None or (sdist := told.sdist) is None:
        return None, (told and told.sdist_failure) or no_sdist("The container that makes it has not done so.")
    path = run.output.path / sdist.name
    with suppress(OSError):
        if is_regular(path) and path.stat().st_size == sdist.size and digest_file(path) == sdist.sha256:
            return sdist, None
    problem = f"{sdist.name} in the output folder is not what the container says that it has made."
    return None, no_sdist(problem)


def _longest(texts: Iterable[str]) -> list[str]:
    """Return the texts that no other one contains: an earlier run's names the compilers of all its platforms."""
    found = list(dict.fromkeys(texts))
    return [text for text in found if not any(text != other and text in other for other in found)]


def _without_container(run: ContainerRun, planned: PlannedTarget, parts: Mapping[Platform, _Part]) -> TargetRecord:
    """Return the record of a target that no container reported."""
    platform = run.options.platform_of(planned.target)
    part = parts[platform]
    error = part.error or EngineError(
        f"The container of {platform.tag} ended with the status {part.status} before it had built this target.",
        remedy="Its message above says why.",
    )
    is_cancelled = part.status == STOPPED or isinstance(error, Cancelled)
    return TargetRecord(
        identifier=planned.target.identifier,
        state=TargetState.CANCELLED if is_cancelled else TargetState.FAILED,
        failure=Failure(code=error.code, stage=_STAGE, problem=error.message, remedy=error.remedy),
    )
