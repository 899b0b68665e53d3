"""Running a command: errors become messages and exit statuses, signals cancellations."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from manywheels.core.cancellation import Cancellation
from manywheels.errors import EXIT_TARGET_FAILED, DiskError, ManywheelsError


def escape_unprintable() -> None:
    """Escape characters that the encoding of stdout or stderr does not have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def run_guarded(
    command: Callable[[], int],
    cancellation: CancelledBy,
    report: Callable[[ManywheelsError], None] | None = None,
) -> int:
    """Return the exit status. Errors go to `report`, by default `print_error`."""
    report = report or print_error
    try:
        status = command()
    except ManywheelsError as error:
        report(error)
        status = error.exit_status
    except BrokenPipeError:
        # The reader of stdout is gone, which the interpreter would report again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = EXIT_TARGET_FAILED
    except Exception as error:  # noqa: BLE001 - users get a message and a file to report
        report(_disk_error(error) or _fault(error))
        status = EXIT_TARGET_FAILED
    return cancellation.exit_status or status


def _disk_error(error: Exception) -> DiskError | None:
    if not isinstance(error, OSError):
        return None
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        place = f" `{error.filename}`" if error.filename else ""
        return DiskError(
            f"There is no space left to write{place} ({error.strerror}).",
            remedy="Free some space; TMPDIR and MANYWHEELS_CACHE name other folders for temporary files and the cache.",
        )
    if error.filename is None:
        return None
    return DiskError(
        f"`{os.fsdecode(error.filename)}` cannot be used: {error.strerror}.",
        remedy="Check that it exists and that this user may use it; TMPDIR and MANYWHEELS_CACHE name other folders for "
        "temporary files and the cache.",
    )


def _fault(error: Exception) -> ManywheelsError:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile(
        "w", prefix="manywheels-fault-", suffix=".txt", delete=False, encoding="utf-8"
    ) as kept:
        traceback.print_exception(error, file=kept)
    return ManywheelsError(f"A fault in manywheels: {error!r}.", remedy=f"Please report it, with {kept.name}.")


def print_error(error: ManywheelsError) -> None:
    from manywheels.core.colours import paint_for
    from manywheels.core.text import quote, sanitize

    first, *rest = error.message.split("\n")
    head = paint_for(sys.stderr)(f"error {error.code}:", "red")
    print(f"{head} {sanitize(first)}", file=sys.stderr)
    for line in rest:
        print(quote(line), file=sys.stderr)
    if error.remedy:
        print(f"  {sanitize(error.remedy)}", file=sys.stderr)


class CancelledBy(Cancellation):
    """A cancellation with the exit status of the signal that caused it, else 0."""

    exit_status: int = 0


@contextmanager
def cancellable() -> Iterator[CancelledBy]:
    """Turn SIGINT, SIGTERM and SIGHUP into a cancellation, which ends processes and writes the manifest.

    Signals ignored from the start stay so: SIGHUP under nohup, SIGINT in a script's background job.
    """
    cancellation = CancelledBy()

    def stop(number: int, _frame: object) -> None:
        cancellation.exit_status = cancellation.exit_status or 128 + number
        cancellation.request()

    may_be_ignored = (signal.SIGINT, signal.SIGHUP)
    signals = [number for number in may_be_ignored if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in (*signals, signal.SIGTERM)}
    try:
        yield cancellation
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
