"""A server of GitHub's results services in this process, with scripted responses: what artifacts and cache share."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

from unit.serving import served

Answer = tuple[int, Mapping[str, str], bytes]
Script = Callable[[Any, Mapping[str, Any]], "Answer | None"]
SECRET: Final = "c2lnbmF0dXJl="  # of the signed addresses
LOST: Final[Answer] = (0, {}, b"")


def token(scope: str = "Actions.Other Actions.Results:run-1:job-1") -> str:
    """Return a job's token as the runner's, without a valid signature."""
    parts = (json.dumps(part).encode() for part in ({"alg": "RS256"}, {"scp": scope}))
    return ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), "c2ln"])


def answer(status: int, body: object = None, **headers: str) -> Answer:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(body or {}).encode()


def once(*answers: Answer) -> Script:
    """Return these responses one after another, then normal ones."""
    left = list(answers)
    return lambda _service, _request: left.pop(0) if left else None


def always(found: Answer) -> Script:
    return lambda _service, _request: found


@dataclass
class FakeResults:
    """`scripts` come first, by method name, `PUT` or `GET`; None from one means the normal response."""

    scripts: dict[str, Script] = field(default_factory=dict)
    snake: bool = True
    url: str = ""
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    blocks: dict[str, bytes] = field(default_factory=dict)
    committed: bytes = b""

    @property
    def environment(self) -> dict[str, str]:
        return {
            "ACTIONS_RESULTS_URL": f"{self.url}/with/a/path/", "ACTIONS_RUNTIME_TOKEN": token(),
            "GITHUB_SERVER_URL": "https://github.example", "GITHUB_REPOSITORY": "o/r", "GITHUB_RUN_ID": "7",
        }  # fmt: skip

    @property
    def upload_address(self) -> str:
        self.blocks.clear()
        return f"{self.url}/container/blob?sig={quote(SECRET)}&se=2030"

    def calls(self, method: str) -> list[dict[str, Any]]:
        return [request for name, request in self.asked if name == method]

    def respond(self, what: str, request: dict[str, Any]) -> Answer:
        self.asked.append((what, request))
        script = self.scripts.get(what)
        scripted = script(self, request) if script else None
        honest: Callable[[Mapping[str, Any]], Answer] = getattr(self, f"_{what}")
        return scripted or honest(request)

    def _PUT(self, request: Mapping[str, Any]) -> Answer:  # noqa: N802 - the request's method
        """Take a block, a list of blocks, or a whole blob, as Azure does."""
        match request.get("comp"):
            case "block":
                self.blocks[request["blockid"]] = request["body"]
            case "blocklist":
                ids = re.findall(r"<Latest>(.*?)</Latest>", request["body"].decode())
                self.committed = b"".join(self.blocks[number] for number in ids)
            case None:
                self.committed = request["body"]
        return answer(201)

    def say(self, body: dict[str, Any]) -> Answer:
        return answer(200, body if self.snake else _camel(body))


def _camel(value: object) -> object:
    if isinstance(value, dict):
        return {_camel_name(name): _camel(entry) for name, entry in value.items()}
    return [_camel(entry) for entry in value] if isinstance(value, list) else value


def _camel_name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


Fake = TypeVar("Fake", bound=FakeResults)


@contextmanager
def serving(fake: Fake) -> Iterator[Fake]:
    """Serve on a free port of 127.0.0.1 while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            fake.authorizations.append(self.headers["Authorization"])
            self._send(fake.respond(self.path.rpartition("/")[2], json.loads(self._body())))

        def do_PUT(self) -> None:
            assert self.headers["Authorization"] is None, "the token is for the service alone"
            self._send(fake.respond("PUT", {**self._query(), "body": self._body()}))

        def do_GET(self) -> None:
            assert self.headers["Authorization"] is None, "the token is for the service alone"
            self._send(fake.respond("GET", {**self._query(), "range": self.headers["Range"] or ""}))

        def _query(self) -> dict[str, Any]:
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            assert query["sig"] == SECRET
            return query

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers["Content-Length"]))

        def _send(self, found: Answer) -> None:
            status, headers, body = found
            if not status:  # the connection is lost
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as fake.url:
        yield fake


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
