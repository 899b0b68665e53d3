"""The GitHub door: what the inputs become, and what the next step gets."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import signal
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from manywheels.build import pipeline
from manywheels.build.context import Run
from manywheels.cli import github
from manywheels.cli.github import read_request, write_outputs
from manywheels.deliver.index.ledger import Ledger
from manywheels.errors import Cancelled, InputError, UploadIncomplete
from manywheels.plan import inputs, interpreters, project
from manywheels.plan.inputs import declared_inputs
from manywheels.plan.interpreters import Discovery
from manywheels.plan.settings import Settings
from manywheels.report import html
from manywheels.verify.rules import Ignored, Rules
from manywheels.wheels.manifest import Manifest, TestRun, read_manifest
from unit.artifactservice import FakeService
from unit.ci_logs import github_commands
from unit.helpers import built, failed, interpreter, manifest, seal, write_project
from unit.resultsservice import Script, always, answer, serving

DEFAULTS = {f"INPUT_{name.upper()}": entry.default for name, entry in declared_inputs().items()}


def parse_outputs(file: Path) -> dict[str, str]:
    """Read the file as the runner does: `name<<delimiter`, lines, the delimiter on a line of its own."""
    found, lines = {}, iter(file.read_bytes().decode().split("\n"))
    for line in lines:
        if not line:
            continue
        name, arrow, delimiter = line.partition("<<")
        assert arrow
        value = []
        for below in lines:
            if below == delimiter:
                break
            value.append(below)
        else:
            pytest.fail(f"the output {name} does not end")
        found[name] = "\n".join(value)
    return found


def test_defaults_are_left_to_the_project() -> None:
    request = read_request(DEFAULTS)
    assert (request.command, request.paths, dict(request.given)) == ("build", (Path(),), {})


def test_a_platform_is_given_though_it_is_what_most_projects_build_for() -> None:
    """Beside `[tool.cibuildwheel]`, the default has musllinux as well."""
    assert read_request(DEFAULTS | {"INPUT_PLATFORM": "manylinux_2_28"}).given["platform"].value == "manylinux_2_28"
    assert "platform" not in read_request(DEFAULTS | {"INPUT_PLATFORM": "linux"}).given


def test_inputs_that_differ_are_given_with_their_origin() -> None:
    request = read_request(DEFAULTS | {"INPUT_JOBS": "3", "INPUT_PACKAGE-DIR": "python", "INPUT_OUTPUT-DIR": "wheels"})
    assert request.paths == (Path("python"),)
    assert {name: (entry.value, str(entry.origin)) for name, entry in request.given.items()} == {
        "jobs": ("3", "input `jobs`"),
        "output-dir": ("wheels", "input `output-dir`"),
    }


def test_the_old_spelling_of_an_input_is_heard_beside_the_default_of_the_new() -> None:
    """Whichever comes first in the environment."""
    old, new = {"INPUT_REPOSITORY_URL": "testpypi"}, {"INPUT_REPOSITORY-URL": "pypi"}
    for environment in (old | new, new | old, old | {"INPUT_REPOSITORY-URL": ""}):
        assert read_request(environment).given["repository-url"].value == "testpypi"
    with pytest.raises(InputError, match="`repository-url` is given twice, with different values"):
        read_request(old | {"INPUT_REPOSITORY-URL": "https://index.example/legacy/"})


@pytest.mark.parametrize("variable", ["INPUT_OUTPUT-DIR", "INPUT_OUTPUT_DIR"])
def test_hyphens_and_underscores_are_one(variable: str) -> None:
    assert read_request({variable: "wheels"}).given["output-dir"].value == "wheels"


@pytest.mark.parametrize("command", ["build", "plan", "verify"])
def test_commands(command: str) -> None:
    assert read_request({"INPUT_COMMAND": command}).command == command


def test_empty_inputs_mean_their_defaults() -> None:
    request = read_request({"INPUT_JOBS": "", "INPUT_COMMAND": " \n", "INPUT_PACKAGE-DIR": ""})
    assert (request.command, request.paths, dict(request.given)) == ("build", (Path(),), {})


def test_the_runners_own_inputs_and_other_variables_are_none_of_ours() -> None:
    assert not read_request({"INPUT_ARGS": "x", "INPUT_ENTRYPOINT": "y", "GITHUB_JOB": "z", "MY_INPUT_X": "w"}).given


@pytest.mark.parametrize(
    ("variable", "described"),
    [
        ("INPUT_BILD", "`bild` (did you mean `build`?)"),
        ("INPUT_OUTPUT-DRI", "`output-dri` (did you mean `output-dir`?)"),
        ("INPUT_ZZZ", "`zzz`"),
    ],
)
def test_unknown_inputs_are_refused_by_name_with_the_nearest(variable: str, described: str) -> None:
    with pytest.raises(InputError) as caught:
        read_request(DEFAULTS | {variable: "x"})
    assert caught.value.message.startswith("with: no such input: ")
    assert described in caught.value.message
    assert "output-dir" in caught.value.remedy


def test_unknown_commands_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        read_request({"INPUT_COMMAND": "biuld"})
    assert "input `command`: `biuld`" in caught.value.message
    assert "`build`" in caught.value.remedy


def test_a_package_dir_with_control_characters_is_refused() -> None:
    with pytest.raises(InputError, match="package-dir"):
        read_request({"INPUT_PACKAGE-DIR": "a\nb"})


# --- outputs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "",
        "plain",
        "two\nlines",
        "ends\n",
        "other<<EOF\nvalue\nEOF",
        "EOF",
        "manywheels_",
        "\r\n",
        "ünï",
        "a=b",
        "'\"`$(",
    ],
)
def test_values_arrive_as_they_are(tmp_path: Path, value: str) -> None:
    write_outputs(tmp_path / "out", {"first": value, "second": "x"})
    assert parse_outputs(tmp_path / "out") == {"first": value, "second": "x"}


def test_outputs_are_appended(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("before=1\n")
    write_outputs(tmp_path / "out", {"a": "x"})
    assert (tmp_path / "out").read_text().startswith("before=1\na<<")


def test_delimiters_cannot_be_guessed(tmp_path: Path) -> None:
    write_outputs(tmp_path / "out", {"a": "x", "b": "x"})
    write_outputs(tmp_path / "out", {"c": "x"})
    delimiters = [line.partition("<<")[2] for line in (tmp_path / "out").read_text().splitlines() if "<<" in line]
    assert len(set(delimiters)) == 3
    assert all(len(delimiter) >= 32 for delimiter in delimiters)


def test_a_value_that_holds_its_delimiter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _: "guessed")
    with pytest.raises(InputError) as caught:
        write_outputs(tmp_path / "out", {"a": "x\nmanywheels_guessed\nevil=1"})
    assert "`a`" in caught.value.message
    assert caught.value.remedy
    assert (tmp_path / "out").read_text() == ""


# --- the way through --------------------------------------------------------------------------------------------------


class Action:
    """The action, with a pipeline that builds nothing and says it had built this."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.result = manifest(built("cp312"))
        self.planned: tuple[str, ...] = ()
        self.earlier: Manifest | None = None
        self.job: dict[str, str] = {}  # what the runner sets, besides inputs and files
        found = Discovery(interpreters=(interpreter("cp311"), interpreter("cp312")), unusable=())
        monkeypatch.setattr(interpreters, "discover", lambda *_: found)
        monkeypatch.setattr(pipeline, "require_toolchain", lambda _: None)
        monkeypatch.setattr(pipeline, "execute", self._execute)
        monkeypatch.chdir(folder)

    def _execute(self, run: Run, *_: object) -> Manifest:
        self.planned = tuple(planned.target.tag for planned in run.plan.targets)
        self.earlier = run.earlier.manifest if run.earlier else None
        records = [seal(run.output.path, record) if record.wheel else record for record in self.result.targets]
        self.result = replace(self.result, targets=tuple(records))
        self.result.write(run.output.path)
        return self.result

    def run(self, **given: str) -> int:
        variables = {f"INPUT_{name.upper().replace('_', '-')}": value for name, value in given.items()}
        environment = DEFAULTS | {"INPUT_BUILD": "cp312"} | variables
        files = {"GITHUB_OUTPUT": "github-output", "GITHUB_STEP_SUMMARY": "github-summary"}
        return github.main(environment | self.job | {name: str(self.folder / file) for name, file in files.items()})

    @property
    def outputs(self) -> dict[str, str]:
        return parse_outputs(self.folder / "github-output")


@pytest.fixture
def action(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Action:
    return Action(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("settings", "given", "folder"),
    [
        ("", {}, "dist"),
        ("", {"output_dir": "wheels"}, "wheels"),
        ('output-dir = "wheelhouse"', {}, "wheelhouse"),
        ('output-dir = "wheelhouse"', {"output_dir": "wheels"}, "wheels"),
    ],
)
def test_the_outputs_name_files_that_are_there(
    action: Action, settings: str, given: dict[str, str], folder: str
) -> None:
    write_project(action.folder, settings=settings)
    assert action.run(**given) == 0
    assert action.outputs["manifest"] == f"{folder}/manywheels.json"
    assert json.loads(action.outputs["wheels"]) == [f"{folder}/{action.result.wheels[0].name}"]
    for name in [action.outputs["manifest"], *json.loads(action.outputs["wheels"])]:
        assert (action.folder / name).is_file()


def test_a_failed_target_fails_the_step_and_the_outputs_name_the_rest(action: Action) -> None:
    write_project(action.folder)
    action.result = manifest(built("cp312"), failed("cp311"))
    assert action.run() == 1
    assert len(json.loads(action.outputs["wheels"])) == 1


def test_beside_a_grant_the_project_has_no_commands_of_roots(
    action: Action, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "eyJ")
    write_project(action.folder, settings='before-all = "make it"')
    assert action.run() == 2
    assert "error MW009: [tool.manywheels] before-all: " in capsys.readouterr().err
    assert action.planned == ()
    assert action.run(before_all="make it") == 0


def test_the_project_does_not_have_its_wheels_published(action: Action, capsys: pytest.CaptureFixture[str]) -> None:
    write_project(action.folder, settings='publish = "pypi"')
    assert action.run() == 2
    assert "error MW009: [tool.manywheels] publish: in a CI job, only the workflow" in capsys.readouterr().err
    assert action.planned == ()
    assert action.run(publish="none") == 0


def test_errors_are_told_with_code_and_cure(action: Action, capsys: pytest.CaptureFixture[str]) -> None:
    assert action.run() == 2  # there is no project
    told = capsys.readouterr()
    assert told.err.startswith("error MW002: ")
    assert "`package-dir`" in told.err
    # … and on the run's page
    annotations = [line for line in told.out.splitlines() if line.startswith("::error ")]
    assert len(annotations) == 1
    assert annotations[0].startswith("::error title=manywheels MW002::")
    assert "`package-dir`" in annotations[0]


def test_an_error_cannot_end_its_annotation(capsys: pytest.CaptureFixture[str]) -> None:
    github._report_error(InputError("`a\r\n::set-env name=X::1` and 100%0A\nmore", remedy="Mend\n::stop-commands::x"))
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert [command.name for command in github_commands(out)] == ["error"]


@pytest.mark.parametrize("lines", [2, 10, 14])
def test_an_annotation_has_what_an_error_lists(lines: int, capsys: pytest.CaptureFixture[str]) -> None:
    github._report_error(InputError("\n".join(f"line {number}" for number in range(lines)), remedy="Mend it."))
    said = capsys.readouterr().out.strip().rpartition("::")[2].split("%0A")
    assert said[: min(lines, 10)] == [f"line {number}" for number in range(min(lines, 10))]
    assert said[-1] == "Mend it."
    assert ("… and 4 lines more, in the log" in said) == (lines == 14)


def test_notes_and_folders_of_the_project_are_no_commands(action: Action, capfd: pytest.CaptureFixture[str]) -> None:
    write_project(action.folder)
    with (action.folder / "pyproject.toml").open("a") as file:
        file.write('[[tool.cibuildwheel.overrides]]\nselect = "*"\n"##[stop-commands]x" = 1\n')
    assert action.run(output_dir="##[stop-commands]x") == 0
    told = capfd.readouterr()
    assert "no option that cibuildwheel knows" in told.err
    assert [found.name for found in github_commands(told.out + told.err) if found.name != "add-mask"] == []


def test_a_cancelled_step_is_not_annotated(capsys: pytest.CaptureFixture[str]) -> None:
    github._report_error(Cancelled("The build was stopped.", remedy=""))
    assert capsys.readouterr().out == ""


# --- delivery ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def service(action: Action) -> Iterator[FakeService]:
    """The artifact service of the action's job."""
    write_project(action.folder)
    with serving(FakeService()) as fake:
        action.job = fake.environment
        yield fake


@pytest.mark.parametrize("given", [{}, {"publish": "artifact"}])
def test_finished_wheels_become_the_artifact(action: Action, service: FakeService, given: dict[str, str]) -> None:
    (action.folder / "dist/logs").mkdir(parents=True)
    (action.folder / "dist" / str(action.result.targets[0].log)).write_text("a log")
    assert action.run(**given) == 0
    with zipfile.ZipFile(io.BytesIO(service.finished["wheels"][0])) as archive:
        names = archive.namelist()
    wheel = action.result.wheels[0].name
    assert names == sorted(["logs/cp312-manylinux_x86_64.log", "manywheels-report.html", "manywheels.json", wheel])
    assert action.outputs["artifact-id"] == "42"
    assert action.outputs["artifact-url"] == "https://github.example/o/r/actions/runs/7/artifacts/42"
    assert service.finished["wheels"][1] == f"sha256:{action.outputs['artifact-digest']}"
    assert "demo" in (action.folder / "github-summary").read_text()


def test_the_artifact_is_called_kept_and_replaced_as_the_inputs_say(action: Action, service: FakeService) -> None:
    assert action.run(artifact_name="mine", retention_days="5") == 0
    assert action.run(artifact_name="mine") == 4, "the name is taken"
    assert action.run(artifact_name="mine", overwrite="true") == 0
    made = service.calls("CreateArtifact")
    assert {request["name"] for request in made} == {"mine"}
    assert ["expires_at" in request for request in (made[0], made[-1])] == [True, False]


def test_a_job_builds_its_part_of_the_targets(action: Action) -> None:
    write_project(action.folder)
    assert action.run(build="cp312 cp311", shard="1/2") == 0
    assert action.planned == ("cp311",)


GRANTS = {"ACTIONS_ID_TOKEN_REQUEST_URL": "https://issuer.invalid", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "x"}


@pytest.mark.parametrize(
    ("job", "given", "is_taken"),
    [
        ({"GITHUB_RUN_ATTEMPT": "2"}, {}, True),
        ({"GITHUB_RUN_ATTEMPT": "2"}, {"publish": "artifact"}, True),
        ({"GITHUB_RUN_ATTEMPT": "1"}, {}, False),
        ({}, {}, False),
        ({"GITHUB_RUN_ATTEMPT": "2"}, {"fresh": "true"}, False),
        ({"GITHUB_RUN_ATTEMPT": "2"}, {"artifact_name": "other"}, False),
        ({"GITHUB_RUN_ATTEMPT": "2", **GRANTS}, {}, False),
    ],
)
def test_a_later_attempt_takes_the_set_of_the_earlier_one(
    action: Action, service: FakeService, *, job: dict[str, str], given: dict[str, str], is_taken: bool
) -> None:
    """With identity tokens none: another job of the run could have uploaded an artifact of that name."""
    assert action.run() == 0
    assert action.earlier is None
    written = action.result
    shutil.rmtree(action.folder / "dist")
    action.job |= job
    assert action.run(**{"overwrite": "false" if is_taken else "true", **given}) == 0, "its name is the new one's"
    assert action.earlier == (written if is_taken else None)
    assert list(service.finished) == ["wheels", *(["other"] if "artifact_name" in given else [])]


def test_a_set_of_another_plan_is_not_replaced(action: Action, service: FakeService) -> None:
    """Two jobs gave their artifacts one name: the re-run of one must not remove the other's wheels."""
    action.result = replace(action.result, planned=("cp311-manylinux_x86_64",))
    assert action.run() == 0
    action.job["GITHUB_RUN_ATTEMPT"] = "2"
    action.result = replace(action.result, planned=("cp312-manylinux_x86_64",))
    assert action.run() == 4
    with zipfile.ZipFile(io.BytesIO(service.finished["wheels"][0])) as archive:
        assert json.loads(archive.read("manywheels.json"))["planned"] == ["cp311-manylinux_x86_64"]


@pytest.mark.parametrize("damage", ["no zip", "no manifest", "a manifest of another schema"])
def test_a_damaged_set_of_the_earlier_attempt_is_none(
    action: Action, service: FakeService, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        name = "other" if damage == "no manifest" else "manywheels.json"
        archive.writestr(name, json.dumps({"schema": 0}))
    content = b"none" if damage == "no zip" else packed.getvalue()
    service.finished["wheels"] = (content, f"sha256:{hashlib.sha256(content).hexdigest()}")
    action.job["GITHUB_RUN_ATTEMPT"] = "2"
    assert action.run(overwrite="true") == 0
    assert action.earlier is None
    assert "note: wheels of an earlier attempt cannot be taken: " in capsys.readouterr().out


def test_every_link_of_the_report_leads_into_the_artifact(action: Action, service: FakeService) -> None:
    trial = TestRun(passed=False, seconds=1.0, log="logs/cp313-manylinux_x86_64-test.log")
    action.result = manifest(built("cp312"), failed("cp311"), replace(failed("cp313"), tests=trial))
    (action.folder / "dist/logs").mkdir(parents=True)
    logs = [*(str(record.log) for record in action.result.targets), trial.log, "logs/before-all.log"]
    for log in logs:
        (action.folder / "dist" / log).write_text("a log")
    assert action.run() == 1
    with zipfile.ZipFile(io.BytesIO(service.finished["wheels"][0])) as archive:
        page = archive.read("manywheels-report.html").decode()
        links = [link for link in re.findall('(?:href|src)="([^"]*)"', page) if not link.startswith("#")]
        assert set(links) >= {trial.log, "logs/cp311-manylinux_x86_64.log"}
        assert set(links) | set(logs) <= set(archive.namelist())


def test_no_link_of_the_repository_goes_into_the_artifact(action: Action, service: FakeService) -> None:
    (action.folder / "secret").write_text("secret")
    (action.folder / "dist/logs").mkdir(parents=True)
    for name in ("environment.tar.gz", str(action.result.targets[0].log)):
        (action.folder / "dist" / name).symlink_to(action.folder / "secret")
    assert action.run() == 0
    with zipfile.ZipFile(io.BytesIO(service.finished["wheels"][0])) as archive:
        assert sorted(set(archive.namelist()) - {action.result.wheels[0].name}) == [
            "manywheels-report.html",
            "manywheels.json",
        ]


def test_good_wheels_are_delivered_though_a_target_failed(action: Action, service: FakeService) -> None:
    action.result = manifest(built("cp312"), failed("cp311"))
    assert action.run() == 1
    assert "wheels" in service.finished
    assert action.outputs["summary"].endswith("1 failed")


def test_without_any_wheel_there_is_no_artifact(action: Action, service: FakeService) -> None:
    action.result = manifest(failed("cp312"))
    assert action.run() == 1
    assert service.asked == []
    assert "artifact-id" not in action.outputs


def test_publish_none_uploads_nothing(action: Action, service: FakeService) -> None:
    assert action.run(publish="none") == 0
    assert service.asked == []


def test_without_room_for_the_report_all_else_is_done(
    action: Action, service: FakeService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "report.html")

    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setattr(html, "write_report", full)
    action.result = manifest(built("cp312", warnings=("a warning",)))
    assert action.run() == 1
    told = capsys.readouterr()
    assert "error MW010" in told.err
    assert "::warning title=cp312::a warning" in told.out
    assert "wheels" in service.finished
    assert action.outputs["artifact-id"] == "42"
    assert "demo" in (action.folder / "github-summary").read_text()


def test_a_failed_delivery_leaves_outputs_summary_and_wheels(
    action: Action, service: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    service.scripts["CreateArtifact"] = always(answer(403, {"msg": "no"}))
    assert action.run() == 4
    assert "error MW302" in capsys.readouterr().err
    assert (action.folder / json.loads(action.outputs["wheels"])[0]).is_file()
    assert action.outputs["manifest-digest"] == read_manifest(action.folder / "dist").digest
    assert "demo" in (action.folder / "github-summary").read_text()


def stalling(number: signal.Signals, over: threading.Event) -> Script:
    """Return a script that sends this process a signal, once, and answers when it is over."""
    sent = threading.Event()

    def stall(_service: FakeService, _request: object) -> None:
        if not sent.is_set():
            sent.set()
            os.kill(os.getpid(), number)
        over.wait(120)

    return stall


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize("what", ["PUT", "CreateArtifact", "GET"])
def test_a_delivery_that_stalls_is_cancelled_at_once(
    action: Action, service: FakeService, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    over = threading.Event()
    service.scripts[what] = stalling(signal.SIGINT, over)
    started = time.monotonic()
    try:
        assert action.run() == 130
        assert time.monotonic() - started < 60
    finally:
        over.set()
    told = capsys.readouterr()
    assert "The delivery was stopped" in told.err
    assert "is down" not in told.err
    assert "::error" not in told.out
    assert action.outputs["manifest-digest"]
    assert "demo" in (action.folder / "github-summary").read_text()


@pytest.mark.usefixtures("heeded")
def test_a_set_that_does_not_come_is_cancelled_at_once(action: Action, service: FakeService) -> None:
    assert action.run() == 0
    shutil.rmtree(action.folder / "dist")
    over = threading.Event()
    service.scripts["GET"] = stalling(signal.SIGTERM, over)
    started = time.monotonic()
    try:
        assert action.run(command="verify") == 143
        assert time.monotonic() - started < 60
    finally:
        over.set()
    assert not list((action.folder / "dist").glob("*.whl"))


def test_nothing_that_came_with_the_checkout_goes_into_the_artifact(action: Action, service: FakeService) -> None:
    """A report or an sdist of that name may say anything; the run's own report is taken from where it was written."""
    (action.folder / "dist").mkdir()
    (action.folder / "dist/manywheels-report.html").write_text("<script>planted</script>")
    (action.folder / "dist/other-2.0.tar.gz").touch()
    (action.folder / "dist/demo-1.0.tar.gz").touch()
    assert action.run(report="out/report.html") == 0
    with zipfile.ZipFile(io.BytesIO(service.finished["wheels"][0])) as archive:
        assert "other-2.0.tar.gz" not in archive.namelist()
        assert "demo-1.0.tar.gz" in archive.namelist()
        assert archive.read("manywheels-report.html") == (action.folder / "out/report.html").read_bytes()


def test_what_is_published_is_in_an_artifact_first(
    action: Action, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload that is broken off is finished with the same files: the next build would make others."""

    def publish(*_: object, **__: object) -> int:
        assert set(service.finished) == {"wheels"}
        raise UploadIncomplete("Not all.", remedy="Again.")

    monkeypatch.setattr("manywheels.deliver.index.publish.publish", publish)
    assert action.run(publish="pypi") == 4


def test_a_later_job_reads_one_project(action: Action, service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    """`package-dir` decides where an artifact is unpacked, too, and not only what is published from there."""
    write_project(action.folder / "python", settings='output-dir = "wheels"')
    assert action.run(package_dir="python") == 0
    shutil.rmtree(action.folder / "wheels")
    published: list[str] = []

    def publish(settings: Settings, *_: object, **__: object) -> int:
        published.append(settings.value("packages-dir").value)
        return 0

    monkeypatch.setattr("manywheels.deliver.index.publish.publish", publish)
    assert action.run(command="publish", package_dir="python") == 0
    assert published == ["wheels"]
    assert list((action.folder / "wheels").glob("*.whl"))


@pytest.mark.parametrize("given", [{}, {"publish": "pypi"}, {"command": "verify"}, {"command": "publish"}])
def test_the_project_is_read_once_and_its_settings_too(
    action: Action, service: FakeService, monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    write_project(action.folder, settings="jobs = 2")
    assert action.run() == 0
    read: list[str] = []

    def counted(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            read.append(name)
            return function(*arguments, **named)

        return call

    monkeypatch.setattr(project, "_parse", counted("project", project._parse))
    monkeypatch.setattr(inputs, "from_settings", counted("settings", inputs.from_settings))
    monkeypatch.setattr("manywheels.deliver.index.publish.publish", lambda *_, **__: 0)
    action.run(**{"overwrite": "true"} | given)
    assert read == ["project", "settings"]


def test_wheels_of_an_sdist_are_published_by_the_rules_that_built_them(
    action: Action, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(action.folder / "demo-1.0", settings='confirm = "5m"\nverify.ignore = ["MW253"]')
    with tarfile.open(action.folder / "demo-1.0.tar.gz", "w:gz") as sdist:
        sdist.add(action.folder / "demo-1.0", "demo-1.0")
    published: list[tuple[str, str, object]] = []

    def publish(settings: Settings, *_: object, rules: Rules) -> int:
        published.append((settings.value("confirm").value, settings.value("password").value, rules.ignored))
        return 0

    monkeypatch.setattr("manywheels.deliver.index.publish.publish", publish)
    assert action.run(package_dir="demo-1.0.tar.gz", publish="pypi", password="hunter2") == 0
    assert published == [("5m", "hunter2", (Ignored(code="MW253"),))]


def test_an_artifact_without_a_service_is_refused_before_building(
    action: Action, capsys: pytest.CaptureFixture[str]
) -> None:
    write_project(action.folder)
    assert action.run(publish="artifact") == 4
    assert "error MW301" in capsys.readouterr().err
    assert action.planned == ()


def test_a_malformed_delivery_is_refused_before_building(action: Action, service: FakeService) -> None:
    assert action.run(artifact_name="a/b") == 2
    assert action.planned == ()


@pytest.mark.parametrize("status", [0, 4])
def test_the_ledger_becomes_an_artifact_whatever_becomes_of_the_upload(
    action: Action, service: FakeService, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Also on a second attempt of the job: it replaces the first one's."""
    assert action.run() == 0

    def publish(*_: object, **__: object) -> int:
        Ledger(action.folder / "dist", "https://index.example/legacy/", [])
        if status:
            raise UploadIncomplete("Not all.", remedy="Again.")
        return 0

    monkeypatch.setattr("manywheels.deliver.index.publish.publish", publish)
    for _ in range(2):
        assert action.run(command="publish", repository_url="https://index.example:8/legacy/") == status
    assert set(service.finished) == {"wheels", "ledger-wheels-index.example"}
    with zipfile.ZipFile(io.BytesIO(service.finished["ledger-wheels-index.example"][0])) as archive:
        assert archive.namelist() == ["manywheels-ledger.json"]


def test_a_ledger_that_cannot_be_uploaded_is_a_warning(
    action: Action, service: FakeService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An old ledger in the folder is not uploaded as if it were this run's."""
    assert action.run() == 0
    Ledger(action.folder / "dist", "https://index.example/legacy/", [])
    monkeypatch.setattr("manywheels.deliver.index.publish.publish", lambda *_, **__: 0)
    assert action.run(command="publish") == 0
    assert set(service.finished) == {"wheels"}
    service.scripts["CreateArtifact"] = always(answer(403, {"msg": "no"}))
    monkeypatch.setattr(
        "manywheels.deliver.index.publish.publish",
        lambda *_, **__: len(Ledger(action.folder / "dist", "https://index.example/legacy/", []).entries),
    )
    assert action.run(command="publish") == 0
    assert "warning: the ledger was not uploaded as an artifact: " in capsys.readouterr().out


def test_verify_takes_the_artifact_where_there_are_no_wheels(action: Action, service: FakeService) -> None:
    assert action.run() == 0
    digest = action.outputs["manifest-digest"]
    shutil.rmtree(action.folder / "dist")
    (action.folder / "github-output").unlink()
    assert action.run(command="verify", manifest_digest=digest) == 3  # the wheel is none at all, but it is there
    assert action.outputs["manifest-digest"] == digest
    assert read_manifest(action.folder / "dist").digest == digest


def test_verify_looks_at_the_wheels_that_are_there(
    action: Action, service: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    (action.folder / "some.whl").write_bytes(b"")
    assert action.run(command="verify") != 0
    assert [method for method, _ in service.asked] == ["ListArtifacts"]  # the run has none
    assert "some.whl" in capsys.readouterr().out
    assert action.run(command="verify", package_dir="some.whl") != 0
    assert len(service.asked) == 1


@pytest.mark.parametrize("command", ["verify", "publish"])
@pytest.mark.parametrize("name", [{}, {"artifact_name": "wheels"}])
def test_wheels_of_the_checkout_do_not_go_before_the_artifact(
    action: Action, service: FakeService, capsys: pytest.CaptureFixture[str], command: str, name: dict[str, str]
) -> None:
    assert action.run() == 0
    (action.folder / "dist/planted-1.0-py3-none-any.whl").write_bytes(b"")
    (action.folder / "planted-1.0-py3-none-any.whl").write_bytes(b"")
    assert action.run(command=command, **name) == 3
    told = capsys.readouterr()
    assert "which is in none of the sets" in told.err
    assert "name their folder in `packages-dir`" in told.out


def test_publish_takes_the_folder_that_is_named(
    action: Action, service: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    assert action.run() == 0
    service.asked.clear()
    action.run(command="publish", packages_dir="dist", dry_run="true", repository_url="http://127.0.0.1:9/")
    assert service.asked == []
    assert capsys.readouterr().err  # there is no such index


def test_a_named_artifact_goes_before_the_wheels_that_are_there(
    action: Action, service: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    (action.folder / "some.whl").write_bytes(b"")
    assert action.run(command="verify", artifact_pattern="wheels-*") == 4
    assert "error MW307" in capsys.readouterr().err


def test_secrets_are_masked_first(action: Action, service: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    action.run(password="hunter2")
    lines = capsys.readouterr().out.splitlines()
    masked = [number for number, line in enumerate(lines) if line == "::add-mask::hunter2"]
    assert masked
    assert all(line.startswith("::add-mask::") for line in lines[: masked[0]])
    assert not any("hunter2" in line for line in lines[masked[0] + 1 :] if not line.startswith("::add-mask::"))
