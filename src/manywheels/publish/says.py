"""What an index says of an upload, in its own words: in the status line, or in a page of HTML."""

from __future__ import annotations

import html
import re
from http import HTTPStatus
from typing import Final

from manywheels.publish.transport import Answer

_EXISTS: Final = re.compile(r"already exists?|already been taken|previously used", re.IGNORECASE)
_LONGEST: Final = 300  # characters


def says_exists(answer: Answer) -> bool:
    """Whether an upload was refused because of its name: 409, or a 400 or 403 that says so in words."""
    if answer.status == HTTPStatus.CONFLICT:
        return True
    is_refusal = answer.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN}
    return is_refusal and _EXISTS.search(words(answer)) is not None


def words(answer: Answer) -> str:
    """Return what the index says, in one short line without markup; the status line's own text comes first."""
    usual = {status.value: status.phrase for status in HTTPStatus}
    reason = answer.reason.removeprefix(f"{answer.status} ").strip()
    if not reason or reason.lower() == usual.get(answer.status, "").lower():
        text = re.sub(
            r"(?s)<(script|style|title)\b.*?</\1>|<[^>]*>", " ", answer.body[:65536].decode("utf-8", "replace")
        )
        reason = " ".join(html.unescape(text).split())
    return f"{answer.status} {reason[:_LONGEST]}".strip()
