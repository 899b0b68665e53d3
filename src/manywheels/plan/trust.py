"""Trust: what the project's own files may request, and what only the workflow may.

A pull request can change pyproject.toml, and often not the workflow. So in a CI job, only the workflow (an input, the
command line, a variable) may expose secrets, run commands outside of the isolation, or name places outside of the
checkout.
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
from manywheels.plan.container_engine import parse_container_engine
from manywheels.plan.container_variables import forwarded
from manywheels.plan.platforms import image_option

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
_PLACES: Final = ("output-dir", "packages-dir", "report", "trace")  # inputs that name places to write to


def in_ci(environment: Mapping[str, str]) -> bool:
    """In a CI job, the project's files may come from a stranger's pull request."""
    return any(environment.get(name) for name in table("environment")["ci"])


def grants_in(environment: Mapping[str, str]) -> list[str]:
    """Return the variables that give a CI job identity tokens (OIDC)."""
    return sorted(name for name, value in environment.items() if value and _GRANTS.fullmatch(name))


def credentials_in(names: Iterable[str], environment: Mapping[str, str]) -> list[str]:
    """Return the set variables that authorise the CI job or publishing, sorted."""
    patterns = table("environment")["credentials"]
    return sorted({name for name in names if environment.get(name) and _matches(name, patterns)})


def require_trusted(options: Options, environment: Mapping[str, str]) -> None:
    """Raise IsolationError or OutputFolderError if the project's files request what only the workflow may.

    Outside of CI the files are the caller's own: only variables that authorise a job are refused, and reaching beyond
    isolation where identity tokens are available.
    """
    for target in (None, *options.known_targets):
        _require_passable(options.settings, target, environment)
    _require_inside_isolation(options, environment)
    _require_plain_container(options, environment)
    require_places(options.settings, environment)


def compiler_cache(options: Options, environment: Mapping[str, str]) -> str:
    """Return the mode of `compiler-cache`: beside identity tokens, a project's `keep` is `run`.

    What is kept may have been written by other steps and jobs, which only the workflow can know.
    """
    asks_too_much = options.settings.value("compiler-cache").is_projects and grants_in(environment)
    return "run" if options.compiler_cache == "keep" and asks_too_much else options.compiler_cache


# --- variables --------------------------------------------------------------------------------------------------------


def _require_passable(settings: Settings, target: Target | None, environment: Mapping[str, str]) -> None:
    value = settings.value("environment-pass", target)
    if not value.is_projects:
        return
    names = inputs.parse_words(value, "environment-pass")
    if refused := credentials_in(names, environment):
        raise IsolationError(
            f"{value.origin}: {', '.join(refused)} authorises the job itself; project code never gets it.",
            remedy="Remove it. The workflow can put what a build needs into a variable of another name, for "
            "`environment-pass` to name.",
        )
    if not in_ci(environment):
        return
    workflows = inputs.parse_words(settings.without_projects().value("environment-pass", target), "environment-pass")
    requested = dict.fromkeys(name for name in names if name not in workflows and environment.get(name))
    if refused := [name for name in requested if not _is_harmless(name, environment[name])]:
        raise IsolationError(
            f"{value.origin}: in a CI job, only the workflow can let builds see {', '.join(refused)}: a pull request "
            "can change the project's own files.",
            remedy=f"If builds need it, give `environment-pass: {' '.join(dict.fromkeys(names))}` as the workflow's "
            "input (`--environment-pass` on the command line), which replaces the project's. Otherwise remove it.",
        )


def may_be_secret(name: str) -> bool:
    """Whether a variable's name has a word that is typical of secrets."""
    rules = table("environment")["project"]
    return _matches(name, rules["never"]) and name not in rules["facts"]


def _is_harmless(name: str, value: str) -> bool:
    """Whether builds use a variable of this name, and its value holds no secret."""
    facts = table("environment")
    rules = facts["project"]
    usual = _matches(name, rules["settings"]) and not _matches(name, rules["never"])
    return (usual or name in rules["facts"] or name in facts["pass"]) and not has_credentials(value)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name.upper(), pattern.upper()) for pattern in patterns)


# --- what is not isolated ---------------------------------------------------------------------------------------------


def _require_inside_isolation(options: Options, environment: Mapping[str, str]) -> None:
    """Refuse to let the project's files reach beyond isolation where there is something to steal.

    That is: commands of root and images, in a job that can get identity tokens; in CI also an image that would get
    credentials for indexes.
    """
    grants = grants_in(environment)
    secrets = [name for name, text in forwarded(environment).items() if has_credentials(text)]
    for name, value in _beyond_isolation(options):
        if not value.value or not value.is_projects:
            continue
        if grants:
            raise IsolationError(
                f"{value.origin}: this job can get identity tokens ({', '.join(grants)}), and `{name}` reaches "
                "beyond isolation: only the workflow may set it here.",
                remedy=f"Give `{name}` as the workflow's input. Or better: {IN_A_JOB_OF_ITS_OWN}",
            )
        if secrets and name == "image" and in_ci(environment):
            raise IsolationError(
                f"{value.origin}: the image would get the credentials in {', '.join(secrets)}: in a CI job, only "
                "the workflow may choose an image that gets them.",
                remedy="Give `image` as the workflow's input, or the index an address without credentials.",
            )


def _require_plain_container(options: Options, environment: Mapping[str, str]) -> None:
    """In CI, the project's files cannot have a container created that reaches the machine or its network."""
    if not in_ci(environment):
        return
    for target in (None, *options.known_targets):  # an override's variables reach its targets
        value = options.settings.value("container-engine", target)
        engine = parse_container_engine(value, "container-engine")
        reaching = [argument.option for argument in engine.arguments if not argument.harmless]
        if reaching and value.is_projects:
            raise IsolationError(
                f"{value.origin}: in a CI job, only the workflow may create containers with {', '.join(reaching)}: a "
                "pull request can change the project's own files.",
                remedy="Set CIBW_CONTAINER_ENGINE in the workflow instead.",
            )


def _beyond_isolation(options: Options) -> Iterator[tuple[str, Value]]:
    settings = options.settings
    yield from (("before-all", settings.value("before-all", target)) for target in (None, *options.known_targets))
    yield from (("test-in", settings.value("test-in", target)) for target in (None, *options.known_targets))
    for target, platform in options.by_platform.items():
        if platform.image:  # else the policy's own image
            own = settings.value("image", target)
            yield "image", own if own.value else settings.value(image_option(target, settings), target)


# --- publishing -------------------------------------------------------------------------------------------------------


def require_publishing_asked(publish: Value) -> None:
    """Raise IsolationError if the project's files tell a CI job to publish."""
    if publish.is_projects and publish.value == "pypi":
        raise IsolationError(
            f"{publish.origin}: in a CI job, only the workflow may publish wheels: a pull request can change the "
            "project's own files, and its wheels would be published in the job's name.",
            remedy="Give `publish: pypi` as the workflow's input, or publish in a job of its own (docs/publish.md).",
        )


def may_allow_missing(value: Value, environment: Mapping[str, str]) -> bool:
    """Whether `allow-missing` counts for publishing: in a CI job, a pull request must not thin out a release."""
    return not (value.is_projects and in_ci(environment))


# --- places -----------------------------------------------------------------------------------------------------------


def require_places(settings: Settings, environment: Mapping[str, str]) -> None:
    """Raise OutputFolderError if the project's files make a CI job write outside of its working folder.

    This process may be root there, and others could run a report that holds the project's text.
    """
    if not in_ci(environment):
        return
    here = Path().resolve()
    for name, place in ((name, settings.value(name)) for name in _PLACES):
        path = Path(place.value).resolve()
        if place.is_projects and place.value and (not path.is_relative_to(here) or ".git" in path.parts):
            raise OutputFolderError(
                f"{place.origin}: in a CI job, only the workflow can name a place outside of the working folder or in "
                f"`.git`, such as `{place.value}`.",
                remedy=f"Name a folder of the checkout, or give `{name}` as the workflow's input.",
            )
