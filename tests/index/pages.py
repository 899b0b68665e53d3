"""What each address of the index answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import jwt
from packaging.utils import canonicalize_name

from index.fulcio import authority, read_request
from index.issuer import Issuer
from index.metadata import Rejected
from index.minting import Refused, Token
from index.rules import accept
from index.server import Call, Reply
from index.store import JSON, release_page, simple_html, simple_json

if TYPE_CHECKING:
    from index.local import LocalIndex


def answer(index: LocalIndex, call: Call) -> Reply:
    """Carry out a request, and return the answer."""
    path, method = call.logged.path, "GET" if call.logged.method == "HEAD" else call.logged.method
    for wanted, pattern, page in _ROUTES:
        found = re.fullmatch(pattern, path)
        if found and wanted == method:
            return page(index, call, found)
    known = any(re.fullmatch(pattern, path) for _, pattern, _ in _ROUTES)
    return _problem(call, HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND, "")


def _json(value: object, status: int = 200, content_type: str = "application/json") -> Reply:
    return Reply(status=status, body=json.dumps(value).encode(), content_type=content_type)


def _problem(call: Call, status: int, message: str) -> Reply:
    """An error as the index's framework words it: the message stands in the status line and in the body."""
    title = HTTPStatus(status).phrase
    reason = message.replace("\n", " ") or title
    if "application/json" in call.logged.headers.get("accept", ""):
        body = {"message": message, "code": f"{status} {reason}", "title": title}
        return Reply(status=status, reason=reason, body=json.dumps(body).encode(), content_type="application/json")
    page = f"<html><head><title>{status} {reason}</title></head><body><h1>{status} {reason}</h1>{message}</body></html>"
    return Reply(status=status, reason=reason, body=page.encode())


# --- identity tokens ------------------------------------------------------------------------------------------------


def _issuer_page(index: LocalIndex, call: Call, found: re.Match[str]) -> Reply:
    issuer: Issuer = index.issuers[found["name"]]
    return _json(issuer.keys() if found["page"] == "jwks" else issuer.discovery())


def _identity_token(index: LocalIndex, call: Call, found: re.Match[str]) -> Reply:
    grant = index.grants.get(found["grant"])
    if grant is None or call.logged.authorization.lower() != f"bearer {grant.bearer}":
        return _json({"message": "Unauthorized"}, status=401)
    audience = call.logged.query.get("audience") or "https://github.com/octo"
    return _json({"count": 1, "value": index.issuers["github"].issue(grant.claims, audience=audience)})


# --- trusted publishing ---------------------------------------------------------------------------------------------


def _audience(index: LocalIndex, call: Call, found: re.Match[str]) -> Reply:
    if index.settings.audience_off:
        return _json({"message": "Trusted publishing functionality not enabled"}, status=403)
    return _json({"audience": index.settings.audience})


def _mint(index: LocalIndex, call: Call, found: re.Match[str]) -> Reply:
    try:
        return _json(index.mint.mint(call.logged.body))
    except Refused as refused:
        errors = [{"code": refused.code, "description": refused.description}]
        return _json({"message": "Token request failed", "errors": errors}, status=422)


def _burn(index: LocalIndex, call: Call, found: re.Match[str]) -> Reply:
    """Make a minted token invalid before its time; what is no token of ours is not told apart."""
    try:
        index.mint.burn(call.logged.body)
    except Refused as refused:
        return _json({"message": refused.description}, status=422)
    return _json({"message": "Accepted"}, status=202)


# --- signing -------------------------------------------------------------------------------------------------------


def _certificate(index: LocalIndex, call: Call, found: re.Match[str]) -> Reply:
    token = call.logged.authorization.partition(" ")[2]
    for issuer in index.issuers.values():
        try:
            claims = issuer.verify(token, audience="sigstore")
        except jwt.PyJWTError:
            continue
        chain = authority().issue(read_request(json.loads(call.logged.body)), claims)
        return _json({"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}, status=201)
    return _json({"code": 16, "message": "There was an error processing the identity token"}, status=401)


def _log_entry(index: LocalIndex, call: Call, found: re.Match[str]) -> Reply:
    entry = index.log_of_signatures.add(json.loads(call.logged.body))
    if entry is None:
        message = "an equivalent entry already exists in the transparency log"
        return _json({"code": 409, "message": message}, status=409)
    return _json(entry, status=201)


# --- uploading ------------------------------------------------------------------------------------------------------


def _upload(index: LocalIndex, call: Call, found: re.Match[str]) -> Reply:
    token = index.mint.tokens.get(call.logged.password)
    expired = token and token.expires is not None and token.expires <= index.settings.clock()
    if not token or expired or call.logged.user != "__token__":
        return _problem(call, 403, "Invalid or non-existent authentication information.")
    return _store(index, call, token)


def _store(index: LocalIndex, call: Call, token: Token) -> Reply:
    try:
        with index.store.lock:
            if call.new_release in index.store.created:
                # Both uploads found no row of the release, and the other one has written it.
                return _problem(call, 500, "Internal Server Error")
            accept(call.form, token, index.store, index.mint.projects)
    except Rejected as rejected:
        return _problem(call, rejected.status, rejected.message)
    return Reply()


# --- downloading ----------------------------------------------------------------------------------------------------


def _simple_root(index: LocalIndex, call: Call, found: re.Match[str]) -> Reply:
    names = sorted({file.project for file in index.files().values()})
    value = {"meta": {"api-version": "1.3"}, "projects": [{"name": name} for name in names]}
    return _json(value, content_type=JSON)


def _simple(index: LocalIndex, call: Call, found: re.Match[str]) -> Reply:
    project = canonicalize_name(found["project"])
    if project != found["project"] or not call.logged.path.endswith("/"):
        return Reply(status=301, headers={"Location": f"/simple/{project}/"})
    if project not in index.mint.projects:
        return _problem(call, 404, "")
    files = index.store.shown(project)
    if _prefers_json(call.logged.headers.get("accept", "")):
        return Reply(body=simple_json(index.store, project, files), content_type=JSON)
    return Reply(body=simple_html(index.store, project, files))


def _prefers_json(accept: str) -> bool:
    """Whether JSON has the highest quality of what is accepted (PEP 691); without a wish, HTML it is."""
    qualities: dict[str, float] = {}
    for entry in accept.split(","):
        kind, _, quality = entry.partition(";q=")
        qualities[kind.strip()] = float(quality or 1.0)
    as_json = max(qualities.get(JSON, 0.0), qualities.get("application/vnd.pypi.simple.latest+json", 0.0))
    as_html = max(qualities.get("text/html", 0.0), qualities.get("application/vnd.pypi.simple.v1+html", 0.0))
    return as_json > as_html


def _file(index: LocalIndex, call: Call, found: re.Match[str]) -> Reply:
    file = index.store.files.get(found["name"].removesuffix(".metadata"))
    if file is None or file.sha256 != found["sha256"]:
        return _problem(call, 404, "")
    path = file.metadata_path if found["name"].endswith(".metadata") else file.path
    return Reply(body=path.read_bytes(), content_type="application/octet-stream")


def _provenance(index: LocalIndex, call: Call, found: re.Match[str]) -> Reply:
    file = index.store.files.get(found["name"])
    if file is None or file.provenance is None:
        return _json({"message": f"No provenance available for {found['name']}"}, status=404)
    return _json(file.provenance, content_type="application/vnd.pypi.integrity.v1+json")


def _release(index: LocalIndex, call: Call, found: re.Match[str]) -> Reply:
    files = [file for file in index.store.of_project(found["project"]) if file.version == found["version"]]
    if not files:
        return _problem(call, 404, "")
    return Reply(body=release_page(files, found["project"], found["version"]))


# --- for tests in other processes -----------------------------------------------------------------------------------


def _log(index: LocalIndex, call: Call, found: re.Match[str]) -> Reply:
    return _json([entry.as_json() for entry in index.requests])


_Page = Callable[["LocalIndex", Call, re.Match[str]], Reply]
_ROUTES: Final[tuple[tuple[str, str, _Page], ...]] = (
    ("GET", r"/issuer/(?P<name>github|gitlab)/(?P<page>\.well-known/openid-configuration|jwks)", _issuer_page),
    ("GET", r"/issuer/github/token/(?P<grant>[0-9a-f]+)", _identity_token),
    ("GET", r"/_/oidc/audience", _audience),
    ("POST", r"/_/oidc/mint-token", _mint),
    ("POST", r"/_/oidc/burn-token", _burn),
    ("POST", r"/api/v2/signingCert", _certificate),
    ("POST", r"/api/v1/log/entries", _log_entry),
    ("POST", r"/legacy/", _upload),
    ("GET", r"/simple/", _simple_root),
    ("GET", r"/simple/(?P<project>[^/]+)/?", _simple),
    ("GET", r"/files/(?P<sha256>[0-9a-f]{64})/(?P<name>[^/]+)", _file),
    ("GET", r"/integrity/(?P<project>[^/]+)/(?P<version>[^/]+)/(?P<name>[^/]+)/provenance", _provenance),
    ("GET", r"/project/(?P<project>[^/]+)/(?P<version>[^/]+)/", _release),
    ("GET", r"/-/requests", _log),
)
