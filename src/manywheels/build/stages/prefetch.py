"""Build requirements are fetched once, by a user who runs nothing but uv, and linked into each target's uv cache.

A cache that project code can write must not be shared with another target or a later run. So where targets have users
of their own, each has its own uv cache. To save each of them the download, the wheels among the build requirements are
fetched into a store that outlives the run. Who can do what with it:

- The fetching user alone writes to the store. It gets the caller's settings by the allow-list `fetch` of
  `data/environment.toml`, a PATH of the program's own, and nothing of the project's but the names and versions of
  requirements. It runs no project code and builds no sdist.
- A target's user can read the unpacked wheels. It makes the links in its own cache itself, with its own rights. uv's
  lock files are out of its reach: they lie in the part of the store that is closed to everybody else.
- Root opens nothing in the store.

A target whose settings differ from the caller's (`own_settings`), because its `environment` names an index, a proxy or
a certificate, does not take part: its front end fetches for itself, into its own cache. Neither is anything in here a
reason for a target to fail: the front end fetches what is missing.
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
from manywheels.runtime import sandbox, untrusted_files
from manywheels.runtime.sandbox import Command

_TIMEOUT: Final = 300.0  # seconds; the build fetches what is not there by then
_BY_DEFAULT: Final = ("setuptools",)  # PEP 518, if there is no `requires`
_WORKER: Final = Path(__file__).with_name("prefetch_worker.py")
_PATH: Final = "/usr/bin:/bin"
_INDEX: Final = re.compile(r"([\w.-]+=)?https?://[^@\s]+")  # UV_INDEX takes names as well: `name=address`
_one_at_a_time = threading.Lock()
_LONGEST_ANSWER: Final = 1 << 20  # bytes of the fetching user's output that are read
# Variables that uv, pip, their HTTP clients and their keyrings read: if one differs, something else may be fetched.
_STEERS_FETCHING: Final = re.compile(r"(?i)(UV|PIP|SSL|REQUESTS|CURL|NIX_SSL|GIT|NETRC|PYTHON_KEYRING).*|\w+_proxy")


@dataclass(frozen=True, kw_only=True)
class Prefetch:
    """What is fetched, and for whom. `fetcher` is the id of the user who fetches into `store`.

    `settings` are the caller's, as `caller_settings` returns them. `constraints` bound the versions of `requirements`;
    both are requirements without addresses. `abi` and `python` are the target's; `cache` is the uv cache of its user,
    `user`. `scratch` is a folder that is made, and stays until the run ends.
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
    """Return the build requirements that a project declares, without those that it names by their address."""
    try:
        declared = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    except (OSError, ValueError, KeyError, TypeError):
        return _BY_DEFAULT
    return tuple(text for text in declared if is_on_an_index(text))


def is_on_an_index(text: object) -> bool:
    """Whether a text is a requirement (PEP 508) that is looked up on an index, and not fetched from an address."""
    try:
        return isinstance(text, str) and Requirement(text).url is None
    except InvalidRequirement:
        return False


def constraints_in(content: str) -> tuple[str, ...] | None:
    """Return the requirements in a constraints file; None if it holds options, addresses or other files."""
    lines = [line.partition(" #")[0].strip() for line in content.splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    return tuple(found) if all(map(is_on_an_index, found)) else None


def caller_settings(caller: Mapping[str, str]) -> dict[str, str] | None:
    """Return what the fetching user is told of the caller's environment: the names on the allow-list `fetch`.

    None if an index is a folder, which project code may be able to write, or an address with credentials.
    """
    facts = table("environment")["fetch"]
    indexes = [word for name in facts["indexes"] for word in caller.get(name, "").split()]
    if not all(map(_INDEX.fullmatch, indexes)):
        return None
    return {name: caller[name] for name in (*facts["indexes"], *facts["settings"]) if name in caller}


def own_settings(target: Mapping[str, str], caller: Mapping[str, str]) -> list[str]:
    """Return the names of variables that steer fetching and differ between a target's environment and the caller's."""
    names = {name for name in (*target, *caller) if _STEERS_FETCHING.fullmatch(name)}
    return sorted(name for name in names if target.get(name) != caller.get(name))


def prefetch(request: Prefetch, cancellation: Cancellation) -> None:
    """Fetch what is required and not in the store yet, and link it into the target's cache. Raises OSError."""
    wheels = _fetch(request, cancellation)
    if wheels:
        _link(request, wheels, cancellation)


def _fetch(request: Prefetch, cancellation: Cancellation) -> list[tuple[str, str]]:
    """Have the fetching user fetch; return the name and version of each wheel that is in the store then."""
    with _one_at_a_time:  # several targets fetch side by side
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
    return _answer_in(log) if sandbox.run(command, cancellation).succeeded else []


def _make_store(store: Path, fetcher: int) -> None:
    untrusted_files.keep_folder(store, None, 0o755)
    untrusted_files.keep_folder(store / "cache", fetcher, 0o700)
    for name in ("archive-v0", "entries"):
        untrusted_files.keep_folder(store / name, fetcher, 0o755)


def _answer_in(log: Path) -> list[tuple[str, str]]:
    """Return the wheels that the worker names in the last line of its log, which lies in a folder of the program's."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST_ANSWER))
        *_, last = file.read(_LONGEST_ANSWER).splitlines() or [b""]
    try:
        answer = json.loads(last)
    except (ValueError, RecursionError):
        return []
    if not isinstance(answer, list):
        return []
    return [(name, version) for name, version in filter(_is_wheel, answer)]


def _is_wheel(entry: object) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and all(isinstance(text, str) for text in entry)  # noqa: PLR2004


def _link(request: Prefetch, wheels: Iterable[tuple[str, str]], cancellation: Cancellation) -> None:
    """Have the target's user link the wheels into its own cache."""
    asked = {"store": str(request.store), "cache": str(request.cache), "abi": request.abi, "wheels": list(wheels)}
    command = Command(
        argv=_worker("link", asked), folder=request.cache, environment={"PATH": _PATH},
        log=request.scratch / "links", timeout=_TIMEOUT, user=request.user,
    )  # fmt: skip
    sandbox.run(command, cancellation)


def _worker(task: str, asked: Mapping[str, object]) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", str(_WORKER), task, json.dumps(asked))
