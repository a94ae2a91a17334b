"""What IBM's client raises, told apart by what to do about it; no text that leaves here holds a credential."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from varq.devices.faults import (
    DeviceError,
    ExpiredError,
    GoneError,
    PermanentError,
    TransientError,
    UncertainError,
)

__all__ = ["attempt", "explained", "no_sessions", "redacted"]

T = TypeVar("T")

LONGEST = 600  # characters of a vendor's message that are worth showing

_HIDDEN = "[hidden]"
_CREDENTIALS = (
    re.compile(r"(?i)\b(?:bearer|basic)\s+[\w.~+/=-]{8,}"),
    re.compile(r"(?i)(?<=apikey )[\w.~+/=-]{8,}"),
    re.compile(
        r"""(?i)(?<=key|ken|ord|ion|ret)["']?\s*[:=]\s*["']?[\w.~+/=-]{8,}"""
    ),  # api_key=, token:, password= ...
    re.compile(r"\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?"),  # a JSON web token
    re.compile(r"\bcrn:v\d[^\s'\",;)]*"),  # IBM's name of an instance: it holds the account's number
    re.compile(r"(?<=://)[^/@\s]+@"),  # user and password of a proxy
)

_CLOSED = re.compile(
    r"(?i)\bsession\b.{0,60}\b(?:closed|expired|ended|not found|does not exist|max(?:imum)?[ _]time|"
    r"(?:no longer|not) accepting|no longer accepts)"
)
_NO_SESSIONS = re.compile(
    r"(?i)\b1352\b|\bsession\b.{0,80}\b(?:open plan|not (?:authorized|allowed|supported|available))|"
    r"\b(?:open plan|not (?:authorized|allowed|supported|available))\b.{0,80}\bsession"
)
_SERVER = re.compile(r"(?i)\btoo many (5\d\d) error responses|\b(5\d\d) server error")

# Names of exceptions, as the classes know themselves: so that nothing needs IBM's client, or what it talks through.
_NEVER_SENT = (
    "requests.exceptions.ConnectTimeout",
    "urllib3.exceptions.NewConnectionError",
    "urllib3.exceptions.NameResolutionError",
    "urllib3.exceptions.ConnectTimeoutError",
    "ConnectionRefusedError",
    "socket.gaierror",
)
_LOST = (
    "requests.exceptions.ConnectionError",
    "requests.exceptions.Timeout",
    "requests.exceptions.ChunkedEncodingError",
    "requests.exceptions.ContentDecodingError",
    "requests.exceptions.JSONDecodeError",
    "requests.exceptions.RetryError",
    "urllib3.exceptions.HTTPError",
    "ConnectionError",
    "TimeoutError",
)
_REFUSED = (
    "requests.exceptions.InvalidURL",
    "requests.exceptions.MissingSchema",
    "requests.exceptions.InvalidSchema",
    "requests.exceptions.InvalidHeader",
    "requests.exceptions.InvalidProxyURL",
)
_RUNTIME = "qiskit_ibm_runtime.exceptions."
_FAILED = tuple(
    _RUNTIME + name for name in ("RuntimeJobFailureError", "RuntimeJobMaxTimeoutError", "RuntimeInvalidStateError")
)
_PERMANENT = (
    "qiskit_ibm_runtime.accounts.exceptions.AccountsError",
    _RUNTIME + "IBMNotAuthorizedError",
    _RUNTIME + "IBMInputValueError",
    _RUNTIME + "IBMAccountError",
    _RUNTIME + "IBMBackendValueError",
    _RUNTIME + "RuntimeProgramNotFound",
)
_GONE = (_RUNTIME + "RuntimeJobNotFound",)
_OF_A_JOB = re.compile(r"(?i)\bjobs?\b")


def redacted(text: str, secrets: Sequence[str] = ()) -> str:
    """`text` without the secrets, and without anything that looks like a credential.

    Example:
        >>> redacted("401: Bearer eyJhbGciOi.abc for crn:v1:bluemix:public:a/1234::")
        '401: [hidden] for [hidden]'
    """
    for secret in sorted((s for s in secrets if s), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    for pattern in _CREDENTIALS:
        text = pattern.sub(_HIDDEN, text)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def attempt(call: Callable[[], T], sending: bool = False, secrets: Sequence[str] = ()) -> T:
    """What `call` returns; what it raises is explained.

    The vendor's error is no cause or context of what is raised: a traceback would print it, credentials and all.
    """
    try:
        return call()
    except DeviceError:
        raise
    except Exception as error:
        found = explained(error, sending, secrets)
    raise found


def explained(error: Exception, sending: bool, secrets: Sequence[str] = ()) -> DeviceError:
    """The `DeviceError` that says what to do about an error of IBM's client.

    Args:
        error: what came; what it was raised from counts too.
        sending: whether a job was on its way: what cannot be told then is uncertain, never transient.
        secrets: to be kept out of its text.

    Returns:
        `TransientError` if surely nothing was done and it may work next time; `ExpiredError` for a closed session;
        `UncertainError` if a job may have been received; `GoneError` for a job that is not there any more;
        `PermanentError` for everything else.
    """
    chain = list(_chain(error))
    kind = _kind(chain, sending)
    said = redacted(f"{type(error).__name__}: {error}", secrets)
    return kind(f"{_SAYS[kind]} {said}")


_SAYS: dict[type[DeviceError], str] = {
    TransientError: "IBM did not take the call; it may work on the next try.",
    ExpiredError: "IBM's session has ended; open it again.",
    UncertainError: "Whether IBM received the job is not known; look for it by its tag before anything is sent again.",
    GoneError: "IBM has this job no more.",
    PermanentError: "IBM refuses this, or the job failed; trying again does not help.",
}


def no_sessions(error: Exception) -> bool:
    """Whether an error says that the account has no sessions, as on IBM's open plan."""
    return any(_NO_SESSIONS.search(str(e)) for e in _chain(error))


def _kind(chain: Sequence[BaseException], sending: bool) -> type[DeviceError]:
    unclear = UncertainError if sending else TransientError
    status = _status(chain)
    if any(_is(e, _GONE) for e in chain):
        return GoneError
    if any(_is(e, _FAILED) for e in chain):
        return PermanentError
    if (status is None or status < 500) and any(_CLOSED.search(str(e)) for e in chain):
        return ExpiredError
    if status == 404 and not sending and any(_OF_A_JOB.search(str(e)) for e in chain):
        return GoneError
    if status is not None:
        return _of_status(status, sending)
    if any(_is(e, _PERMANENT) for e in chain) or any(_is(e, _REFUSED) for e in chain):
        return PermanentError
    if any("certificate" in str(e).lower() and "ssl" in type(e).__name__.lower() for e in chain):
        return PermanentError  # the handshake fails before anything is sent, and will the next time
    if any(_is(e, _NEVER_SENT) for e in chain) and not any(_SERVER.search(str(e)) for e in chain):
        return TransientError
    if any(_is(e, _LOST) for e in chain):
        return unclear
    if any(_is(e, (_RUNTIME + "RuntimeJobTimeoutError",)) for e in chain):
        return unclear
    # An error that is none of these, while a job was on its way, may come from reading the answer to it.
    return UncertainError if sending else PermanentError


def _of_status(status: int, sending: bool) -> type[DeviceError]:
    """What an HTTP status says."""
    if status == 429:
        return TransientError  # refused before it is looked at
    if status == 408 or status >= 500:
        # IBM's client calls it safe to repeat a POST on some of these (its api/session.py) and has done so, five times,
        # before it raises.  What it takes as said by the server is written down nowhere else, and looking for the job
        # by its tag costs one call: so the last of them counts as lost.
        return UncertainError if sending else TransientError
    return PermanentError


def _status(chain: Sequence[BaseException]) -> int | None:
    """The HTTP status that the server answered with, wherever in the chain it stands."""
    for error in chain:
        for status in (
            getattr(error, "status_code", None),
            getattr(getattr(error, "response", None), "status_code", None),
        ):
            if isinstance(status, int) and status >= 400:
                return status
    for error in chain:  # the client retries 5xx and then reports that there were too many, without the response
        if found := _SERVER.search(str(error)):
            return int(found.group(1) or found.group(2))
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and all that it came from: causes, contexts (even suppressed), and urllib3's reasons."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        here = waiting.pop(0)
        if id(here) in seen:
            continue
        seen.add(id(here))
        yield here
        inner = [here.__cause__, here.__context__, getattr(here, "reason", None), *here.args]
        waiting += [e for e in inner if isinstance(e, BaseException)]


def _is(error: BaseException, names: Sequence[str]) -> bool:
    found = {_name(kind) for kind in type(error).__mro__}
    return not found.isdisjoint(names)


def _name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
