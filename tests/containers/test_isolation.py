"""Project code in the container action: what it tries to reach, it does not reach. The canary is in tests/projects."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT
from runner import Finished, Runner
from runner.mini import OIDC, OWNER, SECRET, DockerSocket
from unit.ci_logs import github_commands
from unit.cli.test_github import parse_outputs

pytestmark = [pytest.mark.docker, pytest.mark.network, pytest.mark.xdist_group("isolation")]
FETCHER = 61999  # see isolation
CANARY = ROOT / "tests/projects/canary"
GIT_CREDENTIALS = f'[http "https://github.example/"]\n\textraheader = AUTHORIZATION: basic {SECRET}\n'
VICTIM = "a file that only root and its owner can write"
# Where root writes in the output folder, and what a repository can have there: links.
LINKS = ("logs/cp312-manylinux_x86_64.log", "logs/cp313-manylinux_x86_64-test.log", ".manywheels.json.partial",
         "manywheels.json", ".manywheels-report.html.partial", "manywheels-report.html")  # fmt: skip


def prepared(folder: Path, image: str) -> tuple[Runner, DockerSocket]:
    """Return a runner whose job has checked the canary out, and holds all that a job can hold."""
    runner = Runner.prepare(folder, image)
    shutil.copytree(CANARY, runner.workspace, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["git", "init", "--quiet", runner.workspace], check=True)
    for place in (".git/config", ".git/modules/below/config", ".git/config.worktree"):  # with those of a submodule
        (runner.workspace / place).parent.mkdir(parents=True, exist_ok=True)
        with (runner.workspace / place).open("a") as config:
            config.write(GIT_CREDENTIALS)
    (runner.temp / "victim").write_text(VICTIM)
    for link in LINKS:
        (runner.workspace / "dist" / link).parent.mkdir(parents=True, exist_ok=True)
        (runner.workspace / "dist" / link).symlink_to("/github/runner_temp/victim")
    runner.give()
    return runner, DockerSocket(folder / "docker.sock")


def attempts(text: str) -> list[dict[str, Any]]:
    """Return what the canary says, in order."""
    return [json.loads(line) for line in re.findall(r"^canary (\{.*\})$", text, re.MULTILINE)]


@pytest.fixture(scope="module")
def built(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Finished, DockerSocket]]:
    """Two targets of the canary, one after the other, in a job that may even have identity tokens."""
    runner, docker = prepared(tmp_path_factory.mktemp("runner"), image)
    try:
        finished = runner.run(
            {
                "build": "cp312 cp313",
                "jobs": "1",
                "publish": "none",
                "verbose": "true",
                "environment-pass": "ACTIONS_RUNTIME_TOKEN ACTIONS_ID_TOKEN_REQUEST_TOKEN",
                "before-build": "python {project}/attempts.py before-build",
                "test-command": "python {project}/attempts.py test-command",
            },
            environment=OIDC,
        )
        yield finished, docker
    finally:
        docker.close()


def test_the_build_succeeds_although_the_job_can_have_identity_tokens(built: tuple[Finished, DockerSocket]) -> None:
    finished, _ = built
    assert finished.status == 0, finished.output + finished.logs
    assert [target["state"] for target in finished.manifest["targets"]] == ["built", "built"]


def test_no_attempt_succeeds_in_the_back_end_in_hooks_or_in_tests(built: tuple[Finished, DockerSocket]) -> None:
    finished, docker = built
    said = attempts(finished.logs)
    assert {entry["where"] for entry in said} == {"back end", "before-build", "test-command"}, finished.logs
    for entry in said:
        assert {name: got for name, got in entry["got"].items() if got} == {}, entry["where"]
    assert docker.visitors == 0


def test_each_target_has_a_user_of_its_own(built: tuple[Finished, DockerSocket]) -> None:
    users = {entry["uid"] for entry in attempts(built[0].logs)}
    assert len(users) == 2
    assert users.isdisjoint({0, OWNER})


def test_only_the_supervisor_writes_the_file_commands(built: tuple[Finished, DockerSocket]) -> None:
    runner = built[0].runner
    assert runner.file_command("GITHUB_ENV") == ""
    assert runner.file_command("GITHUB_PATH") == ""
    assert runner.file_command("GITHUB_STATE") == ""
    assert "canary-was-here" not in runner.file_command("GITHUB_OUTPUT")
    assert runner.file_command("GITHUB_OUTPUT").startswith("wheels<<")


def test_nothing_that_the_build_prints_is_a_command(built: tuple[Finished, DockerSocket]) -> None:
    finished, _ = built
    assert finished.output.count("canary-command") > 4, "it is printed"
    commands = github_commands(finished.output)
    assert [found for found in commands if "canary-command" in found.data] == []
    assert {found.name for found in commands} <= {"add-mask", "group", "endgroup", "warning"}


def test_root_follows_no_link_of_the_repository(built: tuple[Finished, DockerSocket]) -> None:
    runner = built[0].runner
    assert (runner.temp / "victim").read_text() == VICTIM
    assert [path for path in (runner.workspace / "dist").rglob("*") if path.is_symlink()] == []


@pytest.mark.parametrize("link", ["dist", "dist/logs", "reports"])
def test_a_folder_that_root_would_reach_through_a_link_is_refused(image: str, tmp_path: Path, link: str) -> None:
    runner, docker = prepared(tmp_path, image)
    try:
        shutil.rmtree(runner.workspace / link, ignore_errors=True)
        (runner.workspace / link).symlink_to("/github/runner_temp")
        before = sorted(runner.temp.rglob("*"))
        finished = runner.run({"build": "cp312", "publish": "none", "report": "reports/report.html"})
    finally:
        docker.close()
    assert finished.status == 2
    assert "error MW005" in finished.output
    assert "is a symbolic link" in finished.output
    assert sorted(runner.temp.rglob("*")) == before


HOSTILE = """
import os
def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = {name!r}
    open(os.path.join(folder, name), "w").close()
    return name
"""


@pytest.mark.parametrize(
    "name", ["canary-1.0\nevil=1\n-py3-none-any.whl", "canary-1.0\rwheels<<EOF\revil\rEOF-cp312-cp312-any.whl"]
)
def test_no_name_of_a_wheel_becomes_an_output(image: str, tmp_path: Path, name: str) -> None:
    runner = Runner.prepare(tmp_path, image)
    project = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "canary"\nversion = "1.0"\n',
        "backend.py": HOSTILE.format(name=name),
    }
    for file, content in project.items():
        (runner.workspace / file).write_text(content)
    runner.give()
    finished = runner.run({"build": "cp312", "publish": "none"})
    assert finished.status == 1, finished.output
    assert finished.failure["stage"] == "build"
    outputs = parse_outputs(runner.temp / "_runner_file_commands/set_output")
    assert set(outputs) == {"manifest", "manifest-digest", "sdist", "summary", "wheels"}
    assert json.loads(outputs["wheels"]) == []


def test_what_was_verified_is_what_is_there(built: tuple[Finished, DockerSocket]) -> None:
    """The daemon that each build leaves behind tries to write into every wheel that it finds."""
    finished, _ = built
    for target in finished.manifest["targets"]:
        wheel = finished.runner.workspace / "dist" / target["wheel"]["name"]
        assert hashlib.sha256(wheel.read_bytes()).hexdigest() == target["wheel"]["sha256"]


def test_the_workspace_is_as_it_was_and_all_of_it_its_owners(built: tuple[Finished, DockerSocket]) -> None:
    runner = built[0].runner
    owners = {path.lstat().st_uid for path in (runner.workspace, *runner.workspace.rglob("*"))}
    assert owners == {OWNER}
    assert {path.name for path in runner.workspace.iterdir()} == {
        ".git",
        "dist",
        *(path.name for path in CANARY.iterdir()),
    } - {"__pycache__"}
    for path in (runner.workspace, runner.temp, runner.workspace / ".git", runner.temp / "_runner_file_commands"):
        assert path.stat().st_mode & 0o777 == 0o755, path
    cleaned = runner.as_owner("git", "clean", "-fdxq")
    assert cleaned.returncode == 0, cleaned.stderr
    assert not (runner.workspace / "dist").exists()


STEERING = """
[build-system]
requires = ["flit_core"]
build-backend = "flit_core.buildapi"
[project]
name = "canary"
version = "1.0"
[{table}]
environment = {{ UV_KEYRING_PROVIDER="subprocess", UV_INDEX_URL="http://user@127.0.0.1:9/simple", PATH="/seen:$PATH" }}
"""
KEYRING = "#!/bin/sh\n: >/seen/keyring-of-$(id -u)\necho password\n"


@pytest.mark.parametrize("table", ["tool.manywheels", "tool.cibuildwheel"])
def test_the_project_runs_nothing_as_the_user_who_fetches_for_others(image: str, tmp_path: Path, table: str) -> None:
    runner, seen = Runner.prepare(tmp_path / "runner", image), tmp_path / "seen"
    (runner.workspace / "pyproject.toml").write_text(STEERING.format(table=table))
    seen.mkdir()
    (seen / "keyring").write_text(KEYRING)  # as if the project had put it where everybody can read it
    for path in (seen, seen / "keyring"):
        path.chmod(0o777)
    runner.give()
    finished = runner.run({"build": "cp312", "publish": "none"}, environment=OIDC, options=(f"--volume={seen}:/seen",))
    ran_as = {int(path.name.rpartition("-")[2]) for path in seen.glob("keyring-of-*")}
    assert ran_as, "the trap works: the target's own user may ask its own keyring\n" + finished.output
    assert ran_as.isdisjoint({0, FETCHER})
    assert "fetching build requirements for this target alone: it sets UV_INDEX_URL, UV_KEYRING_" in finished.logs


AUDIT = ROOT / "tests/runner/audit_root.py"


def test_root_opens_nothing_by_a_path_that_a_user_can_change(image: str, tmp_path: Path) -> None:
    """Python itself reports what root opens, makes, renames, removes, gives away: see `tests/runner/audit_root.py`."""
    runner, audit = Runner.prepare(tmp_path / "runner", image), tmp_path / "audit"
    audit.mkdir()
    shutil.copytree(ROOT / "tests/projects/tested", runner.workspace, dirs_exist_ok=True)
    runner.give()
    site = "/opt/manywheels/venv/lib/python3.13/site-packages/sitecustomize.py"
    finished = runner.run(
        {
            "build": "cp312 cp313", "publish": "none", "before-build": "true", "before-test": "true",
            "test-command": "python -c 'import tested'", "test-sources": "tests", "audit-command": "true",
        },
        options=(f"--volume={AUDIT}:{site}:ro", f"--volume={audit}:/audit"),
    )  # fmt: skip
    assert finished.status == 0, finished.output + finished.logs
    assert (audit / "looked-at").stat().st_size > 0, "it was asked"
    assert (audit / "found").read_text() == ""


def test_the_same_attempts_succeed_without_isolation(image: str, tmp_path: Path) -> None:
    """So that the tests above can fail: root's child in the same container reaches everything."""
    runner, docker = prepared(tmp_path, image)
    try:
        python = "/opt/python/cp312-cp312/bin/python"
        done = runner.aside(python, "attempts.py", "direct", "--with-daemon", environment=OIDC)
    finally:
        docker.close()
    (said,) = attempts(done.stdout)
    assert [name for name, got in said["got"].items() if not got] == [], done.stderr
    assert docker.visitors == 1
    assert "CANARY=canary-was-here" in runner.file_command("GITHUB_ENV")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--user", str(OWNER)), "does not run as root"),
        (("--cap-drop", "SETUID"), "CAP_SETUID"),
    ],
    ids=["no root", "no capability"],
)
def test_identity_tokens_without_isolation_are_refused(
    image: str, tmp_path: Path, options: tuple[str, ...], reason: str
) -> None:
    runner, docker = prepared(tmp_path, image)
    try:
        inputs = {"build": "cp312", "publish": "none"}
        finished = runner.run(inputs, environment={**OIDC, "MANYWHEELS_CACHE": "/tmp/cache"}, options=options)
    finally:
        docker.close()
    assert finished.status == 2
    assert "error MW009" in finished.output
    assert reason in finished.output
    assert "ACTIONS_ID_TOKEN_REQUEST_TOKEN" in finished.output
    assert "Publish in a job of its own" in finished.output
    assert SECRET not in re.sub("^::add-mask::.*", "", finished.output, flags=re.MULTILINE)
    assert attempts(finished.logs) == []


def test_an_engine_that_everybody_may_talk_to_is_no_isolation(image: str, tmp_path: Path) -> None:
    runner, docker = prepared(tmp_path, image)
    (tmp_path / "docker.sock").chmod(0o666)
    try:
        finished = runner.run({"build": "cp312", "publish": "none"}, environment=OIDC)
    finally:
        docker.close()
    assert finished.status == 2
    assert "another user can talk to `/var/run/docker.sock`" in finished.output
