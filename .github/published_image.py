"""The image that a release publishes, for the action to use instead of building its Dockerfile. For release.yml.

    check IMAGE [PLATFORM ...]  fail unless the image has this checkout's files, for each platform such as `linux/arm64`
    pin IMAGE@sha256:...        have this checkout's action.yml use the image

Nothing of the image is started for it. Needs `src` on PYTHONPATH, the standard library, and for `check` Docker.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import Final

from manywheels.resources import program_files, resource

REPOSITORY: Final = "ghcr.io/manywheels/manywheels"
_BUILT: Final = "  image: Dockerfile"


def pinned(action: str, image: str, repository: str = REPOSITORY) -> str:
    """Return the text of action.yml with the image, named by its digest, instead of the Dockerfile.

    Raises ValueError if the image is any other, or if the text has not exactly one line that names an image.
    """
    if not re.fullmatch(rf"{re.escape(repository)}@sha256:[0-9a-f]{{64}}", image):
        raise ValueError(f"`{image}` is not `{repository}@sha256:` and 64 hexadecimal digits")
    lines = re.findall(r"^ *image: *\S.*$", action, re.MULTILINE)
    if lines != [_BUILT]:
        raise ValueError(f"action.yml must have the one line `{_BUILT}`, and has {lines}")
    return re.sub(rf"^{_BUILT}$", f"  image: docker://{image}", action, flags=re.MULTILINE)


def copied_files() -> dict[PurePosixPath, Path]:
    """Return this checkout's files by the places where its Dockerfile copies them to."""
    files, copied = program_files(), dict[PurePosixPath, Path]()
    for line in re.findall(r"^COPY (.+)$", resource("Dockerfile").read_text("utf-8"), re.MULTILINE):
        *sources, place = line.split()
        for source in sources:
            if source in files:
                copied[PurePosixPath(place, Path(source).name if place.endswith("/") else "")] = files[source]
                continue
            below = {name: path for name, path in files.items() if name.startswith(f"{source}/")}
            if not below:
                raise ValueError(f"nothing is known of `{source}` in `COPY {line}`")
            copied |= {PurePosixPath(place, Path(name).relative_to(source)): path for name, path in below.items()}
    return copied


def difference(image: str, platform: str = "") -> str:
    """Return the first difference between an image's files and those of this checkout; empty if there is none.

    No other module may lie among the program's; the compiled ones are made by the Dockerfile, and not looked at.
    Raises CalledProcessError if there is no such image.
    """
    copied = copied_files()
    found = _digests(image, platform, PurePosixPath(os.path.commonpath(copied)))
    for place, path in sorted(copied.items()):
        if place not in found:
            return f"{place}: not in the image"
        if found[place] != hashlib.sha256(path.read_bytes()).hexdigest():
            return f"{place}: not as in this checkout"
    (program,) = (place.parent for place in copied if place.parts[-2:] == ("manywheels", "__init__.py"))
    strange = [place for place in found if place.is_relative_to(program) and "__pycache__" not in place.parts]
    return next((f"{place}: not in this checkout" for place in sorted(strange) if place not in copied), "")


def _digests(image: str, platform: str, folder: PurePosixPath) -> dict[PurePosixPath, str]:
    """Return the sha256 of what the image has below a folder, empty for links and the like; pull what is not here."""
    chosen = [f"--platform={platform}"] if platform else []
    made = subprocess.run(["docker", "create", *chosen, image], stdout=subprocess.PIPE, text=True, check=True)
    container = made.stdout.strip()
    try:
        with tempfile.TemporaryFile() as copy:
            subprocess.run(["docker", "cp", f"{container}:{folder}", "-"], stdout=copy, check=True)
            copy.seek(0)
            with tarfile.open(fileobj=copy) as archive:
                return {folder.parent / one.name: _digest(archive, one) for one in archive if not one.isdir()}
    finally:
        subprocess.run(["docker", "rm", "--force", container], stdout=subprocess.DEVNULL, check=True)


def _digest(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    content = archive.extractfile(member) if member.isreg() else None
    return hashlib.sha256(content.read()).hexdigest() if content else ""


def main(arguments: list[str]) -> int:
    """Check or pin an image; return the exit status."""
    try:
        match arguments:
            case ["check", image, *platforms]:
                return _check(image, platforms or [""])
            case ["pin", image]:
                action = resource("action.yml")
                action.write_text(pinned(action.read_text("utf-8"), image), encoding="utf-8")
                return 0
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError:  # Docker has said why
        return 1
    print(__doc__, file=sys.stderr)
    return 2


def _check(image: str, platforms: list[str]) -> int:
    for platform in platforms:
        name = f"{image} ({platform})" if platform else image
        if found := difference(image, platform):
            print(f"{name}: {found}", file=sys.stderr)
            return 1
        print(f"{name}: its files are those of this checkout")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
