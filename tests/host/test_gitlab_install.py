"""GitLab's templates fetch manywheels with the job's Python: what install.sh does where there is no curl.

The archive is a stand-in that requires nothing, so that nothing but the test's own server is asked.
"""

from __future__ import annotations

import io
import shutil
import ssl
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from uv import find_uv_bin

from conftest import ROOT
from index.tls import make_certificates
from unit.serving import served

TOOLS = {tool: shutil.which(tool) for tool in ("sh", "mkdir", "mktemp", "tar", "gzip", "cp")} | {
    "python3": str(Path(sys.executable).resolve()),
    "uv": find_uv_bin(),
}
PAUSES = "for pause in 1, 2, 4, 0:"
RESOURCES = """
from pathlib import Path
def resource(name):
    return Path(__file__).parents[2] / name
"""
PARTS = {
    "src/manywheels/__init__.py": "",
    "src/manywheels/resources.py": RESOURCES,
    "requirements/image.txt": "# nothing",
    **dict.fromkeys(("action.yml", "Dockerfile", "entrypoint.py"), ""),
}  # fmt: skip


def archive() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as packed:
        for name, text in PARTS.items():
            member = tarfile.TarInfo(f"manywheels-1/{name}")
            member.size = len(text)
            packed.addfile(member, io.BytesIO(text.encode()))
    return content.getvalue()


@dataclass
class Host:
    """A host of archives. It answers with these statuses first; 0 is an answer that ends too early."""

    answers: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    address: str = ""


@contextmanager
def host(*answers: int, context: ssl.SSLContext | None = None) -> Iterator[Host]:
    found, content = Host(answers=list(answers)), archive()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            status = found.answers.pop(0) if found.answers else 200
            self.send_response(status or 200)
            self.send_header("Content-Length", str(len(content) if status in {0, 200} else 0))
            self.end_headers()
            self.wfile.write({200: content, 0: content[:20]}.get(status, b""))

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with served(Handler, context) as address:
        found.address = address
        yield found


def install(folder: Path, source: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run install.sh as a job does, with the program's home in a folder, short pauses, and only TOOLS on PATH."""
    tools = folder / "bin"
    tools.mkdir()
    for tool, path in TOOLS.items():
        (tools / tool).symlink_to(str(path))
    script = (ROOT / "ci-templates/install.sh").read_text("utf-8").replace("/opt/", f"{folder}/")
    assert PAUSES in script
    script = script.replace(PAUSES, "for pause in 0.01, 0.02, 0.04, 0:")
    given = {"MANYWHEELS_FROM": "", "MANYWHEELS_REVISION": "v1", "MANYWHEELS_SOURCE": source, "PATH": str(tools)}
    return subprocess.run(
        [tools / "sh", "-c", script + '\n"$manywheels" -I -c "import manywheels; print(manywheels.__file__)"'],
        env={"HOME": str(folder), "TMPDIR": str(folder)} | given | variables,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_an_archive_is_fetched_without_curl_and_again_after_what_passes_by_itself(tmp_path: Path) -> None:
    with host(503, 0) as found:
        done = install(tmp_path, f"{found.address}/REVISION.tar.gz")
    assert done.returncode == 0, done.stderr
    assert found.asked == ["/v1.tar.gz"] * 3
    assert done.stdout.splitlines()[-1] == f"{tmp_path}/manywheels-job/source/src/manywheels/__init__.py"


def test_a_revision_that_is_not_there_is_told_at_once_with_the_inputs_that_name_it(tmp_path: Path) -> None:
    with host(404) as found:
        done = install(tmp_path, f"{found.address}/REVISION.tar.gz")
    assert done.returncode == 1
    assert found.asked == ["/v1.tar.gz"]
    assert done.stderr.strip() == (
        f"manywheels cannot be fetched from {found.address}/v1.tar.gz: HTTP Error 404: Not Found. "
        "See the inputs `revision` and `source`."
    )


def test_a_proxy_is_asked_where_there_is_one(tmp_path: Path) -> None:
    with host() as found:
        done = install(tmp_path, "http://archives.invalid/REVISION.tar.gz", http_proxy=found.address)
    assert done.returncode == 0, done.stderr
    assert found.asked == ["http://archives.invalid/v1.tar.gz"]


@pytest.mark.parametrize("variable", ["CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_ones_own_authority_is_trusted(variable: str, tmp_path: Path) -> None:
    authority, context = make_certificates(tmp_path, ["127.0.0.1"])
    with host(context=context) as found:
        done = install(tmp_path, f"{found.address}/REVISION.tar.gz", **{variable: str(authority)})
    assert done.returncode == 0, done.stderr


def test_another_authority_is_not(tmp_path: Path) -> None:
    _, context = make_certificates(tmp_path, ["127.0.0.1"])
    with host(context=context) as found:
        done = install(tmp_path, f"{found.address}/REVISION.tar.gz")
    assert done.returncode == 1
    assert "CERTIFICATE_VERIFY_FAILED" in done.stderr
    assert found.asked == []
