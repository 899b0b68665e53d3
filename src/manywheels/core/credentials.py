"""Credentials in environment variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_CREDENTIALS: Final = re.compile(r"://[^/@\s]+@|(?:^|\s|=)[^/@\s]+:[^/@\s]*@")


def has_credentials(value: str) -> bool:
    """Whether a value contains an address with a user name or password."""
    return bool(_CREDENTIALS.search(value))


def without_credentials(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if not has_credentials(value)}
