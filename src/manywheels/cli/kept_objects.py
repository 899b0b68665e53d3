"""Keep compiled objects from run to run: in the repository's Actions cache, where there is one.

On a machine of one's own they stay in the cache folder. A GitHub runner has a new one for each job, so they are brought
there before the build, and saved after it if anything was compiled.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from manywheels.build.shared_compilations import kept_store
from manywheels.core.cancellation import Cancellation
from manywheels.core.text import sanitize, size
from manywheels.plan.options import Options

if TYPE_CHECKING:
    from manywheels.deliver.actions_cache import ActionsCache, Kept, Skipped
    from manywheels.wheels.manifest import Manifest

_NAME: Final = "manywheels-objects"


@dataclass(frozen=True)
class KeptObjects:
    """The store in the Actions cache, by keys that begin with `prefix`; `cache` is None where none is to be used."""

    cache: ActionsCache | None
    prefix: str

    @classmethod
    def of(cls, options: Options, environment: Mapping[str, str], cancellation: Cancellation) -> KeptObjects:
        """The cache of `environment`'s job, for `compiler-cache: keep`."""
        if options.compiler_cache != "keep" or not environment.get("ACTIONS_RESULTS_URL"):
            return cls(None, "")
        from manywheels.deliver.actions_cache import Skipped, open_cache

        cache = open_cache(environment, cancellation, _say)
        if isinstance(cache, Skipped):
            _explain("kept", cache)
            return cls(None, "")
        return cls(cache, f"{_NAME}-{_digest(options)}-")

    @property
    def is_used(self) -> bool:
        return self.cache is not None

    def bring(self) -> None:
        """Put the newest store into its place, unless there is one. Raises Cancelled."""
        if self.cache is None or kept_store().exists():
            return
        started = time.monotonic()
        done = self.cache.restore(self.prefix, [], _version(), kept_store())
        _tell("restored", done, time.monotonic() - started)

    def save(self, manifest: Manifest) -> None:
        """Save the store if anything was compiled. Raises Cancelled."""
        made = manifest.compilations
        if self.cache is None or made is None or not made.compiled:
            return
        run = "-".join(os.environ.get(name, "0") for name in ("GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT"))
        started = time.monotonic()
        done = self.cache.save(f"{self.prefix}{run}", _version(), kept_store())
        _tell("saved", done, time.monotonic() - started)


def _digest(options: Options) -> str:
    """Return what keeps the objects of several jobs of a workflow apart, which run at once: each saves its own."""
    selected = " ".join(target.identifier for target in options.selected)
    return hashlib.sha256(f"{options.shard} {selected}".encode()).hexdigest()[:16]


def _version() -> str:
    from manywheels.deliver.actions_cache import cache_version

    return cache_version([_NAME])


def _tell(what: str, done: Kept | Skipped, seconds: float) -> None:
    from manywheels.deliver.actions_cache import Kept

    if isinstance(done, Kept):
        _say(f"note: compiled objects: {what} {size(done.size)} in {seconds:.1f} s, as {done.key}")
    else:
        _explain(what, done)


def _explain(what: str, skipped: Skipped) -> None:
    from manywheels.deliver.actions_cache import Why

    if skipped.why is not Why.MISSING:
        _say(f"note: compiled objects are not {what}: {skipped.reason}")


def _say(line: str) -> None:
    print(sanitize(line), file=sys.stderr, flush=True)
