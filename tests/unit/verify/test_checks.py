"""The checks: each finds what it is there for, says where it is and what to do, and lets honest wheels pass."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import auditwheel.policy  # noqa: F401 - loaded here, so that no one test bears its time
import pytest

from manywheels.errors import WheelFileError
from manywheels.verify import WHEEL_CHECKS, Finding, Severity, check_wheel, collect, sets, what_else
from manywheels.verify.checks.platform import is_inside
from unit.elfmaker import AARCH64, PPC64, SharedObject, Symbol
from unit.helpers import METADATA, PLATFORM, write_wheel
from unit.wheelmaker import record_of

OLD = Symbol(name="malloc", version="GLIBC_2.2.5")
NEW = Symbol(name="close_range", version="GLIBC_2.34")
EXTENSION = "demo/_core.cpython-312-x86_64-linux-gnu.so"
TOOL = SharedObject(dynamic=False)  # a static executable: no loader, no policy
HONEST = SharedObject(symbols=(OLD, Symbol(name="memcpy", version="GLIBC_2.14")))


def findings(
    folder: Path,
    members: Mapping[str, SharedObject | bytes] | None = None,
    *,
    tags: str = f"cp312-cp312-{PLATFORM}",
    wheel_file: str | None = None,
    start: str = "demo-1.0",
) -> tuple[Finding, ...]:
    contents = {
        name: content.to_bytes() if isinstance(content, SharedObject) else content
        for name, content in (members if members is not None else {EXTENSION: HONEST}).items()
    }
    path = write_wheel(folder, tags=tags, members=contents, wheel_file=wheel_file, start=start)
    return check_wheel(path).findings


def codes(found: tuple[Finding, ...]) -> list[str]:
    return [finding.code for finding in found]


def the_one(found: tuple[Finding, ...], code: str) -> Finding:
    assert codes(found) == [code], [str(finding) for finding in found]
    return found[0]


@pytest.mark.parametrize(
    ("tags", "extension"),
    [
        (f"cp312-cp312-{PLATFORM}", "cpython-312-x86_64-linux-gnu"),
        (f"cp313-cp313t-{PLATFORM}", "cpython-313t-x86_64-linux-gnu"),
        (f"cp39-abi3-{PLATFORM}", "abi3"),
        (f"cp312-cp312-{PLATFORM}", "abi3"),
        (f"cp315-abi3.abi3t-{PLATFORM}", "abi3t"),
        (f"cp315-abi3t-{PLATFORM}", "abi3t-x86_64-linux-gnu"),
        (f"cp315-cp315-{PLATFORM}", "abi3t"),
        (f"pp311-pypy311_pp73-{PLATFORM}", "pypy311-pp73-x86_64-linux-gnu"),
        (f"py3-none-{PLATFORM}", "1"),
        ("cp312-cp312-manylinux_2_28_x86_64", "cpython-312-x86_64-linux-gnu"),
    ],
)
def test_honest_wheels_pass(tmp_path: Path, tags: str, extension: str) -> None:
    assert findings(tmp_path, {f"demo/_core.{extension}.so": HONEST, "demo/__init__.py": b""}, tags=tags) == ()


def test_what_is_told_of_a_wheel(tmp_path: Path) -> None:
    grafted = SharedObject(soname="libshout-1a2b.so.1", symbols=(Symbol(name="x", version="GLIBC_2.17"),))
    extension = SharedObject(needed=("libc.so.6", "libshout-1a2b.so.1"), runpath="$ORIGIN/../demo.libs", symbols=(OLD,))
    members = {EXTENSION: extension.to_bytes(), "demo.libs/libshout-1a2b.so.1": grafted.to_bytes()}
    report = check_wheel(write_wheel(tmp_path, members=members))
    assert (report.findings, report.glibc, report.libraries) == ((), "2.17", ("libshout-1a2b.so.1",))


def test_a_wheel_that_needs_no_glibc(tmp_path: Path) -> None:
    assert check_wheel(write_wheel(tmp_path, members={EXTENSION: SharedObject(needed=()).to_bytes()})).glibc is None


# --- MW201 … MW205: tags ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "problem"),
    [
        ("Demo.Kit-1.0", "the name `Demo.Kit` should be written `demo_kit`"),
        ("demo-1.0.0a1", None),
        ("demo-1.0-7", None),
        ("Demo-1.0", "the name `Demo` should be written `demo`"),
        ("demo-1.0.RC1", "the version `1.0.RC1` should be written `1.0rc1`"),
        ("demo-v1.0", "the version `v1.0` should be written `1.0`"),
    ],
)
def test_mw201_names_are_normalised(tmp_path: Path, start: str, problem: str | None) -> None:
    found = findings(tmp_path, start=start)
    assert [finding.problem.message for finding in found] == ([problem] if problem else [])
    assert codes(found) == (["MW201"] if problem else [])


def test_mw202_the_wheel_file_says_another_tag(tmp_path: Path) -> None:
    found = findings(
        tmp_path,
        tags="cp312-cp312-manylinux_2_28_x86_64",
        wheel_file="Wheel-Version: 1.0\nTag: cp312-cp312-linux_x86_64\n",
    )
    assert the_one(found, "MW202").problem.message == (
        "the file name has `cp312-cp312-manylinux_2_28_x86_64`, the WHEEL file has `cp312-cp312-linux_x86_64`"
    )
    assert "wheel tags" in found[0].problem.remedy


def test_mw201_capitals_are_a_warning(tmp_path: Path) -> None:
    """Many a file on the index has them, though it takes no new ones."""
    assert the_one(findings(tmp_path, start="Demo-1.0"), "MW201").severity is Severity.WARNING


@pytest.mark.parametrize(
    ("start", "fields", "told"),
    [
        ("demo-1.0", "Wheel-Version: 1.0\n", None),
        ("demo-1.0", "Wheel-Version: 1.9\n", None),
        ("demo-1.0", "Wheel-Version: 2.0\n", "`2.0`"),
        ("demo-1.0", "", "no Wheel-Version"),
        ("demo-1.0", "Wheel-Version: 1.0\nBuild: 7\n", "no build,"),
        ("demo-1.0-8", "Wheel-Version: 1.0\nBuild: 7\n", "`8`"),
        ("demo-1.0-7a", "Wheel-Version: 1.0\nBuild: 7a\n", None),
        ("demo-1.0-7", "Wheel-Version: 1.0\n", None),
    ],
)
def test_mw202_the_wheel_files_own_fields(tmp_path: Path, start: str, fields: str, told: str | None) -> None:
    tags = "cp312-cp312-manylinux_2_28_x86_64"
    found = findings(tmp_path, tags=tags, start=start, wheel_file=f"{fields}Tag: {tags}\n")
    assert codes(found) == (["MW202"] if told else [])
    assert all((told or "") in finding.problem.message for finding in found)


def test_mw202_the_wheel_file_says_less(tmp_path: Path) -> None:
    found = findings(tmp_path, wheel_file="Wheel-Version: 1.0\nTag: cp312-cp312-manylinux2014_x86_64\n")
    assert "the WHEEL file has no more" in the_one(found, "MW202").problem.message


def test_mw202_there_is_no_wheel_file(tmp_path: Path) -> None:
    path = tmp_path / f"demo-1.0-cp312-cp312-{PLATFORM}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(EXTENSION, HONEST.to_bytes())
        archive.writestr("demo-1.0.dist-info/METADATA", METADATA.format(name="demo", version="1.0"))
        archive.writestr("demo-1.0.dist-info/licenses/LICENSE", "")
        contents = {name: archive.read(name) for name in archive.namelist()}
        archive.writestr("demo-1.0.dist-info/RECORD", record_of(contents))
    assert "not exactly one" in the_one(check_wheel(path).findings, "MW202").problem.message


@pytest.mark.parametrize(
    ("tag", "member", "severity"),
    [
        ("cp312-cp312-manylinux_2_28_x86_64", EXTENSION, Severity.ERROR),
        ("cp312-cp312-manylinux_2_28_x86_64", "demo/tool", Severity.WARNING),
        ("py3-none-manylinux_2_28_x86_64", "demo/libshout.so.1", Severity.WARNING),
        ("cp312-cp312-manylinux_2_28_x86_64", f"demo-1.0.data/platlib/{EXTENSION}", Severity.WARNING),
    ],
)
def test_mw203_purelib(tmp_path: Path, tag: str, member: str, severity: Severity) -> None:
    wheel_file = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n"
    finding = the_one(findings(tmp_path, {member: HONEST}, tags=tag, wheel_file=wheel_file), "MW203")
    assert "names a platform" in finding.problem.message
    assert finding.severity is severity


@pytest.mark.parametrize(
    ("platform", "accepted"),
    [
        ("linux_x86_64", False),
        ("manylinux_2_28_x86_64", True),
        ("manylinux2014_aarch64", True),
        ("manylinux1_i686", True),
        ("manylinux1_aarch64", False),
        ("musllinux_1_2_x86_64", True),
        ("manylinux_2_28_x86_64_v3", False),
        ("manylinux_2_28", False),
        ("linux_armv7l", True),
    ],
)
def test_mw204_what_the_index_accepts(tmp_path: Path, platform: str, accepted: bool) -> None:  # noqa: FBT001
    found = findings(tmp_path, {"demo/tool": b"#!/bin/sh\n"}, tags=f"py3-none-{platform}")
    refusals = [finding for finding in found if finding.code == "MW204"]
    assert bool(refusals) is not accepted
    assert all(f"`{platform}`" in finding.problem.message for finding in refusals)


@pytest.mark.parametrize(
    ("tag", "extension", "abi"),
    [
        ("cp312-cp312", "cpython-311-x86_64-linux-gnu", "cp311"),
        ("cp312-cp312", "cpython-312t-x86_64-linux-gnu", "cp312t"),
        ("cp313-cp313t", "cpython-313-x86_64-linux-gnu", "cp313"),
        ("cp39-abi3", "cpython-39-x86_64-linux-gnu", "cp39"),
        ("py3-none", "cpython-312-x86_64-linux-gnu", "cp312"),
        ("pp311-pypy311_pp73", "cpython-311-x86_64-linux-gnu", "cp311"),
        ("pp311-pypy311_pp73", "abi3", "abi3"),
        ("pp311-pypy311_pp73", "pypy310-pp73-x86_64-linux-gnu", "pypy310"),
        ("cp312-cp312", "pypy311-pp73-x86_64-linux-gnu", "pypy311"),
        ("cp37-cp37m", "cpython-37dm-x86_64-linux-gnu", "cp37dm"),
        ("cp311-none", "cpython-312-x86_64-linux-gnu", "cp312"),
        ("cp39-abi3", "abi3t", "abi3t"),  # older Pythons do not look for this suffix
        ("cp315-abi3t", "abi3", "abi3"),
        ("cp313-cp313t", "abi3", "abi3"),  # Pythons without the GIL do not look for this suffix
    ],
)
def test_mw205_extension_modules_of_another_interpreter(tmp_path: Path, tag: str, extension: str, abi: str) -> None:
    member = f"demo/_core.{extension}.so"
    finding = the_one(findings(tmp_path, {member: HONEST}, tags=f"{tag}-{PLATFORM}"), "MW205")
    assert finding.problem.member == member
    assert f"`{abi}" in finding.problem.message
    assert "earlier build" in finding.problem.remedy


@pytest.mark.parametrize(
    ("tags", "suffixes", "lacking"),
    [
        ("cp311.cp312-cp311.cp312", ("cpython-311-x86_64-linux-gnu",), "cp311-cp312"),
        ("cp311.cp312-cp311.cp312", ("cpython-311-x86_64-linux-gnu", "cpython-312-x86_64-linux-gnu"), None),
        ("cp311.cp312-cp311.cp312", ("cpython-311-x86_64-linux-gnu", "abi3"), None),
        ("cp311.cp312-none", ("cpython-311-x86_64-linux-gnu",), "cp312-none"),
        ("cp315-abi3.abi3t", ("abi3",), "cp315-abi3t"),
        ("cp315-abi3.abi3t", ("abi3t",), None),
        ("cp315-abi3.abi3t", ("abi3", "abi3t"), None),
        ("cp312-none", ("cpython-312-x86_64-linux-gnu",), None),
        ("cp37-cp37m", ("cpython-37m-x86_64-linux-gnu",), None),
    ],
)
def test_mw205_each_tagged_interpreter_finds_each_module(
    tmp_path: Path, tags: str, suffixes: tuple[str, ...], lacking: str | None
) -> None:
    members = {f"demo/_core.{suffix}.so": HONEST for suffix in suffixes}
    found = findings(tmp_path, members, tags=f"{tags}-{PLATFORM}")
    assert set(codes(found)) == ({"MW205"} if lacking else set())
    if lacking:
        assert any(f"`{lacking}`" in finding.problem.message for finding in found)
        assert "`demo/_core`" in found[0].problem.message


@pytest.mark.parametrize(
    ("platform", "triplet", "fits"),
    [
        ("manylinux_2_28_x86_64", "x86_64-linux-gnu", True),
        ("musllinux_1_2_x86_64", "x86_64-linux-gnu", True),  # the libc is not compared: CPython took some time to know
        ("manylinux_2_28_x86_64", "aarch64-linux-gnu", False),
        ("manylinux_2_28_x86_64", "i386-linux-gnu", False),
        ("manylinux_2_28_x86_64", "darwin", False),
        ("manylinux2014_ppc64le", "powerpc64le-linux-gnu", True),
        ("manylinux2014_ppc64le", "powerpc64-linux-gnu", False),
    ],
)
def test_mw205_the_architecture_in_the_suffix(tmp_path: Path, platform: str, triplet: str, fits: bool) -> None:  # noqa: FBT001
    member = f"demo/_core.cpython-312-{triplet}.so"
    machine = SharedObject(machine=PPC64) if "ppc" in platform else SharedObject(needed=())
    found = findings(tmp_path, {member: machine}, tags=f"cp312-cp312-{platform}")
    assert codes(found) == ([] if fits else ["MW205"])
    assert all(f"`{triplet}`" in finding.problem.message for finding in found)


# --- MW206, MW207: platform -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "wanted", "fits"),
    [
        ("manylinux_2_28_aarch64", SharedObject(machine=AARCH64), True),
        ("manylinux_2_28_x86_64", SharedObject(machine=AARCH64), False),
        ("manylinux_2_28_aarch64", SharedObject(), False),
        ("manylinux_2_28_i686", SharedObject(), False),
        ("manylinux_2_28_ppc64", SharedObject(machine=PPC64, big_endian=True), True),
        ("manylinux_2_28_ppc64le", SharedObject(machine=PPC64), True),
        ("manylinux_2_28_ppc64le", SharedObject(machine=PPC64, big_endian=True), False),
        ("musllinux_1_2_x86_64", SharedObject(machine=AARCH64), False),
    ],
)
def test_mw206_the_machine(tmp_path: Path, platform: str, wanted: SharedObject, fits: bool) -> None:  # noqa: FBT001
    found = [finding for finding in findings(tmp_path, {"demo/x.so": wanted}, tags=f"py3-none-{platform}")
             if finding.code == "MW206"]  # fmt: skip
    assert (not found) is fits
    assert all(f"`{platform}`" in finding.problem.message for finding in found)
    assert all(finding.problem.member == "demo/x.so" for finding in found)


@pytest.mark.parametrize(("machine", "fits"), [(AARCH64, False), (62, True)])
def test_mw206_static_programs_have_a_machine_too(tmp_path: Path, machine: int, fits: bool) -> None:  # noqa: FBT001
    tool = SharedObject(dynamic=False, machine=machine)
    found = findings(tmp_path, {"demo/tool": tool}, tags="py3-none-manylinux_2_28_x86_64")
    assert codes(found) == ([] if fits else ["MW206"])


@pytest.mark.parametrize("machine", [224, 190, 247], ids=["AMDGPU", "CUDA", "BPF"])
@pytest.mark.parametrize("dynamic", [True, False])
def test_mw206_code_for_devices_is_for_every_platform(tmp_path: Path, machine: int, dynamic: bool) -> None:  # noqa: FBT001
    kernel = SharedObject(machine=machine, dynamic=dynamic, stack=None, needed=("libdevice.so",))
    assert findings(tmp_path, {EXTENSION: HONEST, "demo/kernels.co": kernel}) == ()


@pytest.mark.parametrize(
    ("member", "run_path", "leaves"),
    [
        ("demo/_core.abi3.so", "$ORIGIN/../../../../../tmp/evil", True),
        ("demo/_core.abi3.so", "$ORIGIN/../../lib", True),
        ("demo/_core.abi3.so", "$ORIGIN/..", False),
        ("demo/a/b/_core.abi3.so", "$ORIGIN/../../../demo.libs", False),
        ("demo-1.0.data/data/lib/libdemo.so.1", "$ORIGIN/../lib64", False),
        ("demo-1.0.data/platlib/_core.abi3.so", "$ORIGIN/../lib", True),
    ],
)
def test_mw207_run_paths_that_climb_out(tmp_path: Path, member: str, run_path: str, leaves: bool) -> None:  # noqa: FBT001
    found = findings(tmp_path, {EXTENSION: HONEST, member: SharedObject(runpath=run_path)})
    assert codes(found) == (["MW207"] if leaves else [])
    assert all(finding.severity is Severity.WARNING for finding in found)


@pytest.mark.parametrize(
    ("run_path", "foreign"),
    [
        ("$ORIGIN", []),
        ("$ORIGIN/../demo.libs:${ORIGIN}/x", []),
        ("/home/me/build", ["/home/me/build"]),
        ("$ORIGIN/x:/opt/lib", ["/opt/lib"]),
        ("$ORIGINAL/x", ["$ORIGINAL/x"]),
        ("relative", ["relative"]),
        ("$LIB", ["$LIB"]),
    ],
)
def test_mw207_run_paths(tmp_path: Path, run_path: str, foreign: list[str]) -> None:
    found = findings(tmp_path, {EXTENSION: SharedObject(runpath=run_path)})
    assert codes(found) == ["MW207"] * len(foreign)
    assert all(f"`{path}`" in finding.problem.message for path, finding in zip(foreign, found, strict=True))
    assert codes(findings(tmp_path, {EXTENSION: SharedObject(rpath=run_path)})) == codes(found)


@pytest.mark.parametrize("run_path", ["$ORIGIN/x:", ":$ORIGIN/x", "$ORIGIN/x::$ORIGIN/y"])
def test_mw207_an_empty_run_path_is_the_working_folder(tmp_path: Path, run_path: str) -> None:
    """glibc, elf/dl-load.c, fillin_rpath: an empty string `has to be interpreted as use the current directory`."""
    assert codes(findings(tmp_path, {EXTENSION: SharedObject(runpath=run_path)})) == ["MW207"]


@pytest.mark.parametrize(
    ("path", "inside"),
    [("$ORIGIN", True), ("${ORIGIN}/..", True), ("/$ORIGIN", False), ("", False), ("$ORIGINx", False)],
)
def test_paths_that_stay_inside(path: str, inside: bool) -> None:  # noqa: FBT001
    assert is_inside(path) is inside


# --- MW208, MW209: symbols and libraries ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "version", "meets"),
    [
        ("manylinux_2_28_x86_64", "GLIBC_2.34", "manylinux_2_34_x86_64"),
        ("manylinux_2_17_x86_64.manylinux2014_x86_64", "GLIBC_2.28", "manylinux_2_28_x86_64"),
        ("manylinux2014_x86_64", "GLIBC_2.28", "manylinux_2_28_x86_64"),
        ("manylinux_2_28_x86_64.manylinux_2_17_x86_64", "GLIBC_2.28", "manylinux_2_28_x86_64"),
        ("manylinux_2_28_x86_64", "GLIBC_2.99", "no policy"),
    ],
)
def test_mw208_symbols_that_are_too_new(tmp_path: Path, platform: str, version: str, meets: str) -> None:
    wants = SharedObject(symbols=(OLD, Symbol(name="novelty", version=version)))
    finding = the_one(findings(tmp_path, {EXTENSION: wants}, tags=f"cp312-cp312-{platform}"), "MW208")
    assert finding.problem.member == EXTENSION
    assert f"`novelty@{version}`" in finding.problem.message
    assert "malloc" not in finding.problem.message
    assert f"`{meets}`" in finding.problem.remedy


@pytest.mark.parametrize(("version", "fits"), [("GLIBC_2.28", True), ("GLIBC_2.29", False), ("GLIBC_2.2.5", True)])
def test_mw208_at_the_limit(tmp_path: Path, version: str, fits: bool) -> None:  # noqa: FBT001
    wants = SharedObject(symbols=(Symbol(name="f", version=version),))
    found = findings(tmp_path, {EXTENSION: wants}, tags="cp312-cp312-manylinux_2_28_x86_64")
    assert codes(found) == ([] if fits else ["MW208"])


@pytest.mark.parametrize(
    ("platform", "version", "fits"),
    [
        ("manylinux_2_30", "GLIBC_2.30", True),
        ("manylinux_2_30", "GLIBC_2.31", False),
        ("manylinux_2_33.manylinux_2_30", "GLIBC_2.33", False),
        ("manylinux_2_49", "GLIBC_2.48", True),
    ],
)
def test_mw208_policies_between_those_of_the_table(tmp_path: Path, platform: str, version: str, fits: bool) -> None:  # noqa: FBT001
    """PEP 600 has a policy for each glibc; auditwheel's table has those of some distributions."""
    wants = SharedObject(symbols=(Symbol(name="f", version=version),))
    tags = ".".join(f"{name}_x86_64" for name in platform.split("."))
    found = findings(tmp_path, {EXTENSION: wants}, tags=f"cp312-cp312-{tags}")
    assert codes(found) == ([] if fits else ["MW208"])


@pytest.mark.parametrize(("tags", "fits"), [("musllinux_1_1_i686", True), ("manylinux_2_28_x86_64", False)])
def test_mw209_musl_takes_libc_so_for_itself(tmp_path: Path, tags: str, fits: bool) -> None:  # noqa: FBT001
    found = findings(tmp_path, {EXTENSION: SharedObject(needed=("libc.so",))}, tags=f"cp312-cp312-{tags}")
    assert ("MW209" in codes(found)) is not fits


def test_mw208_many_symbols_are_counted(tmp_path: Path) -> None:
    wants = SharedObject(symbols=tuple(Symbol(name=f"f{number:02}", version="GLIBC_2.34") for number in range(12)))
    message = the_one(findings(tmp_path, {EXTENSION: wants}), "MW208").problem.message
    assert message.count("@GLIBC_2.34") == 8
    assert "and 4 more" in message


def test_mw208_other_families_count_too(tmp_path: Path) -> None:
    needed = ("libc.so.6", "libstdc++.so.6")
    new = Symbol(name="_ZSt4cout", version="GLIBCXX_3.4.30", library="libstdc++.so.6")
    found = findings(tmp_path, {EXTENSION: SharedObject(needed=needed, symbols=(OLD, new))})
    assert "`_ZSt4cout@GLIBCXX_3.4.30`" in the_one(found, "MW208").problem.message


@pytest.mark.parametrize("version", ["GLIBC_ABI_DT_RELR", "GLIBC_PRIVATE"])
@pytest.mark.parametrize("name", ["", "internal"])
def test_mw208_versions_without_a_number(tmp_path: Path, version: str, name: str) -> None:
    """Relative relocations need glibc 2.36; GLIBC_PRIVATE is promised by no glibc."""
    wants = SharedObject(symbols=(OLD, Symbol(name=name, version=version)))
    found = findings(tmp_path, {EXTENSION: wants}, tags="cp312-cp312-manylinux_2_28_x86_64")
    assert version in the_one(found, "MW208").problem.message


def test_mw208_versions_of_own_libraries_are_nobody_elses_business(tmp_path: Path) -> None:
    own = SharedObject(soname="libown.so.1")
    wants = SharedObject(
        needed=("libown.so.1",), runpath="$ORIGIN",
        symbols=(Symbol(name="f", version="OWN_9.9", library="libown.so.1"),),
    )  # fmt: skip
    assert findings(tmp_path, {EXTENSION: wants, "demo/libown.so.1": own}) == ()


@pytest.mark.parametrize(
    ("needed", "missing"),
    [
        (("libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2"), ()),
        (("libshout.so.1",), ("libshout.so.1",)),
        (("libshout.so.1", "libc.so.6", "libwhisper.so.2"), ("libshout.so.1", "libwhisper.so.2")),
        (("libc.musl-x86_64.so.1",), ("libc.musl-x86_64.so.1",)),
    ],
)
def test_mw209_libraries(tmp_path: Path, needed: tuple[str, ...], missing: tuple[str, ...]) -> None:
    found = findings(tmp_path, {EXTENSION: SharedObject(needed=needed)})
    if not missing:
        assert found == ()
        return
    named = re.findall(r"`(lib[^`]*)`", the_one(found, "MW209").problem.message)
    assert tuple(named) == missing
    assert "auditwheel" in found[0].problem.remedy


def test_mw209_the_loader_looks_for_a_files_name(tmp_path: Path) -> None:
    members = {EXTENSION: SharedObject(needed=("libshout.so.1",), runpath="$ORIGIN"),
               "demo/libshout.so.1.2": SharedObject(soname="libshout.so.1")}  # fmt: skip
    finding = the_one(findings(tmp_path, members), "MW209")
    assert finding.severity is Severity.WARNING
    assert "`libshout.so.1`, which is the SONAME of `demo/libshout.so.1.2`" in finding.problem.message


@pytest.mark.parametrize("place", ["demo.libs/libshout.so.1", "demo/libshout.so.1"])
def test_mw209_libraries_in_the_wheel(tmp_path: Path, place: str) -> None:
    wants = SharedObject(needed=("libshout.so.1",), runpath="$ORIGIN:$ORIGIN/../demo.libs/")
    assert findings(tmp_path, {EXTENSION: wants, place: SharedObject(soname="libshout.so.1")}) == ()


def test_mw209_a_file_that_is_only_called_like_a_library(tmp_path: Path) -> None:
    wants = SharedObject(needed=("libshout.so.1",), runpath="$ORIGIN")
    members: dict[str, SharedObject | bytes] = {EXTENSION: wants, "demo/libshout.so.1": b"text"}
    first, second = findings(tmp_path, members)
    assert (first.code, first.severity, second.code) == ("MW209", Severity.ERROR, "MW235")


@pytest.mark.parametrize("run_path", [None, "$ORIGIN", "$ORIGIN/../other.libs"])
def test_mw209_a_library_that_no_run_path_leads_to(tmp_path: Path, run_path: str | None) -> None:
    wants = SharedObject(needed=("libshout.so.1",), runpath=run_path)
    members = {EXTENSION: wants, "demo.libs/libshout.so.1": SharedObject(soname="libshout.so.1")}
    finding = the_one(findings(tmp_path, members), "MW209")
    assert finding.severity is Severity.WARNING
    assert "none of its run paths" in finding.problem.message


def test_mw209_whoever_finds_a_library_finds_it_for_all(tmp_path: Path) -> None:
    members = {
        EXTENSION: SharedObject(needed=("libshout.so.1",), runpath="$ORIGIN/../demo.libs"),
        "demo/_other.abi3.so": SharedObject(needed=("libshout.so.1",)),
        "demo.libs/libshout.so.1": SharedObject(soname="libshout.so.1"),
    }
    assert findings(tmp_path, members) == ()


@pytest.mark.parametrize(
    ("dependency", "run_path", "severity"),
    [
        ("Requires-Dist: tbb\n", "$ORIGIN/../../../tbb/lib", Severity.WARNING),
        ("Requires-Dist: tbb\n", "$ORIGIN/../demo.libs", Severity.ERROR),
        ("Requires-Dist: tbb\n", None, Severity.ERROR),
        ("Requires-Dist: tbb; extra=='fast'\n", "$ORIGIN/../tbb/lib", Severity.ERROR),
        ("", "$ORIGIN/../tbb/lib", Severity.ERROR),
    ],
)
def test_mw209_libraries_of_packages_that_it_depends_on(
    tmp_path: Path, dependency: str, run_path: str | None, severity: Severity
) -> None:
    metadata = METADATA.replace("License-Expression", f"{dependency}License-Expression")
    member = {"demo/lib/x.so": SharedObject(needed=("libtbb.so.12",), runpath=run_path).to_bytes()}
    path = write_wheel(tmp_path, tags=f"py3-none-{PLATFORM}", members=member, metadata=metadata)
    found = [finding for finding in check_wheel(path).findings if finding.code == "MW209"]
    assert [finding.severity for finding in found] == [severity]
    assert "`libraries`" in found[0].problem.remedy
    assert "MW209" not in codes(check_wheel(path, ("libtbb.*",)).findings)


@pytest.mark.parametrize(
    ("tags", "needed", "missing"),
    [
        ("manylinux_2_28_x86_64", "ld-musl-x86_64.so.1", True),
        ("manylinux_2_28_x86_64", "ld-linux-x86-64.so.2", False),
        ("musllinux_1_2_x86_64", "ld-musl-x86_64.so.1", False),
        ("musllinux_1_2_x86_64", "ld-linux-x86-64.so.2", True),
        ("manylinux_2_28_x86_64.musllinux_1_2_x86_64", "libc.so.6", True),
        ("manylinux_2_28_x86_64.musllinux_1_2_x86_64", "libc.musl-x86_64.so.1", True),
    ],
)
def test_mw209_each_libc_has_its_own_parts(tmp_path: Path, tags: str, needed: str, missing: bool) -> None:  # noqa: FBT001
    """A compressed tag promises both libcs: what needs one of them does not keep it."""
    found = findings(tmp_path, {EXTENSION: SharedObject(needed=(needed,))}, tags=f"cp312-cp312-{tags}")
    assert codes(found) == (["MW209"] if missing else [])


def test_mw208_a_bundled_runtime_has_its_own_versions(tmp_path: Path) -> None:
    bundled = "libstdc++-1a2b3c4d.so.6"
    new = Symbol(name="_ZSt4cout", version="GLIBCXX_3.4.32", library=bundled)
    wants = SharedObject(needed=(bundled,), runpath="$ORIGIN/../demo.libs", symbols=(new,))
    libraries = {f"demo.libs/{bundled}": SharedObject(soname=bundled)}
    assert findings(tmp_path, {EXTENSION: wants, **libraries}) == ()


def test_mw208_a_file_called_libc_promises_nothing(tmp_path: Path) -> None:
    members = {EXTENSION: SharedObject(symbols=(NEW,)), "demo/libc.so.6": SharedObject(soname="libc.so.6")}
    assert "MW208" in codes(findings(tmp_path, members))


# --- wheels that would hide something ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"\x7fELF" + b"\xff" * 400, HONEST.to_bytes()[:300], b"\x7fELF", b"version https://git-lfs", b""],
    ids=["garbage", "truncated", "only the magic number", "a pointer to the file", "empty"],
)
def test_mw210_an_extension_module_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    """No interpreter could load it, and none of its symbols were looked at: such a wheel must not pass."""
    finding = the_one(findings(tmp_path, {EXTENSION: content}), "MW210")
    assert finding.problem.member == EXTENSION
    assert finding.problem.remedy


@pytest.mark.parametrize("kind", [1, 3], ids=["an object file", "a static program"])
@pytest.mark.parametrize("member", [EXTENSION, "demo/_core.so"])
def test_mw210_an_extension_module_that_nothing_can_load(tmp_path: Path, member: str, kind: int) -> None:
    content = bytearray(TOOL.to_bytes())
    content[16] = kind  # e_type
    finding = the_one(findings(tmp_path, {member: bytes(content)}), "MW210")
    assert "dynamic section" in finding.problem.message


def test_stripped_section_headers_hide_nothing(tmp_path: Path) -> None:
    hidden = SharedObject(sections=False, needed=("libshout.so.1",), runpath="/build", symbols=(NEW,))
    assert codes(findings(tmp_path, {EXTENSION: hidden})) == ["MW207", "MW208", "MW209"]


# --- wheels that are none ---------------------------------------------------------------------------------------------


def damage(path: Path, needle: bytes) -> None:
    content = bytearray(path.read_bytes())
    start = content.index(needle) + len(needle)
    content[start : start + 40] = bytes(byte ^ 0x55 for byte in content[start : start + 40])
    path.write_bytes(content)


def test_files_that_are_no_wheels(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0-py3-none-any.whl"
    path.write_bytes(b"this is no archive")
    with pytest.raises(WheelFileError) as caught:
        check_wheel(path)
    assert str(path) in caught.value.message
    assert caught.value.remedy
    with pytest.raises(WheelFileError, match="absent"):
        check_wheel(tmp_path / "absent-1.0-py3-none-any.whl")


def test_names_that_are_none(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "demo.whl", "w"):
        pass
    with pytest.raises(WheelFileError, match=r"demo\.whl"):
        check_wheel(tmp_path / "demo.whl")


@pytest.mark.parametrize("member", [EXTENSION, "demo-1.0.dist-info/WHEEL"])
def test_damaged_members(tmp_path: Path, member: str) -> None:
    path = write_wheel(tmp_path, members={EXTENSION: HONEST.to_bytes()})
    damage(path, member.encode())
    found = check_wheel(path).findings
    assert ("MW226", member) in {(finding.code, finding.problem.member) for finding in found}


def test_an_encrypted_member(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, members={EXTENSION: HONEST.to_bytes()})
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    path.write_bytes(content)
    found = check_wheel(path).findings
    assert ("MW223", EXTENSION) in {(finding.code, finding.problem.member) for finding in found}


# --- which wheels, and the table of checks ----------------------------------------------------------------------------


def test_wheels_are_collected_once(tmp_path: Path) -> None:
    for name in ("b.whl", "a.whl", "c-1.0.tar.gz", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert collect([tmp_path / "b.whl", tmp_path]) == (
        (tmp_path / "b.whl", tmp_path / "a.whl"),
        (tmp_path / "c-1.0.tar.gz",),
    )


@pytest.mark.parametrize(("name", "message"), [("absent.whl", "There is no wheel"), ("empty", "has no wheel")])
def test_paths_without_wheels(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(WheelFileError) as caught:
        collect([tmp_path / name])
    assert message in caught.value.message
    assert "*.whl" in caught.value.remedy


@pytest.mark.parametrize("name", ["demo-1.0.zip", "demo-1.0-py3-none-any.whl.metadata", "README"])
def test_other_files_in_dist_are_passed_over(tmp_path: Path, name: str) -> None:
    wheel, other = tmp_path / "a.whl", tmp_path / name
    for path in (wheel, other):
        path.write_bytes(b"")
    assert collect([other, wheel]) == ((wheel,), ())
    kind = "an sdist of another format than .tar.gz" if "1.0.zip" in name else "no wheel"
    assert (what_else(wheel), what_else(other), what_else(tmp_path)) == (None, kind, None)
    with pytest.raises(WheelFileError, match=f"is {kind}"):
        collect([other])


def test_the_table_of_checks() -> None:
    assert len({check.code for check in WHEEL_CHECKS}) == len(WHEEL_CHECKS)
    for check in WHEEL_CHECKS:
        assert re.fullmatch(r"MW2\d\d", check.code)
        assert check.title
        assert check.reason.endswith(".")
        assert (check.run.__doc__ or "").strip()


def test_every_check_has_a_test() -> None:
    files = Path(__file__).parents[1].rglob("test_*.py")
    tested = {found.upper() for file in files for found in re.findall(r"def test_(mw2\d\d)_", file.read_text())}
    assert tested >= {check.code for check in WHEEL_CHECKS} | {check.code for check in sets.CHECKS}
