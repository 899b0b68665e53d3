"""Tests in a container of another image: `test-in`, for a distribution that users have and the builder is not.

The same as in `test`, by the image's own means: its Python, venv and pip. The wheel and the target's copy of the
project are copied in, not mounted, so that it works where manywheels is in a container itself; nobody's user runs them.
"""

from __future__ import annotations

import io
import os
import secrets
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent import futures
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from manywheels.build.stages.hooks import announce
from manywheels.build.stages.pytest_results import Results, asking_for, read_results
from manywheels.build.stages.test_run import (
    NO_TESTS_HERE,
    TestOutcome,
    TestRequest,
    ended,
    explain,
    log_lines,
    no_tests_here,
)
from manywheels.build.stages.transfer import NotTaken, pack_tree, take_file
from manywheels.errors import Cancelled, EngineError, TargetError, TestsFailed
from manywheels.plan import assignments
from manywheels.plan.assignments import Assignment
from manywheels.plan.target_options import fill_values
from manywheels.plan.targets import Target
from manywheels.runtime import sandbox, untrusted_files
from manywheels.runtime.sandbox import Outcome

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

    from manywheels.core.cancellation import Cancellation

OTHERWISE: Final = "or leave `test-in` out"
_NOBODY: Final = 65534
_INSIDE: Final = Path("/manywheels")  # where everything lies in the container
_LARGEST_RESULTS: Final = 40 << 20  # bytes
_FETCHING: Final = 60.0  # seconds for the engine to hand over the results
_LAST_WORDS: Final = 5.0  # seconds for the log of a container that was killed
_MOST_PROCESSES: Final = 4096
_FIRST_TO_GO: Final = 500  # where memory runs out, the kernel shall end what is tested, not what leads it
# The script's own exit statuses, for what is not the tests' doing.
_PREPARING: Final = {
    90: "the image has no such Python",
    91: "its Python cannot make a virtual environment",
    92: "`before-test` failed",
    93: "the wheel, or what the tests need, cannot be installed",
    94: "`test-sources` cannot be copied",
}
# Sets `python` to the first that is what is wanted, as `3.12`, `3.14t` or `pypy3.11`; in /opt/python it has a folder.
FIND_PYTHON: Final = """
wanted=$1; folder=$2
ask='
import sys, sysconfig
kind = "" if sys.implementation.name == "cpython" else sys.implementation.name
threads = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
print("%s%d.%d%s" % (kind, *sys.version_info[:2], threads))
'
for name in "/opt/python/$folder/bin/python" "python$wanted" "$wanted" python3 python; do
    if [ "$("$name" -c "$ask" 2>/dev/null)" = "$wanted" ]; then python=$name; break; fi
done
"""
# The arguments: the Python, its folder in /opt/python, how many `test-sources` follow, these, and what pip installs.
_SCRIPT: Final = """
sources=$3; shift 3
install() { shift "$sources"; python -m pip install --quiet "$@"; }
[ -n "$python" ] || exit 90
"$python" -m venv /manywheels/venv || exit 91
export VIRTUAL_ENV=/manywheels/venv PATH="/manywheels/venv/bin:$PATH"
cd /manywheels/project
sh -c "$BEFORE_TEST" || exit 92
if [ -n "$NEW_PIP" ]; then python -m pip install --quiet --upgrade pip || exit 93; fi
install "$@" || exit 93
while [ "$sources" -gt 0 ]; do
    mkdir -p "../elsewhere/$(dirname "$1")" && cp -R "$1" "../elsewhere/$1" || exit 94
    sources=$((sources - 1)); shift
done
cd ../elsewhere && exec sh -c "$TEST_COMMAND"
"""


@dataclass(frozen=True, kw_only=True)
class TestImage:
    """Another place for tests: an image, the target whose Python they want, and the variables that it gets.

    `environment` are the assignments that are made over `variables` and the image's own.
    """

    image: str
    target: Target
    variables: Mapping[str, str]
    environment: tuple[Assignment, ...]

    @property
    def python(self) -> tuple[str, str]:
        """What is looked for, as `3.12` or `pypy3.11`, and the name of its folder in images that have all of them."""
        return self.target.spec, self.target.folder


def require_image(image: str, cancellation: Cancellation) -> None:
    """Pull an image where it is not there, before anything is built. Raises EngineError and Cancelled."""
    from manywheels.runtime.containers.engine import connect, explained, obtain

    with closing(connect(OTHERWISE)) as client, explained(f"pull `{image}`", OTHERWISE):
        obtain(client, image, OTHERWISE, cancellation)


def run_tests_in_image(request: TestRequest, place: TestImage, cancellation: Cancellation) -> TestOutcome:
    """Test a wheel in a container of an image. What fails is in the answer; raises Cancelled only."""
    started = time.monotonic()
    inside = replace(
        request,
        wheel=_INSIDE / request.wheel.name,
        project=_INSIDE / "project",
        package=_INSIDE / "project" / request.package.relative_to(request.project),
        folder=_INSIDE,
    )
    results: Results | None = None
    failure: TargetError | None
    try:
        outcome, results = _run(request, inside, place, cancellation)
        failure = _judge(inside, place, outcome, results, cancellation)
    except EngineError as error:
        failure = TestsFailed(error.message, remedy=error.remedy)
    except NotTaken as error:
        failure = TestsFailed(
            f"The project cannot be copied into `{place.image}`: {error}.",
            remedy="Look at what `before-build` and the build leave in the source.",
        )
    return ended(request, started, results, failure)


def _judge(
    inside: TestRequest, place: TestImage, outcome: Outcome, results: Results | None, cancellation: Cancellation
) -> TargetError | None:
    if outcome.status in _PREPARING and results is None:
        return TestsFailed(
            f"The tests cannot be run in `{place.image}` with Python {place.python[0]}: {_PREPARING[outcome.status]}.",
            remedy="See the log, and name another image if need be: `python:3.12-slim` and its like have all it takes.",
            excerpt=log_lines(inside, cancellation),
        )
    return None if outcome.succeeded else explain(inside, outcome, results, cancellation)


def _run(
    request: TestRequest, inside: TestRequest, place: TestImage, cancellation: Cancellation
) -> tuple[Outcome, Results | None]:
    """Run the script; return how it ended, and what pytest found."""
    from manywheels.core.interruptible import begin, wait
    from manywheels.runtime.containers.engine import connect, explained

    log = request.venv.log
    announce(log, f"{inside.tests.command} (in {place.image})")
    with (
        closing(connect(OTHERWISE)) as client,
        explained(f"test in `{place.image}`", OTHERWISE),
        _container(client, inside, place) as container,
        tempfile.TemporaryDirectory(prefix="manywheels-") as folder,
    ):
        archive = _pack(request, Path(folder), cancellation)
        wait(begin(lambda: _bring_in(container, archive)), cancellation)
        _stop_if_requested(cancellation)
        frames = client.api.attach(str(container.id), stream=True)
        container.start()
        following = begin(lambda: _follow(container, frames, log))
        outcome = wait(following, cancellation, request.timeout)
        _stop_if_requested(cancellation)
        with suppress(Exception):  # it has ended already, or is killed when it is removed
            container.kill()
        futures.wait([following], timeout=_LAST_WORDS)
        fetching = begin(lambda: _fetch_results(container, inside.results, Path(folder)))
        fetched = wait(fetching, cancellation, _FETCHING)
        _stop_if_requested(cancellation)
        results = read_results(fetched, cancellation) if fetched else None
        return outcome or Outcome(status=-1, seconds=request.timeout, timed_out=True), results


def _stop_if_requested(cancellation: Cancellation) -> None:
    if cancellation.requested:
        raise Cancelled("The tests were stopped.", remedy="")


def _follow(container: Container, frames: Iterable[bytes], log: Path) -> Outcome:
    """Write what a container says into a log until it ends. Where the log has no room for more, it is killed.

    It is listened to in any case: the engine neither kills nor removes a container whose output nobody takes.
    """
    from manywheels.core.interruptible import begin

    started, wrote_too_much = time.monotonic(), False
    with untrusted_files.open_log(log) as written:
        room = sandbox.LARGEST_LOG - os.fstat(written.fileno()).st_size
        for frame in frames:
            room -= len(frame)
            if room >= 0:
                written.write(frame)
            elif not wrote_too_much:
                wrote_too_much = True
                begin(container.kill)
    status = int(container.wait()["StatusCode"])
    return Outcome(status=status, seconds=time.monotonic() - started, wrote_too_much=wrote_too_much)


@contextmanager
def _container(client: DockerClient, inside: TestRequest, place: TestImage) -> Iterator[Container]:
    from docker.types import LogConfig

    from manywheels.runtime.containers.engine import LABEL

    tests = inside.tests
    extras = f"[{','.join(tests.extras)}]" if tests.extras else ""
    groups = [f"--group={inside.package / 'pyproject.toml'}:{group}" for group in tests.groups]
    packages = [f"{inside.wheel}{extras}", *tests.requires, *groups]
    run_id = secrets.token_hex(8)
    container = client.containers.create(
        place.image,
        ["-c", FIND_PYTHON + _SCRIPT, "sh", *place.python, str(len(tests.sources)), *tests.sources, *packages],
        entrypoint=["/bin/sh"],
        name=f"manywheels-{run_id}",
        labels={LABEL: run_id},
        user=f"{_NOBODY}:{_NOBODY}",
        environment=_variables(client, inside, place),
        working_dir="/",  # the image's own may be a link, or anything
        healthcheck={"test": ["NONE"]},
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        pids_limit=_MOST_PROCESSES,
        oom_score_adj=_FIRST_TO_GO,
        log_config=LogConfig(type="none"),
        use_config_proxy=True,
    )
    try:
        yield container
    finally:
        with suppress(Exception):  # it may be gone already, and what went wrong before matters more
            container.remove(force=True, v=True)


def image_variables(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment that an image's configuration gives, from what the engine says of it."""
    pairs = (entry.partition("=") for entry in (attributes.get("Config") or {}).get("Env") or ())
    return {name: value for name, separator, value in pairs if name and separator}


def _variables(client: DockerClient, inside: TestRequest, place: TestImage) -> dict[str, str]:
    tests = inside.tests
    base = image_variables(client.images.get(place.image).attrs) | dict(place.variables)
    base |= {"HOME": str(_INSIDE / "home"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    places = {"project": inside.project, "package": inside.package}
    made = (*fill_values(place.environment, **places), *inside.environment)
    return asking_for(inside.results, assignments.expand(made, base)) | {
        "BEFORE_TEST": inside.fill(tests.before),
        "TEST_COMMAND": inside.fill(tests.command),
        "NEW_PIP": " ".join(tests.groups),  # PEP 735 is known to pip 25.1 and newer
    }


def _pack(request: TestRequest, folder: Path, cancellation: Cancellation) -> Path:
    """Pack the wheel and the project, as nobody's; no process of the target is there to change them meanwhile.

    Raises NotTaken and Cancelled.
    """

    def nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = _NOBODY
        member.mode |= 0o400 | (0o300 if member.isdir() else 0)
        return member

    archive = folder / "in.tar"
    inside = _INSIDE.name
    owner = os.geteuid() if request.venv.user is None else request.venv.user
    with tarfile.open(archive, "w") as tar:
        for name in (inside, f"{inside}/elsewhere", f"{inside}/results", f"{inside}/home"):
            made = tarfile.TarInfo(name)
            made.type, made.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(nobodys(made))
        if not request.tests.sources:
            content = no_tests_here()
            unnamed = tarfile.TarInfo(f"{inside}/elsewhere/{NO_TESTS_HERE}")
            unnamed.size = len(content)
            tar.addfile(nobodys(unnamed), io.BytesIO(content))
        tar.add(request.wheel, f"{inside}/{request.wheel.name}", filter=nobodys)
        pack_tree(tar, request.project, f"{inside}/project", owner=owner, change=nobodys, cancellation=cancellation)
    return archive


def _bring_in(container: Container, archive: Path) -> None:
    with archive.open("rb") as packed:
        container.put_archive("/", packed)


def _fetch_results(container: Container, place: Path, folder: Path) -> Path | None:
    from docker.errors import NotFound

    try:
        chunks, _ = container.get_archive(str(place))
    except NotFound:
        return None
    return take_file(chunks, folder, place.name, _LARGEST_RESULTS)
