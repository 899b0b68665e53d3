"""Builds in images other than the policy's own: named by the user, for another policy, for another architecture."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conftest import BASE_IMAGE, ROOT
from containers.test_images import require_image
from manywheels.plan import architectures
from manywheels.plan.policies import policy_named
from runner import image_of

if TYPE_CHECKING:
    from docker import DockerClient

TESTED = ROOT / "tests/projects/tested"
MACHINE = os.uname().machine

pytestmark = [pytest.mark.docker, pytest.mark.network]


@pytest.fixture
def own_name(client: DockerClient) -> Iterator[str]:
    """A name for an image of the test's own; what is called so afterwards is removed, and what was made upon it."""
    import docker

    name = f"manywheels-test-{uuid.uuid4().hex}:1"
    before = {tag for found in client.images.list("manywheels") for tag in found.tags}
    yield name
    made = {tag for found in client.images.list("manywheels") for tag in found.tags} - before
    ours = tag_upon(client, name)
    for tag in (*sorted(made & {ours}), name):
        with contextlib.suppress(docker.errors.ImageNotFound):
            client.images.remove(tag, force=True)


def tag_upon(client: DockerClient, base: str) -> str:
    """Return the name of manywheels' image upon another."""
    return image_of(client, "manylinux_2_28", base)


def build(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Build the project, a copy of it in `folder`, into `folder/dist`."""
    shutil.copytree(TESTED, folder / "tested", dirs_exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "manywheels", "build", folder / "tested", "--output-dir", folder / "dist",
         "--build", "cp312", *options],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip


def test_an_image_that_does_not_exist_is_named(tmp_path: Path) -> None:
    done = build(tmp_path, "--image", "127.0.0.1:9/nobody/nothing:1")

    assert done.returncode == 2
    assert "error MW007" in done.stderr
    assert "`127.0.0.1:9/nobody/nothing:1` cannot be pulled" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_image_without_the_pythons_is_named(client: DockerClient, own_name: str, tmp_path: Path) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    client.api.import_image_from_data(archive.getvalue(), *own_name.split(":"))
    done = build(tmp_path, "--image", own_name)

    assert done.returncode == 2
    assert f"error MW007: The image `{own_name}` has no /opt/python" in done.stderr
    assert not list(client.containers.list(all=True, filters={"ancestor": own_name}))


def test_an_image_of_the_users_own_builds_and_tests(client: DockerClient, own_name: str, tmp_path: Path) -> None:
    client.images.get(BASE_IMAGE).tag(*own_name.split(":"))
    tests = ("--test-command", "pytest {package}/tests", "--test-requires", "pytest")
    done = build(tmp_path, "--image", own_name, "--before-all", "id -u > /before-all && chmod a+r /before-all",
                 "--before-build", "echo $(id -u) after $(cat /before-all)", *tests)  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    (target,) = json.loads((tmp_path / "dist/manywheels.json").read_text("utf-8"))["targets"]
    assert (target["tests"]["passed"], target["tests"]["count"]) == (True, 2)
    assert f"manylinux_2_28_{MACHINE}" in target["wheel"]["name"]
    log = (tmp_path / "dist" / target["log"]).read_text("utf-8")
    found = re.search(r"^(\d+) after 0$", log, re.MULTILINE)
    assert found, "before-all runs as root"
    assert int(found[1]) > 1000, "before-build does not"


def test_another_architecture_needs_a_machine_of_it_or_emulation(tmp_path: Path) -> None:
    other = "s390x"
    if architectures.emulator(other) or architectures.is_native(other):
        pytest.skip(f"this machine runs {other}")
    done = build(tmp_path, "--archs", other)

    assert done.returncode == 2
    assert (
        f"error MW007: This machine is {MACHINE}, and the engine has no emulation to build for {other}" in done.stderr
    )
    assert "`ubuntu-24.04-arm`" in done.stderr
    assert "tonistiigi/binfmt" in done.stderr

    done = build(tmp_path, "--archs", other, "--engine", "host", "--toolchain", "system")
    assert done.returncode == 2
    assert f"The system's compiler links for {MACHINE} and glibc, not for manylinux_2_28_{other}" in done.stderr


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace as GitHub's runner makes it: somebody else's."""
    folder = tmp_path / "workspace"
    shutil.copytree(TESTED, folder / "tested")
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 1001, 1001)
    return folder


def test_the_action_starts_the_image_of_another_policy(
    client: DockerClient, image: str, tmp_path: Path, workspace: Path
) -> None:
    import docker

    require_image(client, policy_named("manylinux2014"))
    files = tmp_path / "files"
    files.mkdir()
    (files / "output").touch()
    inputs = {"PLATFORM": "manylinux2014", "BUILD": "cp312", "PACKAGE-DIR": "tested", "PUBLISH": "none",
              "TEST-COMMAND": "pytest {package}/tests", "TEST-REQUIRES": "pytest"}  # fmt: skip
    variables = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": "/github/workspace",
                 "GITHUB_OUTPUT": "/github/file_commands/output"}  # fmt: skip
    variables |= {f"INPUT_{name}": value for name, value in inputs.items()}
    socket = "/var/run/docker.sock"
    mounts = {str(workspace): "/github/workspace", str(files): "/github/file_commands", socket: socket}
    try:
        said = client.containers.run(
            image, name=f"manywheels-test-{uuid.uuid4().hex}", remove=True, environment=variables,
            volumes={outside: {"bind": inside} for outside, inside in mounts.items()}, working_dir="/github/workspace",
            stdout=True, stderr=True,
        )  # fmt: skip
        text = said.decode()
    except docker.errors.ContainerError as error:
        text = str(error)

    manifest: dict[str, Any] = json.loads((workspace / "dist/manywheels.json").read_text("utf-8"))
    (target,) = manifest["targets"]
    assert target["state"] == "built", text
    assert target["tests"]["passed"] is True
    assert manifest["platform"] == f"manylinux2014_{MACHINE}"
    assert f"manylinux2014_{MACHINE}" in target["wheel"]["name"]
    assert f"dist/{target['wheel']['name']}" in (files / "output").read_text("utf-8")
    owners = {path.stat().st_uid for path in (workspace, *workspace.rglob("*"))}
    assert owners == {workspace.stat().st_uid}


PYTEST = ("--test-requires", "pytest", "--test-command", "pytest {project}/tests")
ELSEWHERE = policy_named("manylinux_2_34")


@pytest.mark.parametrize("engine", ["host", "container"])
def test_tests_in_another_image(client: DockerClient, tmp_path: Path, engine: str) -> None:
    require_image(client, ELSEWHERE)
    hook = 'test -n "$AUDITWHEEL_POLICY" && echo in $AUDITWHEEL_POLICY as $(id -u)'
    there = ("--test-in", ELSEWHERE.image_name(MACHINE), "--before-test", hook, "--engine", engine)
    done = build(tmp_path, *there, *PYTEST)

    assert done.returncode == 0, done.stdout + done.stderr
    (target,) = json.loads((tmp_path / "dist/manywheels.json").read_text("utf-8"))["targets"]
    assert (target["tests"]["passed"], target["tests"]["count"]) == (True, 2)
    log = (tmp_path / "dist" / target["tests"]["log"]).read_text("utf-8")
    assert "in manylinux_2_34 as 65534" in log
    assert "2 passed" in log


def test_tests_in_another_image_see_what_they_would_see_here(
    client: DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_image(client, ELSEWHERE)
    monkeypatch.setenv("PASSED", "from the caller")
    monkeypatch.setenv("UV_INDEX_URL", "https://me:hush@index.invalid/simple")  # withheld, as it is from builds
    sources = tmp_path / "tested/more data"
    sources.mkdir(parents=True)
    (sources / "*").write_text("no pattern")
    command = (
        'echo "seen: $FLAVOUR, $PASSED, $DATA, $MANYWHEELS $MANYWHEELS_BUILD_IDENTIFIER, '
        '$CIBUILDWHEEL $CIBUILDWHEEL_BUILD_IDENTIFIER"; cat "more data/*"; test -d tests; env'
    )
    done = build(
        tmp_path, "--engine", "host", "--test-in", ELSEWHERE.image_name(MACHINE), "--environment-pass", "PASSED",
        "--environment", "FLAVOUR=sweet DATA={project}/data", "--test-environment", "FLAVOUR=$FLAVOUR-sour",
        "--test-sources", "tests 'more data/*'", "--test-command", command,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    (target,) = json.loads((tmp_path / "dist/manywheels.json").read_text("utf-8"))["targets"]
    log = (tmp_path / "dist" / target["tests"]["log"]).read_text("utf-8")
    known = f"1 cp312-manylinux_{MACHINE}"
    assert f"seen: sweet-sour, from the caller, /manywheels/project/data, {known}, {known}" in log
    assert "no pattern" in log
    assert "hush" not in log


def test_tests_that_fail_in_another_image_keep_the_wheel_out(client: DockerClient, tmp_path: Path) -> None:
    require_image(client, ELSEWHERE)
    there = ("--test-in", ELSEWHERE.image_name(MACHINE), "--test-environment", "ANSWER=41", "--engine", "host")
    done = build(tmp_path, *there, *PYTEST)

    assert done.returncode == 1
    (target,) = json.loads((tmp_path / "dist/manywheels.json").read_text("utf-8"))["targets"]
    failure = target["failure"]
    assert (failure["code"], failure["stage"]) == ("MW110", "test")
    assert "1 of 2 tests failed: tests/test_answer.py::test_answer" in failure["problem"]
    assert (failure["file"], failure["line"]) == ("tests/test_answer.py", 8)
    assert not list((tmp_path / "dist").glob("*.whl"))


def test_an_image_to_test_in_without_the_python_is_named(client: DockerClient, own_name: str, tmp_path: Path) -> None:
    made, _ = client.images.build(fileobj=io.BytesIO(f"FROM {BASE_IMAGE}\nRUN rm -rf /opt/python\n".encode()), rm=True)
    made.tag(*own_name.split(":"))
    done = build(tmp_path, "--test-in", own_name, "--engine", "host", "--test-command", "true", "--build", "cp39")

    assert done.returncode == 1, done.stdout + done.stderr
    assert f"`{own_name}` with Python 3.9: the image has no such Python" in done.stdout
