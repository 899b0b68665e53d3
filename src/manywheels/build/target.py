"""One target's passage along the production line: from the source to the delivered wheel, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from manywheels import verify
from manywheels.build.context import RunContext
from manywheels.build.stages import venv
from manywheels.build.stages.frontend import BuildRequest, build
from manywheels.build.stages.hooks import Hook, marks, note, run_hook
from manywheels.build.stages.prefetch import (
    Prefetch,
    caller_settings,
    constraints_in,
    own_settings,
    prefetch,
    requirements_of,
)
from manywheels.build.stages.repair import CommandRequest, RepairRequest, repair, repair_by_command
from manywheels.build.stages.test_container import TestImage, run_tests_in_image
from manywheels.build.stages.test_host import run_tests
from manywheels.build.stages.test_run import TestOutcome, TestRequest
from manywheels.build.stages.venv import Venv
from manywheels.core.credentials import without_credentials
from manywheels.core.files import cache_dir
from manywheels.errors import TargetError, VerificationFailed
from manywheels.plan.container_variables import forwarded
from manywheels.plan.target_options import Audit, Repairer, fill, fill_values
from manywheels.plan.targets import PlannedTarget
from manywheels.runtime import untrusted_files
from manywheels.runtime.environment import build_environment
from manywheels.runtime.workspace import copy_source, store_beside
from manywheels.verify import Severity
from manywheels.wheels import wheelfile
from manywheels.wheels.manifest import Failure, TargetRecord, TargetState, WheelRecord, describe_wheel

# Where pip, also for what it builds, and uv look for constraints.
_CONSTRAINTS = ("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT", "UV_CONSTRAINT", "UV_BUILD_CONSTRAINT")


@dataclass
class TargetBuild:
    """One target's way along the line: where it is, when each stage began and how long it took (seconds).

    `folder` is the program's own and holds the folders of the target's user, who alone can pass through it. `sealed` is
    the program's own, too, and everybody can read it. `part` is added to their names, and to the log's, where the
    passage is not the target's first.
    """

    line: RunContext
    planned: PlannedTarget
    part: str = ""
    stage: str = "prepare"
    began: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    checks: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.planned.interpreter is not None  # noqa: S101 - others are not led here
        self.interpreter = self.planned.interpreter
        self.target = self.planned.target
        self.recipe = self.line.run.options.for_target(self.target)
        self.user = self.line.users[self.target]
        name = f"{self.target.identifier}{self.part}"
        self.folder = self.line.work / name
        self.project = self.folder / "source"
        self.sealed = self.line.work / "sealed" / name
        self.log = self.line.run.output.log(name)
        self.fetched: Future[None] = Future()
        self.cancellation = self.line.board.cancellation(self.target)

    def walk(self) -> TargetRecord:
        """Build, repair, verify, deliver."""
        line = self.line
        self.fetched.result()  # no place is held while the network is waited for
        with line.place(self.cancellation):
            with self._stage("prepare"):
                source = copy_source(line.snapshot, self.project, self.cancellation, user=self.user)
            if self.recipe.before_build:
                with self._stage("before-build"):
                    self._before_build(source)
            with self._stage("build"):
                built = build(self._build_request(source), self.cancellation)
        with self._stage("waiting"):
            line.board.announce(self.target, wheelfile.parse_name(built.name))
        with line.place(self.cancellation):
            with self._stage("repair"):
                repaired = self._repair(built)
            with self._stage("verify"):
                report = self._verify(repaired)
            if self.recipe.audit:
                with self._stage("audit"):
                    self._audit(self.recipe.audit, repaired)
        if tested := self._tested():
            with self._stage("test"):
                self._test(repaired, tested)
        with self._stage("deliver"):
            assert report.facts is not None  # noqa: S101 - what could not be read was an error
            delivered = line.deliver(repaired, report.facts.sha256)
            line.facts.append(report.facts)
            wheel = describe_wheel(
                delivered, glibc=report.glibc, libraries=report.libraries, sha256=report.facts.sha256,
                left_out=self.recipe.repair.exclude,
            )  # fmt: skip
        return self.record(TargetState.BUILT, wheel=wheel)

    @contextmanager
    def _stage(self, stage: str) -> Iterator[None]:
        self.stage = stage
        self.line.reporter.entered(self.target, stage)
        started = time.monotonic()
        self.began[stage] = round(started - self.line.started, 3)
        try:
            yield
        finally:
            self.seconds[stage] = round(time.monotonic() - started, 3)

    def _make_folder(self) -> None:
        untrusted_files.make_place(self.folder, self.user)
        for cache in ("uv", "zig") if self.user is not None else ():  # nobody else shares these
            untrusted_files.make_folder(self.folder / cache, self.user)

    def _quarters(self) -> Venv:
        return Venv(
            uv=self.line.front_end,
            python=self.interpreter.path,
            environment=self._environment(),
            log=self.log,
            user=self.user,
        )

    @property
    def _user_and_fetcher(self) -> tuple[int, int] | None:
        """The user of this target and the one who fetches for it; None if the build's front end fetches itself."""
        if self.user is None or self.line.fetcher is None or self.part:
            return None
        return self.user, self.line.fetcher

    def fetch(self) -> None:
        """Make the target's quarters, with what the build requires in them if the target has a uv cache of its own."""
        self._make_folder()
        self.quarters = self._quarters()
        if self._user_and_fetcher is None:
            return
        user, fetcher = self._user_and_fetcher
        settings, constraints = caller_settings(self.line.run.caller), self._shared_constraints()
        if settings is None or constraints is None:
            return
        request = Prefetch(
            uv=self.line.front_end,
            python=self.interpreter.path,
            abi=self.target.abi,
            requirements=requirements_of(self._package),
            constraints=constraints,
            settings=settings,
            store=store_beside(self.line.work),
            fetcher=fetcher,
            cache=self.folder / "uv",
            user=user,
            scratch=self.line.work / f"fetching-{self.target.identifier}",
        )
        try:
            prefetch(request, self.cancellation)
        except OSError as error:
            note(self.log, f"build requirements are not shared with other targets: {error}")

    def _shared_constraints(self) -> tuple[str, ...] | None:
        """Return the constraints under which the target's requirements can be fetched into the common store.

        None where the target's own settings may have other files fetched; the log says so.
        """
        shared = self._scrubbed(passed=()) | self._own_variables() | self._constraints()
        if steering := own_settings(self.quarters.environment, shared):
            note(self.log, f"fetching build requirements for this target alone: it sets {', '.join(steering)}")
            return None
        return constraints_in(self._constraints_text)

    def _before_build(self, source: Path) -> None:
        """Run the hook in an environment with the target's Python, which the build then sees as well."""
        front_end = self.recipe.front_end.name
        packages = (front_end,) if front_end.startswith("build") else ()
        self.quarters = venv.create_venv(self.quarters, self.folder / "venv", source, self.cancellation, packages)
        hook = Hook(
            option="before-build",
            command=fill(self.recipe.before_build, **self._places, python=self.quarters.python),
            folder=self.project,
            environment=self.quarters.environment,
            timeout=self.line.run.options.timeout,
            log=self.log,
            user=self.user,
        )
        run_hook(hook, self.cancellation)

    def _environment(self) -> dict[str, str]:
        scrubbed = self._scrubbed(self.recipe.environment_pass)
        made = fill_values(self.recipe.environment, **self._places)
        return self.line.prepared.expand(made, scrubbed | self._own_variables() | self._constraints())

    def _scrubbed(self, passed: tuple[str, ...]) -> dict[str, str]:
        return build_environment(
            self.line.run.caller, path=(self.line.tools.bin_dir,), private=self.folder, passed=passed, user=self.user
        )

    def _own_variables(self) -> dict[str, str]:
        """Return the variables that the program itself sets for the target."""
        own = {
            **self.line.tools.environment,
            **self.line.jobserver.environment,
            # A cache that a build can write is no other target's, and no later run's.
            "UV_CACHE_DIR": str((cache_dir() if self.user is None else self.folder) / "uv"),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_PROGRESS": "1",
            **marks(self.target),
        }
        if self.user is not None:
            # Where the image's compiler is zig: what it keeps of one user's standard input, another's may not replace.
            own["ZIG_LOCAL_CACHE_DIR"] = str(self.folder / "zig")
        if self._user_and_fetcher:  # the files are another user's, to which the kernel allows no hard links
            own["UV_LINK_MODE"] = "symlink"
        return own

    @property
    def _places(self) -> dict[str, Path]:
        """What commands and variables call `{project}` and `{package}`: folders of the target's own copy."""
        return {"project": self.project, "package": self.project / self.line.snapshot.package}

    @property
    def _package(self) -> Path:
        """The project's folder in the snapshot, which no project code can write."""
        return self.line.snapshot.root / self.line.snapshot.package

    def _constraints(self) -> dict[str, str]:
        """Return the variables that hold every front end to `dependency-versions`."""
        if not self._constraints_text:
            return {}
        file = self.sealed / "constraints.txt"
        if not file.exists():
            untrusted_files.make_public_folder(self.sealed)
            untrusted_files.write_file(file, self._constraints_text.encode())
        return dict.fromkeys(_CONSTRAINTS, str(file))

    @cached_property
    def _constraints_text(self) -> str:
        constraints = self.recipe.constraints
        named = constraints.file or constraints.packages
        return constraints.text(self._package, self.target.python) if named else ""

    def _build_request(self, source: Path) -> BuildRequest:
        return BuildRequest(
            front_end=self.line.front_end,
            planned=self.planned,
            venv=self.quarters.venv,
            source=source,
            project=self.project,
            output=self.folder / "built",
            finished=self.sealed / "built",
            environment=dict(self.quarters.environment),
            recipe=self.recipe,
            timeout=self.line.run.options.timeout,
            silence=self.line.run.options.silence_limit,
            user=self.user,
            log=self.log,
        )

    def _repair_request(self, built: Path) -> RepairRequest:
        options = self.line.run.options
        return RepairRequest(
            wheel=built,
            policy=options.platform,
            arch=options.arch,
            folder=self.line.work / f"repair-{self.target.identifier}",
            finished=self.sealed / "repaired",
            user=self.user,
            library_path=self.quarters.environment.get("LD_LIBRARY_PATH"),
            exclude=self.recipe.repair.exclude,
            strip=self.recipe.repair.strip,
            log=self.log,
        )

    def _repair(self, built: Path) -> Path:
        match self.recipe.repair.by:
            case Repairer.AUDITWHEEL:
                return repair(self._repair_request(built), self.cancellation)
            case Repairer.NOBODY:
                return built
        quarters = self.quarters
        if quarters.venv is None:  # as other commands, it has the target's Python first on PATH
            quarters = venv.create_venv(quarters, self.folder / "venv", self._places["package"], self.cancellation)
        request = CommandRequest(
            command=self.recipe.repair.command,
            target=self.target,
            wheel=built,
            **self._places,
            made=self.folder / "repaired",
            finished=self.sealed / "repaired",
            quarters=quarters,
            timeout=self.line.run.options.timeout,
        )
        return repair_by_command(request, self.cancellation)

    def _audit(self, audit: Audit, wheel: Path) -> None:
        """Let the project's own command look at the wheel, which it cannot change. Raises HookFailed."""
        command = audit.command_for(wheel.name)
        if not command:
            return
        quarters = venv.create_venv(
            self.quarters, self.folder / "audit", self._places["package"], self.cancellation, audit.requires
        )
        hook = Hook(
            option="audit-command",
            command=fill(command, wheel=wheel, abi3_wheel=wheel, python=quarters.python, **self._places),
            folder=self.project,
            environment=quarters.environment,
            timeout=self.line.run.options.timeout,
            log=self.log,
            user=self.user,
        )
        run_hook(hook, self.cancellation)

    def _tested(self) -> list[PlannedTarget]:
        """Return the targets with which this one's wheel is tested: itself, and those that it serves."""
        options = self.line.run.options
        serving = [self.planned, *self.line.served_by(self.target)]
        return [planned for planned in serving if options.for_target(planned.target).tests]

    def _test(self, wheel: Path, tested: list[PlannedTarget]) -> None:
        """Test the wheel under every interpreter that it serves; one that fails fails all. Raises TargetError."""
        with ThreadPoolExecutor(max_workers=len(tested), thread_name_prefix="tests") as pool:
            ended = list(pool.map(lambda planned: self._try(planned, wheel), tested))
        for planned, tried in zip(tested, ended, strict=True):
            self.line.tried[planned.target] = tried
        failures = [(planned, tried.failure) for planned, tried in zip(tested, ended, strict=True) if tried.failure]
        for planned, failure in failures[:1]:
            if planned is not self.planned:
                failure.message = f"With Python {planned.target.spec}, which this wheel serves: {failure.message}"
            raise failure

    def _try(self, planned: PlannedTarget, wheel: Path) -> TestOutcome:
        if planned is not self.planned:  # its user's processes must be gone: folders are made for it
            self.line.board.wait_for_end(planned.target)
        trial = TargetBuild(self.line, planned, part="-test")
        tests, image = trial.recipe.tests, self.line.run.options.test_in
        assert tests is not None  # noqa: S101 - others are not asked for
        with self.line.place(self.cancellation):
            trial._make_folder()
            if planned is self.planned:
                trial.project = self.project  # with what `before-build` and the build left there
            else:
                copy_source(self.line.snapshot, trial.project, self.cancellation, user=trial.user)
            request = TestRequest(
                tests=tests, wheel=wheel, **trial._places, folder=trial.folder / "trial",
                quarters=trial._quarters(), timeout=self.line.run.options.test_timeout,
            )  # fmt: skip
            if not image:
                return run_tests(request, self.cancellation)
            return run_tests_in_image(request, trial._elsewhere(image), self.cancellation)

    def _elsewhere(self, image: str) -> TestImage:
        """Return the place in which the wheel is tested in an image, with the variables that it would see here."""
        caller = self.line.run.caller
        passed = {name: caller[name] for name in self.recipe.environment_pass if name in caller}
        return TestImage(
            image=image,
            target=self.target,
            variables=without_credentials(forwarded(caller)) | marks(self.target) | passed,
            environment=self.recipe.environment,
        )

    def _verify(self, wheel: Path) -> verify.Report:
        rules = self.line.run.rules
        report = verify.check_wheel(wheel, (*self.recipe.repair.exclude, *rules.libraries), self.cancellation)
        findings = rules.judge(report.findings)
        errors = [finding for finding in findings if finding.severity is Severity.ERROR]
        self.warnings += [str(finding) for finding in findings if finding.severity is Severity.WARNING]
        ignored = {finding.code for finding in report.findings} - {finding.code for finding in findings}
        self.checks = {
            check.code: tuple(str(error) for error in errors if error.code == check.code)
            for check in verify.WHEEL_CHECKS
            if check.code not in ignored
        }
        if errors:
            raise VerificationFailed(
                "; ".join(map(str, errors)), remedy=" ".join(dict.fromkeys(error.problem.remedy for error in errors))
            )
        return report

    def record(
        self, state: TargetState, *, wheel: WheelRecord | None = None, failure: Failure | None = None
    ) -> TargetRecord:
        """Return the target's record as it stands."""
        return TargetRecord(
            identifier=self.target.identifier,
            state=state,
            python=self.interpreter.version,
            wheel=wheel,
            began=dict(self.began),
            seconds=dict(self.seconds),
            checks=self.checks,
            log=str(self.log.relative_to(self.line.run.output.path)),
            tests=self.line.tried[self.target].trial if self.target in self.line.tried else None,
            failure=failure,
            warnings=tuple(self.warnings),
        )

    def fail(self, error: TargetError, state: TargetState) -> TargetRecord:
        """Return the record of a target that ended with an error."""
        return self.record(state, failure=describe(error, self.stage))


def describe(error: TargetError, stage: str) -> Failure:
    """Return what the manifest says of an error."""
    return Failure(
        code=error.code,
        stage=stage,
        problem=error.message,
        remedy=error.remedy,
        excerpt=error.excerpt,
        file=error.file,
        line=error.line,
    )
