"""Whether users can build from the sdist what its maintainers have built from the source.

One wheel more is built, from the sdist, with the Python of the plan's first target. Most of what it compiles has been
compiled before, so that sharing compilations makes this cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from manywheels.build.context import RunContext
from manywheels.build.target.build import TargetBuild
from manywheels.build.target.progress import TargetProgress, failure_of, target_error
from manywheels.build.target.workspace import TargetWorkspace
from manywheels.core.text import some
from manywheels.errors import Cancelled, WrongWheel
from manywheels.plan.targets import PlannedTarget
from manywheels.runtime.workspace import Snapshot
from manywheels.verify.checks import SDIST_SAME
from manywheels.verify.model import Finding, Problem, open_wheel
from manywheels.wheels import wheelfile
from manywheels.wheels.manifest import Failure, TargetRecord
from manywheels.wheels.output import LOGS

SUFFIX = "-from-sdist"  # of the log and the folders
_STAGE = "from-sdist"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Why an sdist is not delivered, if it is not, and what was found in it."""

    failure: Failure | None = None
    findings: tuple[Finding, ...] = ()


def prove_sdist(
    context: RunContext, planned: PlannedTarget, snapshot: Snapshot, source_record: Callable[[], TargetRecord]
) -> Proof:
    """Build a wheel from the sdist in `snapshot`; `source_record` waits for that of the wheel from the source."""
    log = context.run.output.path / LOGS / f"{planned.target.identifier}{SUFFIX}.log"
    try:
        proof = SdistProof(context, planned, snapshot)
        try:
            return Proof(findings=tuple(proof.prove(source_record())))
        finally:
            proof.leave()
    except Exception as error:  # noqa: BLE001 - whatever happens to the sdist must not lose the wheels
        return Proof(failure=_failure(error, log))


def _failure(error: Exception, log: Path) -> Failure:
    shown = target_error(error, log)
    if not isinstance(error, Cancelled):
        shown.message = f"No wheel can be built from the sdist: {shown.message}"
    return failure_of(shown, _STAGE)


class SdistProof(TargetBuild):
    """The build of a wheel from the sdist; it begins when the target of the same Python has ended."""

    def __init__(self, context: RunContext, planned: PlannedTarget, snapshot: Snapshot) -> None:
        workspace = TargetWorkspace(context, planned, suffix=SUFFIX, snapshot=snapshot)
        super().__init__(context, planned, workspace)
        self.progress = TargetProgress(workspace, is_shown=False)

    def prove(self, record: TargetRecord) -> list[Finding]:
        """Build, and compare with the wheel of the source, as `record` has it. Raises ManywheelsError and OSError."""
        if record.wheel is None:
            raise WrongWheel(
                f"It was not tried, as {record.identifier} has no wheel to compare with.",
                remedy="See why that target failed.",
            )
        delivered = self.context.run.output.path / record.wheel.name
        self.context.sharing.wait_for_end(self.target)  # its user may have no other processes
        self.prepare()
        with self.context.jobserver.slot(self.cancellation, self._place):
            built = self._build()
        made, wanted = (wheelfile.parse_name(path.name).version for path in (built, delivered))
        if made != wanted:
            raise WrongWheel(
                f"It is version {made}, and the wheel from the source is {wanted}.",
                remedy="The version must not depend on what the sdist lacks, such as git's history.",
            )
        stop = partial(self.cancellation.stop_if_requested, "Comparing the wheels")
        return [SDIST_SAME.finding(delivered.name, problem) for problem in differences(built, delivered, stop)]


def differences(built: Path, delivered: Path, stop: Callable[[], None] = lambda: None) -> Iterator[Problem]:
    """Yield which files are in one wheel alone; what differs in them, the reproducibility of builds decides.

    `built` is the wheel from the sdist, `delivered` that from the source.
    """
    from_sdist, from_source = _files_of(built, stop), _files_of(delivered, stop)
    if lacking := sorted(from_source - from_sdist):
        yield Problem(
            message=f"has {some(lacking)}, which a build from the sdist lacks",
            remedy="Have the back end put the files into the sdist: `MANIFEST.in`, `sdist.include` or the like.",
        )
    if more := sorted(from_sdist - from_source):
        yield Problem(
            message=f"lacks {some(more)}, which a build from the sdist has",
            remedy="Look for files that only a checkout without git, or with generated files, brings along.",
        )


def _files_of(wheel: Path, stop: Callable[[], None]) -> set[str]:
    """Return the files of a wheel, but for its metadata and what a repair has added."""
    with open_wheel(wheel, stop=stop) as opened:
        folders = {name: name.partition("/")[0] for name in opened.members}
        return {name for name, top in folders.items() if not top.endswith((".dist-info", ".libs"))}
