"""Draw docs/terminal.svg: what the terminal shows at the end of `make demo`.

python docs/terminal.py [PACKAGE_DIR]
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

_COLUMNS = 92
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


def last_frame(output: str) -> str:
    """Return what is visible at the end: the last frame of the live table, and the output after it."""
    visible = re.sub(r"\x1b\[\?25[lh]", "", output).replace("\r\n", "\n")
    return _REDRAWN.split(visible)[-1]


def main() -> None:
    """Build a project and draw the terminal."""
    project = sys.argv[1] if len(sys.argv) > 1 else "examples/spam"
    output = tempfile.mkdtemp(prefix="dist-")
    arguments = ["build", project, "--build", "all"]
    shown = last_frame(record([sys.executable, "-m", "manywheels", *arguments, "--output-dir", output]))
    shutil.rmtree(output)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=_COLUMNS, file=nowhere, force_terminal=True, highlight=False)
        console.print(Text(f"$ manywheels {' '.join(arguments)}", style="bold"))
        console.print(Text.from_ansi(shown.replace(output, "dist")))
        picture = console.export_svg(title="manywheels")
        # Images on GitHub cannot load fonts: use installed ones.
        picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
        Path("docs/terminal.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
