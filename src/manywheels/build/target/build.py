"""The stages of one target, from the source to the delivered wheel."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from manywheels import verify
from manywheels.build import source_files, stale_files
from manywheels.build.context import RunContext
from manywheels.build.cross.command import idle_arguments
from manywheels.build.jobserver import Rank, Slot
from manywheels.build.logs import embedded
from manywheels.build.stages.frontend import BuildRequest, build
from manywheels.build.stages.hooks import note
from manywheels.build.stages.repair import CommandRequest, RepairRequest, repair, repair_by_command
from manywheels.build.stages.venv import Venv, create_venv
from manywheels.build.target.missing_source import explain_missing_source
from manywheels.build.target.progress import TargetProgress
from manywheels.build.target.requirements import prefetch_requirements
from manywheels.build.target.testing import run_target_tests, targets_to_test, why_not_tested
from manywheels.build.target.workspace import TargetWorkspace
from manywheels.errors import Cancelled, PureWheel, TargetError, VerificationFailed
from manywheels.plan.target_options import Audit, Repairer, fill
from manywheels.plan.targets import PlannedTarget
from manywheels.runtime.workspace import copy_source
from manywheels.verify import Severity
from manywheels.wheels import wheelfile
from manywheels.wheels.manifest import TargetRecord, TargetState, WheelRecord, describe_wheel
from manywheels.wheels.wheelfile import WheelName


class TargetBuild:
    """The build of one target; `prepared` is done when `prepare`, in another thread, has ended."""

    def __init__(self, context: RunContext, planned: PlannedTarget, workspace: TargetWorkspace | None = None) -> None:
        self.context = context
        self.target = planned.target
        self.workspace = workspace or TargetWorkspace(context, planned)
        self.options = self.workspace.options
        self.progress = TargetProgress(self.workspace)
        self.prepared: Future[None] = Future()
        self.cancellation = context.sharing.cancellation(self.target)
        self._hard_links = False
        self._place = context.jobserver.reserve(Rank.NEW)

    def prepare(self) -> None:
        """Make the target's folders, and fetch its build requirements. Raises OSError."""
        self.workspace.make_folder()
        self.venv = self.workspace.base_venv()
        for line in (*self.venv.overlooked, *self.venv.followed.notes):
            note(self.workspace.log, f"note: {line}")
        self._hard_links = prefetch_requirements(self.workspace, self.venv.environment, self.cancellation)

    def run(self) -> TargetRecord:
        """Build, verify, test and deliver the wheel. Raises TargetError, OSError and ServedByOther.

        The slot of the build is kept until then, so that no other build comes first; it is given back only where
        other targets must be waited for.
        """
        self.prepared.result()  # holds no slot while waiting for the network
        with self.context.jobserver.slot(self.cancellation, self._place) as slot:
            built = self._build_unless_pure()
            self._announce(wheelfile.parse_name(built.name), slot)
            with self.progress.enter("repair"):
                wheel = self._repair(built)
            with self.progress.enter("verify"):
                report = self._verify(wheel)
            if self.options.audit:
                with self.progress.enter("audit"):
                    self._audit(self.options.audit, wheel)
            self._test(wheel, slot)
            self._settle(slot)
            with self.progress.enter("deliver"):
                delivered = self._deliver(wheel, report)
        return self.progress.record(TargetState.BUILT, wheel=delivered)

    def leave(self) -> None:
        """Tell those who wait for this target that it has ended."""
        self.context.jobserver.leave(self._place)
        self.context.sharing.leave(self.target)

    def add_hint(self, error: TargetError) -> None:
        """Add to the remedy what in the source may be the reason: what was not copied, or an earlier build's files."""
        with suppress(Cancelled):
            if self.progress.stage in {"before-build", "build"}:
                explain_missing_source(error, self.workspace.setup.snapshot, self.cancellation)
            if self.progress.stage in {"build", "repair", "verify"}:
                hint = stale_files.hint(self.workspace.source, self.cancellation)
                error.remedy = f"{error.remedy} {hint}".rstrip()

    def reused(self) -> TargetRecord:
        """Return the record of a target that another one's wheel serves, without what was found in its own wheel."""
        self.context.test_outcomes.pop(self.target, None)
        self.progress.warnings, self.progress.checks = [], {}
        return self.progress.record(TargetState.REUSED)

    def _build_unless_pure(self) -> Path:
        """Raises PureWheel, without a build if one in the same way has shown that there is nothing to compile."""
        if self.context.pure and self.context.pure[0] == self.options and not self.options.before_build:
            known = self.context.pure[1]
            raise PureWheel(known.message, remedy=known.remedy)
        try:
            return self._build()
        except PureWheel as error:
            snapshot = self.workspace.setup.snapshot
            if not source_files.may_compile(snapshot.root / snapshot.package, self.cancellation):
                self.context.pure = (self.options, error)
            raise

    def _build(self) -> Path:
        with self.progress.enter("prepare"):
            source = copy_source(
                self.workspace.setup.snapshot, self.workspace.copy, self.cancellation, user=self.workspace.user
            )
            self.workspace.evaluate(self.cancellation)
            self.venv = self.workspace.base_venv()
        if self.options.before_build:
            with self.progress.enter("before-build"):
                self._before_build(source)
        if self.workspace.cross and (idle := idle_arguments(self.options.front_end)):
            self.progress.warnings.append(f"`build-frontend`: {' '.join(idle)} means nothing to a cross build.")
        with self.progress.enter("build"):
            built = build(self._build_request(source), self.cancellation)
            if self.workspace.setup.tools.name == "zig" and embedded.lacks_openmp(
                self.workspace.log, self.cancellation
            ):
                self.progress.warnings.append(embedded.WITHOUT_OPENMP)
            return built

    def _announce(self, made: WheelName, slot: Slot) -> None:
        """Raises ServedByOther and Cancelled."""
        sharing = self.context.sharing
        if not sharing.must_wait(self.target, made):
            sharing.announce(self.target, made)
            return
        slot.give_back()  # the earlier targets need one
        with self.progress.enter("waiting"):
            sharing.announce(self.target, made)
        slot.take()

    def _test(self, wheel: Path, slot: Slot) -> None:
        if tested := targets_to_test(self.workspace):
            with self.progress.enter("test"):
                self.progress.warnings += run_target_tests(self.workspace, wheel, tested, self.cancellation, slot)
        elif reason := why_not_tested(self.workspace):
            self.progress.warnings.append(reason)

    def _settle(self, slot: Slot) -> None:
        """Raises ServedByOther."""
        if not self.context.sharing.is_settled(self.target):
            slot.give_back()
            with self.progress.enter("waiting"):
                self.context.sharing.settle(self.target)

    def _before_build(self, source: Path) -> None:
        front_end = self.options.front_end.name
        packages = (front_end,) if front_end.startswith("build") else ()
        self.venv = self._create_venv("venv", source, packages)
        self._run_hook("before-build", self.venv, fill(self.options.before_build, **self._places(self.venv)))
        self.venv = self.venv.changed(())  # it may have made a folder that uv is to be told of

    def _build_request(self, source: Path) -> BuildRequest:
        options, workspace = self.context.run.options, self.workspace
        return BuildRequest(
            uv=self.context.uv,
            planned=workspace.planned,
            venv=self.venv.folder,
            source=source,
            project=workspace.places["project"],
            output=workspace.folder / "built",
            finished=workspace.sealed / "built",
            environment=dict(self.venv.environment),
            overlooked=self.venv.remedy,
            options=self.options,
            timeout=options.timeout,
            silence=options.silence_limit,
            is_served=self._is_served,
            user=workspace.user,
            log=workspace.log,
            embedded=workspace.setup.tools.name == "zig",
            hard_links=self._hard_links,
            cross=workspace.cross,
        )

    def _is_served(self) -> bool:
        cache = self.context.compiler_cache
        return cache is not None and cache.is_busy_for(self.target)

    def _repair(self, built: Path) -> Path:
        match self.options.repair.by:
            case Repairer.AUDITWHEEL:
                return repair(self._repair_request(built), self.cancellation)
            case Repairer.NONE:
                return built
        # Like other commands, it finds the target's Python first on PATH.
        venv = self.venv if self.venv.folder else self._create_venv("venv", self.workspace.places["package"])
        request = CommandRequest(
            command=self.options.repair.command,
            target=self.target,
            wheel=built,
            **self.workspace.places,
            made=self.workspace.folder / "repaired",
            finished=self.workspace.sealed / "repaired",
            venv=self._with_libraries(venv),
            timeout=self.context.run.options.timeout,
        )
        return repair_by_command(request, self.cancellation)

    def _with_libraries(self, venv: Venv) -> Venv:
        """Name the compilers' libraries where a cross build did without: its programs are this machine's."""
        if not self.workspace.cross:
            return venv
        return replace(venv, followed=venv.followed.changed(self.workspace.setup.tools.with_libraries))

    def _repair_request(self, built: Path) -> RepairRequest:
        workspace = self.workspace
        platform = self.context.run.options.platform_of(self.target)
        return RepairRequest(
            wheel=built,
            policy=platform.policy,
            arch=platform.arch,
            folder=self.context.work / f"repair-{self.target.identifier}",
            finished=workspace.sealed / "repaired",
            user=workspace.user,
            library_path=self._with_libraries(self.venv).environment.get("LD_LIBRARY_PATH"),
            exclude=self.options.repair.exclude,
            strip=self.options.repair.strip,
            log=workspace.log,
        )

    def _verify(self, wheel: Path) -> verify.Report:
        rules = self.context.run.rules
        report = verify.check_wheel(wheel, (*self.options.repair.exclude, *rules.libraries), self.cancellation)
        findings = rules.judge(report.findings)
        errors = [finding for finding in findings if finding.severity is Severity.ERROR]
        self.progress.warnings += [str(finding) for finding in findings if finding.severity is Severity.WARNING]
        ignored = {finding.code for finding in report.findings} - {finding.code for finding in findings}
        self.progress.checks = {
            check.code: tuple(str(error) for error in errors if error.code == check.code)
            for check in verify.WHEEL_CHECKS
            if check.code not in ignored
        }
        if errors:
            raise VerificationFailed(
                "; ".join(map(str, errors)), remedy=" ".join(dict.fromkeys(error.problem.remedy for error in errors))
            )
        return report

    def _audit(self, audit: Audit, wheel: Path) -> None:
        """Run the project's own check, which cannot change the wheel. Raises HookFailed and Cancelled."""
        if command := audit.command_for(wheel.name):
            venv = self._create_venv("audit", self.workspace.places["package"], audit.requires)
            self._run_hook("audit-command", venv, fill(command, wheel=wheel, abi3_wheel=wheel, **self._places(venv)))

    def _deliver(self, wheel: Path, report: verify.Report) -> WheelRecord:
        assert report.facts is not None  # noqa: S101 - a wheel that cannot be read fails verification
        delivered = self.context.deliver(wheel, report.facts.sha256)
        self.context.facts.append(report.facts)
        return describe_wheel(
            delivered, glibc=report.glibc, libraries=report.libraries, sha256=report.facts.sha256,
            left_out=self.options.repair.exclude,
        )  # fmt: skip

    def _create_venv(self, name: str, working_folder: Path, packages: tuple[str, ...] = ()) -> Venv:
        return create_venv(self.venv, self.workspace.folder / name, working_folder, self.cancellation, packages)

    def _places(self, venv: Venv) -> dict[str, Path]:
        return {**self.workspace.places, "python": venv.python}

    def _run_hook(self, option: str, venv: Venv, command: str) -> None:
        venv.run_hook(
            option, command, self.workspace.places["project"], self.context.run.options.timeout, self.cancellation
        )
