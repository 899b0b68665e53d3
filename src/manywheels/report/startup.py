"""What a run spends before its first target: the image, the plan, objects of earlier runs, `before-all`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from manywheels.build.trace import TARGETS, Kind, Span
from manywheels.core.text import duration

_SHORTEST: Final = 0.1  # seconds of a step that is named


def describe(spans: Iterable[Span]) -> str:
    """Return it in one line, as `ready to build after 6.3 s (image 4.1 s, plan 0.4 s)`; empty without a trace."""
    steps = [span for span in spans if span.kind is Kind.RUN]
    first = min((span.begin for span in steps if span.name == TARGETS), default=None)
    if first is None:
        return ""
    before = sorted((span for span in steps if span.end <= first), key=lambda span: span.begin)
    named = ", ".join(f"{span.name} {duration(span.seconds)}" for span in before if span.seconds >= _SHORTEST)
    return f"ready to build after {duration(first)}" + (f" ({named})" if named else "")
