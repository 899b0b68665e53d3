"""Real `[tool.cibuildwheel]` tables: manywheels makes of them what cibuildwheel does, or says what it leaves out."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cibuildwheel.architecture import Architecture
from cibuildwheel.options import CommandLineArguments, Options
from cibuildwheel.platforms.linux import all_python_configurations, get_python_configurations
from cibuildwheel.selector import EnableGroup
from cibuildwheel.typing import PLATFORMS

from cibuildwheel_recipes import of_ours, of_theirs
from conftest import ROOT
from manywheels.cli.main import main
from manywheels.data import table
from manywheels.plan import cibuildwheel, interpreters
from manywheels.plan.options import resolve
from manywheels.plan.project import read_project

TABLES = sorted((ROOT / "tests" / "data" / "cibuildwheel").glob("*.toml"))
MACHINE = os.uname().machine
# What older versions of cibuildwheel knew and this one refuses; manywheels goes on building 3.13t where it is enabled.
FORMER_GROUP = "cpython-freethreading"
FORMER_OPTION = "free-threaded-support"


@pytest.fixture(autouse=True)
def asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's interpreters are the same for all tables, and asking them takes a second."""
    monkeypatch.setattr(interpreters, "discover", _discovered)


@cache
def _discovered() -> interpreters.Discovery:
    return _DISCOVER()


_DISCOVER = interpreters.discover


def cibuildwheels_options(source: Path, folder: Path) -> Options:
    """Return what cibuildwheel itself makes of a table."""
    folder.mkdir()
    text = source.read_text("utf-8")
    text = text.replace(f'"{FORMER_GROUP}"', '""').replace(f"{FORMER_OPTION} = ", "# ").replace(FORMER_GROUP, "")
    groups = "\n[dependency-groups]\ndev = []\ntest = []\nwheels = []\n"  # they did not come along with the tables
    (folder / "pyproject.toml").write_text(text + groups, encoding="utf-8")
    arguments = dataclasses.replace(CommandLineArguments.defaults(), package_dir=folder, archs=MACHINE)
    return Options("linux", arguments, {})


def cibuildwheel_selects(source: Path, folder: Path) -> set[str]:
    """Return the identifiers that `cibuildwheel --print-build-identifiers` prints for this machine."""
    options = cibuildwheels_options(source, folder)
    chosen = get_python_configurations(options.globals.build_selector, options.globals.architectures)
    return {configuration.identifier for configuration in chosen}


def planned(source: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return what `manywheels plan --json` prints."""
    folder.mkdir()
    shutil.copy(source, folder / "pyproject.toml")
    status = main(["plan", "--json", str(folder)])
    told = capsys.readouterr()
    assert status == 0, told.err
    plan: dict[str, Any] = json.loads(told.out)
    return plan


def test_there_are_forty() -> None:
    assert len(TABLES) >= 40


@pytest.mark.parametrize("source", TABLES, ids=lambda path: path.stem)
def test_the_same_targets_are_selected(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = cibuildwheel_selects(source, tmp_path / "theirs")
    plan = planned(source, tmp_path / "ours", capsys)
    built = {target["identifier"] for target in plan["targets"]}
    left_out = {target["identifier"] for target in plan["left-out"]}
    asks_for_former = FORMER_GROUP in source.read_text("utf-8")
    former = {f"cp313t-manylinux_{MACHINE}"} if asks_for_former else set()
    assert built - former | left_out == theirs
    assert all("-musllinux_" in name or name.startswith(("pp", "gp")) for name in left_out)
    assert not built & left_out


@pytest.mark.parametrize("source", TABLES, ids=lambda path: path.stem)
def test_every_target_has_the_same_recipe(source: Path, tmp_path: Path) -> None:
    theirs = cibuildwheels_options(source, tmp_path / "theirs")
    folder = tmp_path / "ours"
    folder.mkdir()
    shutil.copy(source, folder / "pyproject.toml")
    ours = resolve({}, read_project(folder), environment={})
    for identifier in cibuildwheel_selects(source, tmp_path / "again"):
        target = next((known for known in ours.known_targets if known.identifier == identifier), None)
        if target is not None:
            made = of_ours(ours.for_target(target), ours.settings.value("repair-wheel-command", target).value)
            assert made == of_theirs(theirs, identifier), identifier


@pytest.mark.parametrize("source", TABLES, ids=lambda path: path.stem)
def test_the_image_that_is_asked_for_decides_the_platform(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """cibuildwheel's first image for this machine is the one of the policy that manywheels holds the wheels to."""
    plan = planned(source, tmp_path / "ours", capsys)
    asked = tomllib.loads(source.read_text("utf-8"))["tool"]["cibuildwheel"]
    image = (asked | asked.get("linux", {})).get(f"manylinux-{MACHINE}-image", "manylinux_2_28")
    assert plan["platform"].removesuffix(f"_{MACHINE}") in image


def test_the_table_of_interpreters_is_cibuildwheels_own() -> None:
    """Its own list of what it builds for on Linux, and the groups of `enable`."""
    machines = map(str, Architecture.all_archs("linux"))
    ours = {identifier for arch in machines for identifier, _ in cibuildwheel.offered(arch)}
    assert ours == {configuration.identifier for configuration in all_python_configurations()}
    assert set(table("cibuildwheel")["groups"]) == {group.value for group in EnableGroup}


def test_its_options_are_shared_or_named_as_what_they_are() -> None:
    with (Path(Options.__init__.__code__.co_filename).parent / "resources" / "defaults.toml").open("rb") as file:
        defaults = tomllib.load(file)["tool"]["cibuildwheel"]
    facts = table("cibuildwheel")
    assert set(facts["platforms"]) == set(PLATFORMS)
    names = {name for name in defaults if not name.endswith("-image")} - PLATFORMS
    assert names == set(facts["shared"]) | set(facts["unsupported"]) | (set(facts["aside"]) & names)
