"""What the targets of one platform share, made before the first of them is built: compilers, and `before-all`."""

from __future__ import annotations

import sys
import time
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from manywheels.build.compilers.toolchain import Toolchain
from manywheels.build.context import PlatformSetup, Run
from manywheels.build.reporter import Reporter
from manywheels.build.stages import before_all
from manywheels.build.stages.before_all import Preparation, Prepared
from manywheels.core.cancellation import Cancellation
from manywheels.core.text import sanitize
from manywheels.plan.platforms import Platform
from manywheels.runtime.workspace import Snapshot, copy_source
from manywheels.wheels.output import BEFORE_ALL


def platform_folder(folder: Path, platform: Platform) -> Path:
    """Return the platform's own folder in another; images may differ where the tags do not."""
    image = f"-{zlib.crc32(platform.image.encode()):x}" if platform.image else ""
    return folder / f"{platform.tag}{image}"


@dataclass(frozen=True)
class PlatformSetter:
    """Runs `before-all` once for each platform, with its compilers.

    With several platforms, each has a copy of the snapshot, since a command may leave what it has compiled.
    """

    run: Run
    snapshot: Snapshot
    work: Path
    reporter: Reporter

    def set_up(self, platform: Platform, tools: Toolchain, cancellation: Cancellation) -> PlatformSetup:
        """Raises BeforeAllFailed, OSError and Cancelled."""
        run, snapshot, log = self.run, self.snapshot, BEFORE_ALL
        planned = [one for one in run.plan.targets if run.options.platform_of(one.target) == platform]
        pythons = [one.interpreter.path for one in planned if one.interpreter]
        options = tuple(run.options.for_target(one.target) for one in planned if one.interpreter)
        if not any(one.before_all for one in options):
            return PlatformSetup(tools=tools, snapshot=snapshot, prepared=Prepared())
        if len(run.platforms) > 1 or run.jobserver:  # other parts of the run write into this folder, too
            log = f"{BEFORE_ALL}-{platform_folder(Path(), platform)}"
        if len(run.platforms) > 1:
            copy = platform_folder(self.work / "sources", platform)
            copy.parent.mkdir(exist_ok=True)
            copy_source(snapshot, copy, cancellation)
            snapshot = replace(snapshot, root=copy)
        request = Preparation(
            options=options, caller=run.caller, path=(tools.bin_dir, pythons[0].parent), python=pythons[0],
            environment=tools.with_libraries(tools.environment),
            folder=platform_folder(self.work / BEFORE_ALL, platform), project=snapshot.root / snapshot.project,
            package=snapshot.root / snapshot.package, timeout=run.options.timeout, log=run.output.log(log),
        )  # fmt: skip
        return PlatformSetup(tools=tools, snapshot=snapshot, prepared=self._prepare(request, log, cancellation))

    def _prepare(self, request: Preparation, name: str, cancellation: Cancellation) -> Prepared:
        print(sanitize(f"running {before_all.OPTION}; it writes to {request.log}"), file=sys.stderr, flush=True)
        started = time.monotonic()
        try:
            with self.run.trace.step(before_all.OPTION):
                return before_all.prepare(request, cancellation)
        finally:
            self.reporter.prepared(name, request.log, time.monotonic() - started)
