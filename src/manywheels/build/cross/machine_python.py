"""The machine's Python that runs cross builds: its variables and headers."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from manywheels.errors import ToolchainError

_PROBE: Final = """
import json, sys, sysconfig
name = sysconfig._get_sysconfigdata_name()
own = __import__(name, None, None, ["build_time_vars"], 0).build_time_vars
paths = sysconfig.get_paths()
print(json.dumps({
    "variables": own, "include": paths["include"], "platinclude": paths["platinclude"],
    "header": sysconfig.get_config_h_filename(), "multiarch": getattr(sys.implementation, "_multiarch", ""),
}))
"""
_TIMEOUT: Final = 60.0  # seconds
_WHOLE: Final = re.compile(r"^#\s*define SIZEOF_VOID_P\b", re.MULTILINE)  # else it only includes another


@dataclass(frozen=True, kw_only=True)
class MachinePython:
    """`variables` are sysconfig's, as built; `headers` is the folder with Python.h, `header` the text of pyconfig.h."""

    variables: Mapping[str, object]
    headers: Path
    header: str


def ask(python: Path) -> MachinePython:
    """Raises ToolchainError if the Python does not answer, or has no pyconfig.h."""
    try:
        completed = subprocess.run(
            [python, "-I", "-S", "-c", _PROBE],
            check=True, timeout=_TIMEOUT, capture_output=True, stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        answer: dict[str, Any] = json.loads(completed.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise ToolchainError(f"{python} does not say how it was built: {error}", remedy=_REMEDY) from None
    return MachinePython(
        variables=answer["variables"],
        headers=Path(answer["include"]),
        header=_header(answer, python),
    )


_REMEDY: Final = "Use another Python of this version, such as uv's (`uv python install`), or --engine container."


def _header(answer: Mapping[str, str], python: Path) -> str:
    """Return pyconfig.h, that of this machine where distributions have several behind one name."""
    named, include = Path(answer["header"]), Path(answer["include"])
    candidates = (
        named,
        Path(answer["platinclude"], named.name),
        include.parent / answer["multiarch"] / include.name / named.name,  # Debian
        named.with_name("pyconfig-64.h"),  # Fedora
        named.with_name("pyconfig-32.h"),
    )
    for path in candidates:
        try:
            text = path.read_text("utf-8")
        except OSError:
            continue
        if _WHOLE.search(text):
            return text
    raise ToolchainError(f"{python} has no pyconfig.h: {named} is none.", remedy=_REMEDY)
