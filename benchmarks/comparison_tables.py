"""The comparison as Markdown tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence

from contestants import Contestant
from measuring import Run
from side_by_side import Figures

_NONE = "not measured"
_CAPTION = (
    "Seconds are medians of cold runs. With one file changed, or nothing, only manywheels was run: cibuildwheel would "
    "build everything again, so its cold median is what is compared. Processor seconds are those of the whole machine."
)

Results = Mapping[str, Figures]

_COLUMNS = (
    "project", "wheels", "pip", "build[uv]", "manywheels", "against pip", "against build[uv]",
    "compilations: cibuildwheel", "manywheels", "processor seconds: pip", "build[uv]", "manywheels",
    "one file changed", "against pip", "against build[uv]", "compilations",
    "nothing changed", "against pip", "against build[uv]",
)  # fmt: skip


def tables(results: Results, contestants: Sequence[Contestant]) -> Iterator[str]:
    """Yield the lines of all tables, and the figures of the single rounds."""
    yield from (*_table(_COLUMNS, (_row(name, figures) for name, figures in results.items())), "", _CAPTION, "")
    for name, figures in results.items():
        if limit := figures.limit:
            yield (f"{name}, nothing but its compilers ({limit.commands} commands on {limit.cores} cores): "
                   f"{statistics.median(limit.seconds):.1f} s ({_listed(limit.seconds)})")  # fmt: skip
            yield ""
    columns = ("project", "tool", "no compiler running", "memory of the tool")
    yield from (*_table(columns, _side_rows(results, contestants)), "", "Each round, in seconds:", "")
    for name, figures in results.items():
        yield f"- {name}: {'; '.join(_rounds(figures, contestants))}"


def _row(name: str, figures: Figures) -> list[str]:
    pip, uv, ours = (figures.cold[short] for short in ("pip", "build[uv]", "manywheels"))
    theirs = (_median(pip), _median(uv))
    return [
        name, str(figures.wheels), *(f"{_median(runs):.1f}" for runs in (pip, uv, ours)), *_ratios(theirs, ours),
        compilations([*pip, *uv]), compilations(ours),
        *(f"{statistics.median(run.processor for run in runs):.0f}" for runs in (pip, uv, ours)),
        f"{_median(figures.changed):.1f}", *_ratios(theirs, figures.changed), compilations(figures.changed),
        f"{_median(figures.unchanged):.1f}", *_ratios(theirs, figures.unchanged),
    ]  # fmt: skip


def _median(runs: Iterable[Run]) -> float:
    return statistics.median(run.seconds for run in runs)


def _ratios(theirs: Iterable[float], ours: Iterable[Run]) -> Iterator[str]:
    median = _median(ours)
    return (f"{one / median:.2f} x" for one in theirs)


def compilations(runs: Sequence[Run]) -> str:
    """Return how many compilers ran: as the kernel reported, and as the tool says, where that is something else."""
    clean = [run.compilations.units for run in runs if run.compilations and run.compilations.is_clean]
    told = _span([run.told for run in runs if run.told is not None])
    if not clean:
        return f"{told} (as it says)" if told else _NONE
    return f"{_span(clean)} ({told} as it says)" if told and told != _span(clean) else _span(clean)


def _span(numbers: Sequence[int]) -> str:
    if not numbers:
        return ""
    return str(min(numbers)) if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}"


def _side_rows(results: Results, contestants: Sequence[Contestant]) -> Iterator[list[str]]:
    for name, figures in results.items():
        for contestant in contestants:
            runs = figures.cold[contestant.short]
            peak = f"{max(run.peak for run in runs) / 1e6:.0f} MB" if contestant is contestants[-1] else ""
            yield [name, contestant.name, f"{statistics.median(run.idle for run in runs):.0%}", peak]


def _rounds(figures: Figures, contestants: Sequence[Contestant]) -> Iterator[str]:
    for contestant in contestants:
        yield f"{contestant.name} {_listed(run.seconds for run in figures.cold[contestant.short])}"
    yield f"one file changed {_listed(run.seconds for run in figures.changed)}"
    yield f"nothing changed {_listed(run.seconds for run in figures.unchanged)}"
    runs = [*(run for runs in figures.cold.values() for run in runs), *figures.changed, *figures.unchanged]
    if disturbed := sum(bool(run.compilations and not run.compilations.is_clean) for run in runs):
        yield f"in {disturbed} of {len(runs)} runs others compiled too, or events were lost: not counted there"


def _listed(seconds: Iterable[float]) -> str:
    return ", ".join(f"{one:.1f}" for one in seconds)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in (columns, ["---"] * len(columns), *rows):
        yield f"| {' | '.join(row)} |"
