"""A package index on this machine, for tests: what the real one does as seen by its clients, and faults on demand.

    with LocalIndex() as index:                       # http://127.0.0.1:<port>; LocalIndex(tls=True) for https
        index.trust(GitHubPublisher(project="demo"))  # octo/demo, release.yml, any environment
        environment = index.github_environment()      # a job's variables: identity tokens come from this index, too
        ...                                           # run a client with index.upload_url
        assert index.files()["demo-1.0.tar.gz"].sha256 == ...

**Addresses.** `upload_url` (`/legacy/`), `simple_url` (`/simple/`, JSON and HTML, PEP 503/658/691/700),
`release_url(project, version)`, `/_/oidc/audience`, `/_/oidc/mint-token`,
`/_/oidc/burn-token` (since summer 2026: gives a minted token back; 202), `/integrity/…/provenance`, the issuers'
`/issuer/{github,gitlab}` with discovery document and keys. uv insists on https for trusted publishing, and twine
publishes so to the known indexes only. Therefore `LocalIndex(tls=True)` with `tls_environment()`, and, for clients
that insist on a certain host, `proxy_environment()`: with it all https requests of pip, twine, uv and requests end
here, under a certificate of the test's own authority.

**Who may upload.** `api_token(*projects)`; `trust(GitHubPublisher(…), GitLabPublisher(…))`, also `pending=True` ones.
Jobs: `github_environment(repository=, workflow=, ref=, environment=, event_name=, called_workflow=)`,
`gitlab_environment(project_path=, workflow=, ref=, environment=, sigstore=, lifetime=)`; `identity_token("gitlab",
audience=, claims=)` for single tokens. Tokens are real RS256 JWTs. The mint checks signature, issuer, audience,
expiry and claims, spends each `jti` before it mints, and answers every error code that there is.

**Rules of uploads.** As the real index's, in its words: fields that are `UNKNOWN` are dropped; the same content again
200; other content 400 "File already exists"; a deleted name (`delete(filename)`) 400; a release too old (`age(project,
version, days=15)`) 400; a file or project too large 400; metadata, digests, file names, platform tags, archives,
names of new projects; `put_in_state(project, "archived")` 403; two uploads that begin a release at once: one 500;
attestations only with trusted publishing, verified where `settings.verifier` is set.

**Settings** (`index.settings`, may be changed while it runs): `token_lifetime`, `max_file_size`, `max_project_size`,
`max_release_age`, `lag` (the simple page shows a new file only after so many requests), `lies` (file name: a wrong
sha256 in the simple page), `audience`, `audience_off`, `issuers_off` (`not-enabled`), `clock`.

**Faults.** `index.fail(Fault(action, method=, path=, file=, skip=, times=))`; globs; the first that matches takes the
request:

    index.fail(Fault(too_many("2"), path="/legacy/"))                      # 429 with Retry-After, once
    index.fail(Fault(Answer(status=503), path="/legacy/", times=3))
    index.fail(Fault(Drop(after=True), file="demo-1.0-cp312-*"))           # stored, but the answer is lost
    index.fail(Fault(Drop(received=10_000), path="/legacy/"))              # cut off in the middle
    index.fail(Fault(Answer(status=502, after=True), path="*/mint-token"))  # the identity token is spent
    index.fail(Fault(Answer(status=200, body=b"{"), path="*/mint-token"))   # no JSON
    index.fail(Fault(redirect(other.upload_url), path="/legacy/"))         # `other` is a second LocalIndex
    index.fail(Fault(Delay(0.5), path="/simple/*", times=None))

**The log.** `index.requests` has every request, secrets included: `method`, `path`, `query`, `headers`, `host`,
`user`, `password`, `authorization`, `body`, `fields` and `file` of uploads, `status` (0: none was given), `received`
bytes. `forget()` empties it.

**Signing.** The index is a Sigstore, too: a certificate authority (`/api/v2/signingCert`) and a transparency log
(`/api/v1/log/entries`), which sigstore's own client takes for real once it is told to trust them: give the program
`MANYWHEELS_TRUST_CONFIG=<index.trust_config>`. `verify_attestations()` makes the index as strict as the real one about
signatures; `index.signing.sign` makes an attestation with nothing of ours.

**Clients.** `index.clients` runs twine, uv and pip with nothing of this machine's settings.

`python -m index` runs one as a program: see `index.__main__`. `LocalIndex(host="0.0.0.0", public_host=…)` serves
containers.
"""

from index.faults import Answer, Delay, Drop, Fault, redirect, too_many
from index.issuer import github_claims, gitlab_claims
from index.local import LocalIndex
from index.minting import GitHubPublisher, GitLabPublisher
from index.server import Logged
from index.settings import Settings
from index.store import StoredFile

__all__ = [
    "Answer",
    "Delay",
    "Drop",
    "Fault",
    "GitHubPublisher",
    "GitLabPublisher",
    "LocalIndex",
    "Logged",
    "Settings",
    "StoredFile",
    "github_claims",
    "gitlab_claims",
    "redirect",
    "too_many",
]
