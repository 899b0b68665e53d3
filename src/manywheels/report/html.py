"""The HTML report: one file that needs nothing else, for a browser without a network and without scripts.

Everything in it is escaped by jinja2; its policy (CSP) allows no resource but the one style, which it names by hash.
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

from manywheels.core import text
from manywheels.core.files import write_report_file
from manywheels.report import wording
from manywheels.report.timeline import WAITING, Bar, Timeline, lay_out
from manywheels.wheels.manifest import Manifest, TargetState

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_STAGES: Final = ("prepare", "build", "repair", "verify", "test", WAITING)  # those that have a colour
_TEMPLATES: Final = Path(__file__).parent / "templates"


def write_report(manifest: Manifest, output_folder: Path, path: Path) -> None:
    """Write the report of a run to `path`, whole or not at all, with links to the logs in `output_folder`.

    Raises OutputFolderError where it cannot be written.
    """
    style = (_TEMPLATES / "report.css").read_text("utf-8")
    logs = Path(os.path.relpath(output_folder.absolute(), path.absolute().parent))
    pieces = _environment().get_template("report.html").stream(
        manifest=manifest,
        timeline=lay_out(manifest),
        told=wording.alike(manifest.failures),
        style=style,
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        log_of=lambda record: _address(logs / wording.log_of(record)),
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
        "about": wording.about,
        "summary": wording.summary,
        "share": _share,
        "told_of": _told_of,
    }
    return environment


def _prose(words: str) -> Markup:
    """Return one line with what stands between backticks as code."""
    from markupsafe import Markup, escape

    shown = (Markup("<code>{}</code>").format(part) if quoted else escape(part) for part, quoted in text.parts(words))
    return Markup("").join(shown)


def _breakable(name: str) -> Markup:
    """Return a file's name so that a narrow column breaks it where its parts end."""
    from markupsafe import Markup

    return Markup("<wbr>").join(re.split(r"(?<=[-.])", text.clean(name)))


def _address(path: Path) -> str:
    """Return a relative path as an address; none of its letters, a colon least of all, means anything in there."""
    return quote(path.as_posix().encode(errors="surrogatepass"))


def _share(seconds: float, timeline: Timeline) -> str:
    """Return a time as a share of the whole, for SVG's lengths."""
    return f"{100 * seconds / timeline.end if timeline.end else 0:.3f}%"


def _told_of(bars: tuple[Bar, ...]) -> str:
    """Return a lane in words, for those who do not see it."""
    return ", ".join(f"{bar.stage} {text.duration(bar.seconds)}" for bar in bars)
