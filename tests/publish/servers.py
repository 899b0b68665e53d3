"""pypiserver and devpi-server as processes of a test, on ports of their own."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from publish.program import clean_environment

USER, PASSWORD = "ada", "pass:word with blanks"


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server: its address, and the folder that it keeps its files in."""

    url: str
    folder: Path


def free_port() -> int:
    """Return a port that nobody listens on, none of those that the kernel gives: other tests are given these."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def _running(argv: list[str], url: str, log: Path) -> Iterator[None]:
    """Run a server until the context is left; wait until it answers."""
    environment = clean_environment()
    with log.open("wb") as output, subprocess.Popen(argv, env=environment, stdout=output, stderr=output) as process:
        try:
            _wait(process, url, log)
            yield
        finally:
            process.terminate()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    for _ in range(1200):
        if process.poll() is not None:
            break
        try:
            requests.get(url, timeout=5)
        except (requests.ConnectionError, requests.Timeout):
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"{url} does not answer:\n{log.read_text()}")


@contextmanager
def pypiserver(folder: Path, *options: str) -> Iterator[Server]:
    """Run pypiserver, which asks for USER and PASSWORD for everything."""
    files = folder / "files"
    files.mkdir(parents=True)
    digest = base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
    (folder / "htpasswd").write_text(f"{USER}:{{SHA}}{digest}\n")
    port = free_port()
    argv = [sys.executable, "-m", "pypiserver", "run", "-i", "127.0.0.1", "-p", str(port), "--disable-fallback",
            "-P", str(folder / "htpasswd"), "-a", "update,download,list", *options, str(files)]  # fmt: skip
    url = f"http://127.0.0.1:{port}/"
    with _running(argv, url, folder / "log"):
        yield Server(url=url, folder=files)


class Devpi:
    """A running devpi-server, whose user root has no password."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.headers["Accept"] = "application/json"
        self._session.headers["X-Devpi-Auth"] = self._log_in("root", "")
        user = {"password": PASSWORD}
        self._session.put(f"{url}{USER}", json=user, timeout=30).raise_for_status()

    def _log_in(self, user: str, password: str) -> str:
        answer = self._session.post(f"{self.url}+login", json={"user": user, "password": password}, timeout=30)
        pair = f"{user}:{answer.json()['result']['password']}"
        return base64.b64encode(pair.encode()).decode()

    def index(self, name: str) -> str:
        """Make an index of USER's that takes no file twice; return its address."""
        content = {"type": "stage", "volatile": False, "bases": []}
        url = f"{self.url}{USER}/{name}"
        self._session.put(url, json=content, timeout=30).raise_for_status()
        return f"{url}/"

    def release(self, index: str, project: str, version: str) -> dict[str, Any]:
        """Return what an index keeps of a release's metadata, and the sha256 of its files by name."""
        found = self._session.get(f"{index}{project}/{version}", timeout=30).json()["result"]
        links = found.pop("+links")
        found.pop("+shadowing", None)
        found["keywords"] = [word.strip() for word in found["keywords"].split(",")]
        files = {link["href"].rpartition("/")[2]: link["hash_spec"] for link in links}
        return {"metadata": found, "files": files}


# Initialises and serves in one process. The usual hashes take a fifth of a second for the password of each request, and
# ten seconds for the key that signs log-ins.
_DEVPI = """\
import sys
from devpi_server import auth, init, main

auth.pwd_context.update(argon2__time_cost=1, argon2__memory_cost=8, argon2__parallelism=1)
place = ["--serverdir", sys.argv[1]]
hashes = ["--argon2-time-cost", "1", "--argon2-memory-cost", "8", "--argon2-parallelism", "1"]
init.init(argv=["devpi-init", *place, "--no-root-pypi"])
main.main(argv=["devpi-server", *place, *hashes, *sys.argv[2:]])
"""


@contextmanager
def devpi(folder: Path) -> Iterator[Devpi]:
    """Run devpi-server, which asks nobody outside."""
    folder.mkdir(parents=True)
    port = free_port()
    argv = [sys.executable, "-c", _DEVPI, str(folder / "server"), "--host", "127.0.0.1", "--port", str(port),
            "--offline-mode", "--threads", "4"]  # fmt: skip
    url = f"http://127.0.0.1:{port}/"
    with _running(argv, url, folder / "log"):
        yield Devpi(url)


def as_json(value: object) -> str:
    """Return a value in one order, to compare it with another."""
    return json.dumps(value, sort_keys=True, indent=1)
