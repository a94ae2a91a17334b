"""What sessions and jobs refuse, with the reason, and what of a person or an account never reaches the disk."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from job_samples import OWNER, SHOTS, bits, job, job_id, returned, rows, session, session_id

from varq.store.circuit_records import CircuitRow, Returned
from varq.store.faults import ConflictError, StoreUnwritable
from varq.store.job_records import JobRecord, SessionRecord
from varq.store.jobs import Jobs
from varq.store.store import open_store


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    with open_store(None, host="ada") as store:
        store.jobs.open(session())
        yield store.jobs
        assert store.verify() == []


# -- what is refused


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"id": "short"}, ValueError, r"id must have 8 to 64 letters.*Got 'short'"),
        ({"id": "session 0001"}, ValueError, r"id must have 8 to 64 letters"),
        ({"id": 7}, TypeError, r"id must be of type str"),
        ({"created": math.nan}, ValueError, r"created must be finite"),
        ({"host": ""}, ValueError, r"host must not be an empty string"),
        ({"device": None}, TypeError, r"device must be of type str"),
        ({"shots": 0}, ValueError, r"shots must be at least 1"),
        ({"settings": "[1]"}, ValueError, r"settings must be the text of a JSON object. Got '\[1\]'"),
        ({"settings": "{"}, ValueError, r"settings must be the text of a JSON object. Got '\{'"),
        ({"settings": {"a": 1}}, TypeError, r"settings must be of type str.*varq.spec.canonical"),
        ({"state": "shut"}, ValueError, r"state must be one of 'broken', 'closed', 'open'. Got 'shut'"),
    ],
)
def test_bad_sessions(changes: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        SessionRecord(**vars(session()) | changes)


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"id": "x" * 65}, ValueError, r"id must have 8 to 64 letters"),
        ({"session": "s"}, ValueError, r"session must have 8 to 64 letters"),
        ({"number": -1}, ValueError, r"number must be at least 0"),
        ({"circuits": 0}, ValueError, r"circuits must be at least 1"),
        ({"shots": 1.5}, TypeError, r"shots must be an integer"),
        ({"shots": 2**63}, ValueError, r"shots must be at most 9223372036854775807"),
        ({"attempts": True}, TypeError, r"attempts must be an integer"),
        ({"estimate_cost": -0.5}, ValueError, r"estimate_cost must be at least 0"),
        ({"cost": math.inf}, ValueError, r"cost must be finite"),
        ({"seconds": "1"}, TypeError, r"seconds must be a real number"),
        ({"paid": 1}, TypeError, r"paid must be True or False"),
        ({"state": "lost"}, ValueError, r"state must be one of .* Got 'lost'"),
        ({"provider_id": ""}, ValueError, r"provider_id must not be an empty string"),
        ({"details": []}, TypeError, r"details must be of type dict"),
        ({"details": {"x": object()}}, TypeError, r"details must be JSON data"),
    ],
)
def test_bad_jobs(changes: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        JobRecord(**vars(job(0)) | changes)


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"digest": "abc"}, ValueError, r"digest must be a SHA-256 in 64 hexadecimal digits. Got 'abc'"),
        ({"bits": "Z" * 64}, ValueError, r"bits must be a SHA-256"),
        ({"position": -1}, ValueError, r"position must be at least 0"),
        ({"shots": 0}, ValueError, r"shots must be at least 1"),
        ({"seed": 2**63}, ValueError, r"seed must be at most"),
        ({"wires": -1}, ValueError, r"wires must be at least 0"),
        ({"uses": ()}, ValueError, r"uses must name at least one request"),
        ({"uses": (("a", 0, "step"),)}, TypeError, r"uses must hold tuples of owner, step, role and item"),
        ({"uses": (("a", 0, "step", 0),) * 2}, ValueError, r"uses must name each request once"),
        ({"uses": (("", 0, "step", 0),)}, ValueError, r"owner must not be an empty string"),
        ({"uses": (("a", -1, "step", 0),)}, ValueError, r"step must be at least 0"),
        ({"uses": "abcd"}, TypeError, r"uses must be of type tuple or list"),
    ],
)
def test_bad_circuits(changes: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        CircuitRow(**vars(rows(job(0))[0]) | changes)


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"bits": np.zeros((2, 2))}, TypeError, r"bits must be of type tuple or list"),
        ({"bits": [[[0, 1]]]}, TypeError, r"bits\[0\] must be of type ndarray"),
        ({"bits": [np.zeros((2, 2))]}, TypeError, r"bits\[0\] must be of dtype uint8. Got float64"),
        (
            {"bits": [np.zeros(2, np.uint8)]},
            ValueError,
            r"bits\[0\] must have shape \(shots, wires\). Got shape \(2,\)",
        ),
        ({"bits": [np.full((2, 2), 3, np.uint8)]}, ValueError, r"bits\[0\] must hold zeros and ones. Got 3"),
        ({"cost": -1.0}, ValueError, r"cost must be at least 0"),
        ({"details": {"x": {1}}}, TypeError, r"details must be JSON data"),
        ({"job": "j"}, ValueError, r"job must have 8 to 64"),
    ],
)
def test_bad_results(changes: dict[str, Any], error: type[Exception], match: str) -> None:
    fields: dict[str, Any] = {"job": job_id(0), "bits": ()}
    with pytest.raises(error, match=match):
        Returned(**fields | changes)


def _write(*made: Any, circuits: list[CircuitRow] | None = None) -> Callable[[Jobs], None]:
    return lambda jobs: jobs.write(made, [r for one in made for r in rows(one)] if circuits is None else circuits)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (
            _write(job(0, circuits=2), circuits=rows(job(0))),
            ValueError,
            r"must have the positions 0 to 1 in|positions 0 to 1",
        ),
        (_write(job(0), circuits=rows(job(1))), ValueError, r"circuits must be of the jobs written with them"),
        (_write(job(0, shots=7)), ValueError, rf"must be those of its circuits together, {SHOTS}. Got 7"),
        (_write(job(1), job(0)), ValueError, r"in the order of their numbers. Got 0 after 1"),
        (_write(job(0), job(1, of=1)), ValueError, r"jobs must be of one session"),
        (_write(job(0, state="sent")), ValueError, r"A job is written before it is sent.*'sent'"),
        (_write(job(0, provider_id="p")), ValueError, r"A job is written before it is sent"),
        (_write(job(0, of=9)), LookupError, r"There is no session 'session-00000009'"),
        (lambda jobs: jobs.write([rows(job(0))[0]], []), TypeError, r"jobs must be of type JobRecord"),
        (lambda jobs: jobs.write([], [job(0)]), TypeError, r"circuits must be of type CircuitRow"),
        (lambda jobs: jobs.sent({"x": "p"}), ValueError, r"job must have 8 to 64"),
        (lambda jobs: jobs.sent({job_id(0): ""}), ValueError, r"ids must not be an empty string"),
        (lambda jobs: jobs.mark(job_id(0), "lost"), ValueError, r"state must be one of"),
        (lambda jobs: jobs.mark([job_id(0)] * 2, "failed"), ValueError, r"One of them is given twice"),
        (lambda jobs: jobs.mark(job_id(0), "failed", cost=-1), ValueError, r"cost must be at least 0"),
        (lambda jobs: jobs.mark(job_id(0), "failed", error=7), TypeError, r"error must be of type str"),
        (lambda jobs: jobs.mark(job_id(0), "failed", attempts=-1), ValueError, r"attempts must be at least 0"),
        (lambda jobs: jobs.sent({job_id(0): "p"}, when=-1.0), ValueError, r"when must be at least 0"),
        (lambda jobs: jobs.finish([job(0)]), TypeError, r"returned must be of type Returned"),
        (lambda jobs: jobs.job("varq-ffff"), LookupError, r"There is no job 'varq-ffff'"),
        (lambda jobs: jobs.circuits(job_id(0)), LookupError, r"There is no job"),
        (lambda jobs: jobs.bits(job_id(0), -1), ValueError, r"position must be at least 0"),
        (lambda jobs: jobs.results("", 0, "step"), ValueError, r"owner must not be an empty string"),
        (lambda jobs: jobs.results("a", -1, "step"), ValueError, r"step must be at least 0"),
        (lambda jobs: jobs.jobs(session_id(), ["lost"]), ValueError, r"states must be one of"),
        (lambda jobs: jobs.open("session"), TypeError, r"record must be of type SessionRecord"),
        (lambda jobs: jobs.owner("s"), ValueError, r"session must have 8 to 64"),
    ],
)
def test_bad_calls(jobs: Jobs, call: Callable[[Jobs], None], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call(jobs)
    assert jobs.jobs(session_id()) == []


def test_numbers_go_on_and_ids_are_new(jobs: Jobs) -> None:
    jobs.write([job(4)], rows(job(4)))
    for number in (3, 4):
        with pytest.raises(ValueError, match=rf"number must go on from 4 in session-00000000. Got {number}"):
            jobs.write([job(number, id=job_id(50))], rows(job(number, id=job_id(50))))
    with pytest.raises(ConflictError, match="A job is written once"):
        jobs.write([job(5), job(6, id=job_id(4))], [*rows(job(5)), *rows(job(6, id=job_id(4)))])
    assert jobs.jobs(session_id()) == [job(4)]
    jobs.write([job(5)], rows(job(5)))


def test_results_that_do_not_fit(jobs: Jobs) -> None:
    record = job(0, circuits=2)
    jobs.write([record], rows(record))
    jobs.sent({record.id: "p"})
    with pytest.raises(ValueError, match=r"one array for each of its 2 circuits. Got 1. Nothing was written"):
        jobs.finish([returned(record, bits=(bits(record),))])
    with pytest.raises(ValueError, match=rf"Circuit 1 of job .* must have {SHOTS} shots. Got {SHOTS - 1}"):
        jobs.finish([returned(record, bits=(bits(record), bits(record)[1:]))])
    assert jobs.results(OWNER, 0, "step") == {0: "sent", 1: "sent"}


def test_reading_only(tmp_path: Path) -> None:
    with open_store(tmp_path, host="ada") as store:
        store.jobs.open(session())
        store.jobs.write([job(0)], rows(job(0)))
    with open_store(tmp_path, read_only=True, host="ada") as viewer:
        assert viewer.jobs.jobs(session_id()) == [job(0)]
        for call in (
            lambda: viewer.jobs.open(session(1)),
            lambda: viewer.jobs.write([job(1)], rows(job(1))),
            lambda: viewer.jobs.sent({job_id(0): "p"}),
            lambda: viewer.jobs.post(session_id(), "stop"),
            lambda: viewer.jobs.take(session_id()),
            lambda: viewer.jobs.note(session_id(), "state"),
        ):
            with pytest.raises(StoreUnwritable, match="opened for reading"):
                call()


# -- privacy


@pytest.mark.parametrize(
    "settings",
    [
        '{"token":"zzz"}',
        '{"account":{"api_key":"zzz"}}',
        '{"a":[{"clientSecret":"zzz"}]}',
        '{"AWS_SECRET_ACCESS_KEY":"zzz"}',
        '{"key":"zzz"}',
        '{"Passwort":0,"password":"zzz"}',
        '{"credentials":{}}',
        '{"url":"https://ada:zzz@host/"}',
        '{"header":"Authorization: Bearer zzzzzzzzz"}',
    ],
)
def test_settings_with_credentials_are_refused(settings: str) -> None:
    with pytest.raises(ValueError, match=r"settings must hold no credentials. Got the entry") as caught:
        session(settings=settings)
    assert "zzz" not in str(caught.value)


@pytest.mark.parametrize("settings", ['{"keyboard":1,"mode":"job","monkey":2}', '{"url":"https://host:8080/a@b"}'])
def test_settings_without_credentials_are_kept(settings: str) -> None:
    assert session(settings=settings).settings == settings


def test_no_credential_reaches_the_file(tmp_path: Path) -> None:
    secret = "hunter2hunter2"
    with open_store(tmp_path, host="ada") as store:
        store.jobs.open(session())
        store.jobs.write([job(0), job(1)], [*rows(job(0)), *rows(job(1))])
        store.jobs.mark(job_id(1), "failed", error=f"401 for https://ada:{secret}@host?token={secret}&n=1 at step 3")
        store.jobs.sent({job_id(0): "p"})
        store.jobs.finish([returned(job(0), details={"accessToken": secret, "log": [f"apikey: '{secret} x'"], "n": 1})])
        store.jobs.note(session_id(), "warning", {"said": f"Bearer {secret}"})
        store.jobs.post(session_id(), {"password": secret})
        assert store.jobs.job(job_id(0)).details == {
            "accessToken": "(not kept)",
            "log": ["apikey: (not kept)"],
            "n": 1,
        }
        assert "n=1 at step 3" in str(store.jobs.job(job_id(1)).error)
        assert store.verify() == []
        for path in tmp_path.iterdir():
            assert secret.encode() not in path.read_bytes()


@pytest.mark.parametrize("mask", [0o000, 0o022])
def test_the_store_is_readable_by_its_owner_only(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with open_store(tmp_path / "runs", host="ada") as store:
            store.jobs.open(session())
            store.jobs.write([job(0, paid=True)], rows(job(0)))
            store.jobs.post(session_id(), "stop")
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "runs").iterdir()}
            store.gc()
        modes["folder"] = stat.S_IMODE((tmp_path / "runs").stat().st_mode)
    finally:
        os.umask(before)
    assert modes == {
        "folder": 0o700,
        "ada.sqlite": 0o600,
        "ada.sqlite-wal": 0o600,
        "ada.sqlite-shm": 0o600,
    }
    assert stat.S_IMODE((tmp_path / "runs" / "ada.sqlite").stat().st_mode) == 0o600
