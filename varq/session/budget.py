"""What a session may use up, and what it has used: the stop comes before the job that would cross a limit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from threading import RLock
from typing import Any

from varq import checks

__all__ = ["NOTHING", "Account", "Budget", "BudgetError", "Use"]

_NAMES = ("circuits", "shots", "seconds", "cost")
_FINEST = 100.0  # times the shots of a last estimate, however much is kept: ten times finer; all bits are in memory
_ROUNDING = 1 + 1e-12  # sums of seconds and money, such as 0.1 + 0.2 out of 0.3; shots are whole numbers


class BudgetError(RuntimeError):
    """What was asked for would cross the session's budget; nothing of it was sent."""


@dataclass(frozen=True)
class Budget:
    """The most that a session may use; None for no limit.

    Args:
        shots: of all circuits together.
        circuits: sent to the device.
        seconds: that the device is busy, as its vendor meters them; where a vendor meters a session from its first job
            on, as IBM does, the time between jobs counts too.
        cost: money, in the currency of the device's price.
        reserve: the part of each limit, in [0, 1), that is kept for a last and more precise estimate of each run's
            best point: as much of it as pays for a hundred times the usual shots.

    Shots and circuits, and money that hangs on them alone, are known before a job is sent: no job crosses those limits.
    How long a job keeps a device busy is known afterwards.  It is reckoned as the price table expects it, and from then
    on by what the last job took; what a job takes longer than that goes beyond a limit on seconds, or on money charged
    by the second, and the next job is not sent.  Where the price table expects nothing, one circuit goes first, alone,
    to find out: it is the one job of which nothing is known.  A device that does not tell how long it was busy runs
    that job and no other.

    Raises:
        ValueError: for a number out of range.

    Example:
        >>> Budget(shots=10_000, reserve=0.2).reserved.shots
        2000.0
    """

    shots: int | None = None
    circuits: int | None = None
    seconds: float | None = None
    cost: float | None = None
    reserve: float = 0.1

    def __post_init__(self) -> None:
        for name in ("shots", "circuits"):
            if getattr(self, name) is not None:
                value = checks.integer(name, getattr(self, name), minimum=0, hint="Use None for no limit.")
                object.__setattr__(self, name, value)
        for name in ("seconds", "cost"):
            if getattr(self, name) is not None:
                number = checks.real(name, getattr(self, name), minimum=0, hint="Use None for no limit.")
                object.__setattr__(self, name, number)
        object.__setattr__(self, "reserve", checks.real("reserve", self.reserve, minimum=0))
        if self.reserve >= 1:
            raise ValueError(f"reserve must be below 1. Got {self.reserve}. It is the part kept for the last estimate.")

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return any(getattr(self, name) is not None for name in _NAMES)

    @property
    def limit(self) -> Use:
        """The limits; infinite where there is none."""
        return Use(*(math.inf if getattr(self, n) is None else float(getattr(self, n)) for n in _NAMES))

    @property
    def reserved(self) -> Use:
        """What is kept for last estimates; zero where there is no limit."""
        return Use(*(0.0 if getattr(self, n) is None else self.reserve * float(getattr(self, n)) for n in _NAMES))


@dataclass(frozen=True)
class Use:
    """What circuits use up: circuits, shots, seconds and money."""

    circuits: float = 0.0
    shots: float = 0.0
    seconds: float = 0.0
    cost: float = 0.0

    def __add__(self, other: Use) -> Use:
        return Use(*(getattr(self, n) + getattr(other, n) for n in _NAMES))

    def __sub__(self, other: Use) -> Use:
        return Use(*(getattr(self, n) - getattr(other, n) for n in _NAMES))


NOTHING = Use()
_LEAST = Use(circuits=1)  # of an evaluation of which nothing is known


class Account:
    """What a session has used and what is set aside for jobs that are not back yet.

    Args:
        budget: the limits.
        spent: what was used before, by this session in earlier processes.
    """

    def __init__(self, budget: Budget, spent: Use = NOTHING) -> None:
        self.budget = budget
        self.lock = RLock()  # of it, and of the queues that set aside parts of it
        self.spent = spent
        self.held = NOTHING
        self._last: dict[str, Use] = {}
        self._limited = budget.limited

    def next_of(self, run: str) -> Use:
        """What the next evaluation of a run without jobs will use, judged by its last one."""
        return self._last.get(run, _LEAST)

    def evaluated(self, run: str, circuits: int, seconds: float) -> None:
        """Book an evaluation that needed no job."""
        if self._limited:
            self._last[run] = Use(circuits, 0, seconds, 0)
            self.spend(self._last[run])

    def refuses(self, use: Use, last: bool = False) -> str | None:
        """Why something more is not allowed; None if it is.

        Args:
            use: of it, as well as it is known.
            last: whether it is a last estimate, for which the reserve is kept.
        """
        return self._refuses(use, self.held, last)

    def crossed(self, use: Use) -> str | None:
        """Why a job that is about to be sent, and for which nothing is set aside any more, is not; None if it is."""
        return self._refuses(use, NOTHING, True)

    def _refuses(self, use: Use, held: Use, last: bool) -> str | None:
        if not self._limited:
            return None
        limit = self.budget.limit
        free = limit if last else limit - self.budget.reserved
        before = self.spent + held
        for name in _NAMES:
            had, wanted, most = (getattr(u, name) for u in (before, use, free))
            # How long a device is busy is known afterwards: with nothing left, not even a first job goes.
            if math.isinf(most) or (had + wanted <= most * _ROUNDING and not (name == "seconds" and had >= most)):
                continue
            reserved = getattr(self.budget.reserved, name)
            kept = "" if last or not reserved else f" and {reserved:g} kept for last estimates"
            return (
                f"the budget of {getattr(limit, name):g} {name} is used up: {getattr(self.spent, name):g} used{kept}, "
                f"{wanted:g} wanted"
            )
        return None

    def part(self, use: Use) -> float:
        """How often something fits into what is left beside the reserve; infinite where nothing limits it."""
        left = self.budget.limit - self.budget.reserved - self.spent
        pairs = [(getattr(left, name), getattr(use, name)) for name in _NAMES]
        return min((max(0.0, most) / wanted for most, wanted in pairs if wanted > 0), default=math.inf)

    def hold(self, use: Use) -> None:
        """Set aside what a job is going to use."""
        with self.lock:
            self.held = self.held + use

    def release(self, use: Use) -> None:
        """Give back what was set aside."""
        with self.lock:
            self.held = self.held - use

    def spend(self, use: Use) -> None:
        """Book what was used, or less of it than was booked before."""
        with self.lock:
            self.spent = self.spent + use

    def precision(self, use: Use, runs: int) -> float:
        """By how much the shots of a last estimate may be multiplied, when so many runs share the reserve.

        What the reserve does not pay for may come from what is left beside it, up to the estimate as it is. The result
        is below 1 where both together do not pay for that; 1 without limits, and `_FINEST` at most.
        """
        limit, reserved = self.budget.limit, self.budget.reserved
        left = limit - self.spent - self.held
        factors = []
        for name in ("shots", "seconds", "cost"):
            most, wanted = getattr(limit, name), getattr(use, name)
            if math.isinf(most) or wanted <= 0:
                continue
            kept = getattr(reserved, name)
            beside = min(wanted, max(0.0, getattr(left, name) - kept))
            share = min(max(0.0, getattr(left, name)), max(kept / max(1, runs), beside))
            # The shots of each circuit are rounded, perhaps upwards.
            rounding = use.circuits / 2 if name == "shots" and share != wanted else 0.0
            factors.append(max(0.0, share - rounding) / wanted)
        return min([*factors, _FINEST]) if factors else 1.0

    def summary(self) -> dict[str, Any]:
        """Used and allowed, by name; None where there is no limit."""
        return {n: (getattr(self.spent, n), getattr(self.budget, n)) for n in _NAMES}
