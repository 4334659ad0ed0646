"""What a store's library raises, in a sentence of our own.

Only the kind of a failure is told, its code and its status. The libraries' own messages may hold addresses that are
signed, or a token that was given where the name of a file was expected.
"""

import errno
from typing import Any

from audiochunk.errors import printable

_DENIED = "check the credentials, and that they may do this"
_KEYS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what else docs/remote.md names"
_LATER = "try again later"
# `rclone serve s3` (1.75) is one.
_CHECKSUM = (
    "try again, and where it stays so, and the store is one that sends with a part the checksum of the whole, set"
    " AWS_RESPONSE_CHECKSUM_VALIDATION=when_required"
)

# Their libraries wait and try again where no answer comes or the store is busy, five times and more.
_PATIENT = ("s3", "s3a", "gs", "gcs", "hf")

# Of libraries that need not be installed, by the names of their classes.
_NO_CREDENTIALS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "TokenRetrievalError",
    "SSOTokenLoadError",
    "UnauthorizedSSOTokenError",
    "DefaultCredentialsError",
    "RefreshError",
    "LocalTokenNotFoundError",
}
# Of an endpoint that is no URL.
_NO_ENDPOINT = {"ValueError", "EndpointResolutionError"}
# Of the Hub, which says the same of what is not there and of what these credentials may not see.
_NO_REPOSITORY = {"RepositoryNotFoundError", "BucketNotFoundError"}
_CUT_WITHIN = {
    "ClientPayloadError",
    "IncompleteRead",
    "IncompleteReadError",
    "ResponseStreamingError",
    "ChunkedEncodingError",
}
_CUT = _CUT_WITHIN | {"ServerDisconnectedError", "ClientOSError", "RemoteProtocolError", "ReadError", "ProtocolError"}
_LATE = {
    "TimeoutError",
    "ReadTimeoutError",
    "ConnectTimeoutError",
    "FSTimeoutError",
    "ReadTimeout",
    "ConnectTimeout",
    "ServerTimeoutError",
    "SocketTimeoutError",
}
_UNREACHED = {
    "EndpointConnectionError",
    "ConnectionClosedError",
    "ProxyConnectionError",
    "SSLError",
    "ConnectError",
    "ClientConnectorError",
    "ConnectionError",
    "HTTPClientError",
}


class ShortError(Exception):
    """Other than so many bytes came. `args`: (sentence,)."""


def is_passing(error: Exception, scheme: str) -> bool:
    """Whether a failure may be gone in a moment, and the library that met it has not tried again at length itself."""
    if isinstance(error, ShortError) or _names(error) & {*_CUT_WITHIN, "FlexibleChecksumError"}:
        return True
    status = _status(error)
    if status is not None:
        # 409 is S3's of two that write one object in the same moment.
        return status in (408, 409, 429, 500, 502, 504) or (status == 503 and scheme not in _PATIENT)
    return scheme not in _PATIENT and (
        isinstance(error, (ConnectionError, TimeoutError)) or bool(_names(error) & {*_CUT, "ServerTimeoutError"})
    )


def is_missing(error: Exception) -> bool:
    """Whether a failure says that there is no such object; not that all of the store is not there, or not seen."""
    names = _names(error)
    if names & {*_NO_REPOSITORY, "RevisionNotFoundError", *_CUT, *_LATE, *_UNREACHED}:
        return False
    # By HTTP fsspec finds nothing wherever it cannot look.
    if _status(error) not in (None, 404, 410):
        return False
    return isinstance(error, FileNotFoundError) or "EntryNotFoundError" in names


def is_there_already(error: Exception) -> bool:
    """Whether a store refused to make an object where there is none, because there is one."""
    # s3fs knows it only of stores that name the condition in their answer: AWS does, SeaweedFS (4.48) does not.
    return isinstance(error, FileExistsError) or _status(error) == 412


def refusal(error: Exception, done: str, *, scheme: str = "", endpoint: str = "") -> tuple[str, str]:
    """What happened, and what to do.

    Args:
        error: that a library raised.
        done: to the object, such as "read".
        scheme: of the store's URLs.
        endpoint: that was asked, as it may be shown; empty where that is not known.
    """
    network = f"check the network and the endpoint{f' {printable(endpoint)}' if endpoint else ''}, and try again"
    names, status, kind = _names(error), _status(error), type(error).__name__
    code = _code(error)
    of = f" ({', '.join(part for part in (kind, code, '' if status is None else str(status)) if part)})"
    could_not = f"could not be {done}"
    if names & _NO_ENDPOINT and not endpoint.startswith(("http://", "https://")) and endpoint:
        what = f"the endpoint {printable(endpoint)} is no URL"
        return f"{could_not}: {what}{of}", f"give it as one, such as http://{printable(endpoint.rpartition('://')[2])}"
    if names & _NO_CREDENTIALS:
        how = _KEYS if scheme in ("s3", "s3a") else "set them as the store's library wants them (docs/remote.md)"
        return f"{could_not}: no credentials were found{of}", how
    if names & _NO_REPOSITORY:
        what = "there is no such repository, or these credentials may not see it"
        return f"{could_not}: {what}{of}", "check its name, HF_TOKEN, and whether it asks for an agreement"
    if "RevisionNotFoundError" in names:
        return f"{could_not}: the repository has no such revision{of}", "look for its branches and tags"
    # gcsfs has no class and no status for it.
    if isinstance(error, PermissionError) or status in (401, 403) or str(error).startswith("Forbidden: "):
        return f"{could_not}: access is denied{of}", _DENIED
    if names & _LATE:
        return f"{could_not}: there was no answer in time{of}", network
    if isinstance(error, ShortError):
        return f"{could_not}: {error}", "look whether the object is whole, and try again"
    if "FlexibleChecksumError" in names:
        return f"{could_not}: other bytes came than the store's checksum is of", _CHECKSUM
    if names & _CUT_WITHIN or (names & _CUT and not names & _UNREACHED):
        return f"{could_not}: the connection was cut, again and again{of}", network
    if isinstance(error, ConnectionError) or names & _UNREACHED:
        return f"{could_not}: the store cannot be reached{of}", network
    if status is not None and status >= 500:
        return f"{could_not}: the store fails, again and again{of}", _LATER
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return f"{could_not}: no space, or not writable{of}", "make room, or choose another place"
    return f"{could_not}{of}", "check the URL and how the store's library is set up"


def _names(error: BaseException | None) -> set[str]:
    """Classes of an error and of what it was made of, by name."""
    found: set[str] = set()
    depth = 0
    while error is not None and depth < 4:
        found |= {kind.__name__ for kind in type(error).__mro__ if kind not in (Exception, BaseException, object)}
        error, depth = error.__cause__, depth + 1
    return found


def _response(error: BaseException) -> Any:
    """What the store answered, as botocore keeps it: a dict, also behind the OSError that s3fs makes of it."""
    for candidate in (error, error.__cause__):
        response = getattr(candidate, "response", None)
        if response is not None:
            return response
    return None


def _status(error: BaseException) -> int | None:
    """The HTTP status that was answered, if one was."""
    response = _response(error)
    if isinstance(response, dict):
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        found = getattr(response, "status_code", None)
        for candidate in (error, error.__cause__):
            for name in ("status", "code", "status_code"):
                found = found if found is not None else getattr(candidate, name, None)
    try:
        status = int(found)
    except (TypeError, ValueError):
        return None
    return status if 100 <= status <= 599 else None


def _code(error: BaseException) -> str:
    """What S3 calls a failure, such as SlowDown."""
    response = _response(error)
    found = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return found if isinstance(found, str) and found.isalnum() and not found.isdecimal() else ""
