"""Afterwards: does the index serve what was sent? Its list is compared, and pip fetches each wheel by its sha256.

An sdist is compared in the list only: to fetch one, pip would run its build back end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from manywheels.errors import NotConfirmed
from manywheels.publish.distributions import Distribution
from manywheels.publish.index import ACCEPT, Index, Presence, compare
from manywheels.publish.pauses import Pauses
from manywheels.publish.transport import NoAnswer, Transport
from manywheels.sandbox import build_environment
from manywheels.verify.installs import questions, requires_python
from manywheels.wheelfile import parse_name

_PAUSE: Final = 5.0  # seconds between two looks
_TIMEOUT: Final = 300.0  # seconds for one download
_REMEDY: Final = (
    "Look again in a while: `manywheels publish` with the same files changes nothing that is there already."
)


def confirm(files: Sequence[Distribution], index: Index, transport: Transport, pauses: Pauses, limit: float) -> str:
    """Wait until the index serves the files, at most `limit` seconds; return what was seen, in one sentence.

    Raises NotConfirmed.
    """
    end = pauses.clock.monotonic() + limit
    while absent := _absent(files, index):
        if not _wait(pauses, end):
            names = ", ".join(f"`{name}`" for name in absent)
            raise NotConfirmed(f"The index does not list {names} {_until(pauses, limit)}.", remedy=_REMEDY)
    listed = f"the index lists {len(files)} file{'s' * (len(files) != 1)} with the sha256 that was sent"
    wheels = [file for file in files if not file.is_sdist]
    if not wheels or not _is_public(wheels[0], index, transport):
        return f"{listed}; pip was not asked"
    for wheel in wheels:
        while fault := _fetch(wheel, str(index.simple)):
            if not _wait(pauses, end):
                message = f"pip cannot fetch `{wheel.name}` from the index {_until(pauses, limit)}: {fault}."
                raise NotConfirmed(message, remedy=_REMEDY)
    return f"{listed}, and pip fetches {len(wheels)} wheel{'s' * (len(wheels) != 1)} by it"


def _wait(pauses: Pauses, end: float) -> bool:
    """Wait for the next look; return False where there is no time for one, or the run was cancelled."""
    if pauses.clock.monotonic() + _PAUSE <= end:
        pauses.clock.sleep(_PAUSE)
        return not pauses.cancelled
    return False


def _until(pauses: Pauses, limit: float) -> str:
    return "so far, and the run was cancelled" if pauses.cancelled else f"within {limit:.0f} s"


def _absent(files: Sequence[Distribution], index: Index) -> list[str]:
    absent = []
    for project in dict.fromkeys(file.project for file in files):
        try:
            listing = index.listing(project)
        except NoAnswer:
            listing = None
        absent += [
            file.name
            for file in files
            if file.project == project and compare(listing, file.name, file.sha256) is not Presence.SAME
        ]
    return absent


def _is_public(wheel: Distribution, index: Index, transport: Transport) -> bool:
    """Whether pip can read the index without credentials: they would stand in its arguments or its environment."""
    try:
        page = transport.get(f"{index.simple}{wheel.project}/", accept=ACCEPT, auth=None, timeout=_TIMEOUT)
    except NoAnswer:
        return False
    return page.status == 200  # noqa: PLR2004 - OK


def _fetch(wheel: Distribution, simple: str) -> str | None:
    """Have pip fetch the wheel as a machine that it is for would; return why it cannot."""
    with tempfile.TemporaryDirectory(prefix="manywheels-") as name:
        folder = Path(name)
        requirements = folder / "requirements.txt"
        requirements.write_text(f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
        done = _run(
            [
                sys.executable, "-I", "-m", "pip", "--isolated", "download", "--no-deps", "--only-binary=:all:",
                "--no-cache-dir", "--no-input", "--disable-pip-version-check", "--require-hashes", "--index-url",
                simple, *_machine(wheel), "--dest", str(folder / "fetched"), "--requirement", str(requirements),
            ],
            folder,
        )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    return None if done.returncode == 0 else (lines[-1] if lines else "pip gives no reason").removeprefix("ERROR: ")


def _run(argv: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = build_environment(os.environ, path=(), private=folder)
    try:
        return subprocess.run(
            argv, env=environment, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", check=False, timeout=_TIMEOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 1, "", f"ERROR: it gave no answer within {_TIMEOUT:.0f} s")


def _machine(wheel: Distribution) -> tuple[str, ...]:
    """Return pip's options for a machine that the wheel is for; none for a wheel that is for all."""
    asked = questions(parse_name(wheel.name), requires_python(wheel.path))
    if not asked:
        return ()
    python = asked[0].python
    return (
        "--implementation", python.implementation, "--python-version", python.newest_patch, "--abi", python.abi,
        "--platform", asked[0].tag,
    )  # fmt: skip
