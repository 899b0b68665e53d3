"""One wheel, checked: the table of all checks over a single wheel, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manywheels.core.cancellation import Cancellation
from manywheels.errors import WheelFileError
from manywheels.verify.checks import acceptance, archive, contents, loading, metadata, platform, record, symbols, tags
from manywheels.verify.model import Check, Finding, Wheel, open_wheel
from manywheels.verify.sets import WheelFacts, facts_of

CHECKS: Final[tuple[Check, ...]] = (
    *tags.CHECKS,
    *platform.CHECKS,
    *symbols.CHECKS,
    *loading.CHECKS,
    *archive.CHECKS,
    *record.CHECKS,
    *metadata.CHECKS,
    *acceptance.CHECKS,
    *contents.CHECKS,
)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the checks say of one wheel; `glibc` is the lowest it runs on, `libraries` those that it carries.

    `size` is in bytes; `facts` is what checks of the whole set need, None where the file is no wheel at all.
    """

    path: Path
    size: int
    findings: tuple[Finding, ...]
    glibc: str | None = None
    libraries: tuple[str, ...] = ()
    facts: WheelFacts | None = None


def check_wheel(path: Path, elsewhere: tuple[str, ...] = (), cancellation: Cancellation | None = None) -> Report:
    """Run every check on one wheel; findings come in the checks' order.

    Libraries that match a pattern of `elsewhere` need not be in the wheel: they were left out of it on purpose.
    Raises WheelFileError where the file is no wheel at all, and Cancelled soon after `cancellation` is requested.
    """

    def stop() -> None:
        if cancellation is not None:
            cancellation.stop_if_requested("The verification")

    try:
        with open_wheel(path, elsewhere, stop) as wheel:
            return Report(
                path=path,
                size=wheel.archive.size,
                findings=tuple(_findings(wheel, stop)),
                glibc=symbols.lowest_glibc(wheel.elves),
                libraries=symbols.bundled_libraries(wheel),
                facts=facts_of(wheel),
            )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise WheelFileError(f"`{path}` cannot be read as a wheel: {reason}.", remedy="Build it again.") from None


def _findings(wheel: Wheel, stop: Callable[[], None]) -> Iterator[Finding]:
    """Yield what the checks say. What each of them can look at has bounds, so that it is enough to stop between two."""
    for check in CHECKS:
        stop()
        yield from check.findings(wheel)
