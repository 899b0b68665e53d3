"""A run's events as lines: the program in a container tells them to the one that started it.

A line is a JSON text of a sequence (RFC 7464): it begins with the character RS, which no other line of ours does.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TextIO

from manywheels.build.reporter import Reporter
from manywheels.build.trace import NO_TRACE, Trace, TracePart, told
from manywheels.core.text import sanitize, shorten
from manywheels.errors import EngineError
from manywheels.plan.targets import Plan, Target
from manywheels.wheels.manifest import Manifest, TargetRecord, parse_manifest, parse_record
from manywheels.wheels.output import LOGS

_LONGEST_NAME: Final = 80  # characters of a stage's or log's name
_MARK: Final = "\x1e"
_LONGEST: Final = 64 << 20  # bytes of a line: a manifest's largest size


class EventWriter:
    """A reporter that writes each event as a line; logs are named relative to the output folder.

    Of a trace, its beginning is told at once, and what it has at the end.
    """

    def __init__(self, stream: TextIO, output: Path, trace: Trace = NO_TRACE) -> None:
        self._stream, self._output, self._trace = stream, output, trace
        self._lock = threading.Lock()
        if trace.on:
            self._write("began", seconds=trace.now())

    def prepared(self, name: str, log: Path, seconds: float) -> None:
        self._write("prepared", name=name, log=str(log.relative_to(self._output)), seconds=seconds)

    def started(self, plan: Plan, title: str) -> None:
        """The program outside has announced the whole run."""

    def entered(self, target: Target, stage: str) -> None:
        self._write("entered", target=target.identifier, stage=stage)

    def finished(self, record: TargetRecord) -> None:
        self._write("finished", record=asdict(record))

    def closed(self, manifest: Manifest) -> None:
        if self._trace.on:
            self._write("trace", spans=told(self._trace), left_out=self._trace.left_out)
        self._write("closed", manifest=asdict(manifest))

    def stop(self) -> None:
        """Nothing is drawn."""

    def _write(self, event: str, **facts: object) -> None:
        line = f"{_MARK}{json.dumps({'event': event, **facts})}\n"
        with self._lock:
            self._stream.write(line)
            self._stream.flush()


class EventReader:
    """Gives the events of one container to a reporter, other lines to `say`.

    `targets` are the container's, by identifier; `records` those of finished ones, `manifest` what the last event told.
    `trace` gets the container's part, if the container was asked for one.
    """

    def __init__(
        self,
        targets: Mapping[str, Target],
        output: Path,
        reporter: Reporter,
        say: Callable[[str], object],
        trace: TracePart | None = None,
    ) -> None:
        self._trace = trace
        self._targets, self._output, self._reporter, self._say = targets, output, reporter, say
        self._rest: dict[int, bytes] = {}
        self.records: dict[str, TargetRecord] = {}
        self.manifest: Manifest | None = None

    def feed(self, stream: int, chunk: bytes) -> bool:
        """Take output of the container; return False for a line that is too long. Raises EngineError."""
        *lines, rest = (self._rest.get(stream, b"") + chunk).split(b"\n")
        self._rest[stream] = rest
        for line in lines:
            self._take(line)
        return len(rest) <= _LONGEST

    def end(self) -> None:
        """Take the last lines, which do not end with a line feed."""
        for rest in filter(None, self._rest.values()):
            self._take(rest)
        self._rest = {}

    def _take(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r")
        if not text.startswith(_MARK):
            self._say(text)
            return
        try:
            self._report(json.loads(text.removeprefix(_MARK)))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise EngineError(
                f"The program in the container reported what is not known here: {str(error)[:200]}.",
                remedy="Use the image that this version of manywheels makes: it is named by its files.",
            ) from None

    def _report(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "prepared":
                self._reporter.prepared(_word(event["name"]), self._log(event["log"]), _seconds(event["seconds"]))
            case "entered":
                self._reporter.entered(self._targets[event["target"]], _word(event["stage"]))
            case "finished":
                self._reporter.finished(self._own(parse_record(event["record"])))
            case "closed":
                manifest = parse_manifest(event["manifest"])
                for record in manifest.targets:
                    self._own(record)
                self.manifest = manifest
            case "began" if self._trace:
                self._trace.begin(event["seconds"])
            case "trace" if self._trace:
                self._trace.take(event["spans"], event["left_out"])
            case other:
                raise ValueError(f"the event `{other}`")

    def _own(self, record: TargetRecord) -> TargetRecord:
        if record.identifier not in self._targets:
            raise ValueError(f"the target `{record.identifier}`, which is not the container's")
        self.records[record.identifier] = record
        return record

    def _log(self, name: str) -> Path:
        """Return the path of a log; only names of the folder of logs are allowed."""
        path = Path(name)
        if path.parent != Path(LOGS) or path.name in {"", ".", ".."}:
            raise ValueError(f"the log `{name}`")
        return self._output / path


def _seconds(value: float) -> float:
    if not math.isfinite(seconds := float(value)):
        raise ValueError(f"{seconds} seconds")
    return seconds


def _word(value: object) -> str:
    """Return a name that reporters print: without control characters and CI commands, and of some length."""
    return shorten(sanitize(str(value)), _LONGEST_NAME)
