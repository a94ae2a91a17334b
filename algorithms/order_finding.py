"""Order finding as questions and answers: which base is tried next, and what its outcomes tell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varq.circuits.integers import denominator, factors_from_order, order_from, split
from varq.keys import Key
from varq.protocol import Finished, Reason, Reply, Sample

__all__ = ["Attempt", "OrderFinding", "Search"]

_DRAWS = 1000  # of bases, after which none is taken to be left


@dataclass(frozen=True, eq=False)
class Attempt:
    """What the shots with one base told.

    Args:
        base: a.
        outcomes: the different integers that were measured, rising.
        counts: how often each was, shape (k,).
        order: of the base; None if no outcome told it.
        factors: that follow; None if none do.
        success: the share of shots that alone would have told the order.
    """

    base: int
    outcomes: NDArray[np.int64]
    counts: NDArray[np.int64]
    order: int | None
    factors: tuple[int, int] | None
    success: float

    def as_data(self) -> dict[str, Any]:
        """As a mapping that a result can hold."""
        return dict(vars(self))


@dataclass(frozen=True, eq=False)
class Search:
    """Where the search stands.

    Args:
        key: of the bases that are drawn.
        attempts: that were made.
        method: what gave the factors: "quantum", "even", "power" or "gcd"; None as long as there are none.
        base: that gave them.
        factors: p <= q with p q = N; None as long as there are none.
        next: the base to try next; None if there is none.
        message: why it ended.
        shared: bases that were drawn and passed over, each with the factor that it shares with N.
    """

    key: Key
    attempts: tuple[Attempt, ...] = ()
    method: str | None = None
    base: int | None = None
    factors: tuple[int, int] | None = None
    next: int | None = None
    message: str = ""
    shared: tuple[tuple[int, int], ...] = ()


class OrderFinding:
    """Try bases until one gives factors.

    Args:
        modulus: N.
        bits: of a measured phase.
        shots: of an attempt.
        base: the one to use; None to draw such as share no factor with N.
        known: a check that answers without any base, and the factor it gives; None if there is none.
        attempts: most of them.
    """

    def __init__(
        self,
        modulus: int,
        bits: int,
        shots: int,
        base: int | None,
        known: tuple[str, int] | None,
        attempts: int,
    ) -> None:
        self._modulus, self._bits, self._shots = modulus, bits, shots
        self._base, self._known, self._most = base, known, attempts

    def init(self, start: Any, key: Key) -> Search:
        """The first base; or the answer, where a check gives it."""
        if self._known is not None:
            method, divisor = self._known
            said = "N is even" if method == "even" else f"N is a power of {divisor}"
            factors = split(self._modulus, [divisor])
            return Search(key, method=method, factors=factors, message=f"{said}: no order was needed")
        return self._onwards(Search(key))

    def ask(self, state: Search) -> Sample | Finished:
        """Shots with the next base, or the end."""
        if state.factors is not None:
            return Finished(Reason.CONVERGED, state.message)
        if state.next is None:
            return Finished(Reason.STALLED, state.message)
        return Sample(np.array([float(state.next)]), self._shots)

    def tell(self, state: Search, reply: Reply) -> tuple[Search, Mapping[str, Any]]:
        """What the outcomes say of the base's order, and of factors."""
        assert reply.outcomes is not None
        assert state.next is not None
        found = self._attempt(state.next, reply.outcomes)
        info: dict[str, Any] = {"base": found.base, "success": found.success}
        if found.order is not None:
            info["order"] = found.order
        state = replace(state, attempts=(*state.attempts, found))
        if found.factors is None:
            return self._onwards(state), info
        said = f"the order of {found.base} is {found.order}"
        solved = replace(state, method="quantum", base=found.base, factors=found.factors, next=None, message=said)
        return solved, {**info, "value": float(found.factors[0])}

    def _attempt(self, base: int, measured: NDArray[np.uint8]) -> Attempt:
        places = 1 << np.arange(self._bits - 1, -1, -1, dtype=np.int64)
        outcomes, counts = np.unique(measured.astype(np.int64) @ places, return_counts=True)
        told = [denominator(int(k), self._bits, self._modulus) for k in outcomes]
        order = order_from(told, base, self._modulus)
        alone = [order_from([d], base, self._modulus) is not None for d in told]
        factors = None if order is None else factors_from_order(base, order, self._modulus)
        return Attempt(base, outcomes, counts, order, factors, float(counts @ alone / counts.sum()))

    def _onwards(self, state: Search) -> Search:
        """With the next base; or with the factors that it shares with N, or why there is none."""
        if len(state.attempts) >= self._most:
            return replace(state, next=None, message=f"all {self._most} attempts are made")
        base = self._base
        if base is None:
            base, shared = self._drawn(state)
            state = replace(state, shared=(*state.shared, *shared))
        if base is None:
            return replace(state, next=None, message="no base is left")
        last = state.attempts[-1] if state.attempts else None
        if last is not None and last.base == base and last.order is not None:
            said = f"the order {last.order} of base {base} gives no factor: leave the base out, or give another"
            return replace(state, next=None, message=said)
        factors = split(self._modulus, [math.gcd(base, self._modulus)])
        if factors is None:
            return replace(state, next=base)
        said = f"{base} shares a factor with N: no order was needed"
        return replace(state, method="gcd", base=base, factors=factors, next=None, message=said)

    def _drawn(self, state: Search) -> tuple[int | None, list[tuple[int, int]]]:
        """A base from 2 to N - 2 that was not tried and shares no factor with N, and those that were passed over.

        N - 1, of order 2, never helps.
        """
        tried = {attempt.base for attempt in state.attempts}
        known = dict(state.shared)
        rng = state.key.fold("base", len(state.attempts)).generator()
        shared: dict[int, int] = {}
        for _ in range(_DRAWS):
            base = int(rng.integers(2, self._modulus - 1))
            factor = math.gcd(base, self._modulus)
            if factor > 1 and base not in known:
                shared[base] = factor
            elif factor == 1 and base not in tried:
                return base, list(shared.items())
        return None, list(shared.items())
