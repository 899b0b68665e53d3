"""What the index demands of the metadata in an upload's form."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message
from email.utils import parseaddr
from typing import Any

import email_validator
import readme_renderer.markdown
import readme_renderer.rst
import rfc3986
from packaging.metadata import Metadata, RawMetadata
from packaging.requirements import InvalidRequirement, Requirement
from trove_classifiers import classifiers, deprecated_classifiers

from index.form import Form

# Names in the form that differ from packaging's, and fields that may be given more than once.
_RENAMED = {"platform": "platforms", "supported_platform": "supported_platforms", "license_file": "license_files",
            "import_name": "import_names", "import_namespace": "import_namespaces"}  # fmt: skip
_LISTS = frozenset(
    {"platforms", "supported_platforms", "classifiers", "requires_dist", "provides_dist", "obsoletes_dist",
     "requires_external", "provides_extra", "dynamic", "license_files", "requires", "provides", "obsoletes",
     "import_names", "import_namespaces"}
)  # fmt: skip
_SINGLE = frozenset(
    {"metadata_version", "name", "version", "summary", "description", "description_content_type", "home_page",
     "download_url", "author", "author_email", "maintainer", "maintainer_email", "license", "license_expression",
     "requires_python"}
)  # fmt: skip
_VERSIONS = ("1.0", "1.1", "1.2", "2.1", "2.2", "2.3", "2.4", "2.5")
_UNNAMED = frozenset({"metadata-version", "name", "version", "dynamic"})  # cannot be dynamic
_RENDERERS = {"text/x-rst": readme_renderer.rst, "text/markdown": readme_renderer.markdown}


class Rejected(Exception):
    """The upload is not taken; `status` is HTTP's, the text is what the index says."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message, self.status = message, status


def read_fields(form: Form) -> Metadata:
    raw: dict[str, Any] = {}
    for field, values in form.fields.items():
        name = _RENAMED.get(field, field)
        if values == [""]:
            continue
        if name in _LISTS:
            raw[name] = values
        elif name in _SINGLE:
            raw[name] = values[0]
        elif name == "keywords":
            raw[name] = [word.strip() for word in values[0].split(",")]
        elif name == "project_urls":
            raw[name] = {label.strip(): url.strip() for label, _, url in (value.partition(",") for value in values)}
    try:
        metadata = Metadata.from_raw(RawMetadata(**raw))  # type: ignore[typeddict-item]
    except ExceptionGroup as problems:
        raise _invalid(str(problems.exceptions[0])) from None
    for problem in _against(metadata):
        raise _invalid(problem)
    return metadata


def _invalid(problem: str) -> Rejected:
    see = "https://packaging.python.org/specifications/core-metadata"
    return Rejected(f"{problem.removesuffix('.')}. See {see} for more information.")


def _against(metadata: Metadata) -> Iterator[str]:
    """Yield what the index has against valid metadata."""
    if metadata.metadata_version not in _VERSIONS:
        yield f"{metadata.metadata_version!r} is not a valid metadata version"
    if metadata.version.local:
        yield f"The use of local versions in {str(metadata.version)!r} is not allowed"
    if len(metadata.summary or "") > 512:
        yield "'summary' field must be 512 characters or less"
    for text in filter(None, (metadata.author_email, metadata.maintainer_email)):
        address = parseaddr(text)[1]
        if address and (problem := _address_problem(address)):
            yield f"{address!r} is not a valid email address: {problem}"
    for name in sorted(set(metadata.classifiers or [])):
        if name in deprecated_classifiers:
            yield f"The classifier {name!r} has been deprecated"
        elif name not in classifiers or name.startswith("Private ::"):
            yield f"{name!r} is not a valid classifier"
    yield from _against_urls(metadata)
    yield from _against_dependencies(metadata)
    for field in metadata.dynamic or []:
        if field in _UNNAMED:
            yield f"Dynamic field {field!r} is not a valid dynamic field"
    if metadata.license and metadata.license_expression:
        yield "License is deprecated when License-Expression is present. Only License-Expression should be present"


def _address_problem(address: str) -> str | None:
    try:
        email_validator.validate_email(address, check_deliverability=False)
    except email_validator.EmailNotValidError as problem:
        return str(problem)
    return None


def _against_urls(metadata: Metadata) -> Iterator[str]:
    for url in (metadata.home_page, metadata.download_url):
        if url is not None and not _is_url(url):
            yield f"{url!r} is not a valid url"
    for label, url in (metadata.project_urls or {}).items():
        if not 0 < len(label) <= 32:
            yield f"{label!r} must be 32 characters or less" if label else "Must have a label"
        elif not _is_url(url):
            yield f"{url!r} is not a valid url"


def _is_url(text: str) -> bool:
    found = rfc3986.uri_reference(text).normalize()
    validator = rfc3986.validators.Validator().allow_schemes("http", "https").require_presence_of("scheme")
    try:
        validator.check_validity_of("scheme", "host", "port", "path", "query").validate(found)
    except rfc3986.exceptions.ValidationError:
        return False
    return True


def _against_dependencies(metadata: Metadata) -> Iterator[str]:
    requirements = list(metadata.requires_dist or ())
    for text in (*(metadata.provides_dist or ()), *(metadata.obsoletes_dist or ())):
        try:
            requirements.append(Requirement(text))
        except InvalidRequirement as problem:
            yield f"{text!r} is invalid: {problem}"
    yield from (f"Can't have direct dependency: {found}" for found in requirements if found.url is not None)


def check_description(metadata: Metadata) -> None:
    if not metadata.description:
        return
    header = Message()
    header["Content-Type"] = metadata.description_content_type or "text/x-rst"
    kind = header.get_content_type()
    renderer = _RENDERERS.get(kind)
    if renderer is not None and renderer.render(metadata.description) is None:
        raise Rejected(f"The description failed to render for {kind!r}.")
