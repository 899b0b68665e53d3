"""Draw docs/terminal.svg: what the terminal shows while a project is built for every Python.

python docs/terminal.py PROJECT     needs Docker; builds the project twice, the second time with the first one's times
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

_COLUMNS = 92
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_REDRAWN = re.compile(r"(?:\x1b\[2K|\x1b\[1A|\r)+")


def record(command: list[str]) -> str:
    """Run a command on a new terminal and return its output."""
    pieces: list[bytes] = []
    supervisor, terminal = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment |= {"COLUMNS": str(_COLUMNS), "LINES": "40", "TERM": "xterm-256color"}
    process = subprocess.Popen(command, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    while True:
        try:
            piece = os.read(supervisor, 1 << 16)
        except OSError:  # closed by the other end: the command has ended
            break
        pieces.append(piece)
    process.wait()
    return b"".join(pieces).decode()


def frames(output: str) -> list[str]:
    """Return what was visible, from each drawing of the live table to the next."""
    visible = re.sub(r"\x1b\[\?25[lh]", "", output).replace("\r\n", "\n")
    return _REDRAWN.split(visible)


def busiest(drawn: list[str]) -> str:
    """Return the frame that shows the most: targets that are built, that are at different stages, and that wait."""

    def stages(frame: str) -> int:
        plain = _COLOURS.sub("", frame)
        return len({match[1] for match in re.finditer(r"[·✓] \S+ +(\w+)", plain)}) + ("left, as" in plain)

    return max(drawn, key=stages)


def main() -> None:
    """Build a project and draw the terminal."""
    project = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="dist-") as output:
        command = [sys.executable, "-m", "manywheels", "build", project, "--engine", "container"]
        for _ in range(2):
            written = record([*command, "--output-dir", output, "--fresh"])
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=_COLUMNS, file=nowhere, force_terminal=True, highlight=False)
        console.print(Text(f"$ manywheels build {Path(project).name} --engine container", style="bold"))
        console.print(Text.from_ansi(busiest(frames(written))))
        picture = console.export_svg(title="manywheels")
        # Images on GitHub cannot load fonts: use installed ones.
        picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
        Path("docs/terminal.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
