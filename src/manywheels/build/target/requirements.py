"""Prefetch the build requirements of a target with its own user."""

from __future__ import annotations

from collections.abc import Mapping

from manywheels.build.stages.hooks import note
from manywheels.build.stages.prefetch import (
    Prefetch,
    caller_settings,
    constraints_in,
    own_settings,
    prefetch,
    requirements_of,
)
from manywheels.build.target.workspace import TargetWorkspace
from manywheels.build.trace import Kind
from manywheels.core.cancellation import Cancellation
from manywheels.runtime.workspace import store_beside


def prefetch_requirements(
    workspace: TargetWorkspace, environment: Mapping[str, str], cancellation: Cancellation
) -> bool:
    """Prefetch for a target whose processes see `environment`, unless its settings or the caller's forbid it.

    Return whether uv can install what was prefetched by hard links.

    A failure is only logged: the front end fetches what is missing.
    """
    if workspace.user_and_fetcher is None:
        return False
    user, fetcher = workspace.user_and_fetcher
    context, identifier = workspace.context, workspace.target.identifier
    settings = caller_settings(context.run.caller, workspace.source_copy.top)
    constraints = _shareable_constraints(workspace, environment)
    if settings is None or constraints is None:
        return False
    request = Prefetch(
        uv=context.uv,
        python=workspace.interpreter.path,
        abi=workspace.target.abi,
        requirements=requirements_of(workspace.source),
        constraints=constraints,
        settings=settings,
        store=store_beside(context.work),
        fetcher=fetcher,
        cache=workspace.folder / "uv",
        user=user,
        scratch=context.work / f"fetching-{identifier}{workspace.suffix}",
    )
    try:
        with context.run.trace.span(Kind.TARGET, "fetch", lane=identifier):
            return prefetch(request, cancellation)
    except OSError as error:
        note(workspace.log, f"build requirements are not shared with other targets: {error}")
        return False


def _shareable_constraints(workspace: TargetWorkspace, environment: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the constraints for fetching into the store that all targets read.

    None if the target's settings could change which files are fetched; the log names them.
    """
    if steering := own_settings(environment, workspace.default_environment()):
        note(workspace.log, f"fetching build requirements for this target alone: it sets {', '.join(steering)}")
        return None
    return constraints_in(workspace.constraints)
