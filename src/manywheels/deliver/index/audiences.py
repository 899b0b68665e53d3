"""For whom an identity token may be that an index asks for.

Whoever has an identity token can show it to the service that it is for, and do there what the job may do. The index
chooses that audience itself, and then has the token: one that chooses `sigstore` can sign as the job, one that
chooses a cloud's can have its credentials there.
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
    """Return the audience that an index asks for, if it is its own.

    A known index's is its name. Any other's is an address at its own host, the host itself, or one word that is no
    other service's: those that are known by a word are in data/publish.toml. Raises UnsafeAddress.
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
        f"The index at `{urlsplit(upload).hostname}` asks for an identity token for "
        f"{f'`{audience}`' if _WORD.fullmatch(audience) else 'another service'}: with that it could act as this job "
        "elsewhere. No token was given.",
        remedy="Look whether `repository-url` is right. If it is, report it to the index, and give an API token of its "
        "in the variable MANYWHEELS_PASSWORD.",
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
