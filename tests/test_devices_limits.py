"""Limits of a job: those of one's own beside the device's, and those that vendors document."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pennylane as qml
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pennylane.tape import QuantumScript

from varq import spec
from varq.devices.catalog import device
from varq.devices.choice import Device
from varq.devices.service import Limits
from varq.devices.usual import EXECUTIONS, PROGRAMS, usual
from varq.session.session import Session

pytestmark = pytest.mark.flagless

NAMES = [field.name for field in fields(Limits)]
some = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 9))


@given(some, some)
def test_the_lower_one_of_two_limits_holds(theirs: dict[str, int], mine: dict[str, int]) -> None:
    found = Limits(**theirs).within(mine)
    for name in NAMES:
        given_out = [table[name] for table in (theirs, mine) if name in table]
        assert getattr(found, name) == min(given_out, default=None)


@pytest.mark.parametrize(
    ("limits", "error", "match"),
    [
        ({"circuit": 3}, ValueError, r"a limit of a job must be one of .* Did you mean 'circuits'"),
        ({"circuits": 0}, ValueError, r"limits\['circuits'\] must be at least 1. Got 0. Leave it out"),
        ({"depth": 1.5}, TypeError, r"limits\['depth'\] must be an integer"),
        ([3], TypeError, r"limits must be .* Give them by name: limits="),
    ],
)
def test_wrong_limits_are_named(limits: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        device("default.qubit", limits=limits)


def test_they_change_nothing_of_what_a_run_is_and_travel_to_another_process() -> None:
    mine = device("ibm.torino", limits={"circuits": 50})
    assert mine.hashed_as == device("ibm.torino").hashed_as
    assert "limits" not in mine.arguments
    again = spec.decode(spec.encode(mine))
    assert isinstance(again, Device)
    assert again.limits == {"circuits": 50}


def tapes(count: int, depth: int = 1) -> list[QuantumScript]:
    return [QuantumScript([qml.RX(0.1 * k, 0)] * depth, [qml.expval(qml.Z(0))], 50) for k in range(count)]


def test_a_session_splits_its_jobs_by_them() -> None:
    found = {}
    for limits in ({}, {"circuits": 3}, {"job_shots": 100}):
        with Session(device("default.qubit", limits=limits), store=None, progress=False) as session:
            values = session.submit(tapes(8)).result()
            found[str(limits)] = ([line.circuits for line in session.ledger()], [float(v) for v in values])
    assert [jobs for jobs, _ in found.values()] == [[8], [3, 3, 2], [2, 2, 2, 2]]
    assert len({str(values) for _, values in found.values()}) == 1, "the same samples, however they travel"


def test_a_depth_of_one_s_own_refuses_deeper_circuits() -> None:
    with Session(device("default.qubit", limits={"depth": 2}), store=None, progress=False) as session:
        assert len(session.submit(tapes(1, depth=2)).result()) == 1
        with pytest.raises(ValueError, match=r"default.qubit has at most 2 layers of gates\. Got 3"):
            session.submit(tapes(1, depth=3))


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("ibm.torino", Limits(job_shots=EXECUTIONS)),
        ("braket.eu-north-1/Garnet", Limits(circuits=PROGRAMS)),
        ("braket.arn:aws:braket:::device/quantum-simulator/amazon/sv1", Limits()),
        ("braket.us-west-2/DM1", Limits()),
        ("ibm.fake_torino", Limits()),
        ("braket.local", Limits()),
        ("varq.qubit", Limits()),
    ],
)
def test_what_vendors_document(name: str, limits: Limits) -> None:
    assert usual(name).limits == limits


def test_tasks_by_the_vendor_s_kind() -> None:
    shapes = [(100, 4)] * 150 + [(300, 4)] * 2
    assert usual("braket.eu-north-1/Garnet").tasks(shapes) == 2 + 1
    assert usual("braket.us-east-1/sv1").tasks(shapes) == 152
    assert usual("ibm.torino").tasks(shapes) == 1
    with pytest.raises(TypeError, match="name must be"):
        usual(3)  # type: ignore[arg-type]
