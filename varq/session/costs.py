"""What circuits use up on a device, in the jobs that they need, and which circuits it takes at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from varq.devices.prices import Price
from varq.devices.service import Circuit, Limits, Service, check_taken
from varq.session.budget import Budget, Use
from varq.session.pace import Pace
from varq.session.queue import packed

__all__ = ["Costs", "check_circuits", "in_parts"]


class Costs:
    """The bookkeeping of one device.

    Args:
        price: of it; None where it is not known.
        pace: how long its jobs take, as far as that is known.
        limits: of a job.
        tasks: how many of what the vendor charges for a job of circuits is, by their shots and wires.
    """

    def __init__(
        self, price: Price | None, pace: Pace, limits: Limits, tasks: Callable[[Sequence[tuple[int, int]]], int]
    ) -> None:
        self._price, self._pace, self._limits, self._tasks = price, pace, limits, tasks

    def jobs_of(self, circuits: Sequence[Circuit]) -> list[list[Circuit]]:
        """The jobs that different circuits within the limits need when they travel alone."""
        return packed(circuits, [c.shots for c in circuits], self._limits)

    def use(
        self,
        circuits: Sequence[Circuit],
        jobs: Sequence[Sequence[Circuit]] | None = None,
        idle: float = 0.0,
        busy: float | None = None,
    ) -> Use:
        """What different circuits within the limits will use up.

        Args:
            circuits: of all jobs together.
            jobs: they travel in; None for those that they need alone.
            idle: seconds of the vendor's session that no job counts yet.
            busy: seconds that the device is busy with them; None for those expected by its pace.
        """
        shots = sum(c.shots for c in circuits)
        if self._price is None:
            return Use(len(circuits), shots, idle + (self._pace.seconds(0, shots) if busy is None else busy), 0.0)
        jobs = self.jobs_of(circuits) if jobs is None else jobs
        seconds = idle + (self._pace.seconds(len(jobs), shots) if busy is None else busy)
        tasks = sum(self._tasks([(c.shots, c.width) for c in job]) for job in jobs)
        return Use(len(circuits), shots, seconds, self._price.cost(tasks, len(circuits), shots, seconds))


def check_circuits(
    circuits: Sequence[Circuit], service: Service, limits: Limits, price: Price | None, budget: Budget
) -> None:
    """ValueError for circuits that a device does not take, or whose cost is limited and cannot be known."""
    check_taken(circuits, service)
    device = service.name
    most, deepest = limits.wires, limits.depth
    for circuit in circuits:
        if deepest is not None and (depth := circuit.tape.graph.get_depth()) > deepest:
            raise ValueError(
                f"A circuit on {device} has at most {deepest} layers of gates. Got {depth}. "
                "Use another device, or a shallower ansatz: no job can be split within a circuit."
            )
        if most is not None and circuit.wires > most:
            raise ValueError(
                f"A circuit on {device} has at most {most} wires. Got {circuit.wires}. "
                "Use another device, or a smaller circuit."
            )
    if price is None and budget.cost is not None:
        raise ValueError(
            f"A limit on the cost needs the device's price. That of {device} is not known. "
            "Limit shots or seconds in its place, or say the price."
        )


def in_parts(whole: float, weights: Sequence[float]) -> list[float]:
    """A whole by weights: circuits that share a job need less than each in a job of its own."""
    total = sum(weights)
    return [whole * weight / total for weight in weights] if total else [whole / len(weights)] * len(weights)
