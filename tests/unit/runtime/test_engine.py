"""The container engine's client, against sockets that answer wrongly or not at all; the image's context; the mounts."""

from __future__ import annotations

import gc
import io
import json
import os
import re
import shutil
import socket
import socketserver
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from manywheels import resources
from manywheels.cli import commands
from manywheels.cli import container_build as cli_container_build
from manywheels.cli.request import Request
from manywheels.core.cancellation import Cancellation
from manywheels.errors import EngineError, InputError
from manywheels.plan import architectures
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.options import resolve
from manywheels.plan.platforms import Platform
from manywheels.plan.policies import policy_named
from manywheels.plan.project import read_project
from manywheels.runtime.containers import engine, image, program
from manywheels.runtime.containers.program import ContainerBuild

ROOT = Path(__file__).parents[3]
POLICY = policy_named("manylinux_2_28")
PLATFORM = Platform(policy=POLICY, arch="x86_64")
VERSION = {"ApiVersion": "1.41", "Version": "20.10.24", "Components": [{"Name": "Engine", "Version": "20.10.24"}]}
Answer = tuple[int, list[dict[str, Any]]]

# The SDK leaves the sockets of failed requests to the garbage collector; nothing of ours can close them.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
def socket_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is too long for a socket's name
        path = Path(folder, "docker.sock")
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        monkeypatch.setenv("DOCKER_CONFIG", folder)
        yield path


class FakeEngine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """An engine that knows some answers by heart: requests are looked for as `METHOD /path`, without the version."""

    daemon_threads = True

    def __init__(self, path: Path, answers: dict[str, Answer]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.hanging = threading.Event()
        self.released = threading.Event()
        super().__init__(str(path), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeEngine

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        remaining = int(self.headers.get("Content-Length", 0))
        self.rfile.read(remaining)
        self._answer("POST")

    def _answer(self, method: str) -> None:
        path, _, query = re.sub(r"^/v[0-9.]+/", "/", self.path).partition("?")
        name = f"{method} {path}"
        self.server.asked.append((name, parse_qs(query)))
        status, messages = self.server.answers.get(name, (404, [{"message": f"no such thing: {name}"}]))
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for message in messages:
            if message.get("hang"):
                self.server.hanging.set()
                self.server.released.wait(30)
                continue
            text = json.dumps(message).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def serving(path: Path, answers: dict[str, Answer]) -> Iterator[FakeEngine]:
    with FakeEngine(path, answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()


def container_build(folder: Path) -> ContainerBuild:
    (folder / "project").mkdir(exist_ok=True)
    return ContainerBuild(package=folder / "project", output_dir=folder / "dist", platform=PLATFORM)


def ignore(_stream: int, _chunk: bytes) -> bool:
    """Take a container's output."""
    return True


def refusal(folder: Path) -> EngineError:
    with pytest.raises(EngineError) as caught:
        program.run_build(container_build(folder), Cancellation(), ignore)
    assert caught.value.code == "MW007"
    assert "--engine host" in caught.value.remedy
    return caught.value


# --- reaching the engine


def test_without_an_engine_the_error_says_how_to_get_one_or_do_without(socket_path: Path, tmp_path: Path) -> None:
    error = refusal(tmp_path)
    assert "There is no container engine" in error.message
    assert str(socket_path) in error.message
    assert "Install Docker, or Podman" in error.remedy


def test_a_dead_socket_is_told_from_a_missing_one(socket_path: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path))
    error = refusal(tmp_path)
    assert "does not answer" in error.message
    assert "systemctl start docker" in error.remedy


def test_a_socket_without_permission_names_the_group(socket_path: Path, open_folder: Path) -> None:
    import docker
    import requests
    import urllib3

    assert docker, (requests, urllib3)  # imported while everything may be read
    build = container_build(open_folder)
    build.output_dir.mkdir()
    for folder in (open_folder, build.output_dir, socket_path.parent):
        folder.chmod(0o777)
    with serving(socket_path, {}):
        socket_path.chmod(0)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)
        try:
            error = refusal(open_folder)
        finally:
            os.seteuid(before)
    assert "permission denied" in error.message
    assert "usermod -aG docker" in error.remedy


def test_an_engine_on_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://builder@far.example")
    assert "on another machine" in refusal(tmp_path).message


def test_without_the_sdk_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    assert "`docker` is not installed" in refusal(tmp_path).message


@pytest.mark.parametrize("version", ["1.40", "1.12"])
def test_an_old_engine_is_refused_with_the_version_needed(socket_path: Path, tmp_path: Path, version: str) -> None:
    with serving(socket_path, {"GET /version": (200, [{"ApiVersion": version}])}):
        error = refusal(tmp_path)
    assert "too old" in error.message
    assert "1.41" in error.message


@pytest.mark.parametrize("answer", [(500, [{"message": "the engine's store is broken"}]), (200, [{"nothing": 1}])])
def test_an_engine_that_answers_nonsense(socket_path: Path, tmp_path: Path, answer: Answer) -> None:
    with serving(socket_path, {"GET /version": answer}):
        error = refusal(tmp_path)
    assert "no usable response" in error.message
    assert "docker version" in error.remedy


def test_the_engine_is_described(socket_path: Path) -> None:
    with serving(socket_path, {"GET /version": (200, [VERSION])}):
        assert engine.describe_engine() == "Engine 20.10.24, API 1.41"


# --- the image

HAS_BASE: dict[str, Answer] = {
    "GET /version": (200, [VERSION]),
    f"GET /images/{POLICY.image_name('x86_64')}/json": (200, [{"Id": "sha256:0", "RepoTags": []}]),
}


@pytest.mark.parametrize(
    "answer",
    [
        (500, [{"message": "Get https://registry.example/v2/: connection refused"}]),
        (200, [{"status": "Pulling"}, {"error": "registry.example: connection refused"}]),
    ],
    ids=["at once", "later"],
)
def test_a_base_image_that_cannot_be_pulled(
    socket_path: Path, tmp_path: Path, answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(socket_path, {"GET /version": (200, [VERSION]), "POST /images/create": answer}):
        error = refusal(tmp_path)
    assert "manylinux_2_28_x86_64" in error.message
    assert "connection refused" in error.message
    assert "docker pull" in error.remedy
    assert capsys.readouterr().err.startswith("pulling ")


def test_a_base_image_that_is_there_is_not_asked_for_and_a_failed_build_shows_its_end(
    socket_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [{"stream": f"line {number}\n"} for number in range(100)]
    failed = {"error": "The command returned a non-zero code: 1"}
    with serving(socket_path, {**HAS_BASE, "POST /build": (200, [*steps, failed])}):
        error = refusal(tmp_path)
    assert "could not be built: The command returned a non-zero code: 1" in error.message
    assert "line 99" in error.message
    assert "line 12\n" not in error.message
    assert "pulling" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "answers",
    [
        {**HAS_BASE, "POST /build": (200, [{"error": "write /var/lib: no space left on device"}])},
        {**HAS_BASE, "POST /build": (500, [{"message": "mkdir: no space left on device"}])},
        {
            **HAS_BASE,
            "POST /build": (200, []),
            "POST /containers/create": (500, [{"message": "no space left on device"}]),
        },
        {"GET /version": (200, [VERSION]), "POST /images/create": (200, [{"error": "x: No space left on device"}])},
    ],
)
def test_a_full_disk_is_said_to_be_full(socket_path: Path, tmp_path: Path, answers: dict[str, Answer]) -> None:
    with serving(socket_path, answers):
        assert "disk is full" in refusal(tmp_path).remedy


FOREIGN, FOREIGN_PLATFORM = ("aarch64", "linux/arm64") if os.uname().machine == "x86_64" else ("x86_64", "linux/amd64")
ENGINE = {**VERSION, "Arch": os.uname().machine, "KernelVersion": "of a virtual machine"}


@pytest.mark.parametrize(
    ("here", "arch", "pulled"),
    [
        ("", os.uname().machine, ""),  # the engine's own, without a word
        ("", FOREIGN, FOREIGN_PLATFORM),
        (os.uname().machine, os.uname().machine, None),
        (FOREIGN, FOREIGN, None),
        (os.uname().machine, FOREIGN, FOREIGN_PLATFORM),  # the name stands for several
        (FOREIGN, os.uname().machine, architectures.image_platform(os.uname().machine)),
    ],
)
def test_an_image_for_several_architectures_is_pulled_for_the_one_asked_for(
    socket_path: Path, here: str, arch: str, pulled: str | None
) -> None:
    answers: dict[str, Answer] = {"GET /version": (200, [ENGINE]), "POST /images/create": (200, [])}
    if here:
        answers["GET /images/base:1/json"] = (200, [{"Id": "sha256:0", "Architecture": here}])
    with serving(socket_path, answers) as server, engine.connected("pull") as client:
        image.pull_for_architecture(client, "base:1", arch)
    asked = [query.get("platform", [""])[0] for name, query in server.asked if name == "POST /images/create"]
    assert asked == ([] if pulled is None else [pulled])


def test_an_image_is_pulled_by_its_digest_and_then_has_its_name(socket_path: Path) -> None:
    digest = f"sha256:{'a' * 64}"
    answers: dict[str, Answer] = {
        "GET /version": (200, [ENGINE]), "POST /images/create": (200, [{"status": "done"}]),
        f"POST /images/example.invalid/base%40{digest}/tag": (201, []),
    }  # fmt: skip
    with serving(socket_path, answers) as server, engine.connected("pull") as client:
        image.pull_if_missing(client, "example.invalid/base:1", digest=digest)
    (pulled,) = (query for name, query in server.asked if name == "POST /images/create")
    assert pulled["tag"] == [digest]
    (named,) = (query for name, query in server.asked if name.endswith("/tag"))
    assert (named["repo"], named["tag"]) == (["example.invalid/base"], ["1"])


def test_a_foreign_architectures_image_is_built_and_started_as_such(socket_path: Path, tmp_path: Path) -> None:
    base = POLICY.image_name(FOREIGN)
    answers: dict[str, Answer] = {
        "GET /version": (200, [ENGINE]), f"GET /images/{base}/json": (200, [{"Id": "sha256:0"}]),
        "POST /build": (200, []), "POST /containers/create": (500, [{"message": "exec format error"}]),
    }  # fmt: skip
    build = replace(container_build(tmp_path), platform=Platform(policy=POLICY, arch=FOREIGN))
    with serving(socket_path, answers) as server, pytest.raises(EngineError) as caught:
        program.run_build(build, Cancellation(), lambda *_: True)
    platforms = {name: query.get("platform") for name, query in server.asked if name.startswith("POST")}
    assert platforms == {"POST /build": [FOREIGN_PLATFORM], "POST /containers/create": [FOREIGN_PLATFORM]}
    assert "or install QEMU for it" in caught.value.remedy


def test_folders_that_the_engine_does_not_see(socket_path: Path, tmp_path: Path) -> None:
    unseen: Answer = (400, [{"message": "invalid mount config: bind source path does not exist: /x"}])
    with serving(socket_path, {**HAS_BASE, "POST /build": (200, []), "POST /containers/create": unseen}):
        assert "does not see this machine's folders" in refusal(tmp_path).remedy


def test_a_build_of_the_image_can_be_cancelled(socket_path: Path, tmp_path: Path) -> None:
    cancellation = Cancellation()
    with serving(socket_path, {**HAS_BASE, "POST /build": (200, [{"hang": True}])}) as server:

        def cancel() -> None:
            server.hanging.wait(30)
            cancellation.request()

        threading.Thread(target=cancel).start()
        started = time.monotonic()
        assert program.run_build(container_build(tmp_path), cancellation, ignore) == program.STOPPED
        assert time.monotonic() - started < 30


# --- the context


def lay_out(folder: Path, *, installed: bool) -> Path:
    """Copy the package and the image's files as they lie in a checkout, or where a wheel installs them."""
    package = folder / ("site-packages/manywheels" if installed else "src/manywheels")
    shutil.copytree(resources.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__", "_image"))
    for name in resources.IMAGE_FILES:
        target = (package / "_image" if installed else folder) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(resources.resource(name), target)
    return package


def context_of(package: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    with monkeypatch.context() as patch:
        patch.setattr(resources, "PACKAGE", package)
        return image.image_context()


def test_the_context_is_the_same_from_a_checkout_and_from_a_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = lay_out(tmp_path / "checkout", installed=False)
    wheel = lay_out(tmp_path / "wheel", installed=True)
    (wheel / "__pycache__").mkdir()
    (wheel / "__pycache__/cli.cpython-312.pyc").write_bytes(b"x")
    (wheel / "cli/main.py").chmod(0o600)
    os.utime(wheel / "cli/main.py", (1, 1))
    assert context_of(checkout, monkeypatch) == context_of(wheel, monkeypatch)


def test_the_image_has_another_name_when_anything_in_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = lay_out(tmp_path, installed=False)
    context = context_of(package, monkeypatch)
    tags = {
        image.image_tag(POLICY, "x86_64", context, "sha256:0"),
        image.image_tag(policy_named("manylinux2014"), "x86_64", context, "sha256:0"),
        image.image_tag(POLICY, "x86_64", context, "sha256:1"),  # pulled anew, under the same name
    }
    for changed in (package / "cli/main.py", tmp_path / "Dockerfile", tmp_path / "requirements/image.txt"):
        changed.write_text(changed.read_text() + "\n# changed\n")
        tags.add(image.image_tag(POLICY, "x86_64", context_of(package, monkeypatch), "sha256:0"))
    assert len(tags) == 6
    assert all(re.fullmatch(r"manywheels:manylinux\w+-x86_64-[0-9a-f]{12}", tag) for tag in tags)


def test_the_context_holds_what_the_dockerfile_copies() -> None:
    with tarfile.open(fileobj=io.BytesIO(image.image_context())) as archive:
        names = archive.getnames()
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert "src/manywheels" in sources
    for source in sources:
        assert any(name == source or name.startswith(f"{source}/") for name in names), source
    assert not [name for name in names if "__pycache__" in name or "_image" in name]


def test_dockerignore_keeps_what_the_dockerfile_copies() -> None:
    kept = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert {source for line in copied for source in line.split()} <= set(kept)


@pytest.mark.parametrize("name", ["image.txt", "dev.txt"])
def test_the_locks_hold_hashes_and_name_no_index(name: str) -> None:
    lock = (ROOT / "requirements" / name).read_text()
    assert "://" not in lock
    requirements = re.split(r"^(?=[a-z])", lock, flags=re.MULTILINE)[1:]
    assert len(requirements) > 10
    assert all("--hash=sha256:" in requirement for requirement in requirements)


# --- what the container is given


def places(package: Path, output: Path) -> tuple[dict[str, tuple[str, bool]], list[str]]:
    mounts, arguments = program.mounts_and_arguments(package, output)
    return {mount["Target"]: (mount["Source"], bool(mount["ReadOnly"])) for mount in mounts}, arguments


def test_the_whole_repository_is_mounted_read_only(tmp_path: Path) -> None:
    package = tmp_path / "repository/packages/spam"
    package.mkdir(parents=True)
    (tmp_path / "repository/.git").mkdir()
    mounts, arguments = places(package, tmp_path / "dist")
    assert mounts[str(tmp_path / "repository")] == (str(tmp_path / "repository"), True)
    assert mounts[str(tmp_path / "dist")] == (str(tmp_path / "dist"), False)
    assert mounts["/var/cache/manywheels"] == ("manywheels-cache", False)
    assert arguments == [str(package), f"--output-dir={tmp_path / 'dist'}"]


def test_an_output_folder_in_the_project_keeps_its_place(tmp_path: Path) -> None:
    mounts, arguments = places(tmp_path, tmp_path / "dist")
    assert mounts[str(tmp_path / "dist")] == (str(tmp_path / "dist"), False)
    assert arguments == [str(tmp_path), f"--output-dir={tmp_path / 'dist'}"]


def test_what_would_hide_a_part_of_the_image_is_mounted_elsewhere() -> None:
    mounts, arguments = places(Path("/usr/src/spam"), Path("/opt"))
    assert mounts["/project/source"] == ("/usr/src/spam", True)
    assert mounts["/output"] == ("/opt", False)
    assert arguments == ["/project/source", "--output-dir=/output"]


def test_of_an_sdist_only_the_file_is_mounted(tmp_path: Path) -> None:
    sdist = tmp_path / "spam-1.0.tar.gz"
    sdist.touch()
    mounts, arguments = places(sdist, tmp_path / "dist")
    assert mounts[str(sdist)] == (str(sdist), True)
    assert str(tmp_path) not in mounts
    assert arguments == [str(sdist), f"--output-dir={tmp_path / 'dist'}"]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_worktree_comes_with_its_repository(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@x.example"]
    for command in (["init", "-q", "main"], ["-C", "main", "commit", "-q", "--allow-empty", "-m", "x"],
                    ["-C", "main", "worktree", "add", "-q", "../tree"]):  # fmt: skip
        subprocess.run([*git, *command], check=True, capture_output=True)
    mounts, _ = places(tmp_path / "tree", tmp_path / "dist")
    repository = str(tmp_path / "main/.git")
    assert mounts[repository] == (repository, True)


def test_a_submodule_comes_with_its_repository(tmp_path: Path) -> None:
    repository = tmp_path / "super/.git/modules/vendor"
    repository.mkdir(parents=True)
    (tmp_path / "super/vendor").mkdir()
    (tmp_path / "super/vendor/.git").write_text("gitdir: ../.git/modules/vendor\n")
    (repository / "HEAD").write_text("ref: refs/heads/main\n")
    (repository / "config").write_text("[core]\n\tworktree = ../../../vendor\n")
    mounts, _ = places(tmp_path / "super/vendor", tmp_path / "dist")
    assert mounts[str(repository)] == (str(repository), True)


def test_the_environment_is_proxies_indexes_and_what_is_passed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = {
        "https_proxy": "http://proxy.example:3128", "UV_DEFAULT_INDEX": "https://index.example/simple",
        "SOURCE_DATE_EPOCH": "315532800", "WANTED": "yes", "SECRET": "no", "LC_ALL": "de_DE.UTF-8",
        "AUDITWHEEL_PLAT": "manylinux2014_x86_64", "SSL_CERT_FILE": "/etc/ssl/own.pem", "PIP_FIND_LINKS": "/wheels",
        "UV_INDEX": "own=file:///index", "PIP_CONSTRAINT": "constraints.txt", "UV_CONSTRAINT": "https://x.example/c.txt",
    }  # fmt: skip
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    build = ContainerBuild(
        package=tmp_path, output_dir=tmp_path, platform=PLATFORM, environment_pass=("WANTED", "MISSING")
    )
    expected = ("https_proxy", "UV_DEFAULT_INDEX", "SOURCE_DATE_EPOCH", "WANTED", "UV_CONSTRAINT")
    assert program._environment(build) == {name: given[name] for name in expected}
    notice = "\n".join(program.what_is_not_known(build))
    assert all(name in notice for name in ("PIP_FIND_LINKS", "UV_INDEX", "PIP_CONSTRAINT"))
    assert "SSL_CERT_FILE" not in notice


def test_files_of_the_checkout_are_known_in_the_container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The caller's paths, relative or not, and what pip.conf says; other files are not there."""
    checkout = tmp_path / "checkout"
    for name in (".git/HEAD", "sub/pyproject.toml", "pins/build.txt", "wheels/x.whl"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).touch()
    (checkout / "elsewhere").symlink_to(tmp_path)
    (tmp_path / "pip.conf").write_text(
        "[global]\npre = 1\nproxy = http://proxy.example\nindex-url = https://a:b@c.example\n"
    )
    given = {
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_CONSTRAINT": "pins/build.txt https://x.example/c.txt",
        "PIP_BUILD_CONSTRAINT": str(tmp_path / "pip.conf"), "PIP_FIND_LINKS": f"file://{checkout}/wheels",
        "PIP_EXTRA_INDEX_URL": "../pip.conf",
    }  # fmt: skip
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(checkout)
    build = ContainerBuild(package=checkout / "sub", output_dir=tmp_path, platform=PLATFORM)
    assert program._environment(build) == {
        "PIP_CONSTRAINT": f"{checkout}/pins/build.txt https://x.example/c.txt",
        "PIP_FIND_LINKS": f"{checkout}/wheels",
        "PIP_PRE": "1",
    }
    notice = "\n".join(program.what_is_not_known(build))
    lost = next(line for line in notice.splitlines() if line.startswith("not known in the container"))
    assert lost.endswith(": PIP_EXTRA_INDEX_URL, PIP_BUILD_CONSTRAINT")
    assert "`proxy` of" in notice
    assert "`index-url` of" in notice


def request(package: Path, **given: str) -> Request:
    values = {name.replace("_", "-"): value for name, value in given.items()}
    return Request(
        command="build", paths=(package,), engine="container",
        given={
            name: Value(value=value, origin=Origin(OriginKind.COMMAND_LINE, f"--{name}"))
            for name, value in values.items()
        },
    )  # fmt: skip


def test_the_command_line_is_handed_on_without_the_output_folder(tmp_path: Path) -> None:
    package = ROOT / "tests/projects/pure"
    asked = request(
        package,
        build="cp312",
        platform="manylinux2014 musllinux_1_2",
        archs="x86_64 aarch64",
        image="",
        shard="1/2",
        output_dir=str(tmp_path),
        verbose="true",
        environment_pass="A B",
    )
    project = read_project(package)
    options = resolve(asked.given, project)
    platform = options.platforms[-1]
    targets = [target for target in options.selected if options.platform_of(target) == platform]
    build = cli_container_build.container_build(asked, project, options, platform, targets, leads=True)
    assert build.platform.tag == "musllinux_1_2_aarch64"
    assert build.output_dir == tmp_path
    assert build.environment_pass == ("A", "B")
    assert set(build.arguments) == {
        "--build=cp312", "--platform=manylinux2014 musllinux_1_2", "--archs=x86_64 aarch64", "--environment-pass=A B",
        "--compiler-cache=run",
        "--report=", "--trace=", "--toolchain=auto", "--verbose", "--part=cp312-musllinux_aarch64",
    }  # fmt: skip


def test_wrong_values_are_refused_before_the_engine_is_asked(socket_path: Path) -> None:
    with pytest.raises(InputError):
        commands.execute(request(ROOT / "tests/projects/pure", jobs="many"), Cancellation())
