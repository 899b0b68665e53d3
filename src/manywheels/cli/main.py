"""The command line: the action's inputs as options, and a few for local use."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from manywheels.cli.commands import execute
from manywheels.cli.guard import cancellable, escape_unprintable, run_guarded
from manywheels.cli.parser import make_parser
from manywheels.cli.request import Request, Verification
from manywheels.core.files import cache_dir
from manywheels.errors import EXIT_OK
from manywheels.plan import inputs
from manywheels.plan.inputs import Origin, OriginKind, Value


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; return the exit status. Usage errors raise SystemExit."""
    escape_unprintable()
    arguments = make_parser().parse(argv)
    if getattr(arguments, "clean_cache", False):
        print(f"manywheels keeps what it fetches in {cache_dir()}; runs share it. `manywheels clean` removes it.")
        return EXIT_OK
    with cancellable() as cancellation:
        return run_guarded(lambda: execute(request_of(arguments), cancellation), cancellation)


def request_of(arguments: argparse.Namespace) -> Request:
    """Return the command that parsed words ask for."""
    command, given = str(arguments.command), _given(vars(arguments))
    match command:
        case "verify":
            return _verification(arguments, given)
        case "gather":
            return Request(command=command, paths=tuple(arguments.folders), given=given)
        case "clean":
            return Request(command=command, kinds=tuple(arguments.kinds), dry_run=arguments.dry_run, given=given)
        case "explain" | "completion":
            shell = getattr(arguments, "shell", "")
            return Request(command=command, codes=tuple(getattr(arguments, "codes", ())), shell=shell)
        case "publish":
            folder = {"packages_dir": arguments.package_dir or arguments.packages_dir}
            return Request(command=command, paths=(Path(),), given=_given(vars(arguments) | folder))
    identifiers = getattr(arguments, "print_build_identifiers", False)
    return Request(
        command="plan" if identifiers else command,
        paths=(Path(getattr(arguments, "package_dir", None) or "."),),
        given=given,
        engine=getattr(arguments, "engine", "auto"),
        toolchain=getattr(arguments, "toolchain", "auto"),
        as_json=getattr(arguments, "json", False),
        quiet=getattr(arguments, "quiet", False),
        explain=getattr(arguments, "explain", False),
        matrix=getattr(arguments, "matrix", ""),
        per_job=getattr(arguments, "per_job", 1),
        junit=getattr(arguments, "junit", None),
        identifiers=identifiers,
        part=tuple(getattr(arguments, "part", "").split()),
        without_sdist=getattr(arguments, "without_sdist", False),
        jobserver=getattr(arguments, "jobserver", None),
        traced=getattr(arguments, "traced", False),
        leave_out=tuple(getattr(arguments, "leave_out", ())),
    )


def _verification(arguments: argparse.Namespace, given: dict[str, Value]) -> Request:
    wanted = Verification(
        form=arguments.format,
        strict=arguments.strict,
        imports=arguments.imports,
        images=tuple(arguments.import_in),
        attested=arguments.attested or bool(arguments.publisher),
        publisher=arguments.publisher,
    )
    return Request(command="verify", paths=tuple(arguments.wheels) or (Path("dist"),), given=given, verification=wanted)


def _given(values: Mapping[str, object]) -> dict[str, Value]:
    given = {}
    for name in inputs.declared_inputs():
        value = values.get(name.replace("-", "_"))
        if name not in {"command", "package-dir"} and value is not None:
            text = " ".join(value) if isinstance(value, list) else str(value)
            given[name] = Value(value=text, origin=Origin(OriginKind.COMMAND_LINE, f"--{name}"))
    return given
