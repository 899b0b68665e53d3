"""Links of the documentation that lead out of docs/, for the site: to the file on the repository's host.

In the repository they are relative, so that they can be followed there, too.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
_LINK: Final = re.compile(r"(?<=\]\()([^)#\s:]+)(#[^)\s]*)?(?=\))")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:  # noqa: ANN401 - mkdocs' own types
    """Called by mkdocs for each page. A link to a file that does not exist stays: mkdocs warns of it."""
    folder = posixpath.dirname(page.file.src_uri)

    def outside(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", folder, link[1]))
        if path.startswith("docs/") or not (ROOT / path).exists():
            return link[0]
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"{config['extra']['repository']}/{kind}/main/{path}{link[2] or ''}"

    return _LINK.sub(outside, markdown)
