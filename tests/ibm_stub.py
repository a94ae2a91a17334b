"""IBM's own client against a server in this process: its service, session, job and result classes, and no network.

What stands in is the transport below IBM's HTTP session: it answers requests as the server does, keeps jobs, runs their
circuits with Qiskit's exact sampler, and can be told to fail.  Nothing here was checked against IBM's machines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
import urllib3
from qiskit.primitives import StatevectorSampler
from qiskit.providers.exceptions import QiskitBackendNotFoundError
from qiskit_ibm_runtime import QiskitRuntimeService, RuntimeDecoder, RuntimeEncoder
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from qiskit_ibm_runtime.qiskit_runtime_service import ClientParameters, RuntimeClient
from requests.adapters import BaseAdapter

TOKEN = "a-token-that-nobody-may-see-0123456789"
CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/0123456789abcdef:8888-9999::"
MACHINE = "ibm_stub"
CREATED = "2026-01-02T03:04:05.000000Z"
RUNNING = "2026-01-02T03:04:15.500000Z"
SECONDS = 2.5
STATUS = {"state": True, "status": "active", "message": "", "length_queue": 0}


class Server(BaseAdapter):
    """What answers.  `faults` holds what goes wrong with the next submissions, one after the other."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__()
        self.jobs: dict[str, dict[str, Any]] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        self.faults: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.plan_has_sessions = True
        self.hidden_for = 0  # listings in which a new job is not seen yet
        self.keeps_metadata = True
        self.broken: dict[str, str] = {}  # what each path that contains the key fails with
        self.seed = seed
        self.elapsed: float | None = None  # seconds of the session, as it is metered
        self.waits = False  # whether jobs stay in the queue
        self.pending = 0  # times that the seconds of a job are asked for before they are worked out
        self.usage: dict[str, Any] = {"status": "pending", "qpu_charge_time_seconds": 0}  # what is said until then

    def close(self) -> None:
        """There is nothing to close."""

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        parts = urlsplit(str(request.url))
        method, path = str(request.method), parts.path
        self.asked.append((method, path))
        for part, fault in self.broken.items():
            if part in path:
                return self._fail(request, fault)
        if method == "POST" and path == "/jobs":
            return self._submitted(request)
        rules: list[tuple[str, str, Callable[..., Any]]] = [
            ("GET", r"/jobs", lambda: self._listed(parse_qs(parts.query))),
            ("GET", r"/jobs/([^/]+)", self._job),
            ("GET", r"/jobs/([^/]+)/results", lambda job: self.jobs[job]["result"]),
            ("GET", r"/jobs/([^/]+)/metrics", self._metrics),
            ("POST", r"/jobs/([^/]+)/cancel", self._cancel),
            ("POST", r"/sessions", lambda: self._session(json.loads(request.body or "{}"))),
            ("PATCH", r"/sessions/([^/]+)", self._closed),
            ("GET", r"/sessions/([^/]+)", self._details),
            ("GET", r"/instances/usage", lambda: {"usage_consumed_seconds": 1}),
            ("GET", r"/backends/[^/]+/configuration", _configuration),
            ("GET", r"/backends/[^/]+/properties", _properties),
            ("GET", r"/backends/[^/]+/status", lambda: dict(STATUS)),
        ]
        for verb, pattern, answer in rules:
            found = re.fullmatch(pattern, path)
            if verb == method and found:
                try:
                    return _response(request, 200, answer(*found.groups()))
                except KeyError:
                    return _response(request, 404, _error("Job not found"))
                except PermissionError as error:
                    return _response(request, 403, _error(str(error)))
                except RuntimeError as error:
                    return _response(request, 409, _error(str(error)))
        raise AssertionError(f"{method} {path} is not answered")

    def _submitted(self, request: requests.PreparedRequest) -> requests.Response:
        given = json.loads(str(request.body), cls=RuntimeDecoder)
        session = self.sessions.get(given.get("session_id", ""))
        if given.get("session_id") and (session is None or not session["open"]):
            return _response(request, 400, _error("Session has been closed: it no longer accepts jobs."))
        fault = self.faults.pop(0) if self.faults else ""
        if fault in ("", "lost", "timeout", "duplicate", "garbled"):
            for _ in range(2 if fault == "duplicate" else 1):
                name = self._keep(given)
            if fault in ("", "duplicate"):
                return _response(request, 200, {"id": name, "backend": MACHINE})
        return self._fail(request, fault)

    def _fail(self, request: requests.PreparedRequest, fault: str) -> requests.Response:
        reset = ConnectionResetError(104, "reset")
        raised = {
            "lost": requests.ConnectionError(urllib3.exceptions.ProtocolError("aborted", reset)),
            "timeout": requests.ReadTimeout("Read timed out."),
            "refused": requests.ConnectionError(
                urllib3.exceptions.MaxRetryError(None, "/jobs", urllib3.exceptions.NewConnectionError(None, "refused"))  # type: ignore[arg-type]
            ),
        }  # fmt: skip
        if fault in raised:
            raise raised[fault]
        if fault == "garbled":
            return _response(request, 200, "<html>busy</html>")
        return _response(request, int(fault), _error(f"server says {fault}; you sent apikey {TOKEN} for {CRN}"))

    def _keep(self, given: dict[str, Any]) -> str:
        name = f"job{len(self.jobs)}"
        pubs = given["params"]["pubs"]
        result = StatevectorSampler(seed=self.seed).run([tuple(pub) for pub in pubs]).result()
        for part in result:
            if not self.keeps_metadata:
                part.metadata["circuit_metadata"] = {}
        answer = json.dumps(result, cls=RuntimeEncoder)
        status = "Queued" if self.waits else "Completed"
        row = {"tags": given.get("tags", []), "status": status, "result": answer, "hidden": self.hidden_for}
        self.jobs[name] = {**row, "session": given.get("session_id"), "params": given["params"]}
        return name

    def _job(self, name: str) -> dict[str, Any]:
        row = self.jobs[name]
        out = {
            "id": name,
            "backend": MACHINE,
            "state": {"status": row["status"], "reason": row.get("reason")},
            "tags": row["tags"],
            "session_id": row["session"],
            "program": {"id": "sampler"},
            "created": CREATED,
        }
        return {**out, "params": json.loads(json.dumps(row["params"], cls=RuntimeEncoder))}

    def _listed(self, query: dict[str, list[str]]) -> dict[str, Any]:
        wanted = set(query.get("tags", []))
        found = []
        for name, row in self.jobs.items():
            if wanted <= set(row["tags"]):
                row["hidden"] -= 1
                if row["hidden"] < 0:
                    found.append(self._job(name))
        return {"jobs": found, "count": len(found)}

    def _cancel(self, name: str) -> dict[str, Any]:
        if self.jobs[name]["status"] == "Completed":
            raise RuntimeError("Job is in a terminal state")
        self.jobs[name]["status"] = "Cancelled"
        return {}

    def _session(self, given: dict[str, Any]) -> dict[str, Any]:
        if not self.plan_has_sessions:
            raise PermissionError("You are not authorized to run a session when using the open plan.")
        name = f"session{len(self.sessions)}"
        self.sessions[name] = {"open": True, "mode": given.get("mode"), "max": given.get("max_ttl")}
        return {"id": name}

    def _closed(self, name: str) -> dict[str, Any]:
        self.sessions[name]["open"] = False
        return {}

    def expire(self, name: str, end: str = "Cancelled") -> None:
        """End a session as its limit does: what waits in it is dropped."""
        self.sessions[name]["open"] = False
        for row in self.jobs.values():
            if row["session"] == name and row["status"] == "Queued":
                row.update(status=end, unrun=True)

    def _details(self, name: str) -> dict[str, Any]:
        is_open = self.sessions[name]["open"]
        state = {"state": "active" if is_open else "closed", "accepting_jobs": is_open}
        return {"id": name, "elapsed_time": self.elapsed, **state}

    def _metrics(self, name: str) -> dict[str, Any]:
        if self.jobs[name].get("unrun"):
            return {"timestamps": {"created": CREATED, "running": None, "finished": RUNNING}, "usage": self.usage}
        stamps = {"created": CREATED, "running": RUNNING, "finished": RUNNING}
        self.pending -= 1
        told = {"status": "complete", "qpu_charge_time_seconds": SECONDS}
        return {"timestamps": stamps, "usage": self.usage if self.pending >= 0 else told}


def _configuration() -> dict[str, Any]:
    return {**_snapshot("conf"), "backend_name": MACHINE, "simulator": False}


def _properties() -> dict[str, Any]:
    return {**_snapshot("props"), "backend_name": MACHINE}


def _snapshot(what: str) -> dict[str, Any]:
    with open(f"{FakeManilaV2.dirname}/{what}_manila.json", encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
    return found


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "code": 1000}}


def _response(request: requests.PreparedRequest, status: int, body: Any) -> requests.Response:
    out = requests.Response()
    out.status_code, out.request, out.url, out.encoding = status, request, str(request.url), "utf-8"
    out._content = (body if isinstance(body, str) else json.dumps(body)).encode()
    return out


class StubService(QiskitRuntimeService):
    """IBM's service, connected to a `Server`."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(cls)

    def __init__(self, server: Server) -> None:  # IBM's own asks for an account's instances over the network
        given = ClientParameters(
            "ibm_quantum_platform", TOKEN, "http://stub", CRN, url_resolver=lambda *args: "http://stub"
        )
        client = RuntimeClient(given)
        client._session.auth = None
        client._session.mount("http://", server)
        self._client_params = given
        self._channel = "ibm_quantum_platform"
        self._active_api_client = client
        self._api_clients = {CRN: client}
        self._backend_configs = {}
        self._backends_info_per_instance = {}
        self._backend_instance_groups = []
        self._default_instance = True

    def backend(self, name: str, instance: str | None = None, **kwargs: Any) -> Any:
        """A machine, without asking for the account's list of them: by its whole name, as IBM's client compares it."""
        if name != MACHINE:
            raise QiskitBackendNotFoundError(f"No backend matches the criteria: {name}.")
        return self._create_backend_obj(name, instance or CRN, use_fractional_gates=False)
