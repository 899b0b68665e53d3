"""Where wheels are delivered, and which artifacts later jobs take."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from manywheels.plan import inputs
from manywheels.plan.inputs import Value
from manywheels.plan.settings import Settings

DESTINATIONS: Final = ("auto", "artifact", "pypi", "none")
INDEX_RULES: Final = ("auto", "pypi", "none")
_NOT_IN_NAMES: Final = re.compile(r'[":<>|*?\r\n\\/]')  # as in actions/toolkit
_MAX_DAYS: Final = 400  # days; GitHub's limit


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Where to deliver, and what to take. `artifact_pattern`: empty to take one artifact by name.

    `foreign`: patterns of artifacts, or folders, with what manywheels did not build.

    `manifest_digests`: sha256 in hex, for each set, or none. `retention_days`: 0 for the repository's setting.
    `report`: None for beside the manifest in GitHub's action, and for no report elsewhere. `trace`: None for no trace.
    """

    publish: str
    artifact_name: str
    artifact_pattern: str
    foreign: tuple[str, ...]
    manifest_digests: tuple[str, ...]
    retention_days: int
    overwrite: bool
    report: Path | None
    trace: Path | None
    allow_missing: bool


def resolve_delivery(settings: Settings) -> Delivery:
    """Raises InputError."""
    return Delivery(
        publish=settings.parsed("publish", partial(inputs.parse_choice, choices=DESTINATIONS)),
        artifact_name=settings.parsed("artifact-name", _parse_artifact_name),
        artifact_pattern=settings.parsed("artifact-pattern", _parse_pattern),
        foreign=settings.parsed("foreign", inputs.parse_words),
        manifest_digests=settings.parsed("manifest-digest", _parse_digests),
        retention_days=settings.parsed("retention-days", _parse_days),
        overwrite=settings.parsed("overwrite", inputs.parse_flag),
        allow_missing=settings.parsed("allow-missing", inputs.parse_flag),
        report=_parse_place(settings, "report"),
        trace=_parse_place(settings, "trace"),
    )


def _parse_place(settings: Settings, name: str) -> Path | None:
    return Path(settings.parsed(name, inputs.parse_path)) if settings.value(name).value else None


def _parse_artifact_name(value: Value, name: str) -> str:
    if not value.value.strip() or _NOT_IN_NAMES.search(value.value):
        raise inputs.refuse(value, name, 'a name without `" : < > | * ? \\ /` and line breaks')
    return value.value


def _parse_pattern(value: Value, name: str) -> str:
    if re.search(r"[\r\n\\/]", value.value):
        raise inputs.refuse(value, name, "a pattern over artifact names, as `wheels-*`")
    return value.value


def _parse_digests(value: Value, name: str) -> tuple[str, ...]:
    digests = tuple(word.removeprefix("sha256:") for word in value.value.lower().split())
    if not all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests):
        raise inputs.refuse(value, name, "sha256 digests in hex, with or without `sha256:`, separated by blanks")
    return digests


def _parse_days(value: Value, name: str) -> int:
    if not re.fullmatch("[0-9]{1,3}", value.value) or int(value.value) > _MAX_DAYS:
        raise inputs.refuse(value, name, f"a whole number of days from 0 to {_MAX_DAYS}")
    return int(value.value)


@dataclass(frozen=True, kw_only=True)
class PublishOptions:
    """How to upload. `attestations`: None for automatic; `confirm`: seconds, None to skip.

    `repository`: an upload URL or one of twine's names; `check_url`: its simple API, empty to derive it. An empty
    `password` means trusted publishing.
    """

    repository: str
    check_url: str
    index_rules: str
    packages_dir: Path
    skip_existing: bool
    allow_missing: bool
    attestations: bool | None
    keep_attestations: bool
    verify_metadata: bool
    print_hash: bool
    verbose: bool
    user: str
    password: str = field(repr=False)
    confirm: float | None
    dry_run: bool


def resolve_publishing(settings: Settings) -> PublishOptions:
    """Raises InputError."""

    def flag(name: str) -> bool:
        return settings.parsed(name, inputs.parse_flag)

    def is_given(name: str) -> bool:
        return bool(settings.value(name).value)

    folder = settings.value("packages-dir" if is_given("packages-dir") else "output-dir")
    return PublishOptions(
        repository=settings.parsed("repository-url", inputs.parse_path),
        check_url=settings.parsed("check-url", inputs.parse_path) if is_given("check-url") else "",
        index_rules=settings.parsed("index-rules", partial(inputs.parse_choice, choices=INDEX_RULES)),
        packages_dir=Path(inputs.parse_path(folder, "packages-dir")),
        skip_existing=flag("skip-existing"),
        allow_missing=flag("allow-missing"),
        attestations=None if settings.value("attestations").value == "auto" else flag("attestations"),
        keep_attestations=flag("keep-attestations"),
        verify_metadata=flag("verify-metadata"),
        print_hash=flag("print-hash"),
        verbose=flag("verbose"),
        user=settings.value("user").value,
        password=settings.value("password").value,
        confirm=settings.parsed("confirm", inputs.parse_duration) if is_given("confirm") else None,
        dry_run=flag("dry-run"),
    )
