"""Raise the base images to those of cibuildwheel's newest release, which its tests have passed with.

python .github/base_images.py [WHEEL]     WHEEL is cibuildwheel's; without one, the newest is downloaded

Its `pinned_docker_images.cfg` has the digest of each image. They go into `data/policies.toml`, and their tag to all
places that name it. An image that it does not name has no digest. Nothing is written where the tag is the newest.
"""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
POLICIES: Final = Path("src/manywheels/data/policies.toml")
_PINNED: Final = "cibuildwheel/resources/pinned_docker_images.cfg"
_PIN: Final = re.compile(r"(?P<name>\S+)@(?P<digest>sha256:[0-9a-f]{64})\s+#\s*(?P<tag>\d{4}\.\d\d\.\d\d-\d+)")
_HEAD: Final = "\n# The images' digests, by the name of the image and its tag; by .github/base_images.py.\n[digests]\n"


class Unfit(Exception):
    """cibuildwheel's images are not those that manywheels needs."""


def main(arguments: list[str]) -> int:
    """Return 0 also where nothing is to be done."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = Path(arguments[0]) if arguments else download(Path(folder))
        with zipfile.ZipFile(wheel) as archive:
            pinned = archive.read(_PINNED).decode()
    try:
        changed = raise_images(ROOT, pinned)
    except Unfit as problem:
        print(f"error: {wheel.name}: {problem}", file=sys.stderr)
        return 1
    print("\n".join(map(str, changed)) if changed else "the base images are the newest")
    return 0


def download(folder: Path) -> Path:
    """Return cibuildwheel's newest wheel."""
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*argv, "--dest", str(folder), "cibuildwheel"], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def raise_images(root: Path, pinned: str) -> list[Path]:
    """Write the tag and the digests of `pinned`, cibuildwheel's file, below `root`; return the changed files.

    Raises Unfit if they have not one tag.
    """
    policies = tomllib.loads((root / POLICIES).read_text("utf-8"))
    before: str = policies["image_tag"]
    digests, tag = read_pinned(pinned, wanted_images(policies))
    if tag < before or (tag == before and policies.get("digests") == digests):
        return []
    argv = ["git", "grep", "-lF", before, "--", ".", ":!CHANGELOG.md", ":!benchmarks"]
    found = subprocess.run(argv, cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in found:
        path = root / name
        path.write_text(path.read_text("utf-8").replace(before, tag), encoding="utf-8")
    text = (root / POLICIES).read_text("utf-8").partition(_HEAD)[0].rstrip() + "\n"
    lines = (f'"{image}" = "{digest}"\n' for image, digest in sorted(digests.items()))
    (root / POLICIES).write_text(f"{text}{_HEAD}{''.join(lines)}", encoding="utf-8")
    return sorted({*map(Path, found), POLICIES})


def wanted_images(policies: Mapping[str, Any]) -> set[str]:
    """Return the names of the images of all policies and architectures."""
    return {policy["image"].format(arch=arch) for policy in policies["policy"] for arch in policy["archs"]}


def read_pinned(pinned: str, wanted: set[str]) -> tuple[dict[str, str], str]:
    """Return the digest of each wanted image that is pinned, by name, and their tag. Raises Unfit."""
    parser = configparser.ConfigParser()
    parser.read_string(pinned)
    pins = [_PIN.fullmatch(value) for section in parser.sections() for value in parser[section].values()]
    known = {pin["name"]: pin for pin in pins if pin and pin["name"] in wanted}
    tags = {pin["tag"] for pin in known.values()}
    if len(tags) != 1:
        raise Unfit(f"the images must have one tag, and have {', '.join(sorted(tags)) or 'none'}")
    return {name: pin["digest"] for name, pin in known.items()}, tags.pop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
