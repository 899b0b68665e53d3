"""The audiences that an index may request an identity token for.

With a token for `sigstore`, an index could sign as the job; with a cloud's, get the job's credentials there.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from manywheels.data import table
from manywheels.deliver.index.simple_api import addresses
from manywheels.errors import UnsafeAddress

_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LONGEST: Final = 200  # characters


def require_own(audience: str, upload: str) -> str:
    """Return the audience that an index requests, if it is its own; else raise UnsafeAddress.

    A known index's is its name. Any other's is an address at its host, the host, or a word that data/publish.toml has
    for no other service.
    """
    expected = next((name for name in _known() if addresses(name).upload == upload), None)
    if expected is not None:
        is_own = audience == expected
    elif _WORD.fullmatch(audience):
        is_own = audience.casefold() not in {
            word.casefold() for word in (*_known(), *table("publish")["audiences"]["others"])
        }
    else:
        is_own = len(audience) <= _LONGEST and audience.isprintable() and _host(audience) == urlsplit(upload).hostname
    if is_own:
        return audience
    raise UnsafeAddress(
        f"The index at `{urlsplit(upload).hostname}` requests an identity token for "
        f"{f'`{audience}`' if _WORD.fullmatch(audience) else 'another service'}: with it, the index could act as this "
        "job there. It was not sent.",
        remedy="Check `repository-url`. If it is right, report this to the index, and set an API token in "
        "MANYWHEELS_PASSWORD.",
    )


def _known() -> list[str]:
    known: list[str] = table("publish")["audiences"]["known"]
    return known


def _host(audience: str) -> str | None:
    try:
        parts = urlsplit(audience if "://" in audience else f"//{audience}")
        host = parts.hostname
    except ValueError:
        return None
    return host if parts.scheme in {"", "https"} and parts.username is None else None
