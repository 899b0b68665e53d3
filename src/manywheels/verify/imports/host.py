"""Imports: what a wheel holds is imported in a clean environment of an interpreter, in a sandbox.

One interpreter imports one module after another. Where one of them takes the interpreter down with it, that is noted,
and another interpreter goes on with the rest.
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
from manywheels.errors import Cancelled
from manywheels.plan.interpreters import Interpreter
from manywheels.runtime import sandbox
from manywheels.runtime.environment import build_environment
from manywheels.runtime.sandbox import Command
from manywheels.runtime.uv import why_uv_refused
from manywheels.runtime.workspace import work_folder
from manywheels.verify.imports.modules import Module, modules_of
from manywheels.verify.model import Finding, Problem, Severity

WORKER: Final = Path(__file__).with_name("worker.py")
TIMEOUT: Final = 120.0  # seconds for all imports of one wheel
_INSTALL_TIMEOUT: Final = 600.0  # seconds; dependencies may be large, and the network slow
_MOST_CRASHES: Final = 10  # after that many, a wheel has been found out
_SHOWN: Final = 4  # modules named in one message
_LONGEST: Final = 400  # letters of an exception's text
_MOST_TOLD: Final = 4 << 20  # bytes of results
_MOST_SAID: Final = 32 << 10  # bytes of what uv said


# --- importing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What became of one interpreter: its exit status (128 + n for signal n), and the lines that it left."""

    status: int
    results: str
    timed_out: bool = False


@dataclass(frozen=True, kw_only=True)
class ImportFailure:
    """A module that cannot be imported, and how that showed; `missing` is a module that was looked for in vain."""

    module: Module
    how: str
    missing: str | None = None


def try_all(modules: Sequence[Module], attempt: Callable[[Sequence[Module]], Attempt]) -> tuple[ImportFailure, ...]:
    """Import the modules, with another attempt after each that takes its interpreter down; return the failures."""
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
    """Return which imports began, which failed, and whether all came to an end; what is no result is passed over."""
    by_name = {module.name: module for module in modules}
    begun: list[Module] = []
    failed: list[ImportFailure] = []
    finished = False
    for text in results.splitlines():
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        match line:
            case {"begun": str(name)} if name in by_name:
                begun.append(by_name[name])
            case {"failed": str(name), "kind": str(kind), "text": str(said), "missing": missing} if name in by_name:
                how = ": ".join(filter(None, [kind, " ".join(said.split())]))
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


# --- telling ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """A wheel and its modules, for findings: `where` says where it was tried, in words that end a sentence."""

    wheel: Path
    modules: Sequence[Module]
    where: str

    def findings(self, failures: Iterable[ImportFailure], site: str) -> tuple[Finding, ...]:
        """Return a finding for each way to fail, with the modules that failed so; `site` is left out of messages."""
        alike: dict[str, list[ImportFailure]] = {}
        for failure in failures:
            how = failure.how.replace(f"{site}/", "")
            alike.setdefault(how, []).append(replace(failure, how=how))
        return tuple(self._finding(how, failed) for how, failed in alike.items())

    def untried(self, why: str, remedy: str) -> Finding:
        """Return the finding that the imports were not tried."""
        problem = Problem(message=f"its imports were not tried {self.where}: {why}", remedy=remedy)
        return Finding(code="MW273", severity=Severity.WARNING, wheel=self.wheel.name, problem=problem)

    def uninstallable(self, why: str) -> Finding:
        """Return the finding that the wheel could not be installed."""
        problem = Problem(
            message=f"cannot be installed {self.where}: {_shorten(why)}",
            remedy="Look at its metadata and tags; installers refuse what contradicts itself.",
        )
        return Finding(code="MW272", severity=Severity.ERROR, wheel=self.wheel.name, problem=problem)

    def alone(self, why: str) -> Finding:
        """Return the finding that the wheel was tried without its dependencies."""
        problem = Problem(
            message=f"was tried without its dependencies {self.where}, for they cannot be installed: {_shorten(why)}",
            remedy="Look whether the index has wheels of them for this Python, and answers.",
        )
        return Finding(code="MW272", severity=Severity.WARNING, wheel=self.wheel.name, problem=problem)

    def _finding(self, how: str, failed: Sequence[ImportFailure]) -> Finding:
        names = [f"`{failure.module.name}`" for failure in failed]
        shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        severe = any(not self._is_optional(failure) for failure in failed)
        return Finding(
            code="MW272",
            severity=Severity.ERROR if severe else Severity.WARNING,
            wheel=self.wheel.name,
            problem=Problem(
                member=failed[0].module.member,
                message=f"{shown} cannot be imported {self.where}: {how}",
                remedy=self._remedy(failed[0]),
            ),
        )

    def _is_optional(self, failure: ImportFailure) -> bool:
        """Whether an extension module only wants a module that is not the wheel's to bring."""
        return failure.module.member is not None and failure.missing is not None and not self._is_own(failure.missing)

    def _is_own(self, module: str) -> bool:
        top = module.partition(".")[0]
        return any(known.name.partition(".")[0] == top for known in self.modules)

    def _remedy(self, failure: ImportFailure) -> str:
        if failure.missing and self._is_own(failure.missing):
            return f"`{failure.missing}` is missing in the wheel: tell the build back end to put it in."
        if failure.missing:
            top = failure.missing.partition(".")[0]
            return f"Declare `{top}` as a dependency; if it belongs to an extra, let the import do without it."
        for pattern, remedy in _REMEDIES.items():
            if re.search(pattern, failure.how):
                return remedy.format(name=failure.module.name)
        return f"Try `python -c 'import {failure.module.name}'` where only the wheel is installed."


_REMEDIES: Final = {
    r"undefined symbol|symbol not found": "Link the library that defines the symbol, or compile the missing source.",
    r"version `[\w.]+' not found": "Build against an older libc: the image of the policy, or the zig toolchain.",
    r"cannot open shared object|Error loading shared library": "Have the library grafted: repair the wheel where it "
    "is installed (`manywheels build` does).",
    r"killed by SIGILL": "Compile for the architecture's baseline, without `-march=native`.",
    r"killed by": "See where: `python -X faulthandler -c 'import {name}'`.",
    r"does not end": "Wait for nothing while a module is imported: no network, no input, no other process.",
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
    """Install a wheel with its dependencies for an interpreter, and import everything in it, in a sandbox.

    `timeout` is in seconds, for all imports; output is appended to `log`. Raises WheelFileError, Cancelled.
    """
    trial = ImportReport(wheel=wheel, modules=modules_of(wheel), where=f"with Python {interpreter.version}")
    with work_folder() as folder:
        log = log or folder / "log"
        site = Site(folder, environment, log, cancellation)
        findings, installed = site.install(trial, "--python", str(interpreter.path))
        if not installed:
            return findings
        deadline = time.monotonic() + timeout

        def attempt(modules: Sequence[Module]) -> Attempt:
            return _attempt(site, interpreter, modules, max(1.0, deadline - time.monotonic()))

        failures = try_all(trial.modules, attempt)
        return (*findings, *trial.findings(failures, str(site.path)))


def _attempt(site: Site, interpreter: Interpreter, modules: Sequence[Module], timeout: float) -> Attempt:
    results = Path(tempfile.mkdtemp(prefix="results-", dir=site.folder)) / "results"  # no name that imported code knows
    command = Command(
        argv=(str(interpreter.path), *ISOLATED, str(WORKER), str(site.path), str(results),
              *(module.name for module in modules)),
        folder=site.elsewhere, environment=site.environment, log=site.log, timeout=timeout,
    )  # fmt: skip
    outcome = sandbox.run(command, site.cancellation)
    if outcome.cancelled:
        raise stopped()
    return Attempt(status=outcome.status, results=_told(results), timed_out=outcome.timed_out)


def _told(results: Path) -> str:
    """Return what the worker told, or what the imported code put in its place; nothing where that is no file."""
    try:
        with open_regular(results, links=False) as file:
            return file.read(_MOST_TOLD).decode("utf-8", "replace")
    except OSError:
        return ""


# No site-packages, no caller's variables, nothing written, and a trace in the log where it crashes.
ISOLATED: Final = ("-I", "-S", "-B", "-X", "faulthandler")


def stopped() -> Cancelled:
    """Return the error for imports that were cancelled."""
    return Cancelled("The imports were stopped.", remedy="")


class Site:
    """A folder that a wheel and its dependencies are installed into, as site-packages are."""

    def __init__(self, folder: Path, environment: Mapping[str, str], log: Path, cancellation: Cancellation) -> None:
        from manywheels.runtime.uv import uv_program

        self.uv = uv_program()
        self.folder, self.log, self.cancellation = folder, log, cancellation
        self.path, self.elsewhere = folder / "site", folder / "elsewhere"
        self.path.mkdir()
        self.elsewhere.mkdir()
        self.environment = build_environment(environment, path=(), private=folder)

    def install(self, trial: ImportReport, *options: str) -> tuple[tuple[Finding, ...], bool]:
        """Install the trial's wheel; return what is to be said of that, and whether the imports can be tried.

        Where the dependencies cannot be had, the wheel is installed without them.
        """
        problem = self._run(trial.wheel, *options)
        if problem is None:
            return (), True
        if alone := self._run(trial.wheel, "--no-deps", *options):
            return (trial.uninstallable(alone),), False
        return (trial.alone(problem),), True

    def _run(self, wheel: Path, *options: str) -> str | None:
        """Return why uv could not install the wheel; None if it did. It is in the sandbox, for it may build an sdist.

        Files are copied, not linked: what is imported could write into uv's cache.
        """
        own = {"UV_CACHE_DIR": str(cache_dir() / "uv"), "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}
        output = self.folder / "uv.log"
        output.unlink(missing_ok=True)
        command = Command(
            argv=(self.uv, "pip", "install", "--link-mode=copy", "--target", str(self.path), *options,
                  str(wheel.resolve())),
            folder=self.elsewhere, environment={**self.environment, **own}, log=output, timeout=_INSTALL_TIMEOUT,
        )  # fmt: skip
        outcome = sandbox.run(command, self.cancellation)
        text = last_bytes(output, _MOST_SAID).decode("utf-8", "replace")
        with self.log.open("a", encoding="utf-8") as log:
            log.write(text)
        if outcome.cancelled:
            raise stopped()
        if outcome.timed_out:
            return f"uv did not finish within {_INSTALL_TIMEOUT:.0f} s"
        return None if outcome.succeeded else why_uv_refused(text)
