"""Prepare a target for a cross build, and make the command of its front end."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manywheels.build.compilers.target import CompileTarget
from manywheels.build.cross.facts import TargetFacts
from manywheels.build.cross.files import FACE, CrossFiles
from manywheels.build.cross.machine_python import ask
from manywheels.errors import ToolchainError
from manywheels.plan.policies import Policy
from manywheels.plan.target_options import FrontEnd
from manywheels.plan.targets import Target

_HERE: Final = Path(__file__).parent
_WITHOUT_ISOLATION: Final = frozenset({"--no-isolation", "-n", "--no-build-isolation"})
_SETTING: Final = ("-C", "--config-setting", "--config-settings")


def cross_files(target: Target, policy: Policy, folder: Path, roots: Iterable[Path]) -> CrossFiles:
    """Raises ToolchainError for what cannot be cross-built."""
    if not target.tag.startswith("cp"):
        raise ToolchainError(
            f"{target.identifier} cannot be cross-built: only CPython is known on another machine.",
            remedy=f"Leave it out with `skip: {target.tag}-*`, or use --engine container.",
        )
    facts = TargetFacts(target=target, compiled=CompileTarget.of(target.arch, policy))
    return CrossFiles(folder=folder, facts=facts, roots=tuple(roots))


def prepare(files: CrossFiles, python: Path, compilers: Mapping[str, str]) -> None:
    """Write the files for a build with this machine's `python`. Raises ToolchainError and OSError."""
    files.write(ask(python), {name: compilers[name] for name in ("CC", "CXX", "AR") if name in compilers})


@dataclass(frozen=True, kw_only=True)
class CrossBuild:
    """One call of the front end: `settings` as on its command line, `folder` its own; `venv` as in a native build."""

    files: CrossFiles
    uv: str
    python: Path
    venv: Path | None
    front_end: FrontEnd
    settings: Sequence[str]
    folder: Path
    output: Path

    @property
    def argv(self) -> tuple[str, ...]:
        """Return the command, to be run in the package's folder."""
        facts = self.files.facts
        task = {
            "uv": self.uv,
            "python": str(self.python),
            "venv": str(self.venv) if self.venv and not self.is_isolated else "",
            "folder": str(self.folder),
            "output": str(self.output),
            "settings": _as_mapping((*self.settings, *_settings_in(self.front_end.arguments))),
            "face": str(FACE),
            "facts": str(self.files.face),
            "hooks": str(_HERE / "hooks.py"),
            "meson": str(self.files.meson),
            "platform": facts.compiled.policy.platform_tag(facts.target.arch),
            "uv-platform": facts.uv_platform,
        }
        return (sys.executable, "-I", "-S", str(_HERE / "front_end.py"), json.dumps(task))

    @property
    def is_isolated(self) -> bool:
        return not _WITHOUT_ISOLATION & set(self.front_end.arguments)


def idle_arguments(front_end: FrontEnd) -> tuple[str, ...]:
    """Return the arguments of a front end that mean nothing to this one."""
    words = list(front_end.arguments)
    idle = []
    while words:
        word = words.pop(0)
        if word in _SETTING and words:
            words.pop(0)
        elif word not in _WITHOUT_ISOLATION and not word.startswith(_SETTING):
            idle.append(word)
    return tuple(idle)


def _settings_in(arguments: Iterable[str]) -> tuple[str, ...]:
    """Return the settings in arguments: `-Ckey=value`, `-C key=value`, `--config-setting=key=value`."""
    words, found = list(arguments), []
    while words:
        word = words.pop(0)
        if word in _SETTING and words:
            found.append(words.pop(0))
        elif word.startswith("--config-setting"):
            found.append(word.partition("=")[2])
        elif word.startswith("-C"):
            found.append(word[2:].lstrip("="))
    return tuple(found)


def _as_mapping(settings: Iterable[str]) -> dict[str, str | list[str]]:
    """Return PEP 517's `config_settings`, in which a key given twice has a list, as uv, pip and build make it."""
    made: dict[str, str | list[str]] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        before = made.get(name)
        if before is None:
            made[name] = value
        else:
            made[name] = [*([before] if isinstance(before, str) else before), value]
    return made
