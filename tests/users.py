"""Users of other ids, who are nobody on this machine: those of one run of tests are no other run's beside it."""

from __future__ import annotations

import os

FIRST = 40_000 + os.getpid() % 5_000 * 4
USER, OTHER, THIRD, FETCHER = range(FIRST, FIRST + 4)
