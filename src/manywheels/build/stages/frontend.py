"""Build: run uv, `build` or `pip` (PEP 517) in the sandbox on a private copy of the source.

When no process of the build is left, its wheel or sdist is taken over into a folder that builds cannot write.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from manywheels.build.cross.command import CrossBuild
from manywheels.build.cross.files import CrossFiles
from manywheels.build.stages.hooks import WROTE_TOO_MUCH, describe_end
from manywheels.core import cgroup
from manywheels.core.cancellation import Cancellation
from manywheels.errors import (
    BuildFailed,
    BuildSilent,
    BuildTimeout,
    Cancelled,
    LogTooLong,
    OutOfMemory,
    PureWheel,
    TargetError,
    WheelFileError,
    WrongWheel,
)
from manywheels.plan.target_options import FrontEnd, TargetOptions, fill
from manywheels.plan.targets import PlannedTarget, Target
from manywheels.runtime import sandbox, untrusted_files
from manywheels.runtime.sandbox import Command, Outcome
from manywheels.wheels import wheelfile

if TYPE_CHECKING:
    from manywheels.build.logs import Excerpt


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """What one build needs; `source` is the package's folder in the copy `project`.

    `timeout` and `silence` are in seconds. The build writes into `output`, which must not exist; `finished` gets the
    wheel or sdist. `user` is a user id, None for this process's. `venv` is what `before-build` prepared, if anything.
    `overlooked` is the remedy where a requirement was not found: settings that are not followed. `embedded` means that
    the compilers are clang with libc++. `hard_links` means that uv's cache allows them. `is_served` is that of
    `sandbox.Command`. `cross` are the target's files if it is another machine than this one.
    """

    uv: str
    planned: PlannedTarget
    venv: Path | None
    source: Path
    project: Path
    output: Path
    finished: Path
    environment: dict[str, str]
    overlooked: str
    options: TargetOptions
    timeout: float
    silence: float | None
    is_served: Callable[[], bool]
    user: int | None
    log: Path
    embedded: bool
    hard_links: bool = False
    cross: CrossFiles | None = None


def build(request: BuildRequest, cancellation: Cancellation) -> Path:
    """Return the target's wheel in `request.finished`.

    Raises Cancelled, BuildTimeout, BuildSilent, LogTooLong, OutOfMemory, BuildFailed, and WrongWheel unless there is
    exactly one wheel, for this target.
    """
    _run(request, _front_end(request), cancellation)
    return _take_over_wheel(request, cancellation)


def build_sdist(request: BuildRequest, cancellation: Cancellation) -> Path:
    """Return the project's sdist in `request.finished`. uv makes it, whatever front end builds the wheels.

    Raises as `build` does, and BuildFailed unless there is exactly one sdist.
    """
    assert request.planned.interpreter is not None  # noqa: S101 - targets without one are not built
    argv = (
        request.uv, "build", "--sdist", "--python", str(request.planned.interpreter.path), "--out-dir",
        str(request.output), "--no-create-gitignore", *_settings(request), str(request.source),
    )  # fmt: skip
    _run(request, argv, cancellation)
    return _take_over_sdist(request, cancellation)


def _run(request: BuildRequest, argv: tuple[str, ...], cancellation: Cancellation) -> None:
    """Raises as `build` does, but for WrongWheel."""
    untrusted_files.make_folder(request.output, request.user)
    killed_before = cgroup.kills()
    outcome = sandbox.run(
        Command(
            argv=argv,
            folder=request.source,
            environment=request.environment,
            log=request.log,
            timeout=request.timeout,
            silence=request.silence,
            is_served=request.is_served,
            user=request.user,
        ),
        cancellation,
    )
    if outcome.cancelled:
        raise Cancelled("The build was stopped.", remedy="")
    if outcome.timed_out or outcome.fell_silent or outcome.wrote_too_much:
        raise _explain_limit(request, outcome, cancellation)
    if outcome.status == 0 or _back_end_succeeded(request):
        return
    raise _explain_failure(request, outcome.status, cancellation, for_memory=cgroup.kills() > killed_before)


def _explain_limit(request: BuildRequest, outcome: Outcome, cancellation: Cancellation) -> TargetError:
    from manywheels.build.logs import last_lines

    excerpt = tuple(line.replace(f"{request.source}/", "") for line in last_lines(request.log, cancellation))
    if outcome.timed_out:
        return BuildTimeout(
            f"The build did not end within its limit of {request.timeout:g} s, and was killed.",
            remedy="Raise the limit with `timeout`, or look in the log for what the build waits for.",
            excerpt=excerpt,
        )
    if outcome.wrote_too_much:
        return LogTooLong(
            f"The build {WROTE_TOO_MUCH}",
            remedy="Look in the log for what is repeated, and make the build print less or write to a file.",
            excerpt=excerpt,
        )
    return BuildSilent(
        f"The build was killed after {request.silence:g} s without output and without using the processor.",
        remedy="Look in the log for what the build waits for; if it needs that long, raise `silence-limit`.",
        excerpt=excerpt,
    )


def _front_end(request: BuildRequest) -> tuple[str, ...]:
    interpreter = request.planned.interpreter
    assert interpreter is not None, "targets without an interpreter are not built"  # noqa: S101
    chosen, uv, python = request.options.front_end, request.uv, str(interpreter.path)
    if request.cross:
        return _cross_build(request, request.cross, interpreter.path).argv
    if request.venv:  # without build isolation, the back end is installed in it
        python = str(request.venv / "bin/python")
    extra = (*_settings(request), *chosen.arguments, *_verbosity(chosen))
    output, source = str(request.output), str(request.source)
    program: tuple[str, ...]
    match chosen.name:
        case "build" | "build[uv]":
            isolated = not {"--no-isolation", "-n"} & set(chosen.arguments)
            installer = ("--installer", "uv") if chosen.name == "build[uv]" and isolated else ()
            program = (uv, "tool", "run", "--python", python, "--from", chosen.name, "pyproject-build")
            if request.venv:
                program = (python, "-m", "build")
            return (*program, "--wheel", *installer, "--outdir", output, *extra, source)
        case "pip":
            program = (python, "-m", "pip") if request.venv else (uv, "tool", "run", "--python", python, "pip")
            extra = ("--no-deps", "--disable-pip-version-check", *extra)
            return (*program, "wheel", "--wheel-dir", output, *extra, source)
    program = (uv, "build", "--wheel", "--python", python, "--out-dir", output, "--no-create-gitignore")
    return (*program, *_link_mode(request), *extra, source)


def _link_mode(request: BuildRequest) -> tuple[str, ...]:
    """Install requirements by hard links to the cache's symbolic ones, where our own choice is the latter.

    A second name of a link is no new file, of which ext4 finds a place only after a look at all that were deleted
    lately. What a build itself installs elsewhere, perhaps on another disk, keeps to `UV_LINK_MODE`: uv would copy
    there, and cannot copy a link to a folder.
    """
    is_chosen = any(argument.startswith("--link-mode") for argument in request.options.front_end.arguments)
    is_ours = request.hard_links and request.environment.get("UV_LINK_MODE") == "symlink" and not is_chosen
    return ("--link-mode", "hardlink") if is_ours else ()


def _cross_build(request: BuildRequest, files: CrossFiles, python: Path) -> CrossBuild:
    """Raises OSError."""
    return CrossBuild(
        files=files, uv=request.uv, python=python, venv=request.venv, front_end=request.options.front_end,
        settings=tuple(setting.removeprefix("-C") for setting in _settings(request)),
        folder=untrusted_files.make_folder(request.output.with_name("cross"), request.user), output=request.output,
    )  # fmt: skip


def _settings(request: BuildRequest) -> Iterator[str]:
    for setting in request.options.config_settings:
        yield f"-C{fill(setting, project=request.project, package=request.source)}"


def _verbosity(front_end: FrontEnd) -> tuple[str, ...]:
    """pip shows the back end's output from -v on, other front ends without."""
    level = front_end.verbosity
    if level > 0 and front_end.name != "pip":
        level -= 1
    return (f"-{'v' * level if level > 0 else 'q' * -level}",) if level else ()


def _back_end_succeeded(request: BuildRequest) -> bool:
    """Whether uv failed only because the successful back end did not leave the wheel that it named."""
    from manywheels.core.log_files import last_bytes

    return b"failed (exit status: 0)" in last_bytes(request.log, 4096)


def _remedy(request: BuildRequest, excerpt: Excerpt, cancellation: Cancellation) -> str:
    from manywheels.build.logs import cross, embedded

    if excerpt.unresolved:
        return request.overlooked
    if request.cross and (text := cross.remedy(excerpt, request.log, cancellation)):
        return text
    return embedded.remedy(excerpt) if request.embedded else ""


def _explain_failure(
    request: BuildRequest, status: int, cancellation: Cancellation, *, for_memory: bool
) -> TargetError:
    from manywheels.build.logs import telling_excerpt

    excerpt = telling_excerpt(request.log, cancellation)
    reason = _known(excerpt.reason, request)
    lines = tuple(_known(line, request) for line in excerpt.lines)
    if excerpt.killed or (for_memory and status == 128 + signal.SIGKILL):
        certainly = "" if for_memory else "probably "
        return OutOfMemory(
            f"The build was {certainly}killed for memory: {reason}",
            remedy="Build fewer targets at once with `jobs: 1`, use fewer compilers (`environment: MAKEFLAGS=-j1`), "
            "or use a machine with more memory.",
            excerpt=lines,
        )
    place = excerpt.location
    return BuildFailed(
        reason or f"The build back end failed ({describe_end(status)})",
        remedy=_remedy(request, excerpt, cancellation),
        excerpt=lines,
        file=_known(place.file, request) if place else None,
        line=place.line if place else None,
    )


def _known(text: str, request: BuildRequest) -> str:
    """Return a text with the paths that users know: relative to the package, those beside it to the project."""
    return text.replace(f"{request.source}/", "").replace(f"{request.project}/", "")


def _take_over_wheel(request: BuildRequest, cancellation: Cancellation) -> Path:
    try:
        wheel = untrusted_files.only_wheel_in(request.output)
        _require_for(request.planned.target, wheel)
        finished = untrusted_files.make_public_folder(request.finished)
        return untrusted_files.take_over(request.output, wheel, finished, cancellation, owner=request.user)
    except untrusted_files.NotOne as made:
        raise WrongWheel(
            f"The back end made {made}.", remedy="It must make exactly one (PEP 517, build_wheel)."
        ) from None
    except untrusted_files.Suspicious as finding:
        raise WrongWheel(
            f"The wheel cannot be taken over from the build: {finding}.",
            remedy="The back end must leave one regular file of its own (PEP 517, build_wheel).",
        ) from None


def _take_over_sdist(request: BuildRequest, cancellation: Cancellation) -> Path:
    try:
        sdist = untrusted_files.only_one_in(request.output, ".tar.gz", "sdist")
        finished = untrusted_files.make_public_folder(request.finished)
        return untrusted_files.take_over(request.output, sdist, finished, cancellation, owner=request.user)
    except (untrusted_files.NotOne, untrusted_files.Suspicious) as found:
        problem = f"made {found}" if isinstance(found, untrusted_files.NotOne) else f"left what is no sdist: {found}"
        raise BuildFailed(
            f"The back end {problem}.", remedy="It must make exactly one regular file (PEP 517, build_sdist)."
        ) from None


def _require_for(target: Target, wheel: str) -> None:
    try:
        name = wheelfile.parse_name(wheel)
    except WheelFileError as error:
        raise WrongWheel(error.message, remedy=error.remedy) from None
    if name.is_pure:
        raise PureWheel(
            f"The back end made a pure-Python wheel, {wheel}.",
            remedy="A pure-Python project does not need manywheels: build it with `uv build`. If it should have an "
            "extension module, see the log for why it was left out.",
        )
    if not target.installs(name.tags):
        raise WrongWheel(
            f"The back end made a wheel for another interpreter: {wheel} does not install on {target.tag}.",
            remedy="Look in the project's build configuration for a fixed Python version or tag.",
        )
