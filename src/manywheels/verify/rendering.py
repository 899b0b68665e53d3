"""Render descriptions as the index does; long ones in a process, as docutils takes minutes for some."""

from __future__ import annotations

import io
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from email.message import Message
from typing import Final

from manywheels.runtime.own_python import module_argv
from manywheels.verify.model import short

_MARKDOWN_VARIANTS: Final = frozenset({"GFM", "CommonMark"})
_LONGEST_IN_PROCESS: Final = 16_000  # characters of reStructuredText; some tables' time grows with the square
PROCESSOR: Final = 30  # seconds of CPU time in the other process; real texts take two
_DEADLINE: Final = 300.0  # seconds, for a busy machine
_POLL: Final = 0.1  # seconds between two looks at the clock and the cancellation


def rendering_fault(
    description: str, content_type: str | None, stop: Callable[[], None] = lambda: None
) -> tuple[str, str | None]:
    """Return the description's format, and why it cannot be rendered, if so.

    `stop` is called repeatedly while a long text is rendered, and may raise.
    """
    header = Message()
    header["Content-Type"] = content_type or "text/x-rst"
    match header.get_content_type():
        case "text/x-rst" if len(description) > _LONGEST_IN_PROCESS:
            return "reStructuredText", _fault_in_process(description, stop)
        case "text/x-rst":
            return "reStructuredText", fault_in_rst(description)
        case "text/markdown" if (variant := header.get_param("variant", "GFM")) in _MARKDOWN_VARIANTS:
            return "Markdown", _fault_in_markdown(description, str(variant))
        case kind:
            return kind, None  # plain text, or reported by MW240


def fault_in_rst(text: str) -> str | None:
    from readme_renderer import rst

    warnings = io.StringIO()
    try:
        rendered = rst.render(text, stream=warnings)
    except Exception as error:  # noqa: BLE001 - docutils raises all kinds of exceptions
        return short(repr(error))
    if rendered is not None:
        return None
    return short(warnings.getvalue()).removeprefix("<string>:") or "the result is empty"


def _fault_in_markdown(text: str, variant: str) -> str | None:
    from readme_renderer import markdown

    try:
        rendered = markdown.render(text, variant=variant)
    except Exception as error:  # noqa: BLE001 - as above
        return short(repr(error))
    return None if rendered is not None else "the result is empty"


def _fault_in_process(text: str, stop: Callable[[], None]) -> str | None:
    """Render in a process with limits of time and memory, which can be killed."""
    argv = module_argv("manywheels.verify.rendering_worker", str(PROCESSOR))
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(json.dumps(text).encode())
        source.seek(0)
        process = subprocess.Popen(argv, stdin=source, stdout=output, stderr=subprocess.DEVNULL)
        try:
            ended = _has_ended(process, stop)
        finally:
            process.kill()  # no effect if it has ended
            process.wait()
        if not ended or process.returncode:
            return f"it takes more than {PROCESSOR} s, or too much memory"
        output.seek(0)
        fault: str | None = json.load(output)
        return fault


def _has_ended(process: subprocess.Popen[bytes], stop: Callable[[], None]) -> bool:
    deadline = time.monotonic() + _DEADLINE
    while time.monotonic() < deadline:
        stop()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_POLL)
            return True
    return False
