"""What a project declares, read without running it; and what is said of one that cannot be read."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from manywheels.core.cancellation import Cancellation
from manywheels.core.files import digest_file
from manywheels.errors import ProjectError
from manywheels.plan.project import digest_source, extract_sdist, read_project

PYPROJECT = b"""\
[build-system]
requires = ["scikit-build-core"]
build-backend = "scikit_build_core.build"
[project]
name = "demo"
version = "1.2.3"
requires-python = ">=3.9"
[tool.manywheels]
skip = "cp39"
"""


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def tar(path: Path, members: Mapping[str, bytes], *, links: Mapping[str, str] | None = None) -> Path:
    make: Callable[..., tarfile.TarFile] = tarfile.open
    kinds = {"tgz": "gz", "tbz": "bz2", "txz": "xz", "tar": ""}
    kind = path.name.rpartition(".")[2]
    with make(path, f"w:{kinds.get(kind, kind)}") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, place in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, place
            archive.addfile(info)
    return path


def zipped(path: Path, members: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_pyproject(tmp_path: Path) -> None:
    project = read_project(write(tmp_path, {"pyproject.toml": PYPROJECT}))
    assert (project.name, project.version, project.title) == ("demo", "1.2.3", "demo")
    assert project.requires_python == SpecifierSet(">=3.9")
    assert project.build_backend == "scikit_build_core.build"
    assert project.settings == {"skip": "cp39"}
    assert not project.is_sdist


@pytest.mark.parametrize(
    ("files", "name", "version", "requires"),
    [
        ({"setup.py": b"from setuptools import setup\nsetup(name='a', version='1')\n"}, "a", "1", None),
        ({"setup.py": b"import setuptools\nsetuptools.setup(name='a', python_requires='>=3.8')\n"}, "a", None, ">=3.8"),
        ({"setup.py": b"from setuptools import setup\nsetup(name=NAME, version=read())\n"}, None, None, None),
        ({"setup.py": b"from setuptools import setup\nsetup(name='a', python_requires=None)\n"}, "a", None, None),
        ({"setup.py": b"this is ( no python"}, None, None, None),
        ({"setup.cfg": b"[metadata]\nname = a\nversion = 1\n[options]\npython_requires = >=3.8\n"}, "a", "1", ">=3.8"),
        ({"setup.cfg": b"[metadata]\nname = a\nversion = attr: a.__version__\n"}, "a", None, None),
        ({"setup.cfg": b"[metadata]\nname = a\nversion = file: VERSION\n"}, "a", None, None),
        ({"setup.cfg": b"no section\n"}, None, None, None),
        ({"setup.cfg": b"[metadata]\nname = a\n", "setup.py": b"setup(name='b')"}, "b", None, None),
        ({"pyproject.toml": b"[project]\nname = 'a'\ndynamic = ['version']\n"}, "a", None, None),
        ({"pyproject.toml": b"[project]\nname = 'a'\n", "setup.py": b"setup(name='b', version='2')"}, "a", "2", None),
        ({"pyproject.toml": b""}, None, None, None),
    ],
)
def test_declarations(
    tmp_path: Path, files: dict[str, bytes], name: str | None, version: str | None, requires: str | None
) -> None:
    project = read_project(write(tmp_path / "checkout", files))
    assert (project.name, project.version) == (name, version)
    assert project.requires_python == (SpecifierSet(requires) if requires else None)
    assert project.title == (name or "checkout")


def test_setup_py_means_setuptools(tmp_path: Path) -> None:
    assert read_project(write(tmp_path, {"setup.py": b""})).build_backend == "setuptools.build_meta:__legacy__"


def test_setup_py_is_not_run(tmp_path: Path) -> None:
    read_project(write(tmp_path, {"setup.py": b"raise SystemExit('run!')\nopen('ran', 'w')\n"}))
    assert [path.name for path in tmp_path.iterdir()] == ["setup.py"]


@pytest.mark.parametrize(
    ("files", "message", "remedy"),
    [
        ({"README": b""}, "no pyproject.toml and no setup.py", "`package-dir`"),
        ({"pyproject.toml": b"[project\nname"}, "not valid TOML", "Correct"),
        ({"pyproject.toml": b"[project]\nname = 'a'\nname = 'b'\n"}, "line 3", "Correct"),
        ({"pyproject.toml": b"\xff\xfe"}, "not valid TOML", "Correct"),
        ({"pyproject.toml": b"project = 'demo'\n"}, "`project` is not a table", "`[project]`"),
        ({"pyproject.toml": b"tool = 1\n"}, "`tool` is not a table", "`[tool]`"),
        ({"pyproject.toml": b"[tool]\nmanywheels = 1\n"}, "manywheels` is not a table", "`[tool.manywheels]`"),
        ({"pyproject.toml": b"[project]\nrequires-python = 'three'\n"}, "requires-python is `three`", '">=3.9"'),
        ({"pyproject.toml": b"[project]\nrequires-python = ['3']\n"}, "requires-python", '">=3.9"'),
    ],
)
def test_broken_projects(tmp_path: Path, files: dict[str, bytes], message: str, remedy: str) -> None:
    with pytest.raises(ProjectError) as caught:
        read_project(write(tmp_path, files))
    assert message in caught.value.message
    assert str(tmp_path) in caught.value.message
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "message", "remedy"),
    [
        ("absent", "There is no", "an sdist"),
        ("demo-1.0-py3-none-any.whl", "neither a folder nor an sdist", "manywheels verify"),
        ("notes.txt", "neither a folder nor an sdist", ".tar.gz"),
        ("demo-1.0.tar.gz", "cannot be read", "again"),
        ("demo-1.0.zip", "cannot be read", "again"),
        ("demo-1.0.tar.xz", "cannot be read", "again"),
    ],
)
def test_what_is_no_project(tmp_path: Path, name: str, message: str, remedy: str) -> None:
    if name != "absent":
        (tmp_path / name).write_bytes(b"neither an archive nor a wheel")
    with pytest.raises(ProjectError) as caught:
        read_project(tmp_path / name)
    assert message in caught.value.message
    assert str(tmp_path / name) in caught.value.message
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("ending", ["tar.gz", "tgz", "tar.bz2", "tbz", "tar.xz", "txz", "tar"])
def test_sdist_archives(tmp_path: Path, ending: str) -> None:
    members = {"demo-1.2.3/pyproject.toml": PYPROJECT, "demo-1.2.3/src/demo.c": b"int x;"}
    sdist = tar(tmp_path / f"demo-1.2.3.{ending}", members)
    project = read_project(sdist)
    assert (project.name, project.version, project.is_sdist, project.path) == ("demo", "1.2.3", True, sdist)
    top = extract_sdist(sdist, tmp_path / "out", Cancellation())
    assert top == tmp_path / "out" / "demo-1.2.3"
    assert (top / "src/demo.c").read_bytes() == b"int x;"


def test_sdist_as_zip(tmp_path: Path) -> None:
    sdist = zipped(tmp_path / "demo-1.2.3.zip", {"demo-1.2.3/pyproject.toml": PYPROJECT})
    assert read_project(sdist).name == "demo"
    assert (extract_sdist(sdist, tmp_path / "out", Cancellation()) / "pyproject.toml").read_bytes() == PYPROJECT


@pytest.mark.parametrize("make", [tar, zipped])
@pytest.mark.parametrize(
    "names",
    [("./demo-1.0/",), ("./", "./demo-1.0/"), ("demo-1.0//",), ("demo-1.0/./",), ("././demo-1.0/",),
     ("._demo-1.0", ".DS_Store", "__MACOSX/demo-1.0/._setup.py", "demo-1.0/")],
)  # fmt: skip
def test_an_sdist_with_odd_names_is_read(tmp_path: Path, make: Callable[..., Path], names: tuple[str, ...]) -> None:
    """As `tar czf demo-1.0.tar.gz ./demo-1.0` writes them, or the Finder of macOS."""
    files = dict.fromkeys(("pyproject.toml", "src/demo.c"), PYPROJECT)
    members = dict.fromkeys(names[:-1], b"") | {f"{names[-1]}{name}": content for name, content in files.items()}
    if make is tar:
        members.pop("./", None)
    sdist = make(tmp_path / f"demo-1.0.{'zip' if make is zipped else 'tar.gz'}", members)
    assert read_project(sdist).name == "demo"
    top = extract_sdist(sdist, tmp_path / "out", Cancellation())
    assert (top / "src/demo.c").read_bytes() == PYPROJECT


@pytest.mark.parametrize("words", [["./odd"], ["odd"], ["--format=pax", "./odd"], ["--format=v7", "./odd"]])
def test_an_archive_of_tar_is_an_sdist(tmp_path: Path, words: list[str]) -> None:
    """With folders as members, a hard link, and a top folder that is not called like the file."""
    source = write(tmp_path / "odd", {"pyproject.toml": PYPROJECT, "a.c": b"int a;"})
    (source / "b.c").hardlink_to(source / "a.c")
    subprocess.run(["tar", "-czf", "demo-1.0.tar.gz", *words], check=True, cwd=tmp_path)
    assert read_project(tmp_path / "demo-1.0.tar.gz").name == "demo"
    top = extract_sdist(tmp_path / "demo-1.0.tar.gz", tmp_path / "out", Cancellation())
    assert (top / "b.c").read_bytes() == b"int a;"


def test_what_git_archives_is_an_sdist(tmp_path: Path) -> None:
    """As GitHub's "Source code" does, with a global header and no PKG-INFO."""
    source = write(tmp_path / "repo", {"pyproject.toml": PYPROJECT})
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.invalid"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"],
                  ["archive", "--prefix=repo-1.0/", "-o", str(tmp_path / "v1.0.tar.gz"), "HEAD"]):  # fmt: skip
        subprocess.run([*git, *words], check=True, cwd=source)
    assert read_project(tmp_path / "v1.0.tar.gz").name == "demo"
    assert (extract_sdist(tmp_path / "v1.0.tar.gz", tmp_path / "out", Cancellation()) / "pyproject.toml").exists()


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({}, "0 top-level entries and not one folder: it is empty"),
        ({"a/x": b"", "b/x": b""}, "2 top-level entries and not one folder: `a`, `b`."),
        ({"./pyproject.toml": PYPROJECT, "./src/x": b""}, "entries and not one folder: `pyproject.toml`, `src`."),
        ({f"{name}/x": b"" for name in "abcd"}, "4 top-level entries and not one folder: `a`, `b`, `c`, …."),
    ],
)
def test_sdists_have_one_top_folder(tmp_path: Path, members: dict[str, bytes], named: str) -> None:
    with pytest.raises(ProjectError) as caught:
        read_project(tar(tmp_path / "demo-1.0.tar.gz", members))
    assert named in caught.value.message
    assert "uv build --sdist" in caught.value.remedy


@pytest.mark.parametrize("make", [tar, zipped])
@pytest.mark.parametrize("name", ["/demo-1.0/pyproject.toml", "../demo-1.0/pyproject.toml", "./../x"])
def test_members_outside_are_named(
    tmp_path: Path, make: Callable[[Path, Mapping[str, bytes]], Path], name: str
) -> None:
    sdist = make(tmp_path / f"demo-1.0.{'zip' if make is zipped else 'tar.gz'}", {name: PYPROJECT})
    with pytest.raises(ProjectError, match=re.escape(f"the member '{name}' leaves the archive's folder")):
        read_project(sdist)


def test_sdist_without_declaration(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"no pyproject\.toml"):
        read_project(tar(tmp_path / "demo-1.0.tar.gz", {"demo-1.0/README": b""}))


@pytest.mark.parametrize("name", ["demo-1.0.tar.gz", "demo-1.0.zip"])
def test_hostile_members_are_refused(tmp_path: Path, name: str) -> None:
    make = zipped if name.endswith(".zip") else tar
    sdist = make(tmp_path / name, {"demo-1.0/../../evil": b"", "demo-1.0/pyproject.toml": PYPROJECT})
    with pytest.raises(ProjectError, match=r"demo-1\.0.*cannot be read"):
        extract_sdist(sdist, tmp_path / "below" / "out", Cancellation())
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "below" / "evil").exists()


def test_links_that_leave_the_sdist_are_refused(tmp_path: Path) -> None:
    sdist = tar(tmp_path / "demo-1.0.tar.gz", {"demo-1.0/x": b""}, links={"demo-1.0/passwd": "/etc/passwd"})
    with pytest.raises(ProjectError, match="cannot be read"):
        extract_sdist(sdist, tmp_path / "out", Cancellation())


def test_a_python_whose_tarfile_has_no_filters_extracts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian 12's own, 3.11.2; it can build folders, and read what an sdist declares."""
    monkeypatch.delattr(tarfile, "data_filter")
    sdist = tar(tmp_path / "demo-1.2.3.tar.gz", {"demo-1.2.3/pyproject.toml": PYPROJECT})
    assert read_project(sdist).name == "demo"
    with pytest.raises(ProjectError, match=r"cannot extract .*demo-1\.2\.3\.tar\.gz") as caught:
        extract_sdist(sdist, tmp_path / "out", Cancellation())
    assert "3.11.4 or newer" in caught.value.remedy
    assert not (tmp_path / "out").exists()


def test_a_declaration_that_is_a_broken_link(tmp_path: Path) -> None:
    sdist = tar(tmp_path / "demo-1.0.tar.gz", {}, links={"demo-1.0/pyproject.toml": "absent.toml"})
    with pytest.raises(ProjectError):
        read_project(sdist)


def test_a_truncated_sdist(tmp_path: Path) -> None:
    sdist = tar(tmp_path / "demo-1.0.tar.gz", {"demo-1.0/pyproject.toml": PYPROJECT * 50})
    sdist.write_bytes(sdist.read_bytes()[:-30])
    with pytest.raises(ProjectError, match="cannot be read"):
        read_project(sdist)


@pytest.mark.parametrize("ending", ["tar.gz", "tar.bz2", "tar.xz", "zip"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_an_sdist_with_damaged_bytes(tmp_path: Path, ending: str, share: float) -> None:
    """Damage either does not show in the declaration, or is told as what it is."""
    content = PYPROJECT + b"".join(b"# %d %d\n" % (number, number**5) for number in range(500))
    path = tmp_path / f"demo-1.2.3.{ending}"
    sdist = (zipped if ending == "zip" else tar)(path, {"demo-1.2.3/pyproject.toml": content})
    if ending == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("demo-1.2.3/pyproject.toml", content)
    whole = bytearray(sdist.read_bytes())
    place = int(len(whole) * share)
    whole[place : place + 8] = bytes(byte ^ 0x5A for byte in whole[place : place + 8])
    sdist.write_bytes(whole)
    with pytest.raises(ProjectError):
        read_project(sdist)


def test_digests_follow_what_is_built(tmp_path: Path) -> None:
    source = write(tmp_path / "a", {"setup.py": b"x", "b.c": b"y"})
    first = digest_source(source, Cancellation())
    assert first.startswith("sha256:")
    assert len(first) == len("sha256:") + 64
    (source / ".git").mkdir()
    (source / ".git" / "HEAD").write_bytes(b"ref")
    assert digest_source(source, Cancellation()) == first
    copy = write(tmp_path / "other", {"b.c": b"y", "setup.py": b"x"})
    assert digest_source(copy, Cancellation()) == first


@pytest.mark.parametrize("change", ["content", "name", "mode", "added", "link", "folder link"])
def test_digests_change_with_the_source(tmp_path: Path, change: str) -> None:
    source = write(tmp_path / "a", {"setup.py": b"x", "b.c": b"y"})
    first = digest_source(source, Cancellation())
    match change:
        case "content":
            (source / "b.c").write_bytes(b"z")
        case "name":
            (source / "b.c").rename(source / "c.c")
        case "mode":
            (source / "b.c").chmod(0o755)
        case "added":
            (source / "empty").write_bytes(b"")
        case "link":
            (source / "link").symlink_to("absent")
        case "folder link":
            (source / "link").symlink_to("/", target_is_directory=True)
    assert digest_source(source, Cancellation()) != first


def test_digest_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert digest_file(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
