"""What the tests of sessions and jobs share: each made from a number, so that another process makes the same."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varq.store.circuit_records import CircuitRow, Returned, Use
from varq.store.job_records import JobRecord, SessionRecord

SHOTS, WIRES = 20, 3
OWNER = "a" * 64


def session_id(number: int = 0) -> str:
    return f"session-{number:08x}"


def job_id(number: int) -> str:
    return f"varq-{hashlib.sha256(str(number).encode()).hexdigest()[:24]}"


def session(number: int = 0, **changes: Any) -> SessionRecord:
    fields: dict[str, Any] = {
        "id": session_id(number),
        "created": 1.75e9 + number,
        "host": "ada",
        "device": "varq.qubit",
        "shots": SHOTS,
        "settings": '{"budget":{"shots":1000},"mode":"job"}',
    }
    return SessionRecord(**fields | changes)


def job(number: int, circuits: int = 1, of: int = 0, **changes: Any) -> JobRecord:
    fields: dict[str, Any] = {
        "id": job_id(number),
        "session": session_id(of),
        "number": number,
        "device": "varq.qubit",
        "circuits": circuits,
        "shots": circuits * SHOTS,
        "created": 1.75e9 + number,
        "estimate_seconds": 0.5,
        "estimate_cost": 0.25,
    }
    return JobRecord(**fields | changes)


def rows(record: JobRecord, owner: str = OWNER) -> list[CircuitRow]:
    """The circuits of a job, each for the step of its number."""
    return [
        CircuitRow(
            record.id,
            position,
            hashlib.sha256(f"{record.id} {position}".encode()).hexdigest(),
            SHOTS,
            seed=position,
            uses=(Use(owner, record.number, "step", position),),
        )
        for position in range(record.circuits)
    ]


def bits(record: JobRecord, position: int = 0) -> NDArray[np.uint8]:
    """What the device draws for a circuit: a function of the job and the position alone."""
    random = np.random.default_rng([record.number, position])
    return random.integers(0, 2, (SHOTS, WIRES), dtype=np.uint8)


def returned(record: JobRecord, **changes: Any) -> Returned:
    drawn = tuple(bits(record, position) for position in range(record.circuits))
    return Returned(record.id, **{"bits": drawn} | changes)
