"""docs/options.md: what each option means, written from the one list of options."""

from __future__ import annotations

from typing import Any, Final

from manywheels import inputs
from manywheels.data import table
from manywheels.inputs import Input

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


def options_pages() -> str:
    """Return a section for each option, in the order of action.yml."""
    return "\n\n".join(_section(entry, table("options")[entry.name]) for entry in inputs.declared_inputs().values())


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
    """Show the example in the place that most would write it: pyproject.toml, else a workflow."""
    example = facts["example"]
    if facts.get("hidden"):
        return f"`{entry.name}: {example}` (in a workflow, or on the command line; not in pyproject.toml)"
    quoted = f"'{example}'" if '"' in example else f'"{example}"'
    bare = facts["type"] in {"flag", "number", "jobs"} or example in {"true", "false"}
    return f"`{entry.name} = {example if bare else quoted}`"
