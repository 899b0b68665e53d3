"""Which reporter a console has: a live table on a terminal, otherwise plain lines, in groups where a CI folds them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO

from manywheels.build.reporter import Reporter
from manywheels.core.cancellation import Cancellation
from manywheels.core.colours import paint_for
from manywheels.report.estimate import estimate
from manywheels.report.live import LiveReporter
from manywheels.report.plain import Fold, PlainReporter, QuietReporter, github_group, gitlab_section, unfolded
from manywheels.wheels.manifest import Manifest


def console_reporter(
    output: Path,
    cancellation: Cancellation,
    *,
    verbose: bool,
    quiet: bool = False,
    before: Manifest | None = None,
    stream: TextIO | None = None,
) -> Reporter:
    """Return the reporter that fits `stream`, standard output by default. Logs are not shown after a cancellation.

    `before` is the run before, from which the time left is estimated.
    """
    stream = stream or sys.stdout
    if quiet:
        return QuietReporter(output, stream, cancellation, verbose=False, paint=paint_for(stream))
    if stream.isatty() and not os.environ.get("CI"):
        return LiveReporter(output, cancellation, verbose=verbose, stream=stream, expected=estimate(before))
    return PlainReporter(output, stream, cancellation, verbose=verbose, fold=_fold_here(), paint=paint_for(stream))


def _fold_here() -> Fold:
    if os.environ.get("GITHUB_ACTIONS") == "true":
        return github_group
    return gitlab_section if os.environ.get("GITLAB_CI") == "true" else unfolded
