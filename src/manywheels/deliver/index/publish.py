"""The command: look at everything, tell what was found, send what is missing, say where each file stands."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from manywheels.core import text
from manywheels.core.cancellation import Cancellation
from manywheels.core.interruptible import until_stopped
from manywheels.core.markdown import LIMIT
from manywheels.core.printing import say
from manywheels.core.retry import RealClock
from manywheels.data import table
from manywheels.deliver.index import attestations, preflight
from manywheels.deliver.index.attestations import Signed
from manywheels.deliver.index.confirm import confirm
from manywheels.deliver.index.distributions import Distribution
from manywheels.deliver.index.http import Requests
from manywheels.deliver.index.identity import Identity, Secrets
from manywheels.deliver.index.ledger import Ledger, LedgerEntry, UploadState, as_markdown
from manywheels.deliver.index.pauses import RetrySchedule
from manywheels.deliver.index.preflight import Preflight, Wanted
from manywheels.deliver.index.progress import progress
from manywheels.deliver.index.simple_api import Addresses, Index, Presence, addresses
from manywheels.deliver.index.trusted import USER, ApiToken, Credentials, TrustedPublisher
from manywheels.deliver.index.upload import Extra, Sender, UploadContext
from manywheels.errors import (
    EXIT_OK,
    ContentConflict,
    DeliveryError,
    InputError,
    PreflightFailed,
    TooLittleTime,
    UnsafeAddress,
    UploadIncomplete,
)
from manywheels.plan.delivery_options import PublishOptions, resolve_delivery, resolve_publishing
from manywheels.plan.inputs import Value
from manywheels.plan.settings import Settings
from manywheels.plan.trust import in_ci, require_places
from manywheels.verify.model import Problem
from manywheels.verify.rules import Rules

_OF_PYPI: Final = "PYPI_TOKEN"
_OF_TWINE: Final = "TWINE_PASSWORD"
_INTENTS: Final = {
    Presence.SAME: "is there already, identical",
    Presence.OTHER: "is there with other content",
    Presence.ABSENT: "will be uploaded",
    Presence.UNTOLD: "is there, the index does not say with which content",
    Presence.SILENT: "will be uploaded; the index does not say whether it is there",
}


def run(
    settings: Settings,
    cancellation: Cancellation,
    environment: Mapping[str, str] = os.environ,
    *,
    rules: Rules | None = None,
) -> int:
    """Publish a folder as the inputs say; return 0 when the index has every file, or when `dry-run` found no problem.

    The ledger is in the folder whatever happens after the preflight. Raises ManywheelsError.
    """
    options = resolve_publishing(settings)
    where = addresses(options.repository)
    _require_trusted(settings.value("repository-url"), where, environment)
    require_places(settings, environment)
    secrets = Secrets(environment=environment)
    api_token = _api_token(options, settings, environment)
    wanted = Wanted(
        folder=options.packages_dir,
        digests=resolve_delivery(settings).manifest_digests,
        verify=options.verify_metadata,
        rules=rules or Rules(),
        skip_existing=options.skip_existing,
    )
    with Requests(cancellation) as transport, secrets.kept_out():
        pauses = RetrySchedule(RealClock(cancellation), cancellation)
        identity = Identity(pauses=pauses, secrets=secrets, environment=environment)
        # Private indexes want credentials for reading, too; the known ones do not.
        reading = api_token.current() if api_token and where.web is None else None
        line = UploadContext(
            transport=transport,
            index=Index(where, transport, pauses, reading),
            credentials=api_token or TrustedPublisher(where.upload, transport, identity),
            pauses=pauses,
            secrets=secrets,
            cancellation=cancellation,
        )
        if api_token:
            _warn_of(api_token, secrets)
        elif where != addresses("pypi") and environment.get(_OF_PYPI):
            say(f"warning: {_OF_PYPI} is for `pypi` and is not used here; give other tokens in MANYWHEELS_PASSWORD")
        found = until_stopped(lambda: preflight.look(wanted, line.index, cancellation=cancellation), cancellation)
        _tell(found, options, where)
        _publish(line, found, options, identity)
    return EXIT_OK


def _require_trusted(repository: Value, where: Addresses, environment: Mapping[str, str]) -> None:
    """Raise UnsafeAddress where the project's own files lead a CI job's tokens to an index that is not known."""
    if in_ci(environment) and repository.is_projects and where.web is None:
        raise UnsafeAddress(
            f"{repository.origin}: in a CI job, only the workflow says which index gets its tokens.",
            remedy="Give `repository-url` as the job's input: a pull request can change pyproject.toml.",
        )


def _publish(line: UploadContext, found: Preflight, options: PublishOptions, identity: Identity) -> None:
    """Send what is missing of what was found, or say that it would be sent."""
    where, environment = line.index.addresses, identity.environment
    refusal = until_stopped(lambda: _authority(found, line.credentials), line.cancellation)
    signs = attestations.wanted(
        choice=options.attestations,
        trusted=isinstance(line.credentials, TrustedPublisher),
        known=where.web is not None,
        environment=environment,
    )
    if options.dry_run:
        _require_none(found.problems)
        if signs:
            attestations.require_none([file.path for file in found.to_send])
        told = [f"warning: {identity.secrets.cleaned(refusal.message)}"] if refusal else []
        say(*told, "Nothing was sent (dry run).")
        return
    ledger = Ledger(options.packages_dir, where.upload, first_entries(found.files, found.presence))
    try:
        _refuse(found, refusal)
        signed = Signed()
        if signs:
            signed = until_stopped(lambda: _attest(found.to_send, options, identity), line.cancellation)
        try:
            with progress(found.to_send, verbose=options.verbose) as shown:
                Sender(line, ledger, shown, _as_extra(signed)).send(found.to_send)
        finally:
            if options.keep_attestations:
                _keep(signed, ledger)
    finally:
        _tell_states(ledger, environment)
    _require_all(ledger)
    _tell_pages(found, where)
    if options.confirm is not None:
        seen = confirm(found.files, line.index, line.transport, line.pauses, options.confirm)
        say(f"Confirmed: {seen}.")


def _warn_of(token: ApiToken, secrets: Secrets) -> None:
    secrets.keep(token.password)
    if token.user == USER:
        say("warning: an API token is used; trusted publishing needs none that could be stolen (docs/publish.md)")


def _api_token(options: PublishOptions, settings: Settings, environment: Mapping[str, str]) -> ApiToken | None:
    """Return the user and password that were given, as an input or in the environment; None for trusted publishing.

    The variable that is named after PyPI holds a token of PyPI's: no other index gets it.
    """
    source, user = str(settings.value("password").origin), options.user or USER
    password = options.password
    if not password.strip():
        names = [_OF_PYPI, _OF_TWINE] if addresses(options.repository) == addresses("pypi") else [_OF_TWINE]
        source = next((name for name in names if environment.get(name, "").strip()), "")
        password = environment.get(source, "")
        if source == _OF_TWINE and settings.value("user").is_default:
            user = environment.get("TWINE_USERNAME") or USER
    password = password.strip()
    if not password:
        return None
    if not password.isprintable():
        raise InputError(
            f"The password from {source} holds control characters.",
            remedy="Copy the token again, alone and on one line.",
        )
    return ApiToken(user=user, password=password)


def _authority(found: Preflight, credentials: Credentials) -> DeliveryError | None:
    """Return what would keep the credentials from working, as far as it can be seen without spending them."""
    if not isinstance(credentials, TrustedPublisher) or not found.to_send:
        return None
    try:
        credentials.identify()
        if not credentials.renewable:
            _require_time(found.to_send)
    except DeliveryError as error:
        return error
    return None


def _require_time(files: Iterable[Distribution]) -> None:
    """Raise TooLittleTime where the one token that there will be ends before the files can be sent."""
    facts = table("publish")
    token, sizes = facts["token"], [file.size for file in files]
    needed = sum(sizes) / token["rate"] + len(sizes) * token["per-file"] / facts["parallel"]
    limit = token["lifetime"] - token["spare"]
    if needed > limit:
        raise TooLittleTime(
            f"{len(sizes)} files with {text.size(sum(sizes))} need about {text.duration(needed)}; this CI's identity "
            f"gives one upload token, for {text.duration(token['lifetime'])}.",
            remedy="Give an API token in the variable MANYWHEELS_PASSWORD. Or publish from several jobs, each with a "
            "token of its own and a part of the files, without the manifest, in a folder of its own.",
        )


def _attest(files: Iterable[Distribution], options: PublishOptions, identity: Identity) -> Signed:
    """Sign the files that will be sent. Raises DeliveryError."""
    digests = {file.path: file.sha256 for file in files}
    signed = attestations.attest(digests, identity, demanded=options.attestations is True)
    if signed.warning:
        say(f"warning: {signed.warning}")
    return signed


def _keep(signed: Signed, ledger: Ledger) -> None:
    """Keep the attestations that the index has with their files: others would be in the way of the next run."""
    there = {entry.name for entry in ledger.entries if entry.state.is_there}
    kept = {path: attestation for path, attestation in signed.attestations.items() if path.name in there}
    attestations.keep(Signed(attestations=kept))


def _as_extra(signed: Signed) -> Extra:
    """Return what attestations add to the forms of their files."""
    return {
        path.name: (("attestations", attestations.form_field(attestation)),)
        for path, attestation in signed.attestations.items()
    }


_AT_FIRST: Final[Mapping[Presence, tuple[UploadState, str]]] = {
    Presence.SAME: (UploadState.IDENTICAL, ""),
    Presence.OTHER: (UploadState.CONFLICT, "the index has other content under this name"),
    Presence.ABSENT: (UploadState.NOT_SENT, ""),
    Presence.UNTOLD: (UploadState.UNKNOWN, "the index has a file of this name, and does not say which"),
    Presence.SILENT: (UploadState.UNKNOWN, "the index does not say whether it has it"),
}


def first_entries(files: Iterable[Distribution], presence: Mapping[str, Presence]) -> Iterable[LedgerEntry]:
    """Yield where each file stands before anything is sent."""
    for file in files:
        state, reason = _AT_FIRST[presence[file.name]]
        yield LedgerEntry(name=file.name, size=file.size, sha256=file.sha256, state=state, reason=reason)


def _require_none(problems: Iterable[Problem]) -> None:
    """Raise one error for all problems: ContentConflict if they are nothing else, or PreflightFailed."""
    problems = tuple(problems)
    if not problems:
        return
    count = f"{len(problems)} problem{'s' * (len(problems) != 1)}"
    lines = [f"{count} found before the first byte was sent; nothing was uploaded:"]
    for problem in problems:
        lines += [" ".join(filter(None, (problem.member, problem.message))), f"    {problem.remedy}"]
    message = "\n".join(lines)
    if all(problem.message == preflight.CONFLICT for problem in problems):
        raise ContentConflict(message, remedy="Raise the version: what is on the index cannot be replaced.")
    raise PreflightFailed(message, remedy="Mend all of them, then publish again.")


def _refuse(found: Preflight, refusal: DeliveryError | None) -> None:
    """Raise what was found; all of it together where there is more than one thing."""
    if refusal and not found.problems:
        raise refusal
    also = [Problem(message=refusal.message, remedy=refusal.remedy)] if refusal else []
    _require_none([*found.problems, *also])


def _require_all(ledger: Ledger) -> None:
    missing = [entry for entry in ledger.entries if not entry.state.is_there]
    if not missing:
        return
    count, total = len(missing), len(ledger.entries)
    lines = [f"Not all files are known to be on the index: {count} of {total}."]
    lines += [f"{entry.name}: {entry.state}" + (f" ({entry.reason})" if entry.reason else "") for entry in missing]
    if any(entry.state is UploadState.CONFLICT for entry in missing):
        raise ContentConflict("\n".join(lines), remedy="Raise the version: what is on the index cannot be replaced.")
    raise UploadIncomplete(
        "\n".join(lines), remedy="Publish the same files again: what is there already is passed over, the rest is sent."
    )


def _tell_states(ledger: Ledger, environment: Mapping[str, str]) -> None:
    """Say where everything stands, in GitHub's summary of the job too."""
    states = [entry.state for entry in ledger.entries]
    counts = ", ".join(f"{states.count(state)} {state}" for state in UploadState if state in states)
    say(f"{counts}; {ledger.path}")
    if file := environment.get("GITHUB_STEP_SUMMARY"):
        with Path(file).open("a", encoding="utf-8") as summary:
            room = LIMIT - summary.tell()  # of what the runner takes of a step
            summary.write(f"### Published: {counts}\n\n{as_markdown(ledger.entries, room)}\n")


def _tell_pages(found: Preflight, where: Addresses) -> None:
    for project, version in dict.fromkeys((file.project, file.version) for file in found.files):
        if page := where.release_page(project, version):
            say(f"{project} {version}: {page}")


def _tell(found: Preflight, options: PublishOptions, where: Addresses) -> None:
    """Print what will be done with each file, and the warnings."""
    say(f"{len(found.files)} files of `{options.packages_dir}` for {where.upload}:")
    for file in found.files:
        say(f"  {file.name} ({text.size(file.size)}): {_INTENTS[found.presence[file.name]]}")
        if options.print_hash or options.verbose:
            say(*(f"    {name} {value}" for name, value in file.fields if name.endswith("_digest")))
    say(*(f"warning: {warning}" for warning in found.warnings))
