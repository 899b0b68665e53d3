"""The table of all checks, and the check of one wheel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manywheels.core.cancellation import Cancellation
from manywheels.errors import WheelFileError
from manywheels.verify import sets
from manywheels.verify.checks import (
    acceptance,
    archive,
    contents,
    files,
    libraries,
    loading,
    metadata,
    platform,
    programs,
    record,
    symbols,
    tags,
)
from manywheels.verify.model import Check, CheckInfo, Finding, Severity, Wheel, open_wheel
from manywheels.verify.sets import WheelFacts, facts_of

WHEEL_CHECKS: Final[tuple[Check, ...]] = (
    *tags.CHECKS,
    *platform.CHECKS,
    *symbols.CHECKS,
    *libraries.CHECKS,
    *programs.CHECKS,
    *loading.CHECKS,
    *archive.CHECKS,
    *record.CHECKS,
    *metadata.CHECKS,
    *acceptance.CHECKS,
    *contents.CHECKS,
    *files.CHECKS,
)

# --- checks that are no functions: see `run`, `installs`, `imports`, `attestations` ------------------------------

UNREADABLE: Final = CheckInfo(
    code="MW200", title="a wheel", must_hold="The file is a zip archive whose name is a wheel's.",
    reason="A file that is not a wheel can be neither checked nor installed.",
)  # fmt: skip
PIP_CHOOSES: Final = CheckInfo(
    code="MW270", title="pip chooses the wheel",
    must_hold="For the Python and the platforms of its tags, pip chooses the wheel.",
    reason="pip skips a wheel that it does not choose, and users get the sdist or nothing.",
)  # fmt: skip
UV_CHOOSES: Final = CheckInfo(
    code="MW271", title="uv chooses the wheel",
    must_hold="For the Python and the platforms of its tags, uv chooses the wheel.",
    reason="uv has its own code for tags and metadata, which is stricter than pip's in places.",
)  # fmt: skip
IMPORTS: Final = CheckInfo(
    code="MW272", title="imports",
    must_hold="With `--import`: every top-level module and every extension module can be imported where "
    "only the wheel and its dependencies are installed.",
    reason="Only an import proves that the loader and the interpreter accept the wheel.",
)  # fmt: skip
INSTALL_TRIED: Final = CheckInfo(
    code="MW273", title="installing was tried",
    must_hold="The archive is sound, so that pip and uv can be tried; for `--import` and `--import-in` there is "
    "an interpreter that the wheel is for.",
    reason="What was not tried is not proved.", severity=Severity.WARNING,
)  # fmt: skip
ATTESTED: Final = CheckInfo(
    code="MW280", title="attested",
    must_hold="With `--attestations`: beside the wheel is `<wheel>.publish.attestation` (PEP 740), it is about exactly "
    "this file, and it is signed; with `--publisher`, by that publisher.",
    reason="An attestation of another build, or by another publisher, proves nothing, and the index refuses the file.",
)  # fmt: skip
SDIST_SOUND: Final = CheckInfo(
    code="MW290", title="a sound sdist",
    must_hold="An sdist can be read within bounds, has the name that its metadata ask for, and the licence files that "
    "they declare.",
    reason="The index refuses other sdists, when wheels are published already; users without a wheel build from it.",
)  # fmt: skip
SDIST_SAME: Final = CheckInfo(
    code="MW291", title="the sdist is whole",
    must_hold="A wheel that is built from the sdist has the files of the wheel that was built from the source.",
    reason="What a back end does not put into the sdist is missing for all who build from it, distributions first.",
    severity=Severity.WARNING,
)  # fmt: skip

_OTHERS: Final = (
    UNREADABLE, PIP_CHOOSES, UV_CHOOSES, IMPORTS, INSTALL_TRIED, ATTESTED, SDIST_SOUND, SDIST_SAME,
)  # fmt: skip
CHECKS: Final[tuple[CheckInfo, ...]] = tuple(
    sorted((*WHEEL_CHECKS, *sets.CHECKS, *_OTHERS), key=lambda check: check.code)
)


@dataclass(frozen=True, kw_only=True)
class Report:
    """The findings in one wheel; `glibc` is the lowest it runs on, `libraries` those grafted.

    A wheel for an `other_system`, as `Windows`, was not checked for what is Linux's own.
    `size` is in bytes; `facts` is for the checks of the set, None if the file is not a wheel.
    """

    path: Path
    size: int
    findings: tuple[Finding, ...]
    glibc: str | None = None
    libraries: tuple[str, ...] = ()
    facts: WheelFacts | None = None
    other_system: str | None = None


def check_wheel(path: Path, external: tuple[str, ...] = (), cancellation: Cancellation | None = None) -> Report:
    """Libraries that match `external` need not be in the wheel.

    Raises WheelFileError if the file is not a wheel, and Cancelled.
    """

    def stop() -> None:
        if cancellation is not None:
            cancellation.stop_if_requested("The verification")

    try:
        with open_wheel(path, external, stop) as wheel:
            return Report(
                path=path,
                size=wheel.archive.size,
                findings=tuple(_findings(wheel, stop)),
                glibc=symbols.lowest_glibc(wheel.elves),
                libraries=symbols.bundled_libraries(wheel),
                facts=facts_of(wheel),
                other_system=wheel.other_system,
            )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise WheelFileError(f"`{path}` cannot be read as a wheel: {reason}.", remedy="Build it again.") from None


def _findings(wheel: Wheel, stop: Callable[[], None]) -> Iterator[Finding]:
    """Stopping between checks is enough, as each has limits."""
    for check in WHEEL_CHECKS:
        stop()
        yield from check.findings(wheel)
