"""Attestations for an upload (PEP 740): each file is signed with the identity of the CI job that publishes it.

One certificate serves for all files: it takes one call of Sigstore's authority, and one of its log for each file.
What is signed is the digest that preflight looked at, so no file is read here. The results are checked before they
are handed out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from manywheels.core.files import chown
from manywheels.core.interruptible import within
from manywheels.core.retry import RetryPolicy
from manywheels.deliver.index.claims import read_claims, reusable_workflow
from manywheels.deliver.index.identity import Identity
from manywheels.errors import (
    AttestationExists,
    AttestationNotKept,
    AttestationsUnavailable,
    ManywheelsError,
    NoSigningIdentity,
    SigningFailed,
)
from manywheels.verify import signatures

if TYPE_CHECKING:
    import requests
    from pypi_attestations import Attestation
    from sigstore.models import ClientTrustConfig
    from sigstore.sign import Signer

_AUDIENCE: Final = "sigstore"
_AT_ONCE: Final = 4  # entries of the log
_TIMEOUT: Final = (10.0, 30.0)  # seconds: to connect, and between two bytes
_LIMIT: Final = 180.0  # seconds for a call with its retries, and for the roots of trust
_ATTEMPTS: Final = 5  # of each call
_FIRST_PAUSE: Final = 0.5  # seconds
_LONGEST_PAUSE: Final = 10.0
_CONFLICT: Final = "409"
_WITHOUT: Final = "without attestations (`attestations: false`)"
_HOW_TO_IDENTIFY: Final = (
    "On GitHub the job needs `permissions: id-token: write`; on GitLab `id_tokens:` with "
    f"`SIGSTORE_ID_TOKEN: {{aud: sigstore}}`; {_WITHOUT} it needs neither."
)


@dataclass(frozen=True, kw_only=True)
class Signed:
    """Attestations as JSON, by file; `warning` says why there are none where they could have been expected."""

    attestations: Mapping[Path, str] = field(default_factory=dict)
    warning: str = ""


def wanted(*, choice: bool | None, trusted: bool, known: bool, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether to sign. `choice` None is automatic; `known` tells that the index is known to take attestations.

    Automatic is yes with trusted publishing to a known index: on GitHub, and on GitLab's own instance where the job
    has a SIGSTORE_ID_TOKEN. Raises AttestationsUnavailable for a yes without trusted publishing.
    """
    if choice and not trusted:
        raise AttestationsUnavailable(
            "`attestations: true` is set, but the upload is authorised by an API token.",
            remedy="The index takes attestations from trusted publishers only: register one, or leave the input out.",
        )
    if choice is not None:
        return choice
    return trusted and known and _signs_by_itself(environment)


def _signs_by_itself(environment: Mapping[str, str]) -> bool:
    if environment.get("GITLAB_CI") == "true":
        return environment.get("CI_SERVER_HOST") == "gitlab.com" and bool(environment.get("SIGSTORE_ID_TOKEN"))
    return environment.get("GITHUB_ACTIONS") == "true"


def attest(files: Mapping[Path, str], identity: Identity, *, demanded: bool = False) -> Signed:
    """Sign each of `files`, which maps paths to their sha256 in hex; `demanded` tells that the user said `true`.

    Raises AttestationExists, NoSigningIdentity, SigningFailed; AttestationsUnavailable for a reusable workflow if
    attestations are demanded: otherwise there are none then, with a warning.
    """
    require_none(tuple(files))
    token = _token(identity)
    trap = _calling_trap(token)
    if trap and demanded:
        raise AttestationsUnavailable(
            trap, remedy="Publish from the workflow that is registered as the publisher, or without attestations."
        )
    if trap or not files:
        return Signed(warning=trap)
    try:
        return Signed(attestations=_sign_all(files, token, _load_trust(identity), identity.retries))
    except ManywheelsError:
        raise
    except Exception as fault:  # noqa: BLE001 - the clients' errors, some of modules that sigstore calls internal
        raise SigningFailed(
            f"Sigstore did not sign: {identity.secrets.cleaned(_reason(fault))}.",
            remedy=f"Run the job again when Sigstore answers, or publish {_WITHOUT}. Nothing has been uploaded.",
        ) from None


def _load_trust(identity: Identity) -> ClientTrustConfig:
    """Ask whom to trust, within time: the update client has no clock over all of an answer, but bounds its size."""
    retries = identity.retries
    try:
        return within(
            retries.timeout(_LIMIT),
            lambda: signatures.load_trust(identity.environment, offline=False),
            lambda: retries.cancelled,
        )
    except TimeoutError:
        raise TimeoutError(f"its roots of trust did not come within {_LIMIT:.0f} s") from None


def form_field(attestation: str) -> str:
    """Return the value of an upload's field `attestations`: a JSON array."""
    return f"[{attestation}]"


def require_none(files: Sequence[Path]) -> None:
    """Raise AttestationExists where an attestation lies beside one of the files."""
    present = [path.name for path in map(signatures.beside, files) if path.exists()]
    if present:
        raise AttestationExists(
            f"There are attestations already: {', '.join(sorted(present))}.",
            remedy="They may be of another run or for another index. Move them away, and publish again; "
            f"{_WITHOUT} they stay unused.",
        )


def keep(signed: Signed) -> tuple[Path, ...]:
    """Write each attestation beside its file, whose owner has it, and return their paths; none is ever overwritten.

    Raises AttestationExists and AttestationNotKept.
    """
    paths = []
    for file, attestation in signed.attestations.items():
        path = signatures.beside(file)
        try:
            with path.open("x", encoding="utf-8") as target:
                target.write(attestation)
            status = file.stat()
            chown(path, (status.st_uid, status.st_gid))
        except FileExistsError:
            require_none([file])
        except OSError as fault:
            with suppress(OSError):
                path.unlink()  # a part of one would be in the way of the next run
            raise AttestationNotKept(
                f"`{path}` cannot be written: {fault.strerror}.", remedy="Make room for it, or do not ask to keep it."
            ) from None
        paths.append(path)
    return tuple(paths)


def _token(identity: Identity) -> str:
    from id import AmbientCredentialError

    try:
        token = identity.token(_AUDIENCE)
    except AmbientCredentialError as fault:
        told = identity.secrets.cleaned(str(fault))
        raise NoSigningIdentity(f"The CI gives no identity to sign with: {told}.", remedy=_HOW_TO_IDENTIFY) from None
    if token is None:
        raise NoSigningIdentity("There is no CI here whose identity could sign.", remedy=_HOW_TO_IDENTIFY)
    return token


def _calling_trap(token: str) -> str:
    """Return what is wrong with signing in a reusable workflow, or nothing.

    The certificate names the workflow that was started, the index's publisher is the one that was called.
    """
    call = reusable_workflow(read_claims(token))
    if call is None:
        return ""
    called, caller = call
    return (
        f"The job runs in the reusable workflow {called}, called from {caller}: the index refuses attestations of "
        "such jobs, because they name the calling workflow."
    )


def _sign_all(
    files: Mapping[Path, str], token: str, config: ClientTrustConfig, retries: RetryPolicy
) -> dict[Path, str]:
    from sigstore.oidc import IdentityToken
    from sigstore.sign import SigningContext
    from sigstore.verify import Verifier

    config.force_tlog_version = 1  # entries of version 2 prove their time by timestamps, which PEP 740 has no place for
    fulcio = config.signing_config.get_fulcio()
    log: Any = config.signing_config.get_tlogs()[0]
    _make_patient(fulcio.session, retries)
    verifier = Verifier(trusted_root=config.trusted_root)
    context = SigningContext(fulcio=fulcio, rekor=log, trusted_root=config.trusted_root)
    with context.signer(IdentityToken(token)) as signer:

        def sign(path: Path) -> str:
            attestation = _sign(signer, path.name, files[path])
            signatures.check(attestation, path.name, files[path], verifier)
            return attestation.model_dump_json()

        # The log's client has a session for each thread.
        prepare: Callable[[], None] = lambda: _make_patient(log.log.session, retries)  # noqa: E731
        with ThreadPoolExecutor(min(_AT_ONCE, len(files)), initializer=prepare) as pool:
            return dict(zip(files, pool.map(sign, files), strict=True))


def _sign(signer: Signer, name: str, sha256: str) -> Attestation:
    from pypi_attestations import Attestation, Distribution

    file = Distribution(name=name, digest=sha256)
    try:
        return Attestation.sign(signer, file)
    except Exception as fault:
        if not _reason(fault).startswith(_CONFLICT):
            raise
        # The log has it, but its answer was lost; another signature is another entry.
        return Attestation.sign(signer, file)


def _make_patient(session: requests.Session, retries: RetryPolicy) -> None:
    """Give a session that waits for ever, and never tries again, a clock and retries."""
    from manywheels.core.exchange import Adapter

    adapter = Adapter(
        limit=lambda _: retries.timeout(_LIMIT),
        stopped=lambda: retries.cancelled,
        wait=_TIMEOUT,
        retries=replace(retries, attempts=_ATTEMPTS, first_pause=_FIRST_PAUSE, longest_pause=_LONGEST_PAUSE),
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)


def _reason(fault: BaseException) -> str:
    """Return what a client says, or what made it fail where it says nothing."""
    text = str(fault).strip()
    cause = fault.__cause__ or fault.__context__
    if text or cause is None:
        return (text or type(fault).__name__).removesuffix(".")
    return _reason(cause)
