"""The three rings of tests, and the last line of a run: what was not run, and how to run it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent


@dataclass(frozen=True, kw_only=True)
class Ring:
    """Folders of tests that need the same, and the command that runs them."""

    folders: tuple[str, ...]
    command: str
    needs: str


RINGS = (
    Ring(folders=("unit", "publish", "host"), command="make test", needs="compilers and CPythons"),
    Ring(
        folders=("containers",),
        command="make test-containers",
        needs="Docker, act, gitlab-ci-local, Chromium, docker-registry",
    ),
    Ring(folders=("pypi",), command="make test-index", needs="the package index"),
)


def left_out(arguments: list[str], folder: Path) -> list[str]:
    """Return what of each ring no argument of pytest's covers, and how to run it."""
    asked = [folder.joinpath(argument.partition("::")[0]).resolve() for argument in arguments]
    found = []
    for ring in RINGS:
        absent = [name for name in ring.folders if not any(_meets(TESTS / name, path) for path in asked)]
        if absent:
            names = " ".join(f"tests/{name}" for name in absent)
            found.append(f"{names} (`{ring.command}`; needs {ring.needs})")
    return found


def _meets(folder: Path, path: Path) -> bool:
    return folder.is_relative_to(path) or path.is_relative_to(folder)


def last_line(arguments: list[str], folder: Path, *, skipped: int, deselected: int) -> str:
    """Return the last line of a run."""
    parts = left_out(arguments, folder)
    if skipped:
        parts.append(f"{skipped} skipped, for the reasons above")
    if deselected:
        parts.append(f"{deselected} deselected by -k or -m")
    return f"Not run: {'; '.join(parts)}." if parts else "Not run: nothing."


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Say it after everything else that pytest says; xdist's workers say nothing."""
    yield
    config = session.config
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and not hasattr(config, "workerinput"):
        counts = {name: len(reporter.stats.get(name, [])) for name in ("skipped", "deselected")}
        reporter.ensure_newline()
        reporter.write_line(last_line(config.args, config.invocation_params.dir, **counts))
