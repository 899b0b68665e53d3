"""Faults while publishing to the local index, as users see them: rows 11, 12 and 16 to 22 of what goes wrong."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from index import Answer, Delay, Drop, Fault, GitHubPublisher, GitLabPublisher, LocalIndex, redirect, too_many
from manywheels.core.cancellation import Cancellation
from manywheels.data import table
from manywheels.deliver.index.http import Form, NoResponse, Requests, Transport, index_retries, is_name_taken
from manywheels.deliver.index.publish import publish as publish_here
from manywheels.deliver.index.simple_api import Index, Presence, addresses
from manywheels.deliver.index.trusted import ApiToken
from manywheels.deliver.index.upload import form_of
from manywheels.errors import TooLittleTime, UploadIncomplete
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.settings import read_settings
from manywheels.verify.distributions import read_distribution
from manywheels.wheels.manifest import Shard, TargetRecord, TargetState, read_manifest
from publish.program import (
    Run,
    clean_environment,
    publish,
    read_ledger,
    seal,
    states,
    write_many,
    write_sdist,
    write_set,
)
from unit.fakeindex import FakeIndex, FastClock
from unit.helpers import METADATA, PLATFORM, write_wheel
from unit.uploads import Upload, check

WHEEL = f"demo-1.0-cp312-cp312-{PLATFORM}.whl"


@pytest.fixture
def index() -> Iterator[LocalIndex]:
    """An index that trusts the release workflow of octo/demo."""
    with LocalIndex() as index:
        index.trust(GitHubPublisher(project="demo"), GitLabPublisher(project="demo"))
        yield index


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two wheels, their manifest, and an sdist."""
    write_set(tmp_path / "dist", "cp312", "cp313")
    write_sdist(tmp_path / "dist")
    return tmp_path / "dist"


def from_github(index: LocalIndex, folder: Path, *options: str, **variables: str) -> Run:
    """Publish as a job of octo/demo's release workflow; check that tokens are masked and in no ledger."""
    before = len(index.requests)
    run = publish(folder, index.upload_url, *options, environment=index.github_environment() | variables)
    secrets = {request.password for request in index.requests[before:] if request.password}
    shown = "\n".join(line for line in run.said.splitlines() if not line.startswith("::add-mask::"))
    ledger = (folder / "manywheels-ledger.json").read_text() if run.states else ""
    for secret in secrets:
        assert f"::add-mask::{secret}\n" in run.out
        assert secret not in shown
        assert secret not in ledger
    return run


def uploads(index: LocalIndex) -> list[str]:
    return [request.file for request in index.requests if request.path == "/legacy/"]


def seen(run: Run) -> set[str]:
    return set(run.states.values())


# --- before the first byte --------------------------------------------------------------------------------------------


def test_a_dry_run_looks_at_everything_and_changes_nothing(index: LocalIndex, folder: Path) -> None:
    run = from_github(index, folder, "--dry-run")
    assert run.status == 0
    assert run.out.count("will be uploaded") == 3
    assert {request.method for request in index.requests} == {"GET"}
    assert run.states == {}


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_warnings_are_seen_wherever_people_look(index: LocalIndex, tmp_path: Path, options: tuple[str, ...]) -> None:
    """A classifier may be newer than the installed list of them, or wrong: the index says which."""
    metadata = METADATA.replace("License-Expression", "Classifier: Programming Language :: Piet\nLicense-Expression")
    write_set(tmp_path / "dist", "cp312", metadata=metadata)
    summary = tmp_path / "summary.md"
    run = from_github(index, tmp_path / "dist", *options, GITHUB_STEP_SUMMARY=str(summary))
    told = "there is no `Programming Language :: Piet`"
    lines = run.out.splitlines()
    assert [line for line in lines if line.startswith("warning: `demo-1.0-cp312") and told in line]
    assert [line for line in lines if line.startswith("::warning title=publish::`demo-1.0-cp312") and told in line]
    text = summary.read_text()
    assert text.startswith("### Warnings before the upload\n\n- <code>demo")
    assert "Piet" in text


def test_the_ledger_has_every_reason_why_nothing_was_sent(index: LocalIndex, tmp_path: Path) -> None:
    wrong = METADATA.replace("License-Expression", "Home-page: nowhere\nMaintainer-email: nobody\nLicense-Expression")
    write_set(tmp_path / "dist", "cp312", metadata=wrong)
    write_sdist(tmp_path / "dist")
    run = from_github(index, tmp_path / "dist")
    assert run.status == 4
    files = json.loads((tmp_path / "dist" / "manywheels-ledger.json").read_text())["files"]
    reasons = {file["name"].partition("-1.0")[2][:7]: file["reason"] for file in files}
    assert "`nowhere` is not an http or https URL" in reasons["-cp312-"]
    assert "; " in reasons["-cp312-"]
    assert "`nobody` is not a valid address" in reasons["-cp312-"]
    assert reasons[".tar.gz"] == ""


def test_row_11_a_wheel_that_changed_after_it_was_verified(index: LocalIndex, folder: Path) -> None:
    other = write_wheel(folder.parent, members={"demo/evil.py": b"print('mine')\n"})
    other.replace(folder / other.name)
    run = from_github(index, folder)
    assert run.status == 4
    assert "error MW320" in run.err
    assert f"{WHEEL} has the sha256" in run.err
    assert uploads(index) == []


def test_row_11_a_manifest_that_changed_between_jobs(index: LocalIndex, folder: Path) -> None:
    run = from_github(index, folder, "--manifest-digest", "ab" * 32)
    assert run.status == 4
    assert f"does not match `manifest-digest` {'ab' * 32}" in run.err
    assert uploads(index) == []


def test_row_12_missing_and_added_wheels_are_reported_together(index: LocalIndex, folder: Path) -> None:
    (folder / WHEEL).unlink()
    write_wheel(folder, tags=f"cp314-cp314-{PLATFORM}")
    run = from_github(index, folder)
    assert run.status == 4
    assert "2 problems found before the first byte was sent" in run.err
    assert f"`{WHEEL}` of the manifest is missing" in run.err
    assert f"demo-1.0-cp314-cp314-{PLATFORM}.whl is not in the manifest" in run.err
    assert uploads(index) == []


def test_row_12_a_python_that_was_missing_stops_the_release_unless_the_workflow_allows_it(
    index: LocalIndex, folder: Path
) -> None:
    whole = read_manifest(folder)
    absent = TargetRecord(identifier="cp314-manylinux_x86_64", state=TargetState.NO_INTERPRETER)
    replace(whole, targets=(*whole.targets, absent)).write(folder)
    told = "their Pythons were missing: cp314-manylinux_x86_64"
    pyproject = folder.parent / "pyproject.toml"
    for text in ("", "[tool.manywheels]\nallow-missing = true\n"):  # a pull request can change it
        pyproject.write_text(text, encoding="utf-8")
        run = from_github(index, folder)
        assert run.status == 4
        assert told in " ".join(run.err.split())
        assert "`allow-missing`" in run.err
        assert uploads(index) == []
    pyproject.unlink()
    run = from_github(index, folder, "--allow-missing")
    assert run.status == 0, run.said
    assert told in run.out
    assert len(uploads(index)) == 3


def test_row_12_a_shard_is_not_published_as_the_release(index: LocalIndex, folder: Path) -> None:
    whole = read_manifest(folder)
    planned = (*(target.identifier for target in whole.targets), "cp314-manylinux_x86_64")
    replace(whole, planned=planned, shard=Shard(index=1, count=2)).write(folder)
    run = from_github(index, folder)
    assert run.status == 4
    assert "the manifest is only of shard 1/2 of the plan; it lacks `cp314-manylinux_x86_64`" in run.err
    assert "`artifact-pattern` on GitHub" in run.err
    assert uploads(index) == []


def test_all_problems_are_reported_together(index: LocalIndex, folder: Path) -> None:
    """Those of the folder and of the identity."""
    with (folder / WHEEL).open("ab") as wheel:
        wheel.write(b"\0")
    (folder / "notes.zip").write_bytes(b"no zip")
    run = publish(folder, index.upload_url, environment={"GITHUB_ACTIONS": "true"})
    assert run.status == 4
    for told in ("notes.zip is not a distribution", "has the sha256", "`id-token: write`"):
        assert told in run.err
    assert uploads(index) == []
    assert seen(run) == {"not sent"}


def test_the_same_content_under_two_names_is_refused_before_the_upload(index: LocalIndex, folder: Path) -> None:
    """The index stores no content twice: it would refuse the second file after the first was uploaded."""
    twin = folder / WHEEL.replace("1.0-", "1.0-1-")
    twin.write_bytes((folder / WHEEL).read_bytes())
    write_set_manifest(folder)
    run = from_github(index, folder)
    assert run.status == 4
    assert f"{WHEEL} has the same content as `{twin.name}`" in run.err
    assert uploads(index) == []


def test_a_release_that_is_too_old_is_refused_before_the_upload(index: LocalIndex, folder: Path) -> None:
    assert from_github(index, folder).status == 0
    index.age("demo", "1.0", days=15)
    write_set(folder, "cp312", "cp313", "cp314")
    for wheel in folder.glob("*cp31[23]*.whl"):
        wheel.write_bytes(index.files()[wheel.name].path.read_bytes())
    write_set_manifest(folder)
    index.forget()
    run = from_github(index, folder)
    assert run.status == 4
    assert "it accepts no files for releases older than 14 days" in run.err
    assert uploads(index) == []


def write_set_manifest(folder: Path) -> None:
    seal(folder, sorted(folder.glob("*.whl")))


def test_nothing_is_uploaded_if_the_index_lists_no_files(index: LocalIndex, folder: Path) -> None:
    index.fail(Fault(Answer(status=503), path="/simple/*", times=None))
    run = from_github(index, folder)
    assert run.status == 4
    assert "does not list its files: it answers 503" in run.err
    assert uploads(index) == []


def test_plain_http_is_refused(folder: Path) -> None:
    run = publish(folder, "http://index.example/legacy/", environment={"PYPI_TOKEN": "pypi-secret"})
    assert run.status == 4
    assert "error MW322: `http://index.example` is plain http" in run.err


@pytest.mark.parametrize("url", ["https://user:secret@index.example/legacy/", "index.example", "https://", "pipy"])
def test_invalid_addresses_are_refused(folder: Path, url: str) -> None:
    run = publish(folder, url)
    assert run.status == 2
    assert "error MW001: repository-url:" in run.err
    assert "secret" not in run.said


# --- while files are sent ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lag", [0, 5])
def test_row_16_other_content_under_the_name_is_never_skipped(index: LocalIndex, folder: Path, lag: int) -> None:
    """Also if the index does not list the file yet, so that only the upload finds it."""
    index.settings.lag = lag
    assert from_github(index, folder).status == 0
    kept = {name: file.sha256 for name, file in index.files().items()}
    (changed := folder.parent / "changed").mkdir()
    write_wheel(changed, tags=f"cp312-cp312-{PLATFORM}", members={"demo/x.py": b"changed = 1\n"})
    write_set_manifest(changed)
    run = from_github(index, changed, "--skip-existing")
    assert run.status == 4
    assert "error MW326" in run.err
    assert run.states == {WHEEL: "conflict"}
    assert {name: file.sha256 for name, file in index.files().items()} == kept


def test_row_17_the_response_is_lost_after_the_file_was_stored(index: LocalIndex, folder: Path) -> None:
    index.fail(Fault(Drop(after=True), file=WHEEL))
    run = from_github(index, folder)
    assert run.status == 0
    assert seen(run) == {"uploaded"}
    assert uploads(index).count(WHEEL) == 1, "the index was asked, and the file not sent again"


@pytest.mark.parametrize(
    "action", [Answer(status=429), Answer(status=502), Answer(status=504, after=True), Drop(received=500)], ids=str
)
def test_row_18_transient_failures_are_retried(index: LocalIndex, folder: Path, action: Answer | Drop) -> None:
    index.fail(Fault(action, method="POST", path="/legacy/", times=2))
    run = from_github(index, folder)
    assert run.status == 0, run.said
    assert seen(run) == {"uploaded"}
    assert len(index.files()) == 3


def test_row_18_retry_after_is_honoured(index: LocalIndex, folder: Path) -> None:
    index.fail(Fault(too_many("1"), path="/legacy/"))
    assert from_github(index, folder).status == 0
    first, second = [request.began for request in index.requests if request.path == "/legacy/"][:2]
    assert second - first >= 1


def test_row_19_a_release_half_uploaded_is_finished_by_a_second_run(index: LocalIndex, tmp_path: Path) -> None:
    folder = tmp_path / "dist"
    write_many(folder, 20)
    index.fail(Fault(Answer(status=400, body=b"Project size too large"), method="POST", path="/legacy/", skip=6))
    first = from_github(index, folder)
    assert first.status == 4
    assert "error MW327" in first.err
    assert "Project size too large" in first.err
    there = {name for name, state in first.states.items() if state == "uploaded"}
    assert there == set(index.files())
    assert 6 <= len(there) < 20
    assert {state for name, state in first.states.items() if name not in there} == {"not sent"}
    second = from_github(index, folder)
    assert second.status == 0
    assert {name for name, state in second.states.items() if state == "identical"} == there
    assert len(index.files()) == 20


@pytest.mark.parametrize("with_sdist", [True, False])
def test_a_new_release_is_begun_by_one_file(index: LocalIndex, tmp_path: Path, with_sdist: bool) -> None:  # noqa: FBT001
    """The index answers 500 to uploads that find no release while another one makes it."""
    folder = tmp_path / "dist"
    write_many(folder, 6)
    if with_sdist:
        write_sdist(folder)
    index.fail(Fault(Delay(0.2), method="POST", path="/legacy/", times=None))
    run = from_github(index, folder)
    assert run.status == 0, run.said
    statuses = [request.status for request in index.requests if request.path == "/legacy/"]
    assert statuses == [200] * (7 if with_sdist else 6)


def test_row_20_a_token_that_expires_is_renewed_on_github(index: LocalIndex, tmp_path: Path) -> None:
    folder = tmp_path / "dist"
    write_many(folder, 4)
    index.settings.token_lifetime = 2
    run = from_github(index, folder)
    assert run.status == 0, run.said
    assert len([request for request in index.requests if request.path.endswith("/mint-token")]) > 1


def from_gitlab(index: LocalIndex, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish as a GitLab job, in this process."""
    for name in ("GITHUB_ACTIONS", "MANYWHEELS_PASSWORD", "TWINE_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (environment := index.gitlab_environment()).items():
        monkeypatch.setenv(name, value)
    given = {"repository-url": index.upload_url, "packages-dir": str(folder)}
    asked = {
        name: Value(value=value, origin=Origin(OriginKind.COMMAND_LINE, "a test")) for name, value in given.items()
    }
    publish_here(read_settings(asked), Cancellation(), environment)


def test_row_20_on_gitlab_more_than_one_token_allows_is_refused_before_the_first_byte(
    index: LocalIndex, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(table("publish")["token"], "rate", 1.0)
    with pytest.raises(TooLittleTime):
        from_gitlab(index, folder, monkeypatch)
    assert uploads(index) == []
    assert not [request for request in index.requests if request.path.endswith("/mint-token")]
    assert set(states(folder).values()) == {"not sent"}


def test_row_20_on_gitlab_no_upload_begins_after_the_token_has_ended(
    index: LocalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no other token: the rest is for the next job, and the ledger has the state of each file."""
    folder = tmp_path / "dist"
    write_many(folder, 20)
    now = time.time()
    index.settings.clock = lambda: now  # it refuses no token: that no upload begins is the program's own decision
    index.settings.token_lifetime = 5
    index.fail(Fault(Delay(2.0), path="/legacy/", times=None))
    with pytest.raises(UploadIncomplete):
        from_gitlab(index, folder, monkeypatch)
    assert len([request for request in index.requests if request.path.endswith("/mint-token")]) == 1
    assert 1 <= len(uploads(index)) <= 9, "one, then four at a time: a third wave of four would begin after six seconds"
    there = set(index.files())
    found = states(folder)
    assert {name for name, state in found.items() if state == "uploaded"} == there
    assert {state for name, state in found.items() if name not in there} == {"not sent"}


def test_row_20_on_gitlab_no_pause_is_longer_than_the_token_is_valid(
    index: LocalIndex, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.settings.token_lifetime = 90
    index.fail(Fault(too_many("1"), path="/legacy/", file=WHEEL))
    index.fail(Fault(too_many("100"), path="/legacy/", file=WHEEL, times=None))
    began = time.monotonic()
    with pytest.raises(UploadIncomplete):
        from_gitlab(index, folder, monkeypatch)
    assert time.monotonic() - began < 90
    assert uploads(index).count(WHEEL) == 2, "a pause of one second is waited for, one of a hundred is not"
    assert states(folder)[WHEEL] == "not sent"


def test_row_21_the_response_of_the_mint_is_lost(index: LocalIndex, folder: Path) -> None:
    index.fail(Fault(Answer(status=502, after=True), path="*/mint-token", times=2))
    assert from_github(index, folder).status == 0
    index.fail(Fault(Drop(after=True), path="*/mint-token"))
    (other := folder.parent / "other").mkdir()
    write_sdist(other, version="1.1")
    run = publish(other, index.upload_url, environment=index.gitlab_environment())
    assert run.status == 4
    assert "error MW324: The response with the upload token was lost" in run.err
    assert "Run the job again" in run.err
    assert set(states(other).values()) == {"not sent"}


@pytest.mark.parametrize("place", ["/legacy/", "*/mint-token", "*/audience"])
def test_row_22_a_redirect_never_carries_a_token(index: LocalIndex, folder: Path, place: str) -> None:
    with LocalIndex() as other:
        index.fail(Fault(redirect(other.upload_url), path=place, times=None))
        run = from_github(index, folder)
        assert run.status == 4
        assert f"error MW322: The index redirects uploads (`307`, to `{other.url}`)" in run.err
        assert other.requests == ()
    assert seen(run) == {"not sent"}


def test_the_name_of_a_deleted_file_is_a_conflict(index: LocalIndex, folder: Path) -> None:
    assert from_github(index, folder).status == 0
    index.delete(WHEEL)
    run = from_github(index, folder)
    assert run.status == 4
    assert run.states[WHEEL] == "conflict"
    assert "previously used by a file that has since been deleted" in run.err


def test_confirm_finds_another_hash_on_the_page(index: LocalIndex, folder: Path) -> None:
    """--confirm compares what the index lists with what was sent."""
    index.settings.lies[WHEEL] = "0" * 64
    run = from_github(index, folder, "--confirm", "1s")
    assert run.status == 4
    assert "error MW328: The index does not list" in run.err


def test_confirm_waits_for_the_page_and_has_pip_fetch_the_wheels(index: LocalIndex, folder: Path) -> None:
    index.settings.lag = 2
    run = from_github(index, folder, "--confirm", "60s", "--print-hash")
    assert run.status == 0, run.said
    assert "Confirmed: the index lists 3 files" in run.out
    assert "pip downloads 2 wheels from it" in run.out
    for name, file in index.files().items():
        assert f"sha256_digest {file.sha256}" in run.out
        assert name.endswith(".gz") or any(request.path.endswith(name) for request in index.requests)


@pytest.mark.slow("2")
@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cancelled_upload_ends_soon_with_a_correct_ledger(
    index: LocalIndex, folder: Path, number: signal.Signals
) -> None:
    index.fail(Fault(Delay(300), method="POST", path="/legacy/", times=None))  # none is stored while this runs
    argv = [sys.executable, "-m", "manywheels", "publish", str(folder), "--repository-url", index.upload_url]
    environment = clean_environment() | index.github_environment()
    for _ in range(8):  # the best of several counts
        begun = len(uploads(index))
        (folder / "manywheels-ledger.json").unlink(missing_ok=True)
        with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            while len(uploads(index)) == begun:
                assert process.poll() is None
                time.sleep(0.05)
            began = time.monotonic()
            process.send_signal(number)
            process.communicate(timeout=120)
            taken = time.monotonic() - began
        if taken < 6:
            break
    assert taken < 6
    assert process.returncode == 128 + number
    assert states(folder)["demo-1.0.tar.gz"] == "unknown"
    assert states(folder)[WHEEL] == "not sent"


def test_a_killed_upload_leaves_a_correct_ledger_and_a_second_run_finishes(index: LocalIndex, tmp_path: Path) -> None:
    folder = tmp_path / "dist"
    write_many(folder, 10)
    index.fail(Fault(Delay(0.2), method="POST", path="/legacy/", times=None))
    argv = [sys.executable, "-m", "manywheels", "publish", str(folder), "--repository-url", index.upload_url]
    with subprocess.Popen(
        argv, env=clean_environment() | index.github_environment(), stdout=subprocess.DEVNULL
    ) as process:
        while len(index.files()) < 2:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    while index.connections:  # what it has received it still stores
        time.sleep(0.02)
    there = set(index.files())
    for name, state in states(folder).items():
        assert state == "unknown" or (name in there) == (state == "uploaded")
    run = from_github(index, folder)
    assert (run.status, seen(run)) == (0, {"uploaded", "identical"})
    assert len(read_ledger(folder)["files"]) == len(index.files()) == 10


def test_a_ledger_that_cannot_be_written_is_reported_before_the_first_byte(index: LocalIndex, folder: Path) -> None:
    (folder / "manywheels-ledger.json").mkdir()
    run = publish(folder, index.upload_url, environment=index.github_environment())
    assert run.status == 4
    assert "error MW329" in run.err
    assert uploads(index) == []


def test_the_known_indexes_have_names(index: LocalIndex, folder: Path) -> None:
    """Both are behind a proxy; their addresses come from twine's table."""
    index.settings.audience = "testpypi"
    environment = index.github_environment() | index.proxy_environment() | {"NO_PROXY": "127.0.0.1"}
    run = publish(folder, "testpypi", "--attestations", "false", environment=environment)
    assert run.status == 0, run.said
    assert "demo 1.0: https://test." in run.out
    assert "/project/demo/1.0/" in run.out
    index.settings.audience = "pypi"
    again = publish(folder, "pypi", environment=environment)
    assert (again.status, seen(again)) == (0, {"identical"})
    hosts = [request.host for request in index.requests if request.path in {"/legacy/", "/simple/demo/"}]
    assert len(set(hosts)) == 2, "the test index, and the pages of the other"


# --- the index in memory behaves like the local one -------------------------------------------------------------------


def _real(index: LocalIndex) -> Transport:
    return Requests()


def _fake(index: LocalIndex) -> Transport:
    return FakeIndex()


@pytest.mark.parametrize("make", [_real, _fake])
def test_the_index_in_memory_answers_as_the_local_one_does(
    make: Callable[[LocalIndex], Transport], index: LocalIndex, tmp_path: Path
) -> None:
    transport = make(index)
    auth = ("__token__", index.api_token())
    retries = index_retries(Cancellation(), FastClock())
    asked = Index(addresses(index.upload_url), transport, retries)
    file = read_distribution(write_sdist(tmp_path))

    def send(form: Form) -> tuple[int, bool]:
        answer = transport.post_form(index.upload_url, form, auth=auth, timeout=10, watch=lambda _count: None)
        return answer.status, is_name_taken(answer)

    assert asked.presence(file) is Presence.ABSENT
    assert send(form_of(file)) == (200, False)
    assert asked.presence(file) is Presence.SAME
    assert send(form_of(file)) == (200, False)
    write_sdist(tmp_path, metadata="Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nSummary: other\n")
    other = read_distribution(file.path)
    assert asked.presence(other) is Presence.OTHER
    assert send(form_of(other)) == (400, True)


@pytest.mark.parametrize("seed", range(6))
def test_random_faults_leave_a_correct_ledger_and_publishing_again_converges(
    index: LocalIndex, tmp_path: Path, seed: int
) -> None:
    """unit/deliver/test_upload.py does it 200 times in memory; these are real requests."""
    chance = random.Random(seed)
    files = [read_distribution(path) for path in (write_sdist(tmp_path), *write_many(tmp_path, 8))]
    index.settings.lag = chance.choice([0, 2])
    actions: list[Answer | Drop] = [
        Answer(status=502), Answer(status=504, after=True), Drop(), Drop(after=True), Drop(received=500),
        too_many("5"), Answer(status=503, early=True),
    ]  # fmt: skip
    for _ in range(40):
        place = chance.choice([{"path": "/legacy/"}, {"path": "/legacy/"}, {"path": "/simple/*"}])
        index.fail(Fault(chance.choice(actions), skip=chance.randrange(12), times=chance.randrange(1, 4), **place))
    token = ApiToken(user="__token__", password=index.api_token())
    with Requests() as transport:
        for _ in range(12):
            upload = Upload(transport, files, token, url=index.upload_url, chance=chance)
            if not upload.stops:
                upload.send()
            check({name: stored.sha256 for name, stored in index.files().items()}, upload)
            if set(upload.states().values()) <= {"uploaded", "identical"}:
                break
    assert len(index.files()) == len(files)


def test_a_refused_connection_has_not_sent_the_request(tmp_path: Path) -> None:
    with Requests() as transport, pytest.raises(NoResponse, match="no server answers") as caught:
        transport.get("http://127.0.0.1:9/simple/", accept="*/*", auth=None, timeout=5)
    assert not caught.value.arrived
