"""Isolation: which folders are closed, which variables are grants, what stands against it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from manywheels.build import pipeline
from manywheels.build.context import Run
from manywheels.build.pipeline import _without_credentials
from manywheels.core.cancellation import Cancellation
from manywheels.errors import EXIT_CONFIGURATION, IsolationError
from manywheels.plan.interpreters import Interpreter
from manywheels.plan.options import resolve
from manywheels.plan.targets import Plan, PlannedTarget
from manywheels.runtime import isolation
from manywheels.runtime.isolation import Isolation, closed_folders, isolate
from manywheels.verify.rules import Rules
from manywheels.wheels.output import OutputFolder
from unit.helpers import given, project, target


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


def test_what_stays_open_stays_so_for_the_work_folder(
    job: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interpreters in HOME, as pyenv's: the folder to work in is looked for among what is closed then."""
    seen: list[tuple[Path, ...]] = []
    python = tmp_path / "home/.pyenv/bin/python"
    found = Interpreter(abi="cp312", version="3.12.1", path=python, source="pyenv")
    monkeypatch.setattr(isolation, "reason_against", lambda: "")

    def parent(closed: tuple[Path, ...]) -> Path:
        seen.append(closed)
        return tmp_path

    def attempt(_stack: object, _count: int, _needed: object, closed: tuple[Path, ...]) -> Isolation:
        seen.append(closed)
        return Isolation(against="the moon is full")

    monkeypatch.setattr(pipeline, "public_work_parent", parent)
    monkeypatch.setattr(isolation, "_try_to_isolate", attempt)
    run = Run(
        project=replace(project(), path=tmp_path), plan=Plan(targets=(), excluded=()),
        options=resolve({}, project(), toolchain="system"), rules=Rules(), caller=job,
        output=OutputFolder(path=tmp_path, owner=(0, 0)),
    )  # fmt: skip
    planned = [PlannedTarget(target=target("cp312"), interpreter=found, asked_by_name=True)]
    with pipeline._isolated_work_folder(run, planned, 1, Cancellation()):
        pass
    assert names(seen[0]) == names(seen[1]) == ["commands", "temp", "workflow", "workspace"]


def test_a_gitlab_jobs_folders_are_closed(tmp_path: Path) -> None:
    for name in ("project", "project.tmp"):
        (tmp_path / name).mkdir()
    job = {"GITLAB_CI": "true", "CI_PROJECT_DIR": str(tmp_path / "project"), "HOME": str(tmp_path)}
    assert names(closed_folders(job)) == ["project", "project.tmp"]


def kubernetes_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables and mounts of a job of GitLab's Kubernetes executor, with its folders and another job's."""
    base = tmp_path / "runner's own"
    for name in ("scripts-7-42", "logs-7-42", "logs-7-421"):
        (base / name).mkdir(parents=True)
        (base / name).chmod(0o777)
    (tmp_path / "builds").mkdir()
    mounts = [
        f"97 90 253:1 /kubelet/{name} {str(path).replace(' ', chr(92) + '040')} rw,relatime - ext4 /dev/vda1 rw"
        for name, path in [(path.name, path) for path in base.iterdir()]
    ]
    (tmp_path / "mountinfo").write_text("\n".join(["22 1 0:20 / / rw - overlay overlay rw", *mounts, ""]))
    monkeypatch.setattr(isolation, "_MOUNTS", tmp_path / "mountinfo")
    return {
        "GITLAB_CI": "true", "CI_PROJECT_DIR": str(tmp_path / "builds"), "CI_PROJECT_ID": "7", "CI_JOB_ID": "42",
    }  # fmt: skip


def test_the_scripts_and_the_log_of_a_kubernetes_job_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = kubernetes_job(tmp_path, monkeypatch)
    assert names(closed_folders(job)) == ["builds", "logs-7-42", "scripts-7-42"]
    assert names(closed_folders(job | {"CI_JOB_ID": "43"})) == ["builds"]


@pytest.mark.parametrize("place", ["vendor/.git", ".git/modules/vendor"], ids=["its own", "a submodule's"])
def test_the_checkouts_repository_is_closed(tmp_path: Path, place: str) -> None:
    source, repository = tmp_path / "vendor", tmp_path / place
    source.mkdir()
    repository.mkdir(parents=True)
    if repository.parent != source:
        (source / ".git").write_text(f"gitdir: ../{place}\n")
        (repository / "HEAD").write_text("ref: refs/heads/main\n")
        (repository / "config").write_text("[core]\n\tworktree = ../../../vendor\n")
    assert isolation._repository_folders(source, ()) == (repository,)


@pytest.mark.parametrize(
    "environment",
    [
        {"HOME": "/root"},
        {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": "relative", "HOME": "/", "RUNNER_TEMP": "/no/such"},
    ],
)
def test_nothing_else_is_closed(environment: Mapping[str, str]) -> None:
    assert closed_folders(environment) == ()


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


def test_what_authorises_the_job_is_withheld_whoever_asks(capsys: pytest.CaptureFixture[str]) -> None:
    options = resolve({"environment-pass": given("FLAVOUR CI_JOB_TOKEN")}, project(), environment={})
    caller = {"CI_JOB_TOKEN": "secret", "ACTIONS_RUNTIME_TOKEN": "secret", "FLAVOUR": "sweet"}
    run = Run(
        project=project(), plan=Plan(targets=(), excluded=()), options=options, rules=Rules(), caller=caller,
        output=OutputFolder(path=Path("dist"), owner=(0, 0)),
    )  # fmt: skip
    assert _without_credentials(run).caller == {"FLAVOUR": "sweet"}
    assert capsys.readouterr().err == "note: not passed to project code: CI_JOB_TOKEN\n"
