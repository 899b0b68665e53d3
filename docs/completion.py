"""Write the shells' completions of the command line, src/manywheels/data/completion.*, by shtab.

python docs/completion.py          update the files
python docs/completion.py --check  name the files that are out of date, with exit status 1
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import shtab

from manywheels.cli import explain
from manywheels.cli.parser import Parser, make_parser
from manywheels.cli.request import KINDS, SHELLS

DATA: Final = Path(__file__).resolve().parent.parent / "src" / "manywheels" / "data"
_FOLDERS: Final = {"output_dir", "packages_dir", "folders", "foreign"}
_FILES: Final = {"package_dir", "wheels", "config_file", "report", "trace", "junit"}


def generated() -> dict[Path, str]:
    """Return the content of every file."""
    return {DATA / f"completion.{shell}": shtab.complete(_parser(), shell=shell) for shell in SHELLS}


def _parser() -> Parser:
    parser = make_parser()
    for command in parser.commands.values():
        for action in _shown(command):
            if action.dest in _FOLDERS:
                setattr(action, "complete", shtab.DIRECTORY)  # noqa: B010 - an attribute that shtab reads
            elif action.dest in _FILES:
                setattr(action, "complete", shtab.FILE)  # noqa: B010
            elif action.dest == "codes":
                action.choices = sorted(explain.explanations())
            elif action.dest == "kinds":
                action.choices = KINDS
    return parser


def _shown(command: Parser) -> Iterator[argparse.Action]:
    yield from command._actions  # noqa: SLF001 - argparse has no other way to them


def main(arguments: list[str]) -> int:
    """Update or check the files; return the exit status."""
    stale = [
        (path, text) for path, text in generated().items() if not path.is_file() or path.read_text("utf-8") != text
    ]
    for path, text in stale:
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
        print(f"{path.name}: {'out of date, run `make docs`' if '--check' in arguments else 'written'}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
