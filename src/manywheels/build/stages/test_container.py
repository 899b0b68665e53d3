"""Test a wheel in a container of another distribution: `test-in`.

The steps are those of `test_host`, with the image's Python, venv and pip. Files are copied in, not mounted, since
manywheels itself may run in a container.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

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
from manywheels.build.stages.transfer import CannotPack, pack_tree, take_file
from manywheels.errors import Cancelled, EngineError, TargetError, TestsFailed
from manywheels.plan import assignments
from manywheels.plan.assignments import Assignment
from manywheels.plan.target_options import fill_values
from manywheels.plan.targets import Target
from manywheels.runtime import sandbox, untrusted_files
from manywheels.runtime.containers.run import NOBODY, UNPRIVILEGED, ContainerSpec, CopyOut, run_container
from manywheels.runtime.sandbox import Outcome

if TYPE_CHECKING:
    from docker import DockerClient

    from manywheels.core.cancellation import Cancellation

OTHERWISE: Final = "or leave `test-in` out"
INSIDE: Final = Path("/manywheels")  # where everything lies in the container
_LARGEST_RESULTS: Final = 40 << 20  # bytes
_LIMITS: Final = {
    "working_dir": "/",  # the image's may be a link, or anything
    "healthcheck": {"test": ["NONE"]},
    "pids_limit": 4096,
    "oom_score_adj": 500,  # where memory runs out, the kernel ends the tests, and not the program
    "use_config_proxy": True,
}
# The script's own exit statuses, for failures before the tests.
_PREPARING: Final = {
    90: "the image has no such Python",
    91: "its Python cannot make a virtual environment",
    92: "`before-test` failed",
    93: "the wheel, or what the tests need, cannot be installed",
    94: "`test-sources` cannot be copied",
}
# Sets `python` to the first of the wanted version (`3.12`, `3.14t`, `pypy3.11`); `folder` is its name in /opt/python.
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
# Arguments: the Python, its folder in /opt/python, the number of `test-sources`, these, and what pip installs.
_SCRIPT: Final = """
sources=$3; shift 3
install() { shift "$sources"; python -m pip install --quiet "$@"; }
[ -n "$python" ] || exit 90
"$python" -m venv /manywheels/venv || exit 91
export VIRTUAL_ENV=/manywheels/venv PATH="/manywheels/venv/bin:$PATH"
cd "$PROJECT"
sh -c "$BEFORE_TEST" || exit 92
if [ -n "$NEW_PIP" ]; then python -m pip install --quiet --upgrade pip || exit 93; fi
install "$@" || exit 93
while [ "$sources" -gt 0 ]; do
    mkdir -p "/manywheels/elsewhere/$(dirname "$1")" && cp -R "$1" "/manywheels/elsewhere/$1" || exit 94
    sources=$((sources - 1)); shift
done
cd /manywheels/elsewhere && exec sh -c "$TEST_COMMAND"
"""


@dataclass(frozen=True, kw_only=True)
class TestImage:
    """An image, the target whose Python is needed, and the container's variables.

    `environment` are assignments on top of `variables` and the image's.
    """

    image: str
    target: Target
    variables: Mapping[str, str]
    environment: tuple[Assignment, ...]

    @property
    def python(self) -> tuple[str, str]:
        """The version, such as `3.12` or `pypy3.11`, and its folder in manylinux images."""
        return self.target.spec, self.target.folder


def require_image(image: str, cancellation: Cancellation) -> None:
    """Pull an image if it is missing. Raises EngineError and Cancelled."""
    from manywheels.runtime.containers.engine import connected, ensure_pulled

    with connected(f"pull `{image}`", OTHERWISE) as client:
        ensure_pulled(client, image, OTHERWISE, cancellation)


def run_tests_in_image(request: TestRequest, place: TestImage, cancellation: Cancellation) -> TestOutcome:
    """Failures are in the outcome; only Cancelled is raised."""
    started = time.monotonic()
    inside = replace(
        request,
        wheel=INSIDE / request.wheel.name,
        source=INSIDE / "project",
        project=INSIDE / "project" / request.project.relative_to(request.source),
        package=INSIDE / "project" / request.package.relative_to(request.source),
        folder=INSIDE,
    )
    results: Results | None = None
    failure: TargetError | None
    try:
        outcome, results = _run(request, inside, place, cancellation)
        failure = _failure_of(inside, place, outcome, results, cancellation)
    except EngineError as error:
        failure = TestsFailed(error.message, remedy=error.remedy)
    except CannotPack as error:
        failure = TestsFailed(
            f"The project cannot be copied into `{place.image}`: {error}.",
            remedy="Check what `before-build` and the build leave in the source.",
        )
    return ended(request, started, results, failure)


def _failure_of(
    inside: TestRequest, place: TestImage, outcome: Outcome, results: Results | None, cancellation: Cancellation
) -> TargetError | None:
    if outcome.status in _PREPARING and results is None:
        return TestsFailed(
            f"The tests cannot be run in `{place.image}` with Python {place.python[0]}: {_PREPARING[outcome.status]}.",
            remedy="See the log, or name another image: `python:3.12-slim` and the like have what is needed.",
            excerpt=log_lines(inside, cancellation),
        )
    return None if outcome.succeeded else explain(inside, outcome, results, cancellation)


def _run(
    request: TestRequest, inside: TestRequest, place: TestImage, cancellation: Cancellation
) -> tuple[Outcome, Results | None]:
    from manywheels.runtime.containers.engine import connected, ensure_pulled

    log = request.venv.log
    announce(log, f"{inside.tests.command} (in {place.image})")
    with (
        connected(f"test in `{place.image}`", OTHERWISE) as client,
        tempfile.TemporaryDirectory(prefix="manywheels-") as folder,
        untrusted_files.open_log(log) as written,
    ):
        ensure_pulled(client, place.image, OTHERWISE, cancellation, place.target.arch)
        fetched: list[Path | None] = []

        def take(chunks: Iterable[bytes]) -> None:
            fetched.append(take_file(chunks, Path(folder), inside.results.name, _LARGEST_RESULTS))

        spec = replace(
            _spec(client, inside, place), copy_in=_pack(request, Path(folder), cancellation),
            copy_out=CopyOut(path=str(inside.results), take=take),
        )  # fmt: skip
        output, started = _LogSink(written), time.monotonic()
        status = run_container(client, spec, cancellation, output.take, request.timeout)
        if cancellation.requested:
            raise Cancelled("The tests were stopped.", remedy="")
        outcome = Outcome(
            status=-1 if status is None else status, seconds=time.monotonic() - started, timed_out=status is None,
            wrote_too_much=output.is_full,
        )  # fmt: skip
        results = read_results(fetched[0], cancellation) if fetched and fetched[0] else None
        return outcome, results


class _LogSink:
    """Writes output into a log, and has the container killed when the log is full."""

    def __init__(self, log: BinaryIO) -> None:
        self._log = log
        self._left = sandbox.LARGEST_LOG - os.fstat(log.fileno()).st_size
        self.is_full = False

    def take(self, _stream: int, chunk: bytes) -> bool:
        self._left -= len(chunk)
        self.is_full = self._left < 0
        if not self.is_full:
            self._log.write(chunk)
        return not self.is_full


def _spec(client: DockerClient, inside: TestRequest, place: TestImage) -> ContainerSpec:
    from manywheels.runtime.containers.image import foreign_platform

    tests = inside.tests
    extras = f"[{','.join(tests.extras)}]" if tests.extras else ""
    groups = [f"--group={inside.package / 'pyproject.toml'}:{group}" for group in tests.groups]
    packages = [f"{inside.wheel}{extras}", *tests.requires, *groups]
    arguments = (*place.python, str(len(tests.sources)), *tests.sources, *packages)
    return ContainerSpec(
        image=place.image, entrypoint=("/bin/sh",), command=("-c", FIND_PYTHON + _SCRIPT, "sh", *arguments),
        environment=_variables(client, inside, place), limits=UNPRIVILEGED | _LIMITS,
        platform=foreign_platform(client, place.target.arch),
    )  # fmt: skip


def image_variables(attributes: Mapping[str, Any]) -> dict[str, str]:
    """`attributes` are what the engine reports of the image."""
    pairs = (entry.partition("=") for entry in (attributes.get("Config") or {}).get("Env") or ())
    return {name: value for name, separator, value in pairs if name and separator}


def _variables(client: DockerClient, inside: TestRequest, place: TestImage) -> dict[str, str]:
    tests = inside.tests
    base = image_variables(client.images.get(place.image).attrs) | dict(place.variables)
    base |= {"HOME": str(INSIDE / "home"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    places = {"project": inside.project, "package": inside.package}
    made = (*fill_values(place.environment, **places), *inside.environment)
    return asking_for(inside.results, assignments.expand(made, base)) | {
        "BEFORE_TEST": inside.fill(tests.before),
        "TEST_COMMAND": inside.fill(tests.command),
        "PROJECT": str(inside.project),
        "NEW_PIP": " ".join(tests.groups),  # PEP 735 is known to pip 25.1 and newer
    }


def _pack(request: TestRequest, folder: Path, cancellation: Cancellation) -> Path:
    """NOBODY owns the members. No process of the target may run meanwhile.

    Raises CannotPack and Cancelled.
    """

    def give_away(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = NOBODY
        member.mode |= 0o400 | (0o300 if member.isdir() else 0)
        return member

    archive = folder / "in.tar"
    inside = INSIDE.name
    owner = os.geteuid() if request.venv.user is None else request.venv.user
    with tarfile.open(archive, "w") as tar:
        for name in (inside, f"{inside}/elsewhere", f"{inside}/results", f"{inside}/home"):
            folder_member = tarfile.TarInfo(name)
            folder_member.type, folder_member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(give_away(folder_member))
        if not request.tests.sources:
            content = no_tests_here()
            no_tests = tarfile.TarInfo(f"{inside}/elsewhere/{NO_TESTS_HERE}")
            no_tests.size = len(content)
            tar.addfile(give_away(no_tests), io.BytesIO(content))
        tar.add(request.wheel, f"{inside}/{request.wheel.name}", filter=give_away)
        pack_tree(tar, request.source, f"{inside}/project", owner=owner, change=give_away, cancellation=cancellation)
    return archive
