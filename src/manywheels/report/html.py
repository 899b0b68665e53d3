"""The HTML report: one self-contained file without scripts.

jinja2 escapes all values; the content security policy allows only the embedded style, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from manywheels.build.trace import NO_TRACE, Trace
from manywheels.core import text
from manywheels.core.files import write_report_file
from manywheels.report import wording
from manywheels.report.lanes import chart_of
from manywheels.report.timeline import WAITING, Timeline
from manywheels.wheels.manifest import Manifest, TargetState

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_STAGES: Final = ("prepare", "build", "repair", "verify", "test", WAITING)  # stages with their own colour
_TEMPLATES: Final = Path(__file__).parent / "templates"


def write_report(manifest: Manifest, output_folder: Path, path: Path, trace: Trace = NO_TRACE) -> None:
    """Write atomically, with links to the logs in `output_folder`. Raises OutputFolderError."""
    style = (_TEMPLATES / "report.css").read_text("utf-8")
    logs = Path(os.path.relpath(output_folder.absolute(), path.absolute().parent))
    pieces = _environment().get_template("report.html").stream(
        manifest=manifest,
        chart=chart_of(manifest, trace),
        failures=wording.with_first_alike(manifest.failures),
        style=style,
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        log_of=lambda record: _url(logs / wording.log_of(record)),
    )  # fmt: skip
    with write_report_file(path, "report") as file:
        file.writelines(piece.encode() for piece in pieces)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "clean": text.clean,
        "prose": _prose,
        "breakable": _breakable,
        "size": text.size,
        "duration": text.duration,
        "outcome": wording.outcome,
        "total": wording.total,
        "short_tags": wording.short_tags,
        "tests": wording.tests,
        "pythons": wording.tags,
    }
    environment.globals |= {
        "STAGES": _STAGES,
        "State": TargetState,
        "target_warnings": wording.target_warnings,
        "summary": wording.summary,
        "verdict": wording.verdict,
        "share": _share,
    }
    return environment


def _prose(words: str) -> Markup:
    """Words between backticks become code."""
    from markupsafe import Markup, escape

    shown = (Markup("<code>{}</code>").format(part) if quoted else escape(part) for part, quoted in text.parts(words))
    return Markup("").join(shown)


def _breakable(name: str) -> Markup:
    from markupsafe import Markup

    return Markup("<wbr>").join(re.split(r"(?<=[-.])", text.clean(name)))


def _url(path: Path) -> str:
    """Quote special characters, such as colons."""
    return quote(path.as_posix().encode(errors="surrogatepass"))


def _share(seconds: float, timeline: Timeline) -> str:
    return f"{100 * seconds / timeline.end if timeline.end else 0:.3f}%"
