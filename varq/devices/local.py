"""Any PennyLane device as a place that takes jobs: each job runs here, while it is sent."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np
from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript

from varq.devices.faults import DeviceError, GoneError, PermanentError, UncertainError
from varq.devices.service import Bits, Circuit, JobResult, JobStatus, Limits, Mode, Plain

__all__ = ["LocalService"]


class LocalService(Plain):
    """Jobs on a PennyLane device in this process.  A result is given out once, and is gone with the process.

    Args:
        name: of the device.
        device: gives the PennyLane device for a number of wires.
        reseed: gives a device a fresh generator from a seed, so that what it ran before changes nothing; None where
            its samples cannot be seeded.
        paid: whether it reaches a machine that costs something.  Nobody but the machine's vendor can then say whether
            a job that was not answered ran: it is uncertain, and not sent again until a person settles it.
        any_gates: whether circuits come in any gates and are written in the device's own first; if not, they are
            written for it already.
        middle: whether the device runs circuits whose angles follow from what was measured before.
    """

    def __init__(
        self,
        name: str,
        device: Callable[[int], Any],
        reseed: Callable[[Any, int], None] | None,
        paid: bool = False,
        any_gates: bool = False,
        middle: bool = False,
    ) -> None:
        self.name = name
        self.paid = paid
        self.seeded = reseed is not None
        self.limits = Limits()
        self.mode = Mode.JOB
        self._device = device
        self._reseed = reseed
        self._any_gates = any_gates
        self._middle = middle
        self._devices: dict[int, Any] = {}
        self._configs: dict[str, ExecutionConfig] = {}
        self._results: dict[str, JobResult] = {}
        self._numbers = count()

    def compile(self, circuits: Sequence[Circuit]) -> None:
        """Nothing: a PennyLane device takes tapes as they are."""

    def open(self) -> str | None:
        """Nothing: there is no session to open."""
        return None

    def takes(self, circuit: Circuit) -> bool:
        """Whether a circuit can run here that measures in its middle or has a program: those run in this process."""
        return circuit.program is not None or self._middle

    def submit(self, circuits: Sequence[Circuit], tag: str) -> str:
        """Run one job; returns its id.

        Raises:
            UncertainError: if it may have been paid for and gave no bits.
        """
        began = time.perf_counter()
        try:
            bits = tuple(self._run(circuits))
        except Exception as error:
            if not self.paid:
                raise
            said = str(error) if isinstance(error, DeviceError) else f"{type(error).__name__}: {error}"
            raise UncertainError(
                f"A job on {self.name} must give bits. It ended in an error, and may have been paid for. {said}"
            ) from error
        if self.paid:  # how long the machine was busy, and how long it let wait, the call does not tell
            job = f"local-{uuid.uuid4().hex}"  # no other process has one of this name
            self._results[job] = JobResult(bits)
            return job
        job = f"local-{next(self._numbers)}"
        self._results[job] = JobResult(bits, seconds=time.perf_counter() - began, queued=0.0)
        return job

    def _run(self, circuits: Sequence[Circuit]) -> list[Bits]:
        if self._reseed is not None:
            return [self._one(circuit) for circuit in circuits]
        out: list[Bits | None] = [self._one(circuit) if circuit.bound else None for circuit in circuits]
        for wires in sorted({c.wires for c in circuits if not c.bound}):
            places = [k for k, c in enumerate(circuits) if c.wires == wires and not c.bound]
            device, config = self._opened(circuits[places[0]])
            results = device.execute(tuple(self._written(device, circuits[k].tape) for k in places), config)
            for k, result in zip(places, results, strict=True):
                out[k] = _bits(result, wires, self.name)
        return [bits for bits in out if bits is not None]

    def _one(self, circuit: Circuit) -> Bits:
        device = self._device_of(circuit)
        if self._reseed is not None:
            self._reseed(device, circuit.seed)
        began = time.perf_counter()
        if circuit.program is not None:
            result: Any = circuit.program(device, circuit)
        else:
            device, config = self._opened(circuit)
            (result,) = device.execute((self._written(device, circuit.tape),), config)
        if circuit.told is not None:
            circuit.told(time.perf_counter() - began)
        return _bits(result, circuit.width, self.name)

    def _written(self, device: Any, tape: QuantumScript) -> QuantumScript:
        """A tape in gates that the device takes as they are."""
        if not self._any_gates:
            return tape
        config = device.setup_execution_config(ExecutionConfig(), tape)
        written: QuantumScript
        (written,), _ = device.preprocess_transforms(config)([tape])
        return written

    def _opened(self, circuit: Circuit) -> tuple[Any, ExecutionConfig]:
        device = self._device_of(circuit)
        if circuit.structure not in self._configs:
            self._configs[circuit.structure] = device.setup_execution_config(ExecutionConfig(), circuit.tape)
        return device, self._configs[circuit.structure]

    def _device_of(self, circuit: Circuit) -> Any:
        if circuit.wires not in self._devices:
            self._devices[circuit.wires] = self._device(circuit.wires)
        return self._devices[circuit.wires]

    def find(self, tag: str) -> str | None:
        """None: a job that is not in this process's hands never ran to its end.

        Raises:
            UncertainError: if running it costs something: it may have.
        """
        if self.paid:
            raise UncertainError(
                f"{self.name} runs a job while it is sent, and keeps no list of jobs. Whether job {tag} ran, and was "
                "paid for, is not known here. Look at the pages of the machine's vendor, then settle it: "
                "session.settle(job, lost=True) has its circuits sent again."
            )
        return None

    def status(self, job: str) -> JobStatus:
        """Done, since jobs run while they are sent."""
        if job not in self._results:
            raise self._gone(job)
        return JobStatus.DONE

    def result(self, job: str) -> JobResult:
        """The result, which is then forgotten here.

        Raises:
            GoneError: if it was given out already, or the job ran in another process.
        """
        if job not in self._results:
            raise self._gone(job)
        return self._results.pop(job)

    def _gone(self, job: str) -> GoneError:
        return GoneError(
            f"A job on {self.name} lives in the process that sent it, and its result is given out once. "
            f"Job {job!r} is not here. Send its circuits again."
        )

    def cancel(self, job: str) -> bool:
        """False: what was sent has run."""
        return False

    def close(self) -> None:
        """Nothing is open."""


def _bits(result: Any, wires: int, device: str) -> Bits:
    """What a device gave for a sample, which need not be one."""
    given = np.asarray(result)
    if given.dtype.kind not in "biuf" or given.size % wires or not np.all((given == 0) | (given == 1)):
        raise PermanentError(
            f"A sample of a circuit is zeros and ones, shape (shots, {wires}). {device} gave {given.dtype} of shape "
            f"{given.shape}, such as {given.ravel()[:4].tolist()}. None of it is used; "
            "try varq.qubit to see whether it is the device."
        )
    return given.astype(np.uint8).reshape(-1, wires)
