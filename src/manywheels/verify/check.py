"""One wheel, checked: the table of all checks over a single wheel, and what came of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manywheels.errors import WheelFileError
from manywheels.verify import acceptance, archive, contents, loading, metadata, platform, record, symbols, tags
from manywheels.verify.model import Check, Finding, open_wheel
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


def check_wheel(path: Path, elsewhere: tuple[str, ...] = ()) -> Report:
    """Run every check on one wheel; findings come in the checks' order.

    Libraries that match a pattern of `elsewhere` need not be in the wheel: they were left out of it on purpose.
    Raises WheelFileError where the file is no wheel at all.
    """
    try:
        with open_wheel(path, elsewhere) as wheel:
            return Report(
                path=path,
                size=path.stat().st_size,
                findings=tuple(finding for check in CHECKS for finding in check.findings(wheel)),
                glibc=symbols.lowest_glibc(wheel.elves),
                libraries=symbols.bundled_libraries(wheel),
                facts=facts_of(wheel),
            )
    except (OSError, ValueError) as error:
        raise WheelFileError(f"`{path}` cannot be read as a wheel: {error}.", remedy="Build it again.") from None
