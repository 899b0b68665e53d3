"""gitlab-ci-local, the local GitLab runner: pipelines of a repository that has the templates of this checkout.

The components' project is the repository itself, as in a component's own pipeline: that is how the runner finds a
component without a server. manywheels comes as an archive of this checkout, from a server on 127.0.0.1.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from conftest import BASE_IMAGE, ROOT
from containers.act import make_repository

REMOTE = "https://gitlab.example.invalid/manywheels/manywheels.git"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, kw_only=True)
class Archives:
    """A server of archives of this checkout, the same one for each revision; `asked` has the revisions, in order."""

    address: str
    asked: list[str] = field(default_factory=list)


@contextmanager
def serve_archives(folder: Path) -> Iterator[Archives]:
    """Serve this checkout as an archive, as the project's host does; `folder` is for its files."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as archive:
        archive.add(make_repository(folder), arcname="manywheels-x", filter=_without_git)
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path.removeprefix("/").removesuffix(".tar.gz"))
            self.send_response(200)
            self.send_header("Content-Length", str(len(content.getvalue())))
            self.end_headers()
            self.wfile.write(content.getvalue())

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Archives(address=f"http://127.0.0.1:{server.server_address[1]}/REVISION.tar.gz", asked=asked)
    finally:
        server.shutdown()
        server.server_close()


def _without_git(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "/.git/" in member.name or member.name.endswith("/.git") else member


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """What came of a pipeline: its exit status, and what it printed, without colours."""

    status: int
    output: str

    def said(self, job: str) -> str:
        """Return what a job printed, its name left out; a job of several by its name and number: `build: [2/3]`."""
        lines = (line for line in self.output.splitlines() if line.startswith(f"{job} "))
        return "\n".join(line.removeprefix(job).strip() for line in lines)


def make_project(folder: Path, project: Path, pipeline: str) -> Path:
    """Make a repository of a project with this pipeline, and with the templates of this checkout."""
    shutil.copytree(project, folder, ignore=shutil.ignore_patterns("dist", "build", "*.egg-info", "__pycache__"))
    for templates in ("ci-templates", "templates"):
        shutil.copytree(ROOT / templates, folder / templates)
    (folder / ".gitlab-ci.yml").write_text(pipeline, encoding="utf-8")
    git(folder, "init", "--quiet", "--initial-branch", "main", ".")
    git(folder, "remote", "add", "origin", REMOTE)
    git(folder, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all of it")
    return folder


def git(repository: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.invalid")
    done = subprocess.run(["git", *identity, *arguments], cwd=repository, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def run(repository: Path, *arguments: str, variables: Mapping[str, str] | None = None) -> Pipeline:
    """Run the repository's pipeline, or only the jobs that are named."""
    given = {"GITLAB_CI": "true"} | dict(variables or {})
    return _start(repository, "--network", "host", "--pull-policy", "if-not-present", "--helper-image", BASE_IMAGE,
                  "--max-job-name-padding", "0", *_variables(given), *arguments)  # fmt: skip


def listed(repository: Path, variables: Mapping[str, str]) -> set[str]:
    """Return the jobs of the pipeline that these variables make, without the numbers of `parallel`."""
    shown = _start(repository, "--list-json", *_variables(variables))
    assert shown.status == 0, shown.output
    return {job["name"].partition(":")[0] for job in json.loads(shown.output) if job["when"] != "never"}


def preview(repository: Path, *arguments: str) -> Pipeline:
    """Return the whole configuration as the runner understands it, as YAML; nothing is run."""
    return _start(repository, "--preview", *arguments)


def _variables(given: Mapping[str, str]) -> list[str]:
    """Return the arguments that give variables, also those that the runner has values of its own for."""
    values = (part for name, value in given.items() for part in ("--variable", f"{name}={value}"))
    return ["--ignore-predefined-vars", ",".join(given), *values]


def _start(repository: Path, *arguments: str) -> Pipeline:
    done = subprocess.run(
        ["gitlab-ci-local", "--home", str(repository.parent / "home"), *arguments],
        cwd=repository, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    shown = {"--preview", "--list-json"} & set(arguments) and not done.returncode
    said = done.stdout if shown else done.stdout + done.stderr
    return Pipeline(status=done.returncode, output=_COLOURS.sub("", said))
