"""GitHub's step summary: the run as Markdown (`core.markdown`), within GitHub's size limit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from manywheels.core import text
from manywheels.core.markdown import LIMIT, code, fenced, fit, prose, size_in_bytes
from manywheels.report import wording
from manywheels.report.contents import Contents, described, digests
from manywheels.report.timeline import WAITING, Lane, lay_out
from manywheels.wheels.manifest import Manifest, TargetRecord, TargetState

_FAILURES: Final = LIMIT // 4  # bytes for failures
_WARNINGS: Final = LIMIT // 10
_CONTENTS: Final = LIMIT // 5
_GANTT: Final = 40_000  # characters; Mermaid draws nothing beyond 50,000
_LANES: Final = 60  # more would be unreadable
_CHARACTER: Final = 1 / 100  # of the drawing's width, for a letter
# `compact` puts a target's stages side by side; the fixed width keeps names within their
# bars; seconds since the epoch are the same in every time zone.
_GANTT_HEAD: Final = (
    "---", "displayMode: compact", "config:", "  gantt:", "    useWidth: 960", "    fontSize: 12",
    "    sectionFontSize: 13", "    leftPadding: 70", "    rightPadding: 20", "---", "gantt",
    "    dateFormat x", "    axisFormat %s s",
)  # fmt: skip
_NAMELESS: Final = "\u200b"  # tasks must have a name, which would cover the bar after a narrow one
_KINDS: Final = {WAITING: "done, ", "build": "active, "}
_MARKS: Final = {
    TargetState.BUILT: "✅",
    TargetState.REUSED: "✅",
    TargetState.FAILED: "❌",
    TargetState.NO_INTERPRETER: "⚠️",
    TargetState.CANCELLED: "⚪",
}
_HEADINGS: Final = ("target", "wheel", "size", "tags", "lowest glibc", "bundled libraries", "tests", "time")


def step_summary(manifest: Manifest, contents: Iterable[Contents] = (), startup: str = "") -> str:
    """Return at most LIMIT bytes of UTF-8, which say how much is left out.

    `contents` are those of the wheels, `startup` says what the run spent before its first target.
    """
    failed = bool(manifest.failures or manifest.sdist_failure)
    mark = "❌" if failed or not manifest.wheels else "✅"
    head = f"## {mark} {code(manifest.project)}: {wording.summary(manifest)}\n"
    parts = [
        head,
        fit(_FAILURES, _failures(manifest), "failures"),
        _sdist(manifest),
        "",  # the table, with the remaining bytes
        _timeline(manifest),
        fit(_CONTENTS, described(contents), "kinds of wheels"),
        digests(manifest),
        fit(_WARNINGS, _warnings(manifest), "warnings"),
        f"\n{' · '.join(_circumstances(manifest, startup))}\n",
    ]
    parts[3] = _table(manifest, LIMIT - sum(map(size_in_bytes, parts)) - len(parts))
    return "\n".join(part for part in parts if part)


def _circumstances(manifest: Manifest, startup: str) -> Iterator[str]:
    yield code(manifest.platform)
    yield code(manifest.toolchain)
    yield f"manywheels {code(manifest.manywheels)}"
    if startup:
        yield prose(startup)


def _sdist(manifest: Manifest) -> str:
    if failure := manifest.sdist_failure:
        return f"❌ The sdist ({code(failure.code)}): {prose(failure.problem)} {prose(failure.remedy)}\n"
    return f"✅ {code(manifest.sdist.name)}, {text.size(manifest.sdist.size)}\n" if manifest.sdist else ""


# --- the table --------------------------------------------------------------------------------------------------------


def _table(manifest: Manifest, budget: int) -> str:
    heading = [f"| {' | '.join(_HEADINGS)} |", f"|{' --- |' * len(_HEADINGS)}"]
    # With one platform, the Python identifies a target.
    one_platform = len({record.identifier.partition("-")[2] for record in manifest.targets}) == 1
    rows = (f"| {' | '.join(_row(record, short=one_platform))} |" for record in manifest.targets)
    return fit(budget, [*heading, *rows], "targets") + "\n"


def _row(record: TargetRecord, *, short: bool) -> tuple[str, ...]:
    wheel = record.wheel
    name = record.identifier.partition("-")[0] if short else record.identifier
    mark = _MARKS[TargetState.FAILED if record.has_failed else record.state]
    identifier = f"{mark}&nbsp;{code(name)}"
    seconds = _unbroken(text.duration(wording.total(record))) if record.seconds else ""
    if wheel is None:
        return (identifier, prose(wording.outcome(record)), "", "", "", "", "", seconds)
    file = prose(wording.outcome(record)) if record.state is TargetState.REUSED else _breakable(code(wheel.name))
    return (
        identifier,
        file,
        _unbroken(text.size(wheel.size)),
        " ".join(map(code, wording.short_tags(wheel.tags))),
        code(wheel.glibc or "any"),
        " ".join(_breakable(code(library)) for library in wheel.libraries),
        _tests(record),
        seconds,
    )


def _tests(record: TargetRecord) -> str:
    if record.tests_not_run:
        return _unbroken(f"⚠️ {wording.NOT_RUN}")
    tests = record.tests
    return _unbroken(f"{'✅' if tests.passed else '❌'} {wording.tests(tests)}") if tests else ""


def _unbroken(words: str) -> str:
    return words.replace(" ", "&nbsp;")


def _breakable(inert: str) -> str:
    return re.sub(r"&#46;(?=many|musl|so\b)", "&#46;<wbr>", inert)


# --- the time line ----------------------------------------------------------------------------------------------------


def _timeline(manifest: Manifest) -> str:
    timeline = lay_out(manifest)
    if not timeline.lanes:
        return ""
    lines = list(_GANTT_HEAD)
    budget = _GANTT - sum(map(len, lines))
    for lane in timeline.lanes[:_LANES]:
        drawn = _drawn(lane, timeline.end)
        budget -= sum(len(line) + 1 for line in drawn)
        if budget < 0:
            break
        lines += drawn
    shown = sum(line.startswith("    section ") for line in lines)
    note = f" (the first {shown} of {len(timeline.lanes)} targets)" if shown < len(timeline.lanes) else ""
    drawing = "\n".join(["```mermaid", *lines, "```"])
    legend = (
        "Grey is waiting, which the times in the table leave out; red is a failure. "
        "Preparation precedes the build; repair and verification follow it."
    )
    return f"<details open><summary>What ran when{note}</summary>\n\n{drawing}\n\n{legend}\n\n</details>\n"


def _drawn(lane: Lane, end: float) -> list[str]:
    section = re.sub(r"[^\w.]", "", lane.record.identifier.partition("-")[0])
    failed_in = lane.record.failure.stage if lane.record.failure else ""
    lines = [f"    section {section or 'target'}"]
    for bar in lane.bars:
        if bar.seconds < end / 500 and bar.stage != failed_in:
            continue  # it would be invisible
        name = f"{re.sub(r'[^a-z -]', '', bar.stage)} {text.duration(bar.seconds)}"
        shown = name if len(name) * _CHARACTER * end < bar.seconds else _NAMELESS
        kind = "crit, " if bar.stage == failed_in else _KINDS.get(bar.stage, "")
        lines.append(f"    {shown} :{kind}{bar.begin * 1000:.0f}, {bar.end * 1000:.0f}")
    return lines


# --- what went wrong --------------------------------------------------------------------------------------------------


def _failures(manifest: Manifest) -> Iterator[str]:
    for record, first in wording.with_first_alike(manifest.failures):
        failure = record.failure
        if failure is None:
            continue
        ended = prose(f"{wording.outcome(record)} ({failure.code})")
        title = f"### ❌ {code(record.identifier)} {ended}"
        if first:
            yield f"{title}\n\nSame as {code(first.identifier)}.\n"
            continue
        excerpt = failure.excerpt if failure.problem in failure.excerpt else (failure.problem, "", *failure.excerpt)
        remedy = f"\n\n{prose(failure.remedy)}" if failure.remedy else ""
        log = f"\n\nLog: {code(wording.log_of(record))}" if record.log else ""
        yield f"{title}\n\n{fenced(excerpt)}{remedy}{log}\n"


def _warnings(manifest: Manifest) -> Iterator[str]:
    by_text = wording.target_warnings(manifest)
    if by_text or manifest.warnings:
        yield "### ⚠️ Warnings\n"
    for warning, records in by_text.items():
        yield f"- {code(wording.tags(records))} {prose(warning)}"
    for warning in manifest.warnings:
        yield f"- {prose(warning)}"
