"""What a run's wheels are made from, as digests and names that a later run compares.

Tools differ here and in containers: `compilers_of` and `image_of`.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from manywheels.build.compilers.toolchain import Toolchain
from manywheels.build.resolution import Requires, resolve_requirements
from manywheels.core.cancellation import Cancellation
from manywheels.core.credentials import without_credentials
from manywheels.core.files import digest_file
from manywheels.core.interruptible import begin, wait
from manywheels.core.printing import say
from manywheels.data import table
from manywheels.plan import trust
from manywheels.plan.options import Options
from manywheels.plan.project import Project
from manywheels.plan.targets import PlannedTarget, Target
from manywheels.resources import program_digest
from manywheels.verify.rules import Rules
from manywheels.wheels.manifest import MadeFrom, Manifest

# What a package manager has installed, such as a library that a repair grafts.
_SYSTEM_PACKAGES: Final = (
    "/var/lib/dpkg/status", "/var/lib/rpm/rpmdb.sqlite", "/var/lib/rpm/Packages", "/lib/apk/db/installed",
)  # fmt: skip
_PATIENCE: Final = 30.0  # seconds for the index to say what it has


class Ingredients:
    """What a run's wheels are made from. Build requirements are resolved beside the run's first steps.

    `planned` are the targets to build, in the plan's order; `tools` are their digests, which may come later. With
    `makes_sdist`, the run delivers the sdist, too. `project` is its name.
    """

    def __init__(
        self,
        *,
        project: Project,
        options: Options,
        rules: Rules,
        planned: Sequence[PlannedTarget],
        caller: Mapping[str, str],
        cancellation: Cancellation,
        makes_sdist: bool = False,
        tools: Mapping[Target, str] = MappingProxyType({}),
    ) -> None:
        self.tools, self.makes_sdist, self.project = tools, makes_sdist, project.title
        self.planned, self.rules, self._cancellation = planned, rules, cancellation
        targets = [one.target for one in planned]
        self._recipes = {target: recipe_of(target, options, rules, caller) for target in targets}
        self._asking = cancellation.child()
        self._requires = begin(lambda: _resolved(project, options, targets, caller, self._asking))

    def close(self) -> None:
        """End uv, if it still asks an index."""
        self._asking.request()

    def made_from(self) -> dict[Target, MadeFrom]:
        """Return what each target's wheel is, or would be, made from.

        The run does not wait long for an index, and not at all once it is cancelled.
        """
        requires = self._requires.result() if self._requires.done() else None
        if requires is None:
            requires = wait(self._requires, self._cancellation, _PATIENCE) or {}
        return {
            target: MadeFrom(recipe=recipe, tools=self.tools[target], requires=requires.get(target))
            for target, recipe in self._recipes.items()
        }

    def noted_in(self, manifest: Manifest) -> Manifest:
        """Return a manifest that says of each new wheel what it was made from."""
        made = {target.identifier: found for target, found in self.made_from().items()}
        records = (
            record if record.kept or not record.wheel else replace(record, made_from=made.get(record.identifier))
            for record in manifest.targets
        )
        return replace(manifest, targets=tuple(records))


def _resolved(
    project: Project, options: Options, targets: Sequence[Target], caller: Mapping[str, str], asking: Cancellation
) -> Mapping[Target, Requires]:
    try:
        return resolve_requirements(project, options, targets, caller, asking)
    except Exception as error:  # noqa: BLE001 - no wheel is lost because of what might be said of the next run
        say(f"note: build requirements could not be resolved: {error}", stream=sys.stderr)
        return {}


def recipe_of(target: Target, options: Options, rules: Rules, caller: Mapping[str, str]) -> str:
    """Return the sha256 (hex) of a target's options and of the caller's variables that its build may see."""
    own, platform = options.for_target(target), options.platform_of(target)
    usual = table("environment")["pass"]
    seen = without_credentials({name: caller[name] for name in usual if name in caller})
    # The manifest is published: what may be a secret is not in its digests.
    seen |= {name: caller[name] for name in own.environment_pass if name in caller and not trust.may_be_secret(name)}
    withheld = set(trust.credentials_in(seen, caller))
    variables = sorted((name, value) for name, value in seen.items() if name not in withheld)
    return _digest(
        repr(own), options.from_sdist, repr(rules), repr(options.container_engine), platform.policy.name, variables
    )


def compilers_of(planned: PlannedTarget, toolchain: Toolchain, caller: Mapping[str, str]) -> str:
    """Return the sha256 (hex) of what a target is built with on this machine."""
    found = planned.interpreter
    python = (found.version, found.abi, str(found.path), *_written(found.path)) if found else ()
    return _digest(
        program_digest(), toolchain.name, toolchain.description, python, caller.get("PATH", ""), _system_packages()
    )


def _written(path: Path) -> tuple[int, int]:
    """Return a program's size and time of change (ns), which differ if it was installed anew."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_size, status.st_mtime_ns)


def image_of(planned: PlannedTarget, name: str) -> str:
    """Return the sha256 (hex) of the image of this `name`, which is made of a base's id and this program."""
    return _digest(name, planned.target.tag)


@cache
def _system_packages() -> str:
    found = []
    for path in map(Path, _SYSTEM_PACKAGES):
        with suppress(OSError):
            found.append(digest_file(path))
    return " ".join(found)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode("utf-8", "surrogateescape")).hexdigest()
