"""What IBM's client raises, told apart; credentials in no text."""

from __future__ import annotations

import traceback

import pytest
import requests
import urllib3

from varq.devices.faults import (
    DeviceError,
    ExpiredError,
    GoneError,
    PermanentError,
    TransientError,
    UncertainError,
)
from varq.devices.ibm_faults import attempt, explained, no_sessions, redacted

pytestmark = pytest.mark.flagless

REFUSED = requests.ConnectionError(
    urllib3.exceptions.MaxRetryError(None, "/jobs", urllib3.exceptions.NewConnectionError(None, "refused"))  # type: ignore[arg-type]
)
BUSY = requests.exceptions.RetryError(
    urllib3.exceptions.MaxRetryError(
        None,  # type: ignore[arg-type]
        "/jobs",
        urllib3.exceptions.ResponseError("too many 503 error responses"),
    )
)
LOST = requests.ConnectionError(urllib3.exceptions.ProtocolError("aborted", ConnectionResetError(104, "reset by peer")))

# (what came, what it means while a job is sent, what it means otherwise)
OF_REQUESTS = [
    (REFUSED, TransientError, TransientError),
    (requests.ConnectTimeout("no answer"), TransientError, TransientError),
    (ConnectionRefusedError(111, "refused"), TransientError, TransientError),
    (LOST, UncertainError, TransientError),
    (requests.ReadTimeout("no answer"), UncertainError, TransientError),
    (requests.exceptions.ChunkedEncodingError("cut off"), UncertainError, TransientError),
    (requests.exceptions.JSONDecodeError("no JSON", "<html>", 0), UncertainError, TransientError),
    (BUSY, UncertainError, TransientError),
    (TimeoutError("timed out"), UncertainError, TransientError),
    (requests.exceptions.SSLError("certificate verify failed"), PermanentError, PermanentError),
    (requests.exceptions.SSLError("EOF occurred"), UncertainError, TransientError),
    (requests.exceptions.InvalidURL("no host"), PermanentError, PermanentError),
    (KeyError("id"), UncertainError, PermanentError),
]


@pytest.mark.parametrize(
    ("error", "sending", "asking"), OF_REQUESTS, ids=lambda x: getattr(x, "__name__", repr(x)[:40])
)
def test_what_the_network_does(error, sending, asking):
    assert type(explained(error, sending=True)) is sending
    assert type(explained(error, sending=False)) is asking


# HTTP statuses as the same pair
OF_STATUSES = {
    400: (PermanentError, PermanentError),
    401: (PermanentError, PermanentError),
    403: (PermanentError, PermanentError),
    404: (PermanentError, GoneError),
    408: (UncertainError, TransientError),
    409: (PermanentError, PermanentError),
    422: (PermanentError, PermanentError),
    429: (TransientError, TransientError),
    500: (UncertainError, TransientError),
    502: (UncertainError, TransientError),
    503: (UncertainError, TransientError),
    504: (UncertainError, TransientError),
    524: (UncertainError, TransientError),
}


@pytest.mark.ibm
@pytest.mark.parametrize("status", OF_STATUSES)
def test_what_the_server_answers(status):
    """Through IBM's own HTTP session, as its service wraps it in errors of its own."""
    from ibm_stub import Server, StubService
    from qiskit_ibm_runtime.api.exceptions import RequestsApiError
    from qiskit_ibm_runtime.exceptions import IBMRuntimeError

    server = Server()
    server.broken["/jobs"] = str(status)
    client = StubService(server)._active_api_client
    with pytest.raises(Exception, match=r"apikey|server says|maintenance") as caught:
        client.job_get("job0")
    error = caught.value
    wrapped = IBMRuntimeError("Failed to run program")
    wrapped.__context__, wrapped.__suppress_context__ = error, True
    assert status in (401, 503) or isinstance(error, RequestsApiError)
    for one in (error, wrapped):
        assert type(explained(one, sending=True)) is OF_STATUSES[status][0]
        assert type(explained(one, sending=False)) is OF_STATUSES[status][1]


@pytest.mark.ibm
@pytest.mark.parametrize(
    ("name", "message", "sending", "asking"),
    [
        ("IBMNotAuthorizedError", "401", PermanentError, PermanentError),
        ("IBMInputValueError", "not in the target", PermanentError, PermanentError),
        ("IBMAccountError", "no account", PermanentError, PermanentError),
        ("RuntimeJobFailureError", "Session closed while the job ran", PermanentError, PermanentError),
        ("RuntimeJobMaxTimeoutError", "ran too long", PermanentError, PermanentError),
        ("RuntimeInvalidStateError", "cancelled", PermanentError, PermanentError),
        ("RuntimeJobNotFound", "Job not found: a", GoneError, GoneError),
        ("RuntimeJobTimeoutError", "still runs", UncertainError, TransientError),
        ("IBMRuntimeError", "The session is closed.", ExpiredError, ExpiredError),
        ("IBMRuntimeError", "Session has expired", ExpiredError, ExpiredError),
        ("IBMRuntimeError", "something new", UncertainError, PermanentError),
    ],
)
def test_what_the_client_raises(name, message, sending, asking):
    from qiskit_ibm_runtime import exceptions

    error = getattr(exceptions, name)(message)
    assert type(explained(error, sending=True)) is sending
    assert type(explained(error, sending=False)) is asking


def test_the_text_says_what_came_and_what_to_do():
    said = str(explained(requests.ReadTimeout("no answer"), sending=True))
    assert "look for it by its tag" in said
    assert "ReadTimeout: no answer" in said


@pytest.mark.parametrize(
    ("message", "none"),
    [
        ("You are not authorized to run a session when using the open plan.", True),
        ("Error code: 1352", True),
        ("Sessions: this session is not supported on this machine", True),
        ("The session is closed.", False),
        ("not authorized", False),
    ],
)
def test_an_account_without_sessions_is_recognized(message, none):
    inner = ValueError(message)
    outer = RuntimeError("Failed")
    outer.__cause__ = inner
    assert no_sessions(inner) is no_sessions(outer) is none


SECRET = "my-own-secret-word"


@pytest.mark.parametrize(
    "text",
    [
        f"token {SECRET} refused",
        "Authorization: Bearer abcdefgh.ijkl",
        "apikey 0123456789abcdef",
        "{'token': 'abcdefgh12345678'}",
        "https://host/?access_token=abcdefgh12345678",
        "api_key=abcdefgh12345678",
        "password: abcdefgh12345678",
        "jwt eyJabc.eyJdef.ghi",
        "instance crn:v1:bluemix:public:quantum-computing:us-east:a/12345678::",
        "http://user:abcdefgh12345678@proxy:80/",
    ],
)
def test_credentials_are_hidden(text):
    shown = redacted(f"before {text} after", [SECRET])
    assert "[hidden]" in shown
    for part in (SECRET, "abcdefgh", "0123456789abcdef", "eyJ", "12345678"):
        assert part not in shown
    assert shown.startswith("before")
    assert shown.endswith("after")


def test_long_texts_are_cut():
    assert len(redacted("x" * 10000)) == 600


def test_a_traceback_does_not_show_what_is_hidden():
    def call():
        raise requests.ConnectionError(f"sent apikey {SECRET}")

    with pytest.raises(DeviceError, match="hidden") as caught:
        attempt(call, secrets=[SECRET])
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None


def test_what_is_explained_already_stays():
    error = GoneError("gone")

    def call():
        raise error

    with pytest.raises(GoneError, match="gone") as caught:
        attempt(call, sending=True)
    assert caught.value is error
    assert attempt(lambda: 3) == 3
