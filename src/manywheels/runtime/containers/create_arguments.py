"""Turn options of `docker create` into arguments of the Docker SDK."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from manywheels.errors import EngineError
from manywheels.plan.container_engine import CreateArgument

_NANO: Final = 1_000_000_000


def sdk_arguments(arguments: Iterable[CreateArgument]) -> dict[str, Any]:
    """Return arguments of the SDK's `create`. Raises EngineError."""
    made: dict[str, Any] = {}
    for argument in arguments:
        try:
            _add(made, argument)
        except (ValueError, OverflowError):
            raise EngineError(
                f"`container-engine`: `{argument.value}` is not a value of `{argument.option}`.",
                remedy="Write it as for `docker create`.",
            ) from None
    return made


def _add(made: dict[str, Any], argument: CreateArgument) -> None:
    from docker.types import DeviceRequest, Ulimit

    name, value = argument.name, argument.value
    match argument.kind:
        case "text":
            made[name] = value
        case "switch":
            made[name] = value.lower() not in {"false", "0"}
        case "number":
            made[name] = int(value)
        case "processors":
            made[name] = int(float(value) * _NANO)
        case "list":
            made.setdefault(name, []).append(value)
        case "pairs:" | "pairs=":
            key, _, rest = value.partition(argument.kind[-1])
            made.setdefault(name, {})[key] = rest
        case "limits":
            key, _, numbers = value.partition("=")
            soft, _, hard = numbers.partition(":")
            made.setdefault(name, []).append(Ulimit(name=key, soft=int(soft), hard=int(hard or soft)))
        case "processors-of-graphics":
            count = -1 if value == "all" else int(value)
            made[name] = [DeviceRequest(count=count, capabilities=[["gpu"]])]
