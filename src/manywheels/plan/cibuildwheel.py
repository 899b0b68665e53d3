"""cibuildwheel's configuration, `[tool.cibuildwheel]` and `CIBW_…`, read as cibuildwheel reads it on Linux.

It is read where there is no `[tool.manywheels]`, so that a project gets the same wheels without writing its settings
anew. What is meant for other systems is left aside; what manywheels does not carry out is named once, in a note.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from manywheels.data import table
from manywheels.errors import InputError
from manywheels.plan import option_types
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.option_types import Inherit
from manywheels.plan.setting import Setting, read_inherit, read_overrides, read_select
from manywheels.plan.targets import Target, expand_braces

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

_TABLE: Final = "[tool.cibuildwheel]"
_LINUX: Final = "[tool.cibuildwheel.linux]"
_ARCHS: Final = ("x86_64", "i686", "aarch64", "ppc64le", "s390x", "armv7l", "riscv64")
# The project's copy in its containers, where a path begins with it; here every target has one of its own.
_PROJECT: Final = re.compile(r"""(^|[\s=:,;&|(<>`]|(?<![\w}])["']|-[IL]|file://)/project(?![\w.-])""")
_PYPY_IMAGE: Final = re.compile(rf"manylinux-pypy_({'|'.join(_ARCHS)})-image")
_WITH_PLACES: Final = {"commands", "assignments", "settings"}  # the types of options that places are put into
_LIKE_OURS: Final = {
    "build-frontend": {"default": "uv", "": "uv"},
    "build-verbosity": {"": "0"},
    "dependency-versions": {"pinned": "latest", "": "latest"},
    "repair-wheel-command": {"": "none"},
}


def read(
    configuration: Mapping[str, Any] | None, environment: Mapping[str, str]
) -> tuple[tuple[Setting, ...], tuple[str, ...]]:
    """Return what the table and the variables set, lowest precedence first, and notes on what is not carried out.

    Where there is neither, nothing is set. Raises InputError for values that no option of that name can have.
    """
    variables = dict(_variables(environment))
    if configuration is None and not variables:
        return (), tuple(_notes({}, {}, environment))
    configuration = configuration or {}
    linux = configuration.get("linux", {})
    if not isinstance(linux, dict):
        raise InputError(f"{_LINUX}: this is not a table.", remedy=f"Write it as `{_LINUX}` with keys below.")
    overrides = read_overrides(configuration, "tool.cibuildwheel")
    rows = [
        _setting("build", "*", "cibuildwheel's default", OriginKind.DEFAULT),
        *_table_rows(configuration, _TABLE),
        *_table_rows(linux, _LINUX),
    ]
    for number, override in enumerate(overrides, 1):
        rows += _override_rows(override, f"[[tool.cibuildwheel.overrides]] {number}")
    rows += _variable_rows(variables, environment.get("CIBW_INHERIT", ""))
    return tuple(rows), tuple(_notes(configuration, linux, environment))


# --- tables and variables ---------------------------------------------------------------------------------------------


def _shared(name: str) -> bool:
    return name in table("cibuildwheel")["shared"] or bool(option_types.IMAGE_OPTION.fullmatch(name))


def _table_rows(values: Mapping[str, Any], origin: str, select: tuple[str, ...] = ()) -> Iterator[Setting]:
    inherit = read_inherit(values.get("inherit", {}), (*values, *table("cibuildwheel")["shared"]), origin)
    for name, value in values.items():
        if _shared(name) and not (value == "" and _ignores_empty(name)):
            place = f"{origin} {name}"
            text = option_types.write(name, _as_python_writes(value), place)
            if name in {"environment", "test-environment"} and isinstance(value, dict):
                text = " ".join(f'{key}="{item}"' for key, item in value.items())  # its quotes are a shell's
            yield _setting(name, text, place, OriginKind.PROJECT, select=select, rule=inherit.get(name, Inherit.NONE))


def _override_rows(override: Mapping[str, Any], origin: str) -> Iterator[Setting]:
    select = read_select(override.get("select"), origin)
    if any(_matches(identifier, select) for identifier in _every_identifier()):  # else it is another system's
        yield from _table_rows({name: value for name, value in override.items() if name != "select"}, origin, select)


def _variables(environment: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each variable that sets an option: its name, the option, and the value."""
    images = (f"{family}-{arch}-image" for family in ("manylinux", "musllinux") for arch in _ARCHS)
    facts = table("cibuildwheel")
    for name in (*facts["shared"], *images):
        plain = f"CIBW_{name.upper().replace('-', '_')}"
        by_platform = () if name in facts["not_by_platform"] or name.endswith("-image") else (f"{plain}_LINUX",)
        for variable in (plain, *by_platform):
            if variable in environment and not (environment[variable] == "" and _ignores_empty(name)):
                yield variable, (name, environment[variable])


def _variable_rows(variables: Mapping[str, tuple[str, str]], inherit: str) -> Iterator[Setting]:
    shared = table("cibuildwheel")["shared"]
    rules = read_inherit(inherit, (*shared, *(f"{name}-linux" for name in shared)), "CIBW_INHERIT")
    for variable, (name, value) in variables.items():
        key = f"{name}-linux" if variable.endswith("_LINUX") else name
        usual = Inherit.APPEND if name == "enable" else Inherit.NONE
        yield _setting(name, value, variable, OriginKind.VARIABLE, rule=rules.get(key, usual))


def _setting(
    name: str, text: str, origin: str, source: OriginKind, *, select: tuple[str, ...] = (), rule: Inherit = Inherit.NONE
) -> Setting:
    text = _LIKE_OURS.get(name, {}).get(text, text)
    if name == "build-verbosity" and re.fullmatch(r"[+-]?\d+", text):
        text = str(min(3, max(-3, int(text))))  # what goes beyond is the most that there is
    if table("options").get(name, {}).get("type") in _WITH_PLACES:
        text = _PROJECT.sub(r"\1{project}", text)
    given = Value(value=text, origin=Origin(source, origin))
    return Setting(name=name, value=given, select=select, rule=rule, from_cibuildwheel=True)


def _ignores_empty(name: str) -> bool:
    return name in {"build", "archs"} or name.endswith("-image")


def _as_python_writes(value: object) -> object:
    """Write truth values as cibuildwheel does, `True` and `False`."""
    match value:
        case bool():
            return str(value)
        case list():
            return [str(item) for item in value]
        case dict():
            return {key: _as_python_writes(item) for key, item in value.items()}
    return value


# --- what is not carried out ------------------------------------------------------------------------------------------


def _notes(configuration: Mapping[str, Any], linux: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[str]:
    facts = table("cibuildwheel")
    own = {"overrides", "inherit", "linux", *facts["aside"], *facts["unsupported"]}
    overridden = [name for override in configuration.get("overrides", []) for name in override if name != "select"]
    for name in dict.fromkeys((*configuration, *linux, *overridden)):
        if name in facts["unsupported"]:
            yield f"{_TABLE} {name} is not carried out: {facts['unsupported'][name]}."
        elif name not in own and not _shared(name) and not _PYPY_IMAGE.fullmatch(name):
            near = difflib.get_close_matches(name, facts["shared"], n=1)
            hint = f"; did you mean `{near[0]}`?" if near else "."
            yield f"{_TABLE} {name} is no option that cibuildwheel knows, and is not read{hint}"
    yield from _pypy_notes(configuration, linux, environment)
    for name in dict.fromkeys(name for name in overridden if name.endswith("-image")):
        yield f"{_TABLE} overrides: {name} is not carried out: a run has one image."
    for name, instead in facts["unsupported_variables"].items():
        if environment.get(name):
            yield f"{name} is not carried out: {instead}."


def _pypy_notes(
    configuration: Mapping[str, Any], linux: Mapping[str, Any], environment: Mapping[str, str]
) -> Iterator[str]:
    """Yield the images that are named for PyPy alone, where PyPy is enabled at all."""
    enabled = f"{configuration.get('enable', '')} {linux.get('enable', '')} {environment.get('CIBW_ENABLE', '')}"
    if re.search(r"\b(pypy|all)\b", enabled):
        names = [f"{_TABLE} {name}" for name in dict.fromkeys((*configuration, *linux)) if _PYPY_IMAGE.fullmatch(name)]
        variables = [f"CIBW_MANYLINUX_PYPY_{arch.upper()}_IMAGE" for arch in _ARCHS]
        for name in (*names, *(variable for variable in variables if environment.get(variable))):
            yield f"{name} is not carried out: a run has one image, and PyPy's wheels are built in it, too."


# --- selection --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Selector:
    """What cibuildwheel selects by: patterns over identifiers, and the groups of `enable`."""

    build: tuple[str, ...]
    skip: tuple[str, ...]
    enable: frozenset[str]


def patterns(text: str) -> tuple[str, ...]:
    """Return the patterns in a value: split at blanks, braces expanded."""
    return tuple(pattern for word in text.split() for pattern in expand_braces(word))


def meant(text: str, targets: Iterable[Target]) -> tuple[str, ...]:
    """Return the identifiers of the targets that cibuildwheel's patterns mean; they may mean others, not here."""
    wanted = patterns(text)
    return tuple(target.identifier for target in targets if _matches(target.identifier, wanted))


def groups(given: Value) -> frozenset[str]:
    """Return the groups that `enable` names. Raises InputError for one that cibuildwheel has never had."""
    known = table("cibuildwheel")["groups"]
    former = table("interpreters")["groups"]
    words = given.value.split()
    for word in words:
        if word not in {"all", *known, *former}:
            raise InputError(
                f"{given.origin}: `{word}` is not a group of `enable`.", remedy=f"Allowed: all, {', '.join(known)}."
            )
    return frozenset(words) | (frozenset(known) if "all" in words else frozenset())


def offered(arch: str) -> Iterator[tuple[str, str]]:
    """Yield the identifiers that cibuildwheel has for an architecture, each with its group."""
    for row in table("cibuildwheel")["interpreter"]:
        if arch in row.get("archs", (arch,)):
            for family in row["families"]:
                yield from ((f"{tag}-{family}_{arch}", row.get("group", "")) for tag in row["ids"])


def selected(selector: Selector, arch: str, requires_python: SpecifierSet | None) -> tuple[str, ...]:
    """Return the identifiers that cibuildwheel would build for an architecture, as `--print-build-identifiers` does."""
    return tuple(
        identifier
        for identifier, group in offered(arch)
        if (not group or group in selector.enable)
        and _matches(identifier, selector.build)
        and not _matches(identifier, selector.skip)
        and (requires_python is None or requires_python.contains(f"{_version(identifier)}.99"))
    )


def _version(identifier: str) -> str:
    found = re.match(r"[a-z]+(\d)(\d+)", identifier)
    assert found is not None  # noqa: S101 - the identifiers are ours
    return f"{found[1]}.{found[2]}"


def _matches(identifier: str, wanted: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(identifier, pattern) for pattern in wanted)


def _every_identifier() -> Iterator[str]:
    return (identifier for arch in _ARCHS for identifier, _ in offered(arch))
