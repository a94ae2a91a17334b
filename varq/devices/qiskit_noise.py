"""Real machines rehearsed: IBM's snapshots of them, simulated with the noise of the instructions that a job uses.

Aer writes the whole noise model of a machine anew for every job, which for 133 qubits takes longer than any job.
An error acts only where its instruction stands: the errors of other instructions are left out, and each is worked out
once, by Aer's own functions.
"""

from __future__ import annotations

import hashlib
import threading
import time
import warnings
from collections.abc import Iterable
from functools import cache
from typing import Any, TypeAlias

from varq import checks
from varq.devices import qiskit_packages

__all__ = ["Noise", "derived_seed", "fake_backend", "fake_names", "places_of", "rehearsal"]

Place: TypeAlias = tuple[str, tuple[int, ...]]
"""An instruction's name and its qubits."""

_IDEAL = ("barrier", "delay")  # a delay never comes out of a compiler that schedules nothing
_SEEDS = 2**31 - 2


@cache
def _fakes() -> dict[str, type]:
    """IBM's snapshots of machines, by name."""
    provider = qiskit_packages.client().fake_provider
    kinds = [kind for kind in vars(provider).values() if isinstance(kind, type)]
    named = {getattr(kind, "backend_name", None): kind for kind in kinds}
    return {name: kind for name, kind in named.items() if isinstance(name, str) and name.startswith("fake_")}


def fake_names() -> list[str]:
    """The names of IBM's snapshots of machines."""
    return sorted(_fakes())


def fake_backend(name: str) -> Any:
    """IBM's snapshot of a machine, by a name such as "fake_torino".

    Raises:
        ValueError: for another name; lists the close ones.
        ModuleNotFoundError: without qiskit-ibm-runtime.
    """
    kinds = _fakes()
    if name not in kinds:
        near = checks.close_names(name, kinds)
        meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(f"backend must be one of IBM's {len(kinds)} snapshots of machines. Got {name!r}.{meant}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # some say that their numbers are not a real machine's
        return kinds[name]()


def derived_seed(*parts: object) -> int:
    """A seed that Aer takes, not 0 (which IBM's client takes for none), from anything with a repr."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") % _SEEDS + 1


class Noise:
    """The errors of a machine, by instruction.

    Args:
        backend: a Qiskit backend whose target knows error rates and times.
    """

    def __init__(self, backend: Any) -> None:
        self._target = backend.target
        self._names = list(backend.operation_names)
        self._errors: dict[Place, Any] = {}  # None where an instruction has none
        self._lock = threading.Lock()

    def model(self, places: Iterable[Place]) -> Any:
        """Aer's noise model for these instructions."""
        noise = qiskit_packages.aer().noise
        wanted = sorted({place for place in places if place[0] not in _IDEAL})
        model = noise.NoiseModel(basis_gates=self._names)
        with self._lock:
            self._learn([place for place in wanted if place not in self._errors])
            for name, qubits in wanted:
                error = self._errors[name, qubits]
                if error is not None and name == "measure":
                    model.add_readout_error(error, list(qubits))
                elif error is not None:
                    model.add_quantum_error(error, name, list(qubits))
        return model

    def _learn(self, places: list[Place]) -> None:
        device = qiskit_packages.aer().noise.device
        if not places:
            return
        small = self._only(places)
        self._errors.update(dict.fromkeys(places))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some snapshots have T2 a little above 2 T1, which Aer corrects and says
            for name, qubits, error in device.basic_device_gate_errors(target=small):
                self._errors[name, tuple(qubits)] = error
            for qubits, error in device.basic_device_readout_errors(target=small):
                self._errors["measure", tuple(qubits)] = error

    def _only(self, places: list[Place]) -> Any:
        """The target with these instructions alone."""
        full = self._target
        small = qiskit_packages.qiskit().transpiler.Target(
            num_qubits=full.num_qubits, dt=full.dt, qubit_properties=full.qubit_properties
        )
        for name in sorted({name for name, _ in places}):
            known = full[name]
            properties = {qubits: known[qubits] for other, qubits in places if other == name and qubits in known}
            if properties:
                small.add_instruction(full.operation_from_name(name), properties, name=name)
        return small


def places_of(circuits: Iterable[Any]) -> set[Place]:
    """The instructions of Qiskit circuits, and where they stand."""
    out: set[Place] = set()
    for circuit in circuits:
        index = {qubit: i for i, qubit in enumerate(circuit.qubits)}
        out.update((item.operation.name, tuple(index[q] for q in item.qubits)) for item in circuit.data)
    return out


@cache
def _kind() -> type:
    """The class of rehearsals: it extends one of Qiskit's, which is imported only when it is needed."""
    qiskit, simulator = qiskit_packages.qiskit(), qiskit_packages.aer()

    base: Any = qiskit.providers.BackendV2

    class Rehearsal(base):  # type: ignore[misc]
        """A machine for one job of IBM's local mode."""

        def __init__(self, machine: Any, noise: Noise) -> None:
            super().__init__(name=machine.name, backend_version=machine.backend_version)
            self._machine = machine
            self._noise = noise
            self.seconds = 0.0

        def __deepcopy__(self, memo: Any) -> Any:
            return self  # the local mode copies what it is given, and a machine of 133 qubits takes it seconds

        @property
        def target(self) -> Any:
            return self._machine.target

        @property
        def max_circuits(self) -> None:
            return None

        @classmethod
        def _default_options(cls) -> Any:
            return qiskit.providers.Options()

        def run(self, run_input: Any, **options: Any) -> Any:
            """Simulate, with a seed that differs for each number of shots: the local mode runs these one by one."""
            began = time.perf_counter()
            circuits = list(run_input) if isinstance(run_input, (list, tuple)) else [run_input]
            seed = derived_seed(options.pop("seed_simulator", None), options.get("shots"))
            simulated = simulator.AerSimulator(noise_model=self._noise.model(places_of(circuits)))
            job = simulated.run(circuits, seed_simulator=seed, **options)
            job.result()
            self.seconds += time.perf_counter() - began
            return job

    return Rehearsal


def rehearsal(machine: Any, noise: Noise) -> Any:
    """A Qiskit backend that simulates `machine` for one job; `seconds` says for how long it did."""
    return _kind()(machine, noise)
