"""What a test may change in an index while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sigstore.verify import Verifier


@dataclass(kw_only=True)
class Settings:
    """Times are in seconds, sizes in bytes. `clock` gives Unix seconds: move it, and tokens expire and releases age."""

    audience: str = "localindex"  # not that of an index that everybody knows: clients would refuse it
    audience_off: bool = False  # `/_/oidc/audience` answers 403
    issuers_off: set[str] = field(default_factory=set)  # `github`, `gitlab`: the mint says `not-enabled`
    token_lifetime: float = 900.0
    max_file_size: int = 104_857_600
    max_project_size: int = 10 << 30
    max_release_age: float = 14 * 86_400.0
    lag: int = 0  # a new file is not shown on the next so many requests of its project's simple page
    lies: dict[str, str] = field(default_factory=dict)  # file name: the sha256 that the simple API claims for it
    verifier: Verifier | None = None  # what verifies attestations' signatures; None checks only what they say
    clock: Callable[[], float] = time.time
