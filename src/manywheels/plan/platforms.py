"""The platforms that a run builds for: a policy and an architecture, and the image for the container engine.

`platform` and `archs` are lists. For each family (manylinux, musllinux) and architecture, the first policy of
`platform` that exists for the architecture counts. An image named for some targets replaces the policy's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from manywheels.errors import InputError
from manywheels.plan import architectures, inputs
from manywheels.plan.inputs import Value
from manywheels.plan.option_types import ARCHS
from manywheels.plan.policies import Policy, default_policies, policies, policy_named
from manywheels.plan.settings import Settings
from manywheels.plan.targets import Target

FAMILIES: Final = ("manylinux", "musllinux")
# What cibuildwheel calls a platform.
_LINUX: Final = frozenset({"auto", "linux"})
_POLICY_NAME: Final = re.compile(r"(many|musl)linux\w*")  # else it is an image
_32_BIT: Final = {"x86_64": "i686", "aarch64": "armv7l"}


@dataclass(frozen=True, kw_only=True)
class Platform:
    """What wheels of some targets are built for; `image` is a user's, or empty for the policy's own."""

    policy: Policy
    arch: str
    image: str = ""

    @property
    def tag(self) -> str:
        """The platform tag, for example `manylinux_2_28_x86_64`."""
        return self.policy.platform_tag(self.arch)

    @property
    def image_name(self) -> str:
        """The image to build in."""
        return self.image or self.policy.image_name(self.arch)


def base_platforms(settings: Settings, only: Target | None, *, one_image: bool = False) -> tuple[Platform, ...]:
    """Return the run's platforms by `platform` and `archs`, without images. Raises InputError.

    If a run is bound to the image around it (`one_image`), its default is that image's C library alone.
    """
    archs = _archs(settings)
    value = settings.value("platform")
    is_default = value.is_default or value.value in _LINUX
    named = _default(settings, only, one_image=one_image) if is_default else _named(value)
    if only:
        named = tuple(policy for policy in named if policy.family == only.family)
        if not named:
            raise inputs.refuse(value, "platform", f"a {only.family} policy, as `only` is `{only.identifier}`")
    found = tuple(
        Platform(policy=policy, arch=arch)
        for arch in archs
        for family in FAMILIES
        for policy in _first(named, family, arch)
    )
    if not is_default:
        _require_used(value, settings.value("archs"), () if only else named, archs, found)
    return found


def _first(named: Iterable[Policy], family: str, arch: str) -> tuple[Policy, ...]:
    return tuple(policy for policy in named if policy.family == family and arch in policy.archs)[:1]


def _default(settings: Settings, only: Target | None, *, one_image: bool) -> tuple[Policy, ...]:
    """cibuildwheel builds for both families; else musllinux is built if it is asked for."""
    both = settings.follows_cibuildwheel or only is not None
    if one_image and both and only is None:
        return tuple(policy for policy in default_policies() if policy.libc == architectures.libc())
    return tuple(policy for policy in default_policies() if both or policy.family == FAMILIES[0])


def note_on_one_image(settings: Settings) -> tuple[str, ...]:
    """Return a note on the wheels that a run bound to its image leaves to other jobs, if there are any."""
    value = settings.value("platform")
    if not settings.follows_cibuildwheel or not (value.is_default or value.value in _LINUX):
        return ()
    other = next(policy for policy in reversed(default_policies()) if policy.libc != architectures.libc())
    text = (
        f"wheels for {other.libc} are not built in this job, whose image is for {architectures.libc()}: build them in "
        f"a job with `platform: {other.name}`, or give this one a container engine"
    )
    return (text,)


def _named(value: Value) -> tuple[Policy, ...]:
    return tuple(dict.fromkeys(_policy(value, word) for word in inputs.parse_list(value) or [""]))


def _policy(value: Value, name: str) -> Policy:
    try:
        return policy_named(name)
    except InputError:
        known = ", ".join(f"`{policy.name}`" for policy in policies())
        raise inputs.refuse(replace(value, value=name), "platform", known) from None


def _require_used(
    value: Value, wanted: Value, named: Iterable[Policy], archs: Iterable[str], found: Iterable[Platform]
) -> None:
    """Each policy and each architecture must have a platform; a silent one would be a missing wheel."""
    used = {platform.policy for platform in found}
    for policy in named:
        if policy not in used:
            raise InputError(
                f"{value.origin}: {policy.name} builds nothing: it exists for {', '.join(policy.archs)}, of which none "
                f"is left in `archs` ({', '.join(archs)}).",
                remedy="Remove it, or put it before the other policies of its family.",
            )
    for arch in archs:
        if arch not in {platform.arch for platform in found}:
            others = ", ".join(policy.name for policy in policies() if arch in policy.archs)
            raise InputError(
                f"{wanted.origin}: there is no policy for {arch} in `platform` ({value.value}).",
                remedy=f"For {arch} there are {others}: name one of them, too.",
            )


# --- architectures ----------------------------------------------------------------------------------------------------


def _archs(settings: Settings) -> tuple[str, ...]:
    """Return the architectures of `archs`, in the order given. Raises InputError."""
    value = settings.value("archs")
    machine = architectures.machine()
    groups: dict[str, tuple[str, ...]] = {
        **dict.fromkeys(("auto", "native"), (machine,)),
        "auto64": (machine,) if machine not in _32_BIT.values() else (),
        "auto32": (machine,) if machine in _32_BIT.values() else tuple(filter(None, [_32_BIT.get(machine)])),
        "all": ARCHS,
    }
    found: list[str] = []
    for word in inputs.parse_list(value):
        if word in groups:
            found += groups[word]
        else:
            found.append(machine if word == machine else architectures.canonical(word, value.origin))
    if not found:
        raise inputs.refuse(value, "archs", ", ".join(f"`{name}`" for name in (*groups, *ARCHS)))
    return tuple(dict.fromkeys(found))


# --- images -----------------------------------------------------------------------------------------------------------


def platform_of(base: Platform, target: Target, settings: Settings) -> Platform:
    """Return the platform of a target, whose image its options may name, and with it the policy. Raises InputError."""
    wanted = settings.value("platform", target)
    by_arch = settings.value(image_option(target, settings), target)
    image = settings.value("image", target)
    is_default = wanted.is_default or wanted.value in _LINUX
    if image.value:
        return replace(base, image=inputs.parse_image(image, "image"))
    if not by_arch.value:
        return base
    named = re.search(rf"((?:many|musl)linux\w+?)_{target.arch}\b", by_arch.value)
    is_policy = bool(_POLICY_NAME.fullmatch(by_arch.value))
    if is_default and (named or is_policy):
        base = replace(base, policy=_policy_of_image(by_arch, named[1] if named else by_arch.value, target))
    return base if is_policy else replace(base, image=inputs.parse_image(by_arch, "image"))


def _policy_of_image(value: Value, name: str, target: Target) -> Policy:
    """An image of one's own may be for an architecture that the policy's own image does not exist for."""
    policy = _policy(value, name)
    if policy.family != target.family or (target.arch not in policy.archs and name == value.value):
        own = (one.name for one in policies() if one.family == target.family and target.arch in one.archs)
        allowed = ", ".join(f"`{name}`" for name in own)
        raise InputError(
            f"{value.origin}: {policy.name} does not exist for {target.family} on {target.arch}.",
            remedy=f"Allowed: an image, or {allowed}.",
        )
    return policy


def image_option(target: Target, settings: Settings) -> str:
    """Return the name of the option that names the image of a target's family and architecture."""
    pypy = f"{target.family}-pypy_{target.arch}-image"
    if target.tag.startswith("pp") and settings.value(pypy, target).value:
        return pypy
    return f"{target.family}-{target.arch}-image"


def require_one_image(settings: Settings, platforms: Mapping[Target, Platform]) -> None:
    """Raise InputError if `image` names one image for targets of several platforms, where no override names another."""
    value = settings.value("image")
    tags = sorted({platform.tag for target, platform in platforms.items() if settings.value("image", target) == value})
    if value.value and len(tags) > 1:
        raise InputError(
            f"{value.origin}: `image` names one image, but this run builds for {', '.join(tags)}.",
            remedy="Name images by `manylinux-x86_64-image` and the like in pyproject.toml, or in overrides.",
        )
