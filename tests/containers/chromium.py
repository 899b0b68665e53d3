"""A headless Chromium, led over the DevTools protocol through two pipes: no driver, no port.

https://chromedevtools.github.io/devtools-protocol/; messages are JSON that ends with a zero byte.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

PROGRAM: Final = "chromium"
_OPTIONS: Final = (
    "--headless", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-sync",
    "--hide-scrollbars", "--force-color-profile=srgb", "--mute-audio",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class View:
    """How a page is looked at: its `width` in pixels, and the colour scheme that the user prefers."""

    width: int
    scheme: str
    height: int = 900


@contextmanager
def browser() -> Iterator[Page]:
    """Start a browser with a profile of its own and one empty page; end it afterwards."""
    with tempfile.TemporaryDirectory(prefix="manywheels-chromium-", ignore_cleanup_errors=True) as profile:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        # The browser reads from 3 and writes to 4, whatever the numbers are here.
        start = f'exec 3<&{theirs_in} 4>&{theirs_out}; exec "$@"'
        argv = ["/bin/bash", "-c", start, "chromium", str(shutil.which(PROGRAM)), *_OPTIONS, *sandbox]
        process = subprocess.Popen(
            [*argv, f"--user-data-dir={profile}"], pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            with os.fdopen(ours_out, "wb") as commands, os.fdopen(ours_in, "rb") as answers:
                page = Page(_Wire(commands, answers))
                yield page
                with suppress(OSError, EOFError):
                    page.close_browser()
        finally:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class _Wire:
    """Calls and their answers; events are kept until somebody asks for them."""

    def __init__(self, commands: IO[bytes], answers: IO[bytes]) -> None:
        self._commands, self._answers = commands, answers
        self._rest = b""
        self._calls = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **parameters: object) -> dict[str, Any]:
        self._calls += 1
        message: dict[str, Any] = {"id": self._calls, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        self._commands.write(json.dumps(message).encode() + b"\0")
        self._commands.flush()
        while True:
            answer = self._read()
            if answer.get("id") == self._calls:
                assert "error" not in answer, f"{method}: {answer.get('error')}"
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def await_event(self, method: str) -> None:
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self._read())

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            block = os.read(self._answers.fileno(), 1 << 20)
            if not block:
                raise EOFError("the browser has gone")
            self._rest += block
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


class Page:
    """The browser's one page."""

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire
        target = wire.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = wire.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self._call(f"{domain}.enable")

    def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        return self._wire.call(method, self._session, **parameters)

    def close_browser(self) -> None:
        self._wire.call("Browser.close")

    def open(self, place: Path | str, view: View) -> None:
        """Load a file, or an address, and look at it so."""
        self._wire.events.clear()
        self.look(view)
        self._call("Page.navigate", url=place if isinstance(place, str) else place.absolute().as_uri())
        self._wire.await_event("Page.loadEventFired")

    def look(self, view: View) -> None:
        """Look at the page in another way, without loading it again."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=view.width, height=view.height, deviceScaleFactor=1, mobile=view.width < 600,
        )  # fmt: skip
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": view.scheme}])

    def evaluate(self, script: str) -> Any:
        """Return the JSON value of a script, which may be a promise."""
        done = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def picture(self, file: Path, *, height: int | None = None) -> Path:
        """Write a PNG of the page from its top, all of it or `height` pixels, and return the file."""
        size = self._call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"], "scale": 1}
        shot = self._call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))
        return file

    def roles(self) -> Counter[str]:
        """Return how often each role occurs in what assistive programs are told of the page."""
        nodes = self._call("Accessibility.getFullAXTree")["nodes"]
        return Counter(str(node["role"]["value"]) for node in nodes if not node["ignored"])

    def requests(self) -> list[str]:
        """Return the addresses that the page has asked for since it was opened."""
        return [
            event["params"]["request"]["url"]
            for event in self._wire.events
            if event.get("method") == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[str]:
        """Return what the browser has logged since the page was opened: violated policies, errors of scripts."""
        told = [event["params"] for event in self._wire.events if event.get("method") == "Log.entryAdded"]
        return [entry["entry"]["text"] for entry in told]
