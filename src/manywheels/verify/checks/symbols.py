"""Symbols: the tag's policy promises the symbol versions and libraries that the ELF files need (PEP 600).

A linker leaves a symbol that it does not know without a version, and only the loader of an old system fails:
`data/glibc_symbols.toml` lists these names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Final

from manywheels.data import table
from manywheels.verify.model import Check, Problem, Severity, Wheel
from manywheels.verify.places import Place, place_of
from manywheels.wheels.elf import Elf
from manywheels.wheels.wheelfile import STABLE_ABIS, suffix_of

if TYPE_CHECKING:
    from auditwheel.policy import Policy, WheelPolicies

# parts of libc, promised with it: musl itself provides every name that starts with `libc.`
OWN_PARTS: Final = {
    "glibc": re.compile(r"ld(64|-linux(-[\w-]+)?)?\.so\.\d+"), "musl": re.compile(r"ld-musl-[\w-]+\.so\.1|libc\.so")
}  # fmt: skip
_NEWEST_MUSL: Final = 2  # of musl 1.x, in auditwheel's table
_SHOWN: Final = 8  # symbols in a message
# Libraries with versions for all symbols: a linker that sees them leaves no symbol without.
_VERSIONED: Final = frozenset({
    "libanl.so.1", "libatomic.so.1", "libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libmvec.so.1",
    "libnsl.so.1", "libpthread.so.0", "libresolv.so.2", "librt.so.1", "libstdc++.so.6", "libutil.so.1",
})  # fmt: skip
_OLD: Final = (2, 17)  # any version up to this, in data/glibc_symbols.toml
_PYTHON: Final = ("Py", "_Py")  # PyPy's start with PyPy and _PyPy
_OF_INTERPRETERS: Final = {"pp": ("pypy_",), "graalpy": ("GraalPy",)}  # by the start of the tag
# Exported by free-threaded CPython alone (PEP 703): Py_DECREF is inline code that calls them.
FREE_THREADED: Final = frozenset({"_Py_DecRefShared", "_Py_DecRefSharedDebug", "_Py_MergeZeroLocalRefcount"})
WITH_GIL: Final = frozenset({"_Py_Dealloc"})  # called by Py_DECREF in other CPythons, for abi3 until 3.11
# They need a PyModuleDef, which no extension for abi3t can have (PEP 803).
MODULE_DEFINITIONS: Final = frozenset({
    "PyModuleDef_Init", "PyModule_Create2", "PyModule_FromDefAndSpec2",
})  # fmt: skip


def symbols_are_promised(wheel: Wheel) -> Iterator[Problem]:
    """No ELF file needs a symbol version that the strictest policy of the tags does not promise."""
    for claim in claimed(wheel):
        for member, symbols in symbols_above(wheel, claim.policy):
            yield Problem(
                member=member,
                message=f"needs {listed(symbols)}, newer than `{claim.policy.name}` promises",
                remedy=f"Build against an older glibc (the image of the policy, or the zig toolchain); "
                f"as it is, the wheel meets `{_first_that_promises(wheel, claim.policies)}`.",
            )


def symbols_above(wheel: Wheel, policy: Policy) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each ELF file with symbols newer than a policy promises, as `close_range@GLIBC_2.34`."""
    inside = libraries_in(wheel)
    for file in wheel.elves:
        too_new = frozenset(_too_new(file, policy, inside))
        if too_new:
            yield file.member, file.wanting(too_new) or tuple(sorted(too_new))


def unversioned_symbols_are_old_enough(wheel: Wheel) -> Iterator[Problem]:
    """No ELF file needs, without a version, a symbol of a newer glibc than the policy promises."""
    for loose in _loose_symbols(wheel):
        too_new = {name: version for name, version in loose.newer.items() if version > loose.promised}
        if too_new and not loose.strangers - loose.policy.whitelist:  # these names are glibc's own
            named = [f"`{name}` (glibc {_dotted(version)})" for name, version in sorted(too_new.items())]
            yield Problem(
                member=loose.file.member,
                message=f"needs {_shorten(named)}, but `{loose.policy.name}` promises glibc {_dotted(loose.promised)}",
                remedy="Look the function up at run time (dlsym), declare it weak and test for it, or avoid it; "
                f"as it is, the wheel needs glibc {_dotted(max(too_new.values()))}.",
            )


def unversioned_symbols_are_defined(wheel: Wheel) -> Iterator[Problem]:
    """Every symbol needed without a version is Python's, glibc's, or defined by a file in the wheel."""
    for loose in _loose_symbols(wheel):
        if loose.unknown and not loose.strangers:
            yield Problem(
                member=loose.file.member,
                message=f"needs {listed(loose.unknown)}, which nothing defines: neither Python, nor "
                f"`{loose.policy.name}`, nor a file in the wheel",
                remedy="Link the library or the object file that defines it; declare it weak if it may be absent.",
            )


def extensions_are_as_threaded_as_tagged(wheel: Wheel) -> Iterator[Problem]:
    """Extension modules need only symbols of the CPythons that load them, with the GIL or free-threaded."""
    abis = ".".join(sorted({tag.abi for tag in wheel.name.tags}))
    for file in wheel.elves:
        wanted = {symbol.name for symbol in file.imports if not symbol.weak}
        built_for, foreign = _built_for_others(_loaded_as(wheel, file.member), wanted)
        if foreign:
            yield Problem(
                member=file.member,
                message=f"is built for the {built_for} (it needs {listed(foreign)}), but the wheel is tagged `{abis}`",
                remedy="Remove leftovers of earlier builds from the source tree, do not set Py_GIL_DISABLED by hand, "
                "and build again.",
            )
        if "abi3t" in _loaded_as(wheel, file.member) and (defined := _module_definitions(file, wanted)):
            yield Problem(
                member=file.member,
                message=f"makes its module of a PyModuleDef ({listed(defined)}), which free-threaded CPython refuses "
                "from the stable ABI",
                remedy="Define Py_TARGET_ABI3T wherever Python.h is included, and export the module by PyModExport_… "
                "(PEP 793), or give up abi3t.",
            )


def _loaded_as(wheel: Wheel, member: str) -> frozenset[str]:
    """Return the ABI tags of CPythons that load a file; the wheel's for a library."""
    suffix = suffix_of(member)
    tags = (tag for tag in wheel.name.tags if suffix is None or suffix.loads(tag))
    return frozenset(tag.abi for tag in tags if re.fullmatch(r"cp3\d+t?|abi3t?", tag.abi))


def _built_for_others(abis: frozenset[str], wanted: set[str]) -> tuple[str, tuple[str, ...]]:
    """Return the kind of CPython that a file is built for, and its symbols, if a CPython of another kind loads it."""
    kinds = {abi.endswith("t") for abi in abis}
    free, with_gil = wanted & FREE_THREADED, wanted & WITH_GIL
    if free and (kinds == {False} or "abi3" in abis):  # no stable ABI has them
        return "free-threaded CPython", tuple(sorted(free))
    if (with_gil and "abi3t" in abis) or (kinds == {True} and not free):
        return "CPython with the GIL", tuple(sorted(with_gil))
    return "", ()


def _module_definitions(file: Elf, wanted: set[str]) -> tuple[str, ...]:
    """Return the functions by which a file makes its module of a PyModuleDef, if it makes it in no other way."""
    if any(name.startswith("PyModExport_") for name in file.exports):
        return ()
    return tuple(sorted(wanted & MODULE_DEFINITIONS))


def stable_abi_is_kept(wheel: Wheel) -> Iterator[Problem]:
    """A wheel tagged abi3 or abi3t uses only the stable ABI of its oldest Python (PEP 384, 803)."""
    defined, inside = _defined(wheel), libraries_in(wheel)
    whitelist = _VERSIONED.union(*(claim.policy.whitelist for claim in claimed(wheel)))
    for file in wheel.elves:
        promised = _stable_abi_version(wheel, file.member)
        if promised is None or _reach(inside, file) - whitelist:
            continue  # another package's library may define the symbol
        wanted = {symbol.name for symbol in file.imports if not symbol.weak and symbol.name.startswith(_PYTHON)}
        added = {name: _stable_since(name) for name in wanted - defined}
        private = tuple(sorted(name for name, since in added.items() if since is None))
        newer = {name: since for name, since in added.items() if since and since > promised}
        abis = ".".join(sorted(STABLE_ABIS & {tag.abi for tag in wheel.name.tags}))
        if private:
            yield Problem(
                member=file.member,
                message=f"needs {listed(private)}, which the stable ABI does not have",
                remedy=f"Define {_limited_api(promised, abis)} wherever Python.h is included, or give up {abis}.",
            )
        if newer:
            named = [f"`{name}` (Python {_dotted(since)})" for name, since in sorted(newer.items())]
            needs = max(newer.values())
            yield Problem(
                member=file.member,
                message=f"needs {_shorten(named)}, which the stable ABI of Python {_dotted(promised)} does not have",
                remedy=f"Define {_limited_api(promised, abis)}, or tag the wheel `cp{needs[0]}{needs[1]}-{abis}`.",
            )


def lowest_glibc(elves: tuple[Elf, ...]) -> str | None:
    """Return the lowest glibc with every needed symbol version, as `2.17`, or None."""
    highest = max((version for file in elves if (version := file.highest("GLIBC"))), default=None)
    return ".".join(map(str, highest)) if highest else None


def bundled_libraries(wheel: Wheel) -> tuple[str, ...]:
    """Return the libraries' names in the `*.libs` folder."""
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


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A policy that a platform tag claims, and its table; `version` is its libc's."""

    libc: str
    arch: str
    version: tuple[int, int]
    policies: WheelPolicies
    policy: Policy


def claimed(wheel: Wheel) -> tuple[Claim, ...]:
    """Return the strictest claimed policy of each libc and architecture, which implies the others."""
    strictest: dict[tuple[str, str], Claim] = {}
    for claim in filter(None, map(_claim_of, wheel.name.platforms)):
        known = strictest.setdefault((claim.libc, claim.arch), claim)
        if claim.version < known.version:
            strictest[claim.libc, claim.arch] = claim
    return tuple(strictest.values())


@cache
def _claim_of(platform: str) -> Claim | None:
    """Return the policy that a platform tag claims; None for tags that promise nothing.

    PEP 600 has a policy for each glibc, the table only some distributions'. Any other promises the next older one, and
    the symbols of its own glibc.
    """
    place = place_of(platform)
    if place is None or not place.libc:
        return None
    if place.libc == "musl":
        policies = _policies("MUSL", place.arch, f"musllinux_1_{min(place.version[1], _NEWEST_MUSL)}")
        policy = max(policies, key=lambda entry: entry.priority) if policies else None
    else:
        policies = _policies("GLIBC", place.arch)
        policy = _glibc_policy(policies, place) if policies else None
    if policies is None or policy is None:
        return None
    return Claim(libc=place.libc, arch=place.arch, version=place.version, policies=policies, policy=policy)


def _glibc_policy(policies: WheelPolicies, place: Place) -> Policy | None:
    known = {version: policy for policy in policies if policy.symbol_versions and (version := _version_of(policy))}
    if not known:
        return None
    base = max((version for version in known if version <= place.version), default=min(known))
    if base >= place.version:
        return known[base]
    promised = known[base].symbol_versions
    own = promised["GLIBC"] | {f"2.{minor}" for minor in range(place.version[1] + 1)}
    name = f"manylinux_{place.version[0]}_{place.version[1]}_{place.arch}"
    return replace(known[base], name=name, aliases=(), symbol_versions={**promised, "GLIBC": own})


def _version_of(policy: Policy) -> tuple[int, int] | None:
    place = place_of(policy.name)
    return place.version if place and place.libc else None


@dataclass(frozen=True, kw_only=True)
class _Loose:
    """Symbols that a file needs without a version and no file in the wheel defines.

    `newer` has the first version of those that glibc has since 2.18; `unknown` are in no glibc. `strangers` are outside
    libraries that may define any.
    """

    file: Elf
    policy: Policy
    promised: tuple[int, ...]
    newer: Mapping[str, tuple[int, ...]]
    unknown: tuple[str, ...]
    strangers: frozenset[str]


def _loose_symbols(wheel: Wheel) -> Iterator[_Loose]:
    for claim in claimed(wheel):
        if claim.libc != "glibc":  # musl has no symbol versions
            continue
        defined, inside, pythons = _defined(wheel), libraries_in(wheel), _starts_of_pythons(wheel)
        for file in wheel.elves:
            names = {name for name in file.unversioned if not name.startswith(pythons)} - defined
            if names:
                known = _glibc_symbols()
                yield _Loose(
                    file=file, policy=claim.policy, promised=claim.version,
                    newer={name: known[name] for name in names if known.get(name, _OLD) > _OLD},
                    unknown=tuple(sorted(names - known.keys())),
                    strangers=_reach(inside, file) - _VERSIONED,
                )  # fmt: skip


def _starts_of_pythons(wheel: Wheel) -> tuple[str, ...]:
    """Return how the symbols start that every interpreter of the tags exports."""
    tags = {tag.interpreter for tag in wheel.name.tags}
    own = (names for start, names in _OF_INTERPRETERS.items() if all(tag.startswith(start) for tag in tags))
    return (*_PYTHON, *chain.from_iterable(own))


@cache
def _glibc_symbols() -> Mapping[str, tuple[int, ...]]:
    """Return the first glibc of each of its symbols; (2, 17) stands for all until then."""
    return {
        name: tuple(map(int, version.split(".")))
        for version, names in table("glibc_symbols").items()
        for name in names.split()
    }


def _defined(wheel: Wheel) -> frozenset[str]:
    return frozenset().union(*(file.exports for file in wheel.elves))


def libraries_in(wheel: Wheel) -> Mapping[str, Elf]:
    return {name: file for file in wheel.elves for name in (file.soname, file.member.rpartition("/")[2]) if name}


def _reach(inside: Mapping[str, Elf], file: Elf) -> frozenset[str]:
    """Return outside libraries that a file needs, directly or through libraries in the wheel."""
    seen: set[str] = set()
    waiting = list(file.needed)
    while waiting:
        name = waiting.pop()
        if name not in seen and not any(own.fullmatch(name) for own in OWN_PARTS.values()):
            seen.add(name)
            waiting += inside[name].needed if name in inside else ()
    return frozenset(seen - inside.keys())


def _stable_abi_version(wheel: Wheel, member: str) -> tuple[int, int] | None:
    """Return the oldest Python with the stable ABI that loads a file; None for files of one Python's own ABI."""
    suffix = suffix_of(member)
    if suffix and suffix.abi not in {"", *STABLE_ABIS}:
        return None
    tags = (tag for tag in wheel.name.tags if tag.abi in STABLE_ABIS and (suffix is None or suffix.loads(tag)))
    found = (re.fullmatch(r"cp3(\d+)", tag.interpreter) for tag in tags)
    return min(((3, int(one[1])) for one in found if one), default=None)


def _stable_since(name: str) -> tuple[int, int] | None:
    """Return the first Python with a symbol in its stable ABI; None if there is none."""
    from abi3info import DATAS, FUNCTIONS
    from abi3info.models import Symbol

    found = FUNCTIONS.get(Symbol(name)) or DATAS.get(Symbol(name))
    return (found.added.major, found.added.minor) if found else None


def _limited_api(version: tuple[int, int], abis: str) -> str:
    macros = " and ".join({"abi3": "Py_LIMITED_API", "abi3t": "Py_TARGET_ABI3T"}[abi] for abi in abis.split("."))
    return f"{macros} as 0x{version[0]:02X}{version[1]:02X}0000"


def _too_new(file: Elf, policy: Policy, inside: Mapping[str, Elf]) -> set[str]:
    """Return the versions that neither the policy nor a library in the wheel (except libc) provides."""
    too_new = set()
    for library, wanted in file.needs.items():
        for version in wanted:
            family, _, number = version.partition("_")
            promised = policy.symbol_versions.get(family)
            brought = library in inside and family != "GLIBC"  # the interpreter has loaded its own libc
            if promised is not None and number not in promised and not brought:
                too_new.add(version)
    return too_new


def _first_that_promises(wheel: Wheel, policies: WheelPolicies) -> str:
    inside = libraries_in(wheel)
    fitting = [
        policy
        for policy in policies
        if policy.symbol_versions and not any(_too_new(file, policy, inside) for file in wheel.elves)
    ]
    best = max(fitting, key=lambda policy: policy.priority, default=None)
    return best.name if best else "no policy"


def listed(names: tuple[str, ...]) -> str:
    return _shorten([f"`{name}`" for name in names])


def _shorten(words: list[str]) -> str:
    shown = ", ".join(words[:_SHOWN])
    return f"{shown} and {len(words) - _SHOWN} more" if len(words) > _SHOWN else shown


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


CHECKS: Final = (
    Check(code="MW208", title="symbols", run=symbols_are_promised, of_linux=True,
          reason="On the oldest system of the tag, the loader refuses a file that needs newer symbols."),
    Check(code="MW211", title="symbols without version", run=unversioned_symbols_are_old_enough, of_linux=True,
          reason="A linker for an older glibc leaves them undefined and without a version: tools that compare versions "
          "do not see them, and the loader of an old system does not find them."),
    Check(code="MW229", title="undefined symbols", run=unversioned_symbols_are_defined, of_linux=True,
          severity=Severity.WARNING,
          reason="Such a file can be loaded only after another package has loaded the symbol into the process."),
    Check(code="MW216", title="free threading", run=extensions_are_as_threaded_as_tagged, of_linux=True,
          reason="Objects have another layout there: a module built for the other kind lacks symbols, or crashes."),
    Check(code="MW218", title="stable ABI", run=stable_abi_is_kept, of_linux=True,
          reason="The tag promises every later Python, but only the stable ABI is the same in all; and a Python older "
          "than a symbol does not have it."),
)  # fmt: skip
