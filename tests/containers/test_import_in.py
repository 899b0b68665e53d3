"""Imports in containers, for real: another distribution's interpreter, and nothing left behind."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conftest import BASE_IMAGE, ROOT
from manywheels.core.cancellation import Cancellation
from manywheels.errors import EngineError
from manywheels.verify.installs import imports_in
from manywheels.verify.model import Finding, Severity
from unit.helpers import METADATA, write_wheel

if TYPE_CHECKING:
    from docker import DockerClient

ARCH = os.uname().machine
RECORD = {"demo-1.0.dist-info/RECORD": b""}
IMPORT = """
import sys
from pathlib import Path
from manywheels.cli.main import cancellable
from manywheels.errors import Cancelled
from manywheels.verify.installs import imports_in
with cancellable() as cancellation:
    try:
        imports_in(Path(sys.argv[1]), sys.argv[2], cancellation)
    except Cancelled:
        sys.exit(cancellation.exit_status)
"""

# The SDK leaves the sockets that it was attached with to the garbage collector.
pytestmark = [pytest.mark.docker, pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def client() -> Iterator[DockerClient]:
    import docker

    with contextlib.closing(docker.from_env()) as client:
        yield client


@pytest.fixture
def image(client: DockerClient) -> Iterator[str]:
    """The manylinux image under a name of this test's own, by which its containers are known."""
    name = f"manywheels-test-{uuid.uuid4().hex}:1"
    client.images.get(BASE_IMAGE).tag(*name.split(":"))
    yield name
    left = containers(client, name)
    for container in left:
        container.remove(force=True)
    client.images.remove(name)
    assert not left, "containers were left behind"


def containers(client: DockerClient, image: str) -> list[Any]:
    everything = client.containers.list(all=True, ignore_removed=True)
    return [container for container in everything if container.attrs["Config"]["Image"] == image]


def write_pure(folder: Path, code: str, *, metadata: str = METADATA, start: str = "demo-1.0") -> Path:
    name = start.partition("-")[0]
    members = {f"{name}/__init__.py": code.encode(), f"{start}.dist-info/RECORD": b""}
    return write_wheel(folder, tags="cp312-none-any", members=members, metadata=metadata, start=start)


def write_extension(folder: Path, source: str, *, tags: str = f"cp312-cp312-linux_{ARCH}", link: str = "") -> Path:
    (folder / "core.c").write_text(source)
    (folder / "gone.c").write_text("long gone(void) { return 0; }")
    subprocess.run(["cc", "-shared", "-fPIC", "gone.c", "-o", "libgone.so"], cwd=folder, check=True)
    subprocess.run(["cc", "-shared", "-fPIC", "core.c", "-o", "core.so", "-L.", *link.split()], cwd=folder, check=True)
    members = {f"demo/_core.cpython-312-{ARCH}-linux-gnu.so": (folder / "core.so").read_bytes(), **RECORD}
    return write_wheel(folder, tags=tags, members=members)


def the_one(findings: tuple[Finding, ...]) -> Finding:
    assert len(findings) == 1, [str(finding) for finding in findings]
    return findings[0]


def test_a_wheel_is_imported_in_another_distribution(tmp_path: Path, image: str) -> None:
    build = [sys.executable, "-m", "manywheels", "build", str(ROOT / "examples/spam"), "--output-dir", str(tmp_path),
             "--build", "cp312"]  # fmt: skip
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert imports_in(wheel, image, Cancellation()) == ()


def test_a_library_that_the_image_lacks_is_named(tmp_path: Path, image: str) -> None:
    source = "extern long gone(void);\nvoid *PyInit__core(void) { return (void *)gone(); }"
    finding = the_one(imports_in(write_extension(tmp_path, source, link="-lgone"), image, Cancellation()))
    assert finding.code == "MW272"
    assert finding.severity is Severity.ERROR
    assert "`demo._core` cannot be imported" in finding.problem.message
    assert f"in `{image}`" in finding.problem.message
    assert "libgone.so: cannot open shared object file" in finding.problem.message


def test_a_crash_is_told_by_its_signal(tmp_path: Path, image: str) -> None:
    source = "#include <stdlib.h>\nvoid *PyInit__core(void) { abort(); }"
    finding = the_one(imports_in(write_extension(tmp_path, source), image, Cancellation()))
    assert "killed by SIGABRT" in finding.problem.message


def test_an_import_that_does_not_end_is_ended(tmp_path: Path, image: str) -> None:
    wheel = write_pure(tmp_path, "import time; time.sleep(600)")
    finding = the_one(imports_in(wheel, image, Cancellation(), timeout=2.0))
    assert "does not end" in finding.problem.message


def test_the_container_has_no_rights_no_network_and_nothing_to_write_to(tmp_path: Path, image: str) -> None:
    code = """
import os, pathlib, socket, tempfile
facts = [f"uid={os.getuid()}", f"networks={[name for _, name in socket.if_nameindex()]}"]
for place in ("/site/x", "/etc/x", "/var/tmp/x", "/manywheels/x"):
    try:
        open(place, "w")
        facts.append(f"can write {place}")
    except OSError:
        pass
tempfile.NamedTemporaryFile().write(b"x")
status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
facts += [f"caps={int(status['CapEff'], 16)}", f"nnp={status['NoNewPrivs'].strip()}"]
facts += sorted(name for name in os.environ if "SECRET" in name)
raise RuntimeError(" ".join(facts))
"""
    finding = the_one(imports_in(write_pure(tmp_path, code), image, Cancellation()))
    assert finding.problem.message.endswith("RuntimeError: uid=65534 networks=['lo'] caps=0 nnp=1")


def test_what_a_module_prints_is_no_result(tmp_path: Path, image: str) -> None:
    code = """import os, sys; print('{"ended": true}'); os.write(1, b'{"ended": true}\\n' * 1000); os._exit(0)"""
    finding = the_one(imports_in(write_pure(tmp_path, code), image, Cancellation()))
    assert "exits with status 0" in finding.problem.message


def test_dependencies_are_installed_for_the_python_of_the_image(tmp_path: Path, image: str) -> None:
    write_pure(tmp_path, "", start="helper-2.0")
    needs = METADATA.replace("\n\n", "\nRequires-Dist: helper; python_version == '3.12'\n\n")
    wheel = write_pure(tmp_path, "import helper", metadata=needs)
    environment = {**os.environ, "UV_OFFLINE": "1", "UV_FIND_LINKS": str(tmp_path)}
    assert imports_in(wheel, image, Cancellation(), environment=environment) == ()


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        (f"cp38-cp38-manylinux_2_28_{ARCH}", "no Python that installs `cp38` (it has 3."),
        (f"cp312-cp312-manylinux_2_99_{ARCH}", f"the wheel is for glibc 2.99 {ARCH}"),
        ("cp312-cp312-manylinux_2_28_s390x", "the wheel is for glibc 2.28 s390x"),
        (f"cp312-cp312-musllinux_1_2_{ARCH}", f"the wheel is for musl 1.2 {ARCH}"),
    ],
)
def test_what_the_image_cannot_try_is_said_to_be_untried(tmp_path: Path, image: str, tags: str, words: str) -> None:
    finding = the_one(imports_in(write_wheel(tmp_path, tags=tags, members=RECORD), image, Cancellation()))
    assert finding.code == "MW273"
    assert finding.severity is Severity.WARNING
    assert words in finding.problem.message
    assert "not tried" in finding.problem.message


def test_an_image_that_cannot_be_had(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "localhost:1/nobody/nothing:3"
    with pytest.raises(EngineError) as raised:
        imports_in(write_pure(tmp_path, ""), name, Cancellation())
    assert f"`{name}` cannot be pulled" in raised.value.message
    assert "--import-in" in raised.value.remedy
    assert "--engine" not in raised.value.remedy
    assert f"pulling {name}" in capsys.readouterr().err


def test_an_image_without_a_shell_has_no_python(tmp_path: Path, client: DockerClient) -> None:
    import io
    import tarfile

    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"), io.BytesIO())
    name = f"manywheels-test-{uuid.uuid4().hex}"
    client.api.import_image_from_data(archive.getvalue(), repository=name, tag="1")
    try:
        finding = the_one(imports_in(write_pure(tmp_path, ""), f"{name}:1", Cancellation()))
    finally:
        client.images.remove(f"{name}:1")
    assert finding.code == "MW273"
    assert "no Python at all" in finding.problem.message


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_removes_the_container(
    tmp_path: Path, client: DockerClient, image: str, number: signal.Signals
) -> None:
    wheel = write_pure(tmp_path, "import time; time.sleep(600)")
    with subprocess.Popen([sys.executable, "-c", IMPORT, wheel, image]) as process:
        deadline = time.monotonic() + 300
        while not any("/site" in str(found.attrs["Mounts"]) for found in containers(client, image)):
            assert time.monotonic() < deadline, "no container came"
            time.sleep(0.1)
        process.send_signal(number)
        assert process.wait(120) == 128 + number
    assert containers(client, image) == []
