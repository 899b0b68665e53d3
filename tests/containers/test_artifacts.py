"""Artifacts against act's own server: with GitHub's own client at the other end, and with faults in between."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from containers.act import ArtifactServer, artifact_server
from containers.artifactproxy import Fault, Proxy, proxying
from containers.npm import npm_packages
from manywheels.core.retry import RetryPolicy
from manywheels.deliver.artifacts.client import Artifacts
from manywheels.deliver.artifacts.packing import ArtifactMember
from manywheels.deliver.artifacts.service import find_service
from manywheels.errors import ArtifactDiffers, ArtifactMissing, ArtifactServiceDown

pytestmark = [pytest.mark.docker, pytest.mark.act, pytest.mark.xdist_group("artifacts")]


@pytest.fixture(scope="module")
def server() -> Iterator[ArtifactServer]:
    with artifact_server() as running:
        yield running


@pytest.fixture
def proxy(server: ArtifactServer) -> Iterator[Proxy]:
    with proxying(Proxy(upstream=server.environment["ACTIONS_RESULTS_URL"].rstrip("/"))) as before:
        yield before


@pytest.fixture
def files(tmp_path: Path) -> list[ArtifactMember]:
    """A wheel of more than one block, which does not get smaller, and a manifest."""
    folder = tmp_path / "dist"
    folder.mkdir()
    (folder / "a.whl").write_bytes(os.urandom(9 << 20))
    (folder / "b.whl").write_bytes(b"PK\3\4PK\7\x08" * 10_000)  # what a reader that streams may take for an end
    (folder / "manywheels.json").write_bytes(b"{}\n" * 1000)
    return [ArtifactMember(name=path.name, path=path) for path in sorted(folder.iterdir())]


def client_of(server: ArtifactServer, proxy: Proxy | None = None) -> Artifacts:
    url = {"ACTIONS_RESULTS_URL": proxy.url} if proxy else {}
    said: list[str] = []
    retries = RetryPolicy(attempts=4, first_pause=0.01)
    return Artifacts(service=find_service({**server.environment, **url}), say=said.append, retries=retries)


def take(artifacts: Artifacts, name: str, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    artifacts.download(artifacts.find(name=name)[0], folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def contents(files: list[ArtifactMember]) -> dict[str, bytes]:
    return {member.name: member.path.read_bytes() for member in files}


def official_client(server: ArtifactServer, *arguments: str, **more: str) -> None:
    """Run GitHub's own client with the environment of a job."""
    folder = npm_packages()
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = {**keep, **server.environment, "GITHUB_SERVER_URL": "https://github.com", **more}
    done = subprocess.run(
        ["node", "artifact.mjs", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_what_we_upload_we_download(server: ArtifactServer, files: list[ArtifactMember], tmp_path: Path) -> None:
    artifacts = client_of(server)
    uploaded = artifacts.upload("ours", files, overwrite=False)
    assert uploaded.size == server.zip_of("ours").stat().st_size
    assert take(artifacts, "ours", tmp_path / "taken") == contents(files)


@pytest.mark.network
def test_githubs_own_client_downloads_what_we_upload(
    server: ArtifactServer, files: list[ArtifactMember], tmp_path: Path
) -> None:
    client_of(server).upload("for-them", files, overwrite=False)
    folder = tmp_path / "theirs"
    folder.mkdir()
    official_client(server, "download", "for-them", str(folder))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == contents(files)


def as_github_has_it(method: str, answer: dict[str, Any]) -> dict[str, Any]:
    """Escape the signature's `=`, as Azure does: the newest client would lose it."""
    if method == "CreateArtifact":
        return {**answer, "signedUploadUrl": answer["signedUploadUrl"].replace("=&", "%3D&", 1)}
    return answer


def as_act_knows_it(method: str, request: dict[str, Any]) -> dict[str, Any]:
    """Leave out the field that the newest client sends and act does not know yet."""
    return {name: value for name, value in request.items() if method != "CreateArtifact" or name != "mime_type"}


@pytest.mark.network
@pytest.mark.parametrize("compression", ["0", "6"])
def test_we_download_what_githubs_own_client_uploads(
    server: ArtifactServer, proxy: Proxy, files: list[ArtifactMember], tmp_path: Path, compression: str
) -> None:
    proxy.adapt_request, proxy.adapt_answer = as_act_knows_it, as_github_has_it
    small = files[1:]  # act's server appends blocks as they come, and their client sends several at once
    folder, names = str(small[0].path.parent), [member.name for member in small]
    url = {"ACTIONS_RESULTS_URL": proxy.url, "COMPRESSION": compression}
    official_client(server, "upload", f"theirs-{compression}", folder, *names, **url)
    assert take(client_of(server), f"theirs-{compression}", tmp_path / "taken") == contents(small)


@pytest.mark.network
def test_our_requests_have_the_fields_of_githubs_own_client(
    server: ArtifactServer, proxy: Proxy, files: list[ArtifactMember], tmp_path: Path
) -> None:
    """The fake service of the unit tests believes what we send; this is what the real client sends."""
    proxy.adapt_request, proxy.adapt_answer = as_act_knows_it, as_github_has_it
    small = files[1:]
    client_of(server, proxy).upload("fields", small, overwrite=False)
    ours = {method: set(request) for method, request in proxy.seen}
    proxy.seen.clear()
    official_client(
        server, "upload", "fields-2", str(small[0].path.parent), small[0].name, ACTIONS_RESULTS_URL=proxy.url
    )
    for method, request in proxy.seen:
        assert ours[method] == set(request), method


@pytest.mark.parametrize(
    "faults",
    [
        {"CreateArtifact": [Fault.REFUSE, Fault.DROP, Fault.LOSE]},
        {"comp=block&": [Fault.REFUSE, Fault.DROP]},
        {"comp=blocklist": [Fault.REFUSE, Fault.DROP, Fault.LOSE]},
        {"FinalizeArtifact": [Fault.LOSE, Fault.REFUSE]},
        {"ListArtifacts": [Fault.DROP, Fault.REFUSE, Fault.LOSE]},
        {"GetSignedArtifactURL": [Fault.LOSE, Fault.REFUSE]},
        {"DownloadArtifact": [Fault.REFUSE, Fault.LOSE, Fault.DROP]},
    ],
    ids=lambda faults: next(iter(faults)).partition("&")[0],
)
def test_passing_faults_do_no_harm(
    server: ArtifactServer, proxy: Proxy, files: list[ArtifactMember], tmp_path: Path, faults: dict[str, list[Fault]]
) -> None:
    expected = [fault for each in faults.values() for fault in each]
    proxy.faults = faults
    artifacts = client_of(server, proxy)
    artifacts.upload("faulty", files, overwrite=True)
    assert proxy.suffered == expected, "each of them happened"
    assert take(artifacts, "faulty", tmp_path / "taken") == contents(files)


def test_a_service_that_stays_down_is_given_up(
    server: ArtifactServer, proxy: Proxy, files: list[ArtifactMember]
) -> None:
    proxy.faults = {"CreateArtifact": [Fault.REFUSE] * 9}
    with pytest.raises(ArtifactServiceDown, match="HTTP status 503"):
        client_of(server, proxy).upload("never", files, overwrite=False)
    with pytest.raises(ArtifactMissing):
        client_of(server).find(name="never")


def test_a_byte_that_changes_on_the_way_back_is_found_out(
    server: ArtifactServer, proxy: Proxy, files: list[ArtifactMember]
) -> None:
    proxy.faults = {"DownloadArtifact": [Fault.CHANGE]}
    with pytest.raises(ArtifactDiffers):
        client_of(server, proxy).upload("changed", files, overwrite=False)


def test_a_block_that_is_stored_twice_is_found_out(
    server: ArtifactServer, proxy: Proxy, files: list[ArtifactMember]
) -> None:
    """Azure would know it by its number; act's server appends it once more."""
    proxy.faults = {"comp=block&": [Fault.LOSE]}
    with pytest.raises(ArtifactDiffers):
        client_of(server, proxy).upload("twice", files, overwrite=False)


def test_retention_reaches_the_service(server: ArtifactServer, proxy: Proxy, files: list[ArtifactMember]) -> None:
    client_of(server, proxy).upload("kept", files[1:], retention_days=3, overwrite=False)
    (request,) = [request for method, request in proxy.seen if method == "CreateArtifact"]
    until = datetime.strptime(request["expires_at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert abs(until - datetime.now(UTC) - timedelta(days=3)) < timedelta(minutes=5)
