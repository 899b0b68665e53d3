"""Metadata: *.dist-info is valid and complete, and agrees with the file name (core metadata, PEP 639).

License-File in metadata before 2.4, with files in different places, is accepted, as by twine.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.metadata import InvalidMetadata, Metadata, RawMetadata
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from manywheels.verify.model import Check, Problem, Severity, Wheel, short
from manywheels.verify.rendering import rendering_fault
from manywheels.wheels.metadata import NOTHING, read_metadata

_KNOWN_FIELDS: Final = frozenset(
    ["author", "author-email", "classifier", "description", "description-content-type", "download-url", "dynamic",
     "home-page", "import-name", "import-namespace", "keywords", "license", "license-expression", "license-file",
     "maintainer", "maintainer-email", "metadata-version", "name", "obsoletes", "obsoletes-dist", "platform",
     "project-url", "provides", "provides-dist", "provides-extra", "requires", "requires-dist", "requires-external",
     "requires-python", "summary", "supported-platform", "version"]
)  # fmt: skip
_LICENCE_FILE: Final = re.compile(r"(licen[cs]es?|copying|unlicense)\b", re.IGNORECASE)
_MOST_CLAUSES: Final = 50  # of Requires-Python
_LATER_MINORS, _PATCHES = 30, 60  # releases compared with Requires-Python

# The entry points specification, "Data model" and "File format".
_GROUP: Final = re.compile(r"\w+(\.\w+)*")
_REFERENCE: Final = re.compile(r"(?P<module>[\w.]+)(\s*:\s*(?P<object>[\w.]+))?\s*(\[.*\])?")
_LONGEST_LINE: Final = 1_000  # characters; configparser's time grows with the square
_SCRIPTS: Final = frozenset({"console_scripts", "gui_scripts"})
_SCRIPT: Final = re.compile(r"[\w.-]+")  # what the index takes for a script's name


def metadata_is_valid(wheel: Wheel) -> Iterator[Problem]:
    """There is one METADATA file, of a known version, and each of its fields is valid."""
    content = _content(wheel)
    if content is None:
        yield Problem(message="there is not exactly one *.dist-info/METADATA", remedy="Build the wheel again.")
        return
    yield from (
        Problem(
            member=f"{wheel.dist_info}/METADATA",
            message=f"has an invalid `{field}`: {fault}",
            remedy="Correct the field in pyproject.toml; if it is not there, update the build back end.",
        )
        for field, fault in sorted(set(_faults(content)))
        if field != "license-expression"  # MW243
    )


def identity_agrees(wheel: Wheel) -> Iterator[Problem]:
    """METADATA, the file name and the name of *.dist-info have the same project and version."""
    named: list[tuple[str, str | None, str | None]] = []
    content = _content(wheel)
    if content is not None:
        raw, _ = read_metadata(content)
        named.append((f"{wheel.dist_info}/METADATA", raw.get("name"), raw.get("version")))
    if wheel.dist_info is not None:
        stem, _, number = wheel.dist_info.removesuffix(".dist-info").rpartition("-")
        named.append((f"{wheel.dist_info}/", stem, number))
    for member, project, version in named:
        faults = []
        if project is not None and canonicalize_name(project) != wheel.name.name:
            faults.append(f"has the project `{project}`, the file name has `{wheel.name.name}`")
        if version is not None and not _is_version(version, wheel.name.version):
            faults.append(f"has the version `{version}`, the file name has `{wheel.name.version}`")
        wanted = f"{'-'.join(wheel.path.name.split('-')[:2])}.dist-info"
        if not faults and member == f"{wheel.dist_info}/" and wheel.dist_info != wanted:
            faults.append(f"is not named `{wanted}`, where the index looks for it")
        for fault in faults:
            yield Problem(member=member, message=fault, remedy="Do not rename wheels by hand; build the wheel again.")


def description_renders(wheel: Wheel) -> Iterator[Problem]:
    """The long description can be rendered, as the index does before it accepts a file."""
    raw = wheel.metadata
    description = raw.get("description")
    if not description:
        return
    kind, fault = rendering_fault(description, raw.get("description_content_type"), wheel.stop)
    if fault is not None:
        yield Problem(
            member=f"{wheel.dist_info}/METADATA",
            message=f"has a description that cannot be rendered as {kind}: {fault}",
            remedy="Correct the readme, or its content type in pyproject.toml.",
        )


def description_is_there(wheel: Wheel) -> Iterator[Problem]:
    """There is a long description, and its content type is declared."""
    if _content(wheel) is None:
        return
    raw = wheel.metadata
    if not raw.get("description", "").strip():
        yield Problem(
            member=f"{wheel.dist_info}/METADATA",
            message="has no description: the project's page would be empty",
            remedy='Name it in pyproject.toml: `readme = "README.md"`.',
        )
    elif not raw.get("description_content_type"):
        yield Problem(
            member=f"{wheel.dist_info}/METADATA",
            message="declares no Description-Content-Type: the description is treated as reStructuredText",
            remedy='Name the file in pyproject.toml, `readme = "README.md"`: its suffix gives the type.',
        )


def licence_is_valid(wheel: Wheel) -> Iterator[Problem]:
    """License-Expression is an SPDX expression, and every License-File is where the metadata version requires it."""
    raw = wheel.metadata
    member = f"{wheel.dist_info}/METADATA"
    expression = raw.get("license_expression")
    if expression is not None:
        fault = _expression_fault(raw, expression)
        if fault:
            yield Problem(
                member=member,
                message=f"has the License-Expression `{short(expression)}`: {fault}",
                remedy="Write an SPDX expression, as `MIT OR Apache-2.0`; for other licences, `LicenseRef-…`.",
            )
    yield from (
        Problem(
            member=member,
            message=f"names the licence file `{name}`, but there is no `{wheel.dist_info}/licenses/{name}`",
            remedy="Put the file into the source tree and the sdist; if it is there, update the build back end.",
        )
        for name in raw.get("license_files", [])
        if not any(place in wheel.members for place in _licence_places(wheel, raw, name))
    )


def licence_is_there(wheel: Wheel) -> Iterator[Problem]:
    """The wheel contains the text of its licence."""
    if _content(wheel) is None:
        return
    names = [name for name in wheel.members if name.startswith(f"{wheel.dist_info}/")]
    if wheel.metadata.get("license_files") or any(
        "/licenses/" in name or _LICENCE_FILE.match(PurePosixPath(name).name) for name in names
    ):
        return
    yield Problem(
        member=f"{wheel.dist_info}/",
        message="has no licence file",
        remedy='Name it in pyproject.toml: `license-files = ["LICENSE"]`.',
    )


def requires_python_fits(wheel: Wheel) -> Iterator[Problem]:
    """Requires-Python allows each interpreter of the tags; for abi3 and py3, one of that version or later."""
    requires = wheel.metadata.get("requires_python")
    try:
        allowed = SpecifierSet(requires or "")
    except InvalidSpecifier:
        return  # MW240
    if len(allowed) > _MOST_CLAUSES:  # each is compared with each release
        yield Problem(
            member=f"{wheel.dist_info}/METADATA",
            message=f"has a Requires-Python of {len(allowed)} clauses",
            remedy='Write it with a few, as ">=3.9".',
        )
        return
    wanted = sorted({found for tag in wheel.name.tags if (found := _interpreter(tag))})
    for interpreter in wanted:
        if not interpreter.is_allowed(allowed):
            yield Problem(
                member=f"{wheel.dist_info}/METADATA",
                message=f"has Requires-Python `{requires}`, but the tag is for Python 3.{interpreter.minor}"
                f"{' or later' if interpreter.or_later else ''}",
                remedy="Build no wheel for this Python, or include it in Requires-Python.",
            )


def entry_points_are_valid(wheel: Wheel) -> Iterator[Problem]:
    """Scripts in entry_points.txt have names that the index accepts, and functions; a warning for other groups."""
    member = f"{wheel.dist_info}/entry_points.txt"
    content = wheel.read(member)
    if content is None:
        return
    try:
        faults: Iterable[_EntryPointFault] = _entry_point_faults(_parse_entry_points(content))
    except (configparser.Error, UnicodeDecodeError) as error:
        faults = [_EntryPointFault(f"cannot be parsed: {short(str(error))}")]
    remedy = "Correct `[project.scripts]` or `[project.entry-points]`: `name = package.module:object`."
    yield from (
        Problem(member=member, message=fault.message, remedy=remedy, severity=fault.severity) for fault in faults
    )


def _parse_entry_points(content: bytes) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, default_section="")
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names are case-sensitive
    text = content.decode("utf-8")
    if max(map(len, text.splitlines()), default=0) > _LONGEST_LINE:
        raise configparser.Error(f"a line has more than {_LONGEST_LINE:,} characters")
    parser.read_string(text)
    return parser


class _Interpreter(NamedTuple):
    """CPython or PyPy 3.`minor`; with `or_later`, also newer ones."""

    minor: int
    or_later: bool

    def is_allowed(self, specifiers: SpecifierSet) -> bool:
        minors = range(self.minor, self.minor + (_LATER_MINORS if self.or_later else 1))
        return any(f"3.{minor}.{patch}" in specifiers for minor in minors for patch in range(_PATCHES))


def _interpreter(tag: Tag) -> _Interpreter | None:
    found = re.fullmatch(r"(cp|pp|py)3(\d+)", tag.interpreter)
    if found is None:
        return None
    # An abi3 wheel for 3.8 of a project that requires 3.9 does no harm: installers check both.
    return _Interpreter(int(found[2]), or_later=found[1] == "py" or tag.abi in {"abi3", "abi3t"})


def depends_on_others(wheel: Wheel) -> bool:
    """Whether installing the wheel without extras installs other packages."""
    return any(not re.search(r"\bextra\s*==", text) for text in wheel.metadata.get("requires_dist", []))


def _content(wheel: Wheel) -> bytes | None:
    return wheel.read(f"{wheel.dist_info}/METADATA")


def _is_older(raw: RawMetadata, version: str) -> bool:
    try:
        return Version(raw.get("metadata_version", "0")) < Version(version)
    except InvalidVersion:
        return False


def _is_version(text: str, wanted: str) -> bool:
    try:
        return Version(text) == Version(wanted)
    except InvalidVersion:
        return False


def _faults(content: bytes) -> Iterator[tuple[str, str]]:
    raw, unparsed = read_metadata(content)
    for field in unparsed:
        yield field, "it is there twice, or not UTF-8" if field in _KNOWN_FIELDS else "there is no such field"
    if any(text.strip() == NOTHING for text in raw.get("requires_dist", [])):
        yield "requires-dist", "`UNKNOWN` is no dependency, but installers look for a project of that name"
    if _is_older(raw, "2.4"):
        raw.pop("license_files", None)
    try:
        Metadata.from_raw(raw)
    except ExceptionGroup as group:
        for error in group.exceptions:
            if isinstance(error, InvalidMetadata) and error.field not in unparsed:
                yield error.field, short(str(error))
    except RecursionError:
        yield "requires-dist", "a marker is nested too deeply to be parsed"


def _licence_places(wheel: Wheel, raw: RawMetadata, name: str) -> tuple[str, ...]:
    place = f"{wheel.dist_info}/licenses/{name}"
    if not _is_older(raw, "2.4"):
        return (place,)
    base = PurePosixPath(name).name
    return place, f"{wheel.dist_info}/{name}", f"{wheel.dist_info}/{base}", f"{wheel.dist_info}/licenses/{base}"


def _expression_fault(raw: RawMetadata, expression: str) -> str | None:
    if _is_older(raw, "2.4"):
        return f"metadata {raw.get('metadata_version')} has no such field; it came with 2.4"
    try:
        canonicalize_license_expression(expression)
    except (InvalidLicenseExpression, RecursionError, MemoryError) as error:  # the last two: endless parentheses
        return short(str(error))
    return None


class _EntryPointFault(NamedTuple):
    """A warning concerns only who looks the entry point up: installers read scripts alone."""

    message: str
    severity: Severity | None = None


def _entry_point_faults(parser: configparser.ConfigParser) -> Iterator[_EntryPointFault]:
    for group in parser.sections():
        is_script = group in _SCRIPTS
        if not _GROUP.fullmatch(group):
            told = f"has a group `{group}`: only letters, digits and `_` in parts separated by dots are allowed"
            yield _EntryPointFault(told, Severity.WARNING)
        for name, value in parser.items(group):
            if is_script and not _SCRIPT.fullmatch(name):
                told = f"has a script `{name}` in `{group}`: the index accepts letters, digits, `_`, `.` and `-`"
                yield _EntryPointFault(told)
            elif name.startswith("["):
                told = f"has an entry point `{name}` in `{group}`, which begins like a group"
                yield _EntryPointFault(told, Severity.WARNING)
            fault = _reference_fault(value, is_script=is_script)
            if fault:
                told = f"has `{name} = {value}` in `{group}`: {fault}"
                yield _EntryPointFault(told, None if is_script else Severity.WARNING)


def _reference_fault(value: str, *, is_script: bool) -> str | None:
    found = _REFERENCE.fullmatch(value.strip())
    parts = [*found["module"].split("."), *(found["object"] or "x").split(".")] if found else [""]
    if found is None or not all(part.isidentifier() for part in parts):
        return "this is not an object reference"
    if is_script and not found["object"]:
        return "a script needs a function to call, after a colon"
    return None


CHECKS: Final = (
    Check(code="MW240", title="metadata", run=metadata_is_valid,
          reason="The index refuses files with invalid metadata, and installers guess its meaning."),
    Check(code="MW241", title="one identity", run=identity_agrees,
          reason="Installers and the index refuse a wheel with metadata of another project or version."),
    Check(code="MW242", title="description renders", run=description_renders,
          reason="The index refuses files whose description it cannot render."),
    Check(code="MW246", title="description is there", run=description_is_there, severity=Severity.WARNING,
          reason="The description is the project's page on the index."),
    Check(code="MW243", title="licence", run=licence_is_valid,
          reason="The index refuses other expressions, and files that METADATA names must be there (PEP 639)."),
    Check(code="MW247", title="licence text", run=licence_is_there, severity=Severity.WARNING,
          reason="Most licences require their text in every copy."),
    Check(code="MW244", title="Requires-Python", run=requires_python_fits,
          reason="A wheel for an interpreter that its own metadata excludes is never installed."),
    Check(code="MW245", title="entry points", run=entry_points_are_valid,
          reason="The index refuses other names; installers stop at a script without a function, or fail to find it."),
)  # fmt: skip
