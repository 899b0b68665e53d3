"""What is asked for in publishing: the inputs, as gh-action-pypi-publish names them, resolved and frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from manywheels import inputs
from manywheels.inputs import Given


@dataclass(frozen=True, kw_only=True)
class PublishOptions:
    """How to upload. `attestations` is None for automatic, `confirm` is in seconds, None for not at all.

    `repository` is an upload address or a name of twine's table; an empty `password` means trusted publishing.
    """

    repository: str
    packages_dir: Path
    skip_existing: bool
    attestations: bool | None
    keep_attestations: bool
    verify_metadata: bool
    print_hash: bool
    verbose: bool
    user: str
    password: str = field(repr=False)
    confirm: float | None
    dry_run: bool


def resolve_publishing(layers: Mapping[str, Given]) -> PublishOptions:
    """Resolve what `inputs.layered` returned. Raises InputError for the first value that is not allowed."""

    def flag(name: str) -> bool:
        return inputs.parse_flag(layers[name], name)

    folder = layers["packages-dir"] if layers["packages-dir"].value else layers["output-dir"]
    return PublishOptions(
        repository=inputs.parse_path(layers["repository-url"], "repository-url"),
        packages_dir=Path(inputs.parse_path(folder, "packages-dir")),
        skip_existing=flag("skip-existing"),
        attestations=None if layers["attestations"].value == "auto" else flag("attestations"),
        keep_attestations=flag("keep-attestations"),
        verify_metadata=flag("verify-metadata"),
        print_hash=flag("print-hash"),
        verbose=flag("verbose"),
        user=layers["user"].value,
        password=layers["password"].value,
        confirm=inputs.parse_duration(layers["confirm"], "confirm") if layers["confirm"].value else None,
        dry_run=flag("dry-run"),
    )
