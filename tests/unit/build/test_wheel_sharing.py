"""Which targets reuse which wheel, in any order of the builds' ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from itertools import chain, permutations

import pytest

from manywheels.build.wheel_sharing import ServedByOther, WheelSharing
from manywheels.core.cancellation import Cancellation
from manywheels.plan.targets import PlannedTarget, Target, known_targets
from manywheels.wheels.wheelfile import WheelName, parse_name
from unit.helpers import planned, target

FAILS = None


def made(tags: str) -> WheelName:
    return parse_name(f"demo-1.0-{tags}-linux_x86_64.whl")


class Race:
    """Targets whose builds end in a fixed order; each announces from its own thread."""

    def __init__(self, wheels: dict[str, str | None]) -> None:
        self.cancellation = Cancellation()
        self.sharing = WheelSharing(planned(*wheels), self.cancellation)
        self._wheels = wheels
        self.results: dict[str, str] = {}
        self._threads: dict[str, threading.Thread] = {}

    def end(self, tag: str) -> None:
        """End one target's build; return when it goes on or waits for an earlier one."""
        self._threads[tag] = threading.Thread(target=self._end, args=[tag], daemon=True)
        self._threads[tag].start()
        while not self._is_settled():
            time.sleep(0.001)

    def _is_settled(self) -> bool:
        """Whether every target has ended or waits for an earlier one."""
        alive = sum(thread.is_alive() for thread in self._threads.values())
        return alive == len(self.sharing._condition._waiters)  # type: ignore[attr-defined]

    def _end(self, tag: str) -> None:
        wheel = self._wheels[tag]
        try:
            if self.sharing.cancellation(target(tag)).requested:
                self.results[tag] = "stopped"
            else:
                if wheel is not None:
                    self.sharing.announce(target(tag), made(wheel))
                self.sharing.settle(target(tag))
                self.results[tag] = "failed" if wheel is None else "goes on"
        except ServedByOther:
            self.results[tag] = "served"
        finally:
            self.sharing.leave(target(tag))

    def waits(self, tag: str) -> bool:
        return self._threads[tag].is_alive()

    def run(self, order: tuple[str, ...]) -> dict[str, str | None]:
        """Return, for each target, the target whose wheel it gets, or None."""
        for tag in order:
            self.end(tag)
        for thread in self._threads.values():
            thread.join(60)
            assert not thread.is_alive(), "a target waits forever"
        served = {later.tag: earlier.tag for later, earlier in self.sharing.served.items()}
        return {tag: served.get(tag, tag if self.results[tag] == "goes on" else None) for tag in self._wheels}


def orders(*tags: str) -> list[tuple[str, ...]]:
    return list(permutations(tags))


@pytest.mark.parametrize("order", orders("cp39", "cp310", "cp311"))
@pytest.mark.parametrize(
    ("wheels", "expected"),
    [
        (("cp39-cp39", "cp310-cp310", "cp311-cp311"), ("cp39", "cp310", "cp311")),
        (("cp39-abi3", "cp39-abi3", "cp39-abi3"), ("cp39", "cp39", "cp39")),
        (("py3-none", "py3-none", "py3-none"), ("cp39", "cp39", "cp39")),
        (("cp39-abi3", "cp310-abi3", "cp311-abi3"), ("cp39", "cp39", "cp39")),
        (("cp39-cp39", "cp310-abi3", "cp310-abi3"), ("cp39", "cp310", "cp310")),
        ((FAILS, "cp310-abi3", "cp310-abi3"), (None, "cp310", "cp310")),
        ((FAILS, FAILS, "cp311-abi3"), (None, None, "cp311")),
        (("cp39-none", "cp310-none", "cp311-none"), ("cp39", "cp310", "cp311")),
        # Wheels of another kind from some Python on, or a failure: what the earliest target makes still decides.
        (("cp39-abi3", "cp310-cp310", "cp311-cp311"), ("cp39", "cp39", "cp39")),
        (("cp39-abi3", FAILS, "cp311-cp311"), ("cp39", "cp39", "cp39")),
        (("cp39-cp39", "cp310-abi3", "cp311-cp311"), ("cp39", "cp310", "cp310")),
        ((FAILS, "py3-none", "cp311-cp311"), (None, "cp310", "cp310")),
        (("cp39-cp39", FAILS, "cp311-cp311"), ("cp39", None, "cp311")),
    ],
)
def test_the_earliest_targets_wheel_wins_whatever_the_timing(
    wheels: tuple[str | None, ...], expected: tuple[str | None, ...], order: tuple[str, ...]
) -> None:
    tags = ("cp39", "cp310", "cp311")
    assert Race(dict(zip(tags, wheels, strict=True))).run(order) == dict(zip(tags, expected, strict=True))


def test_an_own_wheel_waits_for_earlier_targets_before_it_is_final() -> None:
    race = Race({"cp39": "cp39-abi3", "cp310": "cp310-cp310"})
    race.end("cp310")
    assert race.waits("cp310")
    assert not race.sharing.is_settled(target("cp310"))
    race.end("cp39")
    race.run(())
    assert race.results == {"cp39": "goes on", "cp310": "served"}
    assert race.sharing.is_settled(target("cp310"))


def test_an_own_wheel_is_repaired_and_tested_meanwhile() -> None:
    sharing = WheelSharing(planned("cp39", "cp310"), Cancellation())
    sharing.announce(target("cp310"), made("cp310-cp310"))  # does not wait
    assert not sharing.cancellation(target("cp310")).requested
    sharing.announce(target("cp39"), made("cp39-abi3"))
    assert sharing.cancellation(target("cp310")).requested


@pytest.mark.parametrize(
    ("tag", "wheel", "waits"),
    [("cp39", "cp39-abi3", False), ("cp310", "cp310-cp310", False), ("cp310", "cp310-abi3", True)],
)
def test_who_must_wait_is_known_before(tag: str, wheel: str, waits: bool) -> None:  # noqa: FBT001 - a parameter
    sharing = WheelSharing(planned("cp39", "cp310"), Cancellation())
    assert sharing.must_wait(target(tag), made(wheel)) == waits
    sharing.leave(target("cp39"))
    assert not sharing.must_wait(target(tag), made(wheel))


@pytest.mark.parametrize("order", orders("cp39", "cp310", "cp311"))
def test_the_earliest_wheel_decides_the_version(order: tuple[str, ...]) -> None:
    sharing = WheelSharing(planned("cp39", "cp310", "cp311"), Cancellation())
    for tag in order:
        if tag != "cp39":
            version = {"cp310": "1.0", "cp311": "2.0"}[tag]
            sharing.announce(target(tag), parse_name(f"demo-{version}-{tag}-{tag}-linux_x86_64.whl"))
    assert sharing.first_version() == "1.0"


@pytest.mark.parametrize("order", orders("cp313", "cp313t", "pp311"))
@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("cp39-abi3", {"cp313": "cp313", "cp313t": "cp313t", "pp311": "pp311"}),
        ("py3-none", {"cp313": "cp313", "cp313t": "cp313", "pp311": "cp313"}),
    ],
)
def test_an_abi3_wheel_serves_neither_free_threaded_nor_other_pythons(
    first: str, expected: dict[str, str], order: tuple[str, ...]
) -> None:
    later = {"cp313t": "cp313-cp313t", "pp311": "pp311-pypy311_pp73"}
    if first == "py3-none":
        later = dict.fromkeys(later, first)
    assert Race({"cp313": first, **later}).run(order) == expected


@pytest.mark.parametrize("order", orders("cp314t", "cp315", "cp315t"))
@pytest.mark.parametrize(
    ("made_by_315", "made_by_315t", "served_315t"),
    [
        ("cp315-abi3", "cp315-cp315t", "cp315t"),
        ("cp315-abi3", "cp315-abi3.abi3t", "cp315t"),
        ("cp315-abi3.abi3t", "cp315-abi3.abi3t", "cp315"),  # PEP 803: one wheel for both
        ("cp315-cp315", "cp315-abi3.abi3t", "cp315t"),
    ],
)
def test_a_wheel_for_both_stable_abis_serves_both(
    made_by_315: str, made_by_315t: str, served_315t: str, order: tuple[str, ...]
) -> None:
    race = Race({"cp314t": "cp314-cp314t", "cp315": made_by_315, "cp315t": made_by_315t})
    assert race.run(order) == {"cp314t": "cp314t", "cp315": "cp315", "cp315t": served_315t}


def entries(*by_platform: Sequence[Target]) -> list[PlannedTarget]:
    return [PlannedTarget(target=one, interpreter=None, asked_by_name=True) for one in chain(*by_platform)]


PLATFORMS = (("manylinux", "x86_64"), ("musllinux", "x86_64"), ("manylinux", "aarch64"))


@pytest.mark.parametrize("tags", ["cp39-abi3", "cp315-abi3t", "py3-none"])
def test_a_wheel_serves_its_own_platform_alone(tags: str) -> None:
    """A linux_x86_64 wheel of the one libc says nothing of the other, and its tags nothing of the family."""
    by_platform = [
        [known for known in known_targets(*platform) if known.tag in {"cp315", "cp315t"}] for platform in PLATFORMS
    ]
    wanted = [found for found in by_platform[0] if found.accepts(*tags.split("-"))]
    sharing = WheelSharing(entries(*by_platform), Cancellation())
    first = wanted[0]
    for one in by_platform[0][: by_platform[0].index(first)]:
        sharing.leave(one)
    sharing.announce(first, made(tags))
    assert sharing.served == dict.fromkeys(wanted[1:], first)
    assert not any(sharing.cancellation(one).requested for one in chain(*by_platform[1:]))


def test_a_stable_wheel_waits_for_no_other_platform() -> None:
    first, other = (known_targets(*platform)[:2] for platform in PLATFORMS[:2])
    sharing = WheelSharing(entries(first, other), Cancellation())
    sharing.announce(other[0], made("cp38-abi3"))  # does not wait
    assert sharing.served == {other[1]: other[0]}
    assert not sharing.is_settled(other[0]), "the earlier ones decide the version that every wheel must have"


def test_a_stable_wheel_serves_none_before_earlier_targets_have_decided() -> None:
    race = Race({"cp39": "cp39-cp39", "cp310": "cp310-abi3", "cp311": "cp310-abi3"})
    race.end("cp310")
    assert race.waits("cp310")
    assert not race.sharing.cancellation(target("cp311")).requested
    race.end("cp39")
    race.end("cp311")
    assert race.results == {"cp39": "goes on", "cp310": "goes on", "cp311": "stopped"}


@pytest.mark.parametrize("order", orders("cp312", "cp313", "cp313t"))
def test_a_served_target_serves_none(order: tuple[str, ...]) -> None:
    """Its own wheel, which is dropped, would have served a target that the earlier one's wheel cannot."""
    race = Race({"cp312": "cp312-abi3", "cp313": "py3-none", "cp313t": "cp313-cp313t"})
    assert race.run(order) == {"cp312": "cp312", "cp313": "cp312", "cp313t": "cp313t"}


def test_targets_that_are_served_are_stopped_and_others_are_not() -> None:
    race = Race({"cp38": "cp38-cp38", "cp39": "cp39-abi3", "cp313": "x-y", "cp313t": "x-y"})
    race.end("cp38")
    race.end("cp39")
    stopped = {tag: race.sharing.cancellation(target(tag)).requested for tag in ("cp38", "cp39", "cp313", "cp313t")}
    assert stopped == {"cp38": False, "cp39": False, "cp313": True, "cp313t": False}
    assert race.sharing.is_served(target("cp313"))
    assert not race.sharing.is_served(target("cp313t"))
    assert not race.cancellation.requested


def test_cancelling_the_run_stops_every_target() -> None:
    cancellation = Cancellation()
    sharing = WheelSharing(planned("cp39", "cp310"), cancellation)
    cancellation.request()
    assert all(sharing.cancellation(target(tag)).requested for tag in ("cp39", "cp310"))


def test_the_end_of_a_served_target_can_be_awaited() -> None:
    sharing = WheelSharing(planned("cp39", "cp310"), Cancellation())
    sharing.announce(target("cp39"), made("cp39-abi3"))
    waiting = threading.Thread(target=sharing.wait_for_end, args=[target("cp310")], daemon=True)
    waiting.start()
    with pytest.raises(ServedByOther):
        sharing.announce(target("cp310"), made("cp310-cp310"))
    waiting.join(0.05)
    assert waiting.is_alive(), "its wheel is known, but its processes may still run"
    sharing.leave(target("cp310"))
    waiting.join(60)
    assert not waiting.is_alive()
