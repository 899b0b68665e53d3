"""Hostile checkouts: what a `.git` holds leads root nowhere, runs nothing, and leaves no credentials in a copy."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from manywheels.core.cancellation import Cancellation
from manywheels.errors import Cancelled, ProjectError
from manywheels.plan.project import read_project
from manywheels.runtime import git_commands
from manywheels.runtime.git import linked_repository, share_objects
from manywheels.runtime.gitconfig import OF_A_COPY
from manywheels.runtime.workspace import copy_source, take_snapshot
from unit.helpers import nest, write_project
from unit.runtime.test_workspace import _quiet_git, git, put, repository, snapshot_of  # noqa: F401 - a fixture for all

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has more rights than project code")
LIMIT = 120.0  # seconds; what must not hang ends in far less


def beside_a_package(top: Path) -> Path:
    """Make a repository with the package in a folder of it, so that git is asked what lies beside."""
    write_project(top / "python")
    put(top / "beside.txt")
    return repository(top)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return beside_a_package(tmp_path / "top")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A folder outside of the checkout, with what root alone may read."""
    folder = put(tmp_path / "outside" / "secret", "SECRET").parent
    (folder / "secret").chmod(0o600)
    folder.chmod(0o700)
    return folder


def everything(folder: Path) -> str:
    """All that can be read in a copy: names, links and contents."""
    return "\n".join(
        f"{path} {path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else b''!r}"
        for path in folder.rglob("*")
    )


# --- what leads elsewhere ---------------------------------------------------------------------------------------------


def to_a_repository(project: Path, secret: Path) -> None:
    """A private repository that another step has checked out beside."""
    put(project / ".git", f"gitdir: {repository(secret) / '.git'}\n")


def to_any_folder(project: Path, secret: Path) -> None:
    put(project / ".git", f"gitdir: {secret}\n")


def by_commondir(project: Path, secret: Path) -> None:
    put(project / ".git", "gitdir: own\n")
    put(project / "own" / "HEAD", "ref: refs/heads/main\n")
    put(project / "own" / "commondir", f"{secret}\n")


def by_the_name_of_worktrees(project: Path, secret: Path) -> None:
    repository(secret)
    put(project / ".git", "gitdir: worktrees/a\n")
    put(project / "worktrees" / "a" / "commondir", f"{secret}/.git\n")
    put(project / "worktrees" / "a" / "HEAD", "ref: refs/heads/main\n")


def by_a_link(project: Path, secret: Path) -> None:
    (project / ".git").symlink_to(repository(secret) / ".git")


def by_a_link_on_the_way(project: Path, secret: Path) -> None:
    repository(secret)
    (project / "way").symlink_to(secret)
    put(project / ".git", "gitdir: way/.git\n")


WAYS_OUT = [to_a_repository, to_any_folder, by_commondir, by_the_name_of_worktrees, by_a_link, by_a_link_on_the_way]


@pytest.mark.parametrize("lead", WAYS_OUT)
def test_a_git_file_leads_nowhere_but_to_the_checkouts_own(
    tmp_path: Path, secret: Path, lead: Callable[[Path, Path], None]
) -> None:
    project = write_project(tmp_path / "demo")
    lead(project, secret)
    mode, content = stat.S_IMODE(secret.stat().st_mode), everything(secret)
    elsewhere = linked_repository(project)
    assert elsewhere is None or elsewhere.is_relative_to(project)  # what a container would get to see
    snapshot = snapshot_of(project, tmp_path / "work")
    share_objects(snapshot.root)
    copy = copy_source(snapshot, tmp_path / "target", Cancellation())
    copied = [path for path in copy.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in copied if "SECRET" in path.read_text() or "objects" in path.parts]
    assert (stat.S_IMODE(secret.stat().st_mode), everything(secret)) == (mode, content)


def test_a_copy_without_its_history_says_so(tmp_path: Path, secret: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = write_project(tmp_path / "demo")
    to_a_repository(project, secret)
    snapshot_of(project, tmp_path / "work")
    assert f"note: `{project}/.git` names no repository that refers back to it" in capsys.readouterr().err


def objects_elsewhere(repository: Path, secret: Path) -> None:
    shutil.rmtree(repository / "objects")
    (repository / "objects").symlink_to(secret)


def a_part_of_the_objects_elsewhere(repository: Path, secret: Path) -> None:
    (repository / "objects" / "ab").symlink_to(secret)


def an_object_elsewhere(repository: Path, secret: Path) -> None:
    (repository / "objects" / "ac").mkdir()
    (repository / "objects" / "ac" / ("0" * 38)).symlink_to(secret / "secret")


def info_elsewhere(repository: Path, secret: Path) -> None:
    shutil.rmtree(repository / "info")
    (repository / "info").symlink_to(secret)
    (secret / "secret").rename(secret / "exclude")


def refs_elsewhere(repository: Path, secret: Path) -> None:
    (repository / "refs" / "remotes").symlink_to(secret)


def configuration_elsewhere(repository: Path, secret: Path) -> None:
    (secret / "secret").write_text("[user]\n\tname = SECRET\n")
    (repository / "config").unlink()
    (repository / "config").symlink_to(secret / "secret")


def modules_elsewhere(repository: Path, secret: Path) -> None:
    shutil.copytree(repository, secret / "a")
    (repository / "modules").symlink_to(secret)


LINKS = [objects_elsewhere, a_part_of_the_objects_elsewhere, an_object_elsewhere, info_elsewhere, refs_elsewhere,
         configuration_elsewhere, modules_elsewhere]  # fmt: skip


@pytest.mark.parametrize("link", LINKS)
def test_links_in_a_repository_are_not_followed(
    tmp_path: Path, secret: Path, link: Callable[[Path, Path], None]
) -> None:
    project = repository(write_project(tmp_path / "demo"))
    link(project / ".git", secret)
    modes = {path: path.stat().st_mode for path in (secret, *secret.rglob("*"))}
    snapshot = snapshot_of(project, tmp_path / "work")
    share_objects(snapshot.root)
    copy = copy_source(snapshot, tmp_path / "target", Cancellation())
    assert "SECRET" not in everything(copy)
    assert not [path for path in (copy / ".git").rglob("*") if path.is_symlink()]
    assert {path: path.stat().st_mode for path in modes} == modes  # nobody was let in


def test_alternates_are_named_and_neither_copied_nor_opened(tmp_path: Path, secret: Path) -> None:
    project = repository(write_project(tmp_path / "demo"))
    put(project / ".git/objects/info/alternates", f"{secret}\n../../../outside\n")
    snapshot = snapshot_of(project, tmp_path / "work")
    share_objects(snapshot.root)
    copy = copy_source(snapshot, tmp_path / "target", Cancellation())
    assert "SECRET" not in everything(copy)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o700
    own = f"{snapshot.root}/.git/objects"
    assert (copy / ".git/objects/info/alternates").read_text() == f"{own}\n{secret}\n{secret}\n"


def test_a_tracked_folder_that_became_a_link_is_not_followed(tmp_path: Path, top: Path, secret: Path) -> None:
    """The index is not the checkout: it may name a file below what is a link by now."""
    put(top / "vendor" / "secret")
    git(top, "add", "-A")
    shutil.rmtree(top / "vendor")
    (top / "vendor").symlink_to(secret)
    copy = snapshot_of(top / "python", tmp_path / "work").root
    assert (secret / "secret").read_text() == "SECRET"  # the copy has the same link by then, and led root back to it
    assert "SECRET" not in everything(copy)
    assert (copy / "beside.txt").exists()


def test_a_tracked_file_lies_as_deep_as_paths_can_be(deep_folder: Path) -> None:
    top = beside_a_package(deep_folder / "top")
    deep = "d/" * 1100
    entry = git(top, "hash-object", "-w", "beside.txt").strip()
    git(top, "update-index", "--add", "--cacheinfo", f"100644,{entry},{deep}file")
    nest(top / "d", 1099)
    copy = snapshot_of(top / "python", deep_folder / "work").root
    assert (copy / deep / "file").exists()


@as_root
@pytest.mark.parametrize("package", ["python", "link/below", "link/../outside"])
def test_the_package_folder_cannot_lead_out_of_the_checkout(tmp_path: Path, secret: Path, package: str) -> None:
    """The workflow names the folder; a pull request can make it a link."""
    write_project(secret)
    write_project(secret / "below")
    project = repository(write_project(tmp_path / "top"))
    for name in ("python", "link"):
        (project / name).symlink_to(secret)
    with pytest.raises(ProjectError, match="is a symbolic link that leads out of the checkout"):
        snapshot_of(project / package, tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_a_link_inside_the_checkout_leads_to_the_package(tmp_path: Path, top: Path) -> None:
    (top / "current").symlink_to("python")
    assert snapshot_of(top / "current", tmp_path / "work").package == Path("python")


# --- what hangs -------------------------------------------------------------------------------------------------------


def ends(work: Callable[[], object]) -> bool:
    """Whether some work ends within the limit; an error that it raises is an end."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(LIMIT)
    return not thread.is_alive()


@pytest.mark.parametrize(
    "place",
    [".git/config", ".git/info/exclude", ".git/HEAD", ".git/index", "python/pyproject.toml", "python/pyvenv.cfg"],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fifo_stops_nothing(tmp_path: Path, top: Path, place: str) -> None:
    (top / place).unlink(missing_ok=True)
    os.mkfifo(top / place)
    assert ends(lambda: snapshot_of(top / "python", tmp_path / "work"))


def test_a_gitignore_that_never_ends_is_named(tmp_path: Path, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(top / ".gitignore")
    monkeypatch.setattr(git_commands, "_LIST_TIMEOUT", 0.5)
    with pytest.raises(ProjectError, match=r"git does not finish listing the files") as caught:
        snapshot_of(top / "python", tmp_path / "work")
    assert ".gitignore" in caught.value.remedy


def test_listing_files_hears_the_cancellation(tmp_path: Path, top: Path) -> None:
    os.mkfifo(top / ".gitignore")
    cancellation = Cancellation()
    caught: list[BaseException] = []

    def work() -> None:
        try:
            take_snapshot(read_project(top / "python"), tmp_path / "work", cancellation)
        except Cancelled as error:
            caught.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while not _is_listing(top):
        time.sleep(0.01)
    cancellation.request()
    thread.join(LIMIT)
    assert caught


def _is_listing(top: Path) -> bool:
    """Whether a git of ours is at work in that checkout."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] == b"git" and os.fsencode(f"--work-tree={top}") in words:
            return True
    return False


# --- what runs --------------------------------------------------------------------------------------------------------


def program(path: Path) -> Path:
    path.write_text(f"#!/bin/sh\nenv > {path}.was-here\ncat\n")
    path.chmod(0o755)
    return path


def test_nothing_of_the_repositorys_choice_is_run(tmp_path: Path, top: Path) -> None:
    """Neither when git is run as root, nor by a git that root's `before-all` runs in the snapshot."""
    spy = program(tmp_path / "spy")
    put(top / ".gitattributes", "* filter=evil diff=evil\n")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "attributes")
    for key in ("core.fsmonitor", "core.sshCommand", "core.pager", "core.editor", "filter.evil.clean", "core.gitProxy",
                "filter.evil.process", "diff.evil.textconv", "core.alternateRefsCommand", "alias.st"):  # fmt: skip
        git(top, "config", key, f"!{spy}" if key.startswith("alias") else str(spy))
    put(top / ".git" / "more", f"[core]\n\tfsmonitor = {spy}\n")
    git(top, "config", "include.path", "more")
    git(top, "config", "core.hooksPath", str(tmp_path))
    for hook in ("post-index-change", "pre-commit", "post-checkout"):
        shutil.copy(spy, top / ".git" / "hooks" / hook)
    (tmp_path / "spy.was-here").unlink(missing_ok=True)
    snapshot = snapshot_of(top / "python", tmp_path / "work")
    put(snapshot.root / "beside.txt", "changed")
    git(snapshot.root, "status", "--porcelain")
    git(snapshot.root, "diff")
    git(snapshot.root, "commit", "-qam", "by before-all")
    assert not list(tmp_path.rglob("*.was-here"))
    assert (snapshot.root / "beside.txt").exists()


def test_a_repository_of_plain_files_is_not_taken_for_one(tmp_path: Path, top: Path) -> None:
    """git takes a folder with these files for a bare repository, and a pull request can track them."""
    spy = program(tmp_path / "spy")
    write_project(top / "evil")
    put(top / "evil" / "HEAD", "ref: refs/heads/main\n")
    put(top / "evil" / "config", f"[core]\n\tbare = false\n\tworktree = .\n\tfsmonitor = {spy}\n")
    for name in ("objects", "refs"):
        put(top / "evil" / name / "keep")
    git(top, "add", "-A")
    snapshot = snapshot_of(top / "evil", tmp_path / "work")
    assert not list(tmp_path.rglob("*.was-here"))
    assert (snapshot.root / "beside.txt").exists()


# --- credentials ------------------------------------------------------------------------------------------------------

HEADER = '[core]\n\tbare = false\n[http "https://git.example/"]\n\textraheader = basic SECRET\n'
ADDRESS = "https://x-access-token:SECRET@git.example/demo"
PLACES = {
    ".git/config": HEADER,
    ".git/config.worktree": HEADER,
    ".git/modules/a/config": HEADER,
    ".git/modules/a/modules/b c/config": HEADER,
    ".git/modules/with/slash/config": HEADER,
    ".git/worktrees/w/config.worktree": HEADER,
    "below/.git/config": HEADER,
    ".git/credentials": ADDRESS,
    ".git/included": HEADER,
    ".git/logs/HEAD": f"0 1 A <a@example.invalid> 0 +0000\tclone: from {ADDRESS}\n",
    ".git/modules/a/logs/HEAD": f"clone: from {ADDRESS}\n",
    ".git/FETCH_HEAD": f"0\t\tbranch 'main' of {ADDRESS}\n",
    ".git/ORIG_HEAD": "SECRET",
    ".git/hooks/post-commit": "curl SECRET",
    ".git/info/credentials": ADDRESS,
    ".git/objects/credentials": ADDRESS,
    ".git/objects/info/http-alternates": ADDRESS,
    ".git/modules/credentials": ADDRESS,
    ".git/remotes/origin": f"URL: {ADDRESS}",
    ".git/branches/origin": ADDRESS,
    ".netrc": "machine git.example login x password SECRET",
    ".git-credentials": ADDRESS,
    ".pypirc": "password = SECRET",
    "gha-creds-0123456789abcdef.json": "SECRET",
}


def test_no_credentials_come_along_wherever_they_are(tmp_path: Path) -> None:
    project = repository(write_project(tmp_path / "demo"))
    repository(write_project(project / "below"))
    for module in ("a", "a/modules/b c", "with/slash"):
        shutil.copytree(project / "below" / ".git", project / ".git" / "modules" / module)
    for place, content in PLACES.items():
        put(project / place, content)
    snapshot = snapshot_of(project, tmp_path / "work")
    found = [path for path in snapshot.root.rglob("*") if path.is_file() and b"SECRET" in path.read_bytes()]
    assert found == []
    for place in (".git", ".git/modules/a", ".git/modules/a/modules/b c", ".git/modules/with/slash", "below/.git"):
        assert (snapshot.root / place / "config").read_text() == f"[core]\n\tbare = false\n{OF_A_COPY}"
        assert git(snapshot.root / place, "--git-dir=.", "describe", "--tags").strip() == "v1.0"
    assert "SECRET" in (project / ".git/config").read_text()  # the original is left alone


@pytest.mark.parametrize("size", [1 << 40])
def test_a_configuration_without_end_is_none(tmp_path: Path, size: int) -> None:
    project = repository(write_project(tmp_path / "demo"))
    with (project / ".git/config").open("r+") as file:
        file.truncate(size)
    snapshot = snapshot_of(project, tmp_path / "work")
    assert (snapshot.root / ".git/config").read_text() == OF_A_COPY
    assert git(snapshot.root, "describe", "--tags").strip() == "v1.0"


# --- what builds need -------------------------------------------------------------------------------------------------


def test_every_tool_finds_the_version_in_a_copy(tmp_path: Path) -> None:
    project = repository(write_project(tmp_path / "demo"))
    copy = copy_source(snapshot_of(project, tmp_path / "work"), tmp_path / "target", Cancellation())
    assert git(copy, "describe", "--dirty", "--tags", "--long", "--match", "*[0-9]*").startswith("v1.0-0-g")
    assert git(copy, "status", "--porcelain", "--untracked-files=no") == ""
    assert git(copy, "ls-files") == "pyproject.toml\n"
    assert git(copy, "rev-parse", "--abbrev-ref", "HEAD") == "main\n"
    assert git(copy, "log", "-n", "1", "--format=%s") == "first\n"
    git(copy, "archive", "--output", str(tmp_path / "archive.tar"), "HEAD")
    with tarfile.open(tmp_path / "archive.tar") as archive:
        assert archive.getnames() == ["pyproject.toml"]


def test_a_sha256_repository_stays_one(tmp_path: Path) -> None:
    project = write_project(tmp_path / "demo")
    git(project, "-c", "init.defaultBranch=main", "init", "-q", "--object-format=sha256")
    repository(project)
    copy = copy_source(snapshot_of(project, tmp_path / "work"), tmp_path / "target", Cancellation())
    assert git(copy, "describe", "--tags").strip() == "v1.0"
    assert len(git(copy, "rev-parse", "HEAD").strip()) == 64


def test_a_shallow_clone_stays_one(tmp_path: Path) -> None:
    origin = repository(write_project(tmp_path / "origin"))
    git(origin, "commit", "-q", "--allow-empty", "-m", "second")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{origin}", "demo")
    copy = copy_source(snapshot_of(tmp_path / "demo", tmp_path / "work"), tmp_path / "target", Cancellation())
    assert git(copy, "log", "--format=%s") == "second\n"
    assert git(copy, "rev-parse", "--is-shallow-repository") == "true\n"


@pytest.mark.parametrize("how", ["sparse-checkout", "split index", "untracked cache", "packed"])
def test_a_copy_of_a_checkout_with_a_special_index_is_clean(tmp_path: Path, how: str) -> None:
    top = tmp_path / "top"
    write_project(top / "python")
    put(top / "beside.txt")
    put(top / "elsewhere" / "left-out.c")
    repository(top)
    match how:
        case "sparse-checkout":
            git(top, "sparse-checkout", "set", "--cone", "--sparse-index", "python")
        case "split index":
            git(top, "update-index", "--split-index")
        case "untracked cache":
            git(top, "update-index", "--untracked-cache")
        case "packed":
            git(top, "gc", "-q")
            git(top, "repack", "-q", "-a", "-d", "--write-midx", "--write-bitmap-index")
            git(top, "commit-graph", "write", "--reachable", "--split")
    copy = copy_source(snapshot_of(top / "python", tmp_path / "work"), tmp_path / "target", Cancellation())
    assert (copy / "../beside.txt").exists()
    assert git(copy, "describe", "--tags", "--dirty").strip() == "v1.0"
    assert git(copy, "status", "--porcelain") == ""
    assert git(copy, "fsck", "--full") == ""


def test_a_sparse_linked_worktree_is_clean(tmp_path: Path) -> None:
    main = repository(write_project(tmp_path / "demo", **{"left-out.c": "int x;"}))
    put(main / "folder" / "also-left-out.c")
    git(main, "add", "-A")
    git(main, "commit", "-qm", "second")
    git(main, "worktree", "add", "-q", "-b", "feature", str(tmp_path / "tree"))
    git(tmp_path / "tree", "sparse-checkout", "set", "--no-cone", "/pyproject.toml")
    assert not (tmp_path / "tree" / "folder").exists()
    copy = copy_source(snapshot_of(tmp_path / "tree", tmp_path / "work"), tmp_path / "target", Cancellation())
    assert git(copy, "status", "--porcelain") == ""
    assert git(copy, "sparse-checkout", "list") == "/pyproject.toml\n"


def test_a_submodule_inside_the_project_stays_a_checkout(tmp_path: Path) -> None:
    origin = repository(write_project(tmp_path / "origin"))
    project = write_project(tmp_path / "demo")
    git(project, "-c", "init.defaultBranch=main", "init", "-q")
    git(project, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(origin), "vendor/lib")
    repository(project)
    copy = copy_source(snapshot_of(project, tmp_path / "work"), tmp_path / "target", Cancellation())
    assert git(copy / "vendor/lib", "describe", "--tags").strip() == "v1.0"
    assert git(copy / "vendor/lib", "rev-parse", "--show-toplevel").strip() == str(copy / "vendor/lib")
    assert git(copy, "status", "--porcelain") == ""
    assert git(copy, "submodule", "status").split()[1] == "vendor/lib"


# --- sdists -----------------------------------------------------------------------------------------------------------


def sdist(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            archive.addfile(member)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(f"demo-1.0/{name}")
    info.type, info.linkname, info.mode = kind, link, 0o755
    return info


def test_a_repository_in_an_sdist_stays_behind(tmp_path: Path) -> None:
    package = repository(write_project(tmp_path / "demo-1.0"))
    for ending, kind in {"tar.gz": "gztar", "zip": "zip"}.items():
        made = shutil.make_archive(str(tmp_path / "demo-1.0"), kind, tmp_path, package.name)
        root = snapshot_of(Path(made), tmp_path / f"work-{ending}").root
        assert [path.name for path in root.iterdir()] == ["pyproject.toml"]


@pytest.mark.parametrize(
    "members",
    [
        [member("a", tarfile.SYMTYPE, "b"), member("b", tarfile.DIRTYPE), member("a/x")],
        [member("a", tarfile.SYMTYPE, "b"), member("a")],
        [member("a", tarfile.SYMTYPE, "b"), member("c", tarfile.LNKTYPE, "demo-1.0/a"), member("c")],
        [member("a", tarfile.SYMTYPE, "b"), member("./a/../a/x")],
        [member(".git/a", tarfile.SYMTYPE, "/etc"), member("c", tarfile.LNKTYPE, "demo-1.0/.git/a"), member("c/x")],
    ],
    ids=["below a link", "in place of a link", "hard link to a link", "by another name", "by a link left behind"],
)
def test_nothing_in_an_sdist_is_written_through_its_links(tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    path = sdist(tmp_path / "demo-1.0.tar.gz", member("setup.py"), *members)
    with pytest.raises(ProjectError, match="is written through a link"):
        snapshot_of(path, tmp_path / "work")


def test_an_sdist_that_leads_pythons_own_filter_astray(tmp_path: Path) -> None:
    """CVE-2025-4517: beyond PATH_MAX, `realpath` gives up, and the filter compares what it has got so far."""
    folder, steps = "d" * 247, "abcdefghijklmnop"
    members, path = [], ""
    for step in steps:
        members += [member(f"{path}{folder}", tarfile.DIRTYPE), member(f"{path}{step}", tarfile.SYMTYPE, folder)]
        path += f"{folder}/"
    way = "/".join(steps)
    members += [
        member(f"{way}/{'l' * 254}", tarfile.SYMTYPE, "../" * len(steps)),
        member("escape", tarfile.SYMTYPE, f"{way}/{'l' * 254}/../../outside"),
        member("escape/written"),
    ]
    (tmp_path / "outside").mkdir()
    made = sdist(tmp_path / "demo-1.0.tar.gz", member("setup.py"), *members)
    with suppress(ProjectError):
        snapshot_of(made, tmp_path / "work")
    assert not list((tmp_path / "outside").iterdir())


def test_an_sdist_cannot_grow_without_bound(tmp_path: Path) -> None:
    """1.5 KB that become a file of 1 TiB, by holes."""
    sparse = member("sparse")
    content = b"1\n0\n3\n".ljust(512, b"\0") + b"abc"
    sparse.size, sparse.pax_headers = len(content), {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 40),
        "GNU.sparse.name": "demo-1.0/sparse",
    }  # fmt: skip
    with tarfile.open(tmp_path / "demo-1.0.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member("setup.py"))
        archive.addfile(sparse, io.BytesIO(content))
    with pytest.raises(ProjectError, match="it holds more than 4 GiB"):
        snapshot_of(tmp_path / "demo-1.0.tar.gz", tmp_path / "work")


@pytest.mark.parametrize(("name", "expected"), [("a", True), ("../outside", False), ("b/../../outside", False)])
def test_names_of_an_index_that_lead_out_are_not_followed(tmp_path: Path, name: str, *, expected: bool) -> None:
    top = tmp_path / "top"
    top.mkdir()
    (top / "a").touch()
    (tmp_path / "outside").touch()
    assert git_commands.is_in(top, name) is expected
    assert not git_commands.is_in(top, str(tmp_path / "outside"))
