"""JSON from servers, parsed within bounds; ambiguous documents are refused."""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

MOST_VALUES: Final = 100_000  # except in lists of files
_OPENING: Final = (b"{", b"[", b",")


def parse_json(body: bytes, most: int = MOST_VALUES) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Raises ValueError for invalid JSON, more than `most` values (a megabyte of brackets takes thirty of memory), deep
    nesting, duplicate keys, NaN, Infinity, 1e999, huge numbers, lone surrogates.
    """
    if sum(map(body.count, _OPENING)) > most:
        raise ValueError(f"it holds more than {most} values")
    try:
        return json.loads(body.decode(), object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a key twice")
    for name, value in pairs:
        name.encode()
        if isinstance(value, str):
            value.encode()
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a number")
    return number


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")
