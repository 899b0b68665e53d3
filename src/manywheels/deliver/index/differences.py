"""What changes for users with a release: its files beside those of the release before, which the index lists.

Wheels are compared by what they are for: the Python and ABI of their tags, and the system, without its version.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

from manywheels.core import text
from manywheels.core.text import natural, shorten
from manywheels.deliver.index.simple_api import Listed, Listing
from manywheels.verify.distributions import Distribution

_NOTABLE: Final = 0.1  # of a file's size
_MOST: Final = 5  # lines of one kind
_LONGEST: Final = 300  # characters of one
_LONGEST_NAME: Final = 255
_MOST_DOTS: Final = 30  # in a name: three sets of tags multiply
_SDIST: Final = "sdist"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A file of one release, and what stands for it in the one before: sizes in bytes, None without the file.

    A size of 0 is one that the index does not list.
    """

    what: str
    before: int | None
    now: int | None

    @property
    def kind(self) -> str:
        if self.before is None or self.now is None:
            return "new" if self.before is None else "gone"
        return "other size"

    def __str__(self) -> str:
        if self.before is None or self.now is None:
            size = f" ({text.size(known)})" if (known := self.now or self.before) else ""
            return f"{self.kind}: {self.what}{size}"
        change = round(100 * (self.now - self.before) / self.before)
        return f"{self.what}: {text.size(self.before)} → {text.size(self.now)} ({change:+d} %)"


def release_before(listing: Listing, version: str) -> tuple[str, Listing]:
    """Return the newest release before `version`, a final one if there is any; an empty text if there is none."""
    released: dict[Version, dict[str, Listed]] = {}
    for name, listed in listing.items():
        if (found := _read(name)) and found[0] < Version(version):
            released.setdefault(found[0], {})[name] = listed
    final = [one for one in released if not one.is_prerelease] or [*released]
    return (str(max(final)), released[max(final)]) if final else ("", {})


def differences(before: Listing, files: Iterable[Distribution]) -> Iterator[Difference]:
    """Yield what is new, gone or of another size, beside the files of a release on the index."""
    old = {found[1]: listed.size or 0 for name, listed in before.items() if (found := _read(name))}
    yield from _compared(old, {found[1]: file.size for file in files if (found := _read(file.name))})


def dependency_changes(before: Iterable[str], now: Iterable[str]) -> Iterator[str]:
    """Yield which requirements (PEP 508) are new, and which are gone."""
    old, new = ({_normal(text) for text in texts} for texts in (before, now))
    yield from (f"new dependency: {requirement}" for requirement in sorted(new - old))
    yield from (f"no longer a dependency: {requirement}" for requirement in sorted(old - new))


def describe(version: str, found: Iterable[Difference | str]) -> tuple[str, ...]:
    """Return lines about the differences to a release: the first few of each kind, and how many more there are."""
    counts, lines = Counter[str](), list[str]()
    for difference in found:
        kind = difference.kind if isinstance(difference, Difference) else difference.partition(":")[0]
        counts[kind] += 1
        if counts[kind] <= _MOST:
            lines.append(f"  {shorten(str(difference), _LONGEST)}")
    lines += [f"  {kind}: and {count - _MOST} more" for kind, count in counts.items() if count > _MOST]
    return (f"beside {version}, which is on the index:", *lines) if lines else (f"the same files as {version}",)


def _normal(requirement: str) -> str:
    """Write a requirement in one way, as back ends differ in blanks and quotes."""
    with suppress(InvalidRequirement, RecursionError):
        return str(Requirement(requirement))
    return requirement


def _compared(before: Mapping[str, int], now: Mapping[str, int]) -> Iterator[Difference]:
    for what in sorted({*before, *now}, key=natural):
        old, new = before.get(what), now.get(what)
        is_alike = old is not None and new is not None and (not old or abs(new - old) <= _NOTABLE * old)
        if not is_alike:
            yield Difference(what=what, before=old, now=new)


def _read(name: str) -> tuple[Version, str] | None:
    """Return a file's version, and what it is for: `cp312 manylinux x86_64`, `cp39-abi3 macosx arm64`, `sdist`.

    None for what is no distribution, or has more tags in its name than any has.
    """
    if len(name) > _LONGEST_NAME or name.count(".") > _MOST_DOTS:
        return None
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
