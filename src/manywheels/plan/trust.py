"""Who is trusted with what: what the project's own files may ask for, and what only the workflow may.

A pull request can change pyproject.toml, and in many jobs it cannot change the workflow. So in a CI job, what reaches
the job's secrets, runs as another user than the targets', or is written outside of the checkout, is for the workflow to
give: as an input, on the command line, or in a variable. `Value.origin.kind` says who gave a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

from manywheels.core.credentials import has_credentials
from manywheels.data import table
from manywheels.errors import IsolationError, OutputFolderError
from manywheels.plan import inputs
from manywheels.plan.container_variables import forwarded

if TYPE_CHECKING:
    from manywheels.plan.inputs import Value
    from manywheels.plan.options import Options
    from manywheels.plan.settings import Settings
    from manywheels.plan.targets import Target

IN_A_JOB_OF_ITS_OWN: Final = (
    "Publish in a job of its own, which builds nothing, and give only that job the permission "
    "(`id-token: write` on GitHub, `id_tokens` on GitLab)."
)
_GRANTS: Final = re.compile(r"ACTIONS_ID_TOKEN_REQUEST_(?:TOKEN|URL)|\w*ID_TOKEN")
_PLACES: Final = ("output-dir", "packages-dir", "report")  # inputs that name what the program writes


def in_ci(environment: Mapping[str, str]) -> bool:
    """Whether this is a CI job, in which the project's own files may be a stranger's."""
    return any(environment.get(name) for name in table("environment")["ci"])


def grants_in(environment: Mapping[str, str]) -> list[str]:
    """Return the names of the variables by which a CI job gets identity tokens (OIDC)."""
    return sorted(name for name, value in environment.items() if value and _GRANTS.fullmatch(name))


def credentials_in(names: Iterable[str], environment: Mapping[str, str]) -> list[str]:
    """Return those of the names whose variables are set and authorise the CI's job, or publishing, sorted."""
    patterns = table("environment")["credentials"]
    return sorted({name for name in names if environment.get(name) and _matches(name, patterns)})


def require_trusted(options: Options, environment: Mapping[str, str]) -> None:
    """Raise IsolationError or OutputFolderError where the project's own files ask for what only the workflow may.

    `environment` is the caller's. Outside of CI these are the caller's own files: then only what authorises a job is
    refused, and what reaches beyond isolation beside a grant for identity tokens.
    """
    for target in (None, *options.known_targets):
        _require_passable(options.settings, target, environment)
    _require_inside_isolation(options, environment)
    require_places(options.settings, environment)


# --- variables --------------------------------------------------------------------------------------------------------


def _require_passable(settings: Settings, target: Target | None, environment: Mapping[str, str]) -> None:
    """Raise IsolationError where the project's `environment-pass` names a variable that it may not see."""
    given = settings.value("environment-pass", target)
    if not given.is_projects:
        return
    names = inputs.parse_words(given, "environment-pass")
    if refused := credentials_in(names, environment):
        raise IsolationError(
            f"{given.origin}: {', '.join(refused)} authorises the job itself, and project code never gets that.",
            remedy="Take it out. What a build needs, the workflow can give under a name of its own, and "
            "`environment-pass` let through.",
        )
    if not in_ci(environment):
        return
    workflows = inputs.parse_words(settings.without_projects().value("environment-pass", target), "environment-pass")
    asked = dict.fromkeys(name for name in names if name not in workflows and environment.get(name))
    if refused := [name for name in asked if not _is_harmless(name, environment[name])]:
        raise IsolationError(
            f"{given.origin}: in a CI job, only the workflow can let builds see {', '.join(refused)}: a pull request "
            "can change the project's own files.",
            remedy=f"If builds need it, give `environment-pass: {' '.join(dict.fromkeys(names))}` as the workflow's "
            "input (`--environment-pass` on the command line): it counts in place of the project's. Else take it out.",
        )


def _is_harmless(name: str, value: str) -> bool:
    """Whether a variable is one that builds use and that holds no secret."""
    facts = table("environment")
    rules = facts["project"]
    usual = _matches(name, rules["settings"]) and not _matches(name, rules["never"])
    return (usual or name in rules["facts"] or name in facts["pass"]) and not has_credentials(value)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name.upper(), pattern.upper()) for pattern in patterns)


# --- what is not isolated ---------------------------------------------------------------------------------------------


def _require_inside_isolation(options: Options, environment: Mapping[str, str]) -> None:
    """Raise IsolationError where the project's files reach beyond isolation in a job with something to be had there.

    That is: commands that root runs, and images that are started, in a job that can have identity tokens; and an image
    of the project's choice that would be told credentials of indexes.
    """
    grants = grants_in(environment)
    secrets = [name for name, value in forwarded(environment).items() if has_credentials(value)]
    for name, given in _beyond_isolation(options):
        if not given.value or not given.is_projects:
            continue
        if grants:
            raise IsolationError(
                f"{given.origin}: this job can have identity tokens ({', '.join(grants)}), and `{name}` reaches "
                "beyond isolation: only the workflow can ask for it here.",
                remedy=f"Give `{name}` as the workflow's input. Or better: {IN_A_JOB_OF_ITS_OWN}",
            )
        if secrets and name == "image" and in_ci(environment):
            raise IsolationError(
                f"{given.origin}: the image would be told the credentials in {', '.join(secrets)}: in a CI job, only "
                "the workflow can name an image that gets them.",
                remedy="Give `image` as the workflow's input, or the index an address without credentials.",
            )


def _beyond_isolation(options: Options) -> Iterator[tuple[str, Value]]:
    settings = options.settings
    yield from (("before-all", settings.value("before-all", target)) for target in (None, *options.known_targets))
    yield "test-in", settings.value("test-in")
    if options.image:  # else its option names a policy, whose image is manywheels' own choice
        by_arch = f"{options.platform.family}-{options.arch}-image"
        yield "image", settings.value("image" if settings.value("image").value else by_arch)


# --- publishing -------------------------------------------------------------------------------------------------------


def require_publishing_asked(publish: Value) -> None:
    """Raise IsolationError where it is the project's own files that have a CI job publish what it builds."""
    if publish.is_projects and publish.value == "pypi":
        raise IsolationError(
            f"{publish.origin}: in a CI job, only the workflow can have wheels published: a pull request can change "
            "the project's own files, and what it builds would be published in the job's name.",
            remedy="Give `publish: pypi` as the workflow's input, or publish in a job of its own (docs/publish.md).",
        )


# --- places -----------------------------------------------------------------------------------------------------------


def require_places(settings: Settings, environment: Mapping[str, str]) -> None:
    """Raise OutputFolderError where the project's own files have a CI job write outside of its working folder.

    The program may be root there, and a report's text is the project's: it could become a file that others run.
    """
    if not in_ci(environment):
        return
    here = Path().resolve()
    for name, place in ((name, settings.value(name)) for name in _PLACES):
        path = Path(place.value).resolve()
        if place.is_projects and place.value and (not path.is_relative_to(here) or ".git" in path.parts):
            raise OutputFolderError(
                f"{place.origin}: in a CI job, only the workflow can name a place outside of the working folder, or in "
                f"its repository, as `{place.value}`.",
                remedy=f"Name a folder of the checkout, or give `{name}` as the workflow's input.",
            )
