"""Fetch build requirements once, as a user who only runs uv, and link them into each target's uv cache.

See docs/security.md and part 2 of docs/rules-for-code.md: a cache that project code can write must not be shared, so
wheels are fetched into a store that only the fetching user writes, and each target's user links them into its own
cache. Root opens nothing in the store. The front end fetches what is missing, so no target fails because of this
module.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement

from manywheels.core.cancellation import Cancellation
from manywheels.data import table
from manywheels.plan.pip_settings import Follower
from manywheels.runtime import sandbox, untrusted_files
from manywheels.runtime.sandbox import Command

_TIMEOUT: Final = 300.0  # seconds; the build fetches the rest
_BY_DEFAULT: Final = ("setuptools",)  # without `requires` (PEP 518)
_WORKER: Final = Path(__file__).with_name("prefetch_worker.py")
_PATH: Final = "/usr/bin:/bin"
_INDEX: Final = re.compile(r"([\w.-]+=)?https?://[^@\s]+")  # UV_INDEX also allows `name=address`
# Variables by which the caller's configuration files are found (`installer_files`).
_AUTHORITIES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "NIX_SSL_CERT_FILE")
_NAME_FILES: Final = ("PIP_CONFIG_FILE", "UV_CONFIG_FILE", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "HOME")
_one_at_a_time = threading.Lock()
_LARGEST_RESULT: Final = 1 << 20  # bytes read of the fetching user's output
# Variables of uv, pip, their HTTP clients and keyrings: they change what is fetched.
_STEERS_FETCHING: Final = re.compile(r"(?i)(UV|PIP|SSL|REQUESTS|CURL|NIX_SSL|GIT|NETRC|PYTHON_KEYRING).*|\w+_proxy")


@dataclass(frozen=True, kw_only=True)
class Prefetch:
    """What to fetch, and for which target; `fetcher` is the id of the user who fetches into `store`.

    `settings` come from `caller_settings`. `requirements` and `constraints` have no addresses. `abi`, `python`, `user`
    (an id) and `cache` (of uv) are the target's. `scratch` is created and not removed.
    """

    uv: str
    python: Path
    abi: str
    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    settings: Mapping[str, str]
    store: Path
    fetcher: int
    cache: Path
    user: int
    scratch: Path


def requirements_of(package: Path) -> tuple[str, ...]:
    """Return the declared build requirements without an address."""
    try:
        declared = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    except (OSError, ValueError, KeyError, TypeError):
        return _BY_DEFAULT
    return tuple(text for text in declared if is_on_an_index(text))


def steers_fetching(name: str) -> bool:
    """Whether a variable changes what uv and pip fetch."""
    return _STEERS_FETCHING.fullmatch(name) is not None


def is_on_an_index(text: object) -> bool:
    """Whether a text is a requirement (PEP 508) without an address."""
    try:
        return isinstance(text, str) and Requirement(text).url is None
    except (InvalidRequirement, SyntaxError, ValueError):  # a marker's texts are evaluated as Python's
        return False


def constraints_in(content: str) -> tuple[str, ...] | None:
    """Return a constraints file's requirements; None with options, addresses or file names."""
    lines = [line.partition(" #")[0].strip() for line in content.splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    return tuple(found) if all(map(is_on_an_index, found)) else None


def caller_settings(caller: Mapping[str, str], source: Path, *, anywhere: bool = False) -> dict[str, str] | None:
    """Return the caller's variables on the allow-list `fetch`, pip's as uv's, for the fetching user.

    None if the settings may come from a file in the checkout `source`, which a pull request can change, and, unless
    `anywhere`, if an index is a folder, which project code might write, or an address with credentials.
    """
    facts, told = table("environment")["fetch"], Follower().follow(caller).environment
    named = (*(caller.get(name, "") for name in _NAME_FILES), *(told.get(name, "") for name in _AUTHORITIES))
    files = [file for names in named for file in names.split(os.pathsep) if file]
    if any(Path(file).resolve().is_relative_to(source) for file in files):
        return None
    indexes = [word for name in facts["indexes"] for word in re.split(r"[\s,]+", told.get(name, "").strip()) if word]
    if not anywhere and not all(map(_INDEX.fullmatch, indexes)):
        return None
    return {name: told[name] for name in (*facts["indexes"], *facts["settings"]) if name in told}


def own_settings(target: Mapping[str, str], caller: Mapping[str, str]) -> list[str]:
    """Return the names of variables that affect fetching and differ from the caller's."""
    names = {name for name in (*target, *caller) if steers_fetching(name)}
    return sorted(name for name in names if target.get(name) != caller.get(name))


def prefetch(request: Prefetch, cancellation: Cancellation) -> bool:
    """Return whether uv can install from the target's cache by hard links to its symbolic ones. Raises OSError."""
    wheels = _fetch(request, cancellation)
    return bool(wheels) and _link(request, wheels, cancellation)


def _fetch(request: Prefetch, cancellation: Cancellation) -> list[tuple[str, str]]:
    with _one_at_a_time:  # several targets fetch at once
        _make_store(request.store, request.fetcher)
    untrusted_files.make_place(request.scratch, request.fetcher)
    home = untrusted_files.make_folder(request.scratch / "home", request.fetcher)
    for name, lines in (("requirements", request.requirements), ("constraints", request.constraints)):
        untrusted_files.write_file(home.with_name(name), "".join(f"{line}\n" for line in lines).encode())
    uv = (
        request.uv, "pip", "install", "--no-config", "--color=never", "--only-binary", ":all:",
        "--python", str(request.python), "--target", str(home / "site"),
        "--constraints", str(home.with_name("constraints")), "--requirements", str(home.with_name("requirements")),
    )  # fmt: skip
    own = {
        "UV_CACHE_DIR": str(request.store / "cache"), "UV_KEYRING_PROVIDER": "disabled",
        "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1",
        "HOME": str(home), "TMPDIR": str(home), "PATH": _PATH,
    }  # fmt: skip
    log = request.scratch / "log"
    command = Command(
        argv=_worker("fetch", {"uv": uv, "store": str(request.store)}),
        folder=home, environment={**request.settings, **own}, log=log, timeout=_TIMEOUT, user=request.fetcher,
    )  # fmt: skip
    return _result_in(log) if sandbox.run(command, cancellation).succeeded else []


def _make_store(store: Path, fetcher: int) -> None:
    untrusted_files.keep_folder(store, None, 0o755)
    untrusted_files.keep_folder(store / "cache", fetcher, 0o700)
    for name in ("archive-v0", "entries"):
        untrusted_files.keep_folder(store / name, fetcher, 0o755)


def _result_in(log: Path) -> list[tuple[str, str]]:
    """Return the wheels in the last line of the worker's log; only root can write its folder."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LARGEST_RESULT))
        *_, last = file.read(_LARGEST_RESULT).splitlines() or [b""]
    try:
        result = json.loads(last)
    except (ValueError, RecursionError):
        return []
    if not isinstance(result, list):
        return []
    return [(name, version) for name, version in filter(_is_wheel, result)]


def _is_wheel(entry: object) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and all(isinstance(text, str) for text in entry)  # noqa: PLR2004


def _link(request: Prefetch, wheels: Iterable[tuple[str, str]], cancellation: Cancellation) -> bool:
    task = {"store": str(request.store), "cache": str(request.cache), "abi": request.abi, "wheels": list(wheels)}
    command = Command(
        argv=_worker("link", task), folder=request.cache, environment={"PATH": _PATH},
        log=request.scratch / "links", timeout=_TIMEOUT, user=request.user,
    )  # fmt: skip
    return sandbox.run(command, cancellation).succeeded


def _worker(task: str, arguments: Mapping[str, object]) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", str(_WORKER), task, json.dumps(arguments))
