"""Platform policies: a wheel's libc and its highest version (PEP 600, PEP 656)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from manywheels.data import table
from manywheels.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A platform policy; `version` is the newest version of `libc` whose symbols may be used.

    `image` is a name with `{arch}` in it, `image_tag` the dated tag this release was tested with, `archs` are those
    that it exists for. `digests` are those of images with that tag, by architecture, where they are known.
    """

    name: str
    aliases: tuple[str, ...]
    libc: str
    version: tuple[int, int]
    image: str
    image_tag: str
    archs: tuple[str, ...]
    digests: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def family(self) -> str:
        """`manylinux` or `musllinux`."""
        return "musllinux" if self.libc == "musl" else "manylinux"

    def platform_tag(self, arch: str) -> str:
        """For example `manylinux_2_28_x86_64`."""
        return f"{self.name}_{arch}"

    def image_name(self, arch: str) -> str:
        """For example `…/manylinux_2_28_x86_64:2026.08.15-1`."""
        return f"{self.image.format(arch=arch)}:{self.image_tag}"

    def image_digest(self, arch: str) -> str:
        """Return what the image is pulled by, as `sha256:…`; empty if that is its tag alone."""
        return self.digests.get(arch, "")

    def __str__(self) -> str:
        return f"{self.libc} {self.version[0]}.{self.version[1]}"


@cache
def policies() -> tuple[Policy, ...]:
    """The oldest is first."""
    facts = table("policies")
    pinned: dict[str, str] = facts.get("digests", {})
    return tuple(
        Policy(
            name=row["name"],
            aliases=tuple(row["aliases"]),
            libc=row["libc"],
            version=(row["version"][0], row["version"][1]),
            image=row["image"],
            image_tag=facts["image_tag"],
            archs=tuple(row["archs"]),
            digests={arch: pinned[name] for arch in row["archs"] if (name := row["image"].format(arch=arch)) in pinned},
        )
        for row in facts["policy"]
    )


def default_policies() -> tuple[Policy, ...]:
    """The policies of a run that names none, those for rare architectures and musl among them."""
    return tuple(map(policy_named, table("policies")["default"]))


def policy_named(name: str) -> Policy:
    """The name may be an alias. Raises InputError."""
    by_name = {known: policy for policy in policies() for known in (policy.name, *policy.aliases)}
    if name in by_name:
        return by_name[name]
    nearest = difflib.get_close_matches(name, by_name, n=1)
    hint = f"Did you mean {nearest[0]}? " if nearest else ""
    raise InputError(
        f"platform: there is no policy {name!r}.",
        remedy=f"{hint}Use one of {', '.join(by_name)}, without an architecture.",
    )
