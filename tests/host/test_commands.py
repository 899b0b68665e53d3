"""The commands that build nothing: plan, doctor, verify."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from uv import find_uv_bin

from manywheels import __version__
from manywheels.build.toolchain import Machine
from manywheels.core.files import cache_dir

if TYPE_CHECKING:
    from host.conftest import Program

MACHINE = os.uname().machine


def test_plan(program: Program) -> None:
    project = program.copy("asks_too_much")
    finished = program("plan", project)

    assert finished.status == 0, finished.stderr
    assert f"asks-too-much for manylinux_2_28_{MACHINE}, toolchain zig" in finished.stdout
    rows = {line.split()[0].partition("-")[0]: line for line in finished.stdout.splitlines() if "-manylinux_" in line}
    rows.pop("asks", None)
    assert list(rows) == ["cp313", "cp314", "cp39", "cp310", "cp311", "cp312"]
    assert all("excluded by the project's requires-python" in rows[tag] for tag in list(rows)[2:])
    for tag in set(program.interpreters) & {"cp313", "cp314"}:
        assert program.interpreters[tag].version in rows[tag]
        assert str(program.interpreters[tag].path) in finished.stdout
    assert [path.name for path in program.folder.iterdir()] == [project.parent.name], "it writes nothing"


def test_plan_as_json(program: Program) -> None:
    project = program.copy("asks_too_much")
    finished = program("plan", project, "--json", "--skip", "cp314", "--output-dir", "wheels")
    plan = json.loads(finished.stdout)

    assert finished.status == 0
    assert finished.stderr == ""
    assert plan["project"] == "asks-too-much"
    assert plan["version"] == "1.0"
    assert plan["build-backend"] == "setuptools.build_meta"
    assert plan["platform"] == f"manylinux_2_28_{MACHINE}"
    assert plan["toolchain"] == "zig"
    assert plan["output-dir"] == "wheels"
    (target,) = plan["targets"]
    assert target["identifier"] == f"cp313-manylinux_{MACHINE}"
    if "cp313" in program.interpreters:
        assert target["path"] == str(program.interpreters["cp313"].path)
    reasons = {entry["identifier"].partition("-")[0]: entry["reason"] for entry in plan["excluded"]}
    assert reasons.pop("cp314") == "left out by `skip`"
    assert set(reasons.values()) == {"excluded by the project's requires-python"}
    assert not (program.folder / "wheels").exists()


def test_dry_run_is_plan(program: Program) -> None:
    project = program.copy("c_setuptools")
    dry, plan = program("build", project, "--dry-run"), program("plan", project)

    assert dry.status == plan.status == 0
    assert dry.stdout == plan.stdout


def test_nothing_fits_requires_python(program: Program) -> None:
    finished = program("plan", program.copy("asks_too_much"), "--build", "cp312 3.9")

    assert finished.status == 2
    assert "error MW003: " in finished.stderr
    assert "requires-python (`>=3.13`) excludes cp39, cp312" in finished.stderr


def test_doctor(program: Program) -> None:
    finished = program("doctor")

    assert finished.status == 0, finished.text
    assert "Traceback" not in finished.text
    lines = {line[2:].split("  ")[0]: line for line in finished.stdout.splitlines() if line[:1] in {"✓", "!", "✗"}}
    for tag, interpreter in program.interpreters.items():
        assert lines[tag].startswith("✓")
        assert f"{interpreter.version} {interpreter.path}" in lines[tag]
    for tag in {"cp39", "cp310", "cp311", "cp312", "cp313", "cp314"} - set(program.interpreters):
        assert lines[tag].startswith("!")
        assert f"uv python install 3.{tag[3:]}" in finished.stdout
    assert "glibc 2.28" in lines["zig manylinux_2_28"]
    assert str(cache_dir()) in lines["cache"]


def test_version_and_help(program: Program) -> None:
    assert program("--version").stdout == f"manywheels {__version__}\n"
    helped = program("build", "--help")
    assert helped.status == 0
    assert "--output-dir" in helped.stdout
    assert program().status == 2


def test_no_room_left_is_no_fault_of_ours() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "manywheels", "explain"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error MW010: There is no space left to write (No space left on device).")


# --- verify -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def raw(program: Program, compiler: str) -> Path:
    """The wheel of `new_symbol` as the machine's own compiler makes it, tagged linux."""
    if (Machine.here().glibc or (0, 0)) < (2, 34):
        pytest.skip("this machine's glibc is older than 2.34")
    output = program.new_folder("raw")
    subprocess.run(
        [find_uv_bin(), "build", "--quiet", "--wheel", "--python", program.require("cp312").path,
         "--no-create-gitignore", "--out-dir", output, program.copy("new_symbol")],
        check=True, env={**program.environment, "UV_CACHE_DIR": str(cache_dir() / "uv"), "CC": compiler},
    )  # fmt: skip
    (wheel,) = output.iterdir()
    return wheel


def retag(wheel: Path, platform: str) -> Path:
    """Write a wheel's platform tag anew, by the ordinary tool."""
    command = [sys.executable, "-m", "wheel", "tags", "--remove", "--platform-tag", platform, str(wheel)]
    return wheel.parent / subprocess.check_output(command, text=True).strip()


def test_verify_refuses_a_tag_that_promises_too_much(program: Program, raw: Path) -> None:
    finished = program("verify", retag(raw, f"manylinux_2_28_{MACHINE}"))

    assert finished.status == 3, finished.text
    assert finished.stdout.startswith("✗ new_symbol-1.0-cp312-cp312-manylinux_2_28")
    assert "MW208" in finished.stdout
    assert "`close_range@GLIBC_2.34`" in finished.stdout
    assert "newer than `manylinux_2_28_" in finished.stdout
    assert "meets `manylinux_2_34_" in finished.stdout


@pytest.mark.slow
def test_verify_accepts_a_true_tag(program: Program) -> None:
    built = program.build("new_symbol", "--platform", "manylinux_2_34")
    finished = program("verify", built.wheel, built.output)

    assert finished.status == 0, finished.text
    assert finished.stdout.startswith("✓ new_symbol-1.0-cp312-cp312-manylinux_2_34")
    assert "glibc 2.34" in finished.stdout


def test_verify_refuses_a_linux_tag(program: Program, raw: Path) -> None:
    finished = program("verify", raw)

    assert finished.status == 3
    assert f"MW204 the index refuses the platform tag `linux_{MACHINE}`" in finished.stdout


def test_verify_refuses_a_renamed_file(program: Program) -> None:
    built = program.build("c_setuptools")
    assert program("verify", built.output).status == 0
    renamed = built.wheel.rename(built.wheel.with_name(built.wheel.name.replace("cp312-cp312", "cp311-cp311")))
    finished = program("verify", built.output)

    assert finished.status == 3
    assert f"✗ {renamed.name}" in finished.stdout
    for code in ("MW202", "MW205"):
        assert code in finished.stdout


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("absent-1.0-cp312-cp312-linux_x86_64.whl", None),
        ("broken-1.0-cp312-cp312-linux_x86_64.whl", b"hello\n" * 100),
        ("notes.whl", b"hello\n"),
    ],
)
def test_verify_what_is_no_wheel(name: str, content: bytes | None, program: Program) -> None:
    path = program.folder / name
    if content is not None:
        path.write_bytes(content)
    finished = program("verify", path)

    assert finished.status in {2, 3}
    assert name in finished.text
    assert "Traceback" not in finished.text


def test_verify_empty_folder(program: Program) -> None:
    finished = program("verify", program.new_folder("empty"))

    assert finished.status == 2
    assert "error MW008: " in finished.stderr
