"""Write the tables of the README and of docs/, and the schemas of options and manifest, from action.yml, data and code.

python docs/tables.py          update the files
python docs/tables.py --check  name the files that are out of date, with exit status 1
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import yaml

from manywheels import errors
from manywheels.cli import explain
from manywheels.data import table as facts_of
from manywheels.plan import inputs
from manywheels.plan.inputs import Input
from manywheels.plan.schema import schema
from manywheels.resources import resource
from manywheels.verify.checks import CHECKS
from manywheels.wheels.manifest import Manifest

_TYPES: Final = {
    "text": "text",
    "path": "a path",
    "choice": "one of {choices}",
    "flag": "`true` or `false`",
    "number": "a whole number",
    "jobs": "`auto` or a whole number",
    "duration": "a duration: `90s`, `60m`, `2h`",
    "patterns": "patterns, with blanks between; a list",
    "words": "words, with blanks between; a list",
    "arguments": "words, in quotes where they hold blanks; a list",
    "extras": "names, with commas between; a list",
    "commands": "a shell command; a list is joined with `&&`",
    "assignments": "assignments, with blanks between; a table",
    "settings": "`key=value` words; a table",
    "front-end": "a name, and options for it; a table with `name` and `args`",
    "constraints": "`latest`, a file, or requirements; a table with `file` or `packages`",
}


def inputs_table() -> str:
    """Return the inputs of action.yml as a Markdown table."""
    rows = (
        f"| `{entry.name}` | {f'`{entry.default}`' if entry.default else 'empty'} | {entry.description} |"
        for entry in inputs.declared_inputs().values()
    )
    return "\n".join(["| input | default | meaning |", "| --- | --- | --- |", *rows])


def outputs_table() -> str:
    """Return the outputs of action.yml as a Markdown table."""
    declared = yaml.safe_load(resource("action.yml").read_text("utf-8"))["outputs"]
    rows = (f"| `{name}` | {entry['description']} |" for name, entry in declared.items())
    return "\n".join(["| output | meaning |", "| --- | --- |", *rows])


# --- docs/options.md --------------------------------------------------------------------------------------------------


def options_pages() -> str:
    """Return a section for each option, in the order of action.yml."""
    return "\n\n".join(_section(entry, facts_of("options")[entry.name]) for entry in inputs.declared_inputs().values())


def _section(entry: Input, facts: dict[str, Any]) -> str:
    kind = _TYPES[facts["type"]].format(choices=", ".join(f"`{choice}`" for choice in facts.get("choices", ())))
    default = f"`{entry.default}`" if entry.default else "empty"
    rows = [f"type: {kind}", f"default: {default}", f"example: {_places(entry, facts)}"]
    if facts.get("target"):
        rows.append("an override can give it for some targets")
    if "cibuildwheel" in facts:
        rows.append(f"cibuildwheel: {facts['cibuildwheel']}")
    meaning = entry.description.strip()
    return "\n".join([f"### {entry.name}", "", f"{meaning}.", "", *(f"- {row}" for row in rows)])


def _places(entry: Input, facts: dict[str, Any]) -> str:
    """Return the example as in pyproject.toml, or in a workflow if the option is not allowed there."""
    example = facts["example"]
    if facts.get("hidden"):
        return f"`{entry.name}: {example}` (in a workflow, or on the command line; not in pyproject.toml)"
    quoted = f"'{example}'" if '"' in example else f'"{example}"'
    bare = facts["type"] in {"flag", "number", "jobs"} or example in {"true", "false"}
    return f"`{entry.name} = {example if bare else quoted}`"


# --- docs/manifest.md -------------------------------------------------------------------------------------------------


def manifest_pages() -> str:
    """Return a section for each kind of record in the manifest, the manifest itself first."""
    return "\n\n".join(map(_record, (Manifest, *_records_below(Manifest))))


def _records_below(record: type) -> list[type]:
    """Return the kinds of records in a record's fields, each once, in their order."""
    found: dict[type, None] = {}
    for hint in get_type_hints(record).values():
        for kind in _kinds_in(hint):
            found |= dict.fromkeys((kind, *_records_below(kind)))
    return list(found)


def _kinds_in(hint: Any) -> Iterator[type]:  # noqa: ANN401 - any type
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        yield hint
    for argument in get_args(hint):
        yield from _kinds_in(argument)


def _record(kind: type) -> str:
    hints = get_type_hints(kind)
    rows = [
        f"| `{one.name}` | {_json_type(hints[one.name])} | {_json_default(one)} |" for one in dataclasses.fields(kind)
    ]
    said = inspect.cleandoc(kind.__doc__ or "").replace("\n", " ").replace("  ", "\n\n").replace("None", "`null`")
    return "\n".join(
        [f"### {kind.__name__}", "", said, "", "| key | type | if missing |", "| --- | --- | --- |", *rows]
    )


def _json_type(hint: Any) -> str:  # noqa: ANN401 - any type
    """Name a type as JSON has it."""
    arguments = [one for one in get_args(hint) if one not in {type(None), Ellipsis}]
    if get_origin(hint) in {UnionType, Union}:
        return " or ".join((*map(_json_type, arguments), "null"))
    if get_origin(hint) is tuple:
        return f"a list of {_json_type(arguments[0])}"
    if get_origin(hint) is Mapping:
        return f"an object: {_json_type(arguments[1])} for each name"
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return "one of " + ", ".join(f"`{value}`" for value in hint)
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}[hint]


def _json_default(one: dataclasses.Field[Any]) -> str:
    if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
        return "an error"
    default = one.default_factory() if one.default_factory is not dataclasses.MISSING else one.default
    return f"`{json.dumps(default)}`"


# --- docs/errors.md ---------------------------------------------------------------------------------------------------


def errors_table() -> str:
    """Return the errors as a Markdown table."""
    rows = (f"| [{kind.code}](#{kind.code.lower()}) | {_said(kind)} | {kind.exit_status} |" for kind in _errors())
    return "\n".join(["| code | what happened | exit status |", "| --- | --- | --- |", *rows])


def error_sections() -> str:
    """Return a section for each error, with an example and what to do."""
    return "\n\n".join(
        f"### {kind.code}\n\n{_said(kind)}\n\n"
        f"- For example: {facts_of('explanations')[kind.code]['example']}\n"
        f"- What to do: {facts_of('explanations')[kind.code]['cure']}"
        for kind in _errors()
    )


def _errors() -> list[type[errors.ManywheelsError]]:
    return sorted(explain.errors(), key=lambda kind: kind.code)


def _said(kind: type[errors.ManywheelsError]) -> str:
    return " ".join((kind.__doc__ or "").split())


def checks_table() -> str:
    """Return the checks as a Markdown table."""
    rows = (f"| {entry.code} | {entry.must_hold} | {entry.reason} | {entry.severity} |" for entry in CHECKS)
    return "\n".join(["| code | what must hold | why | severity |", "| --- | --- | --- | --- |", *rows])


def fill(text: str, name: str, table: str) -> str:
    """Replace the text between the two markers of a table."""
    pattern = re.compile(rf"(<!-- {name}: begin[^>]*-->\n).*?(<!-- {name}: end -->)", re.DOTALL)
    return pattern.sub(lambda marks: f"{marks[1]}{table}\n{marks[2]}", text)


def main(arguments: list[str]) -> int:
    """Update or check the tables; return the exit status."""
    root = resource("action.yml").parent
    stale = []
    for path, tables in {
        root / "README.md": {"inputs": inputs_table(), "outputs": outputs_table()},
        root / "docs" / "options.md": {"options": options_pages()},
        root / "docs" / "manifest.md": {"manifest": manifest_pages()},
        root / "docs" / "errors.md": {
            "errors": errors_table(),
            "explanations": error_sections(),
            "checks": checks_table(),
        },
    }.items():
        before = path.read_text("utf-8")
        after = before
        for name, table in tables.items():
            after = fill(after, name, table)
        if after != before:
            stale.append(path)
            if "--check" not in arguments:
                path.write_text(after, encoding="utf-8")
    stale += _schema(root / "docs" / "schema.json", write="--check" not in arguments)
    for path in stale:
        print(f"{Path(path).name}: {'out of date, run `make docs`' if '--check' in arguments else 'written'}")
    return 1 if stale and "--check" in arguments else 0


def _schema(path: Path, *, write: bool) -> list[Path]:
    """Update docs/schema.json; return its path if it is, or was, out of date."""
    text = json.dumps(schema(), indent=2) + "\n"
    if path.is_file() and path.read_text("utf-8") == text:
        return []
    if write:
        path.write_text(text, encoding="utf-8")
    return [path]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
