"""The command line: the action's inputs as options, and a few for local use."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from manywheels import __version__
from manywheels.cli.commands import TITLES, execute
from manywheels.cli.guard import cancellable, escape_unprintable, run_guarded
from manywheels.cli.request import FORMATS, KINDS, MATRICES, Request, Verification
from manywheels.core.files import cache_dir
from manywheels.errors import EXIT_CONFIGURATION, EXIT_OK
from manywheels.plan import inputs
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.options import ENGINES, TOOLCHAINS

# Options of cibuildwheel's command line that have nothing to do here.
_OF_CIBUILDWHEEL: Final = {
    "--debug-traceback": "without effect: errors say what is known, and a fault in manywheels writes its own file",
    "--clean-cache": "say where the cache is, and end",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; return the exit status. Usage errors raise SystemExit."""
    escape_unprintable()
    arguments = _parser().parse_args(argv)
    if getattr(arguments, "clean_cache", False):
        print(f"manywheels keeps what it fetches in {cache_dir()}; runs share it. Remove the folder to clean it.")
        return EXIT_OK
    with cancellable() as cancellation:
        return run_guarded(lambda: execute(_request(arguments), cancellation), cancellation)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EXIT_CONFIGURATION, f"error MW001: {message}\n  `{self.prog} --help` lists what is allowed.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="manywheels",
        description="Build, repair and prove a project's Linux wheels for every CPython, side by side.",
    )
    parser.add_argument("--version", action="version", version=f"manywheels {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for name, title in TITLES.items():
        command = commands.add_parser(name, help=title, description=title[0].upper() + title[1:] + ".")
        if name in {"build", "plan"}:
            _add_build_options(command, name)
        elif name == "verify":
            _add_verify_options(command)
        elif name == "gather":
            folders = "output folders of `build`, each with its manifest; sdists may lie there or by themselves"
            command.add_argument("folders", nargs="+", type=Path, metavar="DIR", help=folders)
            _add_inputs(command, name)
        elif name == "publish":
            _add_publish_options(command)
        elif name == "clean":
            what = "what to remove (default: all of them)"
            listed = "only list what would be removed, with sizes"
            command.add_argument("kinds", nargs="*", choices=(*KINDS, []), metavar="|".join(KINDS), help=what)
            _add_inputs(command, name)
            command.add_argument("--dry-run", action="store_true", help=listed)
        elif name == "explain":
            command.add_argument("codes", nargs="*", metavar="CODE", help="as MW208; without one, all are listed")
    return parser


def _add_build_options(command: argparse.ArgumentParser, name: str) -> None:
    command.add_argument(
        "package_dir", nargs="?", metavar="PACKAGE_DIR", help="the project: a folder (default: this one) or an sdist"
    )
    _add_inputs(command, name)
    toolchain = "compilers: the embedded zig or the machine's own; auto is `system` in manylinux images, else `zig`"
    engine = (
        "where to build: on this machine, or in a container of the policy's manylinux image; auto is this machine, but "
        "a container for `--image`, another architecture or, inside a manylinux image, another policy"
    )
    command.add_argument("--toolchain", choices=TOOLCHAINS, default="auto", help=toolchain)
    command.add_argument("--engine", choices=ENGINES, default="auto", help=engine)
    if name == "build":
        same = "the same as `manywheels plan`"
        command.add_argument(
            "--dry-run", action="store_const", dest="command", const="plan", default=argparse.SUPPRESS, help=same
        )
        junit = "write the run as JUnit XML: each target a suite, each stage, warning and failed test a case"
        identifiers = "print the identifiers of the targets that would be built, as cibuildwheel does"
        command.add_argument("--print-build-identifiers", action="store_true", help=identifiers)
        for name_, kept in _OF_CIBUILDWHEEL.items():
            command.add_argument(name_, action="store_true", help=kept)
        # For this program alone, which starts itself in containers.
        command.add_argument("--part", default="", help=argparse.SUPPRESS)
        command.add_argument("--no-sdist", dest="without_sdist", action="store_true", help=argparse.SUPPRESS)
        command.add_argument("--jobserver", type=Path, help=argparse.SUPPRESS)
        command.add_argument("--traced", action="store_true", help=argparse.SUPPRESS)
        command.add_argument("--junit", type=Path, metavar="PATH", help=junit)
    planned = "print the plan as JSON" if name == "plan" else "with --dry-run: print the plan as JSON"
    command.add_argument("--json", action="store_true", help=planned)
    if name == "plan":
        origins = "show every option's value as well, and where it comes from"
        command.add_argument("--explain", action="store_true", help=origins)
        jobs = "print the jobs that build the plan, as a CI's own matrix"
        command.add_argument("--matrix", choices=MATRICES, default="", help=jobs)
        command.add_argument(
            "--per-job", type=_count, default=1, metavar="N", help="with --matrix: targets in each job (default: 1)"
        )


def _add_publish_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "package_dir", nargs="?", metavar="DIR", help="the folder with the wheels and their manifest (default: dist)"
    )
    _add_inputs(command, "publish")


def _add_inputs(command: argparse.ArgumentParser, name: str) -> None:
    for entry in inputs.inputs_of(name):
        text = entry.description.replace("%", "%%") + (f" (default: {entry.default})" if entry.default else "")
        if entry.name == "enable":  # as in cibuildwheel, it may be given several times
            command.add_argument("--enable", action="append", metavar="ENABLE", help=text)
        elif entry.name in inputs.flags():
            command.add_argument(f"--{entry.name}", action="store_const", const="true", help=text)
        else:
            command.add_argument(f"--{entry.name}", metavar=entry.name.upper().replace("-", "_"), help=text)
        if entry.name == "compiler-cache":
            off = "the same as --compiler-cache off"
            command.add_argument(
                "--no-compiler-cache", action="store_const", dest="compiler_cache", const="off", help=off
            )  # fmt: skip


def _add_verify_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("wheels", nargs="+", type=Path, metavar="WHEEL", help="wheels, or folders of wheels")
    _add_inputs(command, "verify")
    command.add_argument("--format", choices=FORMATS, default="text", help="how to say what was found")
    command.add_argument("--strict", action="store_true", help="let warnings count as errors")
    here = "install each wheel into a clean environment of its interpreter and import all of it; this runs its code"
    there = "the same in a container of another distribution; may be given several times"
    command.add_argument("--import", dest="imports", action="store_true", help=here)
    command.add_argument("--import-in", metavar="IMAGE", action="append", default=[], help=there)
    beside = "check the attestations that lie beside the wheels (PEP 740), without asking anybody"
    expected = "who should have signed them, as `github:octo/spam:release.yml` or `gitlab:group/spam:.gitlab-ci.yml`"
    command.add_argument("--attestations", dest="attested", action="store_true", help=beside)
    command.add_argument("--publisher", metavar="PUBLISHER", default="", help=expected)


def _request(arguments: argparse.Namespace) -> Request:
    command = str(arguments.command)
    if command == "verify":
        wanted = Verification(
            form=arguments.format,
            strict=arguments.strict,
            imports=arguments.imports,
            images=tuple(arguments.import_in),
            attested=arguments.attested or bool(arguments.publisher),
            publisher=arguments.publisher,
        )
        return Request(
            command=command, paths=tuple(arguments.wheels), given=_given(vars(arguments)), verification=wanted
        )
    if command == "gather":
        return Request(command=command, paths=tuple(arguments.folders), given=_given(vars(arguments)))
    if command == "clean":
        kinds = tuple(arguments.kinds)
        return Request(command=command, kinds=kinds, dry_run=arguments.dry_run, given=_given(vars(arguments)))
    if command == "explain":
        return Request(command=command, codes=tuple(arguments.codes))
    if command == "publish":
        folder = {"packages_dir": arguments.package_dir or arguments.packages_dir}
        return Request(command=command, paths=(Path(),), given=_given(vars(arguments) | folder))
    identifiers = getattr(arguments, "print_build_identifiers", False)
    return Request(
        command="plan" if identifiers else command,
        paths=(Path(getattr(arguments, "package_dir", None) or "."),),
        given=_given(vars(arguments)),
        engine=getattr(arguments, "engine", "auto"),
        toolchain=getattr(arguments, "toolchain", "auto"),
        as_json=getattr(arguments, "json", False),
        explain=getattr(arguments, "explain", False),
        matrix=getattr(arguments, "matrix", ""),
        per_job=getattr(arguments, "per_job", 1),
        junit=getattr(arguments, "junit", None),
        identifiers=identifiers,
        part=tuple(getattr(arguments, "part", "").split()),
        without_sdist=getattr(arguments, "without_sdist", False),
        jobserver=getattr(arguments, "jobserver", None),
        traced=getattr(arguments, "traced", False),
    )


def _count(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,3}", text):
        raise argparse.ArgumentTypeError(f"`{text}` is not a whole number from 1 to 9999")
    return int(text)


def _given(values: Mapping[str, object]) -> dict[str, Value]:
    given = {}
    for name in inputs.declared_inputs():
        value = values.get(name.replace("-", "_"))
        if name not in {"command", "package-dir"} and value is not None:
            text = " ".join(value) if isinstance(value, list) else str(value)
            given[name] = Value(value=text, origin=Origin(OriginKind.COMMAND_LINE, f"--{name}"))
    return given
