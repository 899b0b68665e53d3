"""cibuildwheel's command line and its action's inputs, word for word."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest

from manywheels.cli import github
from manywheels.cli.main import main
from manywheels.core.files import cache_dir
from manywheels.plan.option_types import ARCHS
from unit.helpers import write_project

MACHINE = os.uname().machine
TABLE = """
[tool.cibuildwheel]
build = "cp39-*"
skip = "cp312-*"
enable = ["pypy"]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a table of cibuildwheel's, as the working folder."""
    for name in [name for name in os.environ if name.startswith(("CIBW_", "MANYWHEELS_", "GITHUB_")) or name == "CI"]:
        if name != "MANYWHEELS_CACHE":
            monkeypatch.delenv(name)
    project = write_project(tmp_path / "project")
    with (project / "pyproject.toml").open("a") as file:
        file.write(TABLE)
    monkeypatch.chdir(project)
    return project


def everywhere(tag: str, *archs: str) -> list[str]:
    """Return a tag's identifiers in both families, platform by platform."""
    return [f"{tag}-{family}_{arch}" for arch in archs or (MACHINE,) for family in ("manylinux", "musllinux")]


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """Return what `--print-build-identifiers` prints."""
    status = main(["build", "--print-build-identifiers", *words])
    told = capsys.readouterr()
    assert status == 0, told.err
    return told.out.split()


@pytest.mark.usefixtures("folder")
def test_identifiers_are_printed_and_nothing_is_built(capsys: pytest.CaptureFixture[str]) -> None:
    assert planned(capsys) == everywhere("cp39")
    assert planned(capsys, "--platform", "linux", "--archs", "auto64") == everywhere("cp39")
    assert planned(capsys, "--archs=all", "--debug-traceback") == everywhere("cp39", *ARCHS)
    assert planned(capsys, "--archs", "aarch64 x86_64") == everywhere("cp39", "aarch64", "x86_64")
    assert planned(capsys, "--platform", "musllinux_1_2") == [f"cp39-musllinux_{MACHINE}"]
    words = ("--build", "cp39-* cp315-* pp311-*", "--enable", "pypy", "--enable", "cpython-prerelease")
    assert planned(capsys, *words)[0] == f"cp39-manylinux_{MACHINE}"
    assert not Path("dist").exists()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("tag", ["cp312", "cp39", "cp313t"])
@pytest.mark.parametrize("family", ["manylinux", "musllinux"])
def test_only_builds_one_target(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tag: str, family: str
) -> None:
    only = f"{tag}-{family}_{MACHINE}"
    assert planned(capsys, "--only", only) == [only]
    monkeypatch.setenv("CIBW_BUILD", "unused")
    monkeypatch.setenv("CIBW_SKIP", "*")
    monkeypatch.setenv("CIBW_ARCHS", "sparc")
    assert planned(capsys, f"--only={only}") == [only]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "cp312"], "`cp312` is not a value of `only`"),
        (["--only", "cp312-macosx_arm64"], "manywheels builds for Linux only"),
        (["--only", "cp312-manylxinux_x86_64"], "is not a value of `only`"),
        (["--only", f"cp312-musllinux_{MACHINE}", "--platform", "manylinux2014"], "is not a value of `platform`"),
        (["--only", f"cp312-manylinux_{MACHINE}", "--archs", "sparc"], "it cannot be given beside `only`"),
        (["--platform", "macos"], "`macos` is not a value of `platform`"),
    ],
)
def test_what_only_cannot_be(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert main(["plan", *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("named", ["option", "variable", "theirs"])
@pytest.mark.parametrize("name", ["../ci.toml", "{package}/ci/wheels.toml"])
def test_options_are_read_from_another_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, named: str
) -> None:
    (folder / "ci").mkdir()
    for file in (folder.parent / "ci.toml", folder / "ci/wheels.toml"):
        file.write_text('[tool.cibuildwheel]\nbuild = "cp310-*"\n')
    if named != "option":
        monkeypatch.setenv("MANYWHEELS_CONFIG_FILE" if named == "variable" else "CIBW_CONFIG_FILE", name)
    words = ("--config-file", name) if named == "option" else ()
    assert planned(capsys, *words) == everywhere("cp310")


def test_a_file_of_options_in_an_sdist(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "wheels.toml").write_text('[tool.manywheels]\nbuild = "cp311"\n')
    with tarfile.open(folder.parent / "demo-1.0.tar.gz", "w:gz") as archive:
        archive.add(folder, "demo-1.0")
    monkeypatch.chdir(folder.parent)
    words = ("demo-1.0.tar.gz", "--config-file", "{package}/wheels.toml")
    assert planned(capsys, *words) == [f"cp311-manylinux_{MACHINE}"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "There is no file `x.toml`"), ("[", "`x.toml` is not valid TOML"), ("tool = 3", "`x.toml`: `tool` is not")],
)
def test_a_file_of_options_that_cannot_be_read(
    folder: Path, capsys: pytest.CaptureFixture[str], content: str | None, message: str
) -> None:
    if content is not None:
        (folder / "x.toml").write_text(content)
    assert main(["plan", "--config-file", "x.toml"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("words", [["--build", "cp39-*", "--skip", "cp39-*"], ["--build", "cp36-*"]])
def test_nothing_to_build_is_no_error_where_that_is_allowed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    monkeypatch.setenv("CIBW_BUILD", words[1])
    monkeypatch.setenv("CIBW_SKIP", "cp39-*")
    assert main(["build"]) == 2
    assert "MW003" in capsys.readouterr().err
    assert main(["build", "--allow-empty"]) == 0
    assert "Nothing is built, as `allow-empty` has it." in capsys.readouterr().err
    monkeypatch.setenv("CIBW_ALLOW_EMPTY", "t")
    assert main(["plan", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["targets"] == []
    monkeypatch.setenv("CIBW_ALLOW_EMPTY", "0")
    assert main(["plan"]) == 2


def test_the_action_has_no_wheels_then(folder: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    environment = {
        "INPUT_ALLOW-EMPTY": "true", "INPUT_SKIP": "*", "INPUT_PACKAGE-DIR": str(folder), "INPUT_EXTRAS": "uv",
        "INPUT_PYTHON-PATH": "", "GITHUB_OUTPUT": str(outputs),
    }  # fmt: skip
    assert github.main(environment) == 0
    assert "wheels<<" in outputs.read_text()
    assert "\n[]\n" in outputs.read_text()


@pytest.mark.usefixtures("folder")
def test_the_pythons_that_are_required_may_be_said_by_a_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CIBW_PROJECT_REQUIRES_PYTHON", ">=3.13")
    monkeypatch.setenv("CIBW_BUILD", "cp312-* cp313-*")
    monkeypatch.setenv("CIBW_SKIP", "")
    assert planned(capsys) == everywhere("cp313")
    monkeypatch.setenv("CIBW_PROJECT_REQUIRES_PYTHON", "new")
    assert main(["plan"]) == 2
    assert "CIBW_PROJECT_REQUIRES_PYTHON: `new` is not a value" in capsys.readouterr().err


def test_the_cache_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "--clean-cache"]) == 0
    assert str(cache_dir()) in capsys.readouterr().out
