"""The checks of several wheels side by side, and the manifest that they are held against."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from packaging.tags import parse_tag

from manywheels.errors import WheelFileError
from manywheels.verify import Severity
from manywheels.verify.model import Problem, open_wheel
from manywheels.verify.rules import Rules
from manywheels.verify.run import check_set
from manywheels.verify.sets import CHECKS, WheelFacts, disagreements, facts_of, left_to_build
from manywheels.wheels import manifest as manifest_module
from manywheels.wheels.manifest import Manifest, Shard, TargetState, describe_wheel, read_manifest
from manywheels.wheels.output import MANIFEST
from unit.elfmaker import SharedObject
from unit.helpers import PLATFORM, built, failed, manifest, wheel_record, write_wheel

Found = list[tuple[str, str | None, Problem]]
MIB = 1 << 20


def facts(
    python: str = "cp312",
    pure_files: Mapping[str, str] = MappingProxyType({"demo/__init__.py": "a"}),
    *,
    platform: str = PLATFORM,
    project: str = "demo",
    version: str = "1.0",
    size: int = 9000,
    abi: str | None = None,
    build: tuple[int, str] | tuple[()] = (),
) -> WheelFacts:
    tags = f"{python}-{abi or python}-{platform}"
    number = f"-{build[0]}{build[1]}" if build else ""
    return WheelFacts(
        file=f"{project}-{version}{number}-{tags}.whl", project=project, version=version, build=build,
        tags=parse_tag(tags), size=size, sha256="0" * 64, pure_files=pure_files,
    )  # fmt: skip


def run(*wheels: WheelFacts, against: Manifest | None = None) -> Found:
    return [(check.code, wheel, problem) for check in CHECKS for wheel, problem in check.run(wheels, against)]


def codes(found: Found) -> list[str]:
    return [code for code, _, _ in found]


def the_one(found: Found, code: str) -> tuple[str | None, Problem]:
    assert codes(found) == [code], found
    assert found[0][2].remedy
    return found[0][1], found[0][2]


def severity(code: str) -> Severity:
    return next(check.severity for check in CHECKS if check.code == code)


def test_the_table_of_set_checks() -> None:
    assert len({check.code for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert check.title
        assert check.reason.endswith(".")
        assert (check.run.__doc__ or "").strip()


def test_an_honest_set_passes() -> None:
    musl = "musllinux_1_2_x86_64"
    wheels = [
        facts("cp311"),
        facts("cp312"),
        facts("cp313"),
        facts("cp313", abi="cp313t"),
        facts("cp312", {"other": "b"}, platform=musl, size=90_000),
        facts("py3", abi="none", platform="any", size=10),
    ]
    assert run(*wheels) == []
    assert run() == []
    assert run(facts()) == []


# --- facts ------------------------------------------------------------------------------------------------------------


def test_the_facts_of_a_wheel(tmp_path: Path) -> None:
    members = {
        "demo/_core.cpython-312-x86_64-linux-gnu.so": SharedObject().to_bytes(),
        "demo/tool": SharedObject(dynamic=False).to_bytes(),
        "demo/broken.abi3.so": b"\x7fELF",
        "demo/libdemo.a": b"!<arch>\n",
        "demo/core.pyc": b"\x00",
        "demo/__init__.py": b"",
        "demo/core.pyi": b"x: int\n",
        "demo-1.0.data/scripts/demo": b"#!python\n",
    }
    path = write_wheel(tmp_path, members=members, start="demo-1.0-7b")
    with open_wheel(path) as wheel:
        found = facts_of(wheel)
    record = describe_wheel(path, glibc=None, libraries=())
    assert (found.file, found.size, found.sha256) == (path.name, record.size, record.sha256)
    assert (found.project, found.version, found.build) == ("demo", "1.0", (7, "b"))
    assert found.platform == ("manylinux x86_64",)
    assert sorted(found.pure_files) == ["demo-1.0.data/scripts/demo", "demo/__init__.py", "demo/core.pyi"]
    assert found.pure_files["demo/__init__.py"] == "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize(
    ("platform", "kind"),
    [
        ("manylinux1_i686", "manylinux i686"),
        ("manylinux2014_aarch64", "manylinux aarch64"),
        ("manylinux_2_28_ppc64le", "manylinux ppc64le"),
        ("musllinux_1_2_armv7l", "musllinux armv7l"),
        ("any", "any"),
    ],
)
def test_kinds_of_platform(platform: str, kind: str) -> None:
    assert facts(platform=platform).platform == (kind,)


# --- MW260: the manifest ----------------------------------------------------------------------------------------------


def sealed(*names: str) -> tuple[list[WheelFacts], Manifest]:
    wheels = [facts(name) for name in names]
    return wheels, manifest(*(built(name) for name in names))


def test_mw260_the_same_set() -> None:
    wheels, record = sealed("cp311", "cp312")
    assert run(*wheels, against=record) == []


def test_mw260_a_wheel_that_serves_two_targets() -> None:
    wheels, record = sealed("cp312")
    reused = replace(built("cp313"), state=TargetState.REUSED, wheel=record.wheels[0])
    assert run(*wheels, against=replace(record, targets=(*record.targets, reused))) == []


def test_mw260_a_wheel_is_missing() -> None:
    wheels, record = sealed("cp311", "cp312")
    place, problem = the_one(run(wheels[0], against=record), "MW260")
    assert place is None
    assert f"`{wheels[1].file}`" in problem.message


def test_mw260_a_wheel_too_many() -> None:
    wheels, record = sealed("cp311", "cp312")
    place, problem = the_one(run(*wheels, facts("cp313"), against=record), "MW260")
    assert place == facts("cp313").file
    assert "is not in the manifest" in problem.message
    assert "Build it with the others" in problem.remedy


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("demo-1.0-cp313-cp313-musllinux_1_2_aarch64.whl", "Build it with the others"),
        ("demo-1.0-cp313-cp313-linux_x86_64.macosx_11_0_arm64.whl", "Build it with the others"),
        ("demo-1.0-cp313-cp313-macosx_11_0_arm64.whl", "manywheels gather --foreign"),
        ("demo-1.0.tar.gz", "Remove it: the manifest has the sdist"),
    ],
)
def test_what_to_do_with_a_file_too_many_depends_on_what_it_is_for(name: str, cure: str) -> None:
    """A Linux wheel of an earlier run must not get into the set as one that others built."""
    ((place, problem),) = disagreements({name: "0" * 64}, [])
    assert place == name
    assert cure in problem.remedy


def test_mw260_another_wheel_of_the_name() -> None:
    wheels, record = sealed("cp311", "cp312")
    place, problem = the_one(run(wheels[0], replace(wheels[1], sha256="1" * 64), against=record), "MW260")
    assert place == wheels[1].file
    assert "1" * 64 in problem.message
    assert "0" * 64 in problem.message


@pytest.mark.parametrize(
    ("state", "told"),
    [(TargetState.FAILED, "failed"), (TargetState.CANCELLED, "was cancelled")],
)
def test_mw260_targets_without_a_wheel(state: TargetState, told: str) -> None:
    wheels, record = sealed("cp312")
    record = replace(record, targets=(*record.targets, replace(failed("cp313"), state=state)))
    _, problem = the_one(run(*wheels, against=record), "MW260")
    assert told in problem.message
    assert "cp313" in problem.message


def test_mw260_a_target_of_the_plan_that_the_manifest_does_not_know() -> None:
    wheels, record = sealed("cp311", "cp312")
    planned = tuple(target.identifier for target in record.targets)
    assert run(*wheels, against=replace(record, planned=planned)) == []
    place, problem = the_one(run(wheels[0], against=replace(sealed("cp311")[1], planned=planned)), "MW260")
    assert place is None
    assert problem.message == f"the target `{planned[1]}` of the plan is not in the manifest"


def test_mw260_a_shard_is_whole_in_itself_and_not_the_plan() -> None:
    """The job that built it may verify it; whoever wants the plan is told what is left to build."""
    wheels, record = sealed("cp311")
    shard = replace(record, planned=(record.targets[0].identifier, "cp312-x"), shard=Shard(index=1, count=2))
    assert run(*wheels, against=shard) == []
    assert codes(run(against=shard)) == ["MW260"]
    ((_, problem),) = left_to_build(shard)
    assert problem.message == "the manifest is only of shard 1/2 of the plan; it lacks `cp312-x`"
    assert "manywheels gather" in problem.remedy
    empty = replace(record, planned=(record.targets[0].identifier,), shard=Shard(index=1, count=2))
    assert [problem.message for _, problem in left_to_build(empty)] == ["the manifest is only of shard 1/2 of the plan"]


# --- MW266: Pythons that were missing ---------------------------------------------------------------------------------


def test_mw266_names_all_missing_targets_and_the_ways_out() -> None:
    wheels, record = sealed("cp312")
    absent = [replace(failed(tag), state=TargetState.NO_INTERPRETER) for tag in ("cp313", "cp314")]
    place, problem = the_one(run(*wheels, against=replace(record, targets=(*record.targets, *absent))), "MW266")
    assert place is None
    assert problem.message.endswith(f": {absent[0].identifier} {absent[1].identifier}")
    for way in ("uv python install", "--engine container", "`skip`", "`build`", "`allow-missing`"):
        assert way in problem.remedy


def test_mw266_a_shard_is_held_to_its_own_plan() -> None:
    """Unlike what other jobs build, nobody else brings what this one could not."""
    wheels, record = sealed("cp312")
    absent = replace(failed("cp313"), state=TargetState.NO_INTERPRETER)
    shard = replace(record, targets=(*record.targets, absent), shard=Shard(index=1, count=2))
    assert codes(run(*wheels, against=shard)) == ["MW266"]


@pytest.mark.parametrize("strict", [False, True])
def test_mw266_is_a_warning_where_it_is_allowed(*, strict: bool) -> None:
    _, record = sealed()
    absent = replace(failed("cp313"), state=TargetState.NO_INTERPRETER)
    findings = check_set([], replace(record, targets=(absent,)))
    (found,) = Rules(strict=strict).judge(findings)
    assert (found.code, found.severity) == ("MW266", Severity.ERROR)
    (found,) = Rules(strict=strict, allow_missing=True).judge(findings)
    assert (found.code, found.severity) == ("MW266", Severity.WARNING)


# --- MW261: one release -----------------------------------------------------------------------------------------------


def test_mw261_two_versions() -> None:
    place, problem = the_one(run(facts(), facts("cp313", version="1.1")), "MW261")
    assert place is None
    assert "`1.0`, `1.1`" in problem.message


def test_mw261_two_projects() -> None:
    _, problem = the_one(run(facts(), facts(project="other", version="2.0")), "MW261")
    assert "`demo`, `other`" in problem.message


# --- MW262, MW263: sizes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sizes", "odd"), [((100, 300), None), ((100, 301, 301), 0), ((100, 110, 90, 400), 3),
                                            ((0, 100, 100), 0)])  # fmt: skip
def test_mw262_siblings_of_other_sizes(sizes: tuple[int, ...], odd: int | None) -> None:
    wheels = [facts(f"cp31{number}", size=size) for number, size in enumerate(sizes)]
    found = run(*wheels)
    if odd is None:
        assert found == []
        return
    place, problem = the_one(found, "MW262")
    assert place == wheels[odd].file
    assert f"{sizes[odd]} bytes" in problem.message
    assert severity("MW262") is Severity.WARNING


def test_mw262_other_platforms_are_no_siblings() -> None:
    assert run(facts(), facts(platform="manylinux_2_28_aarch64", size=90_000)) == []
    assert codes(run(facts(), facts("cp313", platform="manylinux_2_28_x86_64", size=90_000))) == ["MW262"]


@pytest.mark.parametrize(("size", "fits"), [(100 * MIB, True), (100 * MIB + 1, False), (250 * MIB, False)])
def test_mw263_the_indexs_limit(size: int, fits: bool) -> None:  # noqa: FBT001
    found = run(facts(size=size))
    assert codes(found) == ([] if fits else ["MW263"])
    assert all("100 MiB" in problem.message and place == facts().file for _, place, problem in found)
    assert severity("MW263") is Severity.ERROR


# --- MW264: pure files ------------------------------------------------------------------------------------------------


def test_mw264_the_one_that_differs_is_named() -> None:
    wheels = [
        facts("cp311", {"a": "x", "b": "y"}),
        facts("cp312", {"a": "x", "b": "z"}),
        facts("cp313", {"a": "x", "b": "y"}),
    ]
    place, problem = the_one(run(*wheels), "MW264")
    assert place == wheels[1].file
    assert "1 pure file: `b`" in problem.message
    assert "SOURCE_DATE_EPOCH" in problem.remedy
    assert severity("MW264") is Severity.WARNING


def test_mw264_files_that_one_lacks_or_has_alone() -> None:
    wheels = [
        facts("cp311", {"a": "x", "b": "y"}),
        facts("cp312", {"a": "x"}),
        facts("cp313", {"a": "x", "b": "y", "c": "z"}),
    ]
    found = run(*wheels)
    assert codes(found) == ["MW264", "MW264"]
    assert [(place, problem.message[-3:]) for _, place, problem in found] == [
        (wheels[1].file, "`b`"), (wheels[2].file, "`c`")
    ]  # fmt: skip


def test_mw264_many_files_are_counted() -> None:
    names = [f"f{number}" for number in range(20)]
    found = run(facts("cp311", dict.fromkeys(names, "x")), facts("cp312", dict.fromkeys(names, "y")))
    assert "20 pure files: `f0`, `f1`, `f2`, `f3` and 16 more" in the_one(found, "MW264")[1].message


def test_mw264_other_platforms_and_versions_are_no_siblings() -> None:
    assert run(facts(), facts("cp312", {"a": "y"}, platform="musllinux_1_2_x86_64")) == []
    assert codes(run(facts(), facts("cp313", {"a": "y"}, version="1.1"))) == ["MW261"]


# --- MW265: tags ------------------------------------------------------------------------------------------------------


def test_mw265_two_wheels_with_one_tag() -> None:
    both, one = facts(platform="manylinux2014_x86_64.manylinux_2_28_x86_64"), facts(platform="manylinux_2_28_x86_64")
    place, problem = the_one(run(both, one), "MW265")
    assert place == one.file
    assert "`cp312-cp312-manylinux_2_28_x86_64`" in problem.message
    assert f"`{both.file}`" in problem.message


def test_mw265_near_misses() -> None:
    assert run(facts(platform="manylinux2014_x86_64"), facts(platform="manylinux_2_28_x86_64")) == []
    assert run(facts("cp39", abi="abi3"), facts("cp312")) == []
    assert run(facts(build=(1, "")), facts(build=(2, ""))) == []
    assert codes(run(facts(), facts(version="1.1"))) == ["MW261"]


# --- the manifest's file ----------------------------------------------------------------------------------------------


def written(folder: Path, **changes: object) -> Path:
    content: dict[str, Any] = json.loads(json.dumps(asdict(manifest(built("cp312"), failed("cp313")))))
    (folder / MANIFEST).write_text(json.dumps({**content, **changes}))
    return folder


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    reused = replace(built("cp311"), state=TargetState.REUSED, built_for="cp310", warnings=("slow",))
    proved = replace(built("cp312"), checks={"MW201": (), "MW203": ("MW203 a.so is wrong",)})
    original = manifest(proved, failed("cp313"), reused)
    original.write(tmp_path)
    assert read_manifest(tmp_path) == original
    assert read_manifest(tmp_path).wheels == original.wheels


def test_newer_keys_are_passed_over(tmp_path: Path) -> None:
    assert read_manifest(written(tmp_path, weather="fine")) == manifest(built("cp312"), failed("cp313"))


def test_there_is_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(WheelFileError, match="no manifest") as caught:
        read_manifest(tmp_path)
    assert str(tmp_path) in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_manifests_that_are_no_json(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(WheelFileError, match="is not JSON"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", ["[]", "3", "{}", '{"schema": 2}', '{"schema": "1"}'])
def test_manifests_of_another_schema(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(WheelFileError, match="schema"):
        read_manifest(tmp_path)


WHEEL = asdict(built("cp312"))["wheel"]
TESTS = {"passed": True, "seconds": 1, "log": "logs/x-tests.log"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"project": None}, "`project`: Input should be a valid string"),
        ({"version": 1}, "`version`: Input should be a valid string"),
        ({"seconds": "long"}, "`seconds`: Input should be a valid number"),
        ({"targets": None}, "`targets`: "),
        ({"targets": [3]}, "`targets[0]`: "),
        ({"targets": [{"identifier": "x", "state": "odd"}]}, "`targets[0].state`: "),
        ({"targets": [{"state": "built"}]}, "`targets[0].identifier`: Field required"),
        ({"targets": [{"identifier": "x", "state": "built", "wheel": []}]}, "`targets[0].wheel`: "),
        ({"targets": [{"identifier": "x", "state": "built", "wheel": {**WHEEL, "sha256": "00"}}]}, ".wheel.sha256`: "),
        ({"targets": [{"identifier": "x", "state": "built", "wheel": {**WHEEL, "name": "../x.whl"}}]}, "../x.whl"),
        ({"seconds": float("inf")}, "`seconds`: Input should be a finite number"),
        ({"shard": {"index": float("nan"), "count": 2}}, "`shard.index`: "),
        ({"targets": [{"identifier": "x", "state": "built", "wheel": {**WHEEL, "name": "x\0.whl"}}]}, ".wheel.name`: "),
        (
            {"targets": [{"identifier": "x", "state": "built", "wheel": {**WHEEL, "tags": "cp312"}}]},
            ".wheel.tags`: Input should be a valid tuple",
        ),
        (
            {"targets": [{"identifier": "x", "state": "failed", "failure": {"code": "MW101"}}]},
            "`targets[0].failure.stage`: Field required",
        ),
        ({"targets": [{"identifier": "x", "state": "built", "seconds": 3}]}, "`targets[0].seconds`: "),
        ({"seconds": True}, "`seconds`: "),
        ({"seconds": "1.5"}, "`seconds`: "),
        ({"warnings": [1]}, "`warnings[0]`: "),
        ({"targets": [{"identifier": "x", "state": "built", "checks": {"MW201": None}}]}, ".checks.MW201`: "),
        ({"targets": [{"identifier": "x", "state": "built", "tests": {**TESTS, "passed": 1}}]}, ".tests.passed`: "),
        ({"targets": [{"identifier": "x", "state": "built", "tests": {**TESTS, "count": -1}}]}, ".tests.count`: "),
        ({"targets": [{"identifier": "x", "state": "built", "tests": {**TESTS, "log": "x"}}]}, "is not a log of this"),
    ],
)
def test_damaged_manifests(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(WheelFileError, match="is not a manifest") as caught:
        read_manifest(written(tmp_path, **changes))
    assert told in caught.value.message
    assert len(caught.value.message) < 1_500


def test_a_manifest_without_optional_keys_is_read(tmp_path: Path) -> None:
    """As an early version wrote it: before shards, checks, tests and the libraries that were left out."""
    wheel = {key: value for key, value in WHEEL.items() if key not in {"left_out", "glibc"}}
    content = {
        "schema": 1, "project": "demo", "source": "x", "platform": "p", "toolchain": "zig", "manywheels": "0.1.0",
        "seconds": 12, "targets": [{"identifier": "x", "state": "built", "wheel": wheel}],
    }  # fmt: skip
    (tmp_path / MANIFEST).write_text(json.dumps(content))
    found = read_manifest(tmp_path)
    assert (found.version, found.seconds, found.shard, found.planned) == (None, 12, None, ())
    assert found.targets[0].state is TargetState.BUILT
    assert found.targets[0].wheel == replace(wheel_record("cp312"), glibc=None)
    assert hash(found.targets[0].wheel) == hash(replace(wheel_record("cp312"), glibc=None))


def test_text_that_utf_8_cannot_write_is_read(tmp_path: Path) -> None:
    original = manifest(built("cp312", warnings=("a \udc80 name",)))
    original.write(tmp_path)
    assert read_manifest(tmp_path) == original


@pytest.mark.parametrize("key", ["planned", "targets", "seconds"])
def test_one_fault_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """A manifest can be made to have millions of faults: none is collected after the first."""
    from pydantic import ValidationError

    many: object = [1] * 1_000
    if key == "seconds":
        key, many = "targets", [{"identifier": "x", "state": "built", "seconds": dict.fromkeys("abcdefgh", "")}]
    faults: list[ValidationError] = []
    first_fault = manifest_module._first_fault

    def noted(error: ValidationError) -> str:
        faults.append(error)
        return first_fault(error)

    monkeypatch.setattr(manifest_module, "_first_fault", noted)
    with pytest.raises(WheelFileError):
        read_manifest(written(tmp_path, **{key: many}))
    assert [error.error_count() for error in faults] == [1]


def test_pydantic_is_imported_only_to_read_a_manifest() -> None:
    argv = [sys.executable, "-X", "importtime", "-m", "manywheels", "--version"]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    assert "manywheels.cli.main" in done.stderr
    assert "pydantic" not in done.stderr
