"""Imports in a container: another distribution, older or newer, imports what a wheel holds (`--import-in IMAGE`).

The wheel and its dependencies are installed on this machine, for the Python and the libc that the image turns out to
have, and mounted read-only. The container has no network, no rights, nothing to write to but /tmp, and is removed.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from manywheels.core.cancellation import Cancellation
from manywheels.core.interruptible import begin, wait
from manywheels.data import table
from manywheels.plan.targets import image_folder
from manywheels.runtime.containers.engine import LABEL, connect, explained, obtain
from manywheels.runtime.workspace import work_folder
from manywheels.verify.imports.host import ISOLATED, TIMEOUT, WORKER, Attempt, ImportReport, Site, stopped, try_all
from manywheels.verify.imports.modules import Module, accepts, modules_of, requires_python
from manywheels.verify.imports.worker import describe
from manywheels.verify.model import Finding
from manywheels.verify.places import Place, Python, place_of, python_for_uv, uv_at_least, uv_at_most
from manywheels.wheels.wheelfile import WheelName, parse_name

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

OTHERWISE: Final = "or leave `--import-in` out"
_SITE: Final = "/site"
_KIT: Final = "/manywheels"
_NOBODY: Final = "65534:65534"
_MEMORY: Final = "2g"
_MOST_OUTPUT: Final = 4_000_000  # bytes of results; a module that writes more does so to be a nuisance
_WORD: Final = re.compile(r"\w{1,40}", re.ASCII)
_VERSION: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){1,2}", re.ASCII)
_LOOKING: Final = 60.0  # seconds for all Pythons of an image to say what they are
# The kernel keeps the first process of a container from most deaths by signal; a shell is that, and passes on the end.
_UNDER_SHELL: Final = ("/bin/sh", "-c", '"$@"; exit $?', "sh")
# Each Python says what it is; those that are none, or too old for the question, say nothing.
_LOOK: Final = 'for name do python=$(command -v "$name") && "$python" -I -S "$0" --describe 2>/dev/null; done; exit 0'


@dataclass(frozen=True, kw_only=True)
class Found:
    """A Python in an image: its ABI tag, full version and path, and the place that it runs in."""

    abi: str
    version: str
    path: str
    place: Place

    @property
    def python(self) -> Python:
        """The Python as uv is asked for it."""
        major, minor = self.version.split(".")[:2]
        kind = "cp" if self.abi.startswith("cp") else "pp"
        return Python(implementation=kind, version=(int(major), int(minor)), abi=self.abi)


def imports_in(
    wheel: Path,
    image: str,
    cancellation: Cancellation,
    *,
    timeout: float = TIMEOUT,
    environment: Mapping[str, str] = os.environ,
) -> tuple[Finding, ...]:
    """Import everything in a wheel in a container of an image, which is pulled where it is not there.

    `timeout` is in seconds, for all imports. Raises EngineError, WheelFileError, Cancelled.
    """
    trial = ImportReport(wheel=wheel, modules=modules_of(wheel), where=f"in `{image}`")
    with closing(connect(OTHERWISE)) as client, explained(f"import in `{image}`", OTHERWISE), work_folder() as folder:
        kit = folder / "kit"
        kit.mkdir()
        shutil.copyfile(WORKER, kit / WORKER.name)
        obtain(client, image, OTHERWISE, cancellation)
        room = Room(client, image, cancellation, {_KIT: kit})
        name = parse_name(wheel.name)
        found = tuple(pythons_in(room))
        fitting = [python for python in found if accepts(python.abi, python.version, name, requires_python(wheel))]
        chosen = next((python for python in fitting if _runs_on(name, python.place)), None)
        if chosen is None:
            return (_nothing_fits(trial, name, found, fitting),)
        options = _install_options(name, chosen)
        if options is None:
            why = f"uv cannot choose wheels for {chosen.place} and {chosen.python}"
            return (trial.untried(why, "Import it on such a machine with `--import`."),)
        site = Site(folder, environment, folder / "log", cancellation)
        findings, installed = site.install(trial, *options)
        return (*findings, *(_import_all(room, trial, site, chosen, timeout) if installed else ()))


def _import_all(room: Room, trial: ImportReport, site: Site, chosen: Found, timeout: float) -> tuple[Finding, ...]:
    _let_read(site.path)
    room.mounts[_SITE] = site.path
    deadline = time.monotonic() + timeout

    def attempt(modules: Sequence[Module]) -> Attempt:
        command = [
            *_UNDER_SHELL,
            chosen.path,
            *ISOLATED,
            f"{_KIT}/{WORKER.name}",
            _SITE,
            "-",
            *(module.name for module in modules),
        ]
        return room.run(command, max(1.0, deadline - time.monotonic()))

    return trial.findings(try_all(trial.modules, attempt), _SITE)


# --- what is in the image --------------------------------------------------------------------------------------------


def pythons_in(room: Room) -> Iterator[Found]:
    """Yield the Pythons of an image: those of /opt/python, and those on its PATH; none where it has no shell."""
    rows = table("interpreters")["interpreter"]
    folders = [f"/opt/python/{image_folder(row['id'], row['abi'])}/bin/python" for row in rows]
    versions = [f"python{row['version']}{'t' * row['abi'].endswith('t')}" for row in rows]
    names = [*folders, "python3", *dict.fromkeys(versions), "pypy3", "python"]
    known = set()
    for line in _look(room, names).splitlines():
        with suppress(ValueError, RecursionError):
            found = _parse(json.loads(line))
            if found.abi not in known:
                known.add(found.abi)
                yield found


def _look(room: Room, names: Sequence[str]) -> str:
    import docker.errors

    try:
        return room.run(["/bin/sh", "-c", _LOOK, f"{_KIT}/{WORKER.name}", *names], _LOOKING).results
    except docker.errors.APIError as error:
        if "exec" in str(error.explanation):  # no shell, or none for this machine
            return ""
        raise


def _parse(answer: object) -> Found:
    """Return what a Python of an image says that it is. Raises ValueError for anything that no Python says."""
    match answer:
        case {
            "abi": str(abi),
            "version": str(version),
            "path": str(path),
            "libc": ("glibc" | "musl") as libc,
            "libc_version": [int(major), int(minor)],
            "arch": str(arch),
        } if _WORD.fullmatch(abi) and _VERSION.fullmatch(version) and _WORD.fullmatch(arch):
            place = Place(libc=libc, version=(major, minor), arch=arch)
            return Found(abi=abi, version=version, path=path, place=place)
    raise ValueError(answer)


def _places(name: WheelName) -> list[Place]:
    return [place for tag in name.platforms if (place := place_of(tag))]


def _runs_on(name: WheelName, place: Place) -> bool:
    return any(place.serves(asked) for asked in _places(name))


def _nothing_fits(trial: ImportReport, name: WheelName, found: Sequence[Found], fitting: Sequence[Found]) -> Finding:
    """Say why there is nothing to import with: no Python of the wheel's, or another libc or architecture."""
    if fitting:
        wanted = " or ".join(dict.fromkeys(map(str, _places(name))))
        why = f"the image is {fitting[0].place}, the wheel is for {wanted or 'no Linux'}"
        return trial.untried(why, "Name an image that the wheel's platform tag allows.")
    wanted = ", ".join(sorted({tag.interpreter for tag in name.tags}))
    has = f"it has {', '.join(python.python.spec for python in found)}" if found else "it has no Python at all"
    why = f"the image has no Python that installs `{wanted}` ({has})"
    return trial.untried(why, "Name an image that has it: `python:3.12-slim` and the like, or a manylinux image.")


def _install_options(name: WheelName, chosen: Found) -> list[str] | None:
    """Return uv's options to install for a Python of the image; None where it cannot be told so.

    Dependencies shall be no newer than the image, and the wheel's own tag must be taken. For architectures that uv has
    no name for, this machine's own serves.
    """
    wanted = min((place for place in _places(name) if chosen.place.serves(place)), key=lambda place: place.version)
    options = ["--python", python_for_uv(chosen.python), "--python-version", chosen.version, "--only-binary", ":all:"]
    platform = uv_at_most(chosen.place)
    if platform is None or not platform.place.serves(wanted):
        platform = uv_at_least(wanted)
    if platform is not None:
        return [*options, "--python-platform", platform.name]
    return options if _parse(describe()).place.serves(wanted) else None


# --- the container ---------------------------------------------------------------------------------------------------


class Room:
    """Containers of one image, one after another; `mounts` maps their paths to folders of this machine."""

    def __init__(
        self, client: DockerClient, image: str, cancellation: Cancellation, mounts: Mapping[str, Path]
    ) -> None:
        self.client, self.image, self.cancellation = client, image, cancellation
        self.mounts = dict(mounts)

    def run(self, command: Sequence[str], timeout: float) -> Attempt:
        """Run a command in a container of its own and return what it wrote to stdout; it is removed in any case."""
        from docker.types import LogConfig, Mount

        run_id = secrets.token_hex(8)
        mounts = [Mount(path, str(folder), type="bind", read_only=True) for path, folder in self.mounts.items()]
        container = self.client.containers.create(
            self.image, list(command[1:]), entrypoint=[command[0]], name=f"manywheels-{run_id}", labels={LABEL: run_id},
            mounts=mounts, working_dir="/tmp", environment={"HOME": "/tmp"}, user=_NOBODY,  # noqa: S108 - the container's
            network_mode="none", read_only=True, tmpfs={"/tmp": "size=256m,mode=1777"},  # noqa: S108
            cap_drop=["ALL"], security_opt=["no-new-privileges"], mem_limit=_MEMORY, memswap_limit=_MEMORY,
            pids_limit=512, log_config=LogConfig(type="none"),
        )  # fmt: skip
        try:
            return self._follow(container, timeout)
        finally:
            with suppress(Exception):  # it may be gone already, and what went wrong before matters more
                container.remove(force=True, v=True)

    def _follow(self, container: Container, timeout: float) -> Attempt:
        frames = self.client.api.attach(str(container.id), stream=True, demux=True)
        output = _Output()

        def follow() -> int:
            output.take(frames)
            return int(container.wait()["StatusCode"])

        container.start()
        status = wait(begin(follow), self.cancellation, timeout)
        if self.cancellation.requested:
            raise stopped()
        return Attempt(status=-1 if status is None else status, results=output.text, timed_out=status is None)


class _Output:
    """The first bytes of what a container writes to stdout; what it says otherwise is thrown away."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0

    def take(self, frames: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        for out, _ in frames:
            if out and self._size < _MOST_OUTPUT:
                self._chunks.append(out)
                self._size += len(out)

    @property
    def text(self) -> str:
        return b"".join(self._chunks).decode("utf-8", "replace")


def _let_read(folder: Path) -> None:
    """Let everybody read a folder's files: in the container, nobody does."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
