"""The parts of a recipe: front ends, constraints, who repairs, and what is put into commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from manywheels.errors import InputError
from manywheels.plan.options import resolve
from manywheels.plan.target_options import (
    Constraints,
    FrontEnd,
    Repair,
    Repairer,
    fill,
    parse_constraints,
    parse_front_end,
)
from unit.helpers import given, project, target


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("uv", FrontEnd(name="uv")),
        ("build[uv]", FrontEnd(name="build[uv]")),
        ("pip; args: --no-cache-dir '--global-option=a b'",
         FrontEnd(name="pip", arguments=("--no-cache-dir", "--global-option=a b"))),
        ("name: build; args: --no-isolation", FrontEnd(name="build", arguments=("--no-isolation",))),
        ("build;args:-x", FrontEnd(name="build", arguments=("-x",))),
        ("build; args:", FrontEnd(name="build")),
    ],
)  # fmt: skip
def test_front_ends(text: str, expected: FrontEnd) -> None:
    assert parse_front_end(given(text), "build-frontend") == expected


@pytest.mark.parametrize(
    "text", ["", "poetry", "pip build", "pip; options: -x", "pip; pip", "args: -x", "pip; args: '"]
)
def test_front_ends_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match=r"--option: .* is not a value of `build-frontend`") as caught:
        parse_front_end(given(text), "build-frontend")
    assert "`uv`, `build`, `build[uv]`, `pip`" in caught.value.remedy


def test_a_front_end_as_a_table() -> None:
    settings = project(build_frontend={"name": "pip", "args": ["--no-cache-dir", "--global-option=a b"]})
    made = resolve({}, settings, environment={}).for_target(target("cp312")).front_end
    assert made == FrontEnd(name="pip", arguments=("--no-cache-dir", "--global-option=a b"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latest", Constraints()),
        ("requirements/pins.txt", Constraints(file="requirements/pins.txt")),
        ("my pins.txt", Constraints(file="my pins.txt")),
        ("file: 'my pins.txt'", Constraints(file="my pins.txt")),
        ("packages: cython==3.1 'setuptools<81'", Constraints(packages=("cython==3.1", "setuptools<81"))),
    ],
)
def test_constraints(text: str, expected: Constraints) -> None:
    assert parse_constraints(given(text), "dependency-versions") == expected


@pytest.mark.parametrize("text", ["", "file: a b", "packages: a; file: b", "packages: a; versions: b", "a\nb"])
def test_constraints_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="is not a value of `dependency-versions`"):
        parse_constraints(given(text), "dependency-versions")


def test_constraints_for_a_python(tmp_path: Path) -> None:
    (tmp_path / "pins.txt").write_text("a==1\n")
    (tmp_path / "pins-python312.txt").write_text("a==2\n")
    assert Constraints(file="pins.txt").text(tmp_path, "3.13") == "a==1\n"
    assert Constraints(file="pins.txt").text(tmp_path, "3.12") == "a==2\n"
    assert Constraints(packages=("a==1", "b")).text(tmp_path, "3.12") == "a==1\nb\n"


def test_constraints_are_not_read_from_elsewhere(tmp_path: Path) -> None:
    """Project code reads them; what it could not read itself, a link must not hand to it."""
    source = tmp_path / "source"
    source.mkdir()
    (tmp_path / "secret").write_text("token")
    (source / "pins.txt").symlink_to(tmp_path / "secret")
    for name in ("pins.txt", "../secret", str(tmp_path / "secret")):
        with pytest.raises(PermissionError, match="is not in the project"):
            Constraints(file=name).text(source, "3.12")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("auditwheel", Repair()),
        ("none", Repair(by=Repairer.NONE)),
        ("", Repair(by=Repairer.NONE)),
        ("auditwheel repair -w {dest_dir} {wheel}", Repair()),
        ("auditwheel repair --exclude liba.so -w {dest_dir} {wheel} --exclude=libb.so.*",
         Repair(exclude=("liba.so", "libb.so.*"))),
        ("auditwheel repair --strip --wheel-dir={dest_dir} {wheel}", Repair(strip=True)),
        ("auditwheel repair --strip --exclude 'lib a.so' -w '{dest_dir}' \"{wheel}\"",
         Repair(exclude=("lib a.so",), strip=True)),
    ],
)  # fmt: skip
def test_who_repairs(command: str, expected: Repair) -> None:
    settings = project(repair_wheel_command=command)
    assert resolve({}, settings, environment={}).for_target(target("cp312")).repair == expected


def test_what_an_override_appends_comes_after_the_repair_that_is_the_default() -> None:
    override = {
        "select": "cp312",
        "repair-wheel-command": "look {wheel}",
        "inherit": {"repair-wheel-command": "append"},
    }
    made = resolve({}, project(overrides=[override]), environment={}).for_target(target("cp312")).repair
    command = "auditwheel repair -w {dest_dir} {wheel} && look {wheel}"
    assert made == Repair(by=Repairer.COMMAND, command=command)


@pytest.mark.parametrize(
    "command",
    [
        "auditwheel repair --plat manylinux_2_34_x86_64 -w {dest_dir} {wheel}",
        "auditwheel repair -w {dest_dir} {wheel} && ls {dest_dir}",
        "auditwheel repair -w {dest_dir} {wheel} > log",
        "auditwheel repair -w out {wheel}",
        "auditwheel repair {wheel}",
        "auditwheel -v repair -w {dest_dir} {wheel}",
        "LD_LIBRARY_PATH=/opt/lib auditwheel repair -w {dest_dir} {wheel}",
        "auditwheel show {wheel}",
        "auditwheel repair -w {dest_dir} {wheel} --exclude",
        "auditwheel repair -w {dest_dir} {wheel} '",
        "auditwheel repair -w {dest_dir} {wheel} # repair",
        "auditwheel repair -w {dest_dir} {wheel}; ls",
        "cp {wheel} {dest_dir}",
    ],
)
def test_other_commands_are_left_to_a_shell(command: str) -> None:
    settings = project(repair_wheel_command=command, repair_exclude=["liba.so"])
    made = resolve({}, settings, environment={}).for_target(target("cp312")).repair
    assert made == Repair(by=Repairer.COMMAND, command=command, exclude=("liba.so",))


def test_what_a_command_leaves_out_need_not_be_in_the_wheel() -> None:
    command = "LD_LIBRARY_PATH=/opt auditwheel repair --exclude liba.so --exclude=libb.so.* -w {dest_dir} {wheel}"
    made = resolve({}, project(repair_wheel_command=command), environment={}).for_target(target("cp312")).repair
    assert made == Repair(by=Repairer.COMMAND, command=command, exclude=("liba.so", "libb.so.*"))


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("cp {wheel} {dest_dir}", "cp /w/a.whl /out"),
        ("pytest '{project}/tests' {package}", "pytest '/src/tests' {package}"),
        ("echo #{wheel} {wheel}", "echo {wheel} /w/a.whl"),
        ("echo {} {a} ${HOME} {wheel:x}", "echo {} {a} ${HOME} {wheel:x}"),
    ],
)
def test_places_are_put_into_commands(command: str, expected: str) -> None:
    assert fill(command, wheel=Path("/w/a.whl"), dest_dir=Path("/out"), project="/src") == expected


def test_a_place_is_put_in_as_it_is() -> None:
    assert fill("ls {project}", project=Path("/a\\1 b/{wheel}")) == "ls /a\\1 b/{wheel}"
