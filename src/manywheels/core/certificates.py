"""Which certificate authorities are trusted, for every HTTP exchange.

REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or PIP_CERT replaces all others, as in requests, curl and pip. Otherwise those of
OpenSSL are trusted (the system's, or those of SSL_CERT_FILE and SSL_CERT_DIR), and, if none of these is set, certifi's.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from manywheels.errors import NoCertificates

_BUNDLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
_OPENSSL: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_OF_GITLAB: Final = "CI_SERVER_TLS_CA_FILE"
# Where distributions keep theirs: the Python of a portable build may look elsewhere.
_SYSTEM: Final = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)  # fmt: skip
_IN_CONTAINERS: Final = "The GitHub action and other containers see only mounted files, such as those in the workspace."


def tls_context(environment: Mapping[str, str] = os.environ) -> ssl.SSLContext:
    """Return the context of a client. Raises NoCertificates if the bundle cannot be read.

    What SSL_CERT_FILE and SSL_CERT_DIR name is passed over if it cannot be read, as by OpenSSL.
    """
    name = bundle_variable(environment)
    return _context(name, environment.get(name, ""), *(environment.get(name, "") for name in _OPENSSL))


def bundle_variable(environment: Mapping[str, str] = os.environ) -> str:
    """Return the variable that replaces all other authorities, or nothing."""
    return next((name for name in _BUNDLES if environment.get(name)), "")


def untrusted_cure(environment: Mapping[str, str] = os.environ) -> str:
    """Return how to have a private authority trusted."""
    named = bundle_variable(environment) or next((name for name in _OPENSSL if environment.get(name)), "")
    if named:
        place = environment[named]
        lacks = "lacks the server's authority" if Path(place).exists() else f"does not exist here. {_IN_CONTAINERS}"
        return f"`{place}`, named by {named}, {lacks.removesuffix('.')}. Name a PEM file that has its certificate."
    if environment.get(_OF_GITLAB):
        return f"If this index is the job's own GitLab server, set SSL_CERT_FILE to the path in {_OF_GITLAB}."
    return (
        "If its authority is your company's, set SSL_CERT_FILE to a PEM file with the authority's certificate, or add "
        f"it to the system's. {_IN_CONTAINERS}"
    )


@cache
def _context(variable: str, bundle: str, file: str, folder: str) -> ssl.SSLContext:
    from urllib3.util.ssl_ import create_urllib3_context

    context = create_urllib3_context()
    # Python 3.13 demands more of certificates than peers do, and than many companies' have.
    context.verify_flags = (context.verify_flags | ssl.VERIFY_X509_PARTIAL_CHAIN) & ~ssl.VERIFY_X509_STRICT
    context.verify_mode = ssl.CERT_REQUIRED
    context.check_hostname = True
    if variable:
        _load(context, variable, Path(bundle))
        return context
    context.load_default_certs()
    if not file and not folder:
        _load_usual(context)
    return context


def _load(context: ssl.SSLContext, variable: str, bundle: Path) -> None:
    try:
        if bundle.is_dir():
            context.load_verify_locations(capath=bundle)
        else:
            context.load_verify_locations(cafile=bundle)
    except OSError as error:  # ssl.SSLError is one
        raise NoCertificates(
            f"{variable} names `{bundle}`, which has no readable certificates: {error.strerror or error}.",
            remedy=f"Name a PEM file with the certificates of the authorities to trust. {_IN_CONTAINERS}",
        ) from None


def _load_usual(context: ssl.SSLContext) -> None:
    from requests.utils import DEFAULT_CA_BUNDLE_PATH

    for place in (*_SYSTEM, DEFAULT_CA_BUNDLE_PATH):
        with suppress(OSError):
            context.load_verify_locations(place)
