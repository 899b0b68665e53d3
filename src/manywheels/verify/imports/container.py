"""Import a wheel's modules in a container of another distribution (`--import-in IMAGE`).

The wheel and its dependencies are installed here, for the image's Python and libc, and mounted read-only. The container
has no network and no privileges.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from manywheels.core.cancellation import Cancellation
from manywheels.data import table
from manywheels.plan.targets import image_folders
from manywheels.runtime.containers.engine import connected, ensure_pulled
from manywheels.runtime.containers.run import STDOUT, UNPRIVILEGED, ContainerSpec, run_container
from manywheels.runtime.workspace import work_folder
from manywheels.verify.imports.host import ISOLATED, TIMEOUT, WORKER, Attempt, ImportReport, Site, import_all
from manywheels.verify.imports.modules import Module, accepts, modules_of, requires_python
from manywheels.verify.imports.worker import describe
from manywheels.verify.model import Finding
from manywheels.verify.places import Place, Python, place_of, python_for_uv, uv_at_least, uv_at_most
from manywheels.wheels.wheelfile import WheelName, parse_name

if TYPE_CHECKING:
    from docker import DockerClient

OTHERWISE: Final = "or leave `--import-in` out"
_SITE: Final = "/site"
_KIT: Final = "/manywheels"
_LIMITS: Final = UNPRIVILEGED | {
    "network_mode": "none", "read_only": True, "tmpfs": {"/tmp": "size=256m,mode=1777"}, "working_dir": "/tmp",  # noqa: S108
    "mem_limit": "2g", "memswap_limit": "2g", "pids_limit": 512,
}  # fmt: skip
_LARGEST_OUTPUT: Final = 4_000_000  # bytes
_WORD: Final = re.compile(r"\w{1,40}", re.ASCII)
_VERSION: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){1,2}", re.ASCII)
_DESCRIBE_TIMEOUT: Final = 60.0  # seconds for an image's Pythons
# The kernel protects a container's first process from most signals: let a shell be that, which passes on the status.
_UNDER_SHELL: Final = ("/bin/sh", "-c", '"$@"; exit $?', "sh")
# Each Python describes itself; other programs, and too old ones, print nothing.
_DESCRIBE: Final = (
    'for name do python=$(command -v "$name") && "$python" -I -S "$0" --describe 2>/dev/null; done; exit 0'
)


@dataclass(frozen=True, kw_only=True)
class ImagePython:
    """A Python in an image."""

    abi: str
    version: str
    path: str
    place: Place

    @property
    def python(self) -> Python:
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
    """The image is pulled if missing. `timeout` is in seconds, for all imports.

    Raises EngineError, WheelFileError and Cancelled.
    """
    report = ImportReport(wheel=wheel, modules=modules_of(wheel), where=f"in `{image}`")
    with connected(f"import in `{image}`", OTHERWISE) as client, work_folder() as folder:
        kit = folder / "kit"
        kit.mkdir()
        shutil.copyfile(WORKER, kit / WORKER.name)
        ensure_pulled(client, image, OTHERWISE, cancellation)
        inside = ImportImage(client=client, image=image, cancellation=cancellation, mounts={_KIT: kit})
        name = parse_name(wheel.name)
        found = tuple(pythons_in(inside))
        fitting = [python for python in found if accepts(python.abi, python.version, name, requires_python(wheel))]
        chosen = next((python for python in fitting if _runs_on(name, python.place)), None)
        if chosen is None:
            return (_nothing_fits(report, name, found, fitting),)
        options = _install_options(name, chosen)
        if options is None:
            why = f"uv cannot choose wheels for {chosen.place} and {chosen.python}"
            return (report.not_tried(why, "Import it on such a machine with `--import`."),)
        site = Site(folder, environment, folder / "log", cancellation)
        findings, installed = site.install(report, *options)
        return (*findings, *(_import_all(inside, report, site, chosen, timeout) if installed else ()))


def _import_all(
    inside: ImportImage, report: ImportReport, site: Site, chosen: ImagePython, timeout: float
) -> tuple[Finding, ...]:
    _let_read(site.path)
    inside = replace(inside, mounts={**inside.mounts, _SITE: site.path})
    deadline = time.monotonic() + timeout

    def attempt(modules: Sequence[Module]) -> Attempt:
        names = [module.name for module in modules]
        command = [*_UNDER_SHELL, chosen.path, *ISOLATED, f"{_KIT}/{WORKER.name}", _SITE, "-", *names]
        return inside.run(command, max(1.0, deadline - time.monotonic()))

    return report.findings(import_all(report.modules, attempt), _SITE)


# --- Pythons of the image --------------------------------------------------------------------------------------------


def pythons_in(inside: ImportImage) -> Iterator[ImagePython]:
    """Yield an image's Pythons in /opt/python and on its PATH; none without a shell."""
    folders = [f"/opt/python/{folder}/bin/python" for folder in image_folders()]
    versions = [
        f"python{row['version']}{'t' * row['id'].endswith('t')}" for row in table("interpreters")["interpreter"]
    ]
    names = [*folders, "python3", *dict.fromkeys(versions), "pypy3", "python"]
    known = set()
    for line in _describe_all(inside, names).splitlines():
        with suppress(ValueError, RecursionError):
            found = _parse(json.loads(line))
            if found.abi not in known:
                known.add(found.abi)
                yield found


def _describe_all(inside: ImportImage, names: Sequence[str]) -> str:
    import docker.errors

    try:
        return inside.run(["/bin/sh", "-c", _DESCRIBE, f"{_KIT}/{WORKER.name}", *names], _DESCRIBE_TIMEOUT).results
    except docker.errors.APIError as error:
        if "exec" in str(error.explanation):  # no shell, or of another architecture
            return ""
        raise


def _parse(description: object) -> ImagePython:
    """Raises ValueError for anything that the worker never prints."""
    match description:
        case {
            "abi": str(abi),
            "version": str(version),
            "path": str(path),
            "libc": ("glibc" | "musl") as libc,
            "libc_version": [int(major), int(minor)],
            "arch": str(arch),
        } if _WORD.fullmatch(abi) and _VERSION.fullmatch(version) and _WORD.fullmatch(arch):
            place = Place(libc=libc, version=(major, minor), arch=arch)
            return ImagePython(abi=abi, version=version, path=path, place=place)
    raise ValueError(description)


def _places(name: WheelName) -> list[Place]:
    return [place for tag in name.platforms if (place := place_of(tag))]


def _runs_on(name: WheelName, place: Place) -> bool:
    return any(place.serves(asked) for asked in _places(name))


def _nothing_fits(
    report: ImportReport, name: WheelName, found: Sequence[ImagePython], fitting: Sequence[ImagePython]
) -> Finding:
    if fitting:
        wanted = " or ".join(dict.fromkeys(map(str, _places(name))))
        why = f"the image is {fitting[0].place}, the wheel is for {wanted or 'no Linux'}"
        return report.not_tried(why, "Name an image that the wheel's platform tag allows.")
    wanted = ", ".join(sorted({tag.interpreter for tag in name.tags}))
    has = f"it has {', '.join(python.python.spec for python in found)}" if found else "it has no Python at all"
    why = f"the image has no Python that installs `{wanted}` ({has})"
    return report.not_tried(why, "Name an image that has it: `python:3.12-slim` and the like, or a manylinux image.")


def _install_options(name: WheelName, chosen: ImagePython) -> list[str] | None:
    """Return uv's options to install for a Python of the image; None if uv has none for its platform.

    Dependencies must be no newer than the image. Without uv's name for it, an architecture must be this machine's.
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


@dataclass(frozen=True, kw_only=True)
class ImportImage:
    """Runs each command in a new container; `mounts` maps paths there to folders here."""

    client: DockerClient
    image: str
    cancellation: Cancellation
    mounts: Mapping[str, Path]

    def run(self, command: Sequence[str], timeout: float) -> Attempt:
        """Only stdout is kept. `timeout` is in seconds. Raises Cancelled."""
        from docker.types import Mount

        spec = ContainerSpec(
            image=self.image, entrypoint=command[:1], command=command[1:], environment={"HOME": "/tmp"},  # noqa: S108
            mounts=[Mount(path, str(folder), type="bind", read_only=True) for path, folder in self.mounts.items()],
            limits=_LIMITS,
        )  # fmt: skip
        output = bytearray()

        def take(stream: int, chunk: bytes) -> bool:
            if stream == STDOUT and len(output) < _LARGEST_OUTPUT:
                output.extend(chunk)
            return True

        status = run_container(self.client, spec, self.cancellation, take, timeout)
        self.cancellation.stop_if_requested("The import")
        results = output.decode("utf-8", "replace")
        return Attempt(status=-1 if status is None else status, results=results, timed_out=status is None)


def _let_read(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
