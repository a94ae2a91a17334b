"""Terminal measurements as statistics of outcomes of single wires."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import pennylane as qml
from pennylane.measurements import (
    CountsMP,
    ExpectationMP,
    MeasurementProcess,
    ProbabilityMP,
    SampleMP,
    VarianceMP,
)
from pennylane.operation import Operator
from pennylane.ops import MeasurementValue

from varq.simulator.measured.statistics import joined, turns
from varq.simulator.outcomes import outcome

__all__ = ["Readings"]

Outcomes = Mapping[Any, MeasurementValue]


class Readings:
    """What is read of each wire, and how each measurement follows from it.

    Args:
        measurements: of the tape.
        everything: the wires that a measurement without wires means.

    Raises:
        ValueError: for a measurement that no single reading of each wire can give, and for two measurements that need
            different readings of one wire.
    """

    def __init__(self, measurements: Sequence[MeasurementProcess], everything: Sequence[Any]) -> None:
        self.everything = list(everything)
        self.rotations: list[Operator] = []
        self.uids: list[Any] = []
        self._meaning: dict[Any, tuple[Any, MeasurementProcess]] = {}
        with qml.QueuingManager.stop_recording():
            self._makers = [self._maker(mp) for mp in measurements]

    @property
    def wires(self) -> list[Any]:
        """The wires that are read."""
        return list(self._meaning)

    def measurements(self, outcomes: Outcomes) -> list[MeasurementProcess]:
        """The measurements as statistics of outcomes.

        Args:
            outcomes: of each wire that is read.
        """
        with qml.QueuingManager.stop_recording():
            return [make(outcomes) for make in self._makers]

    def _maker(self, mp: MeasurementProcess) -> Callable[[Outcomes], MeasurementProcess]:
        if not isinstance(mp, CountsMP | ExpectationMP | ProbabilityMP | SampleMP | VarianceMP):
            raise ValueError(
                f"Wires cannot be reused for {_said(mp)}: it needs the quantum state of its wires after the last gate, "
                "and a wire that is reused holds it no longer. Ask for qml.sample, qml.counts, qml.probs, qml.expval "
                "or qml.var."
            )
        if mp.mv is not None:
            several = mp.mv if isinstance(mp.mv, list) else [mp.mv]
            self.uids += [m.meas_uid for value in several for m in value.measurements]
            return lambda outcomes: _like(mp, mp.mv)
        if mp.obs is not None:
            return self._observable(mp)
        wires = list(mp.wires) or self.everything
        self._ask(dict.fromkeys(wires, "Z"), [], mp)
        if isinstance(mp, ProbabilityMP) or mp._eigvals is None:
            return lambda outcomes: _like(mp, [outcomes[w] for w in wires])
        return self._level(mp, wires)

    def _observable(self, mp: MeasurementProcess) -> Callable[[Outcomes], MeasurementProcess]:
        sentence, wires = mp.obs.pauli_rep, list(mp.obs.wires)
        words = [] if sentence is None else [dict(word.items()) for word in sentence]
        letters = joined(words)
        if words and letters is None and not isinstance(mp, ProbabilityMP):
            raise ValueError(
                f"Wires cannot be reused for {_said(mp)}: its Pauli words need a wire in several bases, and a wire is "
                "read once. Split it before, by qml.transforms.split_non_commuting."
            )
        if words and letters is not None and (len(words) == 1 or not isinstance(mp, ProbabilityMP)):
            letters = {w: letters.get(w, "Z") for w in wires}
            self._ask(letters, turns(letters), mp)
            if isinstance(mp, ProbabilityMP):
                return lambda outcomes: _like(mp, [outcomes[w] for w in wires])
            masks = np.array([[w in word for w in wires] for word in words], int)
            signed = _signed_sum(masks, list(sentence.values()))
            return lambda outcomes: _like(mp, outcome(signed, *(outcomes[w] for w in wires)))
        if not mp.obs.has_diagonalizing_gates:
            raise ValueError(
                f"Wires cannot be reused for {_said(mp)}: it has no diagonalizing gates, so that no reading of its "
                "wires gives it. Measure its Pauli words: qml.pauli_decompose finds them."
            )
        own = object()
        self._ask(dict.fromkeys(wires, own), mp.obs.diagonalizing_gates(), mp)
        if isinstance(mp, ProbabilityMP):
            return lambda outcomes: _like(mp, [outcomes[w] for w in wires])
        return self._level(mp, wires)

    def _level(self, mp: MeasurementProcess, wires: Sequence[Any]) -> Callable[[Outcomes], MeasurementProcess]:
        """The level that the bits of some wires stand for."""
        look = _looked_up(mp.eigvals())
        return lambda outcomes: _like(mp, outcome(look, *(outcomes[w] for w in wires)))

    def _ask(self, wanted: Mapping[Any, Any], gates: Sequence[Operator], mp: MeasurementProcess) -> None:
        """Note what is to be read of wires, and the gates before that."""
        for wire, meaning in wanted.items():
            held, by = self._meaning.get(wire, (meaning, mp))
            if held != meaning:
                raise ValueError(
                    f"Wire {wire!r} cannot be reused: {_said(by)} and {_said(mp)} read it in different bases, and a "
                    "wire is read once. Split them before, by qml.transforms.split_non_commuting."
                )
        self.rotations += [g for g in gates if not self._meaning.keys() & set(g.wires)]
        self._meaning.update({wire: (meaning, mp) for wire, meaning in wanted.items()})


def _said(mp: MeasurementProcess) -> str:
    return f"{type(mp).__name__.removesuffix('MP')} on wires {list(mp.wires)}" if mp.obs is None else repr(mp)


def _like(mp: MeasurementProcess, value: Any) -> MeasurementProcess:
    """A measurement of the same kind, of outcomes."""
    options: dict[str, Any] = {}
    if isinstance(mp, CountsMP):
        options["all_outcomes"] = mp.all_outcomes
    if isinstance(mp, SampleMP):
        options["dtype"] = mp._dtype
    return type(mp)(obs=value, **options)


def _signed_sum(masks: Any, coefficients: Sequence[Any]) -> Callable[..., Any]:
    """The sum of products of ±1: words by the wires that they hold, shape (words, wires), with their coefficients."""

    def value(*bits: Any) -> Any:
        signs = 1.0 - 2.0 * (masks @ jnp.stack(bits) % 2)
        return sum(jnp.real(c) * signs[k] for k, c in enumerate(coefficients))

    return value


def _looked_up(levels: Any) -> Callable[..., Any]:
    def value(*bits: Any) -> Any:
        return jnp.asarray(levels)[sum(bit << (len(bits) - 1 - k) for k, bit in enumerate(bits))]

    return value
