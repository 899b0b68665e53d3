"""act, the local GitHub runner: workflows of a checkout of this project, and its artifact server on its own."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conftest import BASE_IMAGE, ROOT
from publish.servers import free_port

_SERVE: Final = """
on: push
jobs:
  serve:
    runs-on: ubuntu-latest
    steps:
      - run: |
          env >"$PLACE/partial"
          mv "$PLACE/partial" "$PLACE/environment"
          while test ! -e "$PLACE/stop"; do sleep 0.1; done
"""


def make_repository(folder: Path) -> Path:
    """Make a repository of the files of this checkout, without the tests."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, check=True).stdout  # fmt: skip
    for name in listed.decode().split("\0"):
        if name and (ROOT / name).is_file() and not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    subprocess.run(["git", "init", "--quiet", "--initial-branch", "main", "."], cwd=folder, check=True)
    return folder


def commit(repository: Path, workflow: str) -> Path:
    """Commit everything with this workflow; return its path."""
    path = repository / ".github" / "workflows" / "try.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(workflow, encoding="utf-8")
    for argv in (["add", "--all", "--force"], ["commit", "--quiet", "--message", "all of it"]):
        subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid", *argv], cwd=repository, check=True
        )
    return path


def run_workflow(repository: Path, workflow: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a workflow from a commit of everything in the repository; its jobs have the repository's folder."""
    return run_act(repository, commit(repository, workflow), "--bind", *options)


def run_act(repository: Path, workflow: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a workflow of the repository.

    act gives the images of all jobs one name: two runs that build at the same time take each other's away. So here is
    one at a time, whoever starts it.
    """
    with Path(tempfile.gettempdir(), f"manywheels-tests-act-{os.getuid()}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return subprocess.run(
            ["act", "push", "-W", str(workflow), "-P", f"ubuntu-latest={BASE_IMAGE}", "--pull=false", "--rm",
             "--concurrent-jobs", "1", *options],
            cwd=repository, capture_output=True, text=True, check=False, timeout=900,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ArtifactServer:
    """act's artifact server, in a run of its own: `environment` is a job's, `store` where the artifacts lie."""

    environment: dict[str, str]
    store: Path

    def zip_of(self, name: str) -> Path:
        """Return where the server keeps an artifact's zip."""
        run = self.environment["GITHUB_RUN_ID"]
        return self.store / run / name / f"{name}.zip"


@contextmanager
def artifact_server() -> Iterator[ArtifactServer]:
    """Run act with a job on this machine that waits, so that its artifact server serves."""
    with tempfile.TemporaryDirectory(prefix="act-") as folder:
        place, store, log = Path(folder, "place"), Path(folder, "store"), Path(folder, "log")
        place.mkdir()
        repository = Path(folder, "repository")
        repository.mkdir()
        subprocess.run(["git", "init", "--quiet", "--initial-branch", "main", "."], cwd=repository, check=True)
        path = commit(repository, _SERVE)
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["act", "push", "-W", str(path), "-P", "ubuntu-latest=-self-hosted", "--env", f"PLACE={place}",
                 *artifact_options(store, "127.0.0.1")],
                cwd=repository, stdout=output, stderr=output,
            )  # fmt: skip
        try:
            environment = _await_environment(process, place / "environment", log)
            yield ArtifactServer(environment=environment, store=store)
        finally:
            (place / "stop").touch()
            process.wait(timeout=300)


def artifact_options(store: Path, address: str = "") -> Sequence[str]:
    """Return act's options for an artifact server on a free port; without an address, where containers reach it."""
    where = ["--artifact-server-addr", address] if address else []
    return ["--artifact-server-path", str(store), "--artifact-server-port", str(free_port()), *where]


def _await_environment(process: subprocess.Popen[bytes], file: Path, log: Path) -> dict[str, str]:
    deadline = time.monotonic() + 300
    while not file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"act does not serve: {log.read_text()}")
        time.sleep(0.05)
    lines = file.read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line.startswith(("ACTIONS_", "GITHUB_")) and "=" in line)
