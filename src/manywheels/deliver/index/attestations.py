"""Attestations for an upload (PEP 740), signed with the CI job's identity, by one certificate.

The digests of preflight are signed; no file is read here. The attestations are verified before they are returned.
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
_PARALLEL: Final = 4  # requests to the log
_TIMEOUT: Final = (10.0, 30.0)  # seconds: to connect, and between two bytes
_LIMIT: Final = 180.0  # seconds for a call with retries, and for the roots of trust
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
    """Attestations as JSON, by file; `warning` says why expected ones are missing."""

    attestations: Mapping[Path, str] = field(default_factory=dict)
    warning: str = ""


def wanted(*, choice: bool | None, trusted: bool, known: bool, environment: Mapping[str, str] = os.environ) -> bool:
    """Follow `choice`; if it is None, sign with trusted publishing to a `known` index.

    That is done only on GitHub, and on gitlab.com with SIGSTORE_ID_TOKEN. Raises AttestationsUnavailable if `choice`
    is true without trusted publishing.
    """
    if choice and not trusted:
        raise AttestationsUnavailable(
            "`attestations: true` is set, but the upload uses an API token.",
            remedy="The index accepts attestations from trusted publishers only: register one, or remove the input.",
        )
    if choice is not None:
        return choice
    return trusted and known and _signs_by_itself(environment)


def _signs_by_itself(environment: Mapping[str, str]) -> bool:
    if environment.get("GITLAB_CI") == "true":
        return environment.get("CI_SERVER_HOST") == "gitlab.com" and bool(environment.get("SIGSTORE_ID_TOKEN"))
    return environment.get("GITHUB_ACTIONS") == "true"


def attest(files: Mapping[Path, str], identity: Identity, *, demanded: bool = False) -> Signed:
    """Sign `files` (paths to their sha256 in hex); `demanded` is for `attestations: true`.

    Raises AttestationExists, NoSigningIdentity, SigningFailed. In a reusable workflow, raises AttestationsUnavailable
    if demanded, else returns a warning.
    """
    require_none(tuple(files))
    token = _token(identity)
    fault = _reusable_workflow_fault(token)
    if fault and demanded:
        raise AttestationsUnavailable(
            fault, remedy="Publish from the workflow that is registered as the publisher, or without attestations."
        )
    if fault or not files:
        return Signed(warning=fault)
    try:
        return Signed(attestations=_sign_all(files, token, _load_trust(identity), identity.retries))
    except ManywheelsError:
        raise
    except Exception as error:  # noqa: BLE001 - clients' errors, some of sigstore's internal modules
        raise SigningFailed(
            f"Sigstore did not sign: {identity.secrets.redact(_reason(error))}.",
            remedy=f"Run the job again when Sigstore is up, or publish {_WITHOUT}. Nothing has been uploaded.",
        ) from None


def _load_trust(identity: Identity) -> ClientTrustConfig:
    """Load the roots of trust within a time limit, as the update client has no overall deadline."""
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
    """The upload's field is a JSON array."""
    return f"[{attestation}]"


def require_none(files: Sequence[Path]) -> None:
    """Raises AttestationExists if there is one beside a file."""
    present = [path.name for path in map(signatures.beside, files) if path.exists()]
    if present:
        raise AttestationExists(
            f"There are attestations already: {', '.join(sorted(present))}.",
            remedy="They may be of another run or for another index. Move them away, and publish again; "
            f"{_WITHOUT} they are ignored.",
        )


def keep(signed: Signed) -> tuple[Path, ...]:
    """Write each attestation beside its file, with its owner. None is overwritten.

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
                path.unlink()  # a partial one would block the next run
            raise AttestationNotKept(
                f"`{path}` cannot be written: {fault.strerror}.",
                remedy="Free disk space, or leave `keep-attestations` out.",
            ) from None
        paths.append(path)
    return tuple(paths)


def _token(identity: Identity) -> str:
    from id import AmbientCredentialError

    try:
        token = identity.token(_AUDIENCE)
    except AmbientCredentialError as fault:
        reason = identity.secrets.redact(str(fault))
        raise NoSigningIdentity(f"The CI gives no identity to sign with: {reason}.", remedy=_HOW_TO_IDENTIFY) from None
    if token is None:
        raise NoSigningIdentity("There is no CI here whose identity could sign.", remedy=_HOW_TO_IDENTIFY)
    return token


def _reusable_workflow_fault(token: str) -> str:
    """Return why a reusable workflow cannot sign; empty outside of one.

    The certificate names the calling workflow, the index's publisher is the called one.
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

    config.force_tlog_version = 1  # version 2 proves time by timestamps, for which PEP 740 has no field
    fulcio = config.signing_config.get_fulcio()
    log: Any = config.signing_config.get_tlogs()[0]
    _mount_adapter(fulcio.session, retries)
    verifier = Verifier(trusted_root=config.trusted_root)
    context = SigningContext(fulcio=fulcio, rekor=log, trusted_root=config.trusted_root)
    with context.signer(IdentityToken(token)) as signer:

        def sign(path: Path) -> str:
            attestation = _sign(signer, path.name, files[path])
            signatures.check(attestation, path.name, files[path], verifier)
            return attestation.model_dump_json()

        # The log's client has a session for each thread.
        prepare: Callable[[], None] = lambda: _mount_adapter(log.log.session, retries)  # noqa: E731
        with ThreadPoolExecutor(min(_PARALLEL, len(files)), initializer=prepare) as pool:
            return dict(zip(files, pool.map(sign, files), strict=True))


def _sign(signer: Signer, name: str, sha256: str) -> Attestation:
    from pypi_attestations import Attestation, Distribution

    file = Distribution(name=name, digest=sha256)
    try:
        return Attestation.sign(signer, file)
    except Exception as fault:
        if not _reason(fault).startswith(_CONFLICT):
            raise
        # The log has it, but the response was lost; another signature is another entry.
        return Attestation.sign(signer, file)


def _mount_adapter(session: requests.Session, retries: RetryPolicy) -> None:
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
    text = str(fault).strip()
    cause = fault.__cause__ or fault.__context__
    if text or cause is None:
        return (text or type(fault).__name__).removesuffix(".")
    return _reason(cause)
