"""The JSON schema of `[tool.manywheels]`, for editors; it describes types, not allowed values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from manywheels.data import table
from manywheels.plan import inputs
from manywheels.plan.option_types import IMAGE_OPTION
from manywheels.plan.settings import overridable
from manywheels.plan.target_options import FRONT_ENDS

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_TEXTS: Final[Schema] = {"type": "array", "items": _TEXT}
_SCALAR: Final[Schema] = {"type": ["string", "number", "boolean"]}
_LIST: Final[Schema] = {"anyOf": [_TEXT, _TEXTS]}
_DURATION: Final[Schema] = {
    "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": r"^\s*\d+(\.\d+)?[smh]?\s*$"}]
}
_TABLE_OF_VARIABLES: Final[Schema] = {
    "type": "object",
    "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
    "additionalProperties": _SCALAR,
}
_TYPES: Final[Mapping[str, Schema]] = {
    "text": _TEXT,
    "path": _TEXT,
    "flag": {"anyOf": [{"type": "boolean"}, {"enum": ["true", "false"]}]},
    "number": {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^[+-]?[0-9]+$"}]},
    "jobs": {
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": 1024},
            {"type": "string", "pattern": "^(auto|[1-9][0-9]{0,3})$"},
        ]
    },
    "duration": _DURATION,
    "patterns": _LIST,
    "words": _LIST,
    "arguments": _LIST,
    "extras": _LIST,
    "commands": _LIST,
    "assignments": {"anyOf": [_TEXT, _TEXTS, _TABLE_OF_VARIABLES]},
    "settings": {
        "anyOf": [
            _TEXT,
            _TEXTS,
            {"type": "object", "additionalProperties": {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}]}},
        ]
    },
    "front-end": {
        "anyOf": [
            {"type": "string", "pattern": r"^(name:\s*)?(uv|build|build\[uv\]|pip)\s*(;.*)?$"},
            {
                "type": "object",
                "properties": {"name": {"enum": list(FRONT_ENDS)}, "args": _LIST},
                "required": ["name"],
                "additionalProperties": False,
            },
        ]
    },
    "constraints": {
        "anyOf": [
            _TEXT,
            {
                "type": "object",
                "properties": {"file": _TEXT, "packages": _TEXTS},
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": False,
            },
        ]
    },
}


def schema() -> Schema:
    """The dialect is JSON Schema, draft 2020-12."""
    options = {name: _option(name) for name in inputs.declared_inputs() if name not in inputs.hidden()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "[tool.manywheels]",
        "type": "object",
        "properties": {**options, "verify": _verify(), "overrides": {"type": "array", "items": _override(options)}},
        "patternProperties": {
            f"^({IMAGE_OPTION.pattern})$": {
                "type": "string",
                "description": "The image for one architecture: an image reference, or a policy's name.",
            }
        },
        "additionalProperties": False,
    }


def _option(name: str) -> Schema:
    entry, facts = inputs.declared_inputs()[name], table("options")[name]
    kind = {"enum": facts["choices"]} if facts["type"] == "choice" else _TYPES[facts["type"]]
    described = {"description": entry.description, "default": entry.default, "examples": [facts["example"]]}
    return {**described, **kind}


def _override(options: Mapping[str, Schema]) -> Schema:
    names = overridable()
    rules = {name: {"enum": ["none", "append", "prepend"]} for name in names}
    return {
        "type": "object",
        "properties": {
            "select": {**_LIST, "description": "Patterns over target identifiers: what the override is for."},
            "inherit": {
                "description": "What is done with the value below: replaced (`none`), or joined to.",
                "anyOf": [_TEXT, {"type": "object", "properties": rules, "additionalProperties": False}],
            },
            **{name: options[name] for name in names},
        },
        "required": ["select"],
        "additionalProperties": False,
    }


def _verify() -> Schema:
    code = {"type": "string", "pattern": r"^MW2\d\d$"}
    entry = {
        "type": "object",
        "properties": {"code": code, "files": _TEXT, "reason": _TEXT},
        "required": ["code"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "description": "Which findings of the checks count.",
        "properties": {
            "strict": {"type": "boolean", "description": "Warnings count as errors.", "default": False},
            "ignore": {"type": "array", "items": {"anyOf": [code, entry]}},
            "libraries": {
                "type": "array",
                "items": _TEXT,
                "description": "Globs over libraries that other packages bring.",
            },
        },
        "additionalProperties": False,
    }
