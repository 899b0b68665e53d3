"""GitHub's artifact service: where it is, and what its errors mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from manywheels.core.retry import RetriesExhausted
from manywheels.deliver import results_service
from manywheels.deliver.index.claims import read_claims
from manywheels.deliver.results_service import Refused, Server, find_server
from manywheels.errors import (
    ArtifactExists,
    ArtifactMissing,
    ArtifactQuota,
    ArtifactRefused,
    ArtifactServiceDown,
    ArtifactServiceMissing,
    DeliveryError,
)

_RUN_AGAIN: Final = "The token expires with the job: run the job again, within its time limit."
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Service:
    """The service's place. `run` and `job` are the backend's ids; `page` is the run's page, or empty."""

    server: Server
    run: str
    job: str
    page: str


def has_service(environment: Mapping[str, str]) -> bool:
    return find_server(environment) is not None


def find_service(environment: Mapping[str, str]) -> Service:
    """Raises ArtifactServiceMissing."""
    server = find_server(environment)
    if server is None:
        raise ArtifactServiceMissing(
            "There is no artifact service here: ACTIONS_RESULTS_URL and ACTIONS_RUNTIME_TOKEN are not set.",
            remedy="Only the action itself has them, in a GitHub workflow; elsewhere use `publish: none` and folders.",
        )
    run, job = _backend_ids(server.token)
    known = [environment.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")]
    page = "{}/{}/actions/runs/{}".format(*known) if all(known) else ""
    return Service(server=server, run=run, job=job, page=page)


def _backend_ids(token: str) -> tuple[str, str]:
    """Return run and job from the token's scope `Actions.Results:<run>:<job>`."""
    for scope in str(read_claims(token).get("scp") or "").split():
        match scope.split(":"):
            case ["Actions.Results", run, job] if run and job:
                return run, job
    raise ArtifactServiceMissing(
        "The job's ACTIONS_RUNTIME_TOKEN does not say whose artifacts these are: it has no scope `Actions.Results`.",
        remedy="Only a runner makes this token; a server older than artifacts version 4 makes others.",
    )


@dataclass(kw_only=True)
class Calls(results_service.Calls):
    """Calls to the artifact service, for one run and job."""

    name: str = "ArtifactService"
    label: str = "artifact service"
    ids: Mapping[str, str] = field(default_factory=dict)

    def call(self, method: str, request: Mapping[str, object], *, may_fail: bool = False) -> Mapping[str, Any]:
        """Raises what `persist` raises."""
        return super().call(method, {**self.ids, **request}, may_fail=may_fail)

    def persist(self, operation: Callable[[], T]) -> T:
        """Call again after each TransientError. Raises ArtifactServiceDown, other DeliveryErrors and Cancelled."""
        try:
            return super().persist(operation)
        except RetriesExhausted as error:
            raise ArtifactServiceDown(
                f"The artifact service is down: {error}.",
                remedy="The wheels are in the output folder. Check GitHub's status page, and run the job again.",
            ) from None
        except Refused as refused:
            raise _error_of(refused) from None


def backend_ids(run: str, job: str) -> dict[str, str]:
    """Return the fields that name a job's artifacts."""
    return {"workflow_run_backend_id": run, "workflow_job_run_backend_id": job}


def _error_of(refused: Refused) -> DeliveryError:
    detail = refused.detail
    if refused.is_quota:
        return ArtifactQuota(
            f"The storage for artifacts is used up ({detail}).",
            remedy="Delete old artifacts, or lower `retention-days`; GitHub recounts twice a day.",
        )
    match refused.status:
        case 401 | 403:
            return ArtifactRefused(f"The artifact service refuses the job ({detail}).", remedy=_RUN_AGAIN)
        case 404:
            return ArtifactMissing(f"The artifact does not exist ({detail}).", remedy="Run the building job again.")
        case 409:
            return ArtifactExists(
                f"The run already has an artifact of this name ({detail}).",
                remedy="Give each job its own `artifact-name`, or set `overwrite: true` to replace the old one.",
            )
    return DeliveryError(f"The artifact service sent an unknown response ({detail}).", remedy="Please report it.")
