"""Prefetching: what is fetched with which settings, and how wheels of the store are linked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import pytest

from manywheels.build.stages import prefetch as module
from manywheels.build.stages import prefetch_worker
from manywheels.build.stages.prefetch import (
    Prefetch,
    caller_settings,
    constraints_in,
    own_settings,
    prefetch,
    requirements_of,
)
from manywheels.core.cancellation import Cancellation
from manywheels.runtime import sandbox, untrusted_files
from manywheels.runtime.sandbox import Command
from manywheels.runtime.uv import uv_program
from unit.helpers import write_wheel
from unit.serving import served
from users import FETCHER, USER

NOWHERE = Path("/nonexistent")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[build-system]\nrequires = ["setuptools>=77", "cython; python_version > \'3\'"]', ["setuptools", "cython"]),
        ('[build-system]\nrequires = ["a @ https://example.com/a.zip", "./local", "b"]', ["b"]),
        ('[build-system]\nrequires = ["--index-url=https://example.com", "-r other", "b"]', ["b"]),
        ("[build-system]\nrequires = []", []),
        ("[project]\nname = 'x'", ["setuptools"]),
        ("not toml", ["setuptools"]),
    ],
)
def test_requirements(text: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    found = requirements_of(tmp_path)
    assert [requirement.partition(">")[0].partition(";")[0] for requirement in found] == expected


def test_no_pyproject(tmp_path: Path) -> None:
    assert requirements_of(tmp_path) == ("setuptools",)


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", ()),
        ("# pinned\nnumpy==2.0 # for the ABI\n\ncython<4\n", ("numpy==2.0", "cython<4")),
        ("numpy @ https://example.com/numpy-2.0.whl\n", None),
        ("--index-url https://example.com/simple\nnumpy==2.0\n", None),
        ("-r other.txt\n", None),
        ("./numpy-2.0.whl\n", None),
    ],
)
def test_only_versions_are_constrained_in_the_common_store(content: str, expected: tuple[str, ...] | None) -> None:
    assert constraints_in(content) == expected


def test_the_fetching_user_only_gets_variables_on_the_list() -> None:
    caller = {
        "UV_INDEX_URL": "https://index.example/simple",
        "https_proxy": "http://proxy.example:3128",
        "SSL_CERT_FILE": "/etc/ssl/ca.pem",
        "UV_KEYRING_PROVIDER": "subprocess",
        "UV_INSECURE_HOST": "index.example",
        "UV_CONFIG_FILE": "/tmp/uv.toml",
        "PATH": "/work/source/bin:/usr/bin",
        "NETRC": "/tmp/netrc",
        "HOME": "/root",
    }
    settings = caller_settings(caller, NOWHERE)
    assert settings is not None
    assert sorted(settings) == ["SSL_CERT_FILE", "UV_INDEX_URL", "https_proxy"]


@pytest.mark.parametrize(
    "index",
    [
        "https://user@index.example/simple",  # a keyring would be asked for the password
        "https://user:password@index.example/simple",
        "file:///github/workspace/simple",
        "./simple",
        "https://index.example/simple ./simple",
        "name=./simple",
    ],
)
@pytest.mark.parametrize(
    "name", ["UV_INDEX_URL", "UV_INDEX", "UV_FIND_LINKS", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL"]
)
def test_the_store_is_not_filled_from_folders_or_with_credentials(name: str, index: str) -> None:
    assert caller_settings({name: index}, NOWHERE) is None


def test_a_folder_among_links_is_found_behind_a_comma() -> None:
    assert caller_settings({"UV_FIND_LINKS": "https://index.example/links,./simple"}, NOWHERE) is None


def test_what_the_caller_set_for_pip_fills_the_store_as_well() -> None:
    caller = {
        "PIP_INDEX_URL": "https://index.example/simple",
        "PIP_EXTRA_INDEX_URL": "https://more.example/simple",
        "PIP_CERT": "/etc/ssl/ca.pem",
        "PIP_TRUSTED_HOST": "index.example",
        "PIP_CONSTRAINT": "constraints.txt",
    }
    assert caller_settings(caller, NOWHERE) == {
        "UV_DEFAULT_INDEX": "https://index.example/simple",
        "UV_INDEX": "https://more.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "SSL_CERT_FILE": "/etc/ssl/ca.pem",
    }


@pytest.mark.parametrize(
    "changed",
    [
        {"PIP_INDEX_URL": "/github/workspace/simple"},
        {"PIP_EXTRA_INDEX_URL": "https://user:password@index.example/simple"},
        {"PIP_FIND_LINKS": "https://index.example/links /tmp"},
        {"PIP_NO_INDEX": "1"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_nor_from_folders_and_with_credentials_of_pips(changed: Mapping[str, str]) -> None:
    assert caller_settings({"PIP_INDEX_URL": "https://index.example/simple", **changed}, NOWHERE) is None


@pytest.mark.parametrize("name", ["PIP_CONFIG_FILE", "UV_CONFIG_FILE", "XDG_CONFIG_HOME", "HOME"])
def test_a_file_that_a_pull_request_can_change_does_not_fill_the_store(name: str, tmp_path: Path) -> None:
    caller = {"PIP_INDEX_URL": "https://index.example/simple"}
    (tmp_path / "link").symlink_to("checkout")
    assert caller_settings({**caller, name: str(tmp_path / "pip.conf")}, tmp_path / "checkout") is not None
    assert caller_settings({**caller, name: str(tmp_path / "checkout/ci/pip.conf")}, tmp_path / "checkout") is None
    assert caller_settings({**caller, name: str(tmp_path / "link/pip.conf")}, tmp_path / "checkout") is None


def test_named_indexes_are_accepted() -> None:
    assert (
        caller_settings({"UV_INDEX": "own=https://index.example/simple https://other.example/simple"}, NOWHERE)
        is not None
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"UV_INDEX_URL": "https://elsewhere.example/simple"},
        {"UV_KEYRING_PROVIDER": "subprocess"},
        {"UV_INSECURE_HOST": "index.example"},
        {"UV_FIND_LINKS": "./wheels"},
        {"UV_EXTRA_INDEX_URL": "https://elsewhere.example/simple"},
        {"UV_CONSTRAINT": "own.txt"},
        {"PIP_INDEX_URL": "https://elsewhere.example/simple"},
        {"PIP_TRUSTED_HOST": "index.example"},
        {"HTTPS_PROXY": "http://elsewhere.example"},
        {"https_proxy": "http://elsewhere.example"},
        {"ALL_PROXY": "socks5://elsewhere.example"},
        {"SSL_CERT_FILE": "own.pem"},
        {"SSL_CERT_DIR": "own"},
        {"REQUESTS_CA_BUNDLE": "own.pem"},
        {"CURL_CA_BUNDLE": "own.pem"},
        {"NETRC": "own"},
        {"GIT_CONFIG_GLOBAL": "own"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_target_with_other_settings_does_not_share(changed: Mapping[str, str]) -> None:
    caller = {"PATH": "/usr/bin", "UV_INDEX_URL": "https://index.example/simple", "UV_CACHE_DIR": "/cache"}
    assert own_settings({**caller, **changed}, caller) == sorted(changed)
    assert own_settings({name: value for name, value in caller.items() if name != "UV_INDEX_URL"}, caller) == [
        "UV_INDEX_URL"
    ]


def test_variables_that_do_not_affect_fetching_do_not_prevent_sharing() -> None:
    caller = {"PATH": "/usr/bin"}
    assert own_settings({**caller, "CFLAGS": "-O3", "PATH": "/elsewhere", "SETUPTOOLS_SCM_X": "1"}, caller) == []


# --- the two users' parts ---------------------------------------------------------------------------------------------


def put(path: Path, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


ENTRY = "wheels-v1/pypi/{}/1.0-py3-none-any"
WHEELS = [("tool", "1.0"), ("other", "1.0")]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store whose cache is as uv lays it out, with two wheels."""
    store = tmp_path / "prefetched"
    archives, cache = store / "archive-v0", store / "cache"
    put(archives / "A/tool/__init__.py")
    put(archives / "A/tool/data/bin/tool", "binary")
    put(archives / "A/shared/one.h")
    put(archives / "A/tool-1.0.dist-info/METADATA")
    put(archives / "A/tool-1.0.data/scripts/tool")
    put(archives / "B/shared/two.h")
    put(archives / "A/tool/stubs/tool.pyi")
    put(archives / "A/tool/core/tests/test_core.py")
    put(archives / "A/tool/_vendor/other-1.0.dist-info/METADATA")
    put(archives / "A/tests/test_tool.py")
    put(cache / "simple-v1/pypi/tool.rkyv")
    put(cache / "interpreter-v1/0123/4567.msgpack")
    put(cache / ".lock")
    for name, archive in (("tool", "A"), ("other", "B"), ("unasked", "C")):
        entry = cache / ENTRY.format(name)
        put(entry.with_name(f"{entry.name}.msgpack"))
        put(entry.with_name(f"{entry.name}.lock"))
        entry.symlink_to(f"../../../archive-v0/{archive}")
    (cache / "wheels-v1/url/0123").mkdir(parents=True)
    (cache / "wheels-v1/url/0123/tool").mkdir()
    (cache / "wheels-v1/url/0123/tool/1.0-py3-none-any").symlink_to("../../../../archive-v0/B")
    prefetch_worker.share(store, WHEELS)
    return store


@pytest.fixture
def linked(store: Path, tmp_path: Path) -> Path:
    cache = tmp_path / "target/uv"
    cache.mkdir(parents=True)
    assert prefetch_worker.link(store, cache, "cp312", WHEELS) == 0
    return cache


def test_a_linked_wheel_is_found_where_uv_looks(linked: Path) -> None:
    entry = linked / ENTRY.format("tool")
    assert entry.resolve() == linked / "archive-v0/A"
    assert entry.with_name("1.0-py3-none-any.msgpack").read_text() == "x"
    assert (linked / "simple-v1/pypi/tool.rkyv").exists()
    assert (linked / "interpreter-v1/0123/4567.msgpack").exists()


def test_it_is_said_where_links_can_have_no_second_name(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in file systems of sandboxes and networks: uv would copy, which it cannot do with a link to a folder."""

    def refused(*_arguments: Any, **_options: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refused)
    assert prefetch_worker.link(store, tmp_path, "cp312", WHEELS) == prefetch_worker.NO_HARD_LINKS
    assert [path.name for path in tmp_path.iterdir() if path.is_symlink()] == []


def test_locks_stay_in_the_closed_part_of_the_store(store: Path, linked: Path) -> None:
    open_to_others = [*(store / "entries").rglob("*"), *(store / "archive-v0").rglob("*"), *linked.rglob("*")]
    assert [path for path in open_to_others if path.name.endswith(".lock")] == []


def test_wheels_from_addresses_are_not_shared(store: Path) -> None:
    assert list((store / "entries").glob("wheels-v1/*")) == [store / "entries/wheels-v1/pypi"]


def test_wheels_of_other_projects_are_not_linked(linked: Path) -> None:
    assert not (linked / ENTRY.format("unasked")).is_symlink()


def test_sharing_again_updates_entries(store: Path) -> None:
    pointer = store / "cache" / f"{ENTRY.format('tool')}.msgpack"
    pointer.unlink()
    pointer.write_text("newer")  # uv replaces files, it does not write into them
    prefetch_worker.share(store, WHEELS)
    assert (store / "entries" / f"{ENTRY.format('tool')}.msgpack").read_text() == "newer"
    assert list(store.rglob("*.partial")) == []


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("1.0-cp312-cp312-manylinux_2_28_x86_64", True),
        ("1.0-cp39-abi3-manylinux_2_28_x86_64.manylinux2014_x86_64", True),
        ("1.0-py3-none-any", True),
        ("1.0-0123456789abcdef", True),  # too many tags for a file's name
        ("1.0-cp313-cp313-manylinux_2_28_x86_64", False),
    ],
)
def test_entries_for_other_interpreters_are_left_out(name: str, fits: bool, tmp_path: Path) -> None:  # noqa: FBT001
    store, cache = tmp_path / "store", tmp_path / "cache"
    put(store / "archive-v0/A/tool.py")
    entry = store / f"cache/wheels-v1/pypi/tool/{name}"
    put(entry.with_name(f"{name}.http"))
    entry.symlink_to("../../../archive-v0/A")
    cache.mkdir()
    prefetch_worker.share(store, [("tool", "1.0")])
    prefetch_worker.link(store, cache, "cp312", [("tool", "1.0")])
    assert (cache / f"wheels-v1/pypi/tool/{name}").exists() is fits
    assert (cache / f"wheels-v1/pypi/tool/{name}.http").exists() is fits


def test_files_are_linked_and_folders_are_the_targets_own(linked: Path, store: Path) -> None:
    module = Path("archive-v0/A/tool/__init__.py")
    assert (linked / module).readlink() == store / module
    assert not (linked / module).parent.is_symlink()
    put(linked / "archive-v0/A/tool/new.py")
    assert not (store / "archive-v0/A/tool/new.py").exists()


@pytest.mark.parametrize("folder", ["data", "stubs", "core", "_vendor"])
def test_folders_without_modules_are_linked_as_a_whole(folder: str, linked: Path, store: Path) -> None:
    assert (linked / "archive-v0/A/tool" / folder).readlink() == store / "archive-v0/A/tool" / folder


@pytest.mark.parametrize("folder", ["archive-v0/A/shared", "archive-v0/B/shared"])
def test_folders_of_several_wheels_can_be_merged(folder: str, linked: Path) -> None:
    assert not (linked / folder).is_symlink()


@pytest.mark.parametrize("folder", ["tool", "tests", "tool-1.0.dist-info", "tool-1.0.data", "tool-1.0.data/scripts"])
def test_folders_that_installers_look_into_are_real(folder: str, linked: Path) -> None:
    assert not (linked / "archive-v0/A" / folder).is_symlink()


# --- root's part ------------------------------------------------------------------------------------------------------

# A fake uv: it records its environment and prints what uv prints.
UV = """#!/bin/sh
case "$*" in
    *--dry-run*) { echo "Would download 1 package"; echo " + tool==1.0"; } >&2;;
    *) env >{seen};;
esac
"""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that other users reach, as they do the worker and its Python."""
    if os.geteuid() != 0:
        pytest.skip("only root runs anything as another user")
    with tempfile.TemporaryDirectory(prefix="manywheels-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
        monkeypatch.setattr(module, "_WORKER", shutil.copy(module._WORKER, folder))
        yield folder


@pytest.fixture
def request_(place: Path, store: Path) -> Prefetch:
    store = store.rename(place / "prefetched")
    for path in store.rglob("*"):
        os.chown(path, FETCHER, FETCHER, follow_symlinks=False)
    (place / "open").mkdir(mode=0o777)
    (place / "open").chmod(0o777)
    uv = put(place / "uv", UV.replace("{seen}", str(place / "open/seen")))
    uv.chmod(0o755)
    (place / "run").mkdir(mode=0o711)
    return Prefetch(
        uv=str(uv), python=Path("python"), abi="cp312", requirements=("tool",), constraints=("tool<2",),
        settings={"UV_INDEX_URL": "https://index.example/simple"}, store=store, fetcher=FETCHER,
        cache=untrusted_files.make_folder(place / "run/uv", USER), user=USER, scratch=place / "run/fetching",
    )  # fmt: skip


def test_a_wheel_is_fetched_and_linked_by_two_users(request_: Prefetch, place: Path) -> None:
    prefetch(request_, Cancellation())
    assert (request_.cache / ENTRY.format("tool")).resolve() == request_.cache / "archive-v0/A"
    assert (request_.cache / ENTRY.format("tool")).lstat().st_uid == USER
    assert (place / "open/seen").stat().st_uid == FETCHER
    seen = dict(line.split("=", 1) for line in (place / "open/seen").read_text().splitlines())
    home = str(request_.scratch / "home")
    assert {name: value for name, value in seen.items() if name not in {"PWD", "SHLVL", "_", "OLDPWD", "LC_CTYPE"}} == {
        "UV_INDEX_URL": "https://index.example/simple", "UV_CACHE_DIR": str(request_.store / "cache"),
        "UV_KEYRING_PROVIDER": "disabled", "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1",
        "HOME": home, "TMPDIR": home, "PATH": "/usr/bin:/bin",
    }  # fmt: skip


TRY_LOCKS = """
import fcntl, pathlib, sys
for path in map(pathlib.Path, sys.argv[1:]):
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            print(path)
    except OSError:
        pass
"""


def test_a_target_cannot_hold_uvs_locks(request_: Prefetch, place: Path) -> None:
    """Otherwise every fetching uv would wait for it, up to five minutes each time."""
    prefetch(request_, Cancellation())
    locks = [path for path in place.rglob("*") if path.name.endswith(".lock")]
    assert len(locks) == 4
    for user, expected in ((USER, 0), (FETCHER, 4)):
        command = Command(
            argv=("/usr/bin/python3", "-c", TRY_LOCKS, *map(str, locks)), folder=place, environment={},
            log=place / f"locked-by-{user}", timeout=60, user=user,
        )  # fmt: skip
        assert sandbox.run(command, Cancellation()).succeeded
        assert len((place / f"locked-by-{user}").read_text().splitlines()) == expected


def test_a_cancelled_target_gets_nothing_and_no_error(request_: Prefetch) -> None:
    cancellation = Cancellation()
    cancellation.request()
    prefetch(request_, cancellation)
    assert list(request_.cache.iterdir()) == []


@pytest.mark.parametrize(
    "answer",
    ["", "no JSON", "[" * 100_000, '{"a": 1}', '[["tool"]]', '[["tool", 1]]', "[1, null]", "x" * (2 << 20)],
    ids=["nothing", "no JSON", "deep", "object", "short", "number", "others", "long"],
)
def test_no_result_of_the_fetching_user_misleads_root(
    answer: str, request_: Prefetch, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(place / "answer", answer)
    hostile = put(place / "hostile.py", "import shutil, sys; shutil.copyfileobj(open('%s'), sys.stdout)")
    hostile.write_text(hostile.read_text() % (place / "answer"))
    monkeypatch.setattr(module, "_WORKER", hostile)
    prefetch(request_, Cancellation())
    assert list(request_.cache.iterdir()) == []


@pytest.mark.parametrize("part", ["cache", "archive-v0", "entries"])
def test_a_link_in_place_of_the_store_is_not_followed(part: str, request_: Prefetch, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o755)
    (request_.store / part).rename(request_.store / "elsewhere")
    (request_.store / part).symlink_to(victim)
    with pytest.raises(OSError, match=r"Not a directory|symbolic link"):
        prefetch(request_, Cancellation())
    assert victim.stat().st_mode & 0o777 == 0o755


def test_the_worker_needs_no_packages(store: Path, tmp_path: Path) -> None:
    asked = {"store": str(store), "cache": str(tmp_path), "abi": "cp312", "wheels": WHEELS}
    argv = [sys.executable, "-I", "-S", prefetch_worker.__file__, "link", json.dumps(asked)]
    subprocess.run(argv, check=True, env={})
    assert (tmp_path / ENTRY.format("tool")).is_symlink()


def test_targets_that_fetch_concurrently_create_one_store(request_: Prefetch, place: Path) -> None:
    requests = [
        replace(
            request_,
            store=place / "new",
            scratch=place / f"run/fetching-{number}",
            cache=untrusted_files.make_folder(place / f"run/uv-{number}", USER),
        )
        for number in range(8)
    ]
    with ThreadPoolExecutor(len(requests)) as pool:
        list(pool.map(lambda each: prefetch(each, Cancellation()), requests))
    assert (place / "new/cache").stat().st_uid == FETCHER


# --- with uv itself ---------------------------------------------------------------------------------------------------


class Index(SimpleHTTPRequestHandler):
    """Serves a folder, and records the requests."""

    folder: ClassVar[str]
    asked: ClassVar[list[str]] = []

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments, directory=self.folder)

    def log_message(self, _form: str, *arguments: object) -> None:
        self.asked.append(str(arguments[0]))


@pytest.mark.parametrize(("mode", "names"), [("symlink", 1), ("hardlink", 2)])
def test_uv_does_not_fetch_a_linked_wheel_again(
    mode: str, names: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only uv decides whether an entry of its cache is valid. Without one, a target fetches everything again."""
    site, store, cache = tmp_path / "site", tmp_path / "store", tmp_path / "cache"
    for folder in (site / "simple/demo", store / "cache", store / "archive-v0", store / "entries", cache):
        folder.mkdir(parents=True)
    wheel = write_wheel(site, tags="py3-none-any", members={"demo/data/one": b"1", "demo/__init__.py": b""})
    (site / "simple/demo/index.html").write_text(f'<a href="/{wheel.name}">{wheel.name}</a>')
    monkeypatch.setattr(Index, "folder", str(site), raising=False)
    install = (uv_program(), "pip", "install", "--no-config", "--python", sys.executable, "demo", "--target")
    with served(Index) as url:
        environment = {
            "UV_DEFAULT_INDEX": f"{url}/simple", "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never",
            "HOME": str(tmp_path), "PATH": os.defpath,
        }  # fmt: skip
        asked = {"uv": [*install, str(tmp_path / "fetched")], "store": str(store)}
        argv = [sys.executable, "-I", "-S", prefetch_worker.__file__, "fetch", json.dumps(asked)]
        fetching = environment | {"UV_CACHE_DIR": str(store / "cache")}
        said = subprocess.run(argv, check=True, env=fetching, capture_output=True, text=True).stdout
        assert json.loads(said) == [["demo", "1.0"]]
        assert [line for line in Index.asked if wheel.name in line] != []
        assert prefetch_worker.link(store, cache, "cp312", json.loads(said)) == 0
        own = environment | {"UV_CACHE_DIR": str(cache), "UV_LINK_MODE": mode}
        argv = [*install, str(tmp_path / "installed"), "--verbose"]
        done = subprocess.run(argv, check=True, env=own, capture_output=True, text=True)
    assert (tmp_path / "installed/demo-1.0.dist-info/METADATA").exists()
    for linked in ("demo/__init__.py", "demo/data"):  # a file, and a folder as a whole
        assert (tmp_path / "installed" / linked).is_symlink()
        assert (tmp_path / "installed" / linked).lstat().st_nlink == names
    assert not (tmp_path / "installed/demo").is_symlink()
    assert "already cached: demo==1.0" in done.stderr
    assert "uncached" not in done.stderr


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "PIP_CERT"])
def test_nothing_is_fetched_by_an_authority_in_the_checkout(tmp_path: Path, name: str) -> None:
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci/ca.pem").touch()
    assert caller_settings({name: str(tmp_path / "ci/ca.pem")}, tmp_path) is None
    assert caller_settings({name: str(tmp_path / "ci/ca.pem")}, NOWHERE) is not None
