import json
from pathlib import Path

from env_probe._core import answer

PROBE = json.loads(Path(__file__).with_name("probe.json").read_text())

__all__ = ["PROBE", "answer"]
