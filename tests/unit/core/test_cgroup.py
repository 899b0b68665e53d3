"""The OOM kill counters of cgroup v1 and v2."""

from __future__ import annotations

from pathlib import Path

import pytest

from manywheels.core import cgroup


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\noom_group_kill 0\n", 3),
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", 1),
        ("oom_kill_disable 0\nunder_oom 0\n", 0),
    ],
    ids=["version 2", "version 1", "an old kernel"],
)
def test_kills(text: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "counter").write_text(text)
    monkeypatch.setattr(cgroup, "_COUNTERS", (tmp_path / "absent", tmp_path / "counter"))
    assert cgroup.kills() == expected


def test_a_machine_that_does_not_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "_COUNTERS", (tmp_path / "absent",))
    assert cgroup.kills() == 0
