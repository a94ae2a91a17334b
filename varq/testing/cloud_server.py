"""A vendor's service in miniature: `python -m varq.testing.cloud_server FOLDER PORT`, on this machine alone.

What it accepts is on disk before it answers, so that it can be killed and started again on the same folder and port.
It does everything that goes wrong with such services, by a plan in FOLDER/plan.json that it reads before each call:

    {"rate": 0.3, "seed": 1, "kinds": ["503", "lost"],      # 30 % of all calls, drawn from these kinds
     "script": {"submit:0": "lost"},                        # the first submission: counted from the folder's beginning
     "session": 20,                                         # submissions after which a session expires
     "slow": 0.05,                                          # seconds that a job waits with "slow"
     "lag": 0.2,                                            # seconds until a job is listed under its tag
     "repeat": true,                                        # whether a tag that comes again is a job again
     "hold": ["submit"]}                                    # calls that wait until the plan no longer says so
"""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import sqlite3
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from varq.testing.cloud_gates import GATES, sampled

__all__ = ["KINDS", "RefusedError", "Vendor", "serve"]

KINDS = ("503", "timeout", "lost", "duplicate", "expired", "slow", "failed")
"""Refused before anything is done; never answered, nothing done; done, and the answer lost; answered with the answer of
the call before, after it was done; the session has expired; the job waits; the job fails.  A script may also say "die":
done, and the process is killed before it answers."""

_TABLES = """
    CREATE TABLE IF NOT EXISTS calls (number INTEGER PRIMARY KEY, path TEXT, fault TEXT);
    CREATE TABLE IF NOT EXISTS sessions (number INTEGER PRIMARY KEY, used INTEGER, ended INTEGER);
    CREATE TABLE IF NOT EXISTS jobs
        (number INTEGER PRIMARY KEY, tag TEXT, circuits TEXT, shots INTEGER, ready REAL, state TEXT, result TEXT,
         received REAL);
"""


class RefusedError(Exception):
    """The call is answered with an HTTP status other than 200."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Vendor:
    """The jobs of a folder.

    Args:
        folder: with the file of jobs, and the plan.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.db = sqlite3.connect(folder / "cloud.sqlite", isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.executescript(_TABLES)

    def plan(self) -> dict[str, Any]:
        """What is to go wrong."""
        path = self.folder / "plan.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def fault(self, path: str, plan: dict[str, Any]) -> str | None:
        """Count a call, and say what goes wrong with it."""
        before = self.db.execute("SELECT count(*) FROM calls WHERE path = ?", (path,)).fetchone()[0]
        number = self.db.execute("SELECT coalesce(max(number), -1) + 1 FROM calls").fetchone()[0]
        kind: str | None = plan.get("script", {}).get(f"{path}:{before}")
        draw = random.Random(f"{plan.get('seed', 0)}:{number}")
        if kind is None and draw.random() < plan.get("rate", 0):
            kind = draw.choice(plan.get("kinds", KINDS))
        self.db.execute("INSERT INTO calls VALUES (?, ?, ?)", (number, path, kind))
        return kind

    def answer(self, path: str, body: dict[str, Any], fault: str | None, plan: dict[str, Any]) -> dict[str, Any]:
        """Do what a call asks for.

        Raises:
            RefusedError: if it is answered with an error.
        """
        calls = {"open": self._open, "close": self._close, "tag": self._tag, "status": self._status}
        calls |= {"result": self._result, "cancel": self._cancel}
        if path == "submit":
            return self._submit(body, fault, plan)
        if path == "find":
            return {"jobs": self._under(body["tag"], plan.get("lag", 0))}
        if path not in calls:
            raise RefusedError(404, f"There is no call {path!r}.")
        return calls[path](body)

    def _open(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"session": self.db.execute("INSERT INTO sessions (used, ended) VALUES (0, 0)").lastrowid}

    def _close(self, body: dict[str, Any]) -> dict[str, Any]:
        self.end(body.get("session"))
        return {}

    def end(self, session: Any) -> None:
        """End a session."""
        self.db.execute("UPDATE sessions SET ended = 1 WHERE number = ?", (session,))

    def _submit(self, body: dict[str, Any], fault: str | None, plan: dict[str, Any]) -> dict[str, Any]:
        self._check_session(body.get("session"), plan)
        circuits, tag = body["circuits"], body["tag"]
        for circuit in circuits:
            for name, wires, numbers in circuit["gates"]:
                if len(numbers) != GATES.get(name, -1) or not set(wires) <= set(range(circuit["wires"])):
                    raise RefusedError(400, f"There is no gate {name!r} on {wires} with {len(numbers)} numbers.")
        found = self._under(tag)
        if found and not plan.get("repeat"):
            return {"job": found[0]}
        result = [_packed(sampled(circuit)) for circuit in circuits]
        shots = sum(circuit["shots"] for circuit in circuits)
        now = time.time()
        ready = now + (plan.get("slow", 0.05) if fault == "slow" else 0)
        state = "failed" if fault == "failed" else "done"
        row = (tag, json.dumps(circuits), shots, ready, state, json.dumps(result), now)
        sql = "INSERT INTO jobs (tag, circuits, shots, ready, state, result, received) VALUES (?, ?, ?, ?, ?, ?, ?)"
        return {"job": f"cloud-{self.db.execute(sql, row).lastrowid}"}

    def _check_session(self, session: Any, plan: dict[str, Any]) -> None:
        found = self.db.execute("SELECT used, ended FROM sessions WHERE number = ?", (session,)).fetchone()
        if found is None or found[1] or found[0] >= plan.get("session", 10**9):
            raise RefusedError(401, "The session has expired.")
        self.db.execute("UPDATE sessions SET used = used + 1 WHERE number = ?", (session,))

    def _under(self, tag: str, lag: float = 0.0) -> list[str]:
        """The jobs under a tag, of those that were received so many seconds ago."""
        sql = "SELECT number FROM jobs WHERE tag = ? AND received <= ? ORDER BY number"
        return [f"cloud-{row[0]}" for row in self.db.execute(sql, (tag, time.time() - lag))]

    def _tag(self, body: dict[str, Any]) -> dict[str, Any]:
        self._job(body)
        number = str(body["job"]).removeprefix("cloud-")
        return {"tag": self.db.execute("SELECT tag FROM jobs WHERE number = ?", (number,)).fetchone()[0]}

    def _job(self, body: dict[str, Any]) -> Any:
        number = str(body["job"]).removeprefix("cloud-")
        sql = "SELECT ready, state, result, shots FROM jobs WHERE number = ?"
        found = self.db.execute(sql, (number,)).fetchone()
        if found is None:
            raise RefusedError(404, f"There is no job {body['job']!r}.")
        return found

    def _status(self, body: dict[str, Any]) -> dict[str, Any]:
        ready, state, _, _ = self._job(body)
        return {"status": state if state == "cancelled" or ready <= time.time() else "queued"}

    def _result(self, body: dict[str, Any]) -> dict[str, Any]:
        _, _, result, shots = self._job(body)
        if self._status(body)["status"] != "done":
            raise RefusedError(400, "The job has no result.")
        return {"bits": json.loads(result), "seconds": shots * 1e-4, "cost": shots * 0.01}

    def _cancel(self, body: dict[str, Any]) -> dict[str, Any]:
        waiting = self._status(body)["status"] == "queued"
        if waiting:
            number = str(body["job"]).removeprefix("cloud-")
            self.db.execute("UPDATE jobs SET state = 'cancelled' WHERE number = ?", (number,))
        return {"cancelled": waiting}


def _packed(bits: Any) -> dict[str, Any]:
    return {"shape": list(bits.shape), "bits": base64.b64encode(np.packbits(bits).tobytes()).decode()}


class _Server(HTTPServer):
    """One call at a time, so that a later one sees all that an earlier one did."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.vendor = Vendor(folder)
        self.unanswered: list[Any] = []
        self.before: bytes | None = None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a caller that has gone, or was killed, hears no answer."""

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, unless the caller is to wait in vain."""
        if request not in self.unanswered:
            super().shutdown_request(request)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        """Answer a call, or do what the plan says in place of that."""
        server, path = self.server, self.path.strip("/")
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        vendor = server.vendor
        while path in (plan := vendor.plan()).get("hold", ()):
            time.sleep(0.01)
        fault = vendor.fault(path, plan)
        if fault == "timeout":
            server.unanswered = [*server.unanswered[-20:], self.request]
            return
        if fault == "expired" and path == "submit":
            vendor.end(body.get("session"))
        if fault == "503":
            self._say(503, b"{}")
            return
        try:
            found, status = vendor.answer(path, body, fault, plan), 200
        except RefusedError as refused:
            found, status = {"error": str(refused)}, refused.status
        said = json.dumps({**found, "call": body.get("call")}).encode()
        before, server.before = server.before, said
        if fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "duplicate" and before is not None:
            self._say(200, before)
        elif fault not in ("lost", "duplicate"):
            self._say(status, said)

    def _say(self, status: int, text: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def serve(folder: Path, port: int) -> None:
    """Answer calls until the process is killed; says the port in FOLDER/port once it listens."""
    with _Server(folder, port) as server:
        (folder / "port").write_text(str(server.server_port))
        server.serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
