"""Write the tables of the README and of docs/, and the schema of the options, from action.yml, data and code.

python docs/tables.py          update the files
python docs/tables.py --check  name the files that are out of date, with exit status 1
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from manywheels import errors
from manywheels.data import table as facts_of
from manywheels.plan import inputs
from manywheels.plan.inputs import Input
from manywheels.plan.schema import schema
from manywheels.resources import resource
from manywheels.verify.checks import CHECKS

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


# --- docs/errors.md ---------------------------------------------------------------------------------------------------


def errors_table() -> str:
    """Return the errors as a Markdown table."""
    rows = (
        f"| {kind.code} | {' '.join((kind.__doc__ or '').split())} | {kind.exit_status} |"
        for kind in sorted(_subclasses(errors.ManywheelsError), key=lambda kind: kind.code)
    )
    return "\n".join(["| code | what happened | exit status |", "| --- | --- | --- |", *rows])


def checks_table() -> str:
    """Return the checks as a Markdown table."""
    rows = (f"| {entry.code} | {entry.must_hold} | {entry.reason} | {entry.severity} |" for entry in CHECKS)
    return "\n".join(["| code | what must hold | why | severity |", "| --- | --- | --- | --- |", *rows])


def _subclasses(kind: type[errors.ManywheelsError]) -> Iterator[type[errors.ManywheelsError]]:
    for below in kind.__subclasses__():
        yield below
        yield from _subclasses(below)


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
        root / "docs" / "errors.md": {"errors": errors_table(), "checks": checks_table()},
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
