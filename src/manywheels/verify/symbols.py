"""Symbols: the versions and libraries that the ELF files need are ones that the tag's policy promises (PEP 600).

The tables are auditwheel's; the files are read here. Where a symbol is too new, the finding names it and the objects
that want it, and the first policy that would do. A linker that has no such symbol leaves it without a version, as zig's
does for an old glibc, and the loader of an old system finds out: `data/glibc_symbols.toml` knows these names.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Final

from manywheels.data import table
from manywheels.elf import Elf
from manywheels.verify import loading
from manywheels.verify.model import Check, Problem, Severity, Wheel

if TYPE_CHECKING:
    from auditwheel.policy import Policy, WheelPolicies

_LOADER: Final = re.compile(r"ld(64|-linux|-musl)?(-[\w-]+)?\.so\.\d+")  # libc's own part, promised with libc itself
_MUSL: Final = "libc.so"  # musl takes every name that begins with `libc.` for itself
_MODERN: Final = re.compile(r"(?P<libc>manylinux|musllinux)_(?P<major>\d+)_(?P<minor>\d+)_(?P<arch>\w+)")
_LEGACY: Final = re.compile(r"^manylinux(1|2010|2014)_")
_LEGACY_VERSIONS: Final = {"1": "2_5", "2010": "2_12", "2014": "2_17"}  # PEP 600
_NEWEST_MUSL: Final = 2  # of musl 1.x, in auditwheel's table
_SHOWN: Final = 8  # symbols named in one message
# Libraries that give every symbol a version: a linker that saw them leaves none without.
_VERSIONED: Final = frozenset({
    "libanl.so.1", "libatomic.so.1", "libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libmvec.so.1",
    "libnsl.so.1", "libpthread.so.0", "libresolv.so.2", "librt.so.1", "libstdc++.so.6", "libutil.so.1",
})  # fmt: skip
_OLD: Final = (2, 17)  # in data/glibc_symbols.toml this stands for all before, too
_PYTHON: Final = ("Py", "_Py")  # PyPy's own begin with PyPy and _PyPy
# Exported by CPython only where it is built without the GIL (PEP 703): Py_DECREF is inline code that calls them.
FREE_THREADED: Final = frozenset({"_Py_DecRefShared", "_Py_DecRefSharedDebug", "_Py_MergeZeroLocalRefcount"})
_OTHER_ABI: Final = re.compile(r"\.(cpython-\w+|pypy\w+|abi3t)(-[\w-]+)?\.so$")


def symbols_are_promised(wheel: Wheel) -> Iterator[Problem]:
    """No ELF file wants a symbol version that the strictest claimed policy does not promise."""
    for policies, policy in _claimed(wheel):
        for member, symbols in symbols_above(wheel, policy):
            yield Problem(
                member=member,
                message=f"wants {_list(symbols)}, newer than `{policy.name}` promises",
                remedy=f"Build against an older glibc (the image of the policy, or the zig toolchain); "
                f"as it is, the wheel meets `{_first_that_promises(wheel, policies)}`.",
            )


def symbols_above(wheel: Wheel, policy: Policy) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each ELF file's name with the symbols newer than a policy promises, as `close_range@GLIBC_2.34`."""
    for file in wheel.elves:
        too_new = frozenset(_too_new(file, policy))
        if too_new:
            yield file.member, file.wanting(too_new) or tuple(sorted(too_new))


def libraries_are_there(wheel: Wheel) -> Iterator[Problem]:
    """Every library that an ELF file needs is promised by the policy, in the wheel, or known to be elsewhere."""
    inside = {file.soname for file in wheel.elves} | {member.rpartition("/")[2] for member in wheel.members}
    for _, policy in _claimed(wheel):
        for file in wheel.elves:
            missing = [
                name
                for name in file.needed
                if name not in policy.whitelist and name not in inside and not _LOADER.fullmatch(name)
                if name != _MUSL or not policy.name.startswith("musllinux")
                if not any(fnmatch.fnmatchcase(name, pattern) for pattern in wheel.elsewhere)
                if "/" not in name and not loading.is_libpython_of_extension(file, name)  # MW219, MW217
            ]
            if missing:
                yield Problem(
                    member=file.member,
                    message=f"needs {_list(tuple(missing))}, neither promised by `{policy.name}` nor in the wheel",
                    remedy="Let auditwheel graft it: the library must be found when the wheel is repaired.",
                )


def unversioned_symbols_are_old_enough(wheel: Wheel) -> Iterator[Problem]:
    """No ELF file wants, without a version, a symbol that came with a newer glibc than the policy promises."""
    for loose in _loose_symbols(wheel):
        too_new = {name: version for name, version in loose.newer.items() if version > loose.promised}
        if too_new and not loose.strangers:
            named = [f"`{name}` (glibc {_dotted(version)})" for name, version in sorted(too_new.items())]
            yield Problem(
                member=loose.file.member,
                message=f"wants {_shorten(named)}, but `{loose.policy.name}` promises glibc {_dotted(loose.promised)}",
                remedy="Look for the function at run time (dlsym), declare it weak and test for it, or do without it; "
                f"as it is, the wheel needs glibc {_dotted(max(too_new.values()))}.",
            )


def unversioned_symbols_are_defined(wheel: Wheel) -> Iterator[Problem]:
    """Every symbol that is wanted without a version is Python's, glibc's, or defined by some file in the wheel."""
    for loose in _loose_symbols(wheel):
        if loose.unknown and not loose.strangers:
            yield Problem(
                member=loose.file.member,
                message=f"wants {_list(loose.unknown)}, which nothing defines: neither Python, nor "
                f"`{loose.policy.name}`, nor a file in the wheel",
                remedy="Link the library or the object file that defines it; declare weak what may be absent.",
            )


def extensions_are_not_free_threaded(wheel: Wheel) -> Iterator[Problem]:
    """No extension module wants symbols of the free-threaded CPython where the tag names one with the GIL."""
    abis = {tag.abi for tag in wheel.name.tags}
    if any(abi.endswith("t") for abi in abis) or not any(re.fullmatch(r"cp3\d+|abi3", abi) for abi in abis):
        return
    for file in wheel.elves:
        wanted = tuple(sorted(FREE_THREADED & {symbol.name for symbol in file.imports if not symbol.weak}))
        if wanted:
            yield Problem(
                member=file.member,
                message=f"is built for the free-threaded CPython (it wants {_list(wanted)}), but the wheel is tagged "
                f"`{'.'.join(sorted(abis))}`",
                remedy="Remove what an earlier build left in the source tree, do not define Py_GIL_DISABLED, and build "
                "again.",
            )


def stable_abi_is_kept(wheel: Wheel) -> Iterator[Problem]:
    """A wheel tagged abi3 uses only what the stable ABI of its oldest Python has (PEP 384)."""
    promised = _stable_abi_version(wheel)
    if promised is None:
        return
    defined, inside = _defined(wheel), _libraries(wheel)
    whitelist = _VERSIONED.union(*(policy.whitelist for _, policy in _claimed(wheel)))
    for file in wheel.elves:
        if _OTHER_ABI.search(file.member) or _reach(inside, file) - whitelist:
            continue  # what comes with a library of another package may be that library's own
        wanted = {symbol.name for symbol in file.imports if not symbol.weak and symbol.name.startswith(_PYTHON)}
        added = {name: _stable_since(name) for name in wanted - defined}
        private = tuple(sorted(name for name, since in added.items() if since is None))
        newer = {name: since for name, since in added.items() if since and since > promised}
        if private:
            yield Problem(
                member=file.member,
                message=f"wants {_list(private)}, which the stable ABI does not have",
                remedy=f"Define Py_LIMITED_API as {_limited_api(promised)} wherever Python.h is included, "
                "or give up abi3.",
            )
        if newer:
            named = [f"`{name}` (Python {_dotted(since)})" for name, since in sorted(newer.items())]
            needs = max(newer.values())
            yield Problem(
                member=file.member,
                message=f"wants {_shorten(named)}, which the stable ABI of Python {_dotted(promised)} does not have",
                remedy=f"Define Py_LIMITED_API as {_limited_api(promised)}, or tag the wheel "
                f"`cp{needs[0]}{needs[1]}-abi3`.",
            )


def lowest_glibc(elves: tuple[Elf, ...]) -> str | None:
    """Return the lowest glibc that has every symbol version wanted, as `2.17`; None where glibc is not needed."""
    highest = max((version for file in elves if (version := file.highest("GLIBC"))), default=None)
    return ".".join(map(str, highest)) if highest else None


def bundled_libraries(wheel: Wheel) -> tuple[str, ...]:
    """Return the names of the shared libraries that were grafted into the wheel's `*.libs` folder."""
    parts = [member.split("/") for member in wheel.members]
    return tuple(sorted(path[-1] for path in parts if len(path) == 2 and path[0].endswith(".libs")))  # noqa: PLR2004


@cache
def _policies(libc: str, arch: str, musl_policy: str | None = None) -> WheelPolicies | None:
    from auditwheel.architecture import Architecture
    from auditwheel.libc import Libc
    from auditwheel.policy import WheelPolicies

    try:
        return WheelPolicies(libc=Libc[libc], arch=Architecture(arch), musl_policy=musl_policy)
    except (KeyError, ValueError, AssertionError):
        return None


def _claimed(wheel: Wheel) -> Iterator[tuple[WheelPolicies, Policy]]:
    """The strictest policy that the platform tags claim: where its promises hold, so do the others'."""
    found = (_policy_of(platform) for platform in wheel.name.platforms)
    claimed = [claim for claim in found if claim is not None]
    if claimed:
        yield min(claimed, key=lambda claim: _version_of(claim[1].name))


def _policy_of(platform: str) -> tuple[WheelPolicies, Policy] | None:
    """Return the policy of a platform tag, with the table that it is from; None for tags that promise nothing.

    PEP 600 has a policy for each glibc, the table only for those of some distributions. Another promises what the next
    older one does, and the symbols of its own glibc.
    """
    modern = _LEGACY.sub(lambda found: f"manylinux_{_LEGACY_VERSIONS[found[1]]}_", platform)
    match = _MODERN.fullmatch(modern)
    if match is None:
        return None
    version, arch = (int(match["major"]), int(match["minor"])), match["arch"]
    if match["libc"] == "musllinux":
        policies = _policies("MUSL", arch, f"musllinux_1_{min(version[1], _NEWEST_MUSL)}")
        policy = max(policies, key=lambda entry: entry.priority) if policies else None
        return (policies, policy) if policies and policy else None
    policies = _policies("GLIBC", arch)
    known = [policy for policy in policies or () if policy.symbol_versions]
    if policies is None or not known:
        return None
    older = [policy for policy in known if _version_of(policy.name) <= version]
    base = max(older, key=lambda entry: _version_of(entry.name)) if older else known[-1]
    if not older or _version_of(base.name) == version:
        return policies, base
    own = base.symbol_versions["GLIBC"] | {f"2.{minor}" for minor in range(version[1] + 1)}
    return policies, replace(base, name=modern, aliases=(), symbol_versions={**base.symbol_versions, "GLIBC": own})


def _version_of(policy: str) -> tuple[int, int]:
    match = _MODERN.fullmatch(policy)
    return (int(match["major"]), int(match["minor"])) if match else (0, 0)


@dataclass(frozen=True, kw_only=True)
class _Loose:
    """The symbols that a file wants without a version and nobody in the wheel defines.

    `newer` maps those that glibc has since 2.18 to the version that they came with; `unknown` are those that no glibc
    has. `strangers` are libraries in reach that may define any of them.
    """

    file: Elf
    policy: Policy
    promised: tuple[int, ...]
    newer: Mapping[str, tuple[int, ...]]
    unknown: tuple[str, ...]
    strangers: frozenset[str]


def _loose_symbols(wheel: Wheel) -> Iterator[_Loose]:
    for _, policy in _claimed(wheel):
        promised = re.match(r"manylinux_(\d+)_(\d+)_", policy.name)  # musl has no versions to go by
        if promised is None:
            continue
        defined, inside = _defined(wheel), _libraries(wheel)
        for file in wheel.elves:
            names = {name for name in file.unversioned if not name.startswith(_PYTHON)} - defined
            if names:
                known = _glibc_symbols()
                yield _Loose(
                    file=file, policy=policy, promised=(int(promised[1]), int(promised[2])),
                    newer={name: known[name] for name in names if known.get(name, _OLD) > _OLD},
                    unknown=tuple(sorted(names - known.keys())),
                    strangers=_reach(inside, file) - _VERSIONED,
                )  # fmt: skip


@cache
def _glibc_symbols() -> Mapping[str, tuple[int, ...]]:
    """Return the glibc that each of its symbols came with; (2, 17) stands for that one and all before."""
    return {
        name: tuple(map(int, version.split(".")))
        for version, names in table("glibc_symbols").items()
        for name in names.split()
    }


def _defined(wheel: Wheel) -> frozenset[str]:
    """Return the names of all symbols that some file in the wheel defines."""
    return frozenset().union(*(file.exports for file in wheel.elves))


def _libraries(wheel: Wheel) -> Mapping[str, Elf]:
    """Return the ELF files in the wheel by each name that others may need them by."""
    return {name: file for file in wheel.elves for name in (file.soname, file.member.rpartition("/")[2]) if name}


def _reach(inside: Mapping[str, Elf], file: Elf) -> frozenset[str]:
    """Return the libraries outside of the wheel that come with a file: its own needs, and those of its needs."""
    seen: set[str] = set()
    waiting = list(file.needed)
    while waiting:
        name = waiting.pop()
        if name not in seen and not _LOADER.fullmatch(name):
            seen.add(name)
            waiting += inside[name].needed if name in inside else ()
    return frozenset(seen - inside.keys())


def _stable_abi_version(wheel: Wheel) -> tuple[int, int] | None:
    """Return the oldest Python that the wheel's abi3 tags name; None where there is no such tag."""
    found = (re.fullmatch(r"cp3(\d+)", tag.interpreter) for tag in wheel.name.tags if tag.abi == "abi3")
    return min(((3, int(one[1])) for one in found if one), default=None)


def _stable_since(name: str) -> tuple[int, int] | None:
    """Return the Python whose stable ABI was the first to have a symbol; None where none has it."""
    from abi3info import DATAS, FUNCTIONS
    from abi3info.models import Symbol

    found = FUNCTIONS.get(Symbol(name)) or DATAS.get(Symbol(name))
    return (found.added.major, found.added.minor) if found else None


def _limited_api(version: tuple[int, int]) -> str:
    return f"0x{version[0]:02X}{version[1]:02X}0000"


def _too_new(file: Elf, policy: Policy) -> set[str]:
    too_new = set()
    for version in {version for wanted in file.needs.values() for version in wanted}:
        family, _, number = version.partition("_")
        promised = policy.symbol_versions.get(family)
        if promised is not None and number not in promised:
            too_new.add(version)
    return too_new


def _first_that_promises(wheel: Wheel, policies: WheelPolicies) -> str:
    fitting = [
        policy
        for policy in policies
        if policy.symbol_versions and not any(_too_new(file, policy) for file in wheel.elves)
    ]
    best = max(fitting, key=lambda policy: policy.priority, default=None)
    return best.name if best else "no policy"


def _list(names: tuple[str, ...]) -> str:
    return _shorten([f"`{name}`" for name in names])


def _shorten(words: list[str]) -> str:
    shown = ", ".join(words[:_SHOWN])
    return f"{shown} and {len(words) - _SHOWN} more" if len(words) > _SHOWN else shown


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


CHECKS: Final = (
    Check(code="MW208", title="symbols", run=symbols_are_promised,
          reason="On the oldest system that the tag promises, the loader refuses a file that wants newer symbols."),
    Check(code="MW209", title="libraries", run=libraries_are_there,
          reason="A library that is neither promised nor in the wheel is missing on somebody's machine."),
    Check(code="MW211", title="symbols without version", run=unversioned_symbols_are_old_enough,
          reason="A linker for an older glibc leaves them open and without a version, so no tool that goes by versions "
          "sees them; the loader of an old system does not find them."),
    Check(code="MW229", title="undefined symbols", run=unversioned_symbols_are_defined, severity=Severity.WARNING,
          reason="Such a file can be loaded only after another package has brought the symbol into the process."),
    Check(code="MW216", title="free threading", run=extensions_are_not_free_threaded,
          reason="A Python with the GIL lacks these symbols, and its objects have another layout."),
    Check(code="MW218", title="stable ABI", run=stable_abi_is_kept,
          reason="The tag promises every later Python, and only the stable ABI is kept from one to the next; a Python "
          "that is older than a symbol does not have it."),
)  # fmt: skip
