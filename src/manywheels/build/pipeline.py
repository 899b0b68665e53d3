"""The plan, executed: a place to work is made ready, every target led through its stages, and the set sealed."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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
from manywheels.build.target import TargetBuild, describe
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
from manywheels.wheels.manifest import Failure, Manifest, TargetRecord, TargetState
from manywheels.wheels.output import BEFORE_ALL

_FETCHES = 2  # targets at once; they unpack wheels beside compilers that are at work


def execute(run: Run, reporter: Reporter, cancellation: Cancellation) -> Manifest:
    """Build every target of the plan; return the manifest, which is written into the output folder as well.

    Failures of targets are in the manifest, not raised. Raises ToolchainError and ProjectError before it builds.
    """
    started = time.monotonic()
    buildable = [planned for planned in run.plan.targets if planned.interpreter]
    cores = max(available_cores(), run.options.jobs or 1)
    with _place_to_work(run, buildable, cancellation) as (work, isolated):
        run = _without_credentials(run) if isolated.users else run
        plain_jobs = max(1, cores // max(1, len(buildable)))
        tools = _prepare_toolchain(run.options, work, _private_paths(work, buildable), plain_jobs)
        snapshot = take_snapshot(run.project, work / "source", cancellation, leave_out=[run.output.path])
        disk_space.require_for(snapshot.root, work, cancellation, copies=len(buildable), output=run.output.path)
        if isolated.users:
            share_objects(snapshot.root)
        prepared = _prepare_machine(run, snapshot, tools, work, cancellation)
        reporter.started(run.plan, f"{run.project.title} for {run.options.platform.name}, {tools.description}")
        jobserver = Jobserver(work / "jobserver", cores)
        try:
            line = RunContext(
                run=run, snapshot=snapshot, prepared=prepared, tools=tools, jobserver=jobserver, work=work,
                reporter=reporter, board=WheelSharing(buildable, cancellation), started=started,
                users={planned.target: isolated.user(number) for number, planned in enumerate(buildable)},
                fetcher=isolated.fetcher,
            )  # fmt: skip
            records = _process(line, buildable)
        finally:
            jobserver.close()
    targets = tuple(records.get(planned.target) or _missing(planned) for planned in run.plan.targets)
    manifest = Manifest(
        project=run.project.title,
        version=line.version,
        source=snapshot.digest,
        platform=run.options.platform.platform_tag(run.options.arch),
        toolchain=tools.description,
        manywheels=__version__,
        seconds=round(time.monotonic() - started, 3),
        targets=targets,
        warnings=line.set_warnings(),
        planned=run.plan.identifiers,
        shard=run.plan.shard,
    )
    run.output.give(manifest.write(run.output.path))
    reporter.closed(manifest)
    return manifest


def _process(line: RunContext, buildable: list[PlannedTarget]) -> dict[Target, TargetRecord]:
    """Lead every target through its stages; return the records, those of reused wheels filled in last."""
    if not buildable:
        return {}
    passages = [TargetBuild(line, planned) for planned in buildable]
    with (
        ThreadPoolExecutor(max_workers=len(buildable), thread_name_prefix="target") as leaders,
        ThreadPoolExecutor(max_workers=_FETCHES, thread_name_prefix="fetch") as fetchers,
    ):
        for passage in passages:  # those who wait for their turn to build need not wait for the network then
            passage.fetched = fetchers.submit(passage.fetch)
        ended = leaders.map(_lead, passages)
        records = {passage.target: record for passage, record in zip(passages, ended, strict=True)}
    for target, source in line.board.served.items():
        if records[target].state is not TargetState.BUILT:
            records[target] = _share(records[target], records[source], line.tried.get(target))
            line.reporter.finished(records[target])
    return records


def _lead(passage: TargetBuild) -> TargetRecord:
    """Lead one target from source to delivered wheel; others, which may wait for it, hear when it has ended."""
    try:
        return _walk(passage)
    finally:
        passage.line.board.leave(passage.target)


def _walk(passage: TargetBuild) -> TargetRecord:
    """Have a target walk its way; whatever happens to it ends up in its record."""
    try:
        record = passage.walk()
    except ServedByOther:
        return passage.record(TargetState.REUSED)
    except Cancelled as error:
        if passage.line.board.is_served(passage.target):
            return passage.record(TargetState.REUSED)
        record = passage.fail(error, TargetState.CANCELLED)
    except TargetError as error:
        record = passage.fail(error, TargetState.FAILED)
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        problem = f"{error.strerror or error}{place}."
        record = passage.fail(TargetError(problem, remedy="Look at the machine's disk and rights."), TargetState.FAILED)
    except Exception as error:  # noqa: BLE001 - a fault of ours must not take the other targets with it
        note(passage.log, traceback.format_exc())
        fault = TargetError(f"A fault in manywheels: {error!r}.", remedy="Please report it, with the target's log.")
        record = passage.fail(fault, TargetState.FAILED)
    passage.line.reporter.finished(record)
    return record


def _share(record: TargetRecord, source: TargetRecord, tried: TestOutcome | None) -> TargetRecord:
    """Return the record of a target that another one's wheel serves, with which it was tested, or not."""
    record = replace(record, built_for=source.identifier, tests=tried.trial if tried else None)
    if source.wheel:
        return replace(record, state=TargetState.REUSED, wheel=source.wheel)
    failure = source.failure and replace(
        source.failure, problem=f"It shares the wheel of {source.identifier}, which has none.", excerpt=()
    )
    if tried and tried.failure:
        failure = describe(tried.failure, "test")
    return replace(record, state=source.state, failure=failure)


@contextmanager
def _place_to_work(
    run: Run, buildable: list[PlannedTarget], cancellation: Cancellation
) -> Iterator[tuple[Path, Isolation]]:
    """Isolate project code if that is possible here, and make a folder that it can reach. Raises IsolationError."""
    kind = toolchain.resolve(run.options.toolchain, run.options.platform)
    against = "the zig toolchain keeps what it has compiled where all targets share it" if kind == "zig" else ""
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
            work.chmod(0o711)  # each user reaches its target's folder, and sees no other's
        elif kind == "system" and os.geteuid() == 0:
            print(f"note: project code is not isolated: {sanitize(isolated.against)}", file=sys.stderr, flush=True)
        yield work, isolated


def _without_credentials(run: Run) -> Run:
    """Return the run without what authorises the CI's job in the caller's environment: nobody can pass it on then."""
    withheld = trust.credentials_in(run.caller, run.caller)
    if asked := set(withheld) & set(run.options.environment_pass):
        print(f"note: not passed to project code: {', '.join(sorted(asked))}", file=sys.stderr, flush=True)
    return replace(run, caller={name: value for name, value in run.caller.items() if name not in withheld})


def _prepare_machine(
    run: Run, snapshot: Snapshot, tools: Toolchain, work: Path, cancellation: Cancellation
) -> Prepared:
    """Run `before-all`, where targets that are built now have one. Raises BeforeAllFailed and Cancelled."""
    buildable = [planned for planned in run.plan.targets if planned.interpreter]
    recipes = tuple(run.options.for_target(planned.target) for planned in buildable)
    if not any(recipe.before_all for recipe in recipes):
        return Prepared()
    log = run.output.log(BEFORE_ALL)
    print(sanitize(f"running {before_all.OPTION}; it writes to {log}"), file=sys.stderr, flush=True)
    python = next(planned.interpreter.path for planned in buildable if planned.interpreter)
    request = Preparation(
        recipes=recipes, caller=run.caller, path=(tools.bin_dir, python.parent), python=python,
        environment=tools.environment, folder=work / before_all.OPTION, project=snapshot.root,
        package=snapshot.root / snapshot.package, timeout=run.options.timeout, log=log,
    )  # fmt: skip
    return before_all.prepare(request, cancellation)


def require_toolchain(options: Options) -> None:
    """Raise ToolchainError where this machine cannot build for the policy: said before interpreters are looked for."""
    toolchain.resolve(options.toolchain, options.platform)


def _private_paths(work: Path, buildable: Iterable[PlannedTarget]) -> dict[str, str]:
    """Return the folders of this machine that no wheel shall name, each with what stands for it."""
    interpreters = (planned.interpreter.path.parent.parent for planned in buildable if planned.interpreter)
    # What a distribution or an image installs is the same on every machine that has it.
    own = {str(prefix): "python" for prefix in interpreters if not prefix.is_relative_to("/usr")}
    return {str(work): ".", str(cache_dir() / "uv"): ".", str(store_beside(work)): ".", **own}


def _prepare_toolchain(options: Options, work: Path, prefix_map: dict[str, str], plain_jobs: int) -> Toolchain:
    kind = toolchain.resolve(options.toolchain, options.platform)
    return toolchain.prepare(kind, options.platform, work / "tools", prefix_map=prefix_map, plain_jobs=plain_jobs)


def _missing(planned: PlannedTarget) -> TargetRecord:
    error = NoInterpreter(
        f"There is no Python {planned.target.spec} on this machine.",
        remedy=f"`uv python install {planned.target.spec}`, or build with `--engine container`.",
    )
    failure = Failure(code=error.code, stage="plan", problem=error.message, remedy=error.remedy)
    return TargetRecord(identifier=planned.target.identifier, state=TargetState.NO_INTERPRETER, failure=failure)
