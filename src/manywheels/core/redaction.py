"""Removing secrets from untrusted text, such as what a server echoes."""

from __future__ import annotations

import base64
import html
import json
import string
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final
from urllib.parse import quote, quote_plus

HIDDEN: Final = "***"
_PIECE: Final = 12  # characters of a secret in a row that are hidden
_SHORTEST: Final = 4  # characters; fewer are in any text by chance
_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)  # unlike `lower`, keeps the length


def redacted(text: str, secrets: Iterable[str]) -> str:
    """The result has no twelve characters in a row of any form of a secret, in any case.

    Forms: as is, percent-encoded, escaped for HTML or JSON, base64 at any offset, hexadecimal. Shorter secrets are
    hidden if whole, those below four characters not at all.
    """
    forms = {form.translate(_LOWER) for secret in secrets for form in _forms(secret)}
    pieces = {form[at : at + _PIECE] for form in forms for at in range(len(form) - _PIECE + 1)}
    short = {form for form in forms if len(form) < _PIECE}
    lower, hidden = text.translate(_LOWER), bytearray(len(text))
    for at in range(len(text)):
        if lower[at : at + _PIECE] in pieces:
            hidden[at : at + _PIECE] = bytes([1]) * _PIECE
        for form in short:
            if lower.startswith(form, at):
                hidden[at : at + len(form)] = bytes([1]) * len(form)
    parts = groupby(zip(text, hidden, strict=True), key=lambda pair: pair[1])
    return "".join(HIDDEN if is_hidden else "".join(letter for letter, _ in part) for is_hidden, part in parts)


def _forms(secret: str) -> Iterator[str]:
    if len(secret) < _SHORTEST:
        return
    content = secret.encode("utf-8", "surrogateescape")
    yield from (secret, quote(content, safe=""), quote_plus(content), html.escape(secret), json.dumps(secret)[1:-1])
    for before in range(3):  # the text before it shifts base64 by up to two bytes
        whole = base64.b64encode(bytes(before) + content)
        # The characters at both ends depend on the text around it.
        inner = whole[-(-before * 8 // 6) : (before + len(content)) * 8 // 6].decode()
        if len(inner) >= _SHORTEST:
            yield from (inner, inner.translate(str.maketrans("+/", "-_")))
    yield content.hex()
    yield "".join(f"&#{ord(letter)};" for letter in secret)
