"""Installs: pip and uv choose the wheel on the platforms of its tags.

Importing runs the wheel's code, so only on request: in a sandbox or container (`imports`).
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from manywheels.core.cancellation import Cancellation
from manywheels.core.child_end import end_of
from manywheels.data import table
from manywheels.runtime.own_python import module_argv
from manywheels.runtime.uv import why_uv_refused
from manywheels.verify.checks import PIP_CHOOSES, UV_CHOOSES
from manywheels.verify.imports.container import imports_in
from manywheels.verify.imports.host import imports
from manywheels.verify.imports.modules import importable, interpreter_for, requires_python
from manywheels.verify.model import Finding, Problem
from manywheels.verify.places import Place, Python, other_system_of, place_of, python_for_uv, uv_at_least
from manywheels.wheels.wheelfile import WheelName, parse_name

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

__all__ = [
    "chosen_by_installers",
    "importable",
    "imports",
    "imports_in",
    "interpreter_for",
    "requires_python",
]

_TIMEOUT: Final = 120.0  # seconds for one run; usually half a second
_MOST_OUTPUT: Final = 4 << 20  # bytes of an installer's output
_PYTHON_TAG: Final = re.compile(r"([a-z]+?)(\d)_?(\d*)")


# --- questions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Question:
    """A Python on a platform that must install the wheel; `place` is the platform of `tag`."""

    python: Python
    tag: str
    place: Place


def questions(name: WheelName, requires: SpecifierSet | None) -> tuple[Question, ...]:
    """Return each Python of the tags on the lowest and the highest platform versions.

    The ABI is the Python's own: a 3.12 has cp312 for any tag.
    """
    places: dict[tuple[str, str], list[tuple[Place, str]]] = {}
    for tag in name.platforms:
        if place := place_of(tag):
            places.setdefault((place.libc, place.arch), []).append((place, tag))
    ends = [
        end
        for of_one_kind in places.values()
        for end in dict.fromkeys([min(of_one_kind, key=_version), max(of_one_kind, key=_version)])
    ]
    return tuple(
        Question(python=python, tag=tag, place=place) for python, (place, tag) in product(pythons(name, requires), ends)
    )


def _version(place: tuple[Place, str]) -> tuple[int, int]:
    return place[0].version


def pythons(name: WheelName, requires: SpecifierSet | None) -> tuple[Python, ...]:
    """Return the Pythons of a wheel's tags; of a range, the oldest that Requires-Python allows."""
    found: list[Python] = []
    for tag in sorted({tag.interpreter for tag in name.tags}):
        abis = {other.abi for other in name.tags if other.interpreter == tag}
        if parsed := _PYTHON_TAG.fullmatch(tag):
            found += _pythons_of(parsed[1], int(parsed[2]), int(parsed[3] or 0), abis, requires)
    return tuple(dict.fromkeys(found))


def _pythons_of(kind: str, major: int, minor: int, abis: set[str], requires: SpecifierSet | None) -> Iterable[Python]:
    if kind not in {"cp", "py"}:
        yield from (Python(implementation=kind, version=(major, minor), abi=abi) for abi in sorted(abis))
        return
    if major != 3:  # noqa: PLR2004 - no current installer runs on Python 2
        return
    own = sorted(abi for abi in abis if re.fullmatch(rf"cp3{minor}[tm]?", abi) and kind == "cp")
    yield from (Python(implementation="cp", version=(3, minor), abi=abi) for abi in own)
    oldest = _oldest(minor, requires)
    if abis & {"abi3", "none"}:
        yield Python(implementation="cp", version=(3, oldest), abi=f"cp3{oldest}")
    if "abi3t" in abis:
        yield Python(implementation="cp", version=(3, oldest), abi=f"cp3{oldest}t")
    if not own and not abis & {"abi3", "abi3t", "none"}:
        yield Python(implementation="cp", version=(3, minor), abi=f"cp3{minor}")


def _oldest(minor: int, requires: SpecifierSet | None) -> int:
    known = sorted({int(row["version"].split(".")[1]) for row in table("interpreters")["interpreter"]})
    fitting = [number for number in known if number >= minor]
    allowed = [number for number in fitting if requires is None or requires.contains(f"3.{number}.99")]
    return next(iter(allowed or fitting or [minor]))


# --- installers ------------------------------------------------------------------------------------------------------


def chosen_by_installers(wheel: Path, cancellation: Cancellation | None = None) -> tuple[Finding, ...]:
    """Let pip and uv, which see only this wheel, resolve its installation for its tags.

    Nothing is run or downloaded, and the caller's configuration is not read. Platforms and Pythons that uv does not
    support are skipped. Raises WheelFileError for an invalid file name; and Cancelled, with no process left.
    """
    name = parse_name(wheel.name)
    unknown = [tag for tag in name.platforms if place_of(tag) is None and other_system_of(tag) is None]
    findings = [PIP_CHOOSES.finding(wheel.name, _unknown_platform(tag)) for tag in unknown]
    asked = questions(name, requires_python(wheel))
    with tempfile.TemporaryDirectory(prefix="manywheels-") as folder:
        installers = _Installers(wheel, name, Path(folder), cancellation or Cancellation())
        for check, title, ask in ((PIP_CHOOSES, "pip", installers.ask_pip), (UV_CHOOSES, "uv", installers.ask_uv)):
            findings += [check.finding(wheel.name, refusal) for refusal in _refusals(title, asked, ask)]
    return tuple(findings)


def _unknown_platform(tag: str) -> Problem:
    return Problem(
        message=f"no Linux system has the platform tag `{tag}`, so no installer chooses the wheel",
        remedy="Repair the wheel to a manylinux or musllinux policy; `manywheels build` does.",
    )


def _refusals(title: str, asked: Iterable[Question], ask: Callable[[Question], str | None]) -> Iterable[Problem]:
    """Yield a problem for each reason, with all questions refused for it."""
    asked = tuple(asked)
    with ThreadPoolExecutor(max_workers=4) as pool:
        answers = list(pool.map(ask, asked))
    reasons: dict[str, list[Question]] = {}
    for question, reason in zip(asked, answers, strict=True):
        if reason is not None:
            reasons.setdefault(reason, []).append(question)
    for reason, refused in reasons.items():
        wanted = ", ".join(dict.fromkeys(f"{question.python} on `{question.tag}`" for question in refused))
        yield Problem(
            message=f"{title} does not choose it for {wanted}: {reason}",
            remedy="Compare the tags and Requires-Python: build the wheel again for the Python of its tag, and "
            "do not rename wheels by hand.",
        )


class _Installers:
    def __init__(self, wheel: Path, name: WheelName, folder: Path, cancellation: Cancellation) -> None:
        from manywheels.runtime.uv import uv_program

        self.cancellation = cancellation

        self.uv = uv_program()  # once, here: sysconfig, which it asks, is not safe in threads
        self.requirement = f"{name.name}=={name.version}"
        self.folder, self.link = folder, folder / "links" / wheel.name
        self.link.parent.mkdir()
        self.link.symlink_to(wheel.resolve())

    def ask_pip(self, question: Question) -> str | None:
        python = question.python
        done = self._run(
            *module_argv("pip"), "--isolated", "install", "--dry-run", "-vv", "--no-cache-dir",
            "--no-input", "--disable-pip-version-check", "--implementation", python.implementation,
            "--python-version", python.newest_patch, "--abi", python.abi, "--platform", question.tag,
            "--no-deps", "--no-index", "--find-links", str(self.link.parent), "--only-binary=:all:",
            "--target", str(self.folder / "site"), self.requirement,
        )  # fmt: skip
        return None if done.returncode == 0 else self._shorten(_pip_reason(f"{done.stdout}\n{done.stderr}"))

    def ask_uv(self, question: Question) -> str | None:
        """Return why uv does not choose the wheel; None if it does, or does not support the platform.

        uv reads a wheel's metadata only if it is given by path. Raises Cancelled.
        """
        platform = uv_at_least(question.place)
        if platform is None:
            return None
        python = python_for_uv(question.python)
        for wanted in (self.requirement, str(self.link)):
            done = self._run(
                self.uv, "pip", "install", "--dry-run", "--no-config", "--no-cache", "--offline", "--no-progress",
                "--no-python-downloads", "--python", python, "--python-version", question.python.newest_patch,
                "--python-platform", platform.name, "--no-deps", "--no-index", "--find-links", str(self.link.parent),
                "--only-binary", ":all:", "--target", str(self.folder / "site"), wanted,
            )  # fmt: skip
            if done.returncode != 0:
                asked = python == sys.executable or "No solution found" in done.stderr
                return self._shorten(why_uv_refused(done.stderr)) if asked else None
        return None

    def _shorten(self, reason: str) -> str:
        reason = re.sub(r"<[\w.]+ object at 0x\w+>", "the wheel", reason)
        return reason.replace(f"file://{self.link}", "it").replace(f"{self.link.parent}/", "").rstrip(".")

    def _run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        environment: Mapping[str, str] = {
            "PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.folder), "TMPDIR": str(self.folder),
            "LC_ALL": "C.UTF-8", "PIP_CONFIG_FILE": os.devnull,
        }  # fmt: skip
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            status = self._wait(subprocess.Popen(
                argv, env=environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
            ))  # fmt: skip
            if status is None:
                return subprocess.CompletedProcess(argv, 1, "", f"it did not end within {_TIMEOUT:.0f} s")
            return subprocess.CompletedProcess(argv, status, _text(output), _text(errors))

    def _wait(self, process: subprocess.Popen[bytes]) -> int | None:
        """Return the exit status; None if killed at the time limit. Raises Cancelled."""
        poll = select.poll()
        try:
            with end_of(process.pid) as end:
                poll.register(end, select.POLLIN)
                poll.register(self.cancellation, select.POLLIN)
                ended = end in dict(poll.poll(_TIMEOUT * 1000))
        finally:
            process.kill()  # no effect if it has ended
            status = process.wait()
        self.cancellation.stop_if_requested("The verification")
        return status if ended else None


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(_MOST_OUTPUT).decode("utf-8", "replace")


def _pip_reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for pattern in (
        r"Skipping link: (.*?)(?: \(run pip debug.*)?(?:: file://.*)?",
        r"Discarding .*? has (inconsistent .*)",
        r"ERROR: (?!Exception:)(.*)",
        r"[\w.]+: (.*)",
    ):
        if found := [match[1] for line in lines if (match := re.fullmatch(pattern, line))]:
            return found[-1] if pattern.startswith("[") else found[0]
    return (lines or ["pip gave no reason"])[-1]
