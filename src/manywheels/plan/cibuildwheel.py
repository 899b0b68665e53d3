"""cibuildwheel's configuration, `[tool.cibuildwheel]` and `CIBW_…`, read as cibuildwheel does on Linux.

Used if `[tool.manywheels]` has no options. Unsupported options are listed in notes, other systems' ignored.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from manywheels.data import table
from manywheels.errors import InputError
from manywheels.plan import option_types
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.option_types import ARCHS, Inherit
from manywheels.plan.setting import Setting, read_inherit, read_overrides, read_select
from manywheels.plan.targets import Target, expand_braces, known_interpreters

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

_TABLE: Final = "[tool.cibuildwheel]"
_LINUX: Final = "[tool.cibuildwheel.linux]"
# Where cibuildwheel's containers have the project; here every target has its own copy.
_PROJECT: Final = re.compile(r"""(^|[\s=:,;&|(<>`]|(?<![\w}])["']|-[IL]|file://)/project(?![\w.-])""")
_WITH_PLACES: Final = {"commands", "assignments", "settings"}  # option types with placeholders such as `{project}`
_TRUE: Final = frozenset({"y", "yes", "t", "true", "on", "1"})  # what cibuildwheel takes for it
_DEFAULTS: Final = {"build": "*", "audit-requires": "abi3audit"}
_EQUIVALENTS: Final = {
    "build-frontend": {"default": "uv", "": "uv"},
    "build-verbosity": {"": "0"},
    "dependency-versions": {"pinned": "latest", "": "latest"},
    "repair-wheel-command": {"": "none"},
}


def read(
    configuration: Mapping[str, Any] | None, environment: Mapping[str, str]
) -> tuple[tuple[Setting, ...], tuple[str, ...]]:
    """Return the given values, lowest precedence first, and notes on unsupported ones.

    Raises InputError for values of the wrong type.
    """
    variables = dict(_variables(environment))
    rules = _variables_inherit(environment.get("CIBW_INHERIT", ""))
    _require_linux(environment.get("CIBW_PLATFORM", ""))
    if configuration is None and not variables:
        return tuple(_run_rows(environment)), tuple(_notes({}, {}, environment))
    configuration = configuration or {}
    linux = configuration.get("linux", {})
    if not isinstance(linux, dict):
        raise InputError(f"{_LINUX}: this is not a table.", remedy=f"Write it as `{_LINUX}` with keys below.")
    _require_known((*configuration, *linux))
    overrides = read_overrides(configuration, "tool.cibuildwheel")
    rows = [
        *(_setting(name, text, "cibuildwheel's default", OriginKind.DEFAULT) for name, text in _DEFAULTS.items()),
        *_table_rows(configuration, _TABLE),
        *_table_rows(linux, _LINUX),
    ]
    for number, override in enumerate(overrides, 1):
        rows += _override_rows(override, f"[[tool.cibuildwheel.overrides]] {number}")
    rows += [*_variable_rows(variables, rules), *_run_rows(environment)]
    return tuple(rows), tuple(_notes(configuration, linux, environment))


# --- tables and variables ---------------------------------------------------------------------------------------------


def _is_shared(name: str) -> bool:
    return name in table("cibuildwheel")["shared"] or bool(option_types.IMAGE_OPTION.fullmatch(name))


def _table_rows(values: Mapping[str, Any], origin: str, select: tuple[str, ...] = ()) -> Iterator[Setting]:
    inherit = read_inherit(values.get("inherit", {}), _every_option(), origin)
    for name, value in values.items():
        if _is_shared(name) and not (value == "" and _ignores_empty(name)):
            place, problem = f"{origin} {name}", None
            try:
                text = _text(name, value, place)
            except InputError as error:
                if not select:
                    raise
                text, problem = "", error
            row = _setting(name, text, place, OriginKind.PROJECT, select=select, rule=inherit.get(name, Inherit.NONE))
            yield replace(row, problem=problem)


def _text(name: str, value: object, place: str) -> str:
    kind = "build-frontend" if name == "container-engine" else name  # the same type
    text = option_types.write(kind, _as_python_writes(value), place)
    if name in {"environment", "test-environment"} and isinstance(value, dict):
        return " ".join(f'{key}="{item}"' for key, item in value.items())  # quotes keep their shell meaning
    return text


def _override_rows(override: Mapping[str, Any], origin: str) -> Iterator[Setting]:
    select = read_select(override.get("select"), origin)
    if any(_matches(identifier, select) for identifier in _every_identifier()):  # else it is for another system
        yield from _table_rows({name: value for name, value in override.items() if name != "select"}, origin, select)


def _variables(environment: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, str]]]:
    facts = table("cibuildwheel")
    for name in (*facts["shared"], *option_types.IMAGE_OPTIONS):
        plain = f"CIBW_{name.upper().replace('-', '_')}"
        by_platform = () if name in facts["not_by_platform"] or name.endswith("-image") else (f"{plain}_LINUX",)
        for variable in (plain, *by_platform):
            if variable in environment and not (environment[variable] == "" and _ignores_empty(name)):
                yield variable, (name, environment[variable])


def _variables_inherit(text: str) -> Mapping[str, Inherit]:
    """Raises InputError, even if no variable is set that a rule is for."""
    names = _every_option()
    by_platform = (f"{name}-{platform}" for name in names for platform in table("cibuildwheel")["platforms"])
    return read_inherit(text, (*names, *by_platform), "CIBW_INHERIT")


def _variable_rows(variables: Mapping[str, tuple[str, str]], rules: Mapping[str, Inherit]) -> Iterator[Setting]:
    for variable, (name, value) in variables.items():
        key = f"{name}-linux" if variable.endswith("_LINUX") else name
        usual = Inherit.APPEND if name == "enable" else Inherit.NONE
        yield _setting(name, value, variable, OriginKind.VARIABLE, rule=rules.get(key, usual))


def _run_rows(environment: Mapping[str, str]) -> Iterator[Setting]:
    for name, variable in table("cibuildwheel")["run_variables"].items():
        if text := environment.get(variable, ""):
            if name == "allow-empty":
                text = str(text.lower() in _TRUE).lower()
            yield _setting(name, text, variable, OriginKind.VARIABLE)


def _require_linux(platform: str) -> None:
    if platform not in {"", "auto", "linux"}:
        raise InputError(
            f"CIBW_PLATFORM: manywheels builds for Linux only, not for `{platform}`.",
            remedy="Remove it, or build for that platform with cibuildwheel in another job.",
        )


def _setting(
    name: str, text: str, origin: str, kind: OriginKind, *, select: tuple[str, ...] = (), rule: Inherit = Inherit.NONE
) -> Setting:
    text = _EQUIVALENTS.get(name, {}).get(text, text)
    if name == "build-verbosity":  # pip has no further levels; what is no number is 0 there
        text = str(min(3, max(-3, int(text)))) if re.fullmatch(r"[+-]?\d{1,9}", text) else "0"
    if table("options").get(name, {}).get("type") in _WITH_PLACES:
        text = _PROJECT.sub(r"\1{project}", text)
    value = Value(value=text, origin=Origin(kind, origin))
    return Setting(name=name, value=value, select=select, rule=rule, from_cibuildwheel=True)


def _ignores_empty(name: str) -> bool:
    return name in {"build", "archs"} or name.endswith("-image")


def _as_python_writes(value: object) -> object:
    """cibuildwheel writes booleans as `True` and `False`."""
    match value:
        case bool():
            return str(value)
        case list():
            return [str(item) for item in value]
        case dict():
            return {key: _as_python_writes(item) for key, item in value.items()}
    return value


# --- what is not known ------------------------------------------------------------------------------------------------


def _every_option() -> tuple[str, ...]:
    """Return every option that cibuildwheel knows, whether it is carried out or not."""
    facts = table("cibuildwheel")
    return (*facts["shared"], *facts["aside"], *facts["unsupported"], *option_types.IMAGE_OPTIONS)


def _require_known(names: Iterable[str]) -> None:
    """Raise InputError for a name that no version of cibuildwheel has."""
    facts = table("cibuildwheel")
    known = {*_every_option(), *facts["platforms"], *facts["former"], "overrides", "inherit"}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            raise InputError(
                f"{_TABLE}: cibuildwheel knows no option `{name}`.",
                remedy=f"Did you mean `{near[0]}`?" if near else "Remove it: cibuildwheel refuses it as well.",
            )


# --- what is not supported --------------------------------------------------------------------------------------------


def _notes(configuration: Mapping[str, Any], linux: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[str]:
    facts = table("cibuildwheel")
    own = {"overrides", "inherit", *facts["platforms"], *facts["aside"], *facts["unsupported"]}
    overridden = [name for override in configuration.get("overrides", []) for name in override if name != "select"]
    for name in dict.fromkeys((*configuration, *linux, *overridden)):
        if name in facts["unsupported"]:
            yield f"{_TABLE} {name} is not carried out: {facts['unsupported'][name]}."
        elif name not in own and not _is_shared(name):
            yield f"{_TABLE} {name} is no option that cibuildwheel knows, and is not read."
    if "container-engine" in overridden:
        yield f"{_TABLE} overrides: container-engine is not carried out: a run has one container engine."
    for name, instead in facts["unsupported_variables"].items():
        if environment.get(name):
            yield f"{name} is not carried out: {instead}."


# --- selection --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Selector:
    """cibuildwheel's selection: identifier patterns, and the groups of `enable`."""

    build: tuple[str, ...]
    skip: tuple[str, ...]
    enable: frozenset[str]


def patterns(text: str) -> tuple[str, ...]:
    return tuple(pattern for word in text.split() for pattern in expand_braces(word))


def matching(text: str, targets: Iterable[Target]) -> tuple[str, ...]:
    """Return the identifiers of targets that cibuildwheel's patterns match, maybe none."""
    wanted = patterns(text)
    return tuple(target.identifier for target in targets if _matches(target.identifier, wanted))


def groups(value: Value) -> frozenset[str]:
    """Raises InputError for a group that no version of cibuildwheel has."""
    known = table("cibuildwheel")["groups"]
    former = table("interpreters")["groups"]
    words = value.value.split()
    for word in words:
        if word not in {"all", *known, *former}:
            raise InputError(
                f"{value.origin}: `{word}` is not a group of `enable`.", remedy=f"Allowed: all, {', '.join(known)}."
            )
    return frozenset(words) | (frozenset(known) if "all" in words else frozenset())


def offered(arch: str) -> Iterator[tuple[str, str]]:
    """Yield an architecture's identifiers, each with its group, in cibuildwheel's order for each family."""
    own = table("interpreters")["own_groups"]
    for family in ("manylinux", "musllinux"):
        for row in known_interpreters(family, arch):
            if (group := row.get("group", "")) not in own:
                yield f"{row['id']}-{family}_{arch}", group


def selected(selector: Selector, arch: str, requires_python: SpecifierSet | None) -> tuple[str, ...]:
    """Return what cibuildwheel would build, as `--print-build-identifiers` lists it."""
    return tuple(
        identifier
        for identifier, group in offered(arch)
        if (not group or group in selector.enable)
        and _matches(identifier, selector.build)
        and not _matches(identifier, selector.skip)
        and (requires_python is None or requires_python.contains(f"{_version(identifier)}.99"))
    )


def idle_patterns(text: str, enable: frozenset[str]) -> tuple[str, ...]:
    """Return the patterns of `skip` or `test-skip` that match no identifier of an enabled group, on any system."""
    linux = [name for arch in ARCHS for name, group in offered(arch) if not group or group in enable]
    tags = dict.fromkeys(name.partition("-")[0] for name in linux)
    known = linux + [f"{tag}-{system}" for tag in tags for system in table("cibuildwheel")["other_systems"]]
    # `:arm64` after a pattern of `test-skip` is for macOS.
    return tuple(pattern for pattern in patterns(text) if not fnmatch.filter(known, pattern.partition(":")[0]))


def _version(identifier: str) -> str:
    found = re.match(r"[a-z]+(\d)(\d+)", identifier)
    assert found is not None  # noqa: S101 - the identifiers are ours
    return f"{found[1]}.{found[2]}"


def _matches(identifier: str, wanted: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(identifier, pattern) for pattern in wanted)


def _every_identifier() -> Iterator[str]:
    return (identifier for arch in ARCHS for identifier, _ in offered(arch))
