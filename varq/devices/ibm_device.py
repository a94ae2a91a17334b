"""IBM's machines for any QNode, `qml.device("varq.ibm", wires=4, backend="fake_torino")`: a batch is one job."""

from __future__ import annotations

import contextlib
import itertools
import uuid
import warnings
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pennylane.devices import Device, ExecutionConfig
from pennylane.devices.modifiers import simulator_tracking, single_tape_support
from pennylane.devices.preprocess import (
    decompose,
    measurements_from_samples,
    validate_device_wires,
    validate_measurements,
)
from pennylane.exceptions import DeviceError as UsageError
from pennylane.measurements import CountsMP, ExpectationMP, MeasurementProcess, ProbabilityMP, SampleMP, VarianceMP
from pennylane.tape import QuantumScript
from pennylane.transforms import broadcast_expand, split_non_commuting
from pennylane.transforms.core import CompilePipeline, transform
from pennylane.wires import Wires

from varq import checks
from varq.devices.faults import DeviceError, ExpiredError
from varq.devices.ibm import IBMService, open_ibm
from varq.devices.qiskit_circuits import refuse_middle, signature, taken
from varq.devices.service import Bits, Circuit
from varq.devices.slopes import followed
from varq.simulator.slopes import check_method, fewest_shots

__all__ = ["IBMDevice"]

_MEASURED = (ExpectationMP, VarianceMP, ProbabilityMP, CountsMP, SampleMP)


def _measures(measurement: MeasurementProcess) -> bool:
    if not isinstance(measurement, _MEASURED):
        return False
    return measurement.obs is None or measurement.obs.pauli_rep is not None or measurement.obs.has_diagonalizing_gates


def _exactly(measurement: MeasurementProcess) -> bool:
    return False


@transform  # type: ignore[untyped-decorator]
def _sampled_at_the_end(tape: QuantumScript) -> Any:
    """Refuse what is measured within a circuit, and circuits without shots."""
    refuse_middle(tape)
    if not tape.shots:
        raise UsageError("varq.ibm samples: give shots with qml.set_shots(qnode, shots). Got shots=None.")
    return (tape,), lambda results: results[0]


@simulator_tracking
@single_tape_support
class IBMDevice(Device):  # type: ignore[misc]
    """An IBM machine, or a snapshot of one with its noise; whatever `execute` is given is one job.

    PennyLane hands a device all circuits of a parameter-shift gradient at once: a value and its gradient are one job.

    Nothing that is paid for through it is written down: it has neither a journal nor a budget, and a job whose answer
    is lost is gone. `varq.Session("ibm.<name>", shots=...)` has both. With `mode="session"` or "batch" the first job
    opens IBM's session, whose time is paid for while it waits: leave the device by `with`, or `close` it. What is still
    open is closed when the device is gone, and when Python ends.

    Args:
        wires: a number of wires, or their labels.
        shots: a default number of shots; prefer `qml.set_shots`.
        backend: "fake_<name>" for a snapshot, otherwise the name of a real machine.
        seed: of a snapshot's random numbers; None takes the system's entropy.
        options: of `varq.devices.ibm.open_ibm`, such as `layout`, `optimization_level`, `account` or `mode`.

    Raises:
        ValueError: for an unknown machine or option.
        ModuleNotFoundError: without the extra `ibm`.

    Example:
        >>> import pennylane as qml
        >>> with qml.device("varq.ibm", wires=2, backend="fake_manila", seed=1) as device:  # doctest: +SKIP
        ...     print(device.wires)
    """

    def __init__(
        self,
        wires: Any = None,
        shots: Any = None,
        backend: str = "fake_manila",
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(wires=wires, shots=shots)
        if self.wires is None:
            raise ValueError("wires must be a number of wires or their labels. Got None.")
        self._backend = checks.text("backend", backend)
        self.service = open_ibm(f"ibm.{backend.removeprefix('ibm.')}", len(self.wires), **options)
        self.jobs: list[str] = []
        """IBM's ids of the jobs that were run."""
        self._ready = False
        weakref.finalize(self, _shut, self.service)
        self._seeds = self._stream(seed)

    @staticmethod
    def _stream(seed: int | None) -> Any:
        root = np.random.SeedSequence(None if seed is None else checks.integer("seed", seed, minimum=0))
        return (int(root.spawn(1)[0].generate_state(1, np.uint64)[0]) for _ in itertools.count())

    def reseed(self, seed: int | None) -> None:
        """Start the random numbers of a snapshot anew."""
        self._seeds = self._stream(seed)

    @property
    def name(self) -> str:
        """The device's name."""
        return "varq.ibm"

    def setup_execution_config(
        self, config: ExecutionConfig | None = None, circuit: QuantumScript | None = None
    ) -> ExecutionConfig:
        """The configuration: gradients are made from values.

        Raises:
            ValueError: for finite differences over a step that drowns in the noise of the shots.
        """
        if config is not None and circuit is not None and circuit.shots:
            check_method(config.gradient_method, config.gradient_keyword_arguments, fewest_shots(circuit.shots))
        return replace(config or ExecutionConfig(), use_device_gradient=False, use_device_jacobian_product=False)

    def preprocess_transforms(self, execution_config: ExecutionConfig | None = None) -> CompilePipeline:
        """What tapes go through: each measured group becomes a tape that samples every wire."""
        stages = CompilePipeline()
        stages.add_transform(followed)
        stages.add_transform(validate_device_wires, self.wires, name=self.name)
        stages.add_transform(_sampled_at_the_end)
        stages.add_transform(
            validate_measurements, analytic_measurements=_exactly, sample_measurements=_measures, name=self.name
        )
        stages.add_transform(split_non_commuting, grouping_strategy="qwc")
        stages.add_transform(measurements_from_samples)
        stages.add_transform(decompose, stopping_condition=taken, skip_initial_state_prep=False, name=self.name)
        stages.add_transform(broadcast_expand)
        return stages

    def execute(self, circuits: Sequence[QuantumScript], execution_config: ExecutionConfig | None = None) -> Any:
        """Samples of each tape, from one job."""
        asked = [self._circuit(tape) for tape in circuits]
        self.service.compile(asked)
        if not self._ready:
            self._open()
        tag = f"pennylane-{uuid.uuid4()}"
        try:
            job = self.service.submit(asked, tag)
        except ExpiredError:
            self._open()
            job = self.service.submit(asked, tag)
        self.jobs.append(job)
        found = self.service.result(job)
        return tuple(_parted(tape, bits) for tape, bits in zip(circuits, found.bits, strict=True))

    def _open(self) -> None:
        line = self.service.open()
        self._ready = True
        if line:
            warnings.warn(line, stacklevel=2)

    def close(self) -> None:
        """Close IBM's session, if one is open; a later circuit opens another.  Jobs that were sent stay.

        Raises:
            DeviceError: if IBM cannot be reached; its session ends by itself then.
        """
        if self._ready:
            self._ready = False
            self.service.close()

    def __enter__(self) -> IBMDevice:
        """The device."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close IBM's session."""
        self.close()

    def _circuit(self, tape: QuantumScript) -> Circuit:
        """A tape on integer wires in which every number may change; those of one structure are compiled once."""
        tape = _numbered(tape, self.wires)
        tape.trainable_params = list(range(sum(len(op.data) for op in tape.operations)))
        numbers = np.array([float(x) for op in tape.operations for x in op.data])
        shots = int(tape.shots.total_shots)
        return Circuit(tape, len(tape.measurements[0].wires), shots, next(self._seeds), signature(tape), numbers)


def _shut(service: IBMService) -> None:
    """Close what nobody closed; nobody is there to be told if it fails, and IBM's session ends by itself."""
    with contextlib.suppress(DeviceError):
        service.close()


def _numbered(tape: QuantumScript, wires: Wires) -> QuantumScript:
    """The tape with wires 0, 1, ... in the order of the device's."""
    places = {wire: place for place, wire in enumerate(wires)}
    return tape.copy(
        operations=[op.map_wires(places) for op in tape.operations],
        measurements=[m.map_wires(places) for m in tape.measurements],
    )


def _parted(tape: QuantumScript, bits: Bits) -> Any:
    """The samples of a tape; a tuple of them where its shots are a vector."""
    samples = bits.astype(np.int64)
    if not tape.shots.has_partitioned_shots:
        return samples
    return tuple(samples[first:last] for first, last in tape.shots.bins())
