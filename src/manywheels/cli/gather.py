"""`gather`: combine the sets of several jobs into one."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from manywheels.cli.request import Request, read_wheel_settings
from manywheels.core.cancellation import Cancellation
from manywheels.errors import EXIT_OK, WheelFileError
from manywheels.plan import inputs
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.settings import Settings

GATHERED: Final = "gathered"  # the folder below that of the jobs' sets, where one job gathers and publishes

if TYPE_CHECKING:
    from manywheels.wheels.gather import Gathered, Inspect
    from manywheels.wheels.manifest import Manifest


def execute(request: Request, cancellation: Cancellation) -> int:
    """Raises ManywheelsError."""
    settings = read_wheel_settings(request)
    folder = Path(settings.parsed("output-dir", inputs.parse_path))
    gathered = gather_folders(request.paths, folder, settings, cancellation)
    print(gathered.describe(folder))
    return EXIT_OK


def gather_folders(folders: Iterable[Path], output: Path, settings: Settings, cancellation: Cancellation) -> Gathered:
    """Gather sets from `folders`, and what others built from those that `foreign` names. Raises ManywheelsError."""
    from manywheels.plan.delivery_options import resolve_delivery
    from manywheels.wheels.gather import gather
    from manywheels.wheels.output import open_output
    from manywheels.wheels.sources import SetSource

    delivery = resolve_delivery(settings)
    if output.name == GATHERED:
        _remove_copies(output, cancellation)
    sources = [SetSource(folder=path, name=str(path)) for path in folders]
    sources += [SetSource(folder=Path(name), name=name, foreign=True) for name in delivery.foreign]
    return gather(
        sources, open_output(output), digests=delivery.manifest_digests, allow_missing=delivery.allow_missing,
        inspect=inspector(settings, cancellation), cancellation=cancellation,
    )  # fmt: skip


def _remove_copies(folder: Path, cancellation: Cancellation) -> None:
    """Remove what an earlier gathering has put into a folder of this program's: it may be of another release."""
    from manywheels.wheels.leftovers import remove, unchanged
    from manywheels.wheels.manifest import read_manifest

    with suppress(WheelFileError):
        remove(unchanged(read_manifest(folder), folder, cancellation))


def inspector(settings: Settings, cancellation: Cancellation) -> Inspect:
    """Return what checks wheels that others built, by the project's rules. Raises InputError for invalid rules."""
    from manywheels.verify.foreign import foreign_problems
    from manywheels.verify.rules import verification_rules

    return partial(foreign_problems, rules=verification_rules(settings.project_table), cancellation=cancellation)


def sealed(manifest: Manifest, folder: Path) -> dict[str, Value]:
    """Return the settings by which `publish` takes the set in a folder, and no other."""
    return {
        "packages-dir": Value(value=str(folder), origin=Origin(OriginKind.PROGRAM, "the set of this run")),
        "manifest-digest": Value(value=manifest.digest, origin=Origin(OriginKind.PROGRAM, "the set of this run")),
    }
