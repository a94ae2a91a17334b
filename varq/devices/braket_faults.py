"""What went wrong at Amazon Braket, in the words of `varq.devices.faults`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from varq.devices.faults import (
    DeviceError,
    ExpiredError,
    GoneError,
    LostError,
    OfflineError,
    PermanentError,
    TransientError,
    UncertainError,
)

__all__ = ["CODES", "EXCEPTIONS", "explained", "translated", "without_secrets"]

_LOGIN = "Sign in to AWS again (for example with `aws sso login`), or set other credentials."
_RIGHTS = "Check the credentials and that they may use Amazon Braket, tag its tasks, and write to the S3 bucket."
_LATER = "Try again later."

# AWS answered: a request that was refused with one of these codes was not carried out.
CODES: Mapping[str, tuple[type[DeviceError], str]] = MappingProxyType(
    {
        "ThrottlingException": (TransientError, _LATER),
        "Throttling": (TransientError, _LATER),
        "TooManyRequestsException": (TransientError, _LATER),
        "RequestLimitExceeded": (TransientError, _LATER),
        "SlowDown": (TransientError, _LATER),
        "DeviceOfflineException": (OfflineError, "Wait until the device is online, or choose another."),
        "ExpiredToken": (ExpiredError, _LOGIN),
        "ExpiredTokenException": (ExpiredError, _LOGIN),
        "RequestExpired": (ExpiredError, _LOGIN),
        "RequestTimeTooSkewed": (PermanentError, "Set this machine's clock."),
        "DeviceRetiredException": (LostError, "Choose another device."),
        "ValidationException": (PermanentError, "Change the circuits, the shots or the options of the device."),
        "ServiceQuotaExceededException": (PermanentError, "Let running tasks end, or ask AWS for a larger quota."),
        "ConflictException": (PermanentError, "Look at the task on AWS."),
        "AccessDeniedException": (PermanentError, _RIGHTS),
        "AccessDenied": (PermanentError, _RIGHTS),
        "UnrecognizedClientException": (PermanentError, _RIGHTS),
        "InvalidClientTokenId": (PermanentError, _RIGHTS),
        "InvalidAccessKeyId": (PermanentError, _RIGHTS),
        "InvalidSignatureException": (PermanentError, _RIGHTS),
        "SignatureDoesNotMatch": (PermanentError, _RIGHTS),
        "MissingAuthenticationTokenException": (PermanentError, _RIGHTS),
        "IncompleteSignatureException": (PermanentError, _RIGHTS),
        "ResourceNotFoundException": (GoneError, "It was deleted, or belongs to another account or region."),
        "NoSuchKey": (GoneError, "The result was deleted from its S3 bucket."),
        "NoSuchBucket": (GoneError, "The S3 bucket of the result was deleted."),
    }
)
"""Kinds of error by AWS error code, with what to do."""

# By class name, as the base classes of an exception are looked through and botocore need not be imported for it.
EXCEPTIONS: Mapping[str, tuple[type[DeviceError], str]] = MappingProxyType(
    {
        "NoCredentialsError": (PermanentError, "Sign in to AWS (`aws configure` or `aws sso login`)."),
        "PartialCredentialsError": (PermanentError, "Complete the AWS credentials (`aws configure`)."),
        "CredentialRetrievalError": (ExpiredError, _LOGIN),
        "TokenRetrievalError": (ExpiredError, _LOGIN),
        "UnauthorizedSSOTokenError": (ExpiredError, _LOGIN),
        "SSOTokenLoadError": (ExpiredError, _LOGIN),
        "NoRegionError": (PermanentError, "Name the region in the device, such as 'braket.us-east-1/sv1'."),
        "ProfileNotFound": (PermanentError, "Choose an AWS profile that exists (`aws configure list-profiles`)."),
        "ParamValidationError": (PermanentError, "Change the options of the device."),
        "SSLError": (PermanentError, "Check the certificates of this machine and its proxy."),
        # No connection came about: nothing was sent.
        "ProxyConnectionError": (TransientError, "Check the proxy."),
        "ConnectTimeoutError": (TransientError, "Check the network."),
        "EndpointConnectionError": (TransientError, "Check the network."),
    }
)
"""Kinds of error by the name of botocore's exception, with what to do."""

_UNHEARD = ("HTTPClientError", "ConnectionError", "BotoCoreError", "OSError")  # an answer may have been lost

# AWS quotes the signed request, security token and all, when it does not like a signature.
_QUOTING = re.compile(r"Signature|Token|AccessKeyId|UnrecognizedClient")
_SECRETS = re.compile(
    r"(?P<arn>arn:aws[\w-]*:[\w:./@-]+)"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"
    r"|(?i:\b[\w-]*(?:secret|token|signature|credential)[\w-]*[\"']?\s*[=:]\s*\S+)"
    r"|[A-Za-z0-9+/=_-]{40,}"
)


def explained(error: BaseException, sending: bool = False, device: str = "braket", fresh: bool = False) -> DeviceError:
    """The `DeviceError` that says what to do about an exception of the SDK; a `DeviceError` comes back as it is.

    Args:
        error: what was raised.
        sending: whether a job was being sent: where AWS may have received it, that is an `UncertainError`.
        device: its name, for the text.
        fresh: whether what was asked for was made so lately that AWS may not know it everywhere yet.
    """
    if isinstance(error, DeviceError):
        return error
    kind, advice = _kind(error, sending, fresh)
    return kind(f"{device}: {_told(error)} {advice}")


def _kind(error: BaseException, sending: bool, fresh: bool) -> tuple[type[DeviceError], str]:
    response = getattr(error, "response", None)
    if isinstance(response, dict) and "Error" in response:
        code = str(response["Error"].get("Code", ""))
        if code == "ResourceNotFoundException" and (fresh or sending):
            return (TransientError, _LATER) if fresh else (PermanentError, "Check the name of the device.")
        return CODES.get(code) or _by_status(response, sending)
    names = [kind.__name__ for kind in type(error).__mro__]
    for name in names:
        if name in EXCEPTIONS:
            return EXCEPTIONS[name]
    if any(name in _UNHEARD for name in names):
        return _unheard(sending)
    if sending:
        return _unheard(sending)
    return PermanentError, "Change the circuits or the options of the device; if they are right, report it as a bug."


def _by_status(response: Mapping[str, Any], sending: bool) -> tuple[type[DeviceError], str]:
    """The kind of an error whose code is not known: a server's 5xx may pass, and may have followed the deed."""
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status == 429:
        return TransientError, _LATER
    if 400 <= status < 500:
        return PermanentError, "Change the request as the text says."
    return _unheard(sending)


def _unheard(sending: bool) -> tuple[type[DeviceError], str]:
    if sending:
        return UncertainError, "The job may have been received: look for it by its tag before it is sent again."
    return TransientError, _LATER


def _told(error: BaseException) -> str:
    """The name and the text of an exception, without what may be a credential."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict) or "Error" not in response:
        return f"{type(error).__name__}: {without_secrets(str(error))}."
    code = str(response["Error"].get("Code", "")) or type(error).__name__
    if _QUOTING.search(code):
        return f"{code}."
    failures = response.get("programSetValidationFailures")
    first = f" First failure: {without_secrets(str(failures[0]))}." if failures else ""
    return f"{code}: {without_secrets(str(response['Error'].get('Message', '')))}.{first}"


def without_secrets(text: str) -> str:
    """The text with whatever looks like a key, a token or a signature taken out; at most 500 characters of it."""
    return _SECRETS.sub(lambda hit: hit.group("arn") or "(left out)", text)[:500].rstrip(". ")


@contextmanager
def translated(device: str, sending: bool = False, fresh: bool = False) -> Iterator[None]:
    """Raises what `explained` makes of an exception of the block.

    The vendor's exception is not shown beside it: it may hold credentials, and tracebacks are printed and kept.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, DeviceError) and device in str(error):
            raise
        if isinstance(error, DeviceError):
            raise type(error)(f"{device}: {error}") from None
        raise explained(error, sending, device, fresh) from None
