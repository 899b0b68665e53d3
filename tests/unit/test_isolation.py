"""Isolation: which folders are closed, which variables are grants, what stands against it. It is tried out in e2e."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from manywheels import isolation
from manywheels.errors import EXIT_CONFIGURATION, IsolationError
from manywheels.isolation import closed_folders, grants_in, isolate


@pytest.fixture
def job(tmp_path: Path) -> dict[str, str]:
    """The variables of a GitHub job, with folders that are there."""
    for name in ("workspace", "temp", "home", "commands", "workflow"):
        (tmp_path / name).mkdir()
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": str(tmp_path / "workspace"),
        "RUNNER_TEMP": str(tmp_path / "temp"),
        "HOME": str(tmp_path / "home"),
        "GITHUB_ENV": str(tmp_path / "commands/set_env"),
        "GITHUB_EVENT_PATH": str(tmp_path / "workflow/event.json"),
    }


def names(folders: tuple[Path, ...]) -> list[str]:
    return [folder.name for folder in folders]


def test_a_github_jobs_folders_are_closed(job: dict[str, str]) -> None:
    assert names(closed_folders(job)) == ["commands", "home", "temp", "workflow", "workspace"]


def test_a_home_that_builds_need_stays_open(job: dict[str, str], tmp_path: Path) -> None:
    assert "home" not in names(closed_folders(job, [tmp_path / "home/.pyenv/bin/python"]))


def test_a_gitlab_jobs_folders_are_closed(tmp_path: Path) -> None:
    for name in ("project", "project.tmp"):
        (tmp_path / name).mkdir()
    job = {"GITLAB_CI": "true", "CI_PROJECT_DIR": str(tmp_path / "project"), "HOME": str(tmp_path)}
    assert names(closed_folders(job)) == ["project", "project.tmp"]


@pytest.mark.parametrize(
    "environment",
    [
        {"HOME": "/root"},
        {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": "relative", "HOME": "/", "RUNNER_TEMP": "/no/such"},
    ],
)
def test_nothing_else_is_closed(environment: Mapping[str, str]) -> None:
    assert closed_folders(environment) == ()


@pytest.mark.parametrize(
    "name", ["ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL", "PYPI_ID_TOKEN", "SIGSTORE_ID_TOKEN"]
)
def test_grants(name: str) -> None:
    assert grants_in({name: "value", "ACTIONS_RUNTIME_TOKEN": "value"}) == [name]
    assert grants_in({name: ""}) == []


def test_a_grant_without_isolation_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(IsolationError) as raised,
        isolate(1, [], {"PYPI_ID_TOKEN": "eyJ"}, source=tmp_path, against="the moon is full"),
    ):
        pytest.fail("it went on")
    assert raised.value.code == "MW009"
    assert raised.value.exit_status == EXIT_CONFIGURATION
    assert "(PYPI_ID_TOKEN)" in raised.value.message
    assert "the moon is full" in raised.value.message
    assert "Publish in a job of its own" in raised.value.remedy


def test_without_a_grant_it_goes_on_as_the_programs_own_user(tmp_path: Path) -> None:
    with isolate(1, [], {}, source=tmp_path, against="the moon is full") as isolated:
        assert isolated.user(0) is None
        assert isolated.against == "the moon is full"


def test_an_ordinary_user_has_no_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert isolation.reason_against() == "manywheels does not run as root, so there is no second user"


def test_closed_folders_have_their_modes_again_afterwards(job: dict[str, str], tmp_path: Path) -> None:
    if isolation.reason_against():
        pytest.skip("only root can isolate")
    folders = closed_folders(job)
    folders[0].chmod(0o2775)
    before = [stat.S_IMODE(folder.stat().st_mode) for folder in folders]
    with isolate(1, [], job, source=tmp_path) as isolated:
        closed = [stat.S_IMODE(folder.stat().st_mode) & 0o077 for folder in folders]
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == before
    assert isolated.against or closed == [0] * len(folders)
