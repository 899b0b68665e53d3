"""Import a wheel's modules on this machine, in a sandbox and a clean environment.

One interpreter imports all; after a crash, another goes on.
"""

from __future__ import annotations

import json
import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from manywheels.core.cancellation import Cancellation
from manywheels.core.files import cache_dir
from manywheels.core.log_files import last_bytes
from manywheels.core.regular_files import open_regular
from manywheels.plan.installer_files import read_caller
from manywheels.plan.interpreters import Interpreter
from manywheels.plan.pip_settings import Follower
from manywheels.runtime import sandbox
from manywheels.runtime.environment import build_environment
from manywheels.runtime.sandbox import Command
from manywheels.runtime.uv import why_uv_refused
from manywheels.runtime.workspace import work_folder
from manywheels.verify.checks import IMPORTS, INSTALL_TRIED
from manywheels.verify.imports.modules import Module, modules_of
from manywheels.verify.model import Finding, Problem, Severity

WORKER: Final = Path(__file__).with_name("worker.py")
TIMEOUT: Final = 120.0  # seconds for all imports of a wheel
_INSTALL_TIMEOUT: Final = 600.0  # seconds; dependencies may be large, and the network slow
_MOST_CRASHES: Final = 10  # then the rest is skipped
_SHOWN: Final = 4  # modules in a message
_LONGEST: Final = 400  # characters of an exception's text
_LARGEST_RESULTS: Final = 4 << 20  # bytes
_LARGEST_OUTPUT: Final = 32 << 10  # bytes of uv's output


# --- importing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """How one interpreter ended: its exit status (128 + n for signal n), and the worker's lines."""

    status: int
    results: str
    timed_out: bool = False


@dataclass(frozen=True, kw_only=True)
class ImportFailure:
    """A failed import; `missing` is the module that was not found, if any."""

    module: Module
    how: str
    missing: str | None = None


def import_all(modules: Sequence[Module], attempt: Callable[[Sequence[Module]], Attempt]) -> tuple[ImportFailure, ...]:
    """Import the modules, with another attempt after each crash; return the failures."""
    failures: list[ImportFailure] = []
    crashes = 0
    left = list(modules)
    while left:
        ended = attempt(left)
        begun, raised, finished = _read(ended.results, left)
        failures += raised
        if finished:
            break
        last = begun[-1] if begun else left[0]
        rest = left[left.index(last) + 1 :]
        crashes += 1
        if ended.timed_out or crashes == _MOST_CRASHES:
            untried = f"; {len(rest)} more were not tried" if rest else ""
            failures.append(ImportFailure(module=last, how=_describe_end(ended) + untried))
            break
        failures.append(ImportFailure(module=last, how=_describe_end(ended)))
        left = [module for module in rest if not module.name.startswith(f"{last.name}.")]
    return tuple(failures)


def _read(results: str, modules: Sequence[Module]) -> tuple[list[Module], list[ImportFailure], bool]:
    """Return which imports began, which failed, and whether all are done."""
    by_name = {module.name: module for module in modules}
    begun: list[Module] = []
    failed: list[ImportFailure] = []
    finished = False
    for line in results.splitlines():
        try:
            result = json.loads(line)
        except (ValueError, RecursionError):
            continue
        match result:
            case {"begun": str(name)} if name in by_name:
                begun.append(by_name[name])
            case {"failed": str(name), "kind": str(kind), "text": str(text), "missing": missing} if name in by_name:
                how = ": ".join(filter(None, [kind, " ".join(text.split())]))
                missing = missing if isinstance(missing, str) else None
                failed.append(ImportFailure(module=by_name[name], how=_shorten(how), missing=missing))
            case {"ended": True}:
                finished = True
    return begun, failed, finished


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _describe_end(ended: Attempt) -> str:
    if ended.timed_out:
        return "the import does not end"
    if ended.status > 128:  # noqa: PLR2004 - 128 + n is death by signal n
        try:
            return f"the interpreter is killed by {signal.Signals(ended.status - 128).name}"
        except ValueError:
            return f"the interpreter is killed by signal {ended.status - 128}"
    return f"the interpreter exits with status {ended.status}"


# --- findings --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """Makes findings on a wheel's modules; `where` is like "with Python 3.12.1"."""

    wheel: Path
    modules: Sequence[Module]
    where: str

    def findings(self, failures: Iterable[ImportFailure], site: str) -> tuple[Finding, ...]:
        """Return a finding for each kind of failure, with all its modules, and without `site` in messages."""
        alike: dict[str, list[ImportFailure]] = {}
        for failure in failures:
            how = failure.how.replace(f"{site}/", "")
            alike.setdefault(how, []).append(replace(failure, how=how))
        return tuple(self._finding(how, failed) for how, failed in alike.items())

    def not_tried(self, why: str, remedy: str) -> Finding:
        problem = Problem(message=f"its imports were not tried {self.where}: {why}", remedy=remedy)
        return INSTALL_TRIED.finding(self.wheel.name, problem)

    def uninstallable(self, why: str) -> Finding:
        problem = Problem(
            message=f"cannot be installed {self.where}: {_shorten(why)}",
            remedy="Check its metadata and tags: installers refuse contradictions.",
        )
        return IMPORTS.finding(self.wheel.name, problem)

    def without_dependencies(self, why: str) -> Finding:
        problem = Problem(
            message=f"was tried without its dependencies {self.where}, as they cannot be installed: {_shorten(why)}",
            remedy="Check that the index responds, and has wheels of them for this Python.",
            severity=Severity.WARNING,
        )
        return IMPORTS.finding(self.wheel.name, problem)

    def _finding(self, how: str, failed: Sequence[ImportFailure]) -> Finding:
        names = [f"`{failure.module.name}`" for failure in failed]
        shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        severe = any(not self._is_optional(failure) for failure in failed)
        problem = Problem(
            member=failed[0].module.member,
            message=f"{shown} cannot be imported {self.where}: {how}",
            remedy=self._remedy(failed[0]),
            severity=Severity.ERROR if severe else Severity.WARNING,
        )
        return IMPORTS.finding(self.wheel.name, problem)

    def _is_optional(self, failure: ImportFailure) -> bool:
        """Whether an extension module lacks only a module that does not belong to the wheel."""
        return failure.module.member is not None and failure.missing is not None and not self._is_own(failure.missing)

    def _is_own(self, module: str) -> bool:
        top = module.partition(".")[0]
        return any(known.name.partition(".")[0] == top for known in self.modules)

    def _remedy(self, failure: ImportFailure) -> str:
        if failure.missing and self._is_own(failure.missing):
            return f"`{failure.missing}` is missing in the wheel: have the build back end include it."
        if failure.missing:
            top = failure.missing.partition(".")[0]
            return f"Declare `{top}` as a dependency; if it belongs to an extra, make the import work without it."
        for pattern, remedy in _REMEDIES.items():
            if re.search(pattern, failure.how):
                return remedy.format(name=failure.module.name)
        return f"Try `python -c 'import {failure.module.name}'` where only the wheel is installed."


_REMEDIES: Final = {
    r"undefined symbol|symbol not found": "Link the library that defines the symbol, or compile the missing source.",
    r"version `[\w.]+' not found": "Build against an older libc: the image of the policy, or the zig toolchain.",
    r"cannot open shared object|Error loading shared library": "Graft the library: repair the wheel where the library "
    "is installed (`manywheels build` does).",
    r"killed by SIGILL": "Compile for the architecture's baseline, without `-march=native`.",
    r"killed by": "Find the place with `python -X faulthandler -c 'import {name}'`.",
    r"does not end": "Do not wait for the network, input or other processes while a module is imported.",
    r"exits with status": "Do not end the process while a module is imported.",
}


# --- on this machine -------------------------------------------------------------------------------------------------


def imports(
    wheel: Path,
    interpreter: Interpreter,
    cancellation: Cancellation,
    *,
    timeout: float = TIMEOUT,
    log: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> tuple[Finding, ...]:
    """Install a wheel with its dependencies, and import all its modules in a sandbox.

    `timeout` is in seconds, for all imports; output is appended to `log`. Raises WheelFileError and Cancelled.
    """
    report = ImportReport(wheel=wheel, modules=modules_of(wheel), where=f"with Python {interpreter.version}")
    with work_folder() as folder:
        log = log or folder / "log"
        site = Site(folder, environment, log, cancellation)
        findings, installed = site.install(report, "--python", str(interpreter.path))
        if not installed:
            return findings
        deadline = time.monotonic() + timeout

        def attempt(modules: Sequence[Module]) -> Attempt:
            return _attempt(site, interpreter, modules, max(1.0, deadline - time.monotonic()))

        failures = import_all(report.modules, attempt)
        return (*findings, *report.findings(failures, str(site.path)))


def _attempt(site: Site, interpreter: Interpreter, modules: Sequence[Module], timeout: float) -> Attempt:
    results = Path(tempfile.mkdtemp(prefix="results-", dir=site.folder)) / "results"  # imported code cannot guess it
    command = Command(
        argv=(str(interpreter.path), *ISOLATED, str(WORKER), str(site.path), str(results),
              *(module.name for module in modules)),
        folder=site.working_folder, environment=site.environment, log=site.log, timeout=timeout,
    )  # fmt: skip
    outcome = sandbox.run(command, site.cancellation)
    site.cancellation.stop_if_requested("The import")
    return Attempt(status=outcome.status, results=_read_results(results), timed_out=outcome.timed_out)


def _read_results(results: Path) -> str:
    """Return what the worker, or imported code, wrote; empty if it is not a regular file."""
    try:
        with open_regular(results, links=False) as file:
            return file.read(_LARGEST_RESULTS).decode("utf-8", "replace")
    except OSError:
        return ""


# No site-packages, variables of the caller or bytecode, and a traceback in the log after a crash.
ISOLATED: Final = ("-I", "-S", "-B", "-X", "faulthandler")


class Site:
    """A folder with a wheel and its dependencies, laid out like site-packages."""

    def __init__(self, folder: Path, environment: Mapping[str, str], log: Path, cancellation: Cancellation) -> None:
        from manywheels.runtime.uv import uv_program

        self.uv = uv_program()
        self.folder, self.log, self.cancellation = folder, log, cancellation
        self.path, self.working_folder = folder / "site", folder / "working"
        self.path.mkdir()
        self.working_folder.mkdir()
        scrubbed = build_environment(read_caller(environment).environment, path=(), private=folder)
        self.environment = Follower().follow(scrubbed).environment

    def install(self, report: ImportReport, *options: str) -> tuple[tuple[Finding, ...], bool]:
        """Install a wheel, if need be without dependencies; return findings, and whether it is installed."""
        problem = self._install(report.wheel, *options)
        if problem is None:
            return (), True
        if alone := self._install(report.wheel, "--no-deps", *options):
            if lacking := re.match(r"No interpreter found for (Python [\w.+]+)", alone):
                why = f"uv chooses wheels for {lacking[1]} by one on this machine, and there is none"
                return (report.not_tried(why, "Install one here, as with `uv python install`."),), False
            return (report.uninstallable(alone),), False
        return (report.without_dependencies(problem),), True

    def _install(self, wheel: Path, *options: str) -> str | None:
        """Return why uv failed, or None. It runs in the sandbox, as it may build an sdist.

        Files are copied, not linked, so that imported code cannot write into uv's cache.
        """
        own = {"UV_CACHE_DIR": str(cache_dir() / "uv"), "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}
        output = self.folder / "uv.log"
        output.unlink(missing_ok=True)
        command = Command(
            argv=(self.uv, "pip", "install", "--link-mode=copy", "--target", str(self.path), *options,
                  str(wheel.resolve())),
            folder=self.working_folder, environment={**self.environment, **own}, log=output, timeout=_INSTALL_TIMEOUT,
        )  # fmt: skip
        outcome = sandbox.run(command, self.cancellation)
        text = last_bytes(output, _LARGEST_OUTPUT).decode("utf-8", "replace")
        with self.log.open("a", encoding="utf-8") as log:
            log.write(text)
        self.cancellation.stop_if_requested("The import")
        if outcome.timed_out:
            return f"uv did not finish within {_INSTALL_TIMEOUT:.0f} s"
        return None if outcome.succeeded else why_uv_refused(text)
