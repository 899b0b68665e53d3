"""Uploads to an index in memory: repetitions, lookups, and a ledger that is always correct."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manywheels.core.files import digest_file
from manywheels.data import table
from manywheels.deliver.index.http import Auth, NoResponse, Response
from manywheels.deliver.index.ledger import UploadState
from manywheels.deliver.index.upload import AGAIN, COMPARE, RAISE
from manywheels.errors import DeliveryError, FileChanged, UnsafeAddress
from manywheels.verify.distributions import Distribution
from scale import scaled
from unit.fakeindex import FakeIndex
from unit.uploads import Silence, Upload, check

LOST = NoResponse("the connection was lost", arrived=True)
REFUSED = NoResponse("no server answers at this address", arrived=False)


def files_in(folder: Path, count: int = 1) -> tuple[Distribution, ...]:
    """Write that many files and an sdist before them."""
    names = ["demo-1.0.tar.gz", *(f"demo-1.0-{number}-py3-none-any.whl" for number in range(1, count))]
    for name in names:
        (folder / name).write_bytes(f"the content of {name}".encode() * 20)
    return tuple(
        Distribution(
            path=folder / name,
            project="demo",
            version="1.0",
            size=(folder / name).stat().st_size,
            sha256=digest_file(folder / name),
            fields=(("name", "demo"),),
        )
        for name in names
    )


def test_sdist_first_then_wheels(tmp_path: Path) -> None:
    index, files = FakeIndex(), files_in(tmp_path, 9)
    assert set(Upload(index, files).send().values()) == {"uploaded"}
    assert index.uploads[0] == "demo-1.0.tar.gz"
    assert index.stored == {file.name: file.sha256 for file in files}


@pytest.mark.parametrize(
    ("answers", "state", "uploads"),
    [
        ([Response(status=503), Response(status=429), Response(status=500)], "uploaded", 4),
        ([REFUSED] * 5, "uploaded", 6),
        ([REFUSED] * 6, "not sent", 6),
        ([Response(status=429)] * 6, "not sent", 6),
        ([Response(status=408)] * 6, "unknown", 6),
        ([Response(status=503)] * 6, "unknown", 6),  # a gateway's answer: the index may still be working on it
        ([LOST] * 6, "unknown", 6),
        ([LOST, *[Response(status=503)] * 5], "unknown", 6),
        ([LOST, Response(status=400, reason="Invalid")], "unknown", 2),
        ([Response(status=400, reason="Invalid")], "not sent", 1),
        ([Response(status=403, reason="Invalid token")], "not sent", 1),
        ([Response(status=400, reason="File already exists")], "conflict", 1),  # and is not shown: the name was used
        ([Response(status=409)], "conflict", 1),
        ([LOST, Response(status=409)], "unknown", 2),
    ],
)
def test_how_a_file_ends(tmp_path: Path, answers: list[Response | NoResponse], state: str, uploads: int) -> None:
    index = FakeIndex(answers=list(answers))
    upload = Upload(index, files_in(tmp_path))
    assert upload.send() == {"demo-1.0.tar.gz": state}
    assert len(index.uploads) == uploads
    assert upload.ledger.entries[0].attempts == uploads
    is_final = isinstance(answers[-1], Response) and answers[-1].status in {400, 403}
    assert (AGAIN in upload.sender.cures) is (state in {"not sent", "unknown"} and not is_final)


def test_an_answer_that_was_lost_is_looked_up_and_nothing_repeated(tmp_path: Path) -> None:
    (file,) = files_in(tmp_path)
    index = FakeIndex(answers=[LOST])
    upload = Upload(index, [file])
    index.stored[file.name] = file.sha256
    assert upload.send() == {file.name: "uploaded"}
    assert index.uploads == [file.name]


def test_the_same_name_with_other_content_is_a_conflict_however_it_comes_out(tmp_path: Path) -> None:
    (file,) = files_in(tmp_path)
    for answers in ([], [LOST], [Response(status=500)], [Response(status=409)]):
        index = FakeIndex(answers=list(answers))
        upload = Upload(index, [file])
        index.stored[file.name] = "0" * 64
        assert upload.send() == {file.name: "conflict"}
        assert "other content" in upload.reason()


def test_retry_after_is_waited_for_and_a_longer_one_than_there_is_time_ends_it(tmp_path: Path) -> None:
    index = FakeIndex(answers=[Response(status=429, headers={"retry-after": "77"})])
    upload = Upload(index, files_in(tmp_path))
    assert upload.send() == {"demo-1.0.tar.gz": "uploaded"}
    assert upload.clock.slept == [77.0]
    index = FakeIndex(answers=[Response(status=429, headers={"retry-after": "999999"})])
    upload = Upload(index, files_in(tmp_path))
    assert upload.send() == {"demo-1.0.tar.gz": "not sent"}
    assert upload.clock.slept == []


def test_pauses_grow_and_one_deadline_ends_them_all(tmp_path: Path) -> None:
    index = FakeIndex(answers=[Response(status=429)] * 6)
    upload = Upload(index, files_in(tmp_path))
    upload.send()
    longest = table("publish")["longest-pause"]
    for number, pause in enumerate(upload.clock.slept):
        assert 0.5 * min(2**number, longest) <= pause <= min(2**number, longest)
    index = FakeIndex(answers=[Response(status=429)] * 6)
    upload = Upload(index, files_in(tmp_path))
    upload.context.retries.end_at(upload.clock.monotonic() + 4)
    assert upload.send() == {"demo-1.0.tar.gz": "not sent"}
    assert len(index.uploads) < 6
    assert upload.clock.monotonic() <= 1004


def test_the_first_that_is_refused_stops_those_that_were_not_begun(tmp_path: Path) -> None:
    index = FakeIndex(answers=[Response(status=200), *[Response(status=400, reason="Project size too large")] * 40])
    states = Upload(index, files_in(tmp_path, 40)).send()
    assert 2 <= len(index.uploads) <= 1 + table("publish")["parallel"]
    assert list(states.values()).count("not sent") == 39


def test_a_name_that_is_taken_keeps_no_other_file_here(tmp_path: Path) -> None:
    """The index does not list it yet, or lists nothing to compare; the others are known to be absent."""
    files = files_in(tmp_path, 6)
    index = FakeIndex(answers=[Response(status=409, body=b"it exists")])
    upload = Upload(index, files, rules="none")
    states = upload.send()
    assert (states.pop(files[0].name), set(states.values())) == ("unknown", {"uploaded"})
    assert upload.sender.uncompared == {files[0].name}
    assert upload.sender.cures == (COMPARE,)
    (tmp_path / "again").mkdir()
    upload = Upload(FakeIndex(answers=[LOST, Response(status=409)]), files_in(tmp_path / "again", 3), rules="none")
    assert list(upload.send().values()) == ["unknown", "uploaded", "uploaded"]
    assert upload.sender.cures == (AGAIN,)


@pytest.mark.parametrize("said", [b"was previously used by a file", b"demo 1.0 has been deleted from the feed"])
def test_a_name_of_a_deleted_file_is_spent_anywhere(tmp_path: Path, said: bytes) -> None:
    upload = Upload(FakeIndex(answers=[Response(status=409, body=said)]), files_in(tmp_path, 3), rules="none")
    assert list(upload.send().values()) == ["conflict", "not sent", "not sent"]
    assert upload.sender.cures == (RAISE,)


def test_a_certificate_that_is_not_trusted_is_not_asked_again(tmp_path: Path) -> None:
    fault = NoResponse("the server's certificate is not trusted", arrived=False, cure="Trust it.")
    upload = Upload(FakeIndex(answers=[fault] * 9), files_in(tmp_path))
    assert upload.send() == {"demo-1.0.tar.gz": "not sent"}
    assert (upload.sender.cures, upload.clock.slept) == (("Trust it.",), [])


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    index = FakeIndex(answers=[Response(status=307, headers={"location": "https://other.example/legacy/?x"})])
    upload = Upload(index, files_in(tmp_path, 3))
    with pytest.raises(UnsafeAddress, match=r"`307`, to `https://other\.example`"):
        upload.send()
    assert set(upload.states().values()) == {"not sent"}
    assert len(index.uploads) == 1


@pytest.mark.parametrize("change", [b"", b"short", b"x" * 10_000])
def test_a_file_that_changes_after_it_was_checked_never_arrives(tmp_path: Path, change: bytes) -> None:
    (file,) = files_in(tmp_path)
    index = FakeIndex()
    upload = Upload(index, [file])
    whole = bytearray(file.path.read_bytes())
    whole[-1] ^= 1
    file.path.write_bytes(change or whole)
    with pytest.raises(FileChanged, match="has changed since it was checked"):
        upload.send()
    assert index.stored == {}
    assert upload.states() == {file.name: "not sent"}


def test_while_a_file_is_sent_the_ledger_says_that_nobody_knows(tmp_path: Path) -> None:
    (file,) = files_in(tmp_path)
    seen = []
    upload = Upload(index := FakeIndex(), [file])

    class Killed(Silence):
        def sent(self, file: Distribution, count: int) -> None:
            seen.append(upload.states())

    upload.send(Killed())
    assert seen == [{file.name: "unknown"}]
    assert index.stored


def test_a_cancelled_run_ends_without_sending_more(tmp_path: Path) -> None:
    files = files_in(tmp_path, 20)
    upload = Upload(index := FakeIndex(), files)

    class Cancels(Silence):
        def ended(self, file: Distribution, state: UploadState, reason: str) -> None:
            upload.cancellation.request()

    states = upload.send(Cancels())
    assert {name for name, state in states.items() if state == "uploaded"} == set(index.stored)
    assert list(states.values()).count("not sent") >= 20 - 1 - table("publish")["parallel"]


def test_the_deadline_ends_a_file_that_is_on_its_way(tmp_path: Path) -> None:
    (file,) = files_in(tmp_path)
    file.path.write_bytes(content := bytes(20_000))
    file = replace(file, size=len(content), sha256=digest_file(file.path))
    upload = Upload(index := FakeIndex(), [file])

    class Slow(Silence):
        def sent(self, file: Distribution, count: int) -> None:
            upload.clock.sleep(3000.0)

    assert upload.send(Slow()) == {file.name: "not sent"}
    assert upload.reason() == "the time for uploads was over before it was sent completely"
    assert index.stored == {}


class Expiring:
    """Credentials that are refused after one use; `left` more are available."""

    valid_until = None

    def __init__(self, left: int) -> None:
        self.renewable, self._left, self.used = True, left, [0]
        self.described = "with a token of a test"

    def current(self) -> Auth:
        return "__token__", f"token-{self.used[-1]}"

    def renew(self, refused: Auth) -> None:
        self.used.append(self.used[-1] + 1)


def test_a_token_that_has_expired_is_renewed_once_for_each_file(tmp_path: Path) -> None:
    expired = Response(status=403, reason="Invalid or non-existent authentication information")
    credentials: Any = Expiring(5)
    upload = Upload(FakeIndex(answers=[expired]), files_in(tmp_path), credentials)
    assert upload.send() == {"demo-1.0.tar.gz": "uploaded"}
    assert credentials.used == [0, 1]
    upload = Upload(FakeIndex(answers=[expired] * 6), files_in(tmp_path), credentials)
    assert upload.send() == {"demo-1.0.tar.gz": "not sent"}
    assert "refuses the credentials" in upload.reason()


def test_tokens_in_what_the_index_says_do_not_reach_the_ledger(tmp_path: Path) -> None:
    index = FakeIndex(answers=[Response(status=400, body=b"<p>Bad token pypi-secret for <b>demo</b></p>")])
    upload = Upload(index, files_in(tmp_path))
    upload.context.secrets.keep("pypi-secret")
    upload.send()
    assert upload.reason() == "the index refuses it: 400 Bad token *** for demo"


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_whatever_goes_wrong_the_ledger_is_true_and_publishing_again_converges(tmp_path: Path, first: int) -> None:
    """40 files, each request failing by chance: before the file was stored, after it, or in the lookup."""
    files, seeds = files_in(tmp_path, 40), range(first, first + scaled(50, least=15))
    runs = 0
    for seed in seeds:
        chance = random.Random(seed)
        index = FakeIndex(chance=chance, faults=chance.choice([0.05, 0.3, 0.8, 0.95]), lag=chance.choice([0, 2, 9]))
        if has_clash := seed % 10 == 0:
            index.stored[files[-1].name] = "0" * 64
        while True:
            runs += 1
            upload = Upload(index, files, chance=chance)
            if not upload.stops:
                upload.send()
            index.finish()
            check(index.stored, upload)
            if has_clash and "conflict" in upload.states().values():
                break  # it will be the same for ever, and says so
            if set(upload.states().values()) <= {"uploaded", "identical"}:
                assert index.stored == {file.name: file.sha256 for file in files}
                break
            index.faults *= 0.7
    assert runs > len(seeds), "some runs did not come to an end at once"


def test_an_error_of_delivery_is_what_stops_a_run(tmp_path: Path) -> None:
    """Sender raises what keeps all files from being sent."""
    index = FakeIndex(answers=[Response(status=302)])
    with pytest.raises(DeliveryError):
        Upload(index, files_in(tmp_path)).send()
