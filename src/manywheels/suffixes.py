"""What the file name of an extension module says: which interpreters look for it, on which machines (PEP 3149)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from packaging.tags import Tag

_SUFFIX: Final = re.compile(
    r"(?:\.(?:cpython-(?P<cpython>3\d+[tdmu]*)|(?P<stable>abi3t?)|(?P<pypy>pypy\d+-pp\d+))(?:-(?P<triplet>[\w-]+))?)?\.so$"
)


@dataclass(frozen=True, kw_only=True)
class Suffix:
    """The end of an extension module's file name, as `.cpython-312-x86_64-linux-gnu.so`.

    `module` is the path without it. `abi` is the ABI tag that it stands for (`cp312`, `abi3`, `pypy311_pp73`), empty
    for a plain `.so`, which every interpreter loads. `triplet` is empty where it names no machine.
    """

    module: str
    abi: str
    triplet: str

    def loads(self, tag: Tag) -> bool:
        """Whether an interpreter of this tag looks for such a file."""
        if self.abi in {"", tag.abi}:
            return True
        if self.abi == "abi3":  # CPythons without the GIL do not look for it (PEP 703)
            return re.fullmatch(r"cp3\d+", tag.abi if tag.abi != "none" else tag.interpreter) is not None
        own = self.abi.partition("_")[0].replace("pypy", "pp")
        return tag.abi == "none" and tag.interpreter == own.rstrip("tdmu")


def suffix_of(member: str) -> Suffix | None:
    """Return the suffix of a file that an interpreter may import, by its name; None for other files."""
    found = _SUFFIX.search(member)
    if found is None:
        return None
    abi = f"cp{found['cpython']}" if found["cpython"] else found["stable"] or (found["pypy"] or "").replace("-", "_")
    return Suffix(module=member[: found.start()], abi=abi, triplet=found["triplet"] or "")


def is_tagged(member: str) -> bool:
    """Whether a file's name says of itself that it is an extension module, and of which interpreters."""
    suffix = suffix_of(member)
    return suffix is not None and bool(suffix.abi)
