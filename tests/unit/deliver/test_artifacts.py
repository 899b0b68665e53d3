"""Artifacts: upload, download, the service's failures, and archives that are not unpacked."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from manywheels.core.cancellation import Cancellation
from manywheels.core.retry import RetryPolicy
from manywheels.deliver.artifacts.client import Artifacts, Uploaded
from manywheels.deliver.artifacts.packing import LOG_FOLDER, ArtifactMember, pack, unpack
from manywheels.deliver.artifacts.service import find_service
from manywheels.errors import (
    ArtifactDamaged,
    ArtifactDiffers,
    ArtifactExists,
    ArtifactMissing,
    ArtifactQuota,
    ArtifactRefused,
    ArtifactServiceDown,
    ArtifactServiceMissing,
    Cancelled,
    DeliveryError,
    FileChanged,
)
from unit.artifactservice import FakeService
from unit.resultsservice import LOST, SECRET, Answer, always, answer, once, serving, sha256_of, token
from unit.zipmaker import DESCRIPTOR, ENCRYPTED, STORED, Lies, MemberSpec, ZipFileSpec


@pytest.fixture
def fake() -> Iterator[FakeService]:
    with serving(FakeService()) as service:
        yield service


@pytest.fixture
def files(tmp_path: Path) -> list[ArtifactMember]:
    folder = tmp_path / "dist"
    (folder / "logs").mkdir(parents=True)
    contents = {"b.whl": b"wheel" * 1000, "a.json": b"{}" * 1000, "logs/a.log": b"line\n" * 1000}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [
        ArtifactMember(name=name, path=folder / name, sha256=sha256_of(content)) for name, content in contents.items()
    ]


class Client:
    """A client with short pauses, and the lines that it printed."""

    def __init__(self, fake: FakeService) -> None:
        self.said: list[str] = []
        self.artifacts = Artifacts(
            service=fake.service, say=self.said.append, retries=RetryPolicy(attempts=3, first_pause=0.001)
        )

    def upload(self, files: list[ArtifactMember], **options: object) -> Uploaded:
        return self.artifacts.upload("wheels", files, **{"overwrite": False, **options})  # type: ignore[arg-type]


# --- where the service is ---------------------------------------------------------------------------------------------


def test_the_ids_come_from_the_tokens_scope() -> None:
    found = find_service({"ACTIONS_RESULTS_URL": "https://results.example/x/", "ACTIONS_RUNTIME_TOKEN": token()})
    assert (found.server.url, found.run, found.job, found.page) == ("https://results.example", "run-1", "job-1", "")


@pytest.mark.parametrize(
    "text",
    ["", "a", "a.b.c", "a.e30.c", token(""), token("Actions.Results:only-one"), token("Actions.Results:a:b:c"),
     token("Actions.Results::"), token("Actions.Result:a:b")],
)  # fmt: skip
def test_without_a_usable_token_there_is_no_service(text: str) -> None:
    with pytest.raises(ArtifactServiceMissing) as caught:
        find_service({"ACTIONS_RESULTS_URL": "https://results.example/", "ACTIONS_RUNTIME_TOKEN": text})
    assert len(text) < 3 or text not in str(caught.value)


def test_outside_of_a_workflow_it_is_said_what_to_do() -> None:
    with pytest.raises(ArtifactServiceMissing, match="GitHub workflow"):
        find_service({})


# --- uploading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snake", [True, False])
def test_an_upload_arrives_and_is_read_back(fake: FakeService, files: list[ArtifactMember], *, snake: bool) -> None:
    fake.snake = snake
    client = Client(fake)
    uploaded = client.upload(files)
    content, digest = fake.finished["wheels"]
    assert digest == f"sha256:{sha256_of(content)}" == f"sha256:{uploaded.sha256}"
    assert uploaded.size == len(content)
    assert (uploaded.number, uploaded.url) == ("42", "https://github.example/o/r/actions/runs/7/artifacts/42")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        methods = {info.filename: info.compress_type for info in archive.infolist()}
    assert methods == {"a.json": zipfile.ZIP_DEFLATED, "b.whl": zipfile.ZIP_STORED, "logs/a.log": zipfile.ZIP_DEFLATED}
    assert "read back" in client.said[-1]


def test_the_request_names_run_job_and_version(fake: FakeService, files: list[ArtifactMember]) -> None:
    Client(fake).upload(files)
    (request,) = fake.calls("CreateArtifact")
    assert request == {
        "workflow_run_backend_id": "run-1", "workflow_job_run_backend_id": "job-1", "name": "wheels", "version": 4,
    }  # fmt: skip
    assert set(fake.authorizations) == {f"Bearer {token()}"}


def test_netrc_does_not_take_the_tokens_place(
    fake: FakeService, files: list[ArtifactMember], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password mine\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    Client(fake).upload(files)
    assert set(fake.authorizations) == {f"Bearer {token()}"}


def test_retention_days_reach_the_service(fake: FakeService, files: list[ArtifactMember]) -> None:
    Client(fake).upload(files, retention_days=5)
    until = datetime.strptime(fake.calls("CreateArtifact")[0]["expires_at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert abs(until - datetime.now(UTC) - timedelta(days=5)) < timedelta(minutes=5)


def test_the_same_files_make_the_same_artifact(files: list[ArtifactMember]) -> None:
    first, second = io.BytesIO(), io.BytesIO()
    pack(files, first)
    files[0].path.touch()
    files[0].path.chmod(0o600)
    pack(reversed(files), second)
    assert first.getvalue() == second.getvalue()


@pytest.mark.timeout(120)
def test_of_a_log_without_measure_the_ends_are_packed(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    with log.open("wb") as file:
        file.write(b"first")
        file.seek((1 << 40) - 4)
        file.write(b"last")
    with (tmp_path / "a.zip").open("w+b") as file:
        pack([ArtifactMember(name=f"{LOG_FOLDER}x.log", path=log)], file)
    log.unlink()  # pytest keeps its folders
    assert (tmp_path / "a.zip").stat().st_size < 1 << 20
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        content = archive.read(f"{LOG_FOLDER}x.log")
    assert len(content) < 100 << 20
    assert (content[:5], content[-4:]) == (b"first", b"last")
    assert b"bytes of this log are left out here]" in content


def test_a_wheel_that_changed_after_verification_is_not_sent(fake: FakeService, files: list[ArtifactMember]) -> None:
    files[0].path.write_bytes(b"something else")
    with pytest.raises(FileChanged) as caught:
        Client(fake).upload(files)
    assert "b.whl" in caught.value.message
    assert fake.asked == []


def test_a_wheel_that_is_gone_is_named(fake: FakeService, files: list[ArtifactMember]) -> None:
    files[0].path.unlink()
    with pytest.raises(FileChanged, match=r"b\.whl"):
        Client(fake).upload(files)


def test_only_regular_files_are_packed(fake: FakeService, files: list[ArtifactMember], tmp_path: Path) -> None:
    content = files[0].path.read_bytes()
    (tmp_path / "secret").write_bytes(content)
    for make in (lambda path: path.symlink_to(tmp_path / "secret"), os.mkfifo, Path.mkdir):
        files[0].path.rmdir() if files[0].path.is_dir() else files[0].path.unlink()
        make(files[0].path)
        with pytest.raises(FileChanged, match=r"b\.whl"):
            Client(fake).upload(files)
    assert fake.asked == []


def test_large_artifacts_go_in_blocks_and_tell_how_far_they_are(fake: FakeService, tmp_path: Path) -> None:
    (tmp_path / "big.whl").write_bytes(bytes(20 << 20))
    client = Client(fake)
    client.upload([ArtifactMember(name="big.whl", path=tmp_path / "big.whl")])
    assert [len(request["body"]) for request in fake.calls("PUT")][:2] == [8 << 20, 8 << 20]
    assert [line for line in client.said if " of 21.0 MB sent" in line][-1].startswith("artifact wheels: 21.0 MB")


# --- a name that is taken ---------------------------------------------------------------------------------------------


def test_a_name_that_is_taken_is_refused(fake: FakeService, files: list[ArtifactMember]) -> None:
    Client(fake).upload(files)
    with pytest.raises(ArtifactExists) as caught:
        Client(fake).upload(files)
    assert "overwrite: true" in caught.value.remedy
    assert fake.calls("DeleteArtifact") == []


def test_overwrite_deletes_first(fake: FakeService, files: list[ArtifactMember]) -> None:
    Client(fake).upload(files)
    Client(fake).upload(files[:1], overwrite=True)
    assert [request["name"] for request in fake.calls("DeleteArtifact")] == ["wheels"]
    assert zipfile.ZipFile(io.BytesIO(fake.finished["wheels"][0])).namelist() == ["b.whl"]


def test_the_lost_answer_to_deleting_is_no_missing_artifact(fake: FakeService, files: list[ArtifactMember]) -> None:
    def delete_and_lose(service: FakeService, request: Mapping[str, Any]) -> Answer:
        service.scripts["DeleteArtifact"] = always(answer(404, {"code": "not_found", "msg": "no such artifact"}))
        service._DeleteArtifact(request)
        return LOST

    Client(fake).upload(files)
    fake.scripts["DeleteArtifact"] = delete_and_lose
    assert Client(fake).upload(files[:1], overwrite=True).number == "42"
    assert len(fake.calls("DeleteArtifact")) == 2


def test_the_lost_answer_to_our_own_first_try_is_no_taken_name(fake: FakeService, files: list[ArtifactMember]) -> None:
    taken = answer(409, {"msg": "exists"})
    fake.scripts["CreateArtifact"] = once(LOST, taken)
    Client(fake).upload(files)
    assert "wheels" in fake.finished


def test_a_finished_artifact_is_kept_though_an_answer_was_lost(fake: FakeService, files: list[ArtifactMember]) -> None:
    Client(fake).upload(files)
    fake.scripts["CreateArtifact"] = once(LOST)
    with pytest.raises(ArtifactExists):
        Client(fake).upload(files)
    assert fake.calls("DeleteArtifact") == []


def test_the_lost_answer_to_finalize_is_looked_up(fake: FakeService, files: list[ArtifactMember]) -> None:
    def finish_and_lose(service: FakeService, request: object) -> tuple[int, dict[str, str], bytes]:
        service.scripts["FinalizeArtifact"] = always(answer(409, {"msg": "already finalized"}))
        service._FinalizeArtifact(request)  # type: ignore[arg-type]
        return LOST  # type: ignore[return-value]

    fake.scripts["FinalizeArtifact"] = finish_and_lose
    assert Client(fake).upload(files).number == "42"


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["CreateArtifact", "PUT", "FinalizeArtifact", "ListArtifacts", "GET"])
@pytest.mark.parametrize("fault", [answer(503), answer(500), answer(429, Retry_After="0"), LOST], ids=str)
def test_what_passes_is_tried_again(fake: FakeService, files: list[ArtifactMember], what: str, fault: object) -> None:
    fake.scripts[what] = once(fault, fault)  # type: ignore[arg-type]
    client = Client(fake)
    client.upload(files)
    assert fake.finished["wheels"][1] == f"sha256:{sha256_of(fake.finished['wheels'][0])}"
    assert sum("trying again" in line for line in client.said) == 2


@pytest.mark.parametrize("what", ["CreateArtifact", "PUT", "GET"])
@pytest.mark.parametrize("fault", [answer(502), LOST, (200, {}, b"<html>")], ids=str)
def test_what_does_not_pass_is_given_up(
    fake: FakeService, files: list[ArtifactMember], what: str, fault: object
) -> None:
    fake.scripts[what] = always(fault)  # type: ignore[arg-type]
    with pytest.raises(DeliveryError) as caught:
        Client(fake).upload(files)
    if fault == (200, {}, b"<html>") and what != "CreateArtifact":  # storage that takes or gives something else
        assert isinstance(caught.value, ArtifactDiffers) or what == "PUT"
    else:
        assert isinstance(caught.value, ArtifactServiceDown)
        assert "tried 3 times" in caught.value.message
        assert "output folder" in caught.value.remedy


@pytest.mark.parametrize(
    ("fault", "kind", "told"),
    [
        (answer(401, {"msg": "token expired"}), ArtifactRefused, "token expired"),
        (answer(403, {"msg": "forbidden"}), ArtifactRefused, "forbidden"),
        (answer(403, {"msg": "Artifact storage quota has been hit"}), ArtifactQuota, "quota"),
        (answer(429, {"msg": "insufficient usage to create artifact"}), ArtifactQuota, "insufficient"),
        (answer(400, {"msg": "name too long"}), DeliveryError, "name too long"),
        (answer(307, Location="http://evil.example/"), DeliveryError, "307"),
    ],
)
def test_refusals_are_told_in_the_services_words(
    fake: FakeService, files: list[ArtifactMember], fault: object, kind: type[DeliveryError], told: str
) -> None:
    fake.scripts["CreateArtifact"] = always(fault)  # type: ignore[arg-type]
    with pytest.raises(kind) as caught:
        Client(fake).upload(files)
    assert told in caught.value.message
    assert caught.value.remedy
    assert len(fake.calls("CreateArtifact")) == 1


@pytest.mark.parametrize("what", ["CreateArtifact", "PUT", "GET", "ListArtifacts"])
@pytest.mark.parametrize("status", [403, 503])
def test_neither_token_nor_signature_is_told(
    fake: FakeService, files: list[ArtifactMember], what: str, status: int
) -> None:
    leak = {"msg": f"bad token {token()} for https://blob.example/x?sig={SECRET}"}
    fake.scripts[what] = always(answer(status, leak))
    client = Client(fake)
    with pytest.raises(DeliveryError) as caught:
        client.upload(files)
    told = "\n".join([str(caught.value), repr(caught.value), repr(client.artifacts), *client.said])
    assert token() not in told
    assert SECRET not in told


def test_a_service_that_changes_bytes_is_found_out(fake: FakeService, files: list[ArtifactMember]) -> None:
    fake.scripts["GET"] = lambda service, _: (200, {}, service.finished["wheels"][0][:-1] + b"?")
    with pytest.raises(ArtifactDiffers, match="of what was read back"):
        Client(fake).upload(files)


def test_a_service_that_says_another_digest_is_found_out(fake: FakeService, files: list[ArtifactMember]) -> None:
    def lie(service: FakeService, _request: object) -> None:
        service.finished = {name: (content, "sha256:" + "0" * 64) for name, (content, _) in service.finished.items()}

    fake.scripts["ListArtifacts"] = lie
    with pytest.raises(ArtifactDiffers, match="the service has 0000"):
        Client(fake).upload(files)


def test_a_service_that_keeps_nothing_is_found_out(fake: FakeService, files: list[ArtifactMember]) -> None:
    fake.scripts["ListArtifacts"] = always(answer(200, {"artifacts": []}))
    with pytest.raises(ArtifactMissing):
        Client(fake).upload(files)


# --- downloading ------------------------------------------------------------------------------------------------------


def packed(*names: str) -> tuple[bytes, str]:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            for name in names:
                archive.writestr(name, name)
        return file.getvalue(), f"sha256:{sha256_of(file.getvalue())}"


def test_artifacts_are_found_by_name_and_by_pattern(fake: FakeService) -> None:
    fake.finished = {name: packed("x") for name in ("wheels-2", "wheels-1", "docs")}
    artifacts = Client(fake).artifacts
    assert [artifact.name for artifact in artifacts.find(pattern="wheels-*")] == ["wheels-1", "wheels-2"]
    assert [artifact.name for artifact in artifacts.find(name="docs")] == ["docs"]
    with pytest.raises(ArtifactMissing) as caught:
        artifacts.find(name="wheels")
    assert "it has `docs`, `wheels-1`, `wheels-2`" in caught.value.message


def test_a_download_is_unpacked_without_the_logs(fake: FakeService, tmp_path: Path) -> None:
    fake.finished["wheels"] = packed("a.whl", "logs/a.log")
    artifacts = Client(fake).artifacts
    artifacts.download(artifacts.find(name="wheels")[0], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.whl"]
    assert fake.calls("GetSignedArtifactURL")[0]["workflow_job_run_backend_id"] == "job-0"


def test_a_download_with_another_digest_is_not_unpacked(fake: FakeService, tmp_path: Path) -> None:
    fake.finished["wheels"] = packed("a.whl")[0], "sha256:" + "0" * 64
    artifacts = Client(fake).artifacts
    with pytest.raises(ArtifactDiffers):
        artifacts.download(artifacts.find(name="wheels")[0], tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "member",
    [
        MemberSpec(name="../evil.whl"),
        MemberSpec(name="/etc/evil"),
        MemberSpec(name="folder/a.whl"),
        MemberSpec(name="..\\evil.whl"),
        MemberSpec(name=".."),
        MemberSpec(name="a\nb.whl"),
        MemberSpec(name="first.whl"),
        MemberSpec(name="FIRST.whl"),
        MemberSpec(name="link.whl", content=b"/etc/passwd", mode=stat.S_IFLNK | 0o777),
        MemberSpec(name="fifo.whl", mode=stat.S_IFIFO | 0o644),
        MemberSpec(name="bomb.whl", content=bytes(64 << 20)),
        MemberSpec(name="odd.whl", content=b"x", method=12),
        MemberSpec(name="before.whl", before=b"PK hidden"),
    ],
    ids=lambda member: str(member.name)[:20],
)
def test_what_no_honest_artifact_has_is_refused_before_anything_is_written(tmp_path: Path, member: MemberSpec) -> None:
    path, folder = tmp_path / "a.zip", tmp_path / "out"
    path.write_bytes(ZipFileSpec(members=(MemberSpec(name="first.whl", content=b"1"), member)).to_bytes())
    folder.mkdir()
    with pytest.raises(ArtifactDamaged) as caught:
        unpack(path, folder, "wheels")
    assert "`wheels`" in caught.value.message
    assert list(folder.iterdir()) == []
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.zip", "out"]


BOMBS = {
    "members that share their bytes": ZipFileSpec(
        members=(
            MemberSpec(name="a.whl", content=b"x" * 99, method=STORED),
            MemberSpec(name="b.whl", content=b"x" * 99, method=STORED, present=False, central=Lies(offset=0)),
        )
    ),
    "a member in the data of another": ZipFileSpec(
        members=(
            MemberSpec(
                name="a.whl", method=STORED, content=ZipFileSpec(members=(MemberSpec(name="b.whl"),)).to_bytes()
            ),
            MemberSpec(name="b.whl", present=False, central=Lies(offset=35)),
        )
    ),
    "two archives in one file": ZipFileSpec(
        members=(MemberSpec(name="a.whl"),), comment=ZipFileSpec(members=(MemberSpec(name="b.whl"),)).to_bytes()
    ),
    "a member that no list names": ZipFileSpec(members=(MemberSpec(name="a.whl"), MemberSpec(name="b", listed=False))),
    "a count that lies": ZipFileSpec(members=(MemberSpec(name="a.whl"),), count=7, count_here=7),
    "a zip64 record that disagrees": ZipFileSpec(members=(MemberSpec(name="a.whl"),), zip64=True, locator_offset=0),
    "an encrypted member": ZipFileSpec(members=(MemberSpec(name="a.whl", flags=ENCRYPTED),)),
    "Deflate64": ZipFileSpec(members=(MemberSpec(name="a.whl", content=b"x", method=9),)),
    "LZMA": ZipFileSpec(members=(MemberSpec(name="a.whl", content=b"x", method=14),)),
    "Zstandard": ZipFileSpec(members=(MemberSpec(name="a.whl", content=b"x", method=93),)),
    "data that goes on for ever": ZipFileSpec(members=(MemberSpec(name="a.whl").lying(size=(1 << 32) - 2),)),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_and_ambiguous_archives_are_refused(tmp_path: Path, bomb: str) -> None:
    path, folder = tmp_path / "a.zip", tmp_path / "out"
    path.write_bytes(BOMBS[bomb].to_bytes())
    folder.mkdir()
    with pytest.raises(ArtifactDamaged):
        unpack(path, folder, "wheels")
    assert list(folder.iterdir()) == []


def test_headers_that_disagree_lead_nowhere_else(tmp_path: Path) -> None:
    """Both checks and unpacking go by the central directory."""
    lying = MemberSpec(name="a.whl", content=b"1", local=Lies(name=b"../b.whl"))
    (tmp_path / "a.zip").write_bytes(ZipFileSpec(members=(lying,)).to_bytes())
    (tmp_path / "out").mkdir()
    unpack(tmp_path / "a.zip", tmp_path / "out", "wheels")
    assert sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*")) == ["a.zip", "out", "out/a.whl"]


def test_unpacking_hears_of_the_end(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(ZipFileSpec(members=(MemberSpec(name="a.whl", content=b"1"),)).to_bytes())
    (tmp_path / "out").mkdir()
    looks: list[None] = []

    def stop() -> None:
        looks.append(None)
        if list((tmp_path / "out").iterdir()):
            raise Cancelled("The download was stopped.", remedy="")

    with pytest.raises(Cancelled):
        unpack(tmp_path / "a.zip", tmp_path / "out", "wheels", stop)
    assert len(looks) > 3


def test_a_client_that_was_stopped_makes_no_call(fake: FakeService) -> None:
    cancellation = Cancellation()
    cancellation.request()
    artifacts = Artifacts(service=fake.service, say=lambda _: None, retries=RetryPolicy(cancellation=cancellation))
    with pytest.raises(Cancelled):
        artifacts.find(name="wheels")
    assert fake.asked == []


def test_a_client_that_was_stopped_unpacks_nothing(
    fake: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.finished["wheels"] = packed("a.whl")
    cancellation = Cancellation()

    def cancel_and_unpack(*arguments: Any) -> None:
        cancellation.request()
        unpack(*arguments)

    monkeypatch.setattr("manywheels.deliver.artifacts.client.unpack", cancel_and_unpack)
    retries = RetryPolicy(cancellation=cancellation)
    artifacts = Artifacts(service=fake.service, say=lambda _: None, retries=retries)
    (wheels,) = artifacts.find(name="wheels")
    with pytest.raises(Cancelled):
        artifacts.download(wheels, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_damaged_member_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(ZipFileSpec(members=(MemberSpec(name="a", content=b"1").lying(crc=1),)).to_bytes())
    with pytest.raises(ArtifactDamaged, match="CRC"):
        unpack(tmp_path / "a.zip", tmp_path, "wheels")


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ArtifactDamaged, match="not a zip archive"):
        unpack(tmp_path / "a.zip", tmp_path, "wheels")


def test_streamed_archives_are_taken(tmp_path: Path) -> None:
    """GitHub's own client writes data descriptors."""
    member = MemberSpec(name="a.whl", content=b"1", flags=DESCRIPTOR)
    crc, compressed, size = (int.from_bytes(ZipFileSpec(members=(member,)).to_bytes()[at : at + 4], "little")
                             for at in (14, 18, 22))  # fmt: skip
    descriptor = b"PK\7\x08" + b"".join(value.to_bytes(4, "little") for value in (crc, compressed, size))
    streamed = MemberSpec(name="a.whl", content=b"1", flags=DESCRIPTOR, descriptor=descriptor)
    (tmp_path / "a.zip").write_bytes(ZipFileSpec(members=(streamed,)).to_bytes())
    unpack(tmp_path / "a.zip", tmp_path, "wheels")
    assert (tmp_path / "a.whl").read_bytes() == b"1"
