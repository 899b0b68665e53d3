"""Real `[tool.cibuildwheel]` tables: manywheels makes of them what cibuildwheel does, or says what it leaves out."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cibuildwheel.architecture import Architecture
from cibuildwheel.options import CommandLineArguments, Options
from cibuildwheel.platforms.linux import all_python_configurations, get_python_configurations
from cibuildwheel.selector import BuildSelector, EnableGroup
from cibuildwheel.typing import PLATFORMS
from packaging.specifiers import SpecifierSet

from cibuildwheel_recipes import of_ours, of_theirs
from conftest import ROOT
from manywheels.cli.main import main
from manywheels.data import table
from manywheels.plan import cibuildwheel, interpreters
from manywheels.plan.options import resolve
from manywheels.plan.project import read_project
from manywheels.plan.settings import read_build_settings
from manywheels.plan.targets import known_targets

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


def cibuildwheels_options(
    source: Path, folder: Path, archs: str | None = MACHINE, variables: Mapping[str, str] | None = None
) -> Options:
    """Return what cibuildwheel itself makes of a table; without `archs`, of the table's own."""
    folder.mkdir()
    text = source.read_text("utf-8")
    text = text.replace(f'"{FORMER_GROUP}"', '""').replace(f"{FORMER_OPTION} = ", "# ").replace(FORMER_GROUP, "")
    groups = "\n[dependency-groups]\ndev = []\ntest = []\nwheels = []\n"  # they did not come along with the tables
    (folder / "pyproject.toml").write_text(text + groups, encoding="utf-8")
    arguments = dataclasses.replace(CommandLineArguments.defaults(), package_dir=folder, archs=archs)
    return Options("linux", arguments, dict(variables or {}))


def cibuildwheel_selects(source: Path, folder: Path, archs: str | None = MACHINE) -> set[str]:
    """Return the identifiers that `cibuildwheel --print-build-identifiers` prints for these architectures."""
    options = cibuildwheels_options(source, folder, archs)
    chosen = get_python_configurations(options.globals.build_selector, options.globals.architectures)
    return {configuration.identifier for configuration in chosen}


def by_platform(identifiers: Iterable[str]) -> dict[str, list[str]]:
    """Return the identifiers of each platform, as `manylinux_x86_64`, in their order; GraalPy's are left out."""
    found: dict[str, list[str]] = {}
    for identifier in identifiers:
        tag, _, platform = identifier.partition("-")
        if not tag.startswith("gp"):
            found.setdefault(platform, []).append(tag)
    return found


def cibuildwheels_linux(options: Options) -> dict[str, list[str]]:
    """Return what `cibuildwheel --platform linux --print-build-identifiers` prints."""
    chosen = get_python_configurations(options.globals.build_selector, options.globals.architectures)
    return by_platform(configuration.identifier for configuration in chosen)


def our_linux(source: Path, folder: Path, archs: Iterable[str], variables: Mapping[str, str]) -> dict[str, list[str]]:
    """Return what our tables select for these architectures."""
    folder.mkdir()
    shutil.copy(source, folder / "pyproject.toml")
    project = read_project(folder)
    settings = read_build_settings({}, project, variables)
    selector = cibuildwheel.Selector(
        build=cibuildwheel.patterns(settings.value("build").value),
        skip=cibuildwheel.patterns(settings.value("skip").value),
        enable=cibuildwheel.groups(settings.value("enable")),
    )
    requires = variables.get("CIBW_PROJECT_REQUIRES_PYTHON")
    allowed = SpecifierSet(requires) if requires else project.requires_python
    return by_platform(name for arch in archs for name in cibuildwheel.selected(selector, arch, allowed))


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
    theirs = cibuildwheel_selects(source, tmp_path / "theirs", archs=None)
    plan = planned(source, tmp_path / "ours", capsys)
    built = {target["identifier"] for target in plan["targets"]}
    left_out = {target["identifier"] for target in plan["left-out"]}
    asks_for_former = FORMER_GROUP in source.read_text("utf-8")
    former = {name for name in built if asks_for_former and name.startswith("cp313t-")}
    assert built - former | left_out == theirs
    assert all(name.startswith("gp") for name in left_out)
    assert not built & left_out


@pytest.mark.parametrize(
    ("archs", "variables"),
    [
        (None, {}),  # as the table has it
        ("all", {}),
        ("auto auto32", {"CIBW_ENABLE": "all"}),
        ("x86_64,aarch64", {"CIBW_ENABLE": "pypy", "CIBW_SKIP": "*-musllinux_aarch64 cp3{9,10}-*"}),
        ("all", {"CIBW_BUILD": "cp31[45]*-musl* pp*-* gp*", "CIBW_ENABLE": "pypy-eol graalpy", "CIBW_SKIP": ""}),
        (MACHINE, {"CIBW_PROJECT_REQUIRES_PYTHON": ">=3.11,<3.15"}),
    ],
    ids=["as-it-is", "all-archs", "all-groups", "skipped", "selected", "requires-python"],
)
@pytest.mark.parametrize("source", TABLES, ids=lambda path: path.stem)
def test_all_linux_identifiers_are_cibuildwheels(
    source: Path, tmp_path: Path, archs: str | None, variables: dict[str, str]
) -> None:
    """Every family and architecture, in the order in which it builds them."""
    options = cibuildwheels_options(source, tmp_path / "theirs", archs, variables)
    theirs = cibuildwheels_linux(options)
    architectures = sorted(map(str, options.globals.architectures))
    assert our_linux(source, tmp_path / "ours", architectures, variables) == theirs


def test_the_tables_ask_for_all_that_there_is(tmp_path: Path) -> None:
    """Else the comparison above would not be one of musllinux, free-threaded Pythons, PyPy and other architectures."""
    asked: dict[str, set[str]] = {}
    for source in TABLES:
        options = cibuildwheels_options(source, tmp_path / source.stem, None)
        for platform, tags in cibuildwheels_linux(options).items():
            asked.setdefault(platform, set()).update(tags)
    machines = ("x86_64", "i686", "aarch64", "ppc64le", "s390x", "armv7l", "riscv64")
    assert set(asked) == {f"{family}_{arch}" for family in ("manylinux", "musllinux") for arch in machines}
    assert {"cp39", "cp314t", "cp315t", "pp311"} <= asked["manylinux_x86_64"]
    assert {"cp314t", "cp315t"} <= asked["musllinux_aarch64"]


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
    """cibuildwheel's image for a target is one of the policy that manywheels holds the target's wheel to."""
    theirs = cibuildwheels_options(source, tmp_path / "theirs", archs=None)
    for target in planned(source, tmp_path / "ours", capsys)["targets"]:
        tag, _, place = target["identifier"].partition("-")
        family, _, arch = place.partition("_")
        own = theirs.build_options(target["identifier"])
        images = own.manylinux_images if family == "manylinux" else own.musllinux_images
        if tag != "cp313t":  # which this version of cibuildwheel does not build
            assert target["platform"] in (images or {})[arch], target["identifier"]


def test_the_table_of_interpreters_is_cibuildwheels_own() -> None:
    """Its own list of what it builds for on Linux, and the groups of `enable`."""
    machines = map(str, Architecture.all_archs("linux"))
    ours = {identifier: group for arch in machines for identifier, group in cibuildwheel.offered(arch)}
    assert set(ours) == {configuration.identifier for configuration in all_python_configurations()}
    for identifier, group in ours.items():
        groups = frozenset({EnableGroup(group)} if group else set())
        assert BuildSelector(build_config="*", skip_config="", enable=groups)(identifier)
        others = frozenset(EnableGroup) - groups
        assert not group or not BuildSelector(build_config="*", skip_config="", enable=others)(identifier)
    assert set(table("cibuildwheel")["groups"]) == {group.value for group in EnableGroup}


def test_interpreters_are_in_the_images_folders_that_cibuildwheel_knows() -> None:
    """Each in the first of its known ABIs' folders, and no known target is another's."""
    theirs = {
        configuration.identifier: (configuration.version, configuration.path.name)
        for configuration in all_python_configurations()
        if not configuration.identifier.startswith("gp")
    }
    own = table("interpreters")["own_groups"]
    ours = {
        target.identifier: (target.python, target.folder)
        for arch in Architecture.all_archs("linux")
        for family in ("manylinux", "musllinux")
        for target in known_targets(family, str(arch))
        if target.group not in own
    }
    assert ours == theirs


def test_its_options_are_shared_or_named_as_what_they_are() -> None:
    with (Path(Options.__init__.__code__.co_filename).parent / "resources" / "defaults.toml").open("rb") as file:
        defaults = tomllib.load(file)["tool"]["cibuildwheel"]
    facts = table("cibuildwheel")
    assert set(facts["platforms"]) == set(PLATFORMS)
    names = {name for name in defaults if not name.endswith("-image")} - PLATFORMS
    assert names == set(facts["shared"]) | set(facts["unsupported"]) | (set(facts["aside"]) & names)
