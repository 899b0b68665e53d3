"""A whole release to the local index: Linux wheels and the sdist, what others built, and what differs from the last."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from index import GitHubPublisher, LocalIndex
from manywheels.core import text
from manywheels.wheels.leftovers import Beside, beside
from manywheels.wheels.manifest import read_manifest
from publish.program import clean_environment, publish, run_here, write_sdist, write_set
from unit.elfmaker import SharedObject
from unit.helpers import METADATA, PLATFORM, write_wheel

MACOS, WINDOWS = "cp312-cp312-macosx_11_0_arm64", "cp312-cp312-win_amd64"


@pytest.fixture
def index() -> Iterator[LocalIndex]:
    with LocalIndex() as index:
        index.trust(GitHubPublisher(project="demo"))
        yield index


def write_others(folder: Path, *, version: str = "1.0", metadata: str = METADATA) -> list[Path]:
    """Write a wheel for macOS and one for Windows, as cibuildwheel would."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        write_wheel(
            folder, tags=tags, start=f"demo-{version}", metadata=metadata,
            members={"demo/__init__.py": b"", f"demo/_core{suffix}": tags.encode()},
        )
        for tags, suffix in ((MACOS, ".cpython-312-darwin.so"), (WINDOWS, ".cp312-win_amd64.pyd"))
    ]  # fmt: skip


def write_release(folder: Path, version: str = "1.0", *, metadata: str = METADATA) -> Path:
    """Write what the jobs of a release leave: `linux`, with its manifest and the sdist, and `cibw`."""
    write_set(folder / "linux", "cp312", "cp313", version=version, metadata=metadata)
    write_sdist(folder / "linux", version=version, metadata=metadata)
    write_others(folder / "cibw", version=version, metadata=metadata)
    return folder


def gather(folder: Path, *options: str) -> tuple[int, str, str]:
    argv = ["gather", "linux", "--foreign", "cibw", "--output-dir", "release", *options]
    return run_here(argv, clean_environment(), folder)


def test_a_whole_release_is_published_with_what_others_built(index: LocalIndex, tmp_path: Path) -> None:
    release = write_release(tmp_path / "release-1")
    status, out, err = gather(release)
    assert status == 0, err
    assert "2 wheels, 2 wheels built elsewhere, demo-1.0.tar.gz" in out
    manifest = read_manifest(release / "release")
    assert [wheel.origin for wheel in manifest.foreign] == ["cibw", "cibw"]
    run = publish(release / "release", index.upload_url, environment=index.github_environment())
    assert run.status == 0, run.said
    assert {name: file.sha256 for name, file in index.files().items()} == {
        file.name: file.sha256 for file in manifest.files
    }
    assert len(manifest.files) == 5


def test_publish_takes_what_others_built_itself(index: LocalIndex, tmp_path: Path) -> None:
    release = write_release(tmp_path / "release-1")
    environment = index.github_environment()
    run = publish(release / "linux", index.upload_url, "--foreign", "cibw", environment=environment, cwd=release)
    assert run.status == 0, run.said
    assert len(index.files()) == 5
    assert len(read_manifest(release / "linux" / "gathered").foreign) == 2
    digest = read_manifest(release / "linux").digest
    again = publish(
        release / "linux", index.upload_url, "--foreign", "cibw", "--manifest-digest", digest, environment=environment,
        cwd=release,
    )  # fmt: skip
    assert again.status == 0, again.said
    assert "identical" in again.said


def of_another_version(folder: Path) -> None:
    shutil.rmtree(folder / "cibw")
    write_others(folder / "cibw", version="0.9")


def damaged(folder: Path) -> None:
    (wheel,) = (folder / "cibw").glob("*win_amd64.whl")
    wheel.write_bytes(wheel.read_bytes()[:-40])


def with_other_requirements(folder: Path) -> None:
    shutil.rmtree(folder / "cibw")
    more = METADATA.replace("License-Expression", "Requires-Dist: numpy\nLicense-Expression")
    write_others(folder / "cibw", metadata=more)


def with_code_for_linux(folder: Path) -> None:
    core = {"demo/__init__.py": b"", "demo/_core.cpython-312-x86_64-linux-gnu.so": SharedObject().to_bytes()}
    write_wheel(folder / "cibw", tags=MACOS, members=core)


def without_a_linux_wheel(folder: Path) -> None:
    next((folder / "linux").glob("*cp313*.whl")).unlink()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (of_another_version, "is of demo 0.9"),
        (damaged, "win_amd64.whl`: MW2"),
        (with_other_requirements, "it has `numpy`"),
        (with_code_for_linux, "is an ELF file, which macOS cannot load"),
        (without_a_linux_wheel, "of the manifest is missing"),
    ],
)
def test_what_does_not_belong_to_it_is_refused_by_name(
    spoil: Callable[[Path], None], told: str, tmp_path: Path
) -> None:
    release = write_release(tmp_path / "release-1")
    spoil(release)
    status, _, err = gather(release)
    assert status == 3
    assert told in err
    assert not (release / "release" / "manywheels.json").exists()


def test_what_changed_after_it_was_gathered_is_refused_by_name(index: LocalIndex, tmp_path: Path) -> None:
    release = write_release(tmp_path / "release-1")
    assert gather(release)[0] == 0
    write_sdist(release / "release", metadata=METADATA + "\nAnother description.\n")
    run = publish(release / "release", index.upload_url, environment=index.github_environment())
    assert run.status == 4
    assert "demo-1.0.tar.gz has the sha256" in run.err
    assert index.files() == {}


def test_the_release_before_is_left_in_the_folder(index: LocalIndex, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    write_set(dist, "cp312", version="0.9")
    write_sdist(dist, version="0.9")
    write_set(dist, "cp312", version="1.0")
    run = publish(dist, index.upload_url, environment=index.github_environment())
    assert run.status == 0, run.said
    assert "left in the folder, as they are of other releases" in run.out
    assert all("-1.0-" in name for name in index.files())


def test_publish_does_with_what_lies_beside_the_set_what_is_said_after_a_build(
    index: LocalIndex, tmp_path: Path
) -> None:
    dist = tmp_path / "dist"
    write_set(dist, "cp312")
    sdist, old = write_sdist(dist), write_sdist(dist, version="0.9")
    run = publish(dist, index.upload_url, "--dry-run", environment=index.github_environment())
    assert run.status == 0, run.said
    assert f"{sdist.name} ({text.size(sdist.stat().st_size)}): will be uploaded" in run.out
    stray = write_wheel(dist, tags=f"cp313-cp313-{PLATFORM}")
    found = beside(read_manifest(dist), dist)
    assert found == Beside(sent=(sdist,), refused=(stray,), left=(old,))
    run = publish(dist, index.upload_url, "--dry-run", environment=index.github_environment())
    assert run.status == 4
    files = dict(line.strip().partition(" (")[::2] for line in run.out.splitlines() if "kB): " in line)
    assert files[stray.name].endswith("): refused, for what is said below")
    assert files[sdist.name].endswith("): would be uploaded")
    assert old.name not in files
    assert f"other releases: `{old.name}`" in run.out
    assert f"{stray.name} is not in the manifest\n  │     Build it with the others of this release" in run.err
    assert "--foreign" not in run.err


def test_what_differs_from_the_release_before_is_said(index: LocalIndex, tmp_path: Path) -> None:
    first, second = write_release(tmp_path / "first"), tmp_path / "second"
    assert gather(first)[0] == 0
    assert publish(first / "release", index.upload_url, environment=index.github_environment()).status == 0
    more = METADATA.replace("License-Expression", "Requires-Dist: numpy>=2\nLicense-Expression")
    write_set(second, "cp312", "cp314", version="1.1", metadata=more)
    summary = tmp_path / "summary.md"
    environment = index.github_environment() | {"GITHUB_STEP_SUMMARY": str(summary)}
    run = publish(second, index.upload_url, "--dry-run", environment=environment)
    assert run.status == 0, run.said
    told = run.out[run.out.index("beside 1.0, which is on the index:") :].splitlines()
    changes = [line.strip().partition(" (")[0] for line in told if line.startswith("  ")]
    assert {"gone: cp313 manylinux x86_64", "new: cp314 manylinux x86_64", "gone: sdist"} <= set(changes)
    assert {"gone: cp312 macosx arm64", "gone: cp312 win amd64", "new dependency: numpy>=2"} <= set(changes)
    assert summary.read_text().startswith("### Beside 1&#46;0, which is on the index")


def test_a_first_release_is_compared_with_nothing(index: LocalIndex, tmp_path: Path) -> None:
    write_set(tmp_path / "dist", "cp312")
    run = publish(tmp_path / "dist", index.upload_url, "--dry-run", environment=index.github_environment())
    assert run.status == 0, run.said
    assert "which is on the index" not in run.out
