"""A trace as a file in Chrome's trace event format, which https://ui.perfetto.dev and chrome://tracing show.

"Trace Event Format" (Google): a program is a process there, a lane a thread; times are in microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from manywheels.build.trace import Kind, Span, Trace
from manywheels.core.files import write_report_file
from manywheels.core.text import sanitize, shorten
from manywheels.report.lanes import TraceLane, lanes_of
from manywheels.wheels.manifest import Manifest

_SAMPLES: Final = 2_000  # of the number of compilers, about
_LONGEST: Final = 200  # characters of the project's name
_PROGRAM: Final = "manywheels"

Event = dict[str, Any]


def write_trace(trace: Trace, manifest: Manifest, path: Path) -> None:
    """Write atomically. Raises OutputFolderError."""
    facts = {
        "project": shorten(sanitize(manifest.project), _LONGEST),
        "manywheels": manifest.manywheels,
        "left out": trace.left_out,
    }
    content = {"displayTimeUnit": "ms", "otherData": facts, "traceEvents": list(events_of(trace, manifest))}
    with write_report_file(path, "trace") as file:
        file.write(json.dumps(content, separators=(",", ":")).encode() + b"\n")


def events_of(trace: Trace, manifest: Manifest) -> Iterator[Event]:
    """Yield the names of all lanes, then what happened in them, and how many compilers were running."""
    lanes = lanes_of(trace, [record.identifier for record in manifest.targets])
    processes = {place: number for number, place in enumerate(dict.fromkeys(["", *(lane.place for lane in lanes)]), 1)}
    for place, process in processes.items():
        yield from _named("process", place or _PROGRAM, process, 0, process)
    for thread, lane in enumerate(lanes, 1):
        process = processes[lane.place]
        yield from _named("thread", lane.title, process, thread, thread)
        yield from _happened(lane, process, thread)
    yield from _running(lane.spans for lane in lanes if lane.kind is Kind.COMPILER)


def _named(what: str, name: str, process: int, thread: int, rank: int) -> Iterator[Event]:
    for key, value in (("name", sanitize(name)), ("sort_index", rank)):
        arguments = {key: value}
        yield {"name": f"{what}_{key}", "ph": "M", "ts": 0, "pid": process, "tid": thread, "args": arguments}


def _happened(lane: TraceLane, process: int, thread: int) -> Iterator[Event]:
    place: Mapping[str, Any] = {"pid": process, "tid": thread}
    for span in lane.spans:
        begin, end = _microseconds(span.begin), _microseconds(span.end)
        more: Event = {"args": {"target": span.target}} if span.target else {}
        yield {
            "name": span.name, "cat": lane.kind.value, "ph": "X", "ts": begin, "dur": end - begin, **place, **more,
        }  # fmt: skip
    for span in lane.shared:
        yield {
            "name": span.name, "cat": Kind.SHARED.value, "ph": "i", "s": "t", "ts": _microseconds(span.begin), **place,
        }  # fmt: skip


def _running(lanes: Iterable[Iterable[Span]]) -> Iterator[Event]:
    """Yield the number of compilers whenever it changes, or `_SAMPLES` times."""
    changes: dict[int, int] = {}
    for span in (span for spans in lanes for span in spans):
        for moment, change in ((span.begin, 1), (span.end, -1)):
            changes[_microseconds(moment)] = changes.get(_microseconds(moment), 0) + change
    step = (max(changes) - min(changes)) // _SAMPLES + 1 if len(changes) > _SAMPLES else 1
    number, sampled = 0, dict[int, int]()
    for moment in sorted(changes):
        number += changes[moment]
        sampled[-(-moment // step) * step] = number  # the last one of each step
    for moment, running in sampled.items():
        arguments = {"running": running}
        yield {"name": "compilers", "ph": "C", "ts": moment, "pid": 1, "tid": 0, "args": arguments}


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)
