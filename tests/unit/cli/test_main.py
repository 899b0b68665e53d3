"""What the command line does with what goes wrong around it: files, signals, logs that cannot hold every character."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from manywheels.cli import github, gitlab, guard
from manywheels.cli.main import main

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def told(error: Exception, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what is printed where a command ends with an error."""

    def command() -> int:
        raise error

    with guard.cancellable() as cancellation:
        assert guard.run_guarded(command, cancellation) == 1
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "place"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/home/me/.cache"), "`/home/me/.cache`"),
        (OSError(errno.EROFS, "Read-only file system", b"/cache/work"), "`/cache/work`"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", Path("gone")), "`gone`"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(error: OSError, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = told(error, capsys)
    assert said.startswith(f"error MW010: {place} cannot be used: {error.strerror}.\n")
    assert "MANYWHEELS_CACHE" in said


def test_a_full_disk(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no space left to write (No space left" in told(OSError(errno.ENOSPC, "No space left on device"), capsys)


@pytest.mark.parametrize("error", [ValueError("odd"), OSError("nobody says what"), ConnectionError(errno.EPIPE, "odd")])
def test_what_else_happens_is_a_fault_of_ours(
    error: Exception, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said = told(error, capsys)
    assert "A fault in manywheels" in said
    assert [type(error).__name__ in path.read_text() for path in tmp_path.iterdir()] == [True]


def test_a_cache_that_cannot_be_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from manywheels.runtime.workspace import work_folder

    (tmp_path / "file").touch()
    monkeypatch.setenv("MANYWHEELS_CACHE", str(tmp_path / "file" / "cache"))

    def command() -> int:
        with work_folder():
            return 0

    with guard.cancellable() as cancellation:
        assert guard.run_guarded(command, cancellation) == 1
    said = capsys.readouterr().err
    assert f"`{tmp_path}/file/cache` cannot be used: Not a directory." in said
    assert "MANYWHEELS_CACHE" in said


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_throws_the_switch(number: signal.Signals) -> None:
    with guard.cancellable() as cancellation:
        os.kill(os.getpid(), number)
        assert cancellation.requested
    assert cancellation.exit_status == 128 + number
    assert signal.getsignal(number) is signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_is_ignored_stays_ignored(number: signal.Signals) -> None:
    """nohup has SIGHUP ignored, and a shell SIGINT for what its scripts start in the background."""
    signal.signal(number, signal.SIG_IGN)
    with guard.cancellable() as cancellation:
        os.kill(os.getpid(), number)
        assert not cancellation.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert cancellation.requested
    assert cancellation.exit_status == 143


# --- encodings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", ["cli", "github", "gitlab"])
def test_a_log_that_is_not_utf_8_ends_no_run(door: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written = io.BytesIO()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(written, encoding="ascii", write_through=True))
    monkeypatch.chdir(tmp_path)
    match door:
        case "cli":
            assert main(["plan", "ünïcödé"]) == 2
        case "github":
            assert github.main({"INPUT_PACKAGE-DIR": "ünïcödé"}) == 2
        case "gitlab":
            assert gitlab.main({"MANYWHEELS_INPUT_PACKAGE_DIR": "ünïcödé"}) == 2
    print("✓ cp312")
    assert rb"\xfcn\xefc\xf6d\xe9" in written.getvalue()
    assert rb"\u2713 cp312" in written.getvalue()
