"""The records of planned targets that this machine has no interpreter for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from manywheels.build.target.progress import failure_of
from manywheels.errors import NoInterpreter
from manywheels.plan.interpreters import in_manylinux_image
from manywheels.plan.targets import Plan, Target
from manywheels.wheels.manifest import TargetRecord, TargetState
from manywheels.wheels.missing import ALLOW, describe_missing


def absent_records(plan: Plan, *, allowed: bool) -> dict[Target, TargetRecord]:
    """All have the same failure, which names the Pythons and the ways out; none if `allowed`."""
    targets = [planned.target for planned in plan.missing]
    if not targets:
        return {}
    failure = None if allowed else failure_of(_no_interpreter(targets), "plan")
    return {
        target: TargetRecord(identifier=target.identifier, state=TargetState.NO_INTERPRETER, failure=failure)
        for target in targets
    }


def absence_warnings(records: Iterable[TargetRecord]) -> Iterator[str]:
    """Yield a warning that names the targets whose absence was allowed."""
    if allowed := [record.identifier for record in records if not record.failure]:
        yield f"{NoInterpreter.code} {describe_missing(allowed)} (`{ALLOW}` accepts it)"


def _no_interpreter(targets: Iterable[Target]) -> NoInterpreter:
    names = tuple(dict.fromkeys(target.spec for target in targets))
    here, source = "This machine", f"Install it (`uv python install {' '.join(names)}`), or use `--engine container`"
    if in_manylinux_image():
        here, source = "This image", "Use an image that has it"
    return NoInterpreter(
        f"{here} has no Python {', '.join(names)}, which the plan has targets for.",
        remedy=f"{source}; or leave it out with `skip` or a narrower `build`; or accept it with `{ALLOW}`.",
    )
