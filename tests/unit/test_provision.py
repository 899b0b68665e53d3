"""Provision: which requirements are fetched, and how the store's wheels are lent. uv's part is tried out in e2e."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from manywheels.sandbox import Cancellation
from manywheels.stages.provision import Provision, lend, provide, requirements_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[build-system]\nrequires = ["setuptools>=77", "cython; python_version > \'3\'"]', ["setuptools", "cython"]),
        ('[build-system]\nrequires = ["a @ https://example.com/a.zip", "./local", "b"]', ["b"]),
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


def put(path: Path, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store as uv lays it out, with two wheels."""
    store = tmp_path / "fetched"
    put(store / "archive-v0/A/tool/__init__.py")
    put(store / "archive-v0/A/tool/data/bin/tool", "binary")
    put(store / "archive-v0/A/shared/one.h")
    put(store / "archive-v0/A/tool-1.0.dist-info/METADATA")
    put(store / "archive-v0/A/tool-1.0.data/scripts/tool")
    put(store / "archive-v0/B/shared/two.h")
    put(store / "archive-v0/A/tool/stubs/tool.pyi")
    put(store / "archive-v0/A/tool/core/tests/test_core.py")
    put(store / "archive-v0/A/tool/_vendor/other-1.0.dist-info/METADATA")
    put(store / "archive-v0/A/tests/test_tool.py")
    put(store / "simple-v1/pypi/tool.rkyv")
    put(store / "interpreter-v1/0123/4567.msgpack")
    for name, archive in (("tool", "A"), ("other", "B")):
        entry = store / f"wheels-v1/pypi/{name}/1.0-py3-none-any"
        put(entry.with_name(f"{entry.name}.msgpack"))
        put(entry.with_name(f"{entry.name}.lock"))
        entry.symlink_to(f"../../../archive-v0/{archive}")
    return store


@pytest.fixture
def request_(store: Path, tmp_path: Path) -> Provision:
    return Provision(
        uv="uv", python=Path("python"), abi="cp312", requirements=(), environment={}, store=store,
        fetcher=os.getuid(), cache=tmp_path / "target/uv", user=os.getuid(), scratch=tmp_path / "scratch",
    )  # fmt: skip


@pytest.fixture
def lent(request_: Provision) -> Path:
    request_.cache.parent.mkdir()
    lend([request_.store / f"wheels-v1/pypi/{name}/1.0-py3-none-any" for name in ("tool", "other")], request_)
    return request_.cache


def test_a_lent_wheel_is_found_where_uv_looks(lent: Path) -> None:
    entry = lent / "wheels-v1/pypi/tool/1.0-py3-none-any"
    assert entry.resolve() == lent / "archive-v0/A"
    assert entry.with_name("1.0-py3-none-any.msgpack").read_text() == "x"
    assert not entry.with_name("1.0-py3-none-any.lock").exists()
    assert (lent / "simple-v1/pypi/tool.rkyv").exists()
    assert (lent / "interpreter-v1/0123/4567.msgpack").exists()


def test_files_are_linked_and_folders_are_the_targets_own(lent: Path, store: Path) -> None:
    module = Path("archive-v0/A/tool/__init__.py")
    assert (lent / module).samefile(store / module)
    assert not (lent / module).is_symlink()
    assert not (lent / module).parent.is_symlink()
    put(lent / "archive-v0/A/tool/new.py")
    assert not (store / "archive-v0/A/tool/new.py").exists()


@pytest.mark.parametrize("folder", ["data", "stubs", "core", "_vendor"])
def test_folders_without_modules_to_compile_are_linked_whole(folder: str, lent: Path, store: Path) -> None:
    assert (lent / "archive-v0/A/tool" / folder).readlink() == store / "archive-v0/A/tool" / folder


@pytest.mark.parametrize("folder", ["archive-v0/A/shared", "archive-v0/B/shared"])
def test_folders_of_several_wheels_can_be_merged(folder: str, lent: Path) -> None:
    assert not (lent / folder).is_symlink()


@pytest.mark.parametrize("folder", ["tool", "tests", "tool-1.0.dist-info", "tool-1.0.data", "tool-1.0.data/scripts"])
def test_folders_that_installers_look_into_are_real(folder: str, lent: Path) -> None:
    assert not (lent / "archive-v0/A" / folder).is_symlink()


def test_a_target_that_is_stopped_gets_nothing_and_no_error(request_: Provision) -> None:
    request_.cache.parent.mkdir()
    cancellation = Cancellation()
    cancellation.request()
    provide(request_, cancellation)
    assert not (request_.cache / "archive-v0").exists()
