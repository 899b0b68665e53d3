"""What changes for users with a release: its files beside those of the release before, which the index lists.

Wheels are compared by what they are for: the Python and ABI of their tags, and the system, without its version.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

from manywheels.core import text
from manywheels.core.text import natural
from manywheels.deliver.index.simple_api import Listing
from manywheels.verify.distributions import Distribution

_NOTABLE: Final = 0.1  # of a file's size
_SDIST: Final = "sdist"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A file of one release, and what stands for it in the one before; sizes in bytes, None without the file."""

    what: str
    before: int | None
    now: int | None

    def __str__(self) -> str:
        if self.before is None or self.now is None:
            size = text.size(self.now if self.now is not None else self.before or 0)
            return f"{'new' if self.before is None else 'gone'}: {self.what} ({size})"
        change = round(100 * (self.now - self.before) / self.before)
        return f"{self.what}: {text.size(self.before)} → {text.size(self.now)} ({change:+d} %)"


def differences(listing: Listing, files: Sequence[Distribution]) -> tuple[str, list[Difference]]:
    """Return the version of the release before, empty if there is none, and what is new, gone or of another size."""
    if not files:
        return "", []
    version = Version(files[0].version)
    released: dict[Version, dict[str, int]] = {}
    for name, listed in listing.items():
        if (found := _read(name)) and found[0] < version:
            released.setdefault(found[0], {})[found[1]] = listed.size or 0
    stable = [one for one in released if not one.is_prerelease] or [*released]
    if not stable:
        return "", []
    before = max(stable)
    now = {found[1]: file.size for file in files if (found := _read(file.name))}
    return str(before), [*_compared(released[before], now)]


def described(version: str, found: Iterable[Difference]) -> Iterator[str]:
    """Yield lines about the differences to the release before."""
    lines = [f"  {difference}" for difference in found]
    if version:
        yield f"beside {version}, which is on the index:" if lines else f"the same files as {version}, of like sizes"
    yield from lines


def _compared(before: Mapping[str, int], now: Mapping[str, int]) -> Iterator[Difference]:
    for what in sorted({*before, *now}, key=natural):
        old, new = before.get(what), now.get(what)
        if old and new and abs(new - old) <= _NOTABLE * old:
            continue
        if (old, new) != (0, new) or what not in before:  # an index need not list sizes
            yield Difference(what=what, before=old, now=new)


def _read(name: str) -> tuple[Version, str] | None:
    """Return a file's version, and what it is for: `cp312 manylinux x86_64`, `cp39-abi3 macosx arm64`, `sdist`."""
    try:
        if not name.endswith(".whl"):
            return parse_sdist_filename(name)[1], _SDIST
        version, tags = parse_wheel_filename(name)[1::2]
    except (InvalidSdistFilename, InvalidWheelFilename):
        return None
    pythons = sorted(
        {tag.interpreter if tag.abi == tag.interpreter else f"{tag.interpreter}-{tag.abi}" for tag in tags}
    )
    systems = sorted({_system(tag.platform) for tag in tags})
    return version, f"{'.'.join(pythons)} {'.'.join(systems)}"


def _system(platform: str) -> str:
    """Return a platform tag without the version of its system."""
    return re.sub(r"(?:_\d+)+_|(?<=linux)\d+_|_(?=amd64|arm64$)", " ", platform, count=1).strip()
