"""The script that raises the base images: the tag everywhere, the digests beside the policies."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from base_images import POLICIES, Unfit, raise_images, read_pinned, wanted_images
from conftest import ROOT

BEFORE = tomllib.loads((ROOT / POLICIES).read_text("utf-8"))["image_tag"]
NEWER = "2126.01.02-1"
WANTED = sorted(wanted_images(tomllib.loads((ROOT / POLICIES).read_text("utf-8"))))


def pinned(tag: str, images: list[str] | None = None, digit: str = "a") -> str:
    """Return cibuildwheel's file with these images, which it has once for each architecture, and again for PyPy."""
    lines = [f"image{number} = {name}@sha256:{digit * 64}  # {tag}" for number, name in enumerate(images or WANTED)]
    body = "\n".join(lines)
    return f"[x86_64]\n{body}\n\n[pypy_x86_64]\n{body}\nother = example.invalid/x@sha256:{'0' * 64}  # 2000.01.01-1\n"


OF_I686 = pinned("2126.01.03-1", WANTED[1:2]).replace("x86_64]", "i686]")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (str(POLICIES), "Dockerfile"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(f"The base images are of {BEFORE}.\n")
    for argv in (["init", "--quiet"], ["add", "."]):
        subprocess.run(["git", *argv], cwd=tmp_path, check=True)
    return tmp_path


def test_the_tag_is_raised_everywhere_and_the_digests_are_noted(root: Path) -> None:
    assert raise_images(root, pinned(NEWER)) == [Path("Dockerfile"), POLICIES]
    assert f"manylinux_2_28:{NEWER}\n" in (root / "Dockerfile").read_text()
    facts = tomllib.loads((root / POLICIES).read_text("utf-8"))
    assert facts["image_tag"] == NEWER
    assert facts["digests"] == dict.fromkeys(WANTED, f"sha256:{'a' * 64}")
    assert BEFORE in (root / "CHANGELOG.md").read_text()
    assert raise_images(root, pinned(NEWER)) == []
    assert raise_images(root, pinned(NEWER, WANTED[:3], "b")) != []
    assert len(tomllib.loads((root / POLICIES).read_text("utf-8"))["digests"]) == 3


def test_nothing_is_lowered(root: Path) -> None:
    assert raise_images(root, pinned("2000.01.01-1")) == []
    assert (root / "Dockerfile").read_text() == (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (pinned(NEWER, WANTED[:1]) + OF_I686, "have 2126.01.02-1, 2126.01.03-1"),
        (pinned(NEWER, ["example.invalid/none"]), "have none"),
        (pinned(NEWER).replace("@sha256:", "@md5:"), "have none"),
    ],
    ids=["several tags", "other images", "no digests"],
)  # fmt: skip
def test_images_that_do_not_belong_together_are_refused(text: str, said: str) -> None:
    with pytest.raises(Unfit, match=said):
        read_pinned(text, set(WANTED))
