"""What a device is to a session: a place that takes jobs of many circuits, here or far away."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pennylane.tape import QuantumScript

__all__ = ["Bits", "Circuit", "JobResult", "JobStatus", "Limits", "Mode", "Plain", "Service", "check_taken", "run_now"]

Bits: TypeAlias = NDArray[np.uint8]
"""Measured bits of one circuit, shape (shots, wires), wire 0 first; or (shots, asked) of values in the order asked."""


class Mode(StrEnum):
    """How jobs travel to a vendor: each on its own, as a batch, or in a session that keeps the machine close."""

    JOB = "job"
    BATCH = "batch"
    SESSION = "session"


class JobStatus(StrEnum):
    """Where a job stands at its vendor."""

    CREATED = "created"
    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether it stays so."""
        return self in (JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLED)


@dataclass(frozen=True, eq=False)
class Circuit:
    """One circuit to be run: data, which a job carries and a journal can name.

    A circuit that measures in its middle may hold functions of what it measured, and a program is one: such circuits
    run in the process that made them, on a service that `takes` them, and no two of them are taken for one another.

    Args:
        tape: gates with numbers in them on wires 0 .. wires-1, and one `qml.sample(wires=range(wires))`, or one of the
            values measured in its middle that are asked for; its trainable parameters are those in `values`.
        wires: how many wires there are; without `asked`, all of them are measured.
        shots: how many times it runs.
        seed: of its own random numbers, where the device takes one.
        structure: digest of everything but `values` and `shots`: circuits of one structure are translated once.
        values: the numbers of the trainable parameters, in the order of `tape.trainable_params`, flattened.
        asked: how many bits a shot gives, where these are values that the tape samples and not all wires at its end.
        program: runs it in another way than by its tape, which then says what is run: given a PennyLane device and the
            circuit, with its own shots and seed, the bits, shape (shots, width).
        told: is told the seconds that it took, by a service of this process.
    """

    tape: QuantumScript
    wires: int
    shots: int
    seed: int
    structure: str
    values: NDArray[np.float64]
    asked: int | None = None
    program: Callable[[Any, Circuit], Bits] | None = None
    told: Callable[[float], None] | None = None

    @property
    def width(self) -> int:
        """How many bits a shot gives."""
        return self.wires if self.asked is None else self.asked

    @property
    def bound(self) -> bool:
        """Whether it runs in the process that made it, if anywhere."""
        return self.asked is not None or self.program is not None

    @property
    def twin(self) -> Hashable:
        """What equals that of another circuit if the two are sent once: a digest cannot tell all functions apart."""
        return (self.digest, id(self)) if self.bound else self.digest

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what is run: structure, numbers, shots and seed.  Equal digests are one and the same circuit."""
        numbers = np.ascontiguousarray(self.values, dtype="<f8").tobytes()
        return hashlib.sha256(f"{self.structure}:{self.shots}:{self.seed}:".encode() + numbers).hexdigest()


@dataclass(frozen=True)
class Limits:
    """What one job may hold; None for no limit.

    No vendor here names a depth, so that it is for a person to set: `varq.device(name, limits={"depth": 100})`.

    Args:
        circuits: most circuits in a job.
        shots: most shots of one circuit.
        job_shots: most shots of all circuits of a job together.
        depth: most layers of gates in a circuit, as it is given to the device.
        wires: most wires.

    Example:
        >>> Limits(circuits=100, wires=5).within({"circuits": 20, "depth": 60})
        Limits(circuits=20, shots=None, job_shots=None, depth=60, wires=5)
    """

    circuits: int | None = None
    shots: int | None = None
    job_shots: int | None = None
    depth: int | None = None
    wires: int | None = None

    def within(self, own: Mapping[str, int]) -> Limits:
        """These limits, and those of one's own by name: the lower one of each holds."""
        lower = {name: most if (had := getattr(self, name)) is None else min(had, most) for name, most in own.items()}
        return replace(self, **lower)


@dataclass(frozen=True, eq=False)
class JobResult:
    """What came back of a job.

    Args:
        bits: the measured bits of each circuit, in the order they were sent.
        seconds: that the quantum processor (or simulator) was busy, as its vendor meters it; None where it is not told.
        queued: seconds that the job waited; None where it is not told.
        cost: what the vendor charged, in the currency of its price table; None where it is not told.
        details: what else the vendor says, as JSON values.
        pending: whether the vendor tells the seconds later: `Service.seconds` has them then.
    """

    bits: tuple[Bits, ...]
    seconds: float | None = None
    queued: float | None = None
    cost: float | None = None
    details: dict[str, object] = field(default_factory=dict)
    pending: bool = False


class Service(Protocol):
    """A device as a session uses it.  Every method may raise a `DeviceError` of the kind that fits.

    A service holds no result that is only its own: a job is known by the id that `submit` returned, in any later
    process that opens the device again.
    """

    name: str
    """As `varq.device` knows it, such as "ibm.fake_torino"."""

    paid: bool
    """Whether a job costs money or a share of a scarce machine: it is then never sent twice."""

    limits: Limits
    """What one job may hold."""

    mode: Mode
    """How jobs travel now; a service without sessions says `Mode.JOB` after `open`, whatever was asked for."""

    def compile(self, circuits: Sequence[Circuit]) -> None:
        """Translate the circuits for the machine, keeping one translation for each structure.

        A session calls this before `open`: vendors meter the time in which their session waits.  It may do so while
        another of its threads waits for a job.
        """

    def open(self) -> str | None:
        """Open the vendor's session where there is one; returns a line for the person if it opened something else."""

    def metered(self) -> float | None:
        """Seconds for which the vendor's session has been metered until now, the time between jobs included.

        None where no session is open, or where jobs are metered alone.
        """

    def payer(self) -> str | None:
        """Whose jobs these are at the vendor, such as "account 123456789012, region us-east-1"; None where untold.

        A job is found through the one that sent it alone.  Never what gives access, such as a token.
        """

    def tasks(self, shapes: Sequence[tuple[int, int]]) -> int:
        """How many pieces of work a job is to its vendor, who charges for each of them.

        Args:
            shapes: shots and wires of each circuit of the job.
        """

    def takes(self, circuit: Circuit) -> bool:
        """Whether a circuit can run here that measures in its middle or has a program; asked of no other."""

    def submit(self, circuits: Sequence[Circuit], tag: str) -> str:
        """Send one job; returns its id at the vendor.

        Args:
            circuits: of the job.
            tag: names the job before it has an id; the same tag is never run twice where the vendor can prevent that.

        Raises:
            UncertainError: if it may have been received; never `TransientError` then.
            PartialError: if a part of it was, and it may be sent again under its tag.
        """

    def expect(self, tags: Collection[str]) -> None:
        """Be told under which tags earlier processes may have sent jobs: `find` is asked for each of them next.

        A vendor lists late what it has received: one time of waiting for that serves them all.
        """

    def find(self, tag: str) -> str | None:
        """The id of the job that was sent under `tag`; None if the vendor surely has none.

        Raises:
            UncertainError: if the vendor cannot tell.
            PartialError: if it has a part of the job, which may be sent again under its tag.
        """

    def tagged(self, job: str, tag: str) -> bool | None:
        """Whether a job of this id was sent under `tag`; None where the vendor keeps no tags."""

    def status(self, job: str) -> JobStatus:
        """Where the job stands."""

    def dropped(self, job: str) -> bool:
        """Whether a job that ended without a result never ran, as the vendor's session had ended before its turn."""

    def result(self, job: str) -> JobResult:
        """Its result, once the status is `DONE`.

        Raises:
            GoneError: if the vendor has it no more.
        """

    def seconds(self, job: str) -> float | None:
        """Seconds that the machine was busy with a job whose result said that they are told later; None until then."""

    def cancel(self, job: str) -> bool:
        """Ask to cancel it; returns whether it was still possible."""

    def close(self) -> None:
        """Close the vendor's session, if one is open.  Jobs that were sent stay."""


class Plain:
    """What most services say: a job is one piece of work to its vendor, metered alone, of circuits that are data."""

    def metered(self) -> float | None:
        """None: there is no session that is metered."""
        return None

    def expect(self, tags: Collection[str]) -> None:
        """Nothing: what was received is listed at once."""

    def payer(self) -> str | None:
        """None: there is one account alone, or it is not told."""
        return None

    def tagged(self, job: str, tag: str) -> bool | None:
        """None: that is not known."""
        return None

    def dropped(self, job: str) -> bool:
        """False: there is no session that ends before a job."""
        return False

    def seconds(self, job: str) -> float | None:
        """None: they come with the result, or never."""
        return None

    def tasks(self, shapes: Sequence[tuple[int, int]]) -> int:
        """One, whatever the job holds."""
        return 1

    def takes(self, circuit: Circuit) -> bool:
        """False: what holds Python functions never leaves the process that made it."""
        return False


def check_taken(circuits: Sequence[Circuit], service: Service) -> None:
    """ValueError unless a service takes all circuits, those that measure in their middle or have a program among them.

    Args:
        circuits: to be sent.
        service: which is to run them.
    """
    if not all(service.takes(circuit) for circuit in circuits if circuit.bound):
        raise ValueError(
            "A circuit that goes on by what it measured in its middle holds Python functions, and runs on a simulator "
            f"in the process that made it. Got one for {service.name}. Use varq.qubit, or a circuit that measures at "
            "its end, such as control='qft' makes."
        )


def run_now(service: Service, circuits: Sequence[Circuit]) -> tuple[Bits, ...]:
    """The bits of circuits on a service that runs a job while it is sent, within this process.

    Raises:
        ValueError: for a service whose jobs cost something: only a session's journal keeps them from running twice; or
            for circuits that it does not take.
    """
    if service.paid:
        raise ValueError(
            f"Circuits reach {service.name} through a session, which writes each job down before it is sent. "
            "Use varq.run(spec), or Session(device).submit(tapes)."
        )
    if not circuits:
        return ()
    check_taken(circuits, service)
    service.compile(circuits)
    return service.result(service.submit(circuits, "")).bits
