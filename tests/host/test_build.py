"""Healthy projects: their wheels come out whole, true to their tags, and free of what made them."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.utils import parse_wheel_filename
from uv import find_uv_bin

from manywheels.core.files import cache_dir

if TYPE_CHECKING:
    from host.conftest import Finished, Program, WheelContents

OTHER_USER = 1001


@dataclass(frozen=True)
class Healthy:
    """A project, the targets that it is built for, and what its wheel prints."""

    name: str
    tags: str
    code: str
    prints: str

    def __str__(self) -> str:
        return self.name


ANSWERS = "import {0}; print({0}.answer())"
C_SETUPTOOLS = Healthy(
    "c_setuptools",
    "cp39",
    "import c_setuptools as c, c_setuptools.sub as s; print(s.half(84), c.source_file(), c.header_file()[-15:])",
    "42 c_setuptools/_core.c /include/core.h",
)
HEALTHY = (
    C_SETUPTOOLS,
    Healthy(
        "cpp_cmake",
        "cp312",
        "import cpp_cmake as c\n"
        "try:\n    c.refuse('no')\nexcept ValueError as error:\n    refusal = str(error)\n"
        "print(c.total(list(range(10))), c.caught('oops'), refusal, c.suffix('/a/b.txt'), c.exists('/nonexistent'))",
        "45 oops no .txt False",
    ),
    Healthy("cython_ext", "cp311", "from cython_ext import fib; print(fib(93))", "12200160415121876738"),
    Healthy("meson_ext", "cp310", ANSWERS.format("meson_ext"), "42"),
    Healthy("scribbles", "cp310 cp312", ANSWERS.format("scribbles"), "42"),
    Healthy("fails_on_311", "cp39", ANSWERS.format("fails_on_311"), "42"),
    Healthy("asks_too_much", "cp313", ANSWERS.format("asks_too_much"), "42"),
)
SPLIT_AT_BLANKS = ("c_setuptools", "cpp_cmake")


@pytest.mark.parametrize("healthy", [known for known in HEALTHY if known.name not in SPLIT_AT_BLANKS], ids=str)
@pytest.mark.slow
def test_healthy(healthy: Healthy, program: Program, contents: WheelContents) -> None:
    assert_whole(healthy, program.build(healthy.name, tags=healthy.tags), program, contents)


def assert_whole(healthy: Healthy, finished: Finished, program: Program, contents: WheelContents) -> None:
    """The project was built for all its targets, and each wheel is what it says and does what it should."""
    tags = healthy.tags.split()

    assert finished.status == 0, finished.text
    assert finished.states == dict.fromkeys(tags, "built")
    assert finished.manifest["version"] == "1.0"
    assert len(finished.wheels) == len(tags)
    for tag in tags:
        assert_whole_for(tag, healthy, finished, program, contents)


def assert_whole_for(tag: str, healthy: Healthy, finished: Finished, program: Program, contents: WheelContents) -> None:
    """The wheel for one target is what it says and does what it should."""
    wheel = finished.output / finished.targets[tag]["wheel"]["name"]
    assert_tagged(wheel, tag, tag)
    assert_sealed(finished, tag)
    assert_tells_nothing_of_this_machine(wheel, contents)
    assert program.run_in(tag, wheel, healthy.code) == healthy.prints


@pytest.mark.slow
def test_where_the_program_is_among_the_users_own_packages(program: Program, tmp_path: Path) -> None:
    """As after `pip install --user`: a Python that is started isolated does not see these."""
    python = sys._base_executable  # type: ignore[attr-defined]
    if python == sys.executable:
        pytest.skip("the tests run in no virtual environment")
    base = tmp_path / "base"
    base.mkdir()
    for name in ("bin", "lib"):
        (base / name).symlink_to(Path(sys.prefix) / name)
    environment = {**program.environment, "PYTHONUSERBASE": str(base), "PATH": os.defpath}
    program = replace(program, python=python, environment=environment)
    finished = program.build("c_setuptools", tags="cp312")

    assert finished.status == 0, finished.text
    verified = program("verify", finished.wheel)
    assert verified.status == 0, verified.text
    assert "No module named" not in verified.text


@pytest.mark.parametrize("healthy", [known for known in HEALTHY if known.name in SPLIT_AT_BLANKS], ids=str)
@pytest.mark.slow("cpp_cmake")
def test_blanks_and_unicode_in_every_path(healthy: Healthy, program: Program, contents: WheelContents) -> None:
    """Project, cache, which is cold but for zig's own libraries, and output folder."""
    place = program.new_folder("blänk in ît")
    project, cache = place / "my prøject", place / "my cäche"
    program.copy(healthy.name).rename(project)
    cache.mkdir()
    (cache_dir() / "zig").mkdir(parents=True, exist_ok=True)
    (cache / "zig").symlink_to(cache_dir() / "zig")
    output = place / "oütput folder"
    finished = program.build(
        project, "--dependency-versions", "packages: wheel", tags=healthy.tags, output=output,
        caller={"MANYWHEELS_CACHE": str(cache), "HOME": str(place)},
    )  # fmt: skip

    assert_whole(healthy, finished, program, contents)
    assert [contents.places_of(wheel, str(place).encode()) for wheel in finished.wheels] == [[]] * len(finished.wheels)


def assert_tagged(wheel: Path, interpreter: str, abi: str) -> None:
    """The wheel's name says this interpreter and ABI, and manylinux_2_28 among the platforms; none is newer."""
    machine = os.uname().machine
    tags = parse_wheel_filename(wheel.name)[3]
    assert {(tag.interpreter, tag.abi) for tag in tags} == {(interpreter, abi)}
    platforms = {tag.platform for tag in tags}
    assert f"manylinux_2_28_{machine}" in platforms
    glibcs = {tuple(map(int, name.split("_")[1:3])) for name in platforms if name.startswith("manylinux_2")}
    assert max(glibcs) == (2, 28)


def assert_sealed(finished: Finished, tag: str) -> None:
    """The manifest says of a wheel what it is."""
    record = finished.targets[tag]["wheel"]
    content = (finished.output / record["name"]).read_bytes()
    assert record["size"] == len(content)
    assert record["sha256"] == hashlib.sha256(content).hexdigest()
    assert record["tags"] == sorted(map(str, parse_wheel_filename(record["name"])[3]))
    assert finished.log(tag).stat().st_size > 0


def assert_tells_nothing_of_this_machine(wheel: Path, contents: WheelContents) -> None:
    """No file of a wheel holds a path of the machine that built it."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    here = Path(__file__).resolve().parent.parent.parent
    for place in (cache_dir(), cache_dir().resolve(), Path.home(), pyenv, here):
        assert contents.places_of(wheel, bytes(place)) == [], place
    for name in (b"run-", b"/tmp/"):
        assert contents.places_of(wheel, name) == [], name
    assert [path for path in contents.run_paths(wheel) if not path.startswith("$ORIGIN")] == []


def test_every_interpreter(program: Program, contents: WheelContents) -> None:
    finished = program.build("c_setuptools", "--build", "all", tags=None)

    assert finished.status == 0, finished.text
    known = [tag for tag, state in finished.states.items() if state == "built"]
    assert set(program.interpreters) <= set(known)
    assert len(finished.wheels) == len(known)
    assert f"{len(known)} wheels in " in finished.stdout
    assert_tidy(finished)
    for tag in program.interpreters:
        assert_whole_for(tag, C_SETUPTOOLS, finished, program, contents)


def assert_tidy(finished: Finished) -> None:
    """The output folder has wheels that others can read, the logs, the manifest, and nothing else."""
    built = [target for target in finished.manifest["targets"] if target["state"] == "built"]
    names = [target["wheel"]["name"] for target in built]
    assert sorted(path.name for path in finished.output.iterdir()) == sorted([*names, "logs", "manywheels.json"])
    assert {f"logs/{path.name}" for path in (finished.output / "logs").iterdir()} == {target["log"] for target in built}
    assert all(stat.S_IMODE(wheel.stat().st_mode) & 0o444 == 0o444 & ~_umask() for wheel in finished.wheels)
    assert "Traceback" not in finished.text


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def test_jobs_limits_targets_at_once(program: Program) -> None:
    finished = program.build("fails_backend", "--jobs", "1", tags="cp310 cp312")

    assert finished.status == 1, finished.text
    one, other = sorted(
        (target["began"]["build"], target["began"]["build"] + target["seconds"]["build"])
        for target in finished.manifest["targets"]
    )
    assert one[1] <= other[0]


# --- one wheel for several Pythons ------------------------------------------------------------------------------------


def test_abi3_is_built_once(program: Program, contents: WheelContents) -> None:
    finished = program.build("abi3", tags="cp39 cp313")

    assert finished.status == 0, finished.text
    assert finished.states == {"cp39": "built", "cp313": "reused"}
    assert_tagged(finished.wheel, "cp39", "abi3")
    assert_tells_nothing_of_this_machine(finished.wheel, contents)
    assert_shared(finished, "cp39", "cp313")
    assert "served by cp39" in finished.stdout
    assert "1 wheel in " in finished.stdout
    for tag in ("cp39", "cp313"):
        assert program.run_in(tag, finished.wheel, ANSWERS.format("abi3")) == "42"


@pytest.mark.slow
def test_abi3_that_only_the_wheel_reveals(program: Program) -> None:
    finished = program.build("abi3_undeclared", tags="cp39 cp310 cp312")

    assert finished.status == 0, finished.text
    assert finished.states == {"cp39": "built", "cp310": "built", "cp312": "reused"}
    assert len(finished.wheels) == 2
    own, shared = (finished.output / finished.targets[tag]["wheel"]["name"] for tag in ("cp39", "cp310"))
    assert_tagged(own, "cp39", "cp39")
    assert_tagged(shared, "cp310", "abi3")
    assert_shared(finished, "cp310", "cp312")
    for tag, wheel in (("cp39", own), ("cp310", shared), ("cp312", shared)):
        assert program.run_in(tag, wheel, ANSWERS.format("abi3_undeclared")) == "42"


def test_the_earliest_stable_wheel_serves_whatever_is_faster(program: Program, tmp_path: Path) -> None:
    """As in cibuildwheel, also for a Python whose own wheel was built and tested before; its products stay as well."""
    project = program.copy("abi3")
    (project / "setup.cfg").unlink()
    setup = (project / "setup.py").read_text("utf-8").replace("py_limited_api=True", "py_limited_api=OLD")
    setup = setup.replace("setup(", "setup(options={'bdist_wheel': {'py_limited_api': 'cp39'}} if OLD else {},", 1)
    (project / "setup.py").write_text(f"import sys\nOLD = sys.version_info < (3, 12)\n{setup}", "utf-8")
    tested = tmp_path / "tested"
    prepare = "python -c 'import sys; print(sys.version_info[:2])' >prepared"
    wait = f"for i in $(seq 600); do test -e {tested} && exit; sleep 0.1; done; exit 1"
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(f"""
[tool.manywheels]
before-build = "{prepare}"
test-command = "cat {{project}}/prepared && touch {tested}"
[[tool.manywheels.overrides]]
select = "cp310-*"
before-build = "{prepare} && {wait}"
""")
    finished = program.build(project, tags="cp310 cp312")

    assert finished.status == 0, finished.text
    assert finished.states == {"cp310": "built", "cp312": "reused"}
    assert_tagged(finished.wheel, "cp39", "abi3")
    assert_shared(finished, "cp310", "cp312")
    logs = finished.output / "logs"
    assert "(3, 12)" in (logs / "cp312-manylinux_x86_64-test.log").read_text("utf-8")
    assert "(3, 10)" in (logs / "cp312-manylinux_x86_64-reused-test.log").read_text("utf-8")


@pytest.mark.slow
def test_library_without_the_c_api_serves_every_python(program: Program, contents: WheelContents) -> None:
    finished = program.build("py3_none", tags="cp39 cp313")

    assert finished.status == 0, finished.text
    assert finished.states == {"cp39": "built", "cp313": "reused"}
    assert_tagged(finished.wheel, "py3", "none")
    assert_tells_nothing_of_this_machine(finished.wheel, contents)
    assert_shared(finished, "cp39", "cp313")
    for tag in ("cp39", "cp313"):
        assert program.run_in(tag, finished.wheel, "from py3_none import twice; print(twice(21))") == "42"


def assert_shared(finished: Finished, built: str, *reused: str) -> None:
    """The manifest gives one target's wheel for the others as well, and says whose it is."""
    for tag in reused:
        assert finished.targets[tag]["wheel"] == finished.targets[built]["wheel"]
        assert finished.targets[tag]["built_for"] == finished.targets[built]["identifier"]
        assert finished.targets[tag]["failure"] is None


# --- libraries to graft -----------------------------------------------------------------------------------------------


def test_graft(program: Program, libshout: Path, contents: WheelContents) -> None:
    finished = program.build("graft", "--environment", f"SHOUT_DIR={libshout} LD_LIBRARY_PATH={libshout}/lib")

    assert finished.status == 0, finished.text
    (grafted,) = [name for name in contents.members(finished.wheel) if name.startswith("graft.libs/")]
    assert grafted.startswith("graft.libs/libshout-")
    assert finished.targets["cp312"]["wheel"]["libraries"] == [grafted.removeprefix("graft.libs/")]
    assert contents.run_paths(finished.wheel) == ["$ORIGIN/../graft.libs"]
    assert contents.places_of(finished.wheel, bytes(libshout)) == []
    assert program.run_in("cp312", finished.wheel, "import graft; print(graft.shout('hello'))") == "HELLO"


def test_library_that_repair_does_not_find(program: Program, libshout: Path) -> None:
    finished = program.build("graft", "--environment", f"SHOUT_DIR={libshout}")

    assert finished.status == 1
    assert finished.failure()["code"] == "MW104"
    assert finished.failure()["stage"] == "repair"
    assert "libshout.so.1" in finished.failure()["problem"]
    assert "LD_LIBRARY_PATH" in finished.failure()["remedy"]
    assert finished.wheels == []


# --- where the source comes from --------------------------------------------------------------------------------------


def test_version_from_a_tag_in_somebody_elses_repository(program: Program, git: Callable[..., str]) -> None:
    """With a tracked file in the output folder, and a filter that a build does not have."""
    project = program.copy("scm")
    for name, content in {"dist/.gitkeep": "", ".gitattributes": "data filter=crypt\n", "data": "abc"}.items():
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(content)
    git(project, "init", "--quiet")
    git(project, "-c", "filter.crypt.clean=tr a-z b-za", "add", "data")
    commit(git, project, "v1.2.3")
    give_away(project)
    finished = program.build(project, output=project / "dist")

    assert finished.status == 0, finished.text
    assert finished.manifest["version"] == "1.2.3"
    assert finished.wheel.name.startswith("scm-1.2.3-cp312-cp312-")
    assert program.run_in("cp312", finished.wheel, ANSWERS.format("scm")) == "42"


@pytest.mark.slow
def test_subfolder_of_a_repository(program: Program, git: Callable[..., str]) -> None:
    """Beside it is what an earlier step has fetched, which git ignores."""
    repository = program.new_folder("repository")
    project = repository / "bindings" / "python"
    project.parent.mkdir()
    program.copy("scm").rename(project)
    with (project / "pyproject.toml").open("a") as file:
        file.write('root = "../.."\n')
    setup = (project / "setup.py").read_text()
    (project / "setup.py").write_text(setup.replace('_core.c"]', '_core.c"], include_dirs=["../../native"]'))
    core = (project / "scm" / "_core.c").read_text()
    (project / "scm" / "_core.c").write_text('#include "answer.h"\n' + core.replace("(42)", "(ANSWER)"))
    (repository / "native").mkdir()
    (repository / "native" / "answer.h").write_text("#define ANSWER 43\n")
    (repository / ".gitignore").write_text("/native/\n")
    commit(git, repository, "v2.0")
    give_away(repository)
    finished = program.build(project)

    assert finished.status == 0, finished.text
    assert finished.manifest["version"] == "2.0"
    assert program.run_in("cp312", finished.wheel, ANSWERS.format("scm")) == "43"


@pytest.mark.slow
def test_changes_and_new_files_are_built_as_they_are(program: Program, git: Callable[..., str]) -> None:
    project = program.copy("scm")
    commit(git, project, "v1.2.3")
    core = (project / "scm" / "_core.c").read_text()
    (project / "scm" / "_core.c").write_text(core.replace("(42)", "(44)"))
    (project / "scm" / "added.py").write_text("ADDED = True\n")
    finished = program.build(project)

    assert finished.status == 0, finished.text
    assert finished.manifest["version"].startswith("1.2.4.dev0+")
    code = "import scm, scm.added; print(scm.answer(), scm.added.ADDED)"
    assert program.run_in("cp312", finished.wheel, code) == "44 True"


@pytest.mark.slow
def test_source_stays_as_it_was(program: Program, git: Callable[..., str]) -> None:
    project = program.copy("scribbles")
    commit(git, project, "v1")
    (project / "notes.txt").write_text("not in git\n")
    with (project / "pyproject.toml").open("a") as file:
        file.write("# changed since\n")
    status, before = git(project, "status", "--porcelain", "--ignored"), picture(project)
    first = program.build(project, tags="cp310 cp312", output=project / "dist")
    second = program.build(project, tags="cp312", output=project / "dist")

    assert (first.status, second.status) == (0, 0), first.text + second.text
    assert picture(project) == before
    assert git(project, "status", "--porcelain", "--ignored", "--", ":!dist") == status
    assert first.manifest["source"] == second.manifest["source"], "the output folder is no part of the source"


def picture(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return everything about a tree, without the output folder."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.split("/")[0] == "dist":
            continue
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[name] = (status.st_mode, status.st_uid, status.st_mtime_ns, status.st_ino, content)
    return found


def commit(git: Callable[..., str], folder: Path, tag: str) -> None:
    """Make a repository of a folder, with one tagged commit."""
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Begin")
    git(folder, "tag", tag)


def give_away(folder: Path) -> None:
    """Let a tree belong to somebody else, where that is allowed."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, OTHER_USER, OTHER_USER, follow_symlinks=False)


@pytest.mark.slow
def test_sdist(program: Program, contents: WheelContents) -> None:
    folder = program.copy("c_setuptools")
    sdists = program.new_folder("sdist")
    subprocess.run(
        [find_uv_bin(), "build", "--quiet", "--sdist", "--python", program.require("cp312").path, "--out-dir", sdists,
         "--no-create-gitignore", program.copy("c_setuptools")],
        check=True, env={**program.environment, "UV_CACHE_DIR": str(cache_dir() / "uv")},
    )  # fmt: skip
    (sdist,) = sdists.iterdir()
    from_sdist, from_folder = program.build(sdist), program.build(folder)

    assert (from_sdist.status, from_folder.status) == (0, 0), from_sdist.text + from_folder.text
    assert from_sdist.manifest["source"] == f"sha256:{hashlib.sha256(sdist.read_bytes()).hexdigest()}"
    assert from_sdist.manifest["project"] == "c-setuptools"
    assert from_sdist.wheel.name == from_folder.wheel.name
    assert contents.members(from_sdist.wheel) == contents.members(from_folder.wheel)


def test_settings_of_the_project_and_verify_accepts_its_wheel(program: Program) -> None:
    project = program.copy("tested")
    with (project / "pyproject.toml").open("a") as file:
        file.write('\n[tool.manywheels]\nbuild = ["cp312", "cp313"]\nskip = "cp313"\nplatform = "manylinux2014"\n')
    program.require("cp312")
    finished = program.build(project, tags=None, caller=program.pyenv_of(["cp312"]))

    assert finished.status == 0, finished.text
    assert finished.states == {"cp312": "built"}
    assert f"manylinux_2_17_{os.uname().machine}" in finished.wheel.name
    assert finished.manifest["platform"] == f"manylinux2014_{os.uname().machine}"
    verified = program("verify", finished.output)
    assert verified.status == 0, verified.text
    assert verified.stdout.startswith(f"✓ {finished.wheel.name}")


# --- what the back end sees -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_environment_of_the_back_end(program: Program, contents: WheelContents) -> None:
    secrets = {
        "SECRET_TOKEN": "hush-1",
        "PYTHONPATH": "/hush-2",
        "INPUT_PASSWORD": "hush-3",
        "GITHUB_TOKEN": "hush-4",
        "CI_JOB_TOKEN": "hush-5",
        "ACTIONS_CACHE_TOKEN": "hush-6",
        "UV_EXTRA_INDEX_URL": "https://user:hush-7@index.invalid/simple",
    }
    finished = program.build(
        "env_probe",
        "--environment-pass",
        "FOO NOT_SET",
        "--environment",
        'BAR="x $FOO" BAZ=${BAR}!',
        caller={"FOO": "foo's", **secrets},
    )

    assert finished.status == 0, finished.text
    probe = json.loads(contents.members(finished.wheel)["env_probe/probe.json"])
    seen: dict[str, str] = probe["environ"]
    assert not seen.keys() & secrets.keys()
    assert "hush-" not in json.dumps(seen)
    assert [seen[name] for name in ("FOO", "BAR", "BAZ")] == ["foo's", "x foo's", "x foo's!"]
    assert "NOT_SET" not in seen
    assert seen["MANYWHEELS_BUILD_IDENTIFIER"] == finished.targets["cp312"]["identifier"]

    work = str(cache_dir() / "work")
    assert probe["cwd"].startswith(work)
    assert seen["HOME"].startswith(work)
    assert seen["TMPDIR"].startswith(work)
    assert not Path(probe["cwd"]).exists()
    assert not Path(seen["HOME"]).exists()

    assert probe["pgrp"] != os.getpgrp()
    assert probe["sid"] != os.getsid(0)
    assert probe["sid"] == probe["pgrp"], "it leads no session of its own"
    assert set(probe["fds"]) == {"0", "1", "2"}
    assert probe["fds"]["0"] == "/dev/null"
