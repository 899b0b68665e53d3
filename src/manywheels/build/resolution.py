"""What an index gives for a project's build requirements now, without building any of them.

Two runs whose requirements resolve alike build with the same packages: so a new release of Cython shows before a build.
uv resolves here for each target's Python; only metadata is read, so no code of a package runs. The index is asked for
one Python; for the others, uv's cache mostly has by then what there is of the same packages.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from packaging.requirements import Requirement

from manywheels.build.private_folder import tool_variables
from manywheels.build.stages.prefetch import caller_settings, constraints_in, is_on_an_index, steers_fetching
from manywheels.core.cancellation import Cancellation
from manywheels.core.cgroup import available_cores
from manywheels.plan.options import Options
from manywheels.plan.pip_settings import Follower
from manywheels.plan.project import Project
from manywheels.plan.targets import Target
from manywheels.runtime import sandbox
from manywheels.runtime.git import source_root
from manywheels.runtime.sandbox import Command
from manywheels.runtime.uv import uv_program

_TIMEOUT: Final = 60.0  # seconds
_LARGEST: Final = 1 << 20  # bytes of a resolution
_MOST: Final = 1000  # requirements
_FOR_UV: Final = {"x86_64", "aarch64"}  # uv names the platforms of others in its own way
_CONSTRAINTS: Final = ("UV_CONSTRAINT", "UV_BUILD_CONSTRAINT")
_STEERING: Final = ("UV_OVERRIDE", "UV_RESOLUTION")

Requires = tuple[str, ...] | None


@dataclass(frozen=True, kw_only=True)
class _Question:
    """What is asked of the index: equal questions have one answer."""

    python: str
    platform: str
    constraints: tuple[str, ...]


def resolve_requirements(
    project: Project, options: Options, targets: Iterable[Target], caller: Mapping[str, str], cancellation: Cancellation
) -> dict[Target, Requires]:
    """Return each target's build requirements as `name==version`, sorted.

    None where it is not known what a build gets: a requirement is not on an index or has no wheel, the index cannot be
    reached, or the target's own settings change what is fetched; and after a cancellation.
    """
    folder = project.path.parent if project.is_sdist else source_root(project.path.resolve())
    settings = caller_settings(caller, folder.resolve(), anywhere=True)
    questions = {target: _question(project, options, target) for target in targets}
    if settings is None or len(project.build_requires) > _MOST or not all(map(is_on_an_index, project.build_requires)):
        return dict.fromkeys(questions)
    told = Follower().follow(caller).environment
    constraints = " ".join(filter(None, (told.get(name) for name in _CONSTRAINTS)))
    settings |= {"UV_CONSTRAINT": constraints} if constraints else {}
    settings |= {name: told[name] for name in _STEERING if name in told}
    asked = list(dict.fromkeys(question for question in questions.values() if question))
    answers = _answers(asked, partial(_resolve, project.build_requires, settings, cancellation))
    return {target: answers[question] if question else None for target, question in questions.items()}


class _Ask(Protocol):
    """Asks one question; `offline`, of uv's cache alone."""

    def __call__(self, question: _Question, /, *, offline: bool = False) -> Requires: ...


def _answers(asked: Sequence[_Question], ask: _Ask) -> dict[_Question, Requires]:
    """Ask the index for the first question, and for others whose answer the cache may not have."""
    if not asked:
        return {}
    first = ask(asked[0])
    fresh = _names(first)

    def answer(question: _Question) -> Requires:
        found = ask(question, offline=True) if fresh else None
        # What the cache says of a package is as new as the first answer only if that has the package, too.
        return found if found is not None and _names(found) <= fresh else ask(question)

    with ThreadPoolExecutor(max_workers=2 * available_cores(), thread_name_prefix="resolve") as pool:
        return {asked[0]: first, **dict(zip(asked[1:], pool.map(answer, asked[1:]), strict=True))}


def _names(found: Requires) -> set[str]:
    return {requirement.partition("==")[0] for requirement in found or ()}


def _question(project: Project, options: Options, target: Target) -> _Question | None:
    own, platform = options.for_target(target), options.platform_of(target)
    is_inside = project.is_sdist and own.constraints.file  # of the archive, which is not extracted for this
    if is_inside or any(map(steers_fetching, (*(one.name for one in own.environment), *own.environment_pass))):
        return None
    try:
        constraints = constraints_in(own.constraints.text(project.path, target.python))
    except (OSError, UnicodeDecodeError):
        return None
    if constraints is None:
        return None
    libc = "unknown-linux-musl" if platform.policy.libc == "musl" else "manylinux_2_28"
    name = f"{target.arch}-{libc}" if target.arch in _FOR_UV else ""
    return _Question(python=target.python, platform=name, constraints=constraints)


def _resolve(
    requirements: Iterable[str],
    settings: Mapping[str, str],
    cancellation: Cancellation,
    question: _Question,
    *,
    offline: bool = False,
) -> Requires:
    with suppress(OSError), tempfile.TemporaryDirectory(prefix="manywheels-") as name:
        folder = Path(name)
        for file, texts in (("requirements", requirements), ("constraints", question.constraints)):
            (folder / file).write_text("".join(f"{Requirement(text)}\n" for text in texts), "utf-8")
        outcome = sandbox.run(
            Command(
                argv=_command(folder, question, offline=offline), folder=folder, log=folder / "log", timeout=_TIMEOUT,
                environment={**settings, **tool_variables(folder, None), "PATH": os.defpath, "HOME": name},
            ),
            cancellation,
        )  # fmt: skip
        found = folder / "resolved"
        if not outcome.succeeded or not found.is_file() or found.stat().st_size > _LARGEST:
            return None
        return tuple(sorted(line for line in found.read_text("utf-8").splitlines() if "==" in line))
    return None


def _command(folder: Path, question: _Question, *, offline: bool) -> tuple[str, ...]:
    platform = ("--python-platform", question.platform) if question.platform else ()
    network = ("--offline",) if offline else ()
    return (
        uv_program(), "pip", "compile", "--no-config", "--quiet", "--no-header", "--no-annotate", "--color=never",
        "--only-binary", ":all:", "--python", sys.executable, "--python-version", question.python,
        *platform, *network, "--constraints", str(folder / "constraints"), "--output-file", str(folder / "resolved"),
        str(folder / "requirements"),
    )  # fmt: skip
