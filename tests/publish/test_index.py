"""The local index itself: its rules of uploads, its pages, its faults, and how it reads forms."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urljoin

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from pypi_attestations import AttestationType
from requests_toolbelt import MultipartEncoder

from index import Answer, Delay, Drop, Fault, GitHubPublisher, LocalIndex, redirect, too_many
from publish.indexing import minted, other_content, simple, upload
from publish.program import write_sdist
from scale import scaled
from unit.helpers import METADATA, write_wheel


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalIndex]:
    with LocalIndex() as running:
        yield running


# --- the rules of uploads -----------------------------------------------------------------------------------------


def test_the_same_content_is_accepted_again_and_other_content_is_not(index: LocalIndex, wheel: Path) -> None:
    token = index.api_token()

    assert [upload(index, wheel, token).status_code for _ in range(2)] == [200, 200]
    refused = upload(index, other_content(wheel), token)

    assert (refused.status_code, refused.reason[:19]) == (400, "File already exists")


def test_a_deleted_name_stays_used(index: LocalIndex, wheel: Path) -> None:
    token = index.api_token()
    upload(index, wheel, token)
    index.delete(wheel.name)

    refused = upload(index, wheel, token)

    assert refused.status_code == 400
    assert "previously used by a file that has since been deleted" in refused.reason


def test_a_release_closes_after_a_fortnight(index: LocalIndex, wheel: Path, tmp_path: Path) -> None:
    token = index.api_token()
    upload(index, wheel, token)
    index.age("demo", "1.0", days=15)

    assert "older than 14 days" in upload(index, write_sdist(tmp_path), token).reason
    assert upload(index, wheel, token).status_code == 200  # it is there already
    assert simple(index)[0]["upload-time"] < time.strftime("%Y-%m-%d", time.gmtime(time.time() - 14 * 86_400))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": ""}, "Invalid value for name"),
        ({"version": ""}, "'version' is a required field"),
        ({"metadata_version": ""}, "not a valid metadata version"),
        ({"version": "1.0+local"}, "local versions"),
        ({"version": "1.1"}, "Version in filename should be '1.1'"),
        ({"filetype": "bdist_egg"}, "Use a known file type"),
        ({"protocol_version": "2"}, "Unknown protocol version"),
        ({"sha256_digest": "0" * 64}, "does not match a digest"),
        ({"md5_digest": "0" * 32}, "does not match a digest"),
        ({"license_file": "NOTICE"}, "License-File NOTICE does not exist"),
        ({"attestations": "[]"}, "only supported when using Trusted Publishing"),
    ],
)
def test_an_invalid_form_is_refused(index: LocalIndex, wheel: Path, changed: dict[str, str], message: str) -> None:
    refused = upload(index, wheel, index.api_token(), **changed)

    assert refused.status_code == 400
    assert message in refused.reason
    assert not index.files()


def test_an_unsupported_platform_tag_is_refused(index: LocalIndex, tmp_path: Path) -> None:
    refused = upload(index, write_wheel(tmp_path, tags="cp312-cp312-linux_x86_64"), index.api_token())

    assert "unsupported platform tag 'linux_x86_64'" in refused.reason


def test_a_file_that_is_too_large_is_refused_and_not_kept(index: LocalIndex, tmp_path: Path) -> None:
    index.settings.max_file_size = 1 << 20
    wheel = write_wheel(tmp_path, members={"demo/data.bin": hashlib.shake_256(b"seed").digest(2 << 20)})

    refused = upload(index, wheel, index.api_token())

    assert "File too large. Limit for project 'demo' is 1 MB" in refused.reason
    assert not list(index.store.folder.glob("spool-*"))


def test_of_two_files_that_begin_a_release_at_once_one_fails(index: LocalIndex, tmp_path: Path) -> None:
    first, second = (
        write_wheel(tmp_path, tags=f"{number}-py3-none-any", members={"demo/n.py": number.encode()}) for number in "12"
    )
    index.fail(Fault(Delay(2.0), method="POST", times=2))
    token = index.api_token()
    with ThreadPoolExecutor(2) as pool:
        statuses = list(pool.map(lambda path: upload(index, path, token).status_code, (first, second)))
    assert sorted(statuses) == [200, 500]
    assert {upload(index, path, token).status_code for path in (first, second)} == {200}


def test_there_is_one_sdist_for_a_release(index: LocalIndex, tmp_path: Path) -> None:
    token = index.api_token()
    sdist = write_sdist(tmp_path)
    assert upload(index, sdist, token).status_code == 200
    other = write_sdist(tmp_path / "other", metadata=f"{METADATA}More.\n").rename(tmp_path / "Demo-1.0.tar.gz")

    refused = upload(index, other, token)

    assert (refused.status_code, refused.reason) == (400, "Only one sdist may be uploaded per release.")
    assert [file["filename"] for file in simple(index)] == [sdist.name]


def test_an_attestation_about_another_file_is_refused(index: LocalIndex, wheel: Path) -> None:
    index.trust(GitHubPublisher(project="demo"))
    token = minted(index)
    statement = {
        "_type": "https://in-toto.io/Statement/v1", "predicateType": AttestationType.PYPI_PUBLISH_V1,
        "subject": [{"name": wheel.name, "digest": {"sha256": "0" * 64}}],
    }  # fmt: skip
    attestation = {
        "version": 1,
        "verification_material": {"certificate": "AAAA", "transparency_entries": [{}]},
        "envelope": {"statement": base64.b64encode(json.dumps(statement).encode()).decode(), "signature": "AAAA"},
    }

    refused = upload(index, wheel, token, attestations=json.dumps([attestation]))
    malformed = upload(index, wheel, token, attestations=json.dumps([{"version": 2}]))

    assert "subject does not match distribution digest" in refused.reason
    assert "Malformed attestations" in malformed.reason


# --- pages --------------------------------------------------------------------------------------------------------


def test_json_and_html_list_the_same_files(index: LocalIndex, wheel: Path) -> None:
    upload(index, wheel, index.api_token())
    [entry] = simple(index)
    page = requests.get(f"{index.simple_url}demo/", timeout=20).text

    assert entry["hashes"] == {"sha256": hashlib.sha256(wheel.read_bytes()).hexdigest()}
    assert entry["url"] in page
    content = requests.get(urljoin(f"{index.simple_url}demo/", entry["url"]), timeout=20).content
    assert content == wheel.read_bytes()
    assert requests.get(index.release_url("demo", "1.0"), timeout=20).text.count(wheel.name) == 1
    assert requests.get(f"{index.simple_url}absent/", timeout=20).status_code == 404


def test_a_stale_page_shows_a_new_file_late(index: LocalIndex, wheel: Path) -> None:
    index.settings.lag = 2
    upload(index, wheel, index.api_token())

    assert [len(simple(index)) for _ in range(4)] == [0, 0, 1, 1]


# --- faults -------------------------------------------------------------------------------------------------------


def test_faults_come_in_order_and_as_often_as_set(index: LocalIndex, wheel: Path) -> None:
    token = index.api_token()
    index.fail(
        Fault(too_many("7"), path="/legacy/"),
        Fault(Answer(status=503), path="/legacy/", times=2),
        Fault(Answer(status=500), file="another-*", times=None),
    )

    answers = [upload(index, wheel, token) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [429, 503, 503, 200]
    assert answers[0].headers["Retry-After"] == "7"


@pytest.mark.parametrize(("action", "stored"), [(Drop(), False), (Drop(after=True), True), (Drop(received=500), False)])
def test_a_dropped_connection_has_stored_the_file_or_not(
    index: LocalIndex, wheel: Path, action: Drop, *, stored: bool
) -> None:
    index.fail(Fault(action, path="/legacy/"))

    with pytest.raises(requests.ConnectionError):
        upload(index, wheel, index.api_token())

    assert (wheel.name in index.files()) is stored
    assert index.requests[-1].status == 0
    assert index.requests[-1].received == (action.received or int(index.requests[-1].headers["content-length"]))


def test_a_redirect_shows_what_the_client_sends_on(index: LocalIndex, wheel: Path) -> None:
    with LocalIndex() as other:
        index.fail(Fault(redirect(other.upload_url), path="/legacy/"))
        answer = upload(index, wheel, index.api_token())

        assert (answer.status_code, answer.headers["Location"]) == (307, other.upload_url)
        assert not other.requests


def test_an_early_answer_does_not_wait_for_the_body(index: LocalIndex, tmp_path: Path) -> None:
    index.fail(Fault(Answer(status=504, early=True), path="/legacy/"))
    headers = {"Content-Length": "1000000", "Content-Type": "multipart/form-data; boundary=x"}
    prepared = requests.Request("POST", index.upload_url, headers=headers, data=iter([b"--x\r\n"])).prepare()
    del prepared.headers["Transfer-Encoding"]

    with requests.Session() as session:
        assert session.send(prepared, timeout=20).status_code == 504


def test_a_delayed_answer_takes_that_long(index: LocalIndex) -> None:
    index.fail(Fault(Delay(0.3), path="/simple/*"))
    began = time.monotonic()
    requests.get(index.simple_url, timeout=20).raise_for_status()
    assert time.monotonic() - began >= 0.3


# --- forms --------------------------------------------------------------------------------------------------------


@given(
    content=st.binary(max_size=300) | st.sampled_from([b"\r\n--", b"--x\r\n", b"\r\n--x", b"\r" * 50, b""]),
    text=st.text(max_size=40).filter(lambda text: "\r" not in text and "\n" not in text),
    chunked=st.booleans(),
)
@settings(max_examples=scaled(60, least=20), deadline=None)
def test_forms_are_read_as_they_were_written(shared: LocalIndex, content: bytes, text: str, *, chunked: bool) -> None:
    form = MultipartEncoder(
        [("note", text), ("content", ("a.bin", content, "application/octet-stream"))], boundary="boundary"
    )
    pieces = iter(lambda: form.read(7), b"") if chunked else form
    requests.post(shared.upload_url, data=pieces, headers={"Content-Type": form.content_type}, timeout=20)
    logged = shared.requests[-1]

    assert logged.fields == {"note": [text]}
    assert logged.file == "a.bin"
