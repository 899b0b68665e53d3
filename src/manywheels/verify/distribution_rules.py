"""What an index refuses in sdists and in wheels of other systems, which the checks of wheels do not look at.

Taken from the source of PyPI's server (pypi/warehouse, forklift/legacy.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from packaging.utils import parse_wheel_filename
from packaging.version import Version

from manywheels.data import table
from manywheels.verify.checks import acceptance
from manywheels.verify.distributions import Distribution
from manywheels.verify.model import Problem, Severity
from manywheels.verify.places import other_system_of
from manywheels.verify.rules import Rules

METADATA: Final = "MW248"
_LICENCE, _TAGS, _ENCRYPTED = "MW243", "MW204", "MW257"
_REBUILD: Final = "Update the build back end, and build again."
_CORRECT: Final = "Correct it in pyproject.toml and build again, or publish to an index that accepts it."


def is_foreign(name: str) -> bool:
    """Whether a wheel is for another system than Linux alone."""
    platforms = name.removesuffix(".whl").rpartition("-")[2].split(".")
    return name.endswith(".whl") and all(map(other_system_of, platforms))


def unverified(file: Distribution) -> bool:
    """Whether `verify` does not check a file: sdists, and wheels of other systems."""
    return file.is_sdist or is_foreign(file.name)


def content_problems(file: Distribution, rules: Rules, *, has_rules: bool) -> Iterator[Problem]:
    """Yield what is wrong with files that `verify` does not check; with `has_rules`, also what PyPI alone refuses."""
    if not rules.ignores(_LICENCE):
        for name, place in file.contents.missing:
            yield Problem(
                member=file.name,
                message=f"names the licence file `{name}`, but there is no `{place}`",
                remedy="Put the file into the package's own folder, so that the back end packs it; or do not name it.",
            )
    if not has_rules:
        return
    yield from _metadata_problems(file, rules)
    yield from _name_problems(file, rules)
    if file.contents.is_zip_too:
        yield Problem(member=file.name, message="can be read as a zip archive, too", remedy=_REBUILD)
    for member, program in () if rules.ignores(_ENCRYPTED) else file.contents.encrypted:
        yield Problem(
            member=file.name,
            message=f"has a mark of {program} in `{member}`: the index refuses encrypted code",
            remedy="Leave the file out of the sdist; if a comment or a text only names the mark, reword it.",
        )


def _metadata_problems(file: Distribution, rules: Rules) -> Iterator[Problem]:
    for fault in () if rules.ignores(METADATA) else acceptance.faults(file.metadata):
        if fault.only_pypi or fault.severity is Severity.ERROR:
            told = f"has a `{fault.field}` that the index refuses: {fault.why}"
            yield Problem(member=file.name, message=told, remedy=_CORRECT)


def content_warnings(file: Distribution, rules: Rules) -> Iterator[str]:
    """Yield what PyPI may refuse in files that `verify` does not check."""
    for fault in () if rules.ignores(METADATA) else acceptance.faults(file.metadata):
        if fault.severity is Severity.WARNING and not fault.only_pypi:
            yield f"has a `{fault.field}` that the index refuses: {fault.why}"


def _name_problems(file: Distribution, rules: Rules) -> Iterator[Problem]:
    project = file.project.replace("-", "_")
    if file.is_sdist:
        wanted = f"{project}-{Version(file.metadata['version'])}.tar.gz"
        if file.name != wanted:
            yield Problem(member=file.name, message=f"must be named `{wanted}`", remedy=_REBUILD)
        return
    if (name := file.name.partition("-")[0]) != project:
        yield Problem(
            member=file.name, message=f"must begin with `{project}`, its normalised name, not `{name}`", remedy=_REBUILD
        )
    known = (*table("index")["platforms"], *table("index")["other-platforms"])
    platforms = {tag.platform for tag in parse_wheel_filename(file.name)[3]}
    for platform in () if rules.ignores(_TAGS) else sorted(platforms):
        if not any(re.fullmatch(pattern, platform) for pattern in known):
            yield Problem(
                member=file.name,
                message=f"has the platform tag `{platform}`, which the index refuses",
                remedy="Publish without this wheel: move it out of the folder.",
            )
