"""The two pages that a run leaves, as files for a browser: the HTML report, and the step summary as GitHub shows it."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from containers.chromium import Page, View
from manywheels.report.summary import step_summary
from manywheels.wheels.manifest import Manifest
from unit.gfm import to_html

WIDTHS: Final = (375, 1160, 1440)
SCHEMES: Final = ("light", "dark")
_MERMAID: Final = (
    "mermaid@11.17.2",
    "V6K3C8EBdEsPFZXSKMJe6ppQOENxuHARr9GvHX4hh47lAbhMRD9qf4oEK7LoaRQxULMa80/qt5gHO73aCleBBg==",
)
# What GitHub's own style says of the elements that summaries use.
_GITHUB: Final = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1f2328; --soft: #59636e; --line: #d1d9e0; --code: #eff1f3; }
@media (prefers-color-scheme: dark) {
  :root { --page: #0d1117; --ink: #f0f6fc; --soft: #9198a1; --line: #3d444d; --code: #262c36; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1012px; padding: 24px 16px; background: var(--page); color: var(--ink);
  font: 16px/1.5 "DejaVu Sans", sans-serif; overflow-wrap: break-word; }
h2 { font-size: 24px; border-bottom: 1px solid var(--line); padding-bottom: 5px; }
h3 { font-size: 18px; }
table { display: block; width: max-content; max-width: 100%; overflow: auto; border-collapse: collapse; }
th, td { border: 1px solid var(--line); padding: 6px 13px; }
code { background: var(--code); border-radius: 6px; padding: 2px 5px; font: 85% "DejaVu Sans Mono", monospace; }
pre { background: var(--code); border-radius: 6px; padding: 16px; overflow: auto; }
pre code { padding: 0; background: none; }
sub { color: var(--soft); font-size: 13px; line-height: 1.4; vertical-align: baseline; }
"""


def fetch_mermaid(folder: Path) -> Path:
    """Get the real Mermaid, of one version, from the npm registry, and return its script."""
    name, sha512 = _MERMAID
    npm = str(shutil.which("npm"))
    done = subprocess.run([npm, "pack", name, "--silent"], cwd=folder, check=True, capture_output=True, text=True)
    packed = folder / done.stdout.strip().splitlines()[-1]
    with packed.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    assert base64.b64encode(digest).decode() == sha512, f"{packed.name} is another file than it was"
    with tarfile.open(packed) as archive:
        archive.extract("package/dist/mermaid.min.js", folder, filter="data")
    return folder / "package/dist/mermaid.min.js"


def write_summary(manifest: Manifest, file: Path, mermaid: Path, scheme: str) -> Path:
    """Write a run's summary as a page that looks as GitHub's; `window.drawn` is the promise of its drawing."""
    drawn = re.sub(
        r'<pre><code class="language-mermaid">(.*?)</code></pre>',
        lambda found: f'<div class="mermaid">{found[1]}</div>',
        to_html(step_summary(manifest)),
        flags=re.DOTALL,
    )
    theme = "dark" if scheme == "dark" else "default"
    start = f"mermaid.initialize({{startOnLoad: false, theme: '{theme}'}}); window.drawn = mermaid.run();"
    file.write_text(
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>summary</title>'
        f"<style>{_GITHUB}</style><body>{drawn}"
        f'<script src="{html.escape(mermaid.as_uri())}"></script><script>{start}</script></body></html>',
        encoding="utf-8",
    )
    return file


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a browser found on a page: each complaint names the text that it is about."""

    overflow: int
    small: list[str]
    pale: list[str]
    overlapping: list[str]
    texts: int


def measure(page: Page, view: View) -> Measured:
    """Look at the open page and measure it."""
    page.look(view)
    found: dict[str, Any] = page.evaluate(_MEASURE)
    return Measured(**found)


# Texts by their own boxes, as far as they can be seen: what is clipped or scrolled away is cut off first.
_MEASURE: Final = r"""
(() => {
  const texts = [], small = [], pale = [], overlapping = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const rgb = colour => colour.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const [r, g, b, a = 1] = rgb(getComputedStyle(at).backgroundColor);
      if (a > 0.5) return [r, g, b];
    }
    return matchMedia('(prefers-color-scheme: dark)').matches ? [18, 18, 18] : [255, 255, 255];
  };
  const seen = (rect, element) => {
    let [left, top, right, bottom] = [rect.left, rect.top, rect.right, rect.bottom];
    for (let at = element; at && at !== document.documentElement; at = at.parentElement) {
      const style = getComputedStyle(at), box = at.getBoundingClientRect();
      if (style.clipPath !== 'none' || style.visibility === 'hidden') return null;
      if (style.overflowX !== 'visible' && !(at instanceof SVGElement)) {
        left = Math.max(left, box.left); right = Math.min(right, box.right);
        top = Math.max(top, box.top); bottom = Math.min(bottom, box.bottom);
      }
    }
    return right - left > 1 && bottom - top > 1 ? {left, top, right, bottom} : null;
  };
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (!node.data.trim() || parent.closest('style, script, title, details:not([open]) > :not(summary)')) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const rects = [...range.getClientRects()].map(rect => seen(rect, parent)).filter(Boolean);
    if (!rects.length) continue;
    const style = getComputedStyle(parent), drawing = parent.closest('svg'), words = node.data.trim().slice(0, 60);
    const mermaid = parent.closest('.mermaid');
    texts.push({node, words, rects});
    if (parseFloat(style.fontSize) < 12 && !mermaid) small.push(`${words} (${style.fontSize})`);
    const ink = rgb(drawing ? style.fill : style.color), paper = behind(parent);
    const [low, high] = [light(ink), light(paper)].sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5 && !mermaid) pale.push(`${words} (${contrast.toFixed(2)})`);
  }
  for (const lane of document.querySelectorAll('.lanes svg')) {
    texts.push({node: lane, words: 'a lane', rects: [lane.getBoundingClientRect()]});
  }
  texts.forEach((one, number) => texts.slice(number + 1).forEach(other => {
    if (one.node.contains(other.node) || other.node.contains(one.node)) return;
    for (const a of one.rects) for (const b of other.rects) {
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      // Boxes of lines are higher than their letters.
      if (wide > 1.5 && high > 4) { overlapping.push(`${one.words} / ${other.words}`); return; }
    }
  }));
  return {overflow: document.documentElement.scrollWidth - innerWidth, small, pale, overlapping, texts: texts.length};
})()
"""
