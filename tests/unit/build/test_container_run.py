"""One run of several containers: what they tell becomes one table and one manifest, however each of them ends."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from manywheels.build import container_run
from manywheels.build.container_run import JOBSERVER, ContainerRun
from manywheels.build.events import EventWriter
from manywheels.build.trace import NO_TRACE, Kind, Trace
from manywheels.core.cancellation import Cancellation
from manywheels.errors import Cancelled, EngineError
from manywheels.plan.options import Options, resolve
from manywheels.plan.targets import Plan, PlannedTarget, Target
from manywheels.runtime.containers.program import STOPPED, ContainerBuild
from manywheels.runtime.containers.run import Sink
from manywheels.verify.rules import verification_rules
from manywheels.wheels.manifest import Manifest, TargetRecord, TargetState, read_manifest
from manywheels.wheels.manifest import seal as seal_file
from manywheels.wheels.output import open_output
from unit.build.test_events import Recorder
from unit.helpers import given, interpreter, manifest, project, wheel_record, write_sdist, write_wheel

MANY, MUSL = "manylinux_2_28_x86_64", "musllinux_1_2_x86_64"
Inside = Callable[["Container"], int]


@dataclass
class Container:
    """A container as its program sees it; `ended` are the platforms whose containers have ended."""

    build: ContainerBuild
    cancellation: Cancellation
    sink: Sink
    targets: list[Target]

    @property
    def writer(self) -> EventWriter:
        return EventWriter(_Stream(self.sink), self.build.output_dir)  # type: ignore[arg-type]

    def say(self, text: str) -> None:
        self.sink(2, text.encode())

    def finish(self, *targets: Target, state: TargetState = TargetState.BUILT) -> list[TargetRecord]:
        records = [
            TargetRecord(identifier=target.identifier, state=state, seconds={"build": 1.0}) for target in targets
        ]
        for target, record in zip(targets, records, strict=True):
            self.writer.entered(target, "build")
            self.writer.finished(record)
        return records

    def close(self, records: list[TargetRecord], **facts: Any) -> int:
        tag = self.build.platform.tag
        self.writer.closed(replace(manifest(*records), platform=tag, **{"toolchain": f"gcc of {tag}", **facts}))
        return 0


class _Stream:
    """A container's stdout."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, text: str) -> None:
        assert self._sink(1, text.encode())

    def flush(self) -> None:
        """Each line goes at once."""


def all_built(container: Container) -> int:
    return container.close(container.finish(*container.targets))


@dataclass
class Setting:
    """A run for manylinux and musllinux, with what happens in the containers, by platform tag."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    inside: dict[str, Inside] = field(default_factory=dict)
    reporter: Recorder = field(default_factory=Recorder)
    cancellation: Cancellation = field(default_factory=Cancellation)
    builds: dict[str, ContainerBuild] = field(default_factory=dict)
    volumes: list[str] = field(default_factory=list)
    trace: Trace = NO_TRACE

    def run(
        self, *, platform: str = "manylinux_2_28 musllinux_1_2", missing: tuple[str, ...] = (), **words: str
    ) -> tuple[int, Manifest | None]:
        values = {"archs": "x86_64", "build": "cp311 cp312", "platform": platform, **words}
        options = resolve({name: given(value) for name, value in values.items()}, project(), environment={})
        planned = [self._planned(target, missing) for target in options.selected]
        plan = Plan(targets=tuple(planned), excluded=())
        output = open_output(self.folder / "dist")
        builds = {
            one: ContainerBuild(package=self.folder, output_dir=output.path, platform=one, arguments=("--part=x",))
            for one in options.platforms_of(entry.target for entry in planned)
        }
        self._replace_the_engine(options, plan)
        run = ContainerRun(
            project=project(), plan=plan, options=options, output=output, builds=builds, rules=verification_rules({}),
            trace=self.trace,
        )  # fmt: skip
        return container_run.execute(run, self.reporter, self.cancellation)

    def _planned(self, target: Target, missing: tuple[str, ...]) -> PlannedTarget:
        is_there = target.identifier not in missing
        return PlannedTarget(
            target=target, interpreter=interpreter(target.tag) if is_there else None, asked_by_name=False
        )

    def _replace_the_engine(self, options: Options, plan: Plan) -> None:
        def run_build(build: ContainerBuild, cancellation: Cancellation, sink: Sink) -> int:
            tag = build.platform.tag
            self.builds[tag] = build
            own = [one.target for one in plan.targets if options.platform_of(one.target).tag == tag]
            return self.inside.get(tag, all_built)(Container(build, cancellation, sink, own))

        self.monkeypatch.setattr(container_run, "run_build", run_build)
        self.monkeypatch.setattr(container_run, "what_is_not_known", lambda _: ["note: not known: X"])
        self.monkeypatch.setattr(container_run, "connect", lambda: FakeClient(self.volumes))

    def finished(self) -> list[tuple[str, TargetState]]:
        return [(told[1].identifier, told[1].state) for told in self.reporter.told if told[0] == "finished"]

    @property
    def written(self) -> Manifest:
        return read_manifest(self.folder / "dist")


class FakeClient:
    """An engine's volumes: `there` are the names of those that were not removed."""

    def __init__(self, there: list[str]) -> None:
        self.there = there
        self.volumes = self

    def create(self, name: str, labels: dict[str, str]) -> FakeVolume:
        assert labels
        self.there.append(name)
        return FakeVolume(name, self.there)

    def close(self) -> None:
        """There is no connection."""


@dataclass
class FakeVolume:
    name: str
    there: list[str]

    def remove(self, *, force: bool) -> None:
        assert force
        self.there.remove(self.name)


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    return Setting(tmp_path, monkeypatch)


def states(made: Manifest) -> dict[str, TargetState]:
    return {record.identifier: record.state for record in made.targets}


@pytest.mark.parametrize("is_there", [True, False])
def test_the_sdist_of_a_container_counts_if_it_is_what_it_says(setting: Setting, *, is_there: bool) -> None:
    def inside(container: Container) -> int:
        path = write_sdist(container.build.output_dir)
        sealed = seal_file(path, sha256=hashlib.sha256(path.read_bytes() if is_there else b"").hexdigest())
        return container.close(container.finish(*container.targets), sdist=sealed)

    setting.inside[MANY] = inside
    setting.run(sdist="true")
    made = setting.written
    if is_there:
        assert made.sdist_failure is None
        assert made.sdist is not None
        assert made.sdist.name == "demo-1.0.tar.gz"
    else:
        assert made.sdist is None
        assert made.sdist_failure is not None
        assert made.sdist_failure.code == "MW113"


def test_an_sdist_that_no_container_has_made_is_a_failure(setting: Setting) -> None:
    setting.run(sdist="true")
    assert setting.written.sdist_failure is not None


IN_ORDER = [f"{tag}-{family}_x86_64" for family in ("manylinux", "musllinux") for tag in ("cp311", "cp312")]


def test_containers_become_one_run(setting: Setting) -> None:
    status, made = setting.run()
    assert status == 0
    assert made == setting.written
    assert states(made) == dict.fromkeys(IN_ORDER, TargetState.BUILT)
    assert list(states(made)) == IN_ORDER == list(made.planned)
    assert made.platform == f"{MANY}, {MUSL}"
    assert made.toolchain == f"gcc of {MANY}, gcc of {MUSL}"
    assert made.source == manifest().source
    told = [name for name, *_ in setting.reporter.told]
    assert (told[0], told[-1]) == ("started", "closed")
    assert sorted(setting.finished()) == sorted(states(made).items())
    assert setting.reporter.told[0][2] == f"demo for {MANY}, {MUSL}"
    assert setting.reporter.told[-1] == ("closed", made)


def test_they_run_side_by_side_and_the_plans_order_stays(setting: Setting) -> None:
    """Each waits until the other has begun, and manylinux until musllinux has ended."""
    begun, ended = threading.Barrier(2, timeout=60), threading.Event()

    def first(container: Container) -> int:
        begun.wait()
        assert ended.wait(60)
        return all_built(container)

    def second(container: Container) -> int:
        begun.wait()
        records = container.finish(*reversed(container.targets))
        container.close(records)
        ended.set()
        return 0

    setting.inside = {MANY: first, MUSL: second}
    _, made = setting.run()
    assert made is not None
    assert list(states(made)) == IN_ORDER


def test_they_share_a_jobserver_and_its_volume_is_removed(setting: Setting) -> None:
    setting.run()
    volumes = {build.volume for build in setting.builds.values()}
    assert len(volumes) == 1
    assert volumes != {""}
    assert setting.volumes == []
    assert {build.arguments for build in setting.builds.values()} == {("--part=x", f"--jobserver={JOBSERVER}")}


def traced(container: Container) -> int:
    """A container that is built, started, and tells what its program has done."""
    for step in ("image", "container", "program"):
        container.build.step(step)
    inside = Trace()
    writer = EventWriter(_Stream(container.sink), container.build.output_dir, inside)  # type: ignore[arg-type]
    for target in container.targets:
        with inside.span(Kind.TARGET, "build", lane=target.identifier):
            records = container.finish(*container.targets)
    writer.closed(replace(manifest(*records), platform=container.build.platform.tag))
    return 0


def test_what_the_containers_did_is_one_trace(setting: Setting) -> None:
    setting.trace, setting.inside = Trace(), {MANY: traced, MUSL: traced}
    _, made = setting.run()
    assert made is not None
    assert all("--traced" in build.arguments for build in setting.builds.values())
    found = {(span.place, span.kind, span.lane, span.name) for span in setting.trace.spans}
    steps = {(tag, Kind.RUN, "", step) for tag in (MANY, MUSL) for step in ("image", "container", "program")}
    stages = {(MANY if "many" in name else MUSL, Kind.TARGET, name, "build") for name in IN_ORDER}
    assert found == steps | stages


def test_a_container_that_dies_leaves_its_steps_in_the_trace(setting: Setting) -> None:
    def dies(container: Container) -> int:
        container.build.step("image")
        raise EngineError("The image is gone.", remedy="")

    setting.trace, setting.inside = Trace(), {MANY: dies, MUSL: traced}
    setting.run()
    assert (MANY, "image") in {(span.place, span.name) for span in setting.trace.spans}


def test_a_run_without_a_trace_asks_for_none(setting: Setting) -> None:
    setting.run()
    assert not any("--traced" in build.arguments for build in setting.builds.values())


def test_jobs_are_divided(setting: Setting) -> None:
    setting.run(jobs="5")
    assert {build.arguments[1:] for build in setting.builds.values()} == {(f"--jobserver={JOBSERVER}", "--jobs=2")}


def test_with_one_job_there_is_one_container_at_a_time(setting: Setting) -> None:
    running: list[str] = []

    def alone(container: Container) -> int:
        running.append(container.build.platform.tag)
        assert len(running) == 1
        all_built(container)
        running.pop()
        return 0

    setting.inside = {MANY: alone, MUSL: alone}
    _, made = setting.run(jobs="1")
    assert made is not None
    assert set(states(made).values()) == {TargetState.BUILT}


def test_a_single_container_shares_nothing(setting: Setting) -> None:
    status, made = setting.run(platform="musllinux_1_2")
    assert (status, made) == (0, setting.written)
    assert setting.builds[MUSL].volume == ""
    assert setting.builds[MUSL].arguments == ("--part=x",)


def test_one_that_dies_before_it_built_anything_fails_its_targets(
    setting: Setting, capsys: pytest.CaptureFixture[str]
) -> None:
    def dies(container: Container) -> int:
        container.say("error MW002: no project\n")
        return 2

    setting.inside[MUSL] = dies
    _, made = setting.run()
    assert made == setting.written
    assert [states(made)[name] for name in IN_ORDER] == [TargetState.BUILT] * 2 + [TargetState.FAILED] * 2
    failure = made.failures[0].failure
    assert failure is not None
    assert failure.stage == "container"
    assert failure.problem == f"The container of {MUSL} ended with the status 2 before it had built this target."
    assert failure.remedy == "Its message above says why."
    assert sorted(setting.finished()) == sorted(states(made).items()), "each target is told of, once"
    assert f"{MUSL}: error MW002: no project" in capsys.readouterr().err


def test_one_that_dies_halfway_keeps_what_it_finished(setting: Setting) -> None:
    def dies(container: Container) -> int:
        container.finish(container.targets[0])
        container.writer.entered(container.targets[1], "build")
        return 137

    setting.inside[MUSL] = dies
    _, made = setting.run()
    assert made is not None
    assert [states(made)[name] for name in IN_ORDER] == [TargetState.BUILT] * 3 + [TargetState.FAILED]
    assert sorted(setting.finished()) == sorted(states(made).items())


def test_one_that_cannot_run_fails_its_targets_with_its_error(setting: Setting) -> None:
    def cannot(_: Container) -> int:
        raise EngineError("There is no image.", remedy="Pull it.")

    setting.inside[MANY] = cannot
    _, made = setting.run()
    assert made is not None
    assert [states(made)[name] for name in IN_ORDER] == [TargetState.FAILED] * 2 + [TargetState.BUILT] * 2
    failure = made.failures[0].failure
    assert failure is not None
    assert (failure.code, failure.problem, failure.remedy) == (EngineError.code, "There is no image.", "Pull it.")
    assert setting.volumes == []


def test_one_that_reports_nonsense_fails_its_targets(setting: Setting) -> None:
    def strange(container: Container) -> int:
        container.finish(container.targets[0])
        container.sink(1, b'\x1e{"event": "exploded"}\n')
        pytest.fail("it goes on")

    setting.inside[MUSL] = strange
    _, made = setting.run()
    assert made is not None
    assert [states(made)[name] for name in IN_ORDER] == [TargetState.BUILT] * 3 + [TargetState.FAILED]
    assert "the event `exploded`" in str(made.failures[0].failure)


def test_a_container_reports_none_of_anothers_targets(setting: Setting) -> None:
    def foreign(container: Container) -> int:
        name = container.targets[0].identifier.replace("musl", "many")
        return container.close([TargetRecord(identifier=name, state=TargetState.BUILT)])

    setting.inside[MUSL] = foreign
    _, made = setting.run()
    assert made is not None
    assert [states(made)[name] for name in IN_ORDER] == [TargetState.BUILT] * 2 + [TargetState.FAILED] * 2


def test_if_none_can_run_the_first_error_is_raised(setting: Setting) -> None:
    def cannot(container: Container) -> int:
        raise EngineError(f"No {container.build.platform.tag}.", remedy="Pull it.")

    setting.inside = {MANY: cannot, MUSL: cannot}
    with pytest.raises(EngineError, match=f"No {MANY}"):
        setting.run()
    assert not (setting.folder / "dist/manywheels.json").exists()
    assert setting.volumes == []


def test_if_the_only_one_cannot_run_its_error_is_raised(setting: Setting) -> None:
    def cannot(_: Container) -> int:
        raise EngineError("There is no image.", remedy="Pull it.")

    setting.inside[MANY] = cannot
    with pytest.raises(EngineError, match="There is no image"):
        setting.run(platform="manylinux_2_28")


@pytest.mark.parametrize(("first", "second", "expected"), [(2, 2, 2), (0, 3, 3), (0, 0, 1), (4, 2, 4)])
def test_if_none_built_anything_the_first_status_counts(
    setting: Setting, first: int, second: int, expected: int
) -> None:
    setting.inside = {MANY: lambda _: first, MUSL: lambda _: second}
    assert setting.run() == (expected, None)
    assert not (setting.folder / "dist/manywheels.json").exists()
    assert "closed" not in [name for name, *_ in setting.reporter.told]


def test_cancelled_before_anything_was_built(setting: Setting) -> None:
    def stops(container: Container) -> int:
        container.cancellation.request()
        return STOPPED

    setting.inside = {MANY: stops, MUSL: stops}
    assert setting.run() == (STOPPED, None)
    assert setting.volumes == []


@pytest.mark.parametrize("raises", [True, False])
def test_cancelled_when_one_has_ended(setting: Setting, *, raises: bool) -> None:
    done = threading.Event()

    def ends(container: Container) -> int:
        status = all_built(container)
        done.set()
        return status

    def stops(container: Container) -> int:
        assert done.wait(60)
        container.cancellation.request()
        if raises:
            raise Cancelled("The run was stopped.", remedy="")
        return STOPPED

    setting.inside = {MANY: ends, MUSL: stops}
    _, made = setting.run()
    assert made == setting.written
    assert [states(made)[name] for name in IN_ORDER] == [TargetState.BUILT] * 2 + [TargetState.CANCELLED] * 2
    assert made.failures == ()


def test_a_python_that_an_image_lacks_is_told_by_its_container(setting: Setting) -> None:
    def lacks(container: Container) -> int:
        first, second = container.targets
        missing = TargetRecord(identifier=second.identifier, state=TargetState.NO_INTERPRETER)
        return container.close([*container.finish(first), missing])

    setting.inside[MUSL] = lacks
    _, made = setting.run(missing=(IN_ORDER[3],))
    assert made is not None
    assert [states(made)[name] for name in IN_ORDER] == [TargetState.BUILT] * 3 + [TargetState.NO_INTERPRETER]
    assert made.failures == ()


def test_notes_are_said_once_and_other_lines_with_their_platform(
    setting: Setting, capsys: pytest.CaptureFixture[str]
) -> None:
    def talks(container: Container) -> int:
        container.say("note: pip is old\nnote: not known: X\nrunning before-all\n::error::x\n")
        return all_built(container)

    setting.inside = {MANY: talks, MUSL: talks}
    setting.run()
    lines = capsys.readouterr().err.splitlines()
    assert lines.count("note: pip is old") == 1
    assert lines.count("note: not known: X") == 1
    assert {line for line in lines if line.endswith("before-all")} == {
        f"{MANY}: running before-all", f"{MUSL}: running before-all",
    }  # fmt: skip
    assert not [line for line in lines if line.startswith("::")]
    assert len(lines) == 6


def test_a_single_containers_lines_are_its_own(setting: Setting, capsys: pytest.CaptureFixture[str]) -> None:
    def talks(container: Container) -> int:
        container.say("running before-all\n::error::x")
        return all_built(container)

    setting.inside[MANY] = talks
    setting.run(platform="manylinux_2_28")
    lines = capsys.readouterr().err.splitlines()
    assert "running before-all" in lines
    assert not [line for line in lines if line.startswith("::")]


def test_wheels_of_several_containers_are_checked_as_one_set(setting: Setting) -> None:
    """Each container has seen its own wheels alone, which agree among themselves."""

    def builds(version: str) -> Inside:
        def inside(container: Container) -> int:
            records = []
            for target in container.targets:
                tags = f"{target.tag}-{target.abi}-{container.build.platform.tag}"
                path = write_wheel(container.build.output_dir, tags=tags, start=f"demo-{version}")
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                wheel = replace(wheel_record(size=path.stat().st_size), name=path.name, sha256=digest)
                records.append(TargetRecord(identifier=target.identifier, state=TargetState.BUILT, wheel=wheel))
            return container.close(records)

        return inside

    setting.inside = {MANY: builds("1.0"), MUSL: builds("1.0")}
    _, made = setting.run()
    assert made is not None
    assert made.warnings == ()
    setting.inside[MUSL] = builds("1.1")
    _, made = setting.run()
    assert made is not None
    assert [warning for warning in made.warnings if "MW261" in warning]
