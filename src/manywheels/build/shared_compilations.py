"""Begin and end the sharing of compilations in a run, as its options say."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Final

from manywheels.build.compiler_cache.identity import identity_of
from manywheels.build.compiler_cache.pool import WorkerPool
from manywheels.build.compiler_cache.server import CompilerCache
from manywheels.build.compiler_cache.store import Store
from manywheels.build.compilers.toolchain import Toolchain
from manywheels.build.context import Run
from manywheels.build.jobserver import Jobserver
from manywheels.core.cancellation import Cancellation
from manywheels.core.files import cache_dir
from manywheels.data import table
from manywheels.plan.trust import in_ci
from manywheels.runtime import process_trees, untrusted_files

_LIMIT: Final = 2 << 30  # bytes of objects
_LIMIT_IN_CI: Final = 512 << 20  # where they are moved from job to job


def kept_store() -> Path:
    """Return where objects are kept for later runs."""
    return cache_dir() / "objects"


def workers_for(run: Run, cores: int) -> int:
    """Return how many compilers run for the targets: one more than cores, as some builds start more than tokens.

    None can run where nothing proves that no process of a compilation is left.
    """
    return cores + 1 if run.options.compiler_cache != "off" and process_trees.can_adopt() else 0


@contextmanager
def sharing_compilations(
    run: Run,
    toolchains: Iterable[Toolchain],
    work: Path,
    *,
    users: Sequence[int],
    jobserver: Jobserver,
    cancellation: Cancellation,
) -> Iterator[CompilerCache | None]:
    """`users` are the workers' user ids; none where targets have the program's own user."""
    count = workers_for(run, jobserver.tokens)
    if not count:
        if run.options.compiler_cache != "off":
            lack = "this kernel, or its emulator, has no PR_SET_CHILD_SUBREAPER"
            print(f"note: each target compiles everything itself: {lack}", file=sys.stderr, flush=True)
        yield None
        return
    folder = untrusted_files.make_public_folder(work / "compiled")
    pool = WorkerPool(
        folder, users or (None,) * count, limit=run.options.timeout, environment=_environment(run.caller),
        trace=run.trace,
    )  # fmt: skip
    keeps = run.options.compiler_cache == "keep"
    store = Store(kept_store() if keeps else folder / "objects", _LIMIT_IN_CI if in_ci(run.caller) else _LIMIT)
    compilers = tuple(dict.fromkeys(chain.from_iterable(tools.compilers for tools in toolchains)))
    cache = CompilerCache(
        folder, compilers, store=store, pool=pool, identify=identity_of if keeps else lambda _: b"",
        lent=lambda: jobserver.lent(cancellation), trace=run.trace,
    )  # fmt: skip
    with closing(cache):
        yield cache


def _environment(caller: Mapping[str, str]) -> dict[str, str]:
    """Return a worker's variables: what the image's compilers need, and nothing of the project's."""
    facts = table("environment")
    names = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", *facts["compilers"], *facts["image"])
    return {name: caller[name] for name in names if name in caller}
