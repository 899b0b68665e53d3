"""What an index says of an upload, in its own words: in the status line, or in a page of HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from manywheels.publish.transport import Answer

_EXISTS: Final = re.compile(r"already exists?|already been taken|previously used", re.IGNORECASE)
_LONGEST: Final = 300  # characters
_LONGEST_PAGE: Final = 65_536


def says_exists(answer: Answer) -> bool:
    """Whether an upload was refused because of its name: 409, or a 400 or 403 that says so in words."""
    if answer.status == HTTPStatus.CONFLICT:
        return True
    is_refusal = answer.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN}
    return is_refusal and _EXISTS.search(words(answer)) is not None


def words(answer: Answer, clean: Callable[[str], str] = str) -> str:
    """Return what the index says, in one short line without markup; the status line's own text comes first.

    `clean` takes secrets out, before anything is shortened: half a token would not be recognised.
    """
    usual = {status.value: status.phrase for status in HTTPStatus}
    reason = answer.reason.removeprefix(f"{answer.status} ").strip()
    if not reason or reason.lower() == usual.get(answer.status, "").lower():
        page = clean(answer.body.decode("utf-8", "replace"))[:_LONGEST_PAGE]
        text = re.sub(r"(?s)<(script|style|title)\b.*?</\1>|<[^>]*>", " ", page)
        reason = " ".join(html.unescape(text).split())
    return f"{answer.status} {clean(reason)[:_LONGEST]}".strip()
