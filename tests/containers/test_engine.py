"""`--engine container` as users run it: the real engine, the real image, examples/spam."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest
from elftools.elf.elffile import ELFFile

from runner import copied_program, image_of

if TYPE_CHECKING:
    from docker import DockerClient

ROOT = Path(__file__).parents[2]
SPAM = ROOT / "examples/spam"
FAILS = ROOT / "tests/projects/fails_backend"  # at once
HANGS = ROOT / "tests/projects/hangs"
ARCH = os.uname().machine
TAG_OF = """
import docker, os
from manywheels.plan import policies
from manywheels.runtime.containers import image
policy, arch = policies.policy_named("manylinux_2_28"), os.uname().machine
base = docker.from_env().images.get(policy.image_name(arch)).id
print(image.image_tag(policy, arch, image.image_context(), base))
"""

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("program_image")]


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """The project, or a copy of it, and what it names its image."""

    path: Path
    tag: str

    @property
    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.path / "src"), "PYTHONDONTWRITEBYTECODE": "1"}

    def command(self, project: Path, output: Path, *options: str) -> list[str]:
        return [sys.executable, "-P", "-m", "manywheels", "build", str(project), "--output-dir", str(output),
                "--build", "cp312", "--engine", "container", *options]  # fmt: skip

    def build(self, project: Path, output: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = self.command(project, output, *options)
        return subprocess.run(
            command, env={**self.environment, **environment}, capture_output=True, text=True, check=False, timeout=600
        )

    def start(self, project: Path, output: Path, stdout: int | IO[Any]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(project, output), env=self.environment, stdout=stdout, start_new_session=True
        )


@pytest.fixture
def checkout(client: DockerClient) -> Checkout:
    """This checkout, whose image is there already."""
    return Checkout(path=ROOT, tag=image_of(client, "manylinux_2_28"))


def output_of(*command: str, **environment: str) -> str:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=True, timeout=600
    )
    return done.stdout.strip()


def containers(client: DockerClient, folder: Path) -> list[Any]:
    """Return the containers that have something of the folder mounted, running or not."""
    everything = client.containers.list(all=True, ignore_removed=True)
    return [found for found in everything if any(str(folder) in mount["Source"] for mount in found.attrs["Mounts"])]


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


def test_unchanged_wheels_are_kept_and_only_others_are_built(checkout: Checkout, tmp_path: Path) -> None:
    """What the container saw of the source is compared with what this machine sees."""
    project = tmp_path / "spam"
    shutil.copytree(SPAM, project)
    output = tmp_path / "dist"

    def build(*options: str) -> tuple[dict[str, bool], str]:
        built = checkout.build(project, output, *options, MANYWHEELS_CACHE=str(tmp_path / "cache"))
        assert built.returncode == 0, built.stdout + built.stderr
        targets = json.loads((output / "manywheels.json").read_text("utf-8"))["targets"]
        return {target["identifier"].partition("-")[0]: target["kept"] for target in targets}, built.stdout

    assert build()[0] == {"cp312": False}
    log = output / f"logs/cp312-manylinux_{ARCH}.log"
    written = log.stat().st_mtime_ns
    again, said = build()
    assert again == {"cp312": True}
    assert "up to date: 1 wheel; " in said
    assert log.stat().st_mtime_ns == written
    more, said = build("--build", "cp311 cp312")
    assert more == {"cp311": False, "cp312": True}
    assert "2 wheels in " in said
    assert "1 of them up to date" in said
    (project / "pyproject.toml").write_text((project / "pyproject.toml").read_text("utf-8") + "# changed\n")
    assert build("--build", "cp311 cp312")[0] == {"cp311": False, "cp312": False}


def test_the_image_is_built_once(client: DockerClient, tmp_path: Path) -> None:
    path = copied_program(tmp_path / "checkout")
    (path / f"src/manywheels/data/{uuid.uuid4().hex}.toml").touch()  # so nobody has its image yet
    checkout = Checkout(path=path, tag=output_of(sys.executable, "-P", "-c", TAG_OF, PYTHONPATH=str(path / "src")))
    try:
        first, again = (checkout.build(FAILS, tmp_path / "dist") for _ in range(2))
    finally:
        client.images.remove(checkout.tag, force=True)
    assert (first.returncode, again.returncode) == (1, 1), first.stderr + again.stderr
    assert "MW101" in first.stdout + first.stderr
    assert re.search(rf"^building the image {checkout.tag} .*\(once\)$", first.stderr, re.MULTILINE)
    assert "building the image" not in again.stderr


def test_the_wheel_and_the_manifest_belong_to_the_owner_of_the_folder(
    client: DockerClient, checkout: Checkout, tmp_path: Path
) -> None:
    output = tmp_path / "dist"
    output.mkdir()
    owner = (1234, 1234) if os.geteuid() == 0 else (os.getuid(), os.getgid())
    os.chown(output, *owner)
    done = checkout.build(SPAM, output)
    assert done.returncode == 0, done.stderr
    (wheel,) = output.glob("spam-*-cp312-cp312-*.whl")
    assert wheel.name in done.stdout
    manifest = json.loads((output / "manywheels.json").read_text())
    assert wheel.name in json.dumps(manifest)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in output.rglob("*")} == {owner}
    assert not containers(client, tmp_path)


def test_switches_are_handed_in(checkout: Checkout, tmp_path: Path) -> None:
    done = checkout.build(SPAM, tmp_path / "dist", "--repair-strip", "--print-hash", "--skip-existing", "--overwrite")
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "dist").glob("spam-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (extension,) = (name for name in archive.namelist() if name.endswith(".so"))
        sections = ELFFile(io.BytesIO(archive.read(extension)))
    assert sections.get_section_by_name(".symtab") is None


def test_a_failure_inside_is_the_exit_status_outside(client: DockerClient, checkout: Checkout, tmp_path: Path) -> None:
    report, junit = tmp_path / "reports/report.html", tmp_path / "reports/junit.xml"
    options = (f"--report={report}", f"--junit={junit}")
    done = checkout.build(FAILS, tmp_path / "dist", *options)
    assert done.returncode == 1, done.stderr
    assert "MW101" in done.stdout + done.stderr
    assert "MW101" in report.read_text("utf-8")
    assert "MW101" in junit.read_text("utf-8")
    assert not containers(client, tmp_path)


def test_project_code_is_isolated_in_there(checkout: Checkout, tmp_path: Path) -> None:
    """The canary tries to get hold of the credentials in the checkout, which is mounted beside its copy."""
    project = tmp_path / "around" / "canary"
    shutil.copytree(ROOT / "tests/projects/canary", project, ignore=shutil.ignore_patterns("__pycache__"))
    output_of("git", "init", "--quiet", str(project))
    (project / ".git/config").write_text("[http]\n\textraheader = canary-secret\n")
    (project / "original.txt").write_text(str(project))
    done = checkout.build(project, tmp_path / "dist")
    assert done.returncode == 0, done.stdout + done.stderr
    (log,) = (tmp_path / "dist/logs").iterdir()
    (said,) = (
        json.loads(line.partition(" ")[2]) for line in log.read_text().splitlines() if line.startswith("canary {")
    )
    assert {name: got for name, got in said["got"].items() if got} == {}
    assert said["uid"] not in {0, os.getuid()}


def test_an_sdist_is_built(checkout: Checkout, tmp_path: Path) -> None:
    sdist = shutil.make_archive(str(tmp_path / "spam-1.0.0"), "gztar", SPAM.parent, SPAM.name)
    done = checkout.build(Path(sdist), tmp_path / "dist")
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "dist").glob("spam-*.whl"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_stops_and_removes_the_container(
    client: DockerClient, checkout: Checkout, tmp_path: Path, number: signal.Signals
) -> None:
    with (tmp_path / "screen").open("wb") as screen:
        process = checkout.start(HANGS, tmp_path / "dist", screen)
    log = tmp_path / "dist/logs" / f"cp312-manylinux_{ARCH}.log"
    wait_for(lambda: log.exists() and b"hanging" in log.read_bytes())
    assert [container.status for container in containers(client, tmp_path)] == ["running"]
    process.send_signal(number)
    assert process.wait(120) == 128 + number
    assert not containers(client, tmp_path)
    assert b"cancelled" in (tmp_path / "screen").read_bytes()


def test_a_reader_that_goes_away_ends_no_build(client: DockerClient, checkout: Checkout, tmp_path: Path) -> None:
    """As without containers; `| head` must not cost the wheels."""
    with checkout.start(FAILS, tmp_path / "dist", subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(300) == 1
    (target,) = json.loads((tmp_path / "dist/manywheels.json").read_text())["targets"]
    assert target["failure"]["code"] == "MW101"
    assert not containers(client, tmp_path)


def test_a_terminal_is_a_terminal_inside(checkout: Checkout, tmp_path: Path) -> None:
    script = shutil.which("script")
    if script is None:
        pytest.skip("`script` (util-linux) is not installed")
    line = " ".join(["stty cols 111 rows 33;", *checkout.command(SPAM, tmp_path / "dist")])
    environment = {**checkout.environment, "TERM": "xterm-256color", "CI": ""}  # a log is no terminal
    done = subprocess.run([script, "-qec", line, os.devnull], env=environment, capture_output=True, check=True)
    assert b"\x1b[" in done.stdout


@pytest.mark.network
def test_an_installed_wheel_makes_the_same_image(client: DockerClient, checkout: Checkout, tmp_path: Path) -> None:
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    output_of(uv, "build", "--wheel", "--out-dir", str(tmp_path), str(checkout.path))
    (wheel,) = tmp_path.glob("manywheels-*.whl")
    python = tmp_path / "venv/bin/python"
    output_of(uv, "venv", "--python", sys.executable, str(tmp_path / "venv"))
    output_of(uv, "pip", "install", "--python", str(python), str(wheel))

    assert output_of(str(python), "-I", "-c", TAG_OF) == checkout.tag
    command = [str(python.with_name("manywheels")), *checkout.command(SPAM, tmp_path / "dist")[4:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "dist").glob("spam-*.whl"))
