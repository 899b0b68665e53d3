"""What the options of building and repairing do to a real build: each of these fails where its option is ignored."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from host.cases import InProcess
from host.conftest import PROJECTS, Finished, Program, WheelContents

SETUPTOOLS = "78.1.1"
FRONT_ENDS = {
    "uv": "Successfully built",
    "build": "Creating isolated environment: venv",
    "build[uv]": "Creating isolated environment: venv+uv",
    "pip": "Building wheel for",
}


def probe(finished: Finished, contents: WheelContents, wheel: Path | None = None) -> Mapping[str, Any]:
    """Return what the back end of `env_probe` saw."""
    assert finished.status == 0, finished.text
    members = contents.members(wheel or finished.wheel)
    seen: dict[str, Any] = json.loads(members["env_probe/probe.json"])
    return seen


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@pytest.mark.slow("build", "pip", "build[uv]")
def test_every_front_end_builds_what_it_is_told_to(program: Program, contents: WheelContents, front_end: str) -> None:
    finished = program.build(
        "env_probe", "--build-frontend", front_end, "--config-settings", "--flag=1 words='a b'",
        "--dependency-versions", f"packages: setuptools=={SETUPTOOLS}",
    )  # fmt: skip
    seen = probe(finished, contents)
    assert seen["config_settings"] == {"--flag": "1", "words": "a b"}
    assert seen["setuptools"] == SETUPTOOLS
    assert FRONT_ENDS[front_end] in re.sub(r"\x1b\[\d*m", "", finished.log().read_text("utf-8"))


def test_options_of_a_front_end(program: Program) -> None:
    finished = program.build("tested", "--build-frontend", "pip; args: --require-hashes --no-such-option")
    assert finished.status == 1
    assert "no such option: --no-such-option" in finished.failure()["problem"] + finished.log().read_text("utf-8")


def test_a_constraints_file_of_the_project(program: Program, contents: WheelContents) -> None:
    project = program.copy("env_probe")
    (project / "pins.txt").write_text("setuptools==79.0.1\n")
    (project / "pins-python312.txt").write_text(f"setuptools=={SETUPTOOLS}\n")
    finished = program.build(project, "--dependency-versions", "pins.txt")
    assert probe(finished, contents)["setuptools"] == SETUPTOOLS


@pytest.mark.slow
def test_verbosity(program: Program) -> None:
    logs = {level: program.build("tested", f"--build-verbosity={level}").log().read_text("utf-8") for level in (-1, 2)}
    assert "DEBUG uv" in logs[2]
    assert "Successfully built" in logs[2]
    assert "Successfully built" not in logs[-1]


EXPLAINED = """
[tool.cibuildwheel]
build = "cp31{2,3}-*"
before-build = "make [all]"
container-engine = "podman"
test-runtime = { args = ["--x"] }
[[tool.cibuildwheel.overrides]]
select = "cp313-*"
before-build = "make more"
inherit = { before-build = "append" }
"""


def test_the_plan_explains_every_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = InProcess(folder=tmp_path, monkeypatch=monkeypatch, capsys=capsys)
    project = tmp_path / "c_setuptools"
    shutil.copytree(PROJECTS / project.name, project)
    with (project / "pyproject.toml").open("a") as file:
        file.write(EXPLAINED)
    caller = {"CIBW_SKIP": "*-musllinux_*", "MANYWHEELS_JOBS": "3"}
    told = here("plan", project, "--explain", "--timeout", "5m", caller=caller)
    assert told.status == 0, told.stderr
    rows = {tuple(re.split(r"\s{2,}", line.strip())) for line in told.stdout.splitlines()}
    assert {
        ("build", "cp31{2,3}-*", "[tool.cibuildwheel] build"),
        ("skip", "*-musllinux_*", "CIBW_SKIP"),
        ("jobs", "3", "MANYWHEELS_JOBS"),
        ("timeout", "5m", "--timeout"),
        ("platform", "linux", "default"),
        ("container-engine", "podman", "[tool.cibuildwheel] container-engine"),
        ("before-build", "make [all]", "[tool.cibuildwheel] before-build"),
    } <= rows
    assert "cp313  make [all] && make more" in re.sub(r"  +", "  ", told.stdout)
    assert "note: [tool.cibuildwheel] test-runtime is not carried out" in told.stdout

    explained = json.loads(here("plan", project, "--explain", "--json", caller=caller).stdout)["options"]
    assert explained["skip"] == {"value": "*-musllinux_*", "origin": "CIBW_SKIP", "overridden": []}
    (override,) = explained["before-build"]["overridden"]
    assert [target.partition("-")[0] for target in override["targets"]] == ["cp313"]
    assert override["origin"] == "[tool.cibuildwheel] before-build + [[tool.cibuildwheel.overrides]] 1 before-build"


@pytest.mark.slow
def test_overrides_reach_their_targets_only(program: Program, contents: WheelContents) -> None:
    project = program.copy("env_probe")
    with (project / "pyproject.toml").open("a") as file:
        file.write(
            "[tool.manywheels]\nenvironment = \"FLAVOUR=plain LITERAL='$HOME'\"\n"
            '[[tool.manywheels.overrides]]\nselect = "cp313"\nenvironment = { MORE = "$FLAVOUR+" }\n'
            'inherit = { environment = "append" }\n'
        )
    finished = program.build(project, tags="cp312 cp313")
    environments = {wheel.name.split("-")[2]: probe(finished, contents, wheel)["environ"] for wheel in finished.wheels}
    assert {tag: (seen["FLAVOUR"], seen["LITERAL"], seen.get("MORE")) for tag, seen in environments.items()} == {
        "cp312": ("plain", "$HOME", None),
        "cp313": ("plain", "$HOME", "plain+"),
    }


@pytest.mark.slow
def test_variables_and_cibuildwheels_table_reach_the_build(program: Program, contents: WheelContents) -> None:
    project = program.copy("env_probe")
    with (project / "pyproject.toml").open("a") as file:
        file.write('[tool.cibuildwheel.linux]\nenvironment = { A = "table", B = "table" }\n')
    caller = {"CIBW_ENVIRONMENT": "A=variable", "MANYWHEELS_CONFIG_SETTINGS": "k=v"}
    finished = program.build(project, "--platform", "manylinux_2_28", caller=caller)
    seen = probe(finished, contents)
    assert (seen["environ"]["A"], seen["environ"].get("B")) == ("variable", None)
    assert seen["config_settings"] == {"k": "v"}


PLACES = """
[tool.cibuildwheel]
environment = { PKG_CONFIG_PATH = "/project/.libs/pkgconfig" }
before-build = "test $PWD = /project && touch /project/made"
test-command = "test -e /project/made && test $PKG_CONFIG_PATH = {project}/.libs/pkgconfig"
config-settings = { cross-file = "{package}/cross.txt", build-dir = "{project}/out" }
"""


@pytest.mark.slow
def test_places_are_the_targets_own_copy_of_the_project(program: Program, contents: WheelContents) -> None:
    project = program.copy("env_probe")
    with (project / "pyproject.toml").open("a") as file:
        file.write(PLACES)
    seen = probe(program.build(project, "--platform", "manylinux_2_28"), contents)
    copy = seen["cwd"]
    assert seen["environ"]["PKG_CONFIG_PATH"] == f"{copy}/.libs/pkgconfig"
    assert seen["config_settings"] == {"cross-file": f"{copy}/cross.txt", "build-dir": f"{copy}/out"}


@pytest.mark.parametrize(
    "options",
    [
        ("--repair-exclude", "libshout.so.*"),
        ("--repair-wheel-command", "auditwheel repair --exclude libshout.so.1 -w {dest_dir} {wheel}"),
    ],
)
@pytest.mark.slow
def test_an_excluded_library_is_neither_grafted_nor_missed(
    program: Program, libshout: Path, contents: WheelContents, options: tuple[str, str]
) -> None:
    variables = f"SHOUT_DIR={libshout} LIBRARY=$SHOUT_DIR/lib LD_LIBRARY_PATH=$LIBRARY"
    finished = program.build("graft", "--environment", variables, *options)
    assert finished.status == 0, finished.text
    assert finished.targets["cp312"]["wheel"]["libraries"] == []
    assert not [name for name in contents.members(finished.wheel) if ".libs/" in name]
    verdict = subprocess.run([sys.executable, "-m", "manywheels", "verify", finished.output], capture_output=True,
                             text=True, check=False)  # fmt: skip
    assert verdict.returncode == 0, verdict.stdout
    alone = subprocess.run([sys.executable, "-m", "manywheels", "verify", finished.wheel], capture_output=True,
                           text=True, check=False)  # fmt: skip
    assert "MW209" in alone.stdout, "nothing says of the wheel alone that this was meant"


@pytest.mark.parametrize("strip", ["true", "false"])
@pytest.mark.slow
def test_grafted_libraries_are_stripped_where_asked_for(
    program: Program, libshout: Path, contents: WheelContents, strip: str
) -> None:
    project = program.copy("graft")
    with (project / "pyproject.toml").open("a") as file:
        file.write(f"[tool.manywheels]\nrepair-strip = {strip}\n")
    finished = program.build(project, "--environment", f"SHOUT_DIR={libshout} LD_LIBRARY_PATH={libshout}/lib")
    assert finished.status == 0, finished.text
    members = contents.members(finished.wheel)
    (library,) = (content for name, content in members.items() if name.startswith("graft.libs/"))
    has_symbols = ELFFile(BytesIO(library)).get_section_by_name(".symtab") is not None
    assert has_symbols is (strip == "false")
