"""The documentation as a site: it builds without a warning, fits every screen, and loads nothing from elsewhere."""

from __future__ import annotations

import functools
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from conftest import ROOT
from containers.chromium import Page, View, browser

pytestmark = [pytest.mark.chromium, pytest.mark.network, pytest.mark.xdist_group("pages"), pytest.mark.timeout(900)]
VIEWS = [View(width=width, scheme=scheme) for width in (375, 1440) for scheme in ("light", "dark")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make site` does it: broken links and anchors, and pages in no menu, are errors."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        ["make", "site", f"SITE={folder}"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The site, served: from files, a browser gives it no search and no colours of the user's choice."""
    handler = functools.partial(_Quiet, directory=str(site))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser() as found:
        yield found


def test_every_page_fits_every_screen(site: Path, address: str, page: Page) -> None:
    pages = sorted(path.parent.relative_to(site).as_posix() for path in site.rglob("index.html"))
    assert len(pages) > 30
    wide = []
    for name in pages:
        page.open(f"{address}{name}/", VIEWS[0])
        for view in VIEWS:
            page.look(view)
            if page.evaluate("document.documentElement.scrollWidth - innerWidth") > 0:
                wide.append(f"{name} at {view.width}")
    assert wide == []


def test_it_has_the_readers_colours_and_loads_nothing_from_elsewhere(address: str, page: Page) -> None:
    for view in VIEWS:
        page.open(address, view)
        page.evaluate("localStorage.clear()")  # a reader's first visit
        page.open(address, view)
        scheme = page.evaluate("document.body.dataset.mdColorScheme")
        assert scheme == {"light": "default", "dark": "slate"}[view.scheme]
        assert [asked for asked in page.requests() if not asked.startswith((address, "data:"))] == []
        assert page.complaints() == []


def test_links_out_of_the_documentation_name_files_that_are_there(site: Path) -> None:
    host = "https://github.com/manywheels/manywheels/"
    named = set()
    for path in site.rglob("*.html"):
        for link in re.findall(rf'href="{host}(?:blob|tree)/main/([^"#]+)', path.read_text("utf-8")):
            named.add(link)
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).exists()] == []
