"""Spreads as values: what they hold, what they are called, and what is wrong with others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest

import varq
from varq import spec
from varq.algorithms import VQE
from varq.cli import specfile
from varq.devices.catalog import abilities, called, device, open_device, open_service, spread, usable
from varq.devices.service import Circuit, run_now
from varq.devices.several import Spread
from varq.problems import TransverseFieldIsing

pytestmark = pytest.mark.flagless


def test_a_spread_goes_to_json_and_back() -> None:
    whole = spread("ibm.torino", device("braket.eu-north-1/Garnet", layout=(1, 2)), by="shots", weights=(1, 3))
    assert spec.loads(spec.dumps(whole)) == whole
    assert whole.parts == (0.25, 0.75)
    assert str(whole) == called(whole) == "spread(ibm.torino, braket.eu-north-1/Garnet)"
    assert varq.spread is spread


def test_a_spread_is_part_of_what_a_run_is() -> None:
    def identity(where: Any) -> str:
        return spec.identity(VQE(problem=TransverseFieldIsing(2), device=where, shots=10))[0]

    first = identity(spread("default.qubit", "varq.qubit"))
    assert first == identity(Spread(("default.qubit", "varq.qubit")))
    others = [
        spread("varq.qubit", "default.qubit"),
        spread("default.qubit", "varq.qubit", by="shots"),
        spread("default.qubit", "varq.qubit", weights=(1, 2)),
        "varq.qubit",
    ]
    assert len({first, *map(identity, others)}) == 5


def test_abilities_are_those_of_all() -> None:
    able = abilities(spread("varq.qubit", "ibm.torino"))
    assert (able.paid, able.noise, able.seeded, able.analytic) == (True, True, False, False)
    assert abilities(spread("varq.qubit", "default.qubit")).seeded
    assert open_device(spread("varq.qubit", "ibm.torino"), 2).abilities == able


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: spread("varq.qubit"), ValueError, r"at least two devices\. Got 1"),
        (lambda: spread("varq.qubit", "varq.qubit"), ValueError, r"each device once\. Got varq\.qubit twice"),
        (lambda: spread("varq.qubit", "varq.qubid"), ValueError, "device must be one of"),
        (lambda: spread("varq.qubit", 3), TypeError, "device must be of type Device. Got 3"),
        (lambda: spread("varq.qubit", "default.qubit", by="luck"), ValueError, "by must be one of 'auto'"),
        (
            lambda: spread("varq.qubit", spread("varq.qubit", "default.qubit")),
            ValueError,
            r"no other spread\. Got spread\(varq",
        ),
        (lambda: spread("a", "b", weights=(1,)), ValueError, r"weights must be one for each of 2 devices\. Got 1"),
        (lambda: spread("a", "b", weights=(1, 0)), ValueError, "weights must be greater than 0"),
        (lambda: spread("a", "b", weights=("x", 1)), TypeError, "weights must be a real number"),
        (lambda: Spread("ab"), TypeError, "devices must be of type"),
        (lambda: usable(Spread(("varq.qubit", "nothing.here"))), ValueError, "device must be one of"),
        (
            lambda: open_service(spread("varq.qubit", "default.qubit")),
            ValueError,
            "reach the devices of .* through a session",
        ),
        (
            lambda: open_device(spread("varq.qubit", "default.qubit"), 2, "single"),
            ValueError,
            "precision='single' is not offered by spread",
        ),
    ],
)
def test_what_is_no_spread_is_refused(make: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        make()


def test_a_file_names_several_devices_in_a_list(tmp_path: Any) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        'algorithm = "vqe"\n[problem]\nkind = "transverse-field-ising"\nsites = 2\n'
        '[session]\nshots = 100\ndevice = ["default.qubit", "varq.qubit"]\n'
    )
    assert specfile.read(path).device == spread("default.qubit", "varq.qubit")
    path.write_text(path.read_text().replace('"varq.qubit"]', "3]"))
    with pytest.raises(specfile.InputError, match=r"run\.toml, \[session\]: device must be of type str"):
        specfile.read(path)


@pytest.mark.parametrize("name", ["varq.qubit", "default.qubit", "lightning.qubit"])
def test_devices_of_this_process_take_any_gates(name: str) -> None:
    there = [qml.BasisState(np.array([1, 0, 1]), range(3)), qml.QFT(range(3)), qml.adjoint(qml.QFT)(range(3))]
    tape = qml.tape.QuantumScript(there, [qml.sample(wires=range(3))], 20)
    (bits,) = run_now(open_service(name, any_gates=True), [Circuit(tape, 3, 20, 1, "there and back", np.zeros(0))])
    assert (bits == [1, 0, 1]).all()


# -- what a device can do --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "noisy"),
    [
        ("qiskit-aer", False),
        (device("qiskit-aer", noise="fake_manila"), True),
        (device("qiskit-aer", method="stabilizer"), False),
        ("braket.local", False),
        (device("braket.local_dm", noise={"readout": 0.1}), True),
        ("braket.local_dm", True),
        (spread("qiskit-aer", "braket.local"), False),
        (spread("qiskit-aer", "braket.local_dm"), True),
    ],
    ids=str,
)
def test_noise_follows_from_the_name_and_the_options(chosen: Any, noisy: bool) -> None:
    assert abilities(chosen).noise is noisy
