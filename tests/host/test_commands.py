"""The commands that build nothing: plan, doctor, verify."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from manywheels import __version__
from manywheels.build.compilers.choice import Machine
from manywheels.cli.main import main
from manywheels.core.files import cache_dir
from unit.helpers import write_wheel

if TYPE_CHECKING:
    from host.conftest import Program

MACHINE = os.uname().machine


def test_plan_and_dry_run_of_build(program: Program) -> None:
    project = program.copy("asks_too_much")
    finished, dry = program("plan", project), program("build", project, "--dry-run")

    assert finished.status == 0, finished.stderr
    assert f"asks-too-much for manylinux_2_28_{MACHINE}, toolchain zig" in finished.stdout
    rows = {line.split()[0].partition("-")[0]: line for line in finished.stdout.splitlines() if "-manylinux_" in line}
    rows.pop("asks", None)
    assert list(rows) == ["cp313", "cp314", "cp39", "cp310", "cp311", "cp312"]
    assert all("excluded by the project's requires-python" in rows[tag] for tag in list(rows)[2:])
    for tag in set(program.interpreters) & {"cp313", "cp314"}:
        assert program.interpreters[tag].version in rows[tag]
        assert str(program.interpreters[tag].path) in finished.stdout
    assert (dry.status, dry.stdout) == (0, finished.stdout)
    assert [path.name for path in program.folder.iterdir()] == [project.parent.name], "they write nothing"


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


def test_nothing_fits_requires_python(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(program.copy("asks_too_much")), "--build", "cp312 3.9"]) == 2
    told = capsys.readouterr().err
    assert "error MW003: " in told
    assert "requires-python (`>=3.13`) excludes cp39, cp312" in told


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


# Written without Python.h; `close_range` is new in glibc 2.34.
NEW_SYMBOL = """
extern int close_range(unsigned first, unsigned last, int flags);
extern void *PyUnicode_FromString(const char *);
void *PyInit__core(void) { return close_range(3, 3, 0) ? (void *) 0 : PyUnicode_FromString("closed"); }
"""


def test_verify_tells_which_wheels_it_refuses_and_why(program: Program, compiler: str) -> None:
    """One tagged linux, one whose tag promises too much, a renamed one, a true one, and files that are no wheels."""
    if (Machine.here().glibc or (0, 0)) < (2, 34):
        pytest.skip("this machine's glibc is older than 2.34")
    (program.folder / "core.c").write_text(NEW_SYMBOL)
    subprocess.run([compiler, "-shared", "-fPIC", "core.c", "-o", "core.so"], cwd=program.folder, check=True)
    members = {
        "demo/__init__.py": b"",
        f"demo/_core.cpython-312-{MACHINE}-linux-gnu.so": (program.folder / "core.so").read_bytes(),
    }
    folder = program.new_folder("wheels")
    raw, bold, true, other = (
        write_wheel(folder, start=f"{name}-1.0", tags=f"cp312-cp312-{platform}_{MACHINE}", members=members)
        for name, platform in (
            ("raw", "linux"), ("bold", "manylinux_2_28"), ("true", "manylinux_2_34"), ("other", "manylinux_2_34")
        )
    )  # fmt: skip
    renamed = other.rename(other.with_name(other.name.replace("cp312-cp312", "cp311-cp311")))
    broken, notes = folder / f"broken-1.0-cp312-cp312-linux_{MACHINE}.whl", folder / "notes.whl"
    broken.write_bytes(b"hello\n" * 100)
    notes.write_bytes(b"hello\n")
    finished = program("verify", raw, bold, true, renamed, broken, notes)

    assert finished.status == 3, finished.text
    assert "Traceback" not in finished.text
    told = {part.split()[1]: part for part in re.split(r"^(?=[✓✗] )", finished.stdout, flags=re.MULTILINE)[1:]}
    assert list(told) == [path.name for path in (raw, bold, true, renamed, broken, notes)]
    assert {name for name, part in told.items() if part.startswith("✓")} == {true.name}
    assert f"MW204 the index refuses the platform tag `linux_{MACHINE}`" in told[raw.name]
    for part in ("MW208", "`close_range@GLIBC_2.34`", "newer than `manylinux_2_28_", "meets `manylinux_2_34_"):
        assert part in told[bold.name]
    assert all(code in told[renamed.name] for code in ("MW202", "MW205"))
    assert all("MW200" in told[path.name] for path in (broken, notes))


@pytest.mark.slow
def test_verify_accepts_a_true_tag(program: Program) -> None:
    built = program.build("new_symbol", "--platform", "manylinux_2_34")
    finished = program("verify", built.wheel, built.output)

    assert finished.status == 0, finished.text
    assert finished.stdout.startswith("✓ new_symbol-1.0-cp312-cp312-manylinux_2_34")
    assert "glibc 2.34" in finished.stdout


def test_verify_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "absent-1.0-cp312-cp312-linux_x86_64.whl"]) == 2
    assert "error MW008: There is no wheel `absent-1.0-cp312-cp312-linux_x86_64.whl`." in capsys.readouterr().err


def test_verify_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path)]) == 2
    assert "error MW008: " in capsys.readouterr().err
