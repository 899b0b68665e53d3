"""A build's options, parsed and combined for each target."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Final

from manywheels.data import table
from manywheels.errors import InputError, SelectionError
from manywheels.plan import cibuildwheel, inputs, option_types, platforms, target_options
from manywheels.plan.assignments import run_commands
from manywheels.plan.container_engine import ContainerEngine, parse_container_engine
from manywheels.plan.inputs import OriginKind, Value
from manywheels.plan.platforms import Platform
from manywheels.plan.project import Project
from manywheels.plan.setting import Setting
from manywheels.plan.settings import Settings, read_build_settings
from manywheels.plan.sharding import parse_shard
from manywheels.plan.target_options import TargetOptions
from manywheels.plan.targets import (
    Selection,
    Target,
    candidates,
    expand_patterns,
    known_targets,
    matches,
    require_match,
)
from manywheels.wheels.manifest import Shard

TOOLCHAINS: Final = ("auto", "zig", "system")
ENGINES: Final = ("auto", "host", "container")
COMPILER_CACHES: Final = ("run", "keep", "off")


class NothingToBuild(Exception):
    """No target is selected, and `allow-empty` is set."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """A build's options. Limits are in seconds; `jobs` is None for automatic, `shard` for the whole plan.

    `by_target` and `by_platform`: every known target; `selected`: those that the selection means on some machine.
    `fresh`: whether no earlier run's wheel is kept. `left_out`: targets that only cibuildwheel would build, and why.
    `notes`: warnings about the settings.
    """

    output_dir: Path
    selection: Selection
    jobs: int | None
    timeout: float
    silence_limit: float
    test_timeout: float
    verbose: bool
    allow_missing: bool
    by_target: Mapping[Target, TargetOptions]
    by_platform: Mapping[Target, Platform]
    selected: tuple[Target, ...]
    compiler_cache: str = "run"
    fresh: bool = False
    clear: bool = False
    sdist: bool = False
    from_sdist: bool = False
    toolchain: str = "auto"
    shard: Shard | None = None
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)
    container_engine: ContainerEngine = field(default_factory=ContainerEngine)
    settings: Settings = field(default=Settings(rows=()), compare=False, repr=False)

    @property
    def known_targets(self) -> tuple[Target, ...]:
        """All targets of the run's platforms."""
        return tuple(self.by_target)

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """The platforms of this job's selected targets; of all, if none is selected.

        The job of one architecture (`shard`) prepares nothing for the others.
        """
        arch = self.shard.arch if self.shard else ""
        return self.platforms_of(target for target in self.selected or self.known_targets if arch in {"", target.arch})

    def platform_of(self, target: Target) -> Platform:
        return self.by_platform[target]

    def platforms_of(self, targets: Iterable[Target]) -> tuple[Platform, ...]:
        """The platforms of these targets, each once."""
        return tuple(dict.fromkeys(self.by_platform[target] for target in targets))

    @property
    def environment_pass(self) -> tuple[str, ...]:
        """The caller's variables that any target's build may see."""
        return tuple(dict.fromkeys(name for own in self.by_target.values() for name in own.environment_pass))

    @property
    def test_images(self) -> tuple[str, ...]:
        """The images of `test-in`."""
        images = (own.tests.image for own in self.by_target.values() if own.tests)
        return tuple(dict.fromkeys(filter(None, images)))

    def for_target(self, target: Target) -> TargetOptions:
        return self.by_target[target]

    def of_part(self, identifiers: Collection[str]) -> Options:
        """Return the options of a part of a run that another program has planned: exactly these targets.

        Raises InputError if one is not known here.
        """
        own = tuple(target for target in self.known_targets if target.identifier in identifiers)
        if unknown := sorted(set(identifiers) - {target.identifier for target in own}):
            raise InputError(
                f"--part: there is no target {', '.join(unknown)} here.",
                remedy="`--part` is for manywheels alone, which starts itself in containers; use `build`.",
            )
        return replace(
            self,
            selection=Selection(build=tuple(target.identifier for target in own), by_name=False),
            by_target={target: self.by_target[target] for target in own},
            by_platform={target: self.by_platform[target] for target in own},
            selected=own,
            shard=None,
        )


def resolve(
    given: Mapping[str, Value],
    project: Project,
    *,
    toolchain: str = "auto",
    environment: Mapping[str, str] = os.environ,
    one_image: bool = False,
) -> Options:
    """`one_image`: this run is bound to the image around it, and has no container engine for others.

    Raises InputError for the first invalid value; SelectionError; NothingToBuild if that is allowed.
    """
    settings = read_build_settings(given, project, environment)
    only = parse_only(settings.value("only"))
    settings = _with_only(settings, only)

    bases = {
        target: platform
        for platform in platforms.base_platforms(settings, only, one_image=one_image)
        for target in known_targets(platform.policy.family, platform.arch)
    }
    targets = tuple(bases)
    selection, chosen = _selected(settings, targets, project)
    settings = settings.counting_for(chosen)
    by_platform = {target: platforms.platform_of(base, target, settings) for target, base in bases.items()}
    platforms.require_one_image(settings, {target: by_platform[target] for target in chosen})
    by_target = _by_target(settings, targets, project)
    _require_no_commands(settings, by_target)
    return Options(
        output_dir=Path(settings.parsed("output-dir", inputs.parse_path)),
        selection=selection,
        jobs=settings.parsed("jobs", inputs.parse_jobs),
        timeout=settings.parsed("timeout", inputs.parse_duration),
        silence_limit=settings.parsed("silence-limit", inputs.parse_duration),
        test_timeout=settings.parsed("test-timeout", inputs.parse_duration),
        verbose=settings.parsed("verbose", inputs.parse_flag),
        allow_missing=settings.parsed("allow-missing", inputs.parse_flag),
        compiler_cache=settings.parsed("compiler-cache", partial(inputs.parse_choice, choices=COMPILER_CACHES)),
        fresh=settings.parsed("fresh", inputs.parse_flag),
        clear=settings.parsed("clear", inputs.parse_flag),
        sdist=settings.parsed("sdist", inputs.parse_flag),
        from_sdist=settings.parsed("from-sdist", inputs.parse_flag),
        by_target=by_target,
        by_platform=by_platform,
        selected=chosen,
        toolchain=toolchain,
        shard=_shard(settings, environment),
        left_out=_left_out(settings, project, targets),
        notes=(
            *settings.notes,
            *(platforms.note_on_one_image(settings) if one_image and only is None else ()),
            *_notes_on_patterns(settings),
            *_notes_on_before_all(settings, targets),
        ),
        container_engine=settings.parsed("container-engine", parse_container_engine),
        settings=settings,
    )


def _shard(settings: Settings, environment: Mapping[str, str]) -> Shard | None:
    value = settings.value("shard")
    if value.is_default:  # a build's settings have no defaults of inputs that pyproject.toml cannot set
        value = inputs.default(inputs.declared_inputs()["shard"].default)
    return parse_shard(value, "shard", environment)


# --- `only` -----------------------------------------------------------------------------------------------------------


def parse_only(value: Value) -> Target | None:
    """Return the target of `only`. Raises InputError."""
    if not value.value:
        return None
    for family, arch in product(("manylinux", "musllinux"), option_types.ARCHS):
        for target in known_targets(family, arch):
            if target.identifier == value.value:
                return target
    elsewhere = re.search("-(macosx|win|pyodide|android|ios)", value.value)
    allowed = "one identifier, as `cp312-manylinux_x86_64`; `manywheels plan` shows them"
    raise inputs.refuse(value, "only", "manywheels builds for Linux only: " * bool(elsewhere) + allowed)


def _with_only(settings: Settings, only: Target | None) -> Settings:
    if only is None:
        return settings
    given, archs = settings.value("only"), settings.value("archs")
    if archs.origin.kind in {OriginKind.COMMAND_LINE, OriginKind.WORKFLOW} and archs.value != only.arch:
        raise InputError(
            f"{archs.origin}: it cannot be given beside `only`, which names the architecture itself.",
            remedy="Leave out one of them.",
        )
    values = {"build": only.identifier, "skip": "", "enable": "all", "archs": only.arch}
    return settings.with_values({name: replace(given, value=value) for name, value in values.items()})


# --- which targets ----------------------------------------------------------------------------------------------------


def _selected(
    settings: Settings, targets: tuple[Target, ...], project: Project
) -> tuple[Selection, tuple[Target, ...]]:
    """Return the selection, and the targets that it selects on some machine."""
    may_be_empty = settings.parsed("allow-empty", inputs.parse_flag)
    try:
        selection = _selection(settings, targets)
    except SelectionError as error:
        if may_be_empty:
            raise NothingToBuild(error.message) from None
        raise
    chosen = candidates(selection, targets, project.requires_python)
    if not chosen and may_be_empty:
        raise NothingToBuild(f"No target is selected by `build`, `{settings.value('build').value}`.")
    return selection, chosen


def _selection(settings: Settings, targets: tuple[Target, ...]) -> Selection:
    build, skip = settings.value("build"), settings.value("skip")
    enable = _groups(settings)
    by_name = not build.is_default and not settings.is_from_cibuildwheel("build")
    if settings.is_from_cibuildwheel("build"):
        names = cibuildwheel.matching(
            build.value, [target for target in targets if not target.group or target.group in enable]
        )
        if not names:
            raise SelectionError(
                f"{build.origin}: `{build.value}` selects no target of this platform.",
                remedy="`manywheels plan --build '*'` shows what there is.",
            )
    else:
        names = _parse_patterns(build, "build")
        if not by_name:  # the default lists targets one by one; enabled groups are added
            names += tuple(target.tag for target in targets if target.group in enable - {""})
    return Selection(
        build=names,
        skip=_meant(settings, "skip", targets, expand_patterns(skip.value)),
        enable=enable,
        by_name=by_name,
        is_default=build.is_default,
    )


def _meant(settings: Settings, name: str, targets: tuple[Target, ...], own: tuple[str, ...]) -> tuple[str, ...]:
    """Return our patterns, or the identifiers that cibuildwheel's match here."""
    return cibuildwheel.matching(settings.value(name).value, targets) if settings.is_from_cibuildwheel(name) else own


def _parse_patterns(value: Value, name: str) -> tuple[str, ...]:
    patterns = expand_patterns(value.value)
    if not patterns:
        raise inputs.refuse(value, name, "patterns over target identifiers, as `cp312-*`")
    return patterns


def _groups(settings: Settings) -> frozenset[str]:
    value = settings.value("enable")
    if settings.is_from_cibuildwheel("enable"):
        return cibuildwheel.groups(value)
    known = table("interpreters")["groups"]
    words = frozenset(inputs.parse_words(value, "enable"))
    if words - {"all", *known}:
        raise inputs.refuse(value, "enable", ", ".join(f"`{group}`" for group in ("all", *known)))
    return frozenset(known) if "all" in words else words


def _left_out(settings: Settings, project: Project, targets: tuple[Target, ...]) -> tuple[tuple[str, str], ...]:
    """Return what only cibuildwheel has: its interpreters that no manywheels builds for."""
    if not settings.is_from_cibuildwheel("build"):
        return ()
    selector = cibuildwheel.Selector(
        build=cibuildwheel.patterns(settings.value("build").value),
        skip=cibuildwheel.patterns(settings.value("skip").value),
        enable=_groups(settings),
    )
    known = {target.identifier for target in targets}
    built = {identifier.partition("-")[2] for identifier in known}
    archs = dict.fromkeys(target.arch for target in targets)
    selected = (name for arch in archs for name in cibuildwheel.selected(selector, arch, project.requires_python))
    return tuple(
        (identifier, "no such interpreter here")
        for identifier in selected
        if identifier not in known and identifier.partition("-")[2] in built
    )


# --- how --------------------------------------------------------------------------------------------------------------


def _by_target(settings: Settings, targets: tuple[Target, ...], project: Project) -> dict[Target, TargetOptions]:
    """Targets with the same overrides share an object."""
    for row in settings.rows:
        if not row.from_cibuildwheel:
            _check_row(row)
    skipped = _untested(settings, targets)
    without_projects = settings.without_projects()
    shared: dict[tuple[tuple[Setting, ...], bool], TargetOptions] = {}
    result = {}
    for target in targets:
        key = (settings.overriding(target), target not in skipped)
        if key not in shared:
            values = partial(settings.value, target=target), partial(without_projects.value, target=target)
            for name, parser in target_options.PARSERS.items():  # also those of tests that are not run
                parser(values[0](name), name)
            shared[key] = target_options.parse_target_options(*values, tested=key[1])
            _require_constraints(shared[key], settings.value("dependency-versions", target), project)
        result[target] = shared[key]
    return result


def _require_no_commands(settings: Settings, by_target: Mapping[Target, TargetOptions]) -> None:
    """Raise InputError if tests in another image would need values that commands make in this one."""
    for target, own in by_target.items():
        for name, made in (("environment", own.environment), ("test-environment", own.tests and own.tests.environment)):
            if own.tests and own.tests.image and made and run_commands(made):
                raise InputError(
                    f"{settings.value(name, target).origin}: a `$(command)` in `{name}` has its value in the image "
                    "that builds, which is not the one of `test-in`.",
                    remedy="Leave out `test-in`, or write the value without a command.",
                )


def _notes_on_patterns(settings: Settings) -> Iterator[str]:
    """Yield cibuildwheel's patterns that leave nothing out; our own must match a target."""
    for name in ("skip", "test-skip"):
        value = settings.value(name)
        for pattern in cibuildwheel.idle_patterns(value.value, _groups(settings)) if value.value else ():
            if settings.is_from_cibuildwheel(name):
                yield f"{value.origin}: `{pattern}` matches no target of an enabled group, and has no effect."


def _notes_on_before_all(settings: Settings, targets: tuple[Target, ...]) -> tuple[str, ...]:
    """Return a note on the project's variables, which a `before-all` from elsewhere does not get."""
    left_out: dict[str, None] = {}
    for target in targets:
        command = settings.value("before-all", target)
        variables = (settings.value(name, target) for name in ("environment", "environment-pass"))
        if command.value and not command.is_projects:
            left_out |= {str(value.origin): None for value in variables if value.is_projects and value.value}
    text = (
        "`before-all` runs without the variables of {}: only a `before-all` of the project's own files gets these. "
        "If the command needs them, give `environment` as the workflow's input, too."
    )
    return (text.format(", ".join(left_out)),) if left_out else ()


def _check_row(row: Setting) -> None:
    """Check our own values even in overrides for targets not built now."""
    if parser := {**target_options.PARSERS, "image": inputs.parse_image}.get(row.name):
        parser(row.value, row.name)


def _require_constraints(own: TargetOptions, value: Value, project: Project) -> None:
    name = own.constraints.file
    if not name or project.is_sdist:
        return
    file, folder = (project.path / name).resolve(), project.path.resolve()
    if not file.is_file() or not file.is_relative_to(folder):
        raise InputError(
            f"{value.origin}: there is no file `{name}` in the project.",
            remedy="Name a constraints file by its path in the project, or give `latest` or `packages: …`.",
        )


def _untested(settings: Settings, targets: tuple[Target, ...]) -> set[Target]:
    patterns = expand_patterns(settings.value("test-skip").value)
    if not settings.is_from_cibuildwheel("test-skip"):
        for pattern in patterns:
            require_match(pattern, targets, "test-skip")
    patterns = _meant(settings, "test-skip", targets, patterns)
    return {target for target in targets if any(matches(target, pattern) for pattern in patterns)}
