"""Top-level files needed at run time: action.yml and the image's build context.

In a checkout they lie beside `src/`, in a wheel in `manywheels/_image/`.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).resolve().parent
IMAGE_FILES: Final = ("action.yml", "Dockerfile", "entrypoint.py", "requirements/image.txt")


def resource(name: str) -> Path:
    installed = PACKAGE / "_image" / name
    return installed if installed.exists() else PACKAGE.parent.parent / name


def program_files() -> dict[str, Path]:
    """Return the image's build context, by name: the same from a checkout and from a wheel."""
    files = {name: resource(name) for name in IMAGE_FILES}
    for path in PACKAGE.rglob("*"):
        relative = path.relative_to(PACKAGE)
        if path.is_file() and relative.parts[0] != "_image" and "__pycache__" not in relative.parts:
            files[f"src/manywheels/{relative.as_posix()}"] = path
    return files


@cache
def program_digest() -> str:
    """Return the sha256 (hex) of this program's files."""
    digest = hashlib.sha256()
    for name, path in sorted(program_files().items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
