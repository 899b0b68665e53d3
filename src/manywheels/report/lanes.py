"""A trace as lanes, for its file and the HTML report: of each program the run, its targets and its compilers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from manywheels.build.trace import TARGETS, Kind, Span, Trace
from manywheels.core import text
from manywheels.report.timeline import WAITING, Bar, Timeline, lay_out
from manywheels.wheels.manifest import Manifest, TargetRecord

_SHORTEST: Final = 0.05  # seconds; shorter gaps are not shown as waiting
_KINDS: Final = (Kind.RUN, Kind.TARGET, Kind.COMPILER)
_BARS: Final = 4_000  # in all lanes together, about
_BARS_OF_LANE: Final = 500


@dataclass(frozen=True, kw_only=True)
class TraceLane:
    """The spans of one lane, in order; `shared` are the objects that a target got. `place` is as a span's.

    `name` is a target's identifier, a compiler's number, or empty for the run.
    """

    place: str
    kind: Kind
    name: str
    spans: tuple[Span, ...]
    shared: tuple[Span, ...] = ()

    @property
    def title(self) -> str:
        return {Kind.RUN: "run", Kind.COMPILER: f"compiler {self.name}"}.get(self.kind, self.name)


def lanes_of(trace: Trace, identifiers: Sequence[str]) -> tuple[TraceLane, ...]:
    """Return the lanes place by place, the program's own first; `identifiers` are the targets in the plan's order."""
    order = {name: number for number, name in enumerate(identifiers)}
    found: dict[tuple[str, Kind, str], list[Span]] = {}
    shared: dict[tuple[str, str], list[Span]] = {}
    for span in sorted(trace.spans, key=lambda span: (span.begin, -span.seconds)):
        if span.kind is Kind.SHARED:
            shared.setdefault((span.place, span.lane), []).append(span)
        else:
            found.setdefault((span.place, span.kind, span.lane), []).append(span)

    def rank(key: tuple[str, Kind, str]) -> tuple[str, int, int, str]:
        place, kind, name = key
        number = int(name) if kind is Kind.COMPILER else order.get(name, len(order))
        return place, _KINDS.index(kind), number, name

    return tuple(
        TraceLane(
            place=place, kind=kind, name=name,
            spans=tuple(_with_waiting(spans, _start(found, place)) if kind is Kind.TARGET else spans),
            shared=tuple(shared.get((place, name), ())) if kind is Kind.TARGET else (),
        )
        for (place, kind, name), spans in sorted(found.items(), key=lambda item: rank(item[0]))
    )  # fmt: skip


def _start(found: dict[tuple[str, Kind, str], list[Span]], place: str) -> float | None:
    """Return when the targets of a program could begin."""
    return next((span.begin for span in found.get((place, Kind.RUN, ""), ()) if span.name == TARGETS), None)


def _with_waiting(spans: Sequence[Span], start: float | None) -> Iterator[Span]:
    """Yield a target's stages without overlap, and its waiting between them: for the network, or a token."""
    at = spans[0].begin if start is None else start
    waiting: Span | None = None
    for span in spans:
        begin = max(span.begin, at)
        if span.name == WAITING or begin - at > _SHORTEST:
            since = waiting.begin if waiting else at
            until = max(span.end, begin) if span.name == WAITING else begin
            waiting = replace(span, name=WAITING, begin=since, seconds=until - since)
        if span.name != WAITING:
            if waiting and waiting.seconds > _SHORTEST:
                yield waiting
            waiting = None
            yield replace(span, begin=begin, seconds=max(0.0, span.end - begin))
        at = max(span.end, begin)
    if waiting and waiting.seconds > _SHORTEST:
        yield waiting


# --- the HTML report --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Row:
    """A lane as it is drawn. `label` says it in words, `failed` is the stage that failed; `marks` are shared objects.

    `place` is a heading, empty for none.
    """

    title: str
    label: str
    bars: tuple[Bar, ...]
    failed: str = ""
    marks: tuple[Bar, ...] = ()
    place: str = ""

    @property
    def end(self) -> float:
        return self.bars[-1].end if self.bars else 0.0


@dataclass(frozen=True, kw_only=True)
class Chart:
    """All rows; `timeline` has their end, and `left_out` is how many spans are missing."""

    rows: tuple[Row, ...]
    timeline: Timeline
    left_out: int = 0

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that occur, waiting last."""
        found = dict.fromkeys(bar.stage for row in self.rows for bar in row.bars)
        return (*(stage for stage in found if stage != WAITING), *([WAITING] if WAITING in found else []))

    @property
    def has_marks(self) -> bool:
        return any(row.marks for row in self.rows)


def chart_of(manifest: Manifest, trace: Trace) -> Chart:
    """Draw a trace; without one, the targets alone, as the manifest has them."""
    records = {record.identifier: record for record in manifest.targets}
    lanes = lanes_of(trace, tuple(records))
    if not lanes:
        timeline = lay_out(manifest)
        rows = tuple(_target_row(lane.record.identifier, lane.bars, lane.record) for lane in timeline.lanes)
        return Chart(rows=rows, timeline=timeline)
    end = max(span.end for lane in lanes for span in (*lane.spans, *lane.shared))
    shortest = end / min(_BARS_OF_LANE, max(1, _BARS // len(lanes)))
    drawn = tuple(_row(lane, shortest, records.get(lane.name)) for lane in lanes)
    return Chart(rows=drawn, timeline=Timeline(lanes=(), end=end), left_out=trace.left_out)


def _row(lane: TraceLane, shortest: float, record: TargetRecord | None) -> Row:
    if lane.kind is Kind.COMPILER:
        bars = tuple(_joined(lane.spans, shortest))
        seconds = sum(span.seconds for span in lane.spans)
        label = f"{lane.title}: {len(lane.spans)} units, {text.duration(seconds)}"
        return Row(title=lane.title, label=label, bars=bars, place=lane.place)
    bars = tuple(Bar(stage=span.name, begin=span.begin, end=span.end) for span in lane.spans)
    marks = tuple(_joined(lane.shared, shortest))
    if lane.kind is Kind.TARGET:
        return replace(_target_row(lane.name, bars, record), marks=marks, place=lane.place)
    return Row(title=lane.title, label=in_words(bars), bars=bars, place=lane.place)


def _target_row(identifier: str, bars: tuple[Bar, ...], record: TargetRecord | None) -> Row:
    failed = record.failure.stage if record and record.failure else ""
    return Row(title=identifier.partition("-")[0], label=in_words(bars), bars=bars, failed=failed)


def in_words(bars: Iterable[Bar]) -> str:
    return ", ".join(f"{bar.stage} {text.duration(bar.seconds)}" for bar in bars)


def _joined(spans: Iterable[Span], shortest: float) -> Iterator[Bar]:
    """Yield a bar for each unit, but one for those that together are not longer than `shortest` (seconds)."""
    group: list[Span] = []
    for span in spans:
        if group and span.end - group[0].begin > shortest:
            yield _bar(group)
            group = []
        group.append(span)
    if group:
        yield _bar(group)


def _bar(group: Sequence[Span]) -> Bar:
    first = group[0]
    units = first.name if len(group) == 1 else f"{len(group)} units"
    whose = f" for {first.target}" if len(group) == 1 and first.target else ""
    return Bar(stage="build", begin=first.begin, end=max(span.end for span in group), title=f"{units}{whose}")
