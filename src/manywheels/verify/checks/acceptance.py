"""Acceptance: what the index requires of metadata beyond the core metadata specification.

With the index's rules and libraries. What a private index may accept is a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from email.utils import parseaddr
from typing import Final, NamedTuple

from packaging.metadata import RawMetadata
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from manywheels.data import table
from manywheels.verify.model import Check, Problem, Severity, Wheel
from manywheels.wheels.metadata import NOTHING

_SHOWN: Final = 100  # characters
_PRIVATE: Final = "Private ::"


class Fault(NamedTuple):
    """A refused field, and why; with `only_pypi`, an index without PyPI's rules may accept it."""

    field: str
    why: str
    severity: Severity = Severity.ERROR
    only_pypi: bool = False


def _fault_on_pypi(field: str, why: str) -> Fault:
    return Fault(field, why, Severity.WARNING, only_pypi=True)


def index_takes_metadata(wheel: Wheel) -> Iterator[Problem]:
    """The index accepts each field of METADATA; a warning if another index, or a later version of its lists, may."""
    for fault in faults(wheel.metadata):
        yield Problem(
            member=f"{wheel.dist_info}/METADATA",
            message=f"has a `{fault.field}` that the index refuses: {fault.why}",
            remedy="Correct it in pyproject.toml, or ignore this check if the wheel is for another index.",
            severity=fault.severity,
            only_pypi_refuses=fault.only_pypi,
        )


def code_is_readable(wheel: Wheel) -> Iterator[Problem]:
    """No Python file has a mark of PyArmor or SourceDefender, not even in a comment."""
    for member, program in wheel.encrypted.items():
        yield Problem(
            member=member,
            message=f"has a mark of {program}: PyPI refuses encrypted code",
            remedy="Publish the code as it is; if a comment or a text only names the mark, reword it.",
            only_pypi_refuses=True,
        )


def name_is_short(wheel: Wheel) -> Iterator[Problem]:
    """The file name has at most 246 bytes."""
    longest = table("index")["max_name"]
    if (size := len(wheel.path.name.encode())) > longest:
        yield Problem(
            message=f"its name has {size} bytes: PyPI refuses more than {longest}",
            remedy="Shorten the name: fewer tags, or a shorter version.",
            only_pypi_refuses=True,
        )


def faults(raw: RawMetadata) -> Iterator[Fault]:
    """Yield what the index has against metadata that are valid (MW240); `raw` is as `read_metadata` returns it."""
    facts = table("index")["metadata"]
    if raw.get("name", "").strip() == NOTHING:
        yield _fault_on_pypi("Name", "it takes `UNKNOWN` for no name; the build back end found none")
    if (version := raw.get("metadata_version")) and version not in facts["versions"]:
        yield _fault_on_pypi("Metadata-Version", f"it knows {', '.join(facts['versions'])}, not `{_short(version)}`")
    if (local := _local_version(raw.get("version", ""))) is not None:
        yield _fault_on_pypi("Version", f"`+{_short(local)}` makes it a local one")
    longest = facts["summary"]
    if len(raw.get("summary", "")) > longest:
        yield Fault("Summary", f"it has {len(raw['summary'])} characters, more than {longest}")
    if raw.get("license") and raw.get("license_expression"):
        yield Fault("License", "there is a License-Expression, which replaces it")
    for name, address in (("Author-email", raw.get("author_email")), ("Maintainer-email", raw.get("maintainer_email"))):
        if address and (why := _address_fault(address)):
            yield Fault(name, why)
    yield from _classifier_faults(raw.get("classifiers", []))
    yield from _url_faults(raw)
    yield from _dependency_faults("Requires-Dist", raw.get("requires_dist", []))
    yield from _dependency_faults("Provides-Dist", raw.get("provides_dist", []))
    yield from _dependency_faults("Obsoletes-Dist", raw.get("obsoletes_dist", []))
    if any(field.lower() == "dynamic" for field in raw.get("dynamic", [])):
        yield Fault("Dynamic", "the field `Dynamic` itself cannot be dynamic")


def _local_version(version: str) -> str | None:
    try:
        return Version(version).local
    except InvalidVersion:
        return None  # MW240


def _address_fault(text: str) -> str | None:
    from email_validator import EmailNotValidError, validate_email

    _, address = parseaddr(text)
    try:
        if address:
            validate_email(address, check_deliverability=False)
    except EmailNotValidError as error:
        return f"`{_short(address)}` is not a valid address ({error})"
    return None


def _classifier_faults(classifiers: Iterable[str]) -> Iterator[Fault]:
    from trove_classifiers import classifiers as known
    from trove_classifiers import deprecated_classifiers as deprecated

    for name in sorted(set(classifiers)):
        if name in deprecated:
            instead = f"; use {', '.join(f'`{other}`' for other in deprecated[name])}" if deprecated[name] else ""
            yield Fault("Classifier", f"`{name}` is deprecated{instead}")
        elif name.startswith(_PRIVATE):
            yield _fault_on_pypi("Classifier", f"`{_short(name)}` forbids publishing")
        elif name not in known:  # it may be newer than this list
            yield Fault("Classifier", f"there is no `{_short(name)}`", Severity.WARNING)


def _url_faults(raw: RawMetadata) -> Iterator[Fault]:
    for name, url in (("Home-page", raw.get("home_page")), ("Download-URL", raw.get("download_url"))):
        if url is not None and not _is_url(url):
            yield Fault(name, f"`{_short(url)}` is not an http or https URL")
    longest = table("index")["metadata"]["label"]
    for label, url in raw.get("project_urls", {}).items():
        if not 0 < len(label) <= longest:
            yield Fault("Project-URL", f"its label `{_short(label)}` has {len(label)} characters, not 1 to {longest}")
        if not _is_url(url):
            yield Fault("Project-URL", f"`{_short(url)}` is not an http or https URL")


def _is_url(text: str) -> bool:
    from rfc3986 import uri_reference
    from rfc3986.exceptions import RFC3986Exception
    from rfc3986.validators import Validator

    validator = Validator().allow_schemes("http", "https").require_presence_of("scheme")
    try:
        validator.check_validity_of("scheme", "host", "port", "path", "query").validate(uri_reference(text).normalize())
    except (RFC3986Exception, ValueError):
        return False
    return True


def _dependency_faults(field: str, texts: Iterable[str]) -> Iterator[Fault]:
    for text in texts:
        try:
            url = Requirement(text).url
        except (InvalidRequirement, RecursionError):
            if field != "Requires-Dist":  # MW240
                yield Fault(field, f"`{_short(text)}` is not a requirement")
        else:
            if url is not None:
                yield _fault_on_pypi(field, f"`{_short(text)}` gives an address for the dependency")


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


CHECKS: Final = (
    Check(code="MW248", title="accepted metadata", run=index_takes_metadata,
          reason="The index checks these fields on upload, when other files of the release may be published already."),
    Check(code="MW257", title="readable code", run=code_is_readable, severity=Severity.WARNING,
          reason="PyPI refuses files with encrypted code."),
    Check(code="MW258", title="short name", run=name_is_short, severity=Severity.WARNING,
          reason="PyPI keeps the metadata in a second file with a longer name, and refuses a name too long for that."),
)  # fmt: skip
