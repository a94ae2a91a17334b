"""What a job may hold on the machines of a vendor, as its documents say: for who cannot ask the machine itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from varq import checks
from varq.devices.braket_circuits import task_count
from varq.devices.service import Limits

__all__ = ["EXECUTIONS", "PROGRAMS", "Usual", "usual"]

# https://quantum.cloud.ibm.com/docs/guides/job-limits, "Maximum executions" (read in 2026): circuits times shots of one
# Sampler job, after parameter sets are broadcast.  No number of circuits or PUBs and no depth is named there.  Its
# limits on control instructions and two-qubit gates are checked on what IBM's service makes of the circuits, which says
# so when it refuses a job.
EXECUTIONS = 10_000_000
"""Most shots of all circuits of a job for IBM's Sampler."""

# Amazon Braket Developer Guide, "Running multiple programs" (read in 2026), speaks of up to 100 executions in a program
# set, which all gate-based processors take and the managed simulators do not.  An open device says its own number.
PROGRAMS = 100
"""Most circuits of a program set on AWS."""

_MANAGED = re.compile(r"/(sv1|dm1|tn1)$", re.IGNORECASE)
_HERE = ("ibm.fake_", "braket.local", "braket.emulator")


@dataclass(frozen=True)
class Usual:
    """What is known of jobs on a device that is not open.

    Args:
        limits: of a job.
        tasks: how many pieces of work a job is to its vendor, from shots and wires of each circuit.
        said: the limits in words; "" where none are known.
    """

    limits: Limits
    tasks: Callable[[Sequence[tuple[int, int]]], int]
    said: str = ""


def usual(name: str) -> Usual:
    """What is known of jobs on a device, by its name alone.

    Args:
        name: such as "ibm.torino" or "braket.eu-north-1/Garnet".

    Example:
        >>> usual("braket.eu-north-1/Garnet").limits.circuits
        100
        >>> usual("braket.us-east-1/sv1").tasks([(1000, 4)] * 5)  # each circuit is a task there
        5
    """
    checks.text("name", name)
    if name.startswith("ibm.") and not name.startswith(_HERE):
        return Usual(Limits(job_shots=EXECUTIONS), lambda shapes: 1, f"at most {EXECUTIONS:,} shots in a job")
    if name.startswith("braket.") and not name.startswith(_HERE):
        if _MANAGED.search(name):
            return Usual(Limits(), len, "each circuit is a quantum task")
        limits = Limits(circuits=PROGRAMS)
        said = f"at most {PROGRAMS} circuits in a quantum task, all of the same shots"
        return Usual(limits, lambda shapes: task_count(shapes, limits), said)
    return Usual(Limits(), lambda shapes: 1)
