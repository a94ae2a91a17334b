"""The miniature cloud as a device: `varq.device("cloud", url=...)`."""

from __future__ import annotations

import base64
import http.client
import json
import uuid
from collections.abc import Callable, Collection, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pennylane as qml
from pennylane.devices.preprocess import decompose

from varq import checks
from varq.devices.faults import ExpiredError, GoneError, PermanentError, TransientError, UncertainError
from varq.devices.service import Bits, Circuit, JobResult, JobStatus, Limits, Mode, Plain
from varq.devices.settling import Settling
from varq.testing.cloud_gates import GATES, IGNORED, Payload

__all__ = ["CloudService"]

_STEP = 0.1  # most seconds between two looks for a job


class CloudService(Plain):
    """A client of `varq.testing.cloud_server`: like a vendor's, its calls may fail in every way that calls fail.

    Args:
        name: of the device.
        url: where it listens, such as "http://127.0.0.1:8080".
        circuits: most circuits in a job.
        shots: most shots of a circuit.
        job_shots: most shots in a job.
        mode: "session", the one that there is.
        timeout: seconds after which a call is given up.
        settled: seconds after which the cloud surely lists a job that it has received: those of its plan's lag, and
            what it may take to hear a call that was given up.

    Raises:
        ValueError: for an address that is not of this machine, or a limit out of range.
    """

    paid = True

    def __init__(
        self,
        name: str = "cloud",
        *,
        url: str,
        circuits: int | None = None,
        shots: int | None = None,
        job_shots: int | None = None,
        mode: str = "session",
        timeout: float = 5.0,
        settled: float = 0.0,
    ) -> None:
        parts = urlsplit(checks.text("url", url))
        if parts.scheme != "http" or parts.hostname != "127.0.0.1" or parts.port is None:
            raise ValueError(f"url must be one of this machine with a port. Got {url!r}. Give http://127.0.0.1:8080.")
        given = {"circuits": circuits, "shots": shots, "job_shots": job_shots}
        most = {k: None if v is None else checks.integer(k, v, minimum=1) for k, v in given.items()}
        self.name = name
        self.limits = Limits(**most)
        self.mode = Mode(checks.choice("mode", mode, [Mode.SESSION.value]))
        self._port = parts.port
        self._timeout = checks.real("timeout", timeout, above=0)
        self._settling = Settling(settled, _STEP)
        self._session: int | None = None
        self._payloads: dict[str, Payload] = {}

    def compile(self, circuits: Sequence[Circuit]) -> None:
        """Decompose circuits into the gates of the cloud.

        Raises:
            PermanentError: for a gate that has no such decomposition.
        """
        for circuit in circuits:
            if circuit.digest not in self._payloads:
                self._payloads[circuit.digest] = _payload(circuit)

    def open(self) -> str | None:
        """Open a session, which expires after some time."""
        self._session = self._call("open", {}, TransientError)["session"]
        return None

    def submit(self, circuits: Sequence[Circuit], tag: str) -> str:
        """Send one job; returns its id.

        Raises:
            ExpiredError: if the session has ended.
            UncertainError: if no answer came, or one to something else.
        """
        self.compile(circuits)
        payloads = [self._payloads[circuit.digest] for circuit in circuits]
        body = {"session": self._session, "tag": tag, "circuits": payloads}
        with self._settling.attempt(tag):
            job = str(self._call("submit", body, UncertainError)["job"])
        for circuit in circuits:
            self._payloads.pop(circuit.digest, None)
        return job

    def expect(self, tags: Collection[str]) -> None:
        """From now on the cloud has the time until it lists them."""
        self._settling.expect(tags)

    def find(self, tag: str) -> str | None:
        """The id of the job that was sent under `tag`; None if there surely is none."""
        found = self._settling.look(tag, lambda: self._call("find", {"tag": tag}, TransientError)["jobs"])
        return str(found[0]) if found else None

    def tagged(self, job: str, tag: str) -> bool | None:
        """Whether the job was sent under `tag`."""
        return bool(self._call("tag", {"job": job}, TransientError)["tag"] == tag)

    def status(self, job: str) -> JobStatus:
        """Where the job stands."""
        return JobStatus(self._call("status", {"job": job}, TransientError)["status"])

    def result(self, job: str) -> JobResult:
        """Its result."""
        said = self._call("result", {"job": job}, TransientError)
        return JobResult(tuple(map(_bits, said["bits"])), seconds=said["seconds"], queued=0.0, cost=said["cost"])

    def cancel(self, job: str) -> bool:
        """Ask to cancel it; returns whether it was still possible."""
        return bool(self._call("cancel", {"job": job}, TransientError)["cancelled"])

    def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            session, self._session = self._session, None
            self._call("close", {"session": session}, TransientError)

    def _call(self, path: str, body: dict[str, Any], broken: Callable[[str], Exception]) -> dict[str, Any]:
        """One call; `broken` makes the error for one that may have done something."""
        call = uuid.uuid4().hex
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._timeout)
        try:
            try:
                connection.connect()
            except OSError as error:
                raise TransientError(f"{self.name} cannot be reached: {error}. Is it running?") from error
            try:
                connection.request("POST", f"/{path}", json.dumps({**body, "call": call}))
                response = connection.getresponse()
                status, said = response.status, json.loads(response.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                why = str(error) or type(error).__name__
                raise broken(f"{self.name} must answer each call. It did not: {why}.") from error
        finally:
            connection.close()
        if status == 503:
            raise TransientError(f"{self.name} is overloaded (503). It takes calls again later.")
        if said.get("call") != call:
            raise broken(f"{self.name} must answer the call that was made. It answered another one.")
        return self._checked(status, said)

    def _checked(self, status: int, said: dict[str, Any]) -> dict[str, Any]:
        text = f"{self.name} says: {said.get('error')}"
        if status == 401:
            raise ExpiredError(f"{text} It is opened again.")
        if status == 404:
            raise GoneError(f"{text} Send the circuits again.")
        if status != 200:
            raise PermanentError(f"{text} Change the circuits.")
        return said


def _payload(circuit: Circuit) -> Payload:
    def known(operation: Any) -> bool:
        return operation.name in GATES or operation.name in IGNORED

    try:
        (tape,), _ = decompose(circuit.tape, stopping_condition=known, name="cloud")
    except qml.exceptions.DeviceError as error:
        raise PermanentError(f"cloud runs {', '.join(GATES)} alone. {error} Use another circuit.") from error
    gates = [
        [op.name, [int(w) for w in op.wires], [float(v) for v in op.data]]
        for op in tape.operations
        if op.name not in IGNORED
    ]
    return {"wires": circuit.wires, "shots": circuit.shots, "seed": circuit.seed, "gates": gates}


def _bits(packed: dict[str, Any]) -> Bits:
    shots, wires = packed["shape"]
    data = np.frombuffer(base64.b64decode(packed["bits"]), dtype=np.uint8)
    return np.unpackbits(data, count=shots * wires).reshape(shots, wires)
