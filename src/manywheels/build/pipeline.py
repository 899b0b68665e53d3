"""Execute a plan: prepare the machine, build all targets side by side, write the manifest."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from manywheels import __version__
from manywheels.build import disk_space
from manywheels.build.compilers import toolchain
from manywheels.build.compilers.choice import resolve
from manywheels.build.compilers.toolchain import Toolchain
from manywheels.build.context import Run, RunContext
from manywheels.build.ingredients import Ingredients, compilers_of
from manywheels.build.jobserver import Jobserver
from manywheels.build.missing import absence_warnings, absent_records
from manywheels.build.platform_setup import PlatformSetter, platform_folder
from manywheels.build.reporter import Reporter
from manywheels.build.sdist import BuiltSdist, SdistBuild, read_built
from manywheels.build.shared_compilations import sharing_compilations, workers_for
from manywheels.build.stages.test_run import TestOutcome
from manywheels.build.target import sdist_proof
from manywheels.build.target.build import TargetBuild
from manywheels.build.target.progress import failure_of, target_error
from manywheels.build.target.sdist_proof import Proof, prove_sdist
from manywheels.build.trace import TARGETS
from manywheels.build.unchanged import Kept, find_kept, with_set_findings
from manywheels.build.wheel_sharing import ServedByOther, WheelSharing
from manywheels.core.cancellation import Cancellation
from manywheels.core.cgroup import available_cores
from manywheels.core.files import cache_dir
from manywheels.core.text import sanitize
from manywheels.errors import Cancelled, TargetError
from manywheels.plan import trust
from manywheels.plan.options import Options
from manywheels.plan.platforms import Platform
from manywheels.plan.targets import PlannedTarget, Target
from manywheels.runtime import isolation
from manywheels.runtime.git import git_top, share_objects
from manywheels.runtime.isolation import Isolation
from manywheels.runtime.uv import uv_program
from manywheels.runtime.workspace import (
    Snapshot,
    public_work_parent,
    store_beside,
    take_snapshot,
    work_folder,
)
from manywheels.wheels.manifest import Compilations, Manifest, TargetRecord, TargetState, joined, no_sdist, seal

_DESCRIBED: Final = 3  # libcs that are named beside the compiler that links for them
_PREFETCHES: Final = 2  # at once: they unpack wheels while compilers run


def execute(run: Run, reporter: Reporter, cancellation: Cancellation) -> Manifest:
    """Build every target of the plan; return the manifest, with all failures, and write it, unless this is a part.

    Wheels of `run.earlier` that would come out the same are kept. Raises ToolchainError, ProjectError, DiskError,
    IsolationError, SdistFailed, BeforeAllFailed and Cancelled before the first target is built.
    """
    planned = [one for one in run.plan.targets if one.interpreter]
    if run.is_part:  # the program that started this one knows what its wheels are made from, and writes the manifest
        manifest = _execute(run, planned, None, reporter, cancellation)
    else:
        ingredients = Ingredients(
            project=run.project, options=run.options, rules=run.rules, planned=planned, caller=run.caller,
            makes_sdist=run.makes_sdist, cancellation=cancellation,
        )  # fmt: skip
        with closing(ingredients):
            manifest = ingredients.noted_in(_execute(run, planned, ingredients, reporter, cancellation))
        manifest.write(run.output.path)
    reporter.closed(manifest)
    return manifest


def _execute(
    run: Run,
    planned: list[PlannedTarget],
    ingredients: Ingredients | None,
    reporter: Reporter,
    cancellation: Cancellation,
) -> Manifest:
    started = time.monotonic()
    cores = max(available_cores(), run.options.jobs or 1)
    with _isolated_work_folder(run, planned, cores, cancellation) as (work, isolated):
        run = _without_credentials(run) if isolated.users else run
        snapshot = _take_source(run, work, isolated, planned, cancellation)
        with run.trace.step("compilers"):
            toolchains = _prepare_toolchains(run.options, work, planned, cores)
        kept = Kept()
        if ingredients:
            ingredients.tools = {
                one.target: compilers_of(one, toolchains[run.options.platform_of(one.target)], run.caller)
                for one in planned
            }
            kept = find_kept(ingredients, run.earlier, lambda: snapshot.checkout, run.output, cancellation)
        users = {one.target: isolated.user(number) for number, one in enumerate(planned)}
        left = kept.left(planned)
        sdist = None
        if left and run.options.from_sdist and kept.sdist:
            sdist = read_built(run.output.path / kept.sdist.name, work, run.rules, cancellation)
        elif left and (run.options.from_sdist or (run.makes_sdist and kept.sdist is None)):
            sdist = SdistBuild(
                run=run, snapshot=snapshot, tools=toolchains[run.options.platform_of(left[0].target)],
                planned=left[0], work=work, user=users[left[0].target],
            ).build(reporter, cancellation)  # fmt: skip
        begun = _Begun(
            run=run, reporter=reporter, cancellation=cancellation, work=work, cores=cores, started=started,
            snapshot=snapshot, toolchains=toolchains, kept=kept, fetcher=isolated.fetcher, users=users,
            compiling=isolated.users[len(planned) :], sdist=sdist,
        )  # fmt: skip
        return _build_what_is_left(begun, left)


@dataclass(frozen=True, kw_only=True)
class _Begun:
    """A run whose source and compilers are ready; `users` (ids) build, those of `compiling` compile for all."""

    run: Run
    reporter: Reporter
    cancellation: Cancellation
    work: Path
    cores: int
    started: float
    snapshot: Snapshot
    toolchains: Mapping[Platform, Toolchain]
    kept: Kept
    users: dict[Target, int | None]
    fetcher: int | None
    compiling: tuple[int, ...]
    sdist: BuiltSdist | None

    @property
    def delivers_sdist(self) -> bool:
        """Whether this run seals an sdist: another part of the plan may do so, and a kept one is sealed."""
        return self.run.makes_sdist and self.kept.sdist is None

    @property
    def source(self) -> Snapshot:
        """What wheels are built from."""
        return self.sdist.snapshot if self.sdist and self.run.options.from_sdist else self.snapshot


def _build_what_is_left(begun: _Begun, buildable: list[PlannedTarget]) -> Manifest:
    run, work = begun.run, begun.work
    needed = set(run.options.platforms_of(planned.target for planned in buildable))
    setter = PlatformSetter(run, begun.source, work, begun.reporter)
    setups = {platform: setter.set_up(platform, tools, begun.cancellation)
              for platform, tools in begun.toolchains.items() if platform in needed}  # fmt: skip
    begun.reporter.started(run.plan, _title(run, begun.toolchains))
    for record in begun.kept.records.values():
        begun.reporter.finished(record)
    with (
        closing(Jobserver(run.jobserver or work / "jobserver", begun.cores, run.options.jobs)) as jobserver,
        sharing_compilations(
            run, begun.toolchains.values(), work, users=begun.compiling, jobserver=jobserver,
            cancellation=begun.cancellation,
        ) if buildable else nullcontext() as cache,
    ):  # fmt: skip
        if cache:
            cache.start({planned.target: begun.users[planned.target] for planned in buildable})
        context = RunContext(
            run=run, setups=setups, jobserver=jobserver, work=work, reporter=begun.reporter,
            sharing=WheelSharing(buildable, begun.cancellation), users=begun.users, fetcher=begun.fetcher,
            started=begun.started, compiler_cache=cache, kept_version=begun.kept.version,
            sdist_version=begun.sdist.version if begun.sdist else None,
            checkout=begun.snapshot if run.options.from_sdist else None,
        )  # fmt: skip
        with run.trace.step(TARGETS):
            proves = begun.delivers_sdist and not run.options.from_sdist
            records, proof = _build_all(context, buildable, begun.sdist if proves else None)
        manifest = _manifest(begun, context, records, cache.compilations if cache else None)
        return _with_sdist(manifest, begun.sdist, proof, run) if begun.delivers_sdist else manifest


def _take_source(
    run: Run, work: Path, isolated: Isolation, planned: Sequence[PlannedTarget], cancellation: Cancellation
) -> Snapshot:
    with run.trace.step("source"):
        own = (run.output.path, *run.reports)
        snapshot = take_snapshot(run.project, work / "source", cancellation, leave_out=own)
        disk_space.require_for(snapshot.root, work, cancellation, copies=len(planned), output=run.output.path)
        if isolated.users:
            share_objects(snapshot.root)
        return snapshot


def require_toolchain(options: Options) -> None:
    """Raise ToolchainError if this machine cannot build for a platform; cheap enough before planning."""
    for platform in options.platforms:
        resolve(options.toolchain, platform.policy, arch=platform.arch)


# --- before the targets -----------------------------------------------------------------------------------------------


@contextmanager
def _isolated_work_folder(
    run: Run, buildable: list[PlannedTarget], cores: int, cancellation: Cancellation
) -> Iterator[tuple[Path, Isolation]]:
    began = run.trace.now()
    platforms = run.options.platforms_of(planned.target for planned in buildable)
    kinds = {resolve(run.options.toolchain, platform.policy, arch=platform.arch) for platform in platforms}
    against = "the zig toolchain caches compiled files in a folder that all targets share" if "zig" in kinds else ""
    against = against or isolation.reason_against()
    needed = [*(planned.interpreter.path for planned in buildable if planned.interpreter), Path(uv_program())]
    parent = None if against else public_work_parent(isolation.closed_folders(run.caller, needed))
    needed += [parent] if parent else []
    source = git_top(run.project.path.resolve()) or run.project.path
    with (
        isolation.isolate(
            len(buildable) + workers_for(run, cores), needed, run.caller, source=source, against=against
        ) as isolated,
        work_folder(parent if isolated.users else None, cancellation) as work,
    ):
        if isolated.users:
            work.chmod(0o711)  # users reach their target's folder, but list no others
        elif kinds == {"system"} and os.geteuid() == 0:
            print(f"note: project code is not isolated: {sanitize(isolated.against)}", file=sys.stderr, flush=True)
        if unended := isolation.unended_processes(isolated):
            print(f"note: {unended}", file=sys.stderr, flush=True)
        run.trace.step_since(began, "isolation")
        yield work, isolated


def _without_credentials(run: Run) -> Run:
    """Remove the job's credentials from the caller's environment, so that nothing passes them on."""
    withheld = trust.credentials_in(run.caller, run.caller)
    if refused := set(withheld) & set(run.options.environment_pass):
        print(f"note: not passed to project code: {', '.join(sorted(refused))}", file=sys.stderr, flush=True)
    return replace(run, caller={name: value for name, value in run.caller.items() if name not in withheld})


def _prepare_toolchains(
    options: Options, work: Path, buildable: list[PlannedTarget], cores: int
) -> dict[Platform, Toolchain]:
    plain_jobs = max(1, cores // max(1, len(buildable)))
    prefix_map = _private_paths(work, buildable)

    def prepare(platform: Platform) -> Toolchain:
        kind = resolve(options.toolchain, platform.policy, arch=platform.arch)
        return toolchain.prepare(
            kind, platform.policy, platform_folder(work / "tools", platform), arch=platform.arch,
            prefix_map=prefix_map, plain_jobs=plain_jobs,
        )  # fmt: skip

    platforms = options.platforms_of(planned.target for planned in buildable)
    return {platform: prepare(platform) for platform in platforms}


def _title(run: Run, toolchains: Mapping[Platform, Toolchain]) -> str:
    tags = " ".join(dict.fromkeys(platform.policy.name for platform in toolchains))
    archs = dict.fromkeys(platform.arch for platform in toolchains)
    tags += f" on {' '.join(archs)}" if len(archs) > 1 else ""
    return f"{run.project.title} for {tags}, {_described(toolchains.values())}"


def _described(toolchains: Iterable[Toolchain]) -> str:
    """Return each compiler once, with all that it links for: `zig 0.17 for glibc 2.28; musl 1.2, x86_64`.

    Of many platforms, which are named already, only the compilers.
    """
    linked: dict[str, dict[str, None]] = {}
    for tools in toolchains:
        compiler, _, libc = tools.description.partition(" for ")
        linked.setdefault(compiler, {})[libc] = None
    if sum(map(len, linked.values())) > _DESCRIBED:
        return ", ".join(linked)
    return ", ".join(f"{compiler} for {'; '.join(libcs)}" for compiler, libcs in linked.items())


def _private_paths(work: Path, buildable: Sequence[PlannedTarget]) -> dict[str, str]:
    """Return this machine's folders that no wheel may name, with their replacements."""
    interpreters = (planned.interpreter.path.parent.parent for planned in buildable if planned.interpreter)
    # Paths below /usr are the same on every machine with that distribution or image.
    own = {str(prefix): "python" for prefix in interpreters if not prefix.is_relative_to("/usr")}
    names = [planned.target.identifier for planned in buildable]
    targets = {f"{work / name}/": "./" for name in (*names, *(f"{name}{sdist_proof.SUFFIX}" for name in names[:1]))}
    return {str(work): ".", **targets, str(cache_dir() / "uv"): ".", str(store_beside(work)): ".", **own}


# --- the targets ------------------------------------------------------------------------------------------------------


def _build_all(
    context: RunContext, buildable: list[PlannedTarget], sdist: BuiltSdist | None
) -> tuple[dict[Target, TargetRecord], Proof]:
    """Return the records, and what is proved of `sdist`, if that is given."""
    if not buildable:
        return {}, Proof()
    builds = [TargetBuild(context, planned) for planned in buildable]  # they queue up in the plan's order
    with (
        ThreadPoolExecutor(max_workers=len(buildable), thread_name_prefix="target") as builders,
        ThreadPoolExecutor(max_workers=_PREFETCHES, thread_name_prefix="prefetch") as prefetchers,
    ):
        for build in builds:  # in the plan's order, so that targets waiting for a slot do not wait for this too
            build.prepared = prefetchers.submit(build.prepare)
        ending = {build.target: builders.submit(_build, build) for build in builds}
        proof = Proof()
        if sdist:
            proof = prove_sdist(context, buildable[0], sdist.snapshot, ending[buildable[0].target].result)
        records = {target: record.result() for target, record in ending.items()}
    for target, source in context.sharing.served.items():
        records[target] = _reused(records[target], records[source], context.test_outcomes.get(target))
        context.reporter.finished(records[target])
    return records, proof


def _build(build: TargetBuild) -> TargetRecord:
    try:
        return _record_of(build)
    finally:
        build.leave()


def _record_of(build: TargetBuild) -> TargetRecord:
    try:
        record = _run(build)
        build.context.sharing.settle(build.target)  # a failure does not count if an earlier target's wheel serves
    except ServedByOther:
        build.context.reporter.entered(build.target, "served")
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
    except Exception as error:  # noqa: BLE001 - an error in manywheels must not stop the other targets
        if isinstance(error, TargetError):
            build.add_hint(error)
        return build.progress.fail(target_error(error, build.workspace.log))


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


def _manifest(
    begun: _Begun, context: RunContext, records: Mapping[Target, TargetRecord], compilations: Compilations | None
) -> Manifest:
    run, kept = begun.run, begun.kept
    absent = absent_records(run.plan, allowed=run.options.allow_missing)
    by_name = {target.identifier: record for target, record in {**absent, **records}.items()} | dict(kept.records)
    manifest = Manifest(
        project=run.project.title,
        version=context.version or kept.version,
        source=begun.snapshot.digest,
        platform=joined(platform.tag for platform in run.platforms),
        toolchain=_described(begun.toolchains.values()),
        manywheels=__version__,
        seconds=round(time.monotonic() - begun.started, 3),
        targets=tuple(by_name[planned.target.identifier] for planned in run.plan.targets),
        warnings=(*(() if kept.records else context.set_warnings()), *absence_warnings(absent.values())),
        planned=run.plan.identifiers,
        shard=run.plan.shard,
        compilations=compilations,
        checkout=begun.snapshot.checkout,
        sdist=kept.sdist,
    )
    if not kept.records:
        return manifest
    return with_set_findings(manifest, kept, run.rules, run.output.path, begun.cancellation)[0]


def _with_sdist(manifest: Manifest, sdist: BuiltSdist | None, proof: Proof, run: Run) -> Manifest:
    """Deliver the sdist if a wheel was built from it, and seal it; else say why not."""
    if sdist is None:
        return replace(manifest, sdist_failure=no_sdist("It is built with a target's Python, and none is here."))
    findings = run.rules.judge(proof.findings)
    manifest = replace(manifest, warnings=(*manifest.warnings, *(f"{one.wheel} {one}" for one in findings)))
    failure = proof.failure
    if run.options.from_sdist and not any(
        record.state is TargetState.BUILT and not record.kept for record in manifest.targets
    ):
        failure = no_sdist("No wheel has been built from it.")
    if failure:
        return replace(manifest, sdist_failure=failure)
    try:
        return replace(manifest, sdist=seal(run.output.deliver(sdist.path, sha256=sdist.sha256), sha256=sdist.sha256))
    except (TargetError, OSError) as error:
        return replace(manifest, sdist_failure=failure_of(target_error(error, run.output.path), "deliver"))
