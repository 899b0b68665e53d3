"""What a build will tell uv of pip's settings, and what it cannot: for the plan, and for notes before the build."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from manywheels.core.credentials import has_credentials, without_credentials
from manywheels.data import table
from manywheels.plan import assignments
from manywheels.plan.installer_files import Caller
from manywheels.plan.options import Options
from manywheels.plan.pip_settings import Follower, withheld
from manywheels.plan.targets import Target

_PIP_NEEDS: Final = (
    "PIP_CONSTRAINT does not hold for build requirements with the front end `pip` (25.3 and newer): set "
    "PIP_BUILD_CONSTRAINT"
)


@dataclass(frozen=True, kw_only=True)
class Told:
    """A variable of pip, where it comes from, and the variables by which uv is told its value."""

    pip: str
    value: str
    origin: str
    uv: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """`notes` name what is not followed."""

    told: tuple[Told, ...]
    notes: tuple[str, ...]


def explain_pip(options: Options, targets: Iterable[Target], caller: Caller) -> Explanation:
    told: list[Told] = []
    notes = [*caller.notes, *withheld(caller.environment, options.environment_pass)]
    for target in targets:
        own = options.for_target(target)
        given = without_credentials(_named(caller, table("environment")["pass"])) | _named(caller, own.environment_pass)
        # Whether a folder is there shows in the build: the project's commands may make it.
        followed = Follower(is_there=lambda _: True).follow(
            assignments.expand(assignments.as_written(own.environment), given)
        )
        notes += followed.notes
        if own.front_end.name == "pip" and _is_for_run_time_alone(followed.environment):
            notes.append(_PIP_NEEDS)
        made = {assignment.name for assignment in own.environment}
        for pip in dict.fromkeys(followed.made.values()):
            value = followed.environment[pip]
            origin = str(options.settings.value("environment", target).origin) if pip in made else ""
            told.append(
                Told(
                    pip=pip, value="(with credentials)" if has_credentials(value) else value,
                    origin=origin or caller.origins.get(pip, "the caller's environment"),
                    uv=tuple(name for name, source in followed.made.items() if source == pip),
                )
            )  # fmt: skip
    return Explanation(told=tuple(dict.fromkeys(told)), notes=tuple(dict.fromkeys(notes)))


def _is_for_run_time_alone(environment: Mapping[str, str]) -> bool:
    return bool(environment.get("PIP_CONSTRAINT")) and not environment.get("PIP_BUILD_CONSTRAINT")


def _named(caller: Caller, names: Iterable[str]) -> dict[str, str]:
    return {name: caller.environment[name] for name in names if name in caller.environment}
