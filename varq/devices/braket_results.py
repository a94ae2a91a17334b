"""Results of quantum tasks, as AWS keeps them in S3."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from varq.devices.braket_circuits import bits_from_counts, bits_in_wire_order
from varq.devices.braket_faults import without_secrets
from varq.devices.faults import PermanentError
from varq.devices.service import Bits

__all__ = ["TaskResult", "read_task"]

RESULTS = "results.json"


@dataclass(frozen=True, eq=False)
class TaskResult:
    """Bits of each circuit of a task, and the seconds that a simulator was busy (None of other devices)."""

    bits: tuple[Bits, ...]
    seconds: float | None


def read_task(
    fetch: Callable[[str, str], Any], bucket: str, folder: str, wires: Sequence[int], shots: int
) -> TaskResult:
    """The result of a task.

    The SDK reads the parts of a program set's result with the credentials of the environment, whatever session it was
    given (amazon-braket-sdk 1.127, tasks/program_set_quantum_task_result.py); hence the parts are fetched here.

    Args:
        fetch: gives what a key of an S3 bucket holds, as the SDK's schema object.
        bucket: of the task.
        folder: of the task in its bucket.
        wires: how many each circuit measured.
        shots: of each circuit.

    Raises:
        PermanentError: if a circuit failed, or results are missing.
    """
    result = fetch(bucket, f"{folder}/{RESULTS}")
    if hasattr(result, "programResults"):
        runs, seconds = _executables(fetch, result), None
    else:
        simulated = getattr(result.additionalMetadata, "simulatorMetadata", None)
        runs, seconds = [result], None if simulated is None else simulated.executionDuration / 1000
    lost = [run for run in runs if not hasattr(run, "measuredQubits")]
    if lost:
        why = getattr(getattr(lost[0], "failureMetadata", None), "failureReason", "it was cancelled")
        raise PermanentError(
            f"{len(lost)} of {len(runs)} circuits have no result, the first because: {without_secrets(why)}. "
            "Run them again once that is settled."
        )
    if len(runs) != len(wires):
        raise PermanentError(f"The result of a task of {len(wires)} circuits must have as many parts. Got {len(runs)}.")
    return TaskResult(tuple(_bits(run, n, shots) for run, n in zip(runs, wires, strict=True)), seconds)


def _executables(fetch: Callable[[str, str], Any], result: Any) -> list[Any]:
    """The parts of a program set's result, in the order in which they were sent."""
    bucket, prefix = result.s3Location or ("", "")

    def resolved(part: Any) -> Any:
        return fetch(bucket, f"{prefix}/{part}") if isinstance(part, str) else part

    runs: list[Any] = []
    for program in map(resolved, result.programResults):
        runs.extend(sorted(map(resolved, program.executableResults), key=lambda run: int(run.inputsIndex)))
    return runs


def _bits(run: Any, wires: int, shots: int) -> Bits:
    rows = run.measurements
    if not rows and run.measurementProbabilities:
        rows = bits_from_counts(run.measurementProbabilities, shots)
    return bits_in_wire_order(rows, run.measuredQubits, wires, shots)
