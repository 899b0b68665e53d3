"""`python -m runner` prints the images that tests start from, for CI to pull them."""

from __future__ import annotations

import re

from conftest import ROOT
from manywheels.plan.policies import policy_named
from runner.images import ARCH, POLICIES

# What the action is built upon has a name of its own, without an architecture.
(_BASE,) = re.findall(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
print("\n".join([_BASE, *(policy_named(name).image_name(ARCH) for name in POLICIES)]))
