"""Which code opens paths: where project code has been, only `untrusted_files` does (docs/rules-for-code.md, rule 1).

Part of `make check`. Every call that opens, makes, lists, renames, removes or gives away a file by its path must be in
a module or function that is listed here, with the reason why no other user can change that path. A new module is on no
list.
"""

from __future__ import annotations

import ast

import pytest

from manywheels.resources import PACKAGE

# Functions and methods that take a path: of `pathlib`, `os`, `shutil`, `tempfile` and `tarfile`.
OPENS = frozenset({
    "open", "read_text", "read_bytes", "write_text", "write_bytes", "touch", "mkdir", "makedirs", "rmdir", "unlink",
    "remove", "rename", "symlink_to", "hardlink_to", "symlink", "link", "chmod", "lchmod", "chown", "lchown",
    "utime", "truncate", "mkfifo", "mknod", "glob", "rglob", "iterdir", "walk", "fwalk", "listdir", "scandir",
    "rmtree", "copy", "copy2", "copyfile", "copytree", "copystat", "copymode", "move", "extractall", "setxattr",
    "NamedTemporaryFile", "TemporaryFile", "TemporaryDirectory", "mkdtemp", "mkstemp",
})  # fmt: skip
PROGRAM = "its own packages and what the kernel says"
CALLER = "the caller's folders: no project code runs, or a target's user cannot reach them"
# Modules, or all in a folder, that never see a path below a run's work folder, or only in the program's own part of it.
MODULES = {
    "untrusted_files.py": "this is the module",
    "archive/": CALLER, "ci/": CALLER, "publish/": CALLER, "report/": CALLER, "verify/": CALLER, "cli.py": CALLER,
    "commands.py": CALLER, "gather.py": CALLER, "manifest.py": CALLER, "output.py": CALLER, "signatures.py": CALLER,
    "data/": PROGRAM, "image.py": PROGRAM, "inputs.py": PROGRAM, "hostpaths.py": PROGRAM, "memory.py": PROGRAM,
    "sandbox_init.py": PROGRAM, "isolation_probe.py": "runs as a target's user",
    "stages/auditwheel_worker.py": "runs as a target's user",
    "stages/prefetch_worker.py": "runs as the fetching user, and as a target's",
    "trees.py": "through descriptors that follow no link", "leftovers.py": "through descriptors that follow no link",
    "regular_files.py": "the caller's folders; looks at the file before it opens it",
    "gitconfig.py": "the checkout and the snapshot: before anything of a project runs",
    "repository.py": "the checkout and the snapshot: before anything of a project runs",
    "interpreters.py": "before anything of a project runs",
    "checkout.py": "the checkout and the snapshot: before anything of a project runs",
    "project.py": "the checkout and the snapshot: before anything of a project runs",
    "copying.py": "the checkout and the snapshot; copies before their user gets them",
    "workspace.py": "the checkout, the snapshot, and the work folder itself, which is root's",
    "toolchain.py": "`tools` in the work folder, which is root's",
    "jobserver.py": "the FIFO in the work folder, which is root's",
}  # fmt: skip
# Single functions of other modules; each opens something only in the way that the reason says.
FUNCTIONS = {
    "engine.py::_run_container": "no path: it removes a container",
    "isolation.py::_capabilities": PROGRAM, "isolation.py::_runners_mounts": PROGRAM,
    "isolation.py::_close": "the CI's folders, before anything of a project runs",
    "isolation.py::_reopen": "the CI's folders; only their owner can write around them",
    "isolation.py::_hold": "the cache folder, the program's own",
    "isolation.py::_probe": "a temporary folder, the program's own",
    "line.py::_walk": "no path: a target walks its way",
    "pipeline.py::_place_to_work": "the work folder itself, which is root's",
    "recipes.py::text": "the snapshot, before anything of a project runs as another user",
    "room.py::_size_of": "the snapshot, by descriptors", "room.py::count": "the snapshot, by descriptors",
    "sandbox.py::_children": PROGRAM, "sandbox.py::_is_of": PROGRAM,
    "sandbox.py::_handed_over": "no path: an anonymous file",
    "stages/before_all.py::prepare": "the work folder, which is root's",
    "stages/prefetch.py::_answer_in": "`fetching-…` in the work folder, which is root's",
    "stages/prefetch.py::requirements_of": "the snapshot, which only root can write",
    "stages/test_in.py::_container": "no path: it removes a container",
    "stages/test_in.py::_bring_in": "a temporary folder, the program's own",
    "stages/test_in.py::_pack": "a temporary folder, the program's own",
    "stages/test_in.py::_run": "a temporary folder, the program's own",
    "stages/transfer.py::look": "by the descriptor of its folder",
    "stages/transfer.py::pack_tree": "no path: it walks by descriptors",
    "stages/transfer.py::_add_file": "by the descriptor of its folder",
    "stages/transfer.py::take_file": "a temporary folder, the program's own",
    "stages/trials.py::no_tests_here": PROGRAM,
}  # fmt: skip


def is_on_list(name: str) -> bool:
    return any(name == module or (module.endswith("/") and name.startswith(module)) for module in MODULES)


def functions_that_open(name: str, source: str) -> set[str]:
    """Return the functions of a module that call something that takes a path, as `module.py::function`."""
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {f"{name}::{function.name}" for function in functions if any(map(opens, ast.walk(function)))}


def opens(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return called in OPENS


@pytest.fixture(scope="module")
def found() -> set[str]:
    modules = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py")}
    opening = {name: functions_that_open(name, path.read_text("utf-8")) for name, path in modules.items()}
    return {function for name, functions in opening.items() if not is_on_list(name) for function in functions}


def test_only_what_is_listed_opens_paths(found: set[str]) -> None:
    assert sorted(found - set(FUNCTIONS)) == [], (
        "open it with `untrusted_files`, or say here why nobody can change the path"
    )


def test_nothing_is_listed_that_is_gone(found: set[str]) -> None:
    assert sorted(set(FUNCTIONS) - found) == []
    assert [module for module in MODULES if not (PACKAGE / module).exists()] == []


def test_the_kinds_of_calls_are_seen() -> None:
    source = """
def by_path(folder):
    (folder / "log").open("ab")

def by_os(folder):
    os.open(folder, os.O_RDONLY)

def by_shutil(folder):
    shutil.rmtree(folder)

def inside(folder):
    def walk():
        return [path.read_text() for path in folder]
    return walk

def harmless(folder):
    return untrusted_files.open_log(folder / "log")
"""
    names = ("by_path", "by_os", "by_shutil", "inside", "walk")
    assert functions_that_open("new.py", source) == {f"new.py::{name}" for name in names}
