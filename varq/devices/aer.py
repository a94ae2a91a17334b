"""Qiskit Aer in this process, without noise or with a machine's: each circuit has its own seed."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from varq import checks
from varq.devices import ibm_faults, qiskit_noise, qiskit_packages
from varq.devices.faults import GoneError, PermanentError
from varq.devices.qiskit_circuits import REGISTER, Translator, in_order
from varq.devices.service import Bits, Circuit, JobResult, JobStatus, Limits, Mode, Plain

__all__ = ["AerService", "open_aer"]

NAME = "qiskit-aer"
KEPT = 64  # results that stay at hand
METHODS = ("automatic", "statevector", "density_matrix", "stabilizer", "matrix_product_state", "extended_stabilizer")


class AerService(Plain):
    """Aer as a session uses it; `open_aer` makes one.

    A job is run while it is submitted, circuit after circuit, each with its own seed: within one run Aer derives the
    seed of a circuit from its place.

    Args:
        noise: None, a snapshot of one of IBM's machines, or a `NoiseModel` of Aer.
        layout: for a machine: the qubits that the wires are put on; None lets Qiskit choose.
        optimization_level: for a machine: how hard Qiskit compiles.
        options: of `AerSimulator`.
        wires: most wires; None for what memory allows.
    """

    name = NAME
    paid = False
    mode = Mode.JOB

    def __init__(
        self,
        noise: Any = None,
        layout: Sequence[int] | None = None,
        optimization_level: int = 1,
        options: Mapping[str, Any] | None = None,
        wires: int | None = None,
    ) -> None:
        self.limits = Limits(wires=wires)
        self._options = dict(options or {})
        self._machine = qiskit_noise.Noise(noise) if hasattr(noise, "target") else None
        self._model = noise if self._machine is None else None
        self._translator = Translator(_compiler(noise, layout, optimization_level))
        self._results: OrderedDict[str, JobResult] = OrderedDict()
        self._by_tag: dict[str, str] = {}
        self._count = 0

    @property
    def noisy(self) -> bool:
        """Whether its results carry noise."""
        return self._machine is not None or self._model is not None

    def compile(self, circuits: Sequence[Circuit]) -> None:
        """Translate each structure once.

        Raises:
            PermanentError: for a circuit that cannot be run.
        """
        for circuit in circuits:
            if self.limits.wires is not None and circuit.wires > self.limits.wires:
                raise PermanentError(f"{NAME} was opened with {self.limits.wires} wires. Got {circuit.wires}.")
            ibm_faults.attempt(lambda circuit=circuit: self._translator.find(circuit))  # type: ignore[misc]

    def open(self) -> str | None:
        """There is nothing to open."""
        return None

    def submit(self, circuits: Sequence[Circuit], tag: str) -> str:
        """Run a job; returns its id.  The same tag is run once."""
        if self._by_tag.get(tag) in self._results:
            return self._by_tag[tag]
        began = time.perf_counter()
        self.compile(circuits)
        bits = tuple(ibm_faults.attempt(lambda c=c: self._run(c)) for c in circuits)  # type: ignore[misc]
        job = f"aer-{self._count}"
        self._count += 1
        self._results[job] = JobResult(bits=bits, seconds=time.perf_counter() - began, queued=0.0)
        self._by_tag[tag] = job
        while len(self._results) > KEPT:
            gone, _ = self._results.popitem(last=False)
            self._by_tag = {t: name for t, name in self._by_tag.items() if name != gone}
        return job

    def _run(self, circuit: Circuit) -> Bits:
        translation, numbers = self._translator.find(circuit)
        simulator = qiskit_packages.aer()
        model = self._model
        if self._machine is not None:
            model = self._machine.model(qiskit_noise.places_of([translation.circuit]))
        backend = simulator.AerSimulator(noise_model=model, **self._options)
        sampler = simulator.primitives.SamplerV2.from_backend(backend, seed=qiskit_noise.derived_seed(circuit.seed))
        # Bound here: where Aer (0.17, 0.18) binds parameters itself, it runs crx, cry and crz with wrong angles.
        bound = translation.circuit.assign_parameters(translation.values([numbers])[0])
        (part,) = sampler.run([(bound,)], shots=circuit.shots).result()
        return in_order({(0,): part.data[REGISTER]}, {0: circuit.shots})[0]

    def find(self, tag: str) -> str | None:
        """A job of this process."""
        return self._by_tag.get(tag)

    def status(self, job: str) -> JobStatus:
        """Done, once it is known."""
        self.result(job)
        return JobStatus.DONE

    def result(self, job: str) -> JobResult:
        """What came out.

        Raises:
            GoneError: for a job of another process, or one of long ago.
        """
        if job not in self._results:
            raise GoneError(f"{NAME} has the last {KEPT} jobs of its own process. Got the id {job!r}.")
        return self._results[job]

    def cancel(self, job: str) -> bool:
        """Too late: a job is done when it is submitted."""
        return False

    def close(self) -> None:
        """There is nothing to close."""


def _compiler(noise: Any, layout: Sequence[int] | None, level: int) -> Any:
    if noise is None:
        return lambda circuit: circuit
    make = qiskit_packages.qiskit().transpiler.generate_preset_pass_manager
    if hasattr(noise, "target"):
        places = None if layout is None else list(layout)
        return make(level, target=noise.target, initial_layout=places, seed_transpiler=0).run
    # Errors of a noise model are tied to its gates; any two of its qubits may be joined.
    return make(level, basis_gates=list(noise.basis_gates), seed_transpiler=0).run


def open_aer(
    name: str = NAME,
    wires: int | None = None,
    *,
    noise: Any = None,
    layout: Sequence[int] | None = None,
    optimization_level: int = 1,
    method: str = "automatic",
    options: Mapping[str, Any] | None = None,
) -> AerService:
    """Qiskit Aer.

    Args:
        name: "qiskit-aer".
        wires: most wires; None for what memory allows.
        noise: None for none; the name of a snapshot of one of IBM's machines, such as "fake_manila" (with the extra
            `ibm`); or a `NoiseModel` of Aer.
        layout: for a machine: its qubits for wires 0, 1, ...; None lets Qiskit choose.
        optimization_level: how hard Qiskit compiles for noise, 0 to 3.
        method: of Aer: "automatic", "statevector", "density_matrix", "stabilizer", "matrix_product_state" or
            "extended_stabilizer".
        options: other options of `AerSimulator`.

    Raises:
        ValueError: for a name, a machine, a method or options that are unknown.
        ModuleNotFoundError: without the extra `aer`.
    """
    checks.choice("device", name, [NAME])
    simulator = qiskit_packages.aer()
    if wires is not None:
        checks.integer("wires", wires, minimum=1)
    checks.integer("optimization_level", optimization_level, minimum=0, maximum=3)
    chosen = {**dict(options or {}), "method": checks.choice("method", method, METHODS)}
    if taken := sorted(set(chosen) & {"noise_model", "seed_simulator", "shots", "memory"}):
        raise ValueError(f"options must leave to varq what it sets itself. Got {taken}.")
    try:
        simulator.AerSimulator(**chosen)
    except (AttributeError, simulator.AerError) as error:
        raise ValueError(f"options must be those of AerSimulator. Got {sorted(chosen)}: {error}") from error
    if isinstance(noise, str):
        noise = qiskit_noise.fake_backend(noise)
    elif noise is not None:
        checks.instance("noise", noise, simulator.noise.NoiseModel, hint="Or give a name such as 'fake_manila'.")
    if layout is not None and not hasattr(noise, "target"):
        raise ValueError("layout is for the qubits of a machine. Name one as noise, such as noise='fake_manila'.")
    most = noise.num_qubits if hasattr(noise, "target") else None
    return AerService(noise, layout, optimization_level, chosen, min(filter(None, (wires, most)), default=None))
