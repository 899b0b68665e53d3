"""The production line: every target builds, is repaired and verified, side by side, and is delivered when all holds.

One thread leads each target through its stages; the work is done by processes. What bounds them is the jobserver: a
target draws a token for its own slot, and the compilers below it draw further ones. One target's failure is its own.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from manywheels import wheelfile
from manywheels.core.cancellation import Cancellation
from manywheels.errors import Cancelled, TargetError, WrongWheel
from manywheels.jobserver import Jobserver
from manywheels.manifest import State, TargetRecord
from manywheels.options import Options
from manywheels.output import OutputFolder
from manywheels.passage import Passage, describe
from manywheels.project import Project
from manywheels.report import Reporter
from manywheels.runtime.uv import uv_program
from manywheels.sharing import Board, Served
from manywheels.stages.before_all import Prepared
from manywheels.stages.hooks import note
from manywheels.stages.trials import Tried
from manywheels.targets import Plan, PlannedTarget, Target
from manywheels.toolchain import Toolchain
from manywheels.verify.rules import Rules
from manywheels.verify.run import check_set
from manywheels.verify.sets import WheelFacts
from manywheels.workspace import Snapshot

_FETCHES = 2  # targets at once; they unpack wheels beside compilers that are at work


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is asked for: the project, the plan, the options, which findings count, where wheels go, and
    the caller's environment."""

    project: Project
    plan: Plan
    options: Options
    rules: Rules
    output: OutputFolder
    caller: dict[str, str]


@dataclass(kw_only=True)
class Line:
    """The production line of one run: what its targets have in common."""

    run: Run
    snapshot: Snapshot
    prepared: Prepared
    tools: Toolchain
    jobserver: Jobserver
    work: Path
    reporter: Reporter
    board: Board
    users: dict[Target, int | None]
    fetcher: int | None
    started: float

    def __post_init__(self) -> None:
        self.version: str | None = None
        self.facts: list[WheelFacts] = []
        self.tried: dict[Target, Tried] = {}
        self.front_end = uv_program()  # once, here: sysconfig, which it asks, is not safe in threads
        self._delivery = threading.Lock()
        jobs = self.run.options.jobs
        self._places = threading.Semaphore(jobs) if jobs else nullcontext()

    def process(self, buildable: list[PlannedTarget]) -> dict[Target, TargetRecord]:
        """Lead every target through its stages; return the records, those of reused wheels filled in last."""
        if not buildable:
            return {}
        passages = [Passage(self, planned) for planned in buildable]
        with (
            ThreadPoolExecutor(max_workers=len(buildable), thread_name_prefix="target") as leaders,
            ThreadPoolExecutor(max_workers=_FETCHES, thread_name_prefix="fetch") as fetchers,
        ):
            for passage in passages:  # those who wait for their turn to build need not wait for the network then
                passage.fetched = fetchers.submit(passage.fetch)
            ended = leaders.map(self._lead, passages)
            records = {passage.target: record for passage, record in zip(passages, ended, strict=True)}
        for target, source in self.board.served.items():
            if records[target].state is not State.BUILT:
                records[target] = _share(records[target], records[source], self.tried.get(target))
                self.reporter.finished(records[target])
        return records

    def _lead(self, passage: Passage) -> TargetRecord:
        """Lead one target from source to delivered wheel; others, which may wait for it, hear when it has ended."""
        try:
            return self._walk(passage)
        finally:
            self.board.leave(passage.target)

    def _walk(self, passage: Passage) -> TargetRecord:
        """Have a target walk its way; whatever happens to it ends up in its record."""
        try:
            record = passage.walk()
        except Served:
            return passage.record(State.REUSED)
        except Cancelled as error:
            if self.board.is_served(passage.target):
                return passage.record(State.REUSED)
            record = passage.fail(error, State.CANCELLED)
        except TargetError as error:
            record = passage.fail(error, State.FAILED)
        except OSError as error:
            place = f" ({error.filename})" if error.filename else ""
            problem = f"{error.strerror or error}{place}."
            record = passage.fail(TargetError(problem, remedy="Look at the machine's disk and rights."), State.FAILED)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not take the other targets with it
            note(passage.log, traceback.format_exc())
            fault = TargetError(f"A fault in manywheels: {error!r}.", remedy="Please report it, with the target's log.")
            record = passage.fail(fault, State.FAILED)
        self.reporter.finished(record)
        return record

    def served_by(self, target: Target) -> list[PlannedTarget]:
        """Return the targets that this one's wheel serves; known for good when its wheel has been announced."""
        return [planned for planned in self.run.plan.targets if self.board.served.get(planned.target) == target]

    @contextmanager
    def place(self, cancellation: Cancellation) -> Iterator[None]:
        """Hold one of the `--jobs` places and one of the jobserver's tokens; nobody waits for others in here."""
        with self._places, self.jobserver.slot(cancellation):
            yield

    def set_warnings(self) -> tuple[str, ...]:
        """Return what the finished wheels show only side by side."""
        findings = self.run.rules.judge(check_set(self.facts, None))
        return tuple(f"{finding.wheel} {finding}".lstrip() for finding in findings)

    def deliver(self, wheel: Path, sha256: str) -> Path:
        """Move a verified wheel into the output folder; every wheel of a run is of one version.

        `sha256` (hex) is that of the bytes that were verified.
        """
        version = wheelfile.parse_name(wheel.name).version
        with self._delivery:
            if self.version not in {None, version}:
                raise WrongWheel(
                    f"{wheel.name} is version {version}, the other wheels are {self.version}.",
                    remedy="The project's version must not depend on the interpreter, the time or the folder.",
                )
            self.version = version
            return self.run.output.deliver(wheel, sha256=sha256)


def _share(record: TargetRecord, source: TargetRecord, tried: Tried | None) -> TargetRecord:
    """Return the record of a target that another one's wheel serves, with which it was tested, or not."""
    record = replace(record, built_for=source.identifier, tests=tried.trial if tried else None)
    if source.wheel:
        return replace(record, state=State.REUSED, wheel=source.wheel)
    failure = source.failure and replace(
        source.failure, problem=f"It shares the wheel of {source.identifier}, which has none.", excerpt=()
    )
    if tried and tried.failure:
        failure = describe(tried.failure, "test")
    return replace(record, state=source.state, failure=failure)
