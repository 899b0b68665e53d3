"""`manywheels publish`: preflight, upload of what is missing, a report on each file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from manywheels.core import text
from manywheels.core.cancellation import Cancellation
from manywheels.core.interruptible import until_stopped
from manywheels.core.markdown import LIMIT
from manywheels.core.printing import say
from manywheels.data import table
from manywheels.deliver.index import attestations
from manywheels.deliver.index.attestations import Signed
from manywheels.deliver.index.confirm import confirm
from manywheels.deliver.index.http import Auth, Requests, index_retries
from manywheels.deliver.index.identity import Identity, Secrets
from manywheels.deliver.index.ledger import Ledger, LedgerEntry, UploadState, as_markdown
from manywheels.deliver.index.notices import show_changes, show_warnings
from manywheels.deliver.index.preflight import CONFLICT, Preflight, Wanted, run_preflight
from manywheels.deliver.index.progress import in_brackets, progress
from manywheels.deliver.index.simple_api import (
    READING_PASSWORD,
    READING_USER,
    Addresses,
    Index,
    Presence,
    addresses,
)
from manywheels.deliver.index.trusted import USER, ApiToken, Credentials, TrustedPublisher
from manywheels.deliver.index.upload import AGAIN, COMPARE, ExtraFields, Sender, UploadContext
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
from manywheels.plan.settings import Settings
from manywheels.plan.trust import in_ci, may_allow_missing, require_places
from manywheels.verify.distributions import Distribution
from manywheels.verify.model import Problem
from manywheels.verify.rules import Rules
from manywheels.wheels.missing import ALLOW

_OF_PYPI: Final = "PYPI_TOKEN"
_OF_TWINE: Final = "TWINE_PASSWORD"
_INTENTS: Final = {
    Presence.SAME: "is there already, identical",
    Presence.OTHER: "is there with other content",
    Presence.ABSENT: "will be uploaded",
    Presence.NO_DIGEST: "is there, and the index lists no digest: not sent again",
    Presence.UNAVAILABLE: "will be uploaded; whether it is there already is not known",
}


def publish(
    settings: Settings,
    cancellation: Cancellation,
    environment: Mapping[str, str] = os.environ,
    *,
    rules: Rules | None = None,
) -> int:
    """Return 0 if the index has every file, or `dry-run` found no problem.

    The ledger is written whatever happens after the preflight. Raises ManywheelsError.
    """
    options = resolve_publishing(settings)
    where = addresses(options.repository, check=options.check_url, rules=options.index_rules)
    _require_trusted(settings, where, environment)
    require_places(settings, environment)
    secrets = Secrets(environment=environment)
    api_token = _api_token(options, settings, environment)
    wanted = Wanted(
        folder=options.packages_dir, digests=resolve_delivery(settings).manifest_digests,
        verify=options.verify_metadata, rules=rules or Rules(), skip_existing=options.skip_existing,
        allow_missing=options.allow_missing and may_allow_missing(settings.value(ALLOW), environment),
    )  # fmt: skip
    with Requests(cancellation) as transport, secrets.redacting_errors():
        retries = index_retries(cancellation)
        identity = Identity(retries=retries, secrets=secrets, environment=environment)
        # Private indexes need credentials for reading, too.
        auth = api_token.current() if api_token and where.web is None else None
        context = UploadContext(
            transport=transport, index=Index(where, transport, retries, auth, _reading(environment, secrets)),
            credentials=api_token or TrustedPublisher(where.upload, transport, identity),
            retries=retries, secrets=secrets, cancellation=cancellation,
        )  # fmt: skip
        if api_token:
            secrets.keep(api_token.password)
        _warn_about_tokens(api_token, where, environment)
        found = until_stopped(lambda: run_preflight(wanted, context.index, cancellation=cancellation), cancellation)
        _print_plan(found, options, where)
        show_changes(found.changes, environment)
        show_warnings(found.warnings, environment)
        _publish(context, found, options, identity)
    return EXIT_OK


def _require_trusted(settings: Settings, where: Addresses, environment: Mapping[str, str]) -> None:
    """Raise UnsafeAddress if, in a CI job, the project's own files name an unknown index, or its simple API."""
    for name, is_known in (
        ("repository-url", where.web is not None),
        ("check-url", not settings.value("check-url").value),
    ):
        value = settings.value(name)
        if in_ci(environment) and value.is_projects and not is_known:
            raise UnsafeAddress(
                f"{value.origin}: in a CI job, only the workflow may name the index that gets its tokens.",
                remedy=f"Set `{name}` as the job's input: a pull request can change pyproject.toml.",
            )


def _reading(environment: Mapping[str, str], secrets: Secrets) -> Auth | None:
    """Return the credentials of the simple API, where it has others than uploads."""
    password = environment.get(READING_PASSWORD, "").strip()
    return (environment.get(READING_USER) or USER, secrets.keep(password)) if password else None


def _publish(context: UploadContext, found: Preflight, options: PublishOptions, identity: Identity) -> None:
    where, environment = context.index.addresses, identity.environment
    refusal = until_stopped(lambda: _credentials_error(found, context.credentials), context.cancellation)
    signs = attestations.wanted(
        choice=options.attestations,
        trusted=isinstance(context.credentials, TrustedPublisher),
        known=where.web is not None,
        environment=environment,
    )
    if options.dry_run:
        _require_none(found.problems)
        if signs:
            attestations.require_none([file.path for file in found.to_send])
        lines = [f"warning: {identity.secrets.redact(refusal.message)}"] if refusal else []
        say(*lines, "Nothing was sent (dry run).")
        return
    ledger = Ledger(options.packages_dir, where.upload, first_entries(found.files, found.presence, found.problems))
    try:
        _raise_found(found, refusal)
        signed = Signed()
        if signs:
            signed = until_stopped(lambda: _attest(found.to_send, options, identity), context.cancellation)
        try:
            with progress(found.to_send, verbose=options.verbose) as shown:
                sender = Sender(context, ledger, shown, _as_extra(signed))
                sender.send(found.to_send)
        finally:
            if options.keep_attestations:
                _keep(signed, ledger)
    finally:
        _print_states(ledger, environment)
    _require_all(ledger, sender, _uncompared(found), skip_existing=options.skip_existing)
    _print_pages(found, where)
    if options.confirm is not None:
        seen = confirm(found.files, context.index, context.transport, context.retries, options.confirm)
        say(f"Confirmed: {seen}.")


def _warn_about_tokens(token: ApiToken | None, where: Addresses, environment: Mapping[str, str]) -> None:
    if token and token.user == USER:
        say("warning: an API token is used; trusted publishing needs no long-lived secret (docs/publish.md)")
    elif not token and where != addresses("pypi") and environment.get(_OF_PYPI):
        say(f"warning: {_OF_PYPI} is for `pypi` and is not used here; set other tokens in MANYWHEELS_PASSWORD")


def _api_token(options: PublishOptions, settings: Settings, environment: Mapping[str, str]) -> ApiToken | None:
    """None means trusted publishing. PYPI_TOKEN is sent to no other index."""
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
            f"The password from {source} has control characters.",
            remedy="Copy the token again, without line breaks.",
        )
    return ApiToken(user=user, password=password, source=source)


def _credentials_error(found: Preflight, credentials: Credentials) -> DeliveryError | None:
    """Return why the credentials would not work, as far as visible without using them."""
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
    """Raises TooLittleTime if the only upload token expires before the files can be sent."""
    facts = table("publish")
    token, sizes = facts["token"], [file.size for file in files]
    needed = sum(sizes) / token["rate"] + len(sizes) * token["per-file"] / facts["parallel"]
    limit = token["lifetime"] - token["spare"]
    if needed > limit:
        raise TooLittleTime(
            f"{len(sizes)} files with {text.size(sum(sizes))} need about {text.duration(needed)}; this CI "
            f"gets one upload token, valid for {text.duration(token['lifetime'])}.",
            remedy="Set an API token in MANYWHEELS_PASSWORD. Or publish from several jobs, each with a part of the "
            "files, without the manifest, in a folder of its own: each job gets its own token.",
        )


def _attest(files: Iterable[Distribution], options: PublishOptions, identity: Identity) -> Signed:
    digests = {file.path: file.sha256 for file in files}
    signed = attestations.attest(digests, identity, demanded=options.attestations is True)
    if signed.warning:
        say(f"warning: {signed.warning}")
    return signed


def _keep(signed: Signed, ledger: Ledger) -> None:
    """Keep the attestations of files on the index; others would block the next run."""
    there = {entry.name for entry in ledger.entries if entry.state.is_there}
    kept = {path: attestation for path, attestation in signed.attestations.items() if path.name in there}
    attestations.keep(Signed(attestations=kept))


def _as_extra(signed: Signed) -> ExtraFields:
    return {
        path.name: (("attestations", attestations.form_field(attestation)),)
        for path, attestation in signed.attestations.items()
    }


_FIRST_STATES: Final[Mapping[Presence, tuple[UploadState, str]]] = {
    Presence.SAME: (UploadState.IDENTICAL, ""),
    Presence.OTHER: (UploadState.CONFLICT, "the index has other content under this name"),
    Presence.ABSENT: (UploadState.NOT_SENT, ""),
    Presence.NO_DIGEST: (UploadState.UNKNOWN, "the index has a file of this name, and lists no digest"),
    Presence.UNAVAILABLE: (UploadState.UNKNOWN, "whether the index has it is not known"),
}


def first_entries(
    files: Iterable[Distribution], presence: Mapping[str, Presence], problems: Sequence[Problem] = ()
) -> Iterable[LedgerEntry]:
    """The states are those before anything is sent; files with `problems` have all of them as reason."""
    for file in files:
        state, reason = _FIRST_STATES[presence[file.name]]
        if state is UploadState.NOT_SENT:
            reason = "; ".join(problem.message for problem in problems if problem.member == file.name)
        yield LedgerEntry(name=file.name, size=file.size, sha256=file.sha256, state=state, reason=reason)


def _require_none(problems: Iterable[Problem]) -> None:
    """Raise ContentConflict if all problems are conflicts, else PreflightFailed.

    A remedy that several problems in a row have is given once.
    """
    problems = tuple(problems)
    if not problems:
        return
    count = f"{len(problems)} problem{'s' * (len(problems) != 1)}"
    are_conflicts = all(problem.message == CONFLICT for problem in problems)
    lines = [f"{count} found before the first byte was sent; nothing was uploaded:"]
    for remedy, alike in groupby(problems, key=lambda problem: problem.remedy):
        lines += [" ".join(filter(None, (problem.member, problem.message))) for problem in alike]
        lines += [] if are_conflicts else [f"    {remedy}"]
    message = "\n".join(lines)
    if are_conflicts:
        raise ContentConflict(message, remedy=" ".join(dict.fromkeys(problem.remedy for problem in problems)))
    them = "it" if len(problems) == 1 else "all of them"
    raise PreflightFailed(message, remedy=f"Fix {them}, then publish again.")


def _raise_found(found: Preflight, refusal: DeliveryError | None) -> None:
    if refusal and not found.problems:
        raise refusal
    more = [Problem(message=refusal.message, remedy=refusal.remedy)] if refusal else []
    _require_none([*found.problems, *more])


def _uncompared(found: Preflight) -> set[str]:
    return {name for name, presence in found.presence.items() if presence is Presence.NO_DIGEST}


def _require_all(ledger: Ledger, sender: Sender, uncompared: set[str], *, skip_existing: bool) -> None:
    """Raise ContentConflict or UploadIncomplete, with the cures of what happened.

    `uncompared` were there before under the same name, without a digest; `skip_existing` passes them over.
    """
    uncompared = uncompared | sender.uncompared
    missing = [entry for entry in ledger.entries if not entry.state.is_there]
    if skip_existing:
        passed = [entry.name for entry in missing if entry.name in uncompared]
        say(*(f"warning: `{name}` is on the index; whether with the same content is not known" for name in passed))
        missing = [entry for entry in missing if entry.name not in uncompared]
    if not missing:
        return
    count, total = len(missing), len(ledger.entries)
    lines = [f"{count} of {total} files are not known to be on the index:"]
    lines += [f"{entry.name}: {entry.state}" + in_brackets(entry.reason) for entry in missing]
    cures = dict.fromkeys(cure for cure in sender.cures if cure != AGAIN)
    if any(entry.name in uncompared for entry in missing):
        cures[COMPARE] = None
    remedy = " ".join(cures) or AGAIN
    if any(entry.state is UploadState.CONFLICT for entry in missing):
        raise ContentConflict("\n".join(lines), remedy=remedy)
    raise UploadIncomplete("\n".join(lines), remedy=remedy)


def _print_states(ledger: Ledger, environment: Mapping[str, str]) -> None:
    states = [entry.state for entry in ledger.entries]
    counts = ", ".join(f"{states.count(state)} {state}" for state in UploadState if state in states)
    say(f"{counts}; {ledger.path}")
    if file := environment.get("GITHUB_STEP_SUMMARY"):
        with Path(file).open("a", encoding="utf-8") as summary:
            left = LIMIT - summary.tell()  # bytes
            summary.write(f"### Published: {counts}\n\n{as_markdown(ledger.entries, left)}\n")


def _print_pages(found: Preflight, where: Addresses) -> None:
    for project, version in dict.fromkeys((file.project, file.version) for file in found.files):
        if page := where.release_page(project, version):
            say(f"{project} {version}: {page}")


def _print_plan(found: Preflight, options: PublishOptions, where: Addresses) -> None:
    say(f"{len(found.files)} files of `{options.packages_dir}` for {where.upload}:")
    for file in found.files:
        say(f"  {file.name} ({text.size(file.size)}): {_intent(file, found)}")
        if options.print_hash or options.verbose:
            say(*(f"    {name} {value}" for name, value in file.fields if name.endswith("_digest")))


def _intent(file: Distribution, found: Preflight) -> str:
    """Return what happens to a file; with any problem, nothing is sent."""
    intent = _INTENTS[found.presence[file.name]]
    if not found.problems or found.presence[file.name] not in {Presence.ABSENT, Presence.UNAVAILABLE}:
        return intent
    is_refused = any(problem.member == file.name for problem in found.problems)
    return "refused, for what is said below" if is_refused else intent.replace("will", "would", 1)
