"""Calls one hook of a build back end (PEP 517), in the Python and environment of the build.

    python hooks.py TASK.json

The task has `backend` (as `module:object`), `backend-path`, `hook`, `settings`, and `output`: for `build_wheel` the
folder of the wheel, else the file for the requirements, one a line. This file runs under every Python that is built
for.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main(task: dict[str, Any]) -> None:
    """Exits with a message for what no back end may ask."""
    if not getattr(sys, "cross_compiling", False):  # Python only prints what a .pth file raises
        sys.exit(f"manywheels: error: this Python does not answer for the target: {sys.version}")
    sys.argv = sys.argv[:1]  # setup.py scripts read it
    here = os.getcwd()  # noqa: PTH109 - texts, as sys.path has them
    folders = [os.path.abspath(folder) for folder in task["backend-path"]]  # noqa: PTH100
    for folder in folders:
        if os.path.commonpath([folder, here]) != here:
            sys.exit(f"manywheels: error: `backend-path` leads out of the project: {folder}")
    sys.path[:1] = folders  # in place of this script's folder
    back_end = _find(task["backend"])
    if task["hook"] == "build_wheel":
        print("Successfully built", back_end.build_wheel(task["output"], task["settings"]))
        return
    hook = getattr(back_end, task["hook"], None)
    wanted = list(hook(task["settings"])) if hook else []
    with open(task["output"], "w", encoding="utf-8") as file:  # noqa: PTH123
        file.writelines(f"{line}\n" for line in wanted)


def _find(text: str) -> Any:  # noqa: ANN401
    module, _, names = text.partition(":")
    found: Any = importlib.import_module(module)
    for name in names.split(".") if names else ():
        found = getattr(found, name)
    return found


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as task_file:  # noqa: PTH123
        main(json.load(task_file))
