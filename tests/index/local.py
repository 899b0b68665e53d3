"""The index of one test, started and stopped with it."""

from __future__ import annotations

import ssl
import tempfile
import threading
import uuid
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from packaging.utils import canonicalize_name
from sigstore.models import ClientTrustConfig
from sigstore.verify import Verifier
from twine import utils as twine_utils

from index import pages
from index.faults import Fault, Script
from index.form import read_form
from index.fulcio import authority
from index.issuer import Claims, Grant, Issuer, github_claims, gitlab_claims
from index.minting import Mint, Publisher
from index.rekor import Log
from index.server import Call, Logged, Reply, Server, start
from index.settings import Settings
from index.sigstore_config import trust_config
from index.store import Store, StoredFile
from index.tls import make_certificates

_GITHUB_TOKEN_LIFETIME = 300.0
_GITLAB_TOKEN_LIFETIME = 3600.0


class LocalIndex:
    """A package index on this machine; see the package's docstring. Leaving its context stops it and removes its files.

    `host` is where it listens, `public_host` what clients call it (a container's name for this machine, say).
    """

    def __init__(
        self,
        *,
        tls: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        public_host: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="manywheels-index-", ignore_cleanup_errors=True)
        self._folder_path = Path(self._folder.name)
        self._log_lock = threading.Lock()
        self._requests: list[Logged] = []
        self._names = {public_host or host, host, "localhost"}
        self.settings = settings or Settings()
        self.faults = Script()
        self.grants: dict[str, Grant] = {}
        self.store = Store(folder=self._folder_path, settings=self.settings)
        self._server = Server((host, port), self, self.tls_context if tls else None)
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://{public_host or host}:{self._server.server_address[1]}"
        lifetimes = {"github": _GITHUB_TOKEN_LIFETIME, "gitlab": _GITLAB_TOKEN_LIFETIME}
        self.issuers = {
            name: Issuer(name=name, url=f"{self.url}/issuer/{name}", lifetime=lifetime)
            for name, lifetime in lifetimes.items()
        }
        self.mint = Mint(self.issuers, self.settings)
        self.log_of_signatures = Log()

    def __enter__(self) -> Self:
        start(self._server)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._server.connections):
            with suppress(OSError):
                connection.close()
        self._folder.cleanup()

    # --- addresses --------------------------------------------------------------------------------------------------

    @property
    def upload_url(self) -> str:
        return f"{self.url}/legacy/"

    @property
    def simple_url(self) -> str:
        return f"{self.url}/simple/"

    def release_url(self, project: str, version: str) -> str:
        return f"{self.url}/project/{project}/{version}/"

    @cached_property
    def _certificates(self) -> tuple[Path, ssl.SSLContext]:
        known = {urlsplit(url).hostname or "" for url in (twine_utils.DEFAULT_REPOSITORY, twine_utils.TEST_REPOSITORY)}
        bare = {host.removeprefix("upload.") for host in known}
        return make_certificates(self._folder_path, sorted(self._names | known | bare))

    @property
    def authority(self) -> Path:
        """The certificate of the authority that clients must trust to talk to this index through TLS."""
        return self._certificates[0]

    @property
    def tls_context(self) -> ssl.SSLContext:
        """What the server speaks TLS with, of its own or as a proxy."""
        return self._certificates[1]

    # --- environments of clients ------------------------------------------------------------------------------------

    def tls_environment(self) -> dict[str, str]:
        """Return the variables that make pip, twine, uv and requests trust this index's certificate."""
        path = str(self.authority)
        names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
        return dict.fromkeys(names, path)

    def proxy_environment(self) -> dict[str, str]:
        """Return the variables that send every https request here, whatever host it is for: also the known indexes'."""
        if self.url.startswith("https:"):
            raise ValueError("only an index without tls is a proxy")
        names = ("HTTPS_PROXY", "https_proxy")
        return self.tls_environment() | dict.fromkeys(names, self.url) | {"NO_PROXY": "", "no_proxy": ""}

    def github_environment(self, **claims: Any) -> dict[str, str]:
        """Return the variables of a GitHub job with `id-token: write`; arguments are those of `github_claims`."""
        said = github_claims(**claims)
        grant = Grant(claims=said)
        self.grants[grant.name] = grant
        return {
            "CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": said["repository"],
            "GITHUB_REPOSITORY_OWNER": said["repository_owner"], "GITHUB_REF": said["ref"], "GITHUB_SHA": said["sha"],
            "GITHUB_EVENT_NAME": said["event_name"], "GITHUB_WORKFLOW_REF": said["workflow_ref"],
            "GITHUB_RUN_ID": said["run_id"],
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.issuers['github'].url}/token/{grant.name}?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": grant.bearer,
        }  # fmt: skip

    def gitlab_environment(
        self, *, sigstore: bool = False, lifetime: float | None = None, **claims: Any
    ) -> dict[str, str]:
        """Return the variables of a GitLab job with `id_tokens`; other arguments are those of `gitlab_claims`."""
        issuer = self.issuers["gitlab"]
        said = gitlab_claims(issuer, **claims)
        audience = self.settings.audience
        tokens = {f"{audience.upper()}_ID_TOKEN": issuer.issue(said, audience=audience, lifetime=lifetime)}
        if sigstore:
            tokens["SIGSTORE_ID_TOKEN"] = issuer.issue(said, audience="sigstore", lifetime=lifetime)
        return {
            "CI": "true", "GITLAB_CI": "true", "CI_SERVER_URL": issuer.url, "CI_PROJECT_PATH": said["project_path"],
            "CI_COMMIT_SHA": said["sha"], "CI_COMMIT_REF_NAME": said["ref"],
        } | tokens  # fmt: skip

    def identity_token(
        self, issuer: str = "github", *, audience: str | None = None, claims: Claims | None = None
    ) -> str:
        """Return a token of `github` or `gitlab` for whatever audience."""
        usual = github_claims() if issuer == "github" else gitlab_claims(self.issuers["gitlab"])
        return self.issuers[issuer].issue(usual | dict(claims or {}), audience=audience or self.settings.audience)

    # --- signing ----------------------------------------------------------------------------------------------------

    @cached_property
    def trust_config(self) -> Path:
        """The file that makes clients of Sigstore ask this index for certificates and log entries, and trust it."""
        path = self._folder_path / "trust-config.json"
        path.write_text(trust_config(self.url, authority(), self.log_of_signatures), "utf-8")
        return path

    def verify_attestations(self) -> None:
        """From now on, refuse uploads with attestations that their publisher has not signed."""
        config = ClientTrustConfig.from_json(self.trust_config.read_text("utf-8"))
        self.settings.verifier = Verifier(trusted_root=config.trusted_root)

    # --- what the index knows ---------------------------------------------------------------------------------------

    def trust(self, *publishers: Publisher) -> None:
        """Let these publish. A project that is not pending is made, as an index asks for it."""
        self.mint.publishers += publishers
        self.mint.projects |= {canonicalize_name(known.project) for known in publishers if not known.pending}

    def api_token(self, *projects: str) -> str:
        """Return a new API token for these projects, or for all."""
        return self.mint.api_token(*projects)

    def files(self) -> dict[str, StoredFile]:
        """Return what is stored, by file name."""
        with self.store.lock:
            return dict(self.store.files)

    def delete(self, filename: str) -> None:
        """Delete a file; its name cannot be used again."""
        self.store.delete(filename)

    def put_in_state(self, project: str, state: str) -> None:
        """Make a project `archived`, `quarantined` or `active`."""
        self.mint.projects.add(canonicalize_name(project))
        self.store.states[canonicalize_name(project)] = state

    def age(self, project: str, version: str, *, days: float) -> None:
        """Make a release so many days older."""
        self.store.age(project, version, days * 86_400)

    def fail(self, *faults: Fault) -> None:
        """Let something go wrong with requests to come."""
        self.faults.add(*faults)

    @property
    def requests(self) -> Sequence[Logged]:
        """Every request so far, in the order in which they came."""
        with self._log_lock:
            return tuple(self._requests)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._server.connections)

    def forget(self) -> None:
        """Empty the log of requests."""
        with self._log_lock:
            self._requests.clear()

    # --- what the server calls --------------------------------------------------------------------------------------

    def log(self, logged: Logged) -> None:
        with self._log_lock:
            self._requests.append(logged)

    def receive(self, call: Call) -> None:
        """Read a request's body: an upload's file to disk, anything else into the log."""
        content_type = call.logged.headers.get("content-type", "")
        if content_type.startswith("multipart/"):
            call.spool = self._folder_path / f"spool-{uuid.uuid4().hex}"
            call.form = read_form(call.body, content_type, call.spool, self.settings.max_file_size)
            call.logged.fields = call.form.fields
            call.logged.file = call.form.upload.filename if call.form.upload else ""
            call.new_release = self.store.new_release(call.form.first("name"), call.form.first("version"))
        else:
            call.logged.body = call.body.read_all()

    def answer(self, call: Call) -> Reply:
        """Carry out a request, and return what to answer."""
        return pages.answer(self, call)
