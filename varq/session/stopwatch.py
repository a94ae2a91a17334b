"""Where the time of a run goes: the spans that its process can measure by itself."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from varq.devices.service import Bits
from varq.keys import Key
from varq.protocol import Plan, Prepared, Reply, Request

__all__ = ["CLASSICAL", "DECODE", "DEVICE", "PREPARE", "Span", "Stopwatch"]

PREPARE = "prepare"
DEVICE = "qpu"
DECODE = "decode"
CLASSICAL = "classical"


class Span(NamedTuple):
    """A stretch of time: what was done, since when (seconds since 1970), for how many seconds."""

    phase: str
    began: float
    seconds: float


class Stopwatch:
    """Measures one run: what its plan does between two events, in spans.

    Example:
        >>> watch = Stopwatch()
        >>> watch.measure("prepare", lambda: 3)
        3
        >>> [span.phase for span in watch.taken()]
        ['prepare']
    """

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._heard: tuple[float, float] | None = None  # when the last answer was there, on both clocks

    def measure(self, phase: str, call: Callable[[], Any]) -> Any:
        """What `call` returns; its time counts for the phase."""
        began, start = time.time(), time.perf_counter()
        out = call()
        self._spans.append(Span(phase, began, time.perf_counter() - start))
        return out

    def taken(self) -> list[Span]:
        """The spans since the last call; what followed the last answer is the classical part."""
        if self._heard is not None:
            began, start = self._heard
            self._spans.append(Span(CLASSICAL, began, time.perf_counter() - start))
        spans, self._spans, self._heard = self._spans, [], None
        return spans

    def over(self, plan: Plan) -> Plan:
        """The plan, measured."""
        prepare = plan.prepare
        return dataclasses.replace(
            plan,
            method=_Method(plan.method, self),
            evaluate=lambda request, key: self._answered(DEVICE, lambda: plan.evaluate(request, key)),
            prepare=None if prepare is None else lambda *asked: self._prepared(prepare, asked),
        )

    def _answered(self, phase: str, call: Callable[[], Reply]) -> Reply:
        reply: Reply = self.measure(phase, call)
        self._heard = (time.time(), time.perf_counter())
        return reply

    def _prepared(self, prepare: Callable[[Request, Key, float], Prepared], asked: tuple[Any, ...]) -> Prepared:
        made: Prepared = self.measure(PREPARE, lambda: prepare(*asked))

        def decode(bits: Sequence[Bits]) -> Reply:
            return self._answered(DECODE, lambda: made.decode(bits))

        weigh = made.weigh

        def weighed(parts: Sequence[Mapping[int, Bits]]) -> Reply:
            assert weigh is not None
            return self._answered(DECODE, lambda: weigh(parts))

        return Prepared(made.circuits, decode, None if weigh is None else weighed)


class _Method:
    """A method whose asking is measured; its telling is part of what follows an answer."""

    def __init__(self, method: Any, watch: Stopwatch) -> None:
        self._method = method
        self._watch = watch
        self.init, self.tell = method.init, method.tell

    def ask(self, state: Any) -> Any:
        """What to evaluate next."""
        return self._watch.measure(CLASSICAL, lambda: self._method.ask(state))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._method, name)
