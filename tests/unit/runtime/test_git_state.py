"""What git says of a copy, in another home and without the user's programs, is what it says in place."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from manywheels.core.cancellation import Cancellation
from manywheels.runtime.workspace import copy_source
from unit.helpers import write_project
from unit.runtime.test_workspace import _quiet_git, git, names, put, repository, snapshot_of  # noqa: F401 - a fixture

DESCRIBE = ("describe", "--tags", "--dirty")


@dataclass
class Here:
    """A project and its user, whose programs are not known in a copy."""

    project: Path
    home: Path
    programs: Path

    def set(self, key: str, value: str) -> None:
        git(self.project, "config", "--file", str(self.home / ".gitconfig"), key, value)

    def program(self, name: str, text: str) -> None:
        put(self.programs / name, f"#!/bin/sh\n{text}\n").chmod(0o755)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    here = Here(write_project(tmp_path / "demo"), tmp_path / "home", tmp_path / "programs")
    here.home.mkdir()
    put(here.home / ".gitconfig")
    monkeypatch.delenv("GIT_CONFIG_GLOBAL")
    monkeypatch.setenv("HOME", str(here.home))
    monkeypatch.setenv("PATH", f"{here.programs}{os.pathsep}{os.environ['PATH']}")
    git(here.project, "-c", "init.defaultBranch=main", "init", "-q")
    return here


def asked(folder: Path, *arguments: str) -> str:
    """Ask git as a build does."""
    variables = {"PATH": os.defpath, "HOME": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    asked = subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True, text=True, env=variables)
    return asked.stdout


def state_of_a_copy(project: Path) -> tuple[str, str]:
    copy = copy_source(snapshot_of(project, project.parent / "work"), project.parent / "target", Cancellation())
    return asked(copy, *DESCRIBE).strip(), asked(copy, "status", "--porcelain")


# --- a clean checkout -------------------------------------------------------------------------------------------------


def with_lfs(here: Here) -> None:
    """As `git lfs install` sets it."""
    here.program("git-lfs", 'case "$1" in clean) tr x y;; smudge) tr y x;; esac')
    for key, value in {"clean": "git-lfs clean -- %f", "smudge": "git-lfs smudge -- %f", "required": "true"}.items():
        here.set(f"filter.lfs.{key}", value)
    put(here.project / ".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    put(here.project / "large.bin", "x" * 1000)


def with_lfs_here_only(here: Here) -> None:
    """As actions/checkout sets it, on a machine that is not the container in which builds run."""
    with_lfs(here)
    for key in ("clean", "smudge", "required"):
        git(here.project, "config", f"filter.lfs.{key}", git(here.project, "config", f"filter.lfs.{key}").strip())
    put(here.home / ".gitconfig")


def with_a_filter_of_ones_own(here: Here) -> None:
    here.program("crypt", "tr a-z b-za")
    here.set("filter.crypt.clean", "crypt")
    here.set("filter.crypt.required", "true")
    put(here.project / ".gitattributes", "secret filter=crypt\n")
    put(here.project / "secret", "text")


def with_a_filter_for_all_repositories(here: Here) -> None:
    """As `nbstripout --install --global` does."""
    here.program("strip", "tr -d 0-9")
    here.set("filter.nbstripout.clean", "strip")
    put(here.home / ".config/git/attributes", "*.ipynb filter=nbstripout\n")
    put(here.project / "notebook.ipynb", "output 123")


def with_windows_line_ends(here: Here) -> None:
    here.set("core.autocrlf", "true")
    put(here.project / "text.txt").write_bytes(b"one\r\ntwo\r\n")


def with_line_ends_by_attribute(here: Here) -> None:
    put(here.project / ".gitattributes", "* text=auto eol=crlf\n")
    put(here.project / "text.txt").write_bytes(b"one\r\ntwo\r\n")


def with_links_as_files(here: Here) -> None:
    git(here.project, "config", "core.symlinks", "false")
    target = subprocess.run(
        ["git", "-C", here.project, "hash-object", "-w", "--stdin"], input=b"pyproject.toml", check=True,
        capture_output=True,
    ).stdout.decode().strip()  # fmt: skip
    git(here.project, "update-index", "--add", "--cacheinfo", f"120000,{target},link")
    put(here.project / "link", "pyproject.toml")


def with_version_4(here: Here) -> None:
    git(here.project, "update-index", "--index-version", "4")
    git(here.project, "config", "feature.manyFiles", "true")


def plain(here: Here) -> None:
    put(here.project / "a.c", "int a;")
    (here.project / "link").symlink_to("a.c")


CLEAN = [
    plain, with_lfs, with_lfs_here_only, with_a_filter_of_ones_own, with_a_filter_for_all_repositories,
    with_windows_line_ends, with_line_ends_by_attribute, with_links_as_files, with_version_4,
]  # fmt: skip


@pytest.mark.parametrize("age", ["as new as the index", "older"])
@pytest.mark.parametrize("make", CLEAN)
def test_a_clean_checkout_has_its_tags_version(here: Here, make: Callable[[Here], None], age: str) -> None:
    make(here)
    repository(here.project)
    for path in () if age != "older" else here.project.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000), follow_symlinks=False)  # no file is as new as the index
    git(here.project, "update-index", "-q", "--really-refresh")
    assert git(here.project, *DESCRIBE).strip() == "v1.0"
    assert state_of_a_copy(here.project) == ("v1.0", "")


@pytest.mark.parametrize("make", [with_lfs, with_lfs_here_only])
def test_a_touched_file_of_lfs_is_not_taken_for_changed(
    here: Here, make: Callable[[Here], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here git-lfs is needed, and there is one."""
    make(here)
    repository(here.project)
    os.utime(here.project / "large.bin", (1, 1))
    monkeypatch.setattr(os, "defpath", os.environ["PATH"])
    assert state_of_a_copy(here.project) == ("v1.0", "")


def test_what_the_user_ignores_is_ignored(here: Here) -> None:
    here.set("core.excludesFile", "~/ignored")
    (here.home / "ignored").symlink_to(put(here.home / "dotfiles" / "ignored", "*.swp\n.idea/\n*.keep"))
    repository(here.project)
    put(here.project / ".git/info/exclude", "!a.keep\n")
    for name in (".a.c.swp", ".idea/x", "a.keep", "b.keep", "new.c"):
        put(here.project / name)
    assert git(here.project, "status", "--porcelain") == "?? a.keep\n?? new.c\n"
    assert state_of_a_copy(here.project) == ("v1.0", "?? a.keep\n?? new.c\n")


# --- what is tracked, whatever it is called ---------------------------------------------------------------------------

CALLED_LIKE_JUNK = [
    "dist/.gitkeep", "dist/.gitignore", "dist/old/demo-0.1.tar.gz", "__pycache__/a.pyc", "tests/env/pyvenv.cfg",
    "tests/env/lib/a.py", "demo.egg-info/PKG-INFO", ".tox/x", "build/lib.linux-x86_64-cpython-312/a.py", ".env",
    ".pypirc", "node_modules/a/index.js", "build/a", "a/.mypy_cache/b c/\u00e9",
]  # fmt: skip


@pytest.mark.parametrize("package", ["", "python"])
def test_tracked_files_are_part_of_the_source_whatever_they_are_called(here: Here, package: str) -> None:
    write_project(here.project / package)
    for name in CALLED_LIKE_JUNK:
        put(here.project / name, name)
    git(here.project, "add", "-f", ".")
    repository(here.project)
    for name in ("dist/demo-1.0.whl", "dist/sub/x", "__pycache__/b.pyc", ".tox/y"):
        put(here.project / name)
    snapshot = snapshot_of(here.project / package, here.project.parent / "work", leave_out=(here.project / "dist",))
    assert asked(snapshot.root, *DESCRIBE).strip() == "v1.0"
    assert not names(snapshot.root) & {"dist/demo-1.0.whl", "dist/sub", "__pycache__/b.pyc", ".tox/y"}
    assert (snapshot.root / CALLED_LIKE_JUNK[-1]).read_text() == CALLED_LIKE_JUNK[-1]


def test_what_a_submodule_tracks_is_part_of_the_source(here: Here) -> None:
    origin = write_project(here.project.parent / "origin")
    for name in ("tests/env/pyvenv.cfg", "__pycache__/a.pyc"):
        put(origin / name)
    repository(origin)
    git(here.project, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(origin), "vendor/lib")
    repository(here.project)
    assert state_of_a_copy(here.project) == ("v1.0", "")


def test_a_submodule_of_a_linked_worktree(here: Here) -> None:
    """Its repository is in the worktree's part of the main one."""
    origin = repository(write_project(here.project.parent / "origin"))
    allowed = ("-c", "protocol.file.allow=always")
    git(here.project, *allowed, "submodule", "add", "-q", str(origin), "vendor/lib")
    repository(here.project)
    tree = here.project.parent / "tree"
    git(here.project, "worktree", "add", "-q", "-b", "feature", str(tree))
    git(tree, *allowed, "submodule", "update", "-q", "--init")
    assert "worktrees" in (tree / "vendor/lib/.git").read_text()
    assert state_of_a_copy(tree) == ("v1.0", "")


# --- what is changed in place, is changed in the copy -----------------------------------------------------------------


def at_once(project: Path) -> None:
    """With the same size, in the second in which the index was written."""
    times = (project / "a.c").stat().st_atime_ns, (project / "a.c").stat().st_mtime_ns
    for path in (put(project / "a.c", "int b;"), project / ".git/index"):
        os.utime(path, ns=times)


def later(project: Path) -> None:
    put(project / "a.c", "int b;")
    os.utime(project / "a.c", (2_000_000_000, 2_000_000_000))


def by_removal(project: Path) -> None:
    (project / "a.c").unlink()


def in_the_output(project: Path) -> None:
    (project / "dist/.gitkeep").unlink()


def by_mode(project: Path) -> None:
    (project / "a.c").chmod(0o755)


def by_a_link(project: Path) -> None:
    (project / "a.c").unlink()
    (project / "a.c").symlink_to("dist")


def staged(project: Path) -> None:
    put(project / "new.c")
    git(project, "add", "new.c")


@pytest.mark.parametrize("change", [at_once, later, by_removal, in_the_output, by_mode, by_a_link, staged])
def test_a_changed_checkout_stays_one(here: Here, change: Callable[[Path], None]) -> None:
    put(here.project / "a.c", "int a;")
    put(here.project / "dist" / ".gitkeep")
    repository(here.project)
    change(here.project)
    of_a_copy = state_of_a_copy(here.project)  # first: git notes in the index what it finds
    assert of_a_copy == (git(here.project, *DESCRIBE).strip(), git(here.project, "status", "--porcelain"))
    assert of_a_copy[0] == "v1.0-dirty"


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_a_change_that_git_shall_not_see_is_not_seen(here: Here, flag: str) -> None:
    put(here.project / "a.c", "int a;")
    repository(here.project)
    git(here.project, "update-index", flag, "a.c")
    put(here.project / "a.c", "int changed;")
    assert git(here.project, *DESCRIBE).strip() == "v1.0"
    assert state_of_a_copy(here.project) == ("v1.0", "")
    assert (here.project.parent / "target/a.c").read_text() == "int changed;"


def test_modes_that_git_shall_not_see_are_not_seen(here: Here) -> None:
    put(here.project / "a.c", "int a;")
    repository(here.project)
    git(here.project, "config", "--unset", "core.fileMode")
    here.set("core.fileMode", "false")
    (here.project / "a.c").chmod(0o755)
    assert git(here.project, *DESCRIBE).strip() == "v1.0"
    assert state_of_a_copy(here.project) == ("v1.0", "")


def test_a_partial_clone_is_clean(here: Here) -> None:
    put(here.project / "a.c", "int a;")
    repository(here.project)
    put(here.project / "a.c", "int b;")
    git(here.project, "commit", "-qam", "second")
    git(here.project, "tag", "-f", "v1.0")
    git(here.project, "config", "uploadpack.allowFilter", "true")
    clone = here.project.parent / "clone"
    git(here.project, "clone", "-q", "--filter=blob:none", f"file://{here.project}", str(clone))
    shutil.rmtree(here.project)
    assert state_of_a_copy(clone) == ("v1.0", "")


def test_no_program_of_the_users_runs_on_the_copy(here: Here) -> None:
    """A checkout's attributes decide on which files a filter runs: as root, if ours were asked."""
    with_a_filter_of_ones_own(here)
    repository(here.project)
    here.program("crypt", f"touch {here.home}/was-here; cat")
    state_of_a_copy(here.project)
    assert not (here.home / "was-here").exists()


@pytest.mark.parametrize("program", ["", "exit 3"])
def test_without_git_there_is_a_copy(here: Here, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(here.project / "a.c")
    repository(here.project)
    (here.programs / "sh").parent.mkdir(exist_ok=True)
    if program:
        here.program("git", program)
    monkeypatch.setenv("PATH", str(here.programs))
    assert "a.c" in names(snapshot_of(here.project, here.project.parent / "work").root)
