"""Facts that change without the code: interpreters, policies, images, what the index accepts."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def table(name: str) -> dict[str, Any]:
    """Return the table `data/<name>.toml`, parsed once per process. The caller must not change it."""
    return tomllib.loads(files(__name__).joinpath(f"{name}.toml").read_text("utf-8"))


def completion(shell: str) -> str:
    """Return the script that completes the command line in `bash`, `zsh` or `fish`; `make docs` writes them."""
    return files(__name__).joinpath(f"completion.{shell}").read_text("utf-8")
