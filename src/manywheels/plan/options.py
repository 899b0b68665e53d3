"""A build's options, parsed and combined for each target."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Final

from manywheels.data import table
from manywheels.errors import InputError, SelectionError
from manywheels.plan import architectures, cibuildwheel, inputs, option_types, target_options
from manywheels.plan.assignments import run_commands
from manywheels.plan.container_engine import ContainerEngine, parse_container_engine
from manywheels.plan.inputs import OriginKind, Value
from manywheels.plan.policies import Policy, policies, policy_named
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
# What cibuildwheel calls a platform.
_LINUX: Final = frozenset({"auto", "linux"})
_POLICY_NAME: Final = re.compile(r"(many|musl)linux\w*")  # else it is an image
ENGINES: Final = ("auto", "host", "container")


class NothingToBuild(Exception):
    """No target is selected, and `allow-empty` is set."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """A build's options. Limits are in seconds; `jobs` is None for automatic, `shard` for the whole plan.

    `image`: empty for the policy's own. `by_target`: every known target. `left_out`: targets that only cibuildwheel
    would build, with the reason. `notes`: warnings about the settings.
    """

    output_dir: Path
    selection: Selection
    platform: Policy
    image: str
    arch: str
    jobs: int | None
    timeout: float
    silence_limit: float
    test_timeout: float
    test_in: str
    verbose: bool
    allow_missing: bool
    by_target: Mapping[Target, TargetOptions]
    toolchain: str = "auto"
    shard: Shard | None = None
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)
    container_engine: ContainerEngine = field(default_factory=ContainerEngine)
    settings: Settings = field(default=Settings(rows=()), compare=False, repr=False)

    @property
    def known_targets(self) -> tuple[Target, ...]:
        """All targets of this policy and architecture."""
        return tuple(self.by_target)

    @property
    def environment_pass(self) -> tuple[str, ...]:
        """The caller's variables that any target's build may see."""
        return tuple(dict.fromkeys(name for own in self.by_target.values() for name in own.environment_pass))

    def for_target(self, target: Target) -> TargetOptions:
        return self.by_target[target]


def resolve(
    given: Mapping[str, Value],
    project: Project,
    *,
    toolchain: str = "auto",
    environment: Mapping[str, str] = os.environ,
) -> Options:
    """Raises InputError for the first invalid value; SelectionError; NothingToBuild if that is allowed."""
    settings = read_build_settings(given, project, environment)
    only = parse_only(settings.value("only"))
    settings = _with_only(settings, only)

    arch, other_archs = _arch(settings)
    platform, image = _platform(settings, arch, only)
    targets = known_targets(platform.family, arch)
    selection, chosen = _selected(settings, targets, project)
    settings = settings.counting_for(chosen)
    by_target = _by_target(settings, targets, project)
    test_in = settings.parsed("test-in", _parse_image)
    if test_in:
        _require_no_commands(settings, by_target)
    return Options(
        output_dir=Path(settings.parsed("output-dir", inputs.parse_path)),
        selection=selection,
        platform=platform,
        image=image,
        arch=arch,
        jobs=settings.parsed("jobs", inputs.parse_jobs),
        timeout=settings.parsed("timeout", inputs.parse_duration),
        silence_limit=settings.parsed("silence-limit", inputs.parse_duration),
        test_timeout=settings.parsed("test-timeout", inputs.parse_duration),
        test_in=test_in,
        verbose=settings.parsed("verbose", inputs.parse_flag),
        allow_missing=settings.parsed("allow-missing", inputs.parse_flag),
        by_target=by_target,
        toolchain=toolchain,
        shard=_shard(settings, environment),
        left_out=_left_out(settings, project, targets),
        notes=(
            *settings.notes,
            *other_archs,
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
    if not settings.is_from_cibuildwheel("build"):
        return ()
    selector = cibuildwheel.Selector(
        build=cibuildwheel.patterns(settings.value("build").value),
        skip=cibuildwheel.patterns(settings.value("skip").value),
        enable=_groups(settings),
    )
    known = {target.identifier for target in targets}
    family = targets[0].family
    others = {"manylinux": "manylinux_2_28", "musllinux": "musllinux_1_2"}
    reasons = {
        name: f"another platform: `--platform {policy}` builds it" if name != family else "no such interpreter here"
        for name, policy in others.items()
    }
    selected = cibuildwheel.selected(selector, targets[0].arch, project.requires_python)
    return tuple(
        (identifier, reasons[identifier.partition("-")[2].partition("_")[0]])
        for identifier in selected
        if identifier not in known
    )


# --- where ------------------------------------------------------------------------------------------------------------


def _arch(settings: Settings) -> tuple[str, tuple[str, ...]]:
    """Return the architecture, and a note on others that cibuildwheel would emulate."""
    value = settings.value("archs")
    machine = architectures.machine()
    wanted = dict.fromkeys(("auto", "native", "auto64", "all"), machine)
    wanted["auto32"] = "i686" if machine == "x86_64" else "armv7l"
    names = [wanted.get(word, word) for word in re.split(r"[\s,]+", value.value.strip())]
    others = tuple(dict.fromkeys(name for name in names if name != machine))
    if machine in names and (not others or settings.is_from_cibuildwheel("archs")):
        text = f"{value.origin}: {', '.join(others)} is not built on this machine, which is {machine}."
        return machine, (text,) if others else ()
    if len(names) == 1 and names[0] in table("machines"):
        return names[0], ()  # in a container, if the engine runs it
    raise InputError(
        f"{value.origin}: this machine is {machine} and cannot build for `{' '.join(others)}`.",
        remedy=f"Run on a machine (or a CI runner) of that architecture, or set `archs` to `auto` or `{machine}`.",
    )


def _platform(settings: Settings, arch: str, only: Target | None) -> tuple[Policy, str]:
    """Return the policy, and an image or ''; `manylinux-<arch>-image` may name either."""
    value = settings.value("platform")
    if value.value in _LINUX:
        value = inputs.default(inputs.declared_inputs()["platform"].default)
    if value.is_default and only and only.family == "musllinux":
        value = replace(settings.value("only"), value="musllinux_1_2")
    by_arch = settings.value(f"manylinux-{arch}-image")
    if value.is_default and by_arch.value and not settings.value("image").value:
        named = re.search(rf"(manylinux\w+?)_{arch}\b", by_arch.value)
        if named or _POLICY_NAME.fullmatch(by_arch.value):
            value = replace(by_arch, value=named[1] if named else by_arch.value)
    policy = _parse_platform(value, "platform")
    if only and only.family != policy.family:
        raise inputs.refuse(value, "platform", f"a {only.family} policy, as `only` is `{only.identifier}`")
    image = settings.value("image")
    if not image.value:
        image = settings.value(f"{policy.family}-{arch}-image")
        if not image.value or _POLICY_NAME.fullmatch(image.value):
            return policy, ""
    return policy, _parse_image(image, "image")


def _parse_platform(value: Value, name: str) -> Policy:
    try:
        return policy_named(value.value)
    except InputError:
        raise inputs.refuse(value, name, ", ".join(f"`{policy.name}`" for policy in policies())) from None


def _parse_image(value: Value, name: str) -> str:
    if value.value and not re.fullmatch(r"[A-Za-z0-9][\w.:/@-]*", value.value):
        raise inputs.refuse(value, name, "an image reference, as `quay.io/pypa/manylinux_2_28_x86_64:latest`")
    return value.value


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
            if own.tests and made and run_commands(made):
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
    if parser := target_options.PARSERS.get(row.name):
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
