"""What reporters on a console have in common: rows, marks, remarks, and the texts of logs."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from manywheels.core import text
from manywheels.core.cancellation import Cancellation
from manywheels.core.log_files import open_ends
from manywheels.plan.targets import Plan, Refusal
from manywheels.report import wording
from manywheels.wheels.manifest import Manifest, TargetRecord, TargetState

_BEGINNING: Final = 1 << 20  # bytes of a log that are shown
_ENDING: Final = 4 << 20
_LONGEST: Final = 1 << 14  # characters of a line
_CODE: Final = re.compile(r"\bMW\d{3}\b")
_ARCHS: Final = 2  # more are rarely meant by who builds on one machine
_MISSING: Final = 12  # targets without interpreter that are listed one by one
MARKS = {
    TargetState.BUILT: ("✓", "green"),
    TargetState.REUSED: ("✓", "green"),
    TargetState.FAILED: ("✗", "red"),
    TargetState.NO_INTERPRETER: ("-", "yellow"),
    TargetState.CANCELLED: ("-", "yellow"),
}


def mark(record: TargetRecord) -> tuple[str, str]:
    return MARKS[TargetState.FAILED if record.has_failed else record.state]


def logs_of(output: Path, record: TargetRecord) -> list[Path]:
    """Return the logs of a target's build and its tests."""
    return [output / log for log in (record.log, record.tests.log if record.tests else None) if log]


def quoted(log: Path, cancellation: Cancellation) -> Iterator[str]:
    with suppress(OSError), open_ends(log, beginning=_BEGINNING, ending=_ENDING) as stream:
        file = io.TextIOWrapper(stream, encoding="utf-8", errors="replace")
        while (line := file.readline(_LONGEST)) and not cancellation.requested:
            yield text.quote(line.rstrip("\n"))


HEADINGS = ("target", "result", "time", "glibc", "size", "platform")


def row(record: TargetRecord) -> tuple[str, ...]:
    wheel = record.wheel
    return (
        record.identifier,
        wording.outcome(record),
        text.duration(wording.total(record)) if record.seconds else "",
        (wheel.glibc or "any") if wheel else "",
        text.size(wheel.size) if wheel else "",
        wording.platforms(record),
    )


def in_table(manifest: Manifest) -> list[TargetRecord]:
    """Return the targets that the last table has: many without interpreter are only named below it."""
    there = [record for record in manifest.targets if record.state is not TargetState.NO_INTERPRETER]
    return there if len(manifest.targets) - len(there) > _MISSING else list(manifest.targets)


def total(manifest: Manifest, output: Path) -> str:
    return text.sanitize(f"{wording.summary(manifest)}; {output}")


def plan_remarks(plan: Plan) -> list[str]:
    remarks = []
    if plan.missing:
        names = " ".join(dict.fromkeys(planned.target.tag for planned in plan.missing))
        remarks.append(f"warning: no interpreter on this machine for {names}: these wheels will be missing")
    excluded = [target.tag for target, refusal in plan.excluded if refusal is Refusal.REQUIRES_PYTHON]
    if excluded:
        remarks.append(f"left out by the project's requires-python: {' '.join(dict.fromkeys(excluded))}")
    others = [target.tag for target, refusal in plan.excluded if refusal is Refusal.NOT_DEFAULT]
    if others:
        names = " ".join(dict.fromkeys(others))
        remarks.append(f"not in the default `build`, but here: {names} (`--build all` includes them)")
    archs = dict.fromkeys(planned.target.arch for planned in plan.targets)
    if len(archs) > _ARCHS:
        remarks.append(
            f"{len(plan.targets)} targets for {len(archs)} architectures; `--archs native` builds this machine's alone"
        )
    return remarks


def warnings(manifest: Manifest) -> list[str]:
    """Return each warning once, with its targets."""
    by_text = wording.target_warnings(manifest).items()
    found = [text.sanitize(f"warning: {warning} ({wording.tags(records)})") for warning, records in by_text]
    found += [text.sanitize(f"warning: {warning}") for warning in manifest.warnings]
    codes = sorted({code for line in found for code in _CODE.findall(line)})
    return found + ([f"  `manywheels explain {' '.join(codes)}` says what that means, and what to do"] if codes else [])


def missing(manifest: Manifest, output: Path) -> list[str]:
    """Return the targets that could not even begin, which all have the same problem, with the ways out."""
    missing = [record for record in manifest.failures if record.state is TargetState.NO_INTERPRETER]
    if not missing:
        return []
    first, others = missing[0], [record.identifier for record in missing[1:]]
    head = f"{mark(first)[0]} {wording.headline(first)}"
    also = [text.sanitize(f"  so are {text.some(others, _MISSING)}")] if others else []
    return [head, *also, *wording.explain(first, output)]
