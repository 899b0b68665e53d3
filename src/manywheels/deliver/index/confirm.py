"""After an upload: compare the index's list, and download each wheel with pip by its sha256.

Sdists are only compared: to download one, pip would run its build back end.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from manywheels.core.certificates import bundle_variable
from manywheels.core.retry import RetryPolicy
from manywheels.data import table
from manywheels.deliver.index.http import NoResponse, Transport
from manywheels.deliver.index.simple_api import ACCEPT, Index, Presence, compare
from manywheels.errors import NotConfirmed
from manywheels.runtime.environment import build_environment
from manywheels.runtime.own_python import module_argv
from manywheels.verify.distributions import Distribution
from manywheels.verify.installs import questions, requires_python
from manywheels.wheels.wheelfile import parse_name

_PAUSE: Final = 5.0  # seconds
_TIMEOUT: Final = 300.0  # seconds for one download
_POLL: Final = 0.1  # seconds
_REMEDY: Final = "Check again later: `manywheels publish` with the same files does not change what is there already."


def confirm(
    files: Sequence[Distribution], index: Index, transport: Transport, retries: RetryPolicy, limit: float
) -> str:
    """Wait until the index serves the files, at most `limit` seconds; return the result in a clause.

    Raises NotConfirmed.
    """
    retries.end_at(retries.now() + limit)
    own = retries.within(limit)  # the deadline of the uploads does not apply
    while absent := _absent(files, index):
        if not own.wait(_PAUSE):
            names = ", ".join(f"`{name}`" for name in absent)
            raise NotConfirmed(f"The index does not list {names} {_until(retries, limit)}.", remedy=_REMEDY)
    listed = f"the index lists {len(files)} file{'s' * (len(files) != 1)}, with the digests that were sent"
    wheels = [file for file in files if not file.is_sdist]
    if not wheels or not _is_public(wheels[0], index, transport, own):
        return f"{listed}; pip was not run"
    for wheel in wheels:
        while fault := _fetch(wheel, str(index.simple), own):
            if not own.wait(_PAUSE):
                message = f"pip cannot fetch `{wheel.name}` from the index {_until(retries, limit)}: {fault}."
                raise NotConfirmed(message, remedy=_REMEDY)
    return f"{listed}, and pip downloads {len(wheels)} wheel{'s' * (len(wheels) != 1)} from it"


def _until(retries: RetryPolicy, limit: float) -> str:
    return "so far, and the run was cancelled" if retries.cancelled else f"within {limit:.0f} s"


def _absent(files: Sequence[Distribution], index: Index) -> list[str]:
    absent = []
    for project in dict.fromkeys(file.project for file in files):
        try:
            listing = index.listing(project)
        except NoResponse:
            listing = None
        absent += [
            file.name
            for file in files
            if file.project == project and compare(listing, file) not in {Presence.SAME, Presence.NO_DIGEST}
        ]
    return absent


def _is_public(wheel: Distribution, index: Index, transport: Transport, retries: RetryPolicy) -> bool:
    """Whether the index needs no credentials: pip would have them in its arguments or environment."""
    try:
        limit = retries.timeout(table("publish")["ask-timeout"])
        page = transport.get(f"{index.simple}{wheel.project}/", accept=ACCEPT, auth=None, timeout=limit)
    except NoResponse:
        return False
    return page.status == 200  # noqa: PLR2004 - OK


def _fetch(wheel: Distribution, simple: str, retries: RetryPolicy) -> str | None:
    """Return why pip cannot download the wheel for a machine of its tags, or None."""
    if retries.over:
        return "there was no time left"
    with tempfile.TemporaryDirectory(prefix="manywheels-") as name:
        folder = Path(name)
        requirements = folder / "requirements.txt"
        requirements.write_text(f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
        return _run(
            [
                *module_argv("pip"), "--isolated", *_certificates(), "download", "--no-deps", "--only-binary=:all:",
                "--no-cache-dir", "--no-input", "--disable-pip-version-check", "--require-hashes", "--index-url",
                simple, *_machine(wheel), "--dest", str(folder / "fetched"), "--requirement", str(requirements),
            ],
            folder,
            retries,
        )  # fmt: skip


def _certificates() -> tuple[str, ...]:
    bundle = Path(os.environ.get(bundle_variable(), ""))
    return ("--cert", str(bundle.absolute())) if bundle.is_file() else ()


def _run(argv: list[str], folder: Path, retries: RetryPolicy) -> str | None:
    environment = build_environment(os.environ, path=(), private=folder)
    log = folder / "pip.log"
    end = retries.now() + _TIMEOUT
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            argv, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
        ) as process,
    ):
        while process.poll() is None:
            if retries.over or retries.now() >= end:
                process.kill()  # it builds nothing, so it has no children
                return "it did not end in time"
            retries.sleep(_POLL)
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.startswith("ERROR: ")]
    if process.returncode == 0:
        return None
    return (lines[-1] if lines else "pip gave no reason").removeprefix("ERROR: ")


def _machine(wheel: Distribution) -> tuple[str, ...]:
    machines = questions(parse_name(wheel.name), requires_python(wheel.path))
    if not machines:
        return ()
    python = machines[0].python
    return (
        "--implementation", python.implementation, "--python-version", python.newest_patch, "--abi", python.abi,
        "--platform", machines[0].tag,
    )  # fmt: skip
