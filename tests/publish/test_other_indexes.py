"""Indexes that are not PyPI: what they list, what they say, and what their answers are cured by."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest

from index import Answer, Fault, LocalIndex
from index.tls import make_certificates
from publish.other_index import Answer as Said
from publish.other_index import OtherIndex
from publish.program import Run, publish, read_ledger, write_sdist, write_set
from publish.servers import PASSWORD, USER, pypiserver
from unit.helpers import METADATA, PLATFORM, write_wheel

SDIST = "demo-1.0.tar.gz"
WHEEL = f"demo-1.0-cp312-cp312-{PLATFORM}.whl"
AGAIN = "Publish the same files again"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A wheel, its manifest, and an sdist."""
    write_set(tmp_path / "dist", "cp312")
    write_sdist(tmp_path / "dist")
    return tmp_path / "dist"


def send(folder: Path, url: str, *options: str, **variables: str) -> Run:
    return publish(folder, url, "--user=ada", *options, environment={"MANYWHEELS_PASSWORD": "a password"} | variables)


def reason(folder: Path, name: str) -> str:
    (found,) = [entry["reason"] for entry in read_ledger(folder)["files"] if entry["name"] == name]
    return str(found)


# --- what they list ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha512", "blake2b_256"])
def test_a_release_that_was_begun_is_finished_whatever_digests_are_listed(
    folder: Path, algorithm: str, *, as_json: bool
) -> None:
    with OtherIndex(algorithm=algorithm, as_json=as_json) as index:
        index.files[SDIST] = (folder / SDIST).read_bytes()
        run = send(folder, index.url)
        assert (run.status, run.states) == (0, {SDIST: "identical", WHEEL: "uploaded"}), run.said
        assert index.posts == [WHEEL]
        again = send(folder, index.url)
        assert (again.status, set(again.states.values())) == (0, {"identical"})


@pytest.mark.parametrize("algorithm", ["md5", "sha512"])
def test_other_content_is_a_conflict_by_any_digest(folder: Path, algorithm: str) -> None:
    with OtherIndex(algorithm=algorithm) as index:
        index.files[SDIST] = (folder / SDIST).read_bytes() + b"other"
        run = send(folder, index.url, "--skip-existing")
        assert run.status == 4
        assert "error MW326" in run.err
        assert index.posts == []


def test_without_a_digest_a_file_is_not_overwritten_and_the_others_are_sent(folder: Path) -> None:
    """Some indexes accept another file of the same name, and would replace what users have."""
    with OtherIndex(algorithm="") as index:
        index.files[SDIST] = b"perhaps another"
        run = send(folder, index.url)
        assert (run.status, run.states) == (4, {SDIST: "unknown", WHEEL: "uploaded"})
        assert "`skip-existing` passes over those that are there" in " ".join(run.err.split())
        assert AGAIN not in run.err
        passed = send(folder, index.url, "--skip-existing")
        assert passed.status == 0
        assert f"warning: `{SDIST}` is on the index; whether with the same content is not known" in passed.out
        assert index.posts == [WHEEL]


def test_a_page_may_be_elsewhere_on_the_same_host(folder: Path) -> None:
    with OtherIndex(moved="/pages/of/demo.html") as index:
        index.files[SDIST] = (folder / SDIST).read_bytes()
        assert send(folder, index.url).states == {SDIST: "identical", WHEEL: "uploaded"}


@pytest.mark.parametrize("algorithm", ["md5", "off"])
def test_pypiserver_with_other_digests(folder: Path, tmp_path: Path, algorithm: str) -> None:
    with pypiserver(tmp_path / "server", "--hash-algo", algorithm) as server:
        (server.folder / SDIST).write_bytes((folder / SDIST).read_bytes())
        variables = {"MANYWHEELS_PASSWORD": PASSWORD}
        run = publish(folder, server.url, "--user", USER, "--skip-existing", environment=variables)
        assert run.status == 0, run.said
        assert run.states == {SDIST: "identical" if algorithm == "md5" else "unknown", WHEEL: "uploaded"}
        assert sorted(path.name for path in server.folder.iterdir()) == [WHEEL, SDIST]


# --- where they are asked ---------------------------------------------------------------------------------------------


def test_the_simple_api_elsewhere(folder: Path) -> None:
    """--check-url names it; the password of uploads goes to no other host, which has its own."""
    with OtherIndex(simple="/none/") as uploads, OtherIndex(simple="/dl/simple/", reader=("eve", "secret")) as pages:
        uploads.files[SDIST] = (folder / SDIST).read_bytes()
        pages.files = uploads.files
        blind = send(folder, uploads.url)
        assert "has no simple API beside it (the answer of `" in blind.out
        assert "/up/+simple/` is 404)" in blind.out
        assert blind.states == {SDIST: "unknown", WHEEL: "uploaded"}, "the other file is sent, whatever became of it"
        assert reason(folder, SDIST) == "the index has a file of this name, and cannot be asked for it: 409"
        variables = {"MANYWHEELS_CHECK_USER": "eve", "MANYWHEELS_CHECK_PASSWORD": "secret"}
        run = send(folder, uploads.url, f"--check-url={pages.check_url}", **variables)
        assert (run.status, set(run.states.values())) == (0, {"identical"}), run.said
        refused = send(folder, uploads.url, f"--check-url={pages.check_url}")
        assert refused.status == 4
        assert "does not list its files: the answer of `" in refused.err
        assert "/dl/simple/` is 401" in " ".join(refused.err.split())
        assert "MANYWHEELS_CHECK_PASSWORD" in refused.err
        assert {header for _, header in pages.authorizations} == {"", "Basic ZXZlOnNlY3JldA=="}


def test_a_check_url_on_the_same_host_gets_the_password_of_uploads(folder: Path) -> None:
    with OtherIndex(simple="/dl/simple/", reader=("ada", "a password")) as index:
        run = send(folder, index.url, "--check-url", index.check_url.rstrip("/"), "--confirm=20s")
        assert (run.status, set(run.states.values())) == (0, {"uploaded"}), run.said
        assert "Confirmed: the index lists 2 files" in run.out


def test_pypis_rules_hold_at_pypi_only(folder: Path) -> None:
    """Pulp has its addresses; `--index-rules` says whether the rules hold for others."""
    private = METADATA.replace("Name:", "Classifier: Private :: Do Not Upload\nName:")
    (folder / SDIST).unlink()
    write_set(folder, "cp312", metadata=private)
    with OtherIndex(upload="/pypi/team/legacy/", simple="/pypi/team/simple/") as index:
        refused = send(folder, index.url, "--index-rules=pypi")
        assert "`Private :: Do Not Upload` forbids publishing" in refused.err
        run = send(folder, index.url, "--index-rules=auto")
        assert (run.status, run.states) == (0, {WHEEL: "uploaded"}), run.said


@pytest.mark.parametrize("rules", ["none", "pypi"])
def test_other_indexes_take_what_pypi_does_not(tmp_path: Path, rules: str) -> None:
    """A second sdist; a classifier that PyPI has dropped, in a wheel of another builder."""
    folder = tmp_path / "dist"
    folder.mkdir()
    old = METADATA.replace("Name:", "Classifier: Natural Language :: Ukranian\nName:")
    write_wheel(folder, tags="py3-none-any", metadata=old)
    source = write_sdist(folder)
    with zipfile.ZipFile(folder / "demo-1.0.zip", "w") as archive, tarfile.open(source) as other:
        for member in other.getmembers():
            archive.writestr(member.name, other.extractfile(member).read())  # type: ignore[union-attr]
    with OtherIndex() as index:
        run = send(folder, index.url, f"--index-rules={rules}")
        if rules == "none":
            assert (run.status, len(index.files)) == (0, 3), run.said
        else:
            assert (run.status, index.files) == (4, {})
            assert "has more than one sdist" in run.err
            assert "`Natural Language :: Ukranian` is deprecated" in run.err


# --- what they say ----------------------------------------------------------------------------------------------------

ARTIFACTORY: Said = (
    403,
    "Forbidden",
    b'{"errors": [{"message": "Not enough permissions to delete/overwrite artifact \'demo-1.0.tar.gz\'"}]}',
)


def test_a_name_is_taken_in_artifactorys_words(folder: Path) -> None:
    """Its pages are late: the answer to the upload is all that there is."""
    with OtherIndex(taken=ARTIFACTORY, late=99) as index:
        index.files[SDIST] = (folder / SDIST).read_bytes()
        run = send(folder, index.url)
        assert (run.status, run.states) == (4, {SDIST: "unknown", WHEEL: "uploaded"})
        assert "refuses the credentials" not in run.said
        assert reason(folder, SDIST) == (
            "the index has a file of this name, and does not list it: 403 Not enough permissions to delete/overwrite "
            "artifact 'demo-1.0.tar.gz'"
        )
        index.late = 0
        assert set(send(folder, index.url).states.values()) == {"identical"}


@pytest.mark.parametrize(
    ("answer", "means", "cure"),
    [
        ((401, "Unauthorized", b""), "refuses the credentials", "the user `ada` and the password from MANYWHEELS_P"),
        ((403, "Forbidden", b"no"), "refuses the credentials", "valid for this index and this project"),
        ((403, "The user 'ada' isn't allowed to upload to project 'demo'.", b""), "does not let this user upload",
         "publish under another name"),
        ((403, "Read-only mode: Uploads are temporarily disabled.", b""), "takes no uploads at present", "Wait until"),
        ((403, "Project 'demo' has been archived", b""), "takes nothing for this project", "project's state"),
        ((400, "User 'ada' does not have two-factor authentication enabled", b""), "two-factor", "API token"),
        ((404, "Not Found", b"<h1>404</h1>"), "takes no uploads at this address", "Correct `repository-url`"),
        ((405, "Method Not Allowed", b""), "takes no uploads at this address", "Correct `repository-url`"),
        ((501, "Unsupported method ('POST')", b""), "takes no uploads at this address", "Correct `repository-url`"),
        ((413, "Payload Too Large", b"<h1>413</h1><hr>nginx"), "no file of this size", "or the proxy's"),
        ((422, "", b'{"detail": [{"loc": ["body"], "msg": "x"}]}'), "refuses it", "Correct what the index says"),
        ((400, "'License :: Other' is not a valid classifier.", b""), "refuses it", "Correct what the index says"),
    ],
)  # fmt: skip
def test_what_is_refused_for_good_is_not_to_be_published_again(
    tmp_path: Path, answer: Said, means: str, cure: str
) -> None:
    write_sdist(tmp_path / "dist")
    with OtherIndex(refusal=answer) as index:
        run = send(tmp_path / "dist", index.url)
    assert run.status == 4
    assert len(index.posts) == 1
    assert f"{SDIST}: not sent (the " in run.err
    assert means in run.err
    assert cure in run.err.replace("\n", " ")
    assert AGAIN not in run.said
    assert "a password" not in run.said


def test_what_may_pass_is_to_be_published_again(folder: Path) -> None:
    with LocalIndex() as index:
        index.fail(Fault(Answer(status=429, headers={"Retry-After": "99999"}), path="/legacy/", times=None))
        token = {"MANYWHEELS_PASSWORD": index.api_token()}
        run = publish(folder, index.upload_url, environment=token)
    assert run.status == 4
    assert AGAIN in run.err


def test_the_ledger_has_all_that_the_index_said(folder: Path) -> None:
    said = " ".join(f"word{number}" for number in range(300))
    with OtherIndex(refusal=(400, "Bad Request", f"<p>{said}</p>".encode())) as index:
        run = send(folder, index.url)
    assert reason(folder, SDIST) == f"the index refuses it: 400 {said}"
    assert "word299" not in run.said
    assert "…)" in run.err


# --- whom they are trusted by -----------------------------------------------------------------------------------------


def test_a_private_authority(folder: Path, tmp_path: Path) -> None:
    authority, context = make_certificates(tmp_path, ["127.0.0.1"])
    with OtherIndex(context=context) as index:
        refused = send(folder, index.url)
        assert refused.status == 4
        assert "the server's certificate is not trusted: unable to get local issuer certificate" in refused.err
        assert "set SSL_CERT_FILE to a PEM file" in refused.err
        assert index.posts == []
        run = send(folder, index.url, SSL_CERT_FILE=str(authority))
        assert (run.status, set(run.states.values())) == (0, {"uploaded"}), run.said
        gone = send(folder, index.url, PIP_CERT="/etc/of/the/host.pem")
        assert "error MW340: PIP_CERT names `/etc/of/the/host.pem`" in gone.err
        assert "other containers see only mounted files" in gone.err
