"""Braket's simulators on this machine: jobs run when they are sent, each circuit with its own seed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection
from typing import Any

from varq.devices.braket_circuits import Program, Task, bits_in_wire_order
from varq.devices.braket_faults import translated
from varq.devices.faults import GoneError, PermanentError
from varq.devices.service import Bits, Circuit, JobResult, JobStatus, Limits

__all__ = ["LocalMachine"]


class LocalMachine:
    """Runs tasks on Braket's `LocalSimulator`, as program sets.

    Results are kept by this object alone: in another process a job is gone, and is sent again, as it costs nothing.

    Args:
        name: of the device.
        sdk: the SDK's names.
        simulator: of `varq.devices.braket_sdk.seeded_simulator`.
    """

    paid = False
    seeded = True
    grouped = True

    def __init__(self, name: str, sdk: Any, simulator: Any) -> None:
        self._name = name
        self._sdk = sdk
        self._simulator = simulator
        self._runner = sdk.LocalSimulator(simulator)
        self._results: dict[str, JobResult] = {}
        self._tags: dict[str, tuple[str, tuple[str, ...]]] = {}
        self.limits = Limits(wires=int(simulator.properties.paradigm.qubitCount))

    def payer(self) -> str | None:
        """None: nobody pays."""
        return None

    def open(self) -> None:
        """Nothing to open."""

    def send(self, tasks: tuple[Task, ...], circuits: tuple[Circuit, ...], tag: str) -> str:
        """Run the tasks now; the same tag with the same circuits gives the job that ran under it."""
        digests = tuple(circuit.digest for circuit in circuits)
        if tag in self._tags:
            job, before = self._tags[tag]
            if before != digests:
                raise PermanentError(
                    f"{self._name}: the tag {tag!r} has run other circuits. Give each job its own tag."
                )
            return job
        bits: dict[int, Bits] = {}
        started = time.perf_counter()
        with translated(self._name):
            for task in tasks:
                bits.update(zip(task.order, self._ran(task, [circuits[i].seed for i in task.order]), strict=True))
        job = f"local-{uuid.uuid4()}"
        ordered = tuple(bits[index] for index in range(len(circuits)))
        seconds = time.perf_counter() - started
        self._results[job] = JobResult(ordered, seconds, queued=0.0, cost=0.0, details={"tasks": len(tasks)})
        self._tags[tag] = job, digests
        return job

    def _ran(self, task: Task, seeds: list[int]) -> list[Bits]:
        self._simulator.seeds.clear()
        self._simulator.seeds.extend(seeds)
        programs = [self._program(program, inputs) for program, inputs in task.programs]
        result = self._runner.run(self._sdk.ProgramSet(programs, task.shots)).result()
        entries = [entry for program in result.entries for entry in program.entries]
        if self._simulator.seeds or len(entries) != len(seeds):
            raise RuntimeError(f"Braket must simulate {len(seeds)} circuits. Got {len(entries)} results.")
        return [bits_in_wire_order(e.measurements, e.measured_qubits, task.wires, task.shots) for e in entries]

    def _program(self, program: Program, inputs: tuple[tuple[float, ...], ...]) -> Any:
        return self._sdk.Program(source=program.source, inputs=program.columns(inputs))

    def expect(self, tags: Collection[str]) -> None:
        """Nothing: other processes keep their own."""

    def find(self, tag: str) -> str | None:
        """The job that ran under the tag in this process."""
        return self._tags[tag][0] if tag in self._tags else None

    def tagged(self, job: str, tag: str) -> bool | None:
        """None: a job that ran here is known by its id alone."""
        return None

    def status(self, job: str) -> JobStatus:
        """Done: a job that is sent has run."""
        self.result(job)
        return JobStatus.DONE

    def result(self, job: str) -> JobResult:
        """Of a job of this process."""
        if job not in self._results:
            raise GoneError(
                f"{self._name}: the job {job} ran in another process, which kept its result. Send it again."
            )
        return self._results[job]

    def standing(self) -> dict[str, str | None]:
        """Nobody else is here, and there is nothing to calibrate."""
        return {"queue": "none", "calibrated": "exact"}

    def cancel(self, job: str) -> bool:
        """Too late: it has run."""
        return False
