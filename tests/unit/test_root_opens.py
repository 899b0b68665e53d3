"""Which code opens paths: where project code has been, only `untrusted_files` does (docs/rules-for-code.md, rule 1).

Part of `make check`. Reads the source: every call that opens, makes, lists, renames, removes or gives away a file by its
path must stand in a module, or in a function, that is listed here with the reason why no other user can change that
path. A new module is on no list.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from manywheels.resources import PACKAGE

# Functions and methods, of `pathlib`, `os`, `shutil`, `tempfile` and `tarfile`, that take a path.
OPENS = frozenset(
    "open read_text read_bytes write_text write_bytes touch mkdir makedirs rmdir unlink remove rename symlink_to "
    "hardlink_to symlink link chmod lchmod chown lchown utime truncate mkfifo mknod glob rglob iterdir walk fwalk "
    "listdir scandir rmtree copy copy2 copyfile copytree copystat copymode move extractall setxattr "
    "NamedTemporaryFile TemporaryFile TemporaryDirectory mkdtemp mkstemp".split()
)
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
    "interpreters.py": "before anything of a project runs",
    "checkout.py": "the checkout and the snapshot: before anything of a project runs",
    "project.py": "the checkout and the snapshot: before anything of a project runs",
    "copying.py": "the checkout and the snapshot; copies before their user gets them",
    "workspace.py": "the checkout, the snapshot, and the work folder itself, which is root's",
    "toolchain.py": "`tools` in the work folder, which is root's",
    "jobserver.py": "the FIFO in the work folder, which is root's",
}  # fmt: skip
# Single functions of other modules.
FUNCTIONS: dict[str, str] = {}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield each call that takes a path, with the name of the function around it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            for call in ast.walk(node):
                if isinstance(call, ast.Call) and called(call) in OPENS and not is_text_replaced(call):
                    yield node.name, call


def called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def is_text_replaced(call: ast.Call) -> bool:
    return False


def found() -> dict[str, str]:
    """Return the functions that open paths, outside of the modules that may."""
    opening = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not any(name == module or (module.endswith("/") and name.startswith(module)) for module in MODULES):
            opening |= {f"{name}::{function}": ast.unparse(call) for function, call in calls(ast.parse(path.read_bytes()))}
    return opening


if __name__ == "__main__":
    for k, v in found().items(): print(k, v)
