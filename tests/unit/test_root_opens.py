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
TOOLS = "the tools' folder, which only the program writes"
PROGRAM = "its own packages and what the kernel says"
CALLER = "the caller's folders: no project code runs, or a target's user cannot reach them"
# Modules, or all in a folder, that never see a path below a run's work folder, or only in the program's own part of it.
MODULES = {
    "runtime/untrusted_files.py": "this is the module",
    "cli/": CALLER, "deliver/": CALLER, "report/": CALLER, "verify/": CALLER, "wheels/": CALLER,
    "core/files.py": CALLER, "core/regular_files.py": "the caller's folders; looks at the file before it opens it",
    "data/": PROGRAM, "plan/inputs.py": PROGRAM, "core/cgroup.py": PROGRAM, "runtime/sandbox_init.py": PROGRAM,
    "runtime/containers/image.py": PROGRAM, "runtime/containers/host_paths.py": PROGRAM,
    "plan/architectures.py": PROGRAM, "runtime/containers/interpreters.py": "the cache folder, the program's own",
    "runtime/isolation_probe.py": "runs as a target's user",
    "build/compilers/cxx_runtime.py": "runs as a target's user",
    "build/stages/auditwheel_worker.py": "runs as a target's user",
    "build/stages/prefetch_worker.py": "runs as the fetching user, and as a target's",
    "build/compilers/lld_link.py": "runs as a target's user",
    "build/cross/face.py": "runs as a target's user", "build/cross/hooks.py": "runs as a target's user",
    "build/cross/front_end.py": "runs as a target's user",
    "build/cross/files.py": "`cross-…` in the work folder, which is root's, and the machine's headers",
    "build/cross/machine_python.py": "the machine's headers",
    "runtime/trees.py": "through descriptors that follow no link",
    "runtime/leftovers.py": "through descriptors that follow no link",
    "plan/interpreters.py": "before anything of a project runs",
    "plan/installer_files.py": "the caller's configuration: before anything of a project runs",
    "plan/project.py": "the checkout and the snapshot: before anything of a project runs",
    "runtime/git.py": "the checkout and the snapshot: before anything of a project runs",
    "runtime/git_commands.py": "the checkout and the snapshot: before anything of a project runs",
    "runtime/left_out.py": "the checkout: before anything of a project runs",
    "runtime/gitconfig.py": "the checkout and the snapshot: before anything of a project runs",
    "runtime/repository.py": "the checkout and the snapshot: before anything of a project runs",
    "runtime/cache_folder.py": "the cache folder, the program's own, and no link in it",
    "runtime/copying.py": "the checkout and the snapshot; copies before their user gets them",
    "runtime/workspace.py": "the checkout, the snapshot, and the work folder itself, which is root's",
    "build/compilers/toolchain.py": TOOLS, "build/compilers/wrappers.py": TOOLS,
    "build/compilers/zig.py": TOOLS, "build/compilers/system.py": "looks at a wrapper of the program's own",
    "build/jobserver.py": "the FIFO in the work folder, which is root's",
    "build/compiler_cache/client.py": "runs as a target's user",
    "build/compiler_cache/server.py": "sockets in the work folder, which is root's",
    "build/compiler_cache/store.py": "a file in the work folder or the cache folder, the program's own",
    "build/compiler_cache/worker.py": "as the user of a job, in its folder; what the kernel says",
}  # fmt: skip
# Single functions of other modules; each opens something only in the way that the reason says.
FUNCTIONS = {
    "runtime/containers/run.py::run_container": "no path: it removes a container",
    "runtime/containers/removal.py::remove": "no path: it removes images and volumes",
    "build/container_run.py::_sharing": "no path: it removes a volume",
    "build/platform_setup.py::set_up": "`sources` in the work folder, which is root's",
    "runtime/containers/run.py::_copy_in": "a temporary folder, the program's own",
    "runtime/isolation.py::_capabilities": PROGRAM, "runtime/isolation.py::_runners_mounts": PROGRAM,
    "runtime/isolation.py::_close": "the CI's folders, before anything of a project runs",
    "runtime/isolation.py::_reopen": "the CI's folders; only their owner can write around them",
    "runtime/isolation.py::_hold": "the cache folder, the program's own",
    "runtime/isolation.py::_probe": "a temporary folder, the program's own",
    "build/resolution.py::_resolve": "a temporary folder, the program's own",
    "resources.py::program_files": PROGRAM, "resources.py::program_digest": PROGRAM,
    "build/pipeline.py::_isolated_work_folder": "the work folder itself, which is root's",
    "build/source_files.py::find": "the snapshot, by descriptors",
    "build/source_files.py::visit": "the snapshot, by descriptors",
    "build/sdist.py::read_built": "`sources` in the work folder, which is root's",
    "build/compilers/link_stub.py::make": TOOLS, "build/compilers/link_stub.py::_link": TOOLS,
    "build/stages/variables.py::_with_python": "a folder of the program's own, in which it makes links",
    "build/disk_space.py::_size_of": "the snapshot, by descriptors",
    "build/disk_space.py::count": "the snapshot, by descriptors",
    "runtime/process_trees.py::_children": PROGRAM, "runtime/process_trees.py::_is_of": PROGRAM,
    "runtime/sandbox.py::_environment_file": "no path: an anonymous file",
    "build/stages/before_all.py::prepare": "the work folder, which is root's",
    "build/stages/prefetch.py::_result_in": "`fetching-…` in the work folder, which is root's",
    "build/stages/prefetch.py::requirements_of": "the snapshot, which only root can write",
    "build/stages/test_container.py::_pack": "a temporary folder, the program's own",
    "build/stages/test_container.py::_run": "a temporary folder, the program's own",
    "build/target/testing.py::_pack_copy": "`sealed`, a folder of the program's own",
    "build/stages/transfer.py::pack": "by the descriptor of its folder",
    "build/stages/transfer.py::pack_tree": "no path: it walks by descriptors",
    "build/stages/transfer.py::_add_file": "by the descriptor of its folder",
    "build/stages/transfer.py::take_file": "a temporary folder, the program's own",
    "build/stages/test_run.py::no_tests_here": PROGRAM,
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
