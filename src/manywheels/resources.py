"""Top-level files needed at run time: action.yml and the image's build context.

In a checkout they lie beside `src/`, in a wheel in `manywheels/_image/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).resolve().parent
IMAGE_FILES: Final = ("action.yml", "Dockerfile", "entrypoint.py", "requirements/image.txt")


def resource(name: str) -> Path:
    installed = PACKAGE / "_image" / name
    return installed if installed.exists() else PACKAGE.parent.parent / name
