"""Why a connection over TLS came to nothing, in words that say what to do."""

from __future__ import annotations

import ssl

# OpenSSL's X509_V_ERR_… of x509_vfy.h, which Python does not name.
EXPIRED = 10
OTHER_HOST = (62, 64)  # of a name, of an IP address


def root_first(error: BaseException) -> list[BaseException]:
    """All that led to an error, and it at the end. A client may tell a cause as text alone: then it is the context."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:  # one that was raised again may be its own context
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found[::-1]


def certificate_problem(error: ssl.SSLCertVerificationError, remedy: str) -> str:
    """What is wrong with a server's certificate, behind "its certificate". remedy: how an authority is named."""
    if error.verify_code == EXPIRED:
        return "has expired; renew it on the server"
    if error.verify_code in OTHER_HOST:
        return "is of another host; write the name that it was made for in the URL, or have one made for this name"
    return f"is not trusted ({error.verify_message}); {remedy}"
