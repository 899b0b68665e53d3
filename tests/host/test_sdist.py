"""`sdist` and `from-sdist`: the release's sdist is built once, checked, proved by a wheel, and sealed with the set."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from manywheels.cli.main import main
from manywheels.wheels.manifest import read_manifest

if TYPE_CHECKING:
    from host.conftest import Finished, Program

TAGS = "cp312"
PRINTS_FOLDER = "print('built in', __import__('os').listdir('.'))\n"


def sdist_of(finished: Finished) -> Path:
    (found,) = finished.output.glob("*.tar.gz")
    return found


def with_setup(program: Program, line: str) -> Path:
    """Return a copy of the project whose setup.py ends with a line."""
    source = program.copy("c_setuptools")
    with (source / "setup.py").open("a") as file:
        file.write(line)
    return source


def test_the_sdist_is_delivered_with_the_wheels_and_sealed(program: Program) -> None:
    finished = program.build("c_setuptools", "--sdist", tags=TAGS)
    assert finished.status == 0, finished.text
    sdist = sdist_of(finished)
    sealed = read_manifest(finished.output).sdist
    assert sealed is not None
    assert (sealed.name, sealed.sha256) == (sdist.name, hashlib.sha256(sdist.read_bytes()).hexdigest())
    assert sealed.origin == ""
    assert f"✓ {sdist.name}" in finished.stdout
    assert (finished.output / "logs" / "sdist.log").is_file()
    (log,) = (finished.output / "logs").glob("*-from-sdist.log")
    assert "uild" in log.read_text()  # one wheel more was built from it
    with tarfile.open(sdist) as archive:
        assert any(name.endswith("/PKG-INFO") for name in archive.getnames())


def test_wheels_are_built_from_the_sdist_when_asked(program: Program) -> None:
    source = with_setup(program, PRINTS_FOLDER)
    (source / "only-in-the-checkout.txt").write_text("")
    finished = program.build(source, "--sdist", "--from-sdist", tags=TAGS)
    assert finished.status == 0, finished.text
    (log,) = (finished.output / "logs").glob("cp312-*.log")
    assert "PKG-INFO" in log.read_text()
    assert "only-in-the-checkout" not in log.read_text()
    assert sdist_of(finished)


def test_from_sdist_alone_delivers_none(program: Program) -> None:
    finished = program.build("c_setuptools", "--from-sdist", tags=TAGS)
    assert finished.status == 0, finished.text
    assert not list(finished.output.glob("*.tar.gz"))
    assert read_manifest(finished.output).sdist is None


def test_a_file_that_the_sdist_lacks_is_named(program: Program) -> None:
    """setuptools packs data by a pattern of files that only the checkout has."""
    source = program.copy("c_setuptools")
    package = next(path.parent for path in source.rglob("__init__.py"))
    (package / "table.csv").write_text("1,2\n")
    with (source / "MANIFEST.in").open("a") as file:
        file.write("exclude */table.csv\nglobal-exclude table.csv\n")
    with (source / "pyproject.toml").open("a") as file:
        file.write(f'\n[tool.setuptools.package-data]\n{package.name} = ["*.csv"]\n')
    finished = program.build(source, "--sdist", tags=TAGS)
    assert finished.status == 0, finished.text
    assert "MW291" in finished.stdout
    assert "table.csv" in finished.stdout


def test_an_sdist_that_gives_no_wheel_is_not_delivered(program: Program) -> None:
    source = with_setup(
        program, "if __import__('os').path.exists('PKG-INFO'): raise SystemExit('no build from an sdist')\n"
    )
    finished = program.build(source, "--sdist", tags=TAGS)
    assert finished.status == 1, finished.text
    assert "✗ sdist" in finished.stdout
    assert not list(finished.output.glob("*.tar.gz"))
    assert finished.wheels  # they are good, and stay
    failure = read_manifest(finished.output).sdist_failure
    assert failure is not None
    assert "No wheel can be built from the sdist" in failure.problem


def test_a_failing_sdist_ends_the_run_before_the_wheels(program: Program) -> None:
    source = with_setup(program, "if 'sdist' in __import__('sys').argv: raise SystemExit('no sdist today')\n")
    finished = program.build(source, "--sdist", tags=TAGS)
    assert finished.status == 1, finished.text
    assert "error MW113" in finished.stderr
    assert "no sdist today" in finished.stderr
    assert not finished.wheels


WITHOUT_LICENCE = """\
import os
from setuptools.command.sdist import sdist
make_release_tree = sdist.make_release_tree
def without_licence(self, base_dir, files):
    make_release_tree(self, base_dir, files)
    os.unlink(os.path.join(base_dir, "LICENCE.txt"))
sdist.make_release_tree = without_licence
"""


def test_build_requirements_are_constrained_as_those_of_wheels(program: Program) -> None:
    finished = program.build("c_setuptools", "--sdist", "--dependency-versions", "packages: setuptools==1.0", tags=TAGS)
    assert finished.status == 1, finished.text
    assert "error MW113" in finished.stderr
    assert "setuptools==1.0" in finished.text


def test_a_file_of_constraints_need_not_be_in_the_sdist(program: Program) -> None:
    source = program.copy("c_setuptools")
    (source / "constraints.txt").write_text("# none\n")
    finished = program.build(source, "--sdist", "--dependency-versions", "constraints.txt", tags=TAGS)
    assert finished.status == 0, finished.text
    with tarfile.open(sdist_of(finished)) as archive:
        assert not any(name.endswith("constraints.txt") for name in archive.getnames())
    from_it = program.build(source, "--from-sdist", "--dependency-versions", "constraints.txt", tags=TAGS)
    assert from_it.status == 0, from_it.text


def test_a_licence_file_that_the_sdist_lacks_is_an_error(program: Program) -> None:
    source = program.copy("c_setuptools")
    (source / "LICENCE.txt").write_text("free\n")
    (source / "setup.py").write_text(WITHOUT_LICENCE + (source / "setup.py").read_text())
    text = (source / "pyproject.toml").read_text()
    (source / "pyproject.toml").write_text(text.replace("[project]\n", '[project]\nlicense-files = ["LICENCE.txt"]\n'))
    finished = program.build(source, "--sdist", tags=TAGS)
    assert finished.status == 1, finished.text
    assert "MW290" in finished.stderr
    assert "LICENCE.txt" in finished.stderr
    assert not list(finished.output.glob("*.tar.gz"))


def test_what_is_unchanged_keeps_its_sdist(program: Program, private_cache: Path) -> None:
    source, output = program.copy("c_setuptools"), program.new_folder("dist")
    caller = {"MANYWHEELS_CACHE": str(private_cache), **program.pyenv_of(["cp312"])}
    first = program.build(source, "--sdist", tags=TAGS, output=output, caller=caller)
    before = sdist_of(first).read_bytes()
    again = program.build(source, "--sdist", tags=TAGS, output=output, caller=caller)
    assert "up to date: 1 wheel and the sdist" in again.stdout
    assert sdist_of(again).read_bytes() == before
    sdist_of(again).write_bytes(b"changed")
    third = program.build(source, "--sdist", tags=TAGS, output=output, caller=caller)
    assert "its sdist was changed" in third.stderr or "its sdist is gone or was changed" in third.stderr
    assert third.status == 0
    assert sdist_of(third).read_bytes() != b"changed"


@pytest.mark.parametrize("option", [(), ("--from-sdist",)])
def test_a_kept_sdist_stays_when_a_wheel_is_built_again(
    program: Program, private_cache: Path, option: tuple[str, ...]
) -> None:
    source, output = program.copy("c_setuptools"), program.new_folder("dist")
    caller = {"MANYWHEELS_CACHE": str(private_cache), **program.pyenv_of(["cp311", "cp312"])}
    first = program.build(source, "--sdist", *option, tags="cp311 cp312", output=output, caller=caller)
    assert first.status == 0, first.text
    before = read_manifest(output).sdist
    next(output.glob("*-cp312-*.whl")).unlink()
    for log in (output / "logs").glob("*sdist.log"):
        log.unlink()
    again = program.build(source, "--sdist", *option, tags="cp311 cp312", output=output, caller=caller)
    assert again.status == 0, again.text
    assert before is not None
    assert read_manifest(output).sdist == before
    assert len(again.wheels) == 2
    assert not list((output / "logs").glob("*sdist.log"))  # it was neither built nor tried again


def test_a_missing_sdist_is_found(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    finished = program.build("c_setuptools", "--sdist", tags=TAGS)
    sdist = sdist_of(finished)
    sdist.unlink()
    assert main(["verify", str(finished.output)]) == 3
    assert f"{sdist.name}` of the manifest is missing" in capsys.readouterr().out


def test_the_set_is_verified_with_its_sdist(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    finished = program.build("c_setuptools", "--sdist", tags=TAGS)
    assert main(["verify", str(finished.output)]) == 0
    assert "1 wheel and 1 sdist: " in capsys.readouterr().out
    with sdist_of(finished).open("ab") as file:
        file.write(b"\0")
    assert main(["verify", str(finished.output)]) == 3
    assert "MW290" in capsys.readouterr().out


def test_what_another_version_left_is_named_and_cleared_where_asked_for(program: Program) -> None:
    """`publish` would leave it, but a person who looks into the folder takes it for the set's."""
    output = program.new_folder("dist")
    output.mkdir(exist_ok=True)
    others = [output / f"c_setuptools-0.1{end}" for end in (".tar.gz", "-cp312-cp312-linux_x86_64.whl")]
    for other in (*others, output / "other-1.0.tar.gz"):
        other.touch()
    finished = program.build("c_setuptools", tags=TAGS, output=output)
    assert finished.status == 0, finished.text
    assert "not of this run, but in" in finished.stderr
    assert all(other.name in finished.stderr for other in others)
    assert all(other.exists() for other in others)
    cleared = program.build("c_setuptools", "--clear", tags=TAGS, output=output)
    assert cleared.status == 0, cleared.text
    assert "removed from" in cleared.stderr
    assert not any(other.exists() for other in others)
    assert (output / "other-1.0.tar.gz").exists()
    assert cleared.wheels
