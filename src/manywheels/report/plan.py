"""The plan as a table, as JSON, and as the matrix of a CI."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from manywheels.build.compilers import choice
from manywheels.core.text import clean, sanitize
from manywheels.errors import ToolchainError
from manywheels.plan import architectures, inputs
from manywheels.plan.inputs import GITLAB_PREFIX, Value
from manywheels.plan.installer_files import Caller
from manywheels.plan.options import Options
from manywheels.plan.pip_explained import Explanation, explain_pip
from manywheels.plan.platforms import Platform
from manywheels.plan.project import Project
from manywheels.plan.sharding import Job, jobs_for
from manywheels.plan.targets import Plan
from manywheels.wheels.manifest import joined

if TYPE_CHECKING:
    from rich.table import Table

# GitLab allows 128 characters in `needs`, including the job's own name.
_LONGEST: Final = 55  # characters


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A plan to show, with what it was made of; `engine` is `host` or `container`."""

    plan: Plan
    project: Project
    options: Options
    caller: Caller
    engine: str

    @property
    def platforms(self) -> tuple[Platform, ...]:
        planned = self.options.platforms_of(planned.target for planned in self.plan.targets)
        return planned or self.options.platforms

    @property
    def toolchains(self) -> str:
        return joined(self._toolchain(platform) for platform in self.platforms)

    def _toolchain(self, platform: Platform) -> str:
        if self.engine == "container":
            return "system"  # the image's
        try:
            return choice.resolve(self.options.toolchain, platform.policy, arch=platform.arch)
        except ToolchainError as error:
            return f"unavailable ({error.message})"


def as_json(shown: Shown, *, explain: bool = False) -> dict[str, Any]:
    """The keys are stable; with `explain`, include every option's value and origin, and what uv is told for pip."""
    plan, project, options = shown.plan, shown.project, shown.options
    pip = _pip(shown)
    planned = {
        "project": project.title,
        "version": project.version,
        "build-backend": project.build_backend,
        "engine": shown.engine,
        "platform": joined(platform.tag for platform in shown.platforms),
        "toolchain": shown.toolchains,
        "output-dir": str(options.output_dir),
        "targets": [
            {
                "identifier": planned.target.identifier,
                "platform": options.platform_of(planned.target).tag,
                "image": options.platform_of(planned.target).image_name if shown.engine == "container" else None,
                "python": planned.interpreter.version if planned.interpreter else None,
                "path": str(planned.interpreter.path) if planned.interpreter else None,
                "source": planned.interpreter.source if planned.interpreter else None,
            }
            for planned in plan.targets
        ],
        "excluded": [{"identifier": target.identifier, "reason": str(refusal)} for target, refusal in plan.excluded],
        "left-out": [{"identifier": identifier, "reason": reason} for identifier, reason in options.left_out],
        "notes": [*options.notes, *pip.notes],
    }
    if not explain:
        return planned
    told = [{"pip": one.pip, "value": one.value, "origin": one.origin, "uv": list(one.uv)} for one in pip.told]
    return planned | {"options": _options_json(plan, options), "uv": told}


def _pip(shown: Shown) -> Explanation:
    return explain_pip(shown.options, [planned.target for planned in shown.plan.targets], shown.caller)


def as_table(shown: Shown, *, explain: bool = False) -> None:
    """With `explain`, print also every option's value and origin, and what uv is told for pip."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    plan, options = shown.plan, shown.options
    tags = joined(platform.tag for platform in shown.platforms)
    how = "in containers" if shown.engine == "container" else f"toolchain {shown.toolchains}"
    title = Text(clean(f"{shown.project.title} for {tags}, {how}"))
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("target", "python", "interpreter"):
        table.add_column(heading, overflow="fold")
    for planned in plan.targets:
        if planned.interpreter:
            found = planned.interpreter
            table.add_row(planned.target.identifier, found.version, Text(f"{found.path} ({found.source})"))
        else:
            absent = "installed by uv when building" if shown.engine == "host" else "not in the image"
            table.add_row(planned.target.identifier, "absent", absent, style="yellow")
    for target, refusal in plan.excluded:
        table.add_row(target.identifier, "", str(refusal), style="dim")
    for identifier, reason in options.left_out:
        table.add_row(identifier, "", reason, style="dim")
    _show(table)
    pip = _pip(shown)
    for note in (*options.notes, *pip.notes):
        print(sanitize(f"note: {note}"))
    if explain:
        _show(_table_of_options(plan, options))
        if pip.told:
            _show(_table_of_pip(pip))


def _show(table: Table) -> None:
    """Without a terminal, sanitize each line: a CI could take a wrapped cell for a command."""
    from rich.console import Console

    console = Console(highlight=False, force_terminal=sys.stdout.isatty())
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as drawn:
        console.print(table)
    print("\n".join(map(sanitize, drawn.get().split("\n"))), end="")


@dataclass(frozen=True, kw_only=True)
class _Explained:
    """An option's value, and other values from overrides for some targets (identifiers)."""

    name: str
    value: Value
    overridden: tuple[tuple[tuple[str, ...], Value], ...]


def _explained(plan: Plan, options: Options) -> Iterator[_Explained]:
    settings = options.settings
    building = [entry.name for entry in inputs.inputs_of("plan")]
    images = [name for name in settings.names() if name not in inputs.declared_inputs()]
    for name in (*building, *images):
        value = settings.value(name)
        groups: dict[Value, tuple[str, ...]] = {}
        for planned in plan.targets:
            own = settings.value(name, planned.target)
            if own != value:
                groups[own] = (*groups.get(own, ()), planned.target.identifier)
        overridden = tuple((identifiers, own) for own, identifiers in groups.items())
        yield _Explained(name=name, value=value, overridden=overridden)


def _options_json(plan: Plan, options: Options) -> dict[str, Any]:
    return {
        entry.name: {
            "value": entry.value.value,
            "origin": str(entry.value.origin),
            "overridden": [
                {"targets": list(identifiers), "value": own.value, "origin": str(own.origin)}
                for identifiers, own in entry.overridden
            ],
        }
        for entry in _explained(plan, options)
    }


def _table_of_options(plan: Plan, options: Options) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("option", "value", "origin"):
        table.add_column(heading, overflow="fold")
    for entry in _explained(plan, options):
        style = "dim" if entry.value.is_default else None
        table.add_row(entry.name, _shown(entry.value), _plain(str(entry.value.origin)), style=style)
        for identifiers, own in entry.overridden:
            table.add_row(f"  {_targets(identifiers)}", _shown(own), _plain(str(own.origin)))
    return table


def _targets(identifiers: Iterable[str]) -> str:
    """Return targets by platform: `manylinux_x86_64: cp39, cp310; musllinux_x86_64: cp39`."""
    by_platform: dict[str, list[str]] = {}
    for identifier in identifiers:
        tag, _, platform = identifier.partition("-")
        by_platform.setdefault(platform, []).append(tag)
    return "; ".join(f"{platform}: {', '.join(tags)}" for platform, tags in by_platform.items())


def _table_of_pip(explained: Explanation) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("of pip", "value", "origin", "told to uv as"):
        table.add_column(heading, overflow="fold")
    for one in explained.told:
        table.add_row(one.pip, _plain(one.value), _plain(one.origin), ", ".join(one.uv))
    return table


def _shown(value: Value) -> str:
    return _plain(value.value.replace("\n", "; ")) if value.value else "[dim]empty[/dim]"


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(clean(text))


def github_matrix(plan: Plan, per_job: int) -> str:
    """Return a line of JSON for `matrix: ${{ fromJSON(…) }}`.

    Each job has its `shard`, `arch`, `runner` (for `runs-on`) and `targets` (text).
    """
    jobs = [
        {
            "shard": str(job.shard),
            "arch": job.arch,
            "runner": architectures.runner(job.arch),
            "targets": " ".join(target.identifier for target in job.targets),
        }
        for job in jobs_for(plan, per_job)
    ]
    return json.dumps({"include": jobs})


def gitlab_matrix(plan: Plan, per_job: int) -> str:
    """Return a hidden job with `parallel:matrix`, as YAML, for a child pipeline.

    A job reads its shard from a variable; RUNNER is for `tags`, and TARGETS only makes its name readable.
    """
    lines = [".manywheels-matrix:", "  parallel:", "    matrix:"]
    for job in jobs_for(plan, per_job):
        lines.append(f'      - {GITLAB_PREFIX}SHARD: "{job.shard}"')
        lines.append(f'        RUNNER: "{architectures.runner(job.arch, "gitlab")}"')
        lines.append(f'        TARGETS: "{_short_names(job)}"')
    return "\n".join(lines)


def _short_names(job: Job) -> str:
    tags = [target.tag for target in job.targets]
    names = " ".join(tags)
    return names if len(names) <= _LONGEST else f"{tags[0]} … {tags[-1]}"
