"""The commands and tables of the tutorials and how-to pages, as the pages have them, run on this repository's projects.

A command that cannot run here, or a table that builds nothing here, is listed with the reason; a new one has to be run
or listed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import ROOT
from documents import PAGES, SHELLS, Block, Command, blocks_of, commands_of, inline_code_of, is_pattern, page_name
from unit.helpers import METADATA, write_wheel

if TYPE_CHECKING:
    from host.conftest import Program

MACHINE = os.uname().machine
TAG = "cp312"
SPAM = "examples/spam"
TESTED = "tests/projects/tested"  # whose back end takes no time

_NETWORK, _DOCKER = "it needs the network", "it needs Docker"
# Lines that are not run, by their beginning, with the reason.
NOT_RUN = {
    "README.md": {
        "make demo": "the first tutorial's is the same, and is run",
        "make test": "these tests are a part of it",
        "python3 -m venv": "the program of these tests is on PATH already",
        "pip install 'manywheels[host] @ git+": _NETWORK,
        "manywheels build --engine container": _DOCKER,
    },
    "docs/tutorials/first-wheel.md": {"git clone": f"{_NETWORK}; the test puts this checkout there"},
    "docs/tutorials/first-release-on-github.md": {"git tag": "it pushes to the user's repository"},
    "docs/how-to/arm.md": {'manywheels build --archs "x86_64 aarch64" --engine container': _DOCKER},
    "docs/how-to/debug.md": {"docker image ls": _DOCKER, "docker run": _DOCKER},
    "docs/how-to/private-index.md": {"manywheels publish": _NETWORK},
    "docs/release.md": {"manywheels publish": _NETWORK},
    "docs/verify.md": {
        "manywheels verify a.whl b.whl": "the names stand for those of wheels",
        "manywheels verify --import-in": _DOCKER,
        "manywheels verify dist/*": "a shell's pattern, in the text",
    },
}
# The tables of these pages that no project here is built with, by page and number of the block, with the reason.
NOT_BUILT = {
    ("docs/how-to/numpy.md", 0): "NumPy is not among the wheels that are fetched once",
    ("docs/how-to/system-libraries.md", 0): "dnf and apk install into the images, as root",
}


# --- what lies where a page's commands are run ------------------------------------------------------------------------


def nothing(_folder: Path) -> None:
    """Nothing more than the project."""


def checkout(folder: Path) -> None:
    """Put what `git clone` would bring into `~/manywheels`, with the environment that `make` has made already."""
    clone = folder / "home" / "manywheels"
    (clone / ".venv").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements", SPAM):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, clone / name)
    shutil.rmtree(clone / SPAM / "dist", ignore_errors=True)
    (clone / ".venv" / "bin").symlink_to(Path(sys.prefix) / "bin")
    (clone / ".venv" / ".ready").touch()


def an_sdist(folder: Path) -> None:
    """Put an sdist of the project where README.md's is."""
    (folder / "project" / "path" / "to").mkdir(parents=True)
    with tarfile.open(folder / "project" / "path" / "to" / "sdist.tar.gz", "w:gz") as archive:
        archive.add(folder / "project", "tested-1.0", filter=lambda info: None if "path" in info.name else info)


def a_monorepo(folder: Path) -> None:
    """Move the project to where one of several is."""
    (folder / "project").rename(folder / "spam")
    (folder / "project" / "packages").mkdir(parents=True)
    (folder / "spam").rename(folder / "project" / "packages" / "spam")


def a_foreign_wheel(folder: Path) -> None:
    (folder / "project" / "wheelhouse").mkdir()
    metadata = METADATA.replace("\n\n", "\nRequires-Python: >=3.9\n\n", 1)
    place = folder / "project" / "wheelhouse"
    write_wheel(place, start="spam-1.0.0", tags=f"{TAG}-{TAG}-macosx_11_0_arm64", metadata=metadata)


def finished_wheels(folder: Path) -> None:
    """Put a finished set into `dist`, of one wheel that passes every check."""
    (folder / "project" / "dist").mkdir()
    write_wheel(folder / "project" / "dist", tags="py3-none-any", members={"demo.py": b"ANSWER = 42\n"})


def cibuildwheels_table(folder: Path) -> None:
    with (folder / "project" / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write('[tool.cibuildwheel.linux]\nbefore-build = "make headers"\n')


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a page's commands find: a copy of a project, in the folder `project`, and what `prepare` makes of it.

    `folders`: where each block is run, below the scene's folder; in the project if there are fewer. `made`: what is
    there in the end, below the project, as patterns. `said`: what was printed.
    """

    project: str = TESTED
    prepare: Callable[[Path], None] = nothing
    folders: tuple[str, ...] = ()
    tags: str = TAG
    variables: Mapping[str, str] = field(default_factory=lambda: {"MANYWHEELS_BUILD": TAG})
    made: tuple[str, ...] = ()
    said: tuple[str, ...] = ()


_HERE = (f"dist/*-{TAG}-{TAG}-manylinux*_{MACHINE}.whl", "dist/manywheels.json")
_BOTH = (f"dist/*-{TAG}-manylinux*_x86_64.whl", f"dist/*-{TAG}-manylinux*_aarch64.whl")
_MUSL = (f"dist/*-{TAG}-musllinux*_x86_64.whl", f"dist/*-{TAG}-musllinux*_aarch64.whl")
# What an engine of this machine's would do is no matter of these tests.
MANYWHEELS = """\
#!{python}
import sys
from pathlib import Path
from manywheels.cli.main import main
from manywheels.runtime.containers import engine
engine._SOCKET = Path("/nowhere/docker.sock")
sys.exit(main())
"""
SCENES = {
    "README.md": Scene(
        prepare=an_sdist,
        tags="cp312 cp313",
        made=(*_HERE, *_BOTH, *_MUSL, "wheels/*-cp312-*.whl", "wheels/*-cp313-*.whl", "report.html"),
    ),
    "docs/tutorials/first-wheel.md": Scene(
        prepare=checkout,
        folders=("home", "home/manywheels"),
        made=(*_HERE, f"../home/manywheels/examples/spam/dist/*-{TAG}-*.whl"),
        said=("manywheels.json", "logs"),
    ),
    "docs/how-to/arm.md": Scene(made=_BOTH),
    "docs/how-to/caching.md": Scene(
        project="tests/projects/bundled", made=(*_HERE, "../cache/objects"), said=("objects", "nothing was removed")
    ),
    "docs/how-to/debug.md": Scene(made=(f"dist/*-{TAG}-*_x86_64.whl",), said=("MANYWHEELS_BUILD",)),
    "docs/how-to/monorepo.md": Scene(prepare=a_monorepo, made=_HERE),
    "docs/how-to/musl.md": Scene(made=(*_HERE, f"dist/*-{TAG}-musllinux*_{MACHINE}.whl")),
    "docs/how-to/private-index.md": Scene(project=SPAM, made=_HERE, said=("UV_DEFAULT_INDEX",)),
    "docs/migrate-from-cibuildwheel.md": Scene(prepare=cibuildwheels_table, variables={}),
    "docs/release.md": Scene(
        project=SPAM, prepare=a_foreign_wheel, made=(*_HERE, "dist/*.tar.gz", "dist/*-macosx_11_0_arm64.whl")
    ),
    "docs/verify.md": Scene(prepare=finished_wheels, said=("MW208",)),
}  # fmt: skip
TEXTS = {page_name(page): page.read_text("utf-8") for page in PAGES}


def is_run(page: str, command: Command) -> bool:
    return not any(command.text.startswith(start) for start in NOT_RUN.get(page, {}))


def scripts_of(page: str) -> Iterator[list[Command]]:
    """Yield the lines of each block of a page, and of each command within its text that has arguments."""
    yield from (commands_of(block) for block in blocks_of(TEXTS[page], page) if block.language in SHELLS)
    for command in inline_code_of(TEXTS[page], page):
        if re.match(r"manywheels [a-z]+ ", command.text) and not is_pattern(command.text):
            yield [command]


def pages_to_run() -> set[str]:
    """Return the pages that have commands which no table lists."""
    expected = ("README.md", "docs/tutorials/", "docs/how-to/", *SCENES)
    return {
        page
        for page in TEXTS
        if page.startswith(expected) and any(is_run(page, one) for script in scripts_of(page) for one in script)
    }


def test_every_command_of_these_pages_is_run_or_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pages_to_run() == SCENES.keys()
    page = "docs/how-to/new.md"
    monkeypatch.setitem(TEXTS, page, "Look at it: `manywheels plan --explain`.")
    assert pages_to_run() - SCENES.keys() == {page}
    monkeypatch.setitem(NOT_RUN, page, {"manywheels plan": "a reason"})
    assert pages_to_run() == SCENES.keys()


def test_a_command_that_fails_is_told_with_its_place(program: Program, private_cache: Path) -> None:
    environment = environment_of(Scene(), program, private_cache)
    commands = [Command(place="x.md:1", text=f"manywheels explain {code} | cat") for code in ("MW208", "MW999")]
    assert "MW208" in run(commands[:1], program.folder, environment)
    with pytest.raises(AssertionError, match=r"x\.md:1: (?s:.*)There is no error and no check `MW999`"):
        run(commands, program.folder, environment)


def test_nothing_is_listed_that_is_not_there() -> None:
    lines = {page: [command.text for script in scripts_of(page) for command in script] for page in NOT_RUN}
    listed = [(page, start) for page, starts in NOT_RUN.items() for start in starts]
    assert [one for one in listed if not any(text.startswith(one[1]) for text in lines[one[0]])] == []
    assert NOT_BUILT.keys() <= SNIPPETS.keys()


@pytest.mark.parametrize("page", SCENES)
def test_the_commands_of_a_page_do_what_it_says(page: str, program: Program, private_cache: Path) -> None:
    scene = SCENES[page]
    for tag in scene.tags.split():
        program.require(tag)
    folder = program.folder
    project = folder / "project"
    shutil.copytree(ROOT / scene.project, project, ignore=shutil.ignore_patterns("dist"))
    scene.prepare(folder)
    environment = environment_of(scene, program, private_cache)
    printed = ""
    for number, script in enumerate(scripts_of(page)):
        lines = [command for command in script if is_run(page, command)]
        place = folder / (scene.folders[number] if number < len(scene.folders) else "project")
        stdout = run(lines, place, environment)
        for shown in (line for command in lines for line in command.shown if line.strip("… ")):
            assert " ".join(shown.split()) in " ".join(stdout.split())
        printed += stdout
    assert [pattern for pattern in scene.made if not [*project.glob(pattern)]] == []
    assert [text for text in scene.said if text not in printed] == []


def environment_of(scene: Scene, program: Program, cache: Path) -> dict[str, str]:
    """Return the variables of a machine without a container engine, on whose PATH manywheels is."""
    started = program.new_folder("bin") / "manywheels"
    started.write_text(MANYWHEELS.format(python=sys.executable), encoding="utf-8")
    started.chmod(0o755)
    caller = {**program.environment, **program.pyenv_of(scene.tags.split()), **scene.variables}
    home = program.folder / "home"
    own = {
        "PATH": f"{started.parent}{os.pathsep}{caller['PATH']}",
        "PYENV_ROOT": caller.get("PYENV_ROOT") or str(Path.home() / ".pyenv"),
        "MANYWHEELS_CACHE": str(cache),
        **({"HOME": str(home)} if home.is_dir() else {}),
    }
    return {name: value for name, value in {**caller, **own}.items() if name != "DOCKER_HOST"}


def run(lines: list[Command], place: Path, environment: Mapping[str, str]) -> str:
    """Run lines in one shell, each of which must succeed; return what they print."""
    script = "\n".join(["set -ex -o pipefail", *(command.text for command in lines)])
    done = subprocess.run(
        ["bash", "-c", script], cwd=place, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, f"{lines[0].place}: {done.stdout}{done.stderr}"
    return done.stdout


# --- settings ---------------------------------------------------------------------------------------------------------

SNIPPETS: dict[tuple[str, int], Block] = {
    (page, number): block
    for page, text in TEXTS.items()
    if page.startswith("docs/how-to/") or page == "docs/options.md"
    for number, block in enumerate(block for block in blocks_of(text, page) if block.language == "toml")
}
# The projects that are built with the tables in place of their own.
BUILT = {
    ("docs/how-to/cmake.md", 0): "cpp_cmake",
    ("docs/how-to/cython.md", 0): "cython_ext",
    ("docs/how-to/external-libraries.md", 0): "graft",
    ("docs/how-to/meson.md", 0): "meson_ext",
    ("docs/how-to/numpy.md", 1): "tested",
    ("docs/how-to/rust.md", 0): "tested",
    ("docs/options.md", 0): "tested",
}


def with_tables_of(block: Block, pyproject: Path) -> None:
    """Put the tables of a page into a project's file, in place of those that have the same names."""
    named = set(re.findall(r"^\[[^\n]*\]", block.text, re.MULTILINE))
    own = re.split(r"^(?=\[)", pyproject.read_text("utf-8"), flags=re.MULTILINE)
    kept = [table for table in own if table.partition("\n")[0] not in named]
    pyproject.write_text("\n".join([*kept, block.text]), encoding="utf-8")


def test_every_table_is_built_with_or_listed() -> None:
    assert SNIPPETS.keys() == BUILT.keys() | NOT_BUILT.keys()
    assert not BUILT.keys() & NOT_BUILT.keys()


@pytest.mark.parametrize(("page", "number"), BUILT, ids=[f"{Path(page).stem}-{number}" for page, number in BUILT])
def test_a_project_builds_with_the_tables_of_a_page(page: str, number: int, program: Program, compiler: str) -> None:
    project = program.copy(BUILT[page, number])
    with_tables_of(SNIPPETS[page, number], project / "pyproject.toml")
    options, caller = WITH.get(page, lambda _program, _compiler: ((), {}))(program, compiler)
    finished = program.build(project, *options, tags=TAG, caller=caller)
    assert finished.status == 0, finished.text
    assert [name for name in finished.targets[TAG]["wheel"]["libraries"] if "c++" not in name] == []
    if "tool.manywheels.verify" in SNIPPETS[page, number].text:
        assert program("verify", finished.wheel, cwd=project).status == 0, "the table says what it needs"


def a_library_of_the_driver(program: Program, compiler: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the options with which `graft` is linked with a library that has the name of the driver's."""
    folder = program.new_folder("driver")
    (folder / "lib").mkdir()
    (folder / "include").mkdir()
    source = ROOT / "tests/projects/graft/libshout"
    shutil.copy(source / "shout.h", folder / "include")
    library = folder / "lib" / "libcuda.so.1"
    argv = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", str(library), str(source / "shout.c")]
    subprocess.run(argv, check=True)
    (folder / "lib" / "libshout.so").symlink_to(library.name)
    return ("--environment", f"SHOUT_DIR={folder} LD_LIBRARY_PATH={folder}/lib"), {}


def a_cargo(program: Program, _compiler: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return variables with which there is a cargo: then nothing is installed."""
    cargo = program.new_folder("bin") / "cargo"
    cargo.write_text("#!/bin/sh\n")
    cargo.chmod(0o755)
    return (), {"PATH": f"{cargo.parent}{os.pathsep}{program.pyenv_of([TAG]).get('PATH', program.environment['PATH'])}"}


WITH = {"docs/how-to/external-libraries.md": a_library_of_the_driver, "docs/how-to/rust.md": a_cargo}
