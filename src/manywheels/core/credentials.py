"""Which values of variables have a user name or password in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_CREDENTIALS: Final = re.compile(r"://[^/@\s]+@|(?:^|\s|=)[^/@\s]+:[^/@\s]*@")


def has_credentials(value: str) -> bool:
    """Whether a variable's value has an address with a user name or password in it."""
    return bool(_CREDENTIALS.search(value))


def without_credentials(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables without those whose values have credentials: these are for project code only by name."""
    return {name: value for name, value in variables.items() if not has_credentials(value)}
