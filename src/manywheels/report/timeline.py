"""Every target's stages as bars on one time line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from manywheels.wheels.manifest import Manifest, TargetRecord

WAITING: Final = "waiting"
_SHORTEST: Final = 0.05  # seconds; shorter gaps are not shown as waiting


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One target's stage; `begin` and `end` are in seconds since the run began. A `title` is shown in its place."""

    stage: str
    begin: float
    end: float
    title: str = ""

    @property
    def seconds(self) -> float:
        return self.end - self.begin


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One target's bars, in order, without overlap; gaps are bars of waiting."""

    record: TargetRecord
    bars: tuple[Bar, ...]


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """A lane for each target that has run; `end` is in seconds."""

    lanes: tuple[Lane, ...]
    end: float

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that occur, in the targets' order, waiting last."""
        found = dict.fromkeys(bar.stage for lane in self.lanes for bar in lane.bars if bar.stage != WAITING)
        waited = any(bar.stage == WAITING for lane in self.lanes for bar in lane.bars)
        return (*found, *([WAITING] if waited else []))

    def ticks(self, count: int = 4) -> tuple[float, ...]:
        """Return about `count` round times in seconds, from zero to at most the end."""
        if self.end <= 0:
            return (0.0,)
        rough = self.end / count
        magnitude = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= rough)
        return tuple(round(number * step, 6) for number in range(math.floor(self.end / step) + 1))


def lay_out(manifest: Manifest) -> Timeline:
    """Lay out the time line; targets without stages are left out."""
    lanes = tuple(Lane(record=record, bars=bars) for record in manifest.targets if (bars := _bars(record)))
    return Timeline(lanes=lanes, end=max((lane.bars[-1].end for lane in lanes), default=0.0))


def _bars(record: TargetRecord) -> tuple[Bar, ...]:
    """Correct values from a file that make no sense."""
    known = sorted((max(0.0, record.began[stage]), stage) for stage in record.began if stage in record.seconds)
    bars: list[Bar] = []
    at = 0.0
    for noted, stage in known:
        begin = max(noted, at)
        end = begin + max(0.0, record.seconds[stage])
        waited = begin - at > _SHORTEST
        if waited or (stage == WAITING and record.seconds[stage] > _SHORTEST):
            bars = _wait(bars, end if stage == WAITING else begin, at)
        if stage != WAITING:
            bars.append(Bar(stage=stage, begin=begin, end=end))
        at = end
    return tuple(bars)


def _wait(bars: list[Bar], until: float, since: float) -> list[Bar]:
    if bars and bars[-1].stage == WAITING:
        bars, since = bars[:-1], bars[-1].begin
    return [*bars, Bar(stage=WAITING, begin=since, end=until)]
