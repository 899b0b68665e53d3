"""Execute a plan: prepare the machine, build all targets side by side, write the manifest."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from manywheels import __version__
from manywheels.build import disk_space, toolchain
from manywheels.build.context import Run, RunContext
from manywheels.build.jobserver import Jobserver
from manywheels.build.reporter import Reporter
from manywheels.build.stages import before_all
from manywheels.build.stages.before_all import Preparation, Prepared
from manywheels.build.stages.hooks import note
from manywheels.build.stages.test_run import TestOutcome
from manywheels.build.target.build import TargetBuild
from manywheels.build.target.progress import failure_of
from manywheels.build.toolchain import Toolchain
from manywheels.build.wheel_sharing import ServedByOther, WheelSharing
from manywheels.core.cancellation import Cancellation
from manywheels.core.cgroup import available_cores
from manywheels.core.files import cache_dir
from manywheels.core.text import sanitize
from manywheels.errors import Cancelled, NoInterpreter, TargetError
from manywheels.plan import trust
from manywheels.plan.options import Options
from manywheels.plan.targets import PlannedTarget, Target
from manywheels.runtime import isolation
from manywheels.runtime.git import git_top, share_objects
from manywheels.runtime.isolation import Isolation
from manywheels.runtime.uv import uv_program
from manywheels.runtime.workspace import Snapshot, public_work_parent, store_beside, take_snapshot, work_folder
from manywheels.wheels.manifest import Manifest, TargetRecord, TargetState
from manywheels.wheels.output import BEFORE_ALL

_PREFETCHES = 2  # at once: they unpack wheels while compilers run


def execute(run: Run, reporter: Reporter, cancellation: Cancellation) -> Manifest:
    """Build every target of the plan; return the manifest, with all failures, and write it.

    Raises ToolchainError, ProjectError, DiskError, IsolationError, BeforeAllFailed and Cancelled before the first
    target is built.
    """
    started = time.monotonic()
    buildable = [planned for planned in run.plan.targets if planned.interpreter]
    cores = max(available_cores(), run.options.jobs or 1)
    with _isolated_work_folder(run, buildable, cancellation) as (work, isolated):
        run = _without_credentials(run) if isolated.users else run
        tools = _prepare_toolchain(run.options, work, buildable, cores)
        snapshot = take_snapshot(run.project, work / "source", cancellation, leave_out=[run.output.path])
        disk_space.require_for(snapshot.root, work, cancellation, copies=len(buildable), output=run.output.path)
        if isolated.users:
            share_objects(snapshot.root)
        prepared = _run_before_all(_preparation(run, snapshot, tools, work), reporter, cancellation)
        reporter.started(run.plan, f"{run.project.title} for {run.options.platform.name}, {tools.description}")
        with closing(Jobserver(work / "jobserver", cores)) as jobserver:
            context = RunContext(
                run=run, snapshot=snapshot, prepared=prepared, tools=tools, jobserver=jobserver, work=work,
                reporter=reporter, sharing=WheelSharing(buildable, cancellation), started=started,
                users={planned.target: isolated.user(number) for number, planned in enumerate(buildable)},
                fetcher=isolated.fetcher,
            )  # fmt: skip
            records = _build_all(context, buildable)
    manifest = _manifest(context, records)
    manifest.write(run.output.path)
    reporter.closed(manifest)
    return manifest


def require_toolchain(options: Options) -> None:
    """Raise ToolchainError if this machine cannot build for the policy; cheap enough before planning."""
    toolchain.resolve(options.toolchain, options.platform, arch=options.arch)


# --- before the targets -----------------------------------------------------------------------------------------------


@contextmanager
def _isolated_work_folder(
    run: Run, buildable: list[PlannedTarget], cancellation: Cancellation
) -> Iterator[tuple[Path, Isolation]]:
    kind = toolchain.resolve(run.options.toolchain, run.options.platform, arch=run.options.arch)
    against = "the zig toolchain caches compiled files in a folder that all targets share" if kind == "zig" else ""
    against = against or isolation.reason_against()
    needed = [*(planned.interpreter.path for planned in buildable if planned.interpreter), Path(uv_program())]
    parent = None if against else public_work_parent(isolation.closed_folders(run.caller, needed))
    needed += [parent] if parent else []
    source = git_top(run.project.path.resolve()) or run.project.path
    with (
        isolation.isolate(len(buildable), needed, run.caller, source=source, against=against) as isolated,
        work_folder(parent if isolated.users else None, cancellation) as work,
    ):
        if isolated.users:
            work.chmod(0o711)  # users reach their target's folder, but list no others
        elif kind == "system" and os.geteuid() == 0:
            print(f"note: project code is not isolated: {sanitize(isolated.against)}", file=sys.stderr, flush=True)
        yield work, isolated


def _without_credentials(run: Run) -> Run:
    """Remove the job's credentials from the caller's environment, so that nothing passes them on."""
    withheld = trust.credentials_in(run.caller, run.caller)
    if refused := set(withheld) & set(run.options.environment_pass):
        print(f"note: not passed to project code: {', '.join(sorted(refused))}", file=sys.stderr, flush=True)
    return replace(run, caller={name: value for name, value in run.caller.items() if name not in withheld})


def _prepare_toolchain(options: Options, work: Path, buildable: list[PlannedTarget], cores: int) -> Toolchain:
    kind = toolchain.resolve(options.toolchain, options.platform, arch=options.arch)
    plain_jobs = max(1, cores // max(1, len(buildable)))
    prefix_map = _private_paths(work, buildable)
    return toolchain.prepare(
        kind, options.platform, work / "tools", arch=options.arch, prefix_map=prefix_map, plain_jobs=plain_jobs
    )


def _private_paths(work: Path, buildable: Iterable[PlannedTarget]) -> dict[str, str]:
    """Return this machine's folders that no wheel may name, with their replacements."""
    interpreters = (planned.interpreter.path.parent.parent for planned in buildable if planned.interpreter)
    # Paths below /usr are the same on every machine with that distribution or image.
    own = {str(prefix): "python" for prefix in interpreters if not prefix.is_relative_to("/usr")}
    return {str(work): ".", str(cache_dir() / "uv"): ".", str(store_beside(work)): ".", **own}


def _preparation(run: Run, snapshot: Snapshot, tools: Toolchain, work: Path) -> Preparation | None:
    pythons = [(planned.target, planned.interpreter.path) for planned in run.plan.targets if planned.interpreter]
    options = tuple(run.options.for_target(target) for target, _python in pythons)
    if not any(one.before_all for one in options):
        return None
    _target, python = pythons[0]
    return Preparation(
        options=options, caller=run.caller, path=(tools.bin_dir, python.parent), python=python,
        environment=tools.with_libraries(tools.environment), folder=work / before_all.OPTION,
        project=snapshot.root / snapshot.project, package=snapshot.root / snapshot.package,
        timeout=run.options.timeout, log=run.output.log(BEFORE_ALL),
    )  # fmt: skip


def _run_before_all(request: Preparation | None, reporter: Reporter, cancellation: Cancellation) -> Prepared:
    if request is None:
        return Prepared()
    print(sanitize(f"running {before_all.OPTION}; it writes to {request.log}"), file=sys.stderr, flush=True)
    started = time.monotonic()
    try:
        return before_all.prepare(request, cancellation)
    finally:
        reporter.prepared(before_all.OPTION, request.log, time.monotonic() - started)


# --- the targets ------------------------------------------------------------------------------------------------------


def _build_all(context: RunContext, buildable: list[PlannedTarget]) -> dict[Target, TargetRecord]:
    if not buildable:
        return {}
    builds = [TargetBuild(context, planned) for planned in buildable]
    with (
        ThreadPoolExecutor(max_workers=len(buildable), thread_name_prefix="target") as builders,
        ThreadPoolExecutor(max_workers=_PREFETCHES, thread_name_prefix="prefetch") as prefetchers,
    ):
        for build in builds:  # in the plan's order, so that targets waiting for a slot do not wait for this too
            build.prepared = prefetchers.submit(build.prepare)
        records = dict(zip((build.target for build in builds), builders.map(_build, builds), strict=True))
    for target, source in context.sharing.served.items():
        records[target] = _reused(records[target], records[source], context.test_outcomes.get(target))
        context.reporter.finished(records[target])
    return records


def _build(build: TargetBuild) -> TargetRecord:
    try:
        return _record_of(build)
    finally:
        build.context.sharing.leave(build.target)


def _record_of(build: TargetBuild) -> TargetRecord:
    try:
        record = _run(build)
        build.context.sharing.settle(build.target)  # a failure does not count if an earlier target's wheel serves
    except ServedByOther:
        return build.reused()
    build.context.reporter.finished(record)
    return record


def _run(build: TargetBuild) -> TargetRecord:
    try:
        return build.run()
    except ServedByOther:
        raise
    except Cancelled as error:
        return build.progress.fail(error, TargetState.CANCELLED)
    except TargetError as error:
        build.add_hint(error)
        return build.progress.fail(error)
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        problem = f"{error.strerror or error}{place}."
        return build.progress.fail(TargetError(problem, remedy="Check the machine's disks and permissions."))
    except Exception as error:  # noqa: BLE001 - an error in manywheels must not stop the other targets
        note(build.workspace.log, traceback.format_exc())
        fault = TargetError(f"A fault in manywheels: {error!r}.", remedy="Please report it, with the target's log.")
        return build.progress.fail(fault)


def _reused(record: TargetRecord, source: TargetRecord, tested: TestOutcome | None) -> TargetRecord:
    record = replace(record, built_for=source.identifier, tests=tested.test_run if tested else None)
    if source.wheel:
        return replace(record, state=TargetState.REUSED, wheel=source.wheel)
    failure = source.failure and replace(
        source.failure, problem=f"It reuses the wheel of {source.identifier}, which has none.", excerpt=()
    )
    if tested and tested.failure:
        failure = failure_of(tested.failure, "test")
    return replace(record, state=source.state, failure=failure)


# --- after the targets ------------------------------------------------------------------------------------------------


def _manifest(context: RunContext, records: dict[Target, TargetRecord]) -> Manifest:
    run = context.run
    return Manifest(
        project=run.project.title,
        version=context.version,
        source=context.snapshot.digest,
        platform=run.options.platform.platform_tag(run.options.arch),
        toolchain=context.tools.description,
        manywheels=__version__,
        seconds=round(time.monotonic() - context.started, 3),
        targets=tuple(records.get(planned.target) or _without_interpreter(planned) for planned in run.plan.targets),
        warnings=context.set_warnings(),
        planned=run.plan.identifiers,
        shard=run.plan.shard,
    )


def _without_interpreter(planned: PlannedTarget) -> TargetRecord:
    error = NoInterpreter(
        f"There is no Python {planned.target.spec} on this machine.",
        remedy=f"`uv python install {planned.target.spec}`, or build with `--engine container`.",
    )
    return TargetRecord(
        identifier=planned.target.identifier, state=TargetState.NO_INTERPRETER, failure=failure_of(error, "plan")
    )
