"""How a command is run: errors become messages and exit statuses, signals become a cancellation."""

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


def print_anything() -> None:
    """Let no character end a run that a log's encoding does not have: it is printed as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def run_guarded(
    command: Callable[[], int],
    cancellation: CancelledBy,
    tell: Callable[[ManywheelsError], None] | None = None,
) -> int:
    """Call `command` and return its exit status; an error is told by `tell`, which is `print_error` if not given."""
    tell = tell or print_error
    try:
        status = command()
    except ManywheelsError as error:
        tell(error)
        status = error.exit_status
    except BrokenPipeError:
        # The reader of our output has gone; so that the interpreter does not complain of it at its end, give it none.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = EXIT_TARGET_FAILED
    except Exception as error:  # noqa: BLE001 - the last resort: users get a message, and a file to report
        tell(_of_this_machine(error) or _fault(error))
        status = EXIT_TARGET_FAILED
    return cancellation.exit_status or status


def _of_this_machine(error: Exception) -> DiskError | None:
    """Return what to tell of a full disk, and of a file that cannot be used: that can happen to every command."""
    if not isinstance(error, OSError):
        return None
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        place = f" `{error.filename}`" if error.filename else ""
        return DiskError(
            f"There is no room left to write{place} ({error.strerror}).",
            remedy="Make room; TMPDIR and MANYWHEELS_CACHE name other places for what is only needed for a time.",
        )
    if error.filename is None:
        return None
    return DiskError(
        f"`{os.fsdecode(error.filename)}` cannot be used: {error.strerror}.",
        remedy="See that it is there, and that this user may use it; TMPDIR and MANYWHEELS_CACHE name other places for "
        "what manywheels keeps for itself.",
    )


def _fault(error: Exception) -> ManywheelsError:
    """Return what to tell of a fault in manywheels itself; the traceback is kept in a file."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile(
        "w", prefix="manywheels-fault-", suffix=".txt", delete=False, encoding="utf-8"
    ) as kept:
        traceback.print_exception(error, file=kept)
    return ManywheelsError(f"A fault in manywheels: {error!r}.", remedy=f"Please report it, with {kept.name}.")


def print_error(error: ManywheelsError) -> None:
    """Print an error to stderr: what happened, and what to do."""
    from manywheels.core.text import quote, sanitize

    first, *rest = error.message.split("\n")
    print(f"error {error.code}: {sanitize(first)}", file=sys.stderr)
    for line in rest:
        print(quote(line), file=sys.stderr)
    if error.remedy:
        print(f"  {sanitize(error.remedy)}", file=sys.stderr)


class CancelledBy(Cancellation):
    """A cancellation that knows the signal it came from."""

    exit_status: int = 0


@contextmanager
def cancellable() -> Iterator[CancelledBy]:
    """Let SIGINT, SIGTERM and SIGHUP stop the run in order: children gone, partial files removed, manifest written.

    What whoever started the program has it ignore stays ignored: SIGHUP under nohup, SIGINT in a script's background.
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
