"""Markdown as GitHub renders it, by comrak, with every extension that GitHub has."""

from __future__ import annotations

import comrak


def to_html(markdown: str) -> str:
    """Render Markdown; HTML in it stays, as it does on GitHub within limits that are no concern here."""
    extensions = comrak.ExtensionOptions()
    for name in ("alerts", "autolink", "footnotes", "math_code", "math_dollars", "shortcodes", "strikethrough", "table",
                 "tagfilter", "tasklist"):  # fmt: skip
        setattr(extensions, name, True)
    options = comrak.RenderOptions()
    options.unsafe_ = True
    return comrak.render_markdown(markdown, extension_options=extensions, render_options=options)
