"""The cache of GitHub's workflows with GitHub's own client, @actions/cache: it proves the fake service, and ours."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers.npm import npm_packages
from manywheels.core.cancellation import Cancellation
from manywheels.deliver.actions_cache import ActionsCache, Kept, cache_version, open_cache
from unit.cacheservice import DENIED, FakeCache
from unit.resultsservice import always, answer, serving

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed"),
    pytest.mark.xdist_group("actions-cache"),
]
NAME = "objects.db"
CONTENT = os.urandom(3 << 20)
COMPRESSION = "zstd-without-long" if shutil.which("zstd") else "gzip"  # as their client decides
VERSION = cache_version([NAME], COMPRESSION)


@pytest.fixture
def fake() -> Iterator[FakeCache]:
    with serving(FakeCache()) as service:
        yield service


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A job's workspace, with the file."""
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / NAME).write_bytes(CONTENT)
    return tmp_path / "workspace"


def ours(fake: FakeCache) -> ActionsCache:
    cache = open_cache(fake.environment, Cancellation(), print)
    assert isinstance(cache, ActionsCache)
    return cache


def official_client(fake: FakeCache, workspace: Path, *arguments: str) -> str:
    """Run GitHub's own client as in a job; return what it prints, whose last line is its result."""
    script = npm_packages() / "cache.mjs"
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    job = {"ACTIONS_CACHE_SERVICE_V2": "true", "GITHUB_WORKSPACE": str(workspace), "RUNNER_TEMP": str(workspace.parent)}
    done = subprocess.run(
        ["node", script, *arguments], cwd=workspace, env={**keep, **fake.environment, **job},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout.rstrip()


def result(printed: str) -> str:
    return printed.rpartition("\n")[2]


def test_githubs_own_client_restores_what_it_saved(fake: FakeCache, workspace: Path) -> None:
    assert result(official_client(fake, workspace, "restore", NAME, "key-2", "key-")) == "undefined"
    assert result(official_client(fake, workspace, "save", NAME, "key-1")) == "1"
    (workspace / NAME).unlink()
    assert result(official_client(fake, workspace, "restore", NAME, "key-2", "key-")) == "key-1"
    assert (workspace / NAME).read_bytes() == CONTENT
    assert {entry.version for entry in fake.entries} == {VERSION}, "our formula is theirs"


def test_it_understands_how_the_fake_refuses(fake: FakeCache, workspace: Path) -> None:
    fake.keep("key", VERSION, b"")
    assert "Unable to reserve cache" in official_client(fake, workspace, "save", NAME, "key")
    fake.scripts["CreateCacheEntry"] = always(DENIED)
    # The client's own check for a denial knows only the service's other form.
    assert "Failed to save: Unable to reserve cache" in official_client(fake, workspace, "save", NAME, "other")
    fake.scripts["CreateCacheEntry"] = always(answer(200, {"ok": False, "message": "cache write denied: no scope"}))
    assert "More details: cache write denied: no scope" in official_client(fake, workspace, "save", NAME, "other")
    assert len(fake.entries) == 1


def test_we_restore_the_bytes_that_it_saved(fake: FakeCache, workspace: Path, tmp_path: Path) -> None:
    official_client(fake, workspace, "save", NAME, "theirs-1")
    restored = ours(fake).restore("theirs-2", ["theirs-"], VERSION, tmp_path / "taken")
    (entry,) = fake.entries
    assert restored == Kept(key="theirs-1", size=len(entry.content))
    assert (tmp_path / "taken").read_bytes() == entry.content


def test_it_restores_an_archive_that_we_save(fake: FakeCache, workspace: Path, tmp_path: Path) -> None:
    official_client(fake, workspace, "save", NAME, "theirs")
    archive = tmp_path / "archive"
    archive.write_bytes(fake.entries.pop().content)
    saved = ours(fake).save("ours", VERSION, archive)
    assert saved == Kept(key="ours", size=archive.stat().st_size)
    (workspace / NAME).unlink()
    assert result(official_client(fake, workspace, "restore", NAME, "ours")) == "ours"
    assert (workspace / NAME).read_bytes() == CONTENT


def test_our_requests_have_the_fields_of_its(fake: FakeCache, workspace: Path) -> None:
    ours(fake).save("ours", VERSION, workspace / NAME)
    ours(fake).restore("none", ["ours"], VERSION, workspace / NAME)
    own = {method: set(request) for method, request in fake.asked if method not in {"PUT", "GET"}}
    fake.asked.clear()
    official_client(fake, workspace, "save", NAME, "theirs")
    official_client(fake, workspace, "restore", NAME, "none", "theirs")
    assert {method: set(request) for method, request in fake.asked if method not in {"PUT", "GET"}} == own
    assert len(own) == 3
