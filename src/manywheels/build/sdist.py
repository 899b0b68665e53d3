"""The sdist of a release: built once, before the wheels, in the sandbox and from the run's snapshot.

It is delivered when a wheel has been built from it: all of them (`from-sdist`), or one more (`target.sdist_proof`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from manywheels.build.compilers.toolchain import Toolchain
from manywheels.build.context import Run
from manywheels.build.private_folder import make_private_folder
from manywheels.build.reporter import Reporter
from manywheels.build.source_copy import SourceCopy
from manywheels.build.source_environment import SourceEnvironment
from manywheels.build.stages.frontend import BuildRequest, build_sdist
from manywheels.build.stages.hooks import marks, note
from manywheels.build.stages.venv import Venv
from manywheels.core.cancellation import Cancellation
from manywheels.errors import Cancelled, ProjectError, SdistFailed, TargetError
from manywheels.plan import assignments
from manywheels.plan.project import read_project
from manywheels.plan.target_options import TargetOptions
from manywheels.plan.targets import PlannedTarget
from manywheels.runtime.uv import uv_program
from manywheels.runtime.workspace import Snapshot, copy_source, take_snapshot
from manywheels.verify.rules import Rules
from manywheels.verify.sdists import read_sdist

NAME = "sdist"  # of its log and folders


@dataclass(frozen=True, kw_only=True)
class BuiltSdist:
    """An sdist that was read and checked: `version` as in its metadata, `sha256` in hex; `snapshot` has its content."""

    path: Path
    version: str
    sha256: str
    snapshot: Snapshot


@dataclass(frozen=True, kw_only=True)
class SdistBuild:
    """How the sdist is built: with the Python, the compilers and the variables of `planned`, the plan's first target.

    `user` is that target's, which does nothing else meanwhile; None for the program's own.
    """

    run: Run
    snapshot: Snapshot
    tools: Toolchain
    planned: PlannedTarget
    work: Path
    user: int | None

    @property
    def _folder(self) -> Path:
        return self.work / NAME

    @property
    def _log_name(self) -> str:
        """Containers of one run, each of a platform, share the folder of logs."""
        run = self.run
        is_one = len(run.platforms) == 1 and not run.jobserver
        return NAME if is_one else f"{NAME}-{run.options.platform_of(self.planned.target).tag}"

    @property
    def _options(self) -> TargetOptions:
        return self.run.options.for_target(self.planned.target)

    def build(self, reporter: Reporter, cancellation: Cancellation) -> BuiltSdist:
        """Raises SdistFailed, OSError and Cancelled."""
        log, started = self.run.output.log(self._log_name), time.monotonic()
        try:
            with self.run.trace.step(NAME):
                return read_built(self._built(log, cancellation), self.work, self.run.rules, cancellation)
        except Cancelled:
            raise
        except TargetError as error:
            lines = "\n".join(("The sdist cannot be built: " + error.message, *error.excerpt))
            raise SdistFailed(lines, remedy=f"{error.remedy} The whole output is in {log}.".lstrip()) from None
        finally:
            reporter.prepared(NAME, log, time.monotonic() - started)

    def _built(self, log: Path, cancellation: Cancellation) -> Path:
        make_private_folder(self._folder, self.user)
        copy = SourceCopy(snapshot=self.snapshot, folder=self._folder / "source", origin=self.run.project.path)
        copy_source(self.snapshot, copy.folder, cancellation, user=self.user)
        venv = self._venv(copy, log, cancellation)
        for line in dict.fromkeys((*venv.overlooked, *venv.followed.notes)):
            note(log, line)
        request = BuildRequest(
            uv=venv.uv, planned=self.planned, venv=None, source=copy.places["package"], project=copy.project,
            output=self._folder / "built", finished=self.work / "sealed" / NAME, environment=venv.environment,
            overlooked=venv.remedy, options=self._options, timeout=self.run.options.timeout,
            silence=self.run.options.silence_limit, is_served=lambda: False, user=self.user, log=log,
            embedded=self.tools.name == "zig",
        )  # fmt: skip
        return build_sdist(request, cancellation)

    def _venv(self, copy: SourceCopy, log: Path, cancellation: Cancellation) -> Venv:
        """Return the Python, and the variables of the build. Raises HookFailed, OSError and Cancelled."""
        place = SourceEnvironment(
            run=self.run, planned=self.planned, copy=copy, private=self._folder, constrained=copy.source,
            sealed=self.work / "sealed" / f"{NAME}-constraints", uv=uv_program(), log=log, user=self.user,
        )  # fmt: skip
        given = place.given((self.tools.bin_dir,), self._options.environment_pass)
        seen = {**given, **self.tools.environment, **marks()}
        return place.venv(assignments.expand(place.evaluate(seen, cancellation), seen))


def read_built(path: Path, work: Path, rules: Rules, cancellation: Cancellation) -> BuiltSdist:
    """Check an sdist, and unpack it into the run's folder `work`. Raises SdistFailed, OSError and Cancelled."""
    sdist, findings = read_sdist(path, rules, cancellation)
    if sdist is None or findings:
        raise SdistFailed(
            "\n".join((f"{path.name} is not delivered:", *map(str, findings))),
            remedy=" ".join(dict.fromkeys(finding.problem.remedy for finding in findings)),
        )
    sources = work / "sources"
    sources.mkdir(exist_ok=True)
    try:
        snapshot = take_snapshot(read_project(path), sources / NAME, cancellation)
    except ProjectError as error:
        raise SdistFailed(f"{path.name} is not delivered: {error.message}", remedy=error.remedy) from None
    return BuiltSdist(path=path, version=sdist.version, sha256=sdist.sha256, snapshot=snapshot)
