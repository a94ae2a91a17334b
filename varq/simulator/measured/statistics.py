"""PennyLane's measurements from the shots of a measured circuit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import pi
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from pennylane.exceptions import DeviceError
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

from varq.simulator.eigenbases import found_anew
from varq.simulator.measured.functions import LONGEST_TABLE, bit_columns, tabulate
from varq.simulator.measured.trajectories import Drawn
from varq.simulator.measurements import NO_TRACED_COUNTS
from varq.simulator.shifts import only_followed_outside

__all__ = ["INVALID", "Plan", "joined", "turns"]

INVALID = int(np.iinfo(np.int32).min)
"""Stands for the sample of a shot that postselection rejects where an array's shape cannot depend on their number."""


@dataclass
class _Basis:
    """One way of sampling the final state: what is measured on each wire, and the gates that make it so."""

    meaning: dict[Any, Any] = field(default_factory=dict)
    gates: list[Operator] = field(default_factory=list)

    def takes(self, wanted: Mapping[Any, Any]) -> bool:
        return all(self.meaning.get(w, m) == m for w, m in wanted.items())


class Plan:
    """Which bases the final state is sampled in, and how each measurement is read from the samples.

    Args:
        measurements: of the tape.
        labels: of the wires.

    Raises:
        DeviceError: for a measurement that cannot be taken shot by shot.
    """

    def __init__(self, measurements: Sequence[MeasurementProcess], labels: Sequence[Any]) -> None:
        self.labels = list(labels)
        self.measurements = list(measurements)
        self._bases: list[_Basis] = []
        with qml.QueuingManager.stop_recording(), found_anew():
            self._readers = [self._reader(mp) for mp in self.measurements]

    @property
    def bases(self) -> list[list[Operator]]:
        """The gates of each basis."""
        return [b.gates for b in self._bases]

    def _reader(self, mp: MeasurementProcess) -> Callable[[_Shots], Any]:
        if not isinstance(mp, CountsMP | ExpectationMP | ProbabilityMP | SampleMP | VarianceMP):
            raise DeviceError(
                f"{type(mp).__name__} cannot be taken from the shots of a measured circuit. Ask for qml.sample, "
                "qml.counts, qml.probs, qml.expval or qml.var; or set shots to None."
            )
        if mp.mv is not None:
            return self._measured(mp)
        if mp.obs is None:
            wires = list(mp.wires) or self.labels
            return self._on_wires(mp, self._basis(dict.fromkeys(wires, "Z"), []), wires)
        return self._observable(mp)

    def _measured(self, mp: MeasurementProcess) -> Callable[[_Shots], Any]:
        values = mp.mv
        if isinstance(mp, ProbabilityMP):  # of bits, in PennyLane too: a function of one outcome counts as its branches
            several = values if isinstance(values, list) else [values]
            return lambda shots: shots.xp.stack([shots.outcome(v.measurements[0].meas_uid) for v in several], -1)
        if isinstance(values, list):
            return lambda shots: shots.xp.stack([shots.values(v) for v in values], -1)
        return lambda shots: shots.values(values)

    def _on_wires(self, mp: MeasurementProcess, basis: int, wires: Sequence[Any]) -> Callable[[_Shots], Any]:
        """Bits of wires; or, where the measurement has levels of its own, the level that they stand for."""
        if isinstance(mp, ProbabilityMP) or (mp.obs is None and mp._eigvals is None):
            return lambda shots: shots.bits(basis, wires)
        levels = mp.eigvals()
        return lambda shots: shots.xp.asarray(levels)[_index(shots.bits(basis, wires))]

    def _observable(self, mp: MeasurementProcess) -> Callable[[_Shots], Any]:
        obs = mp.obs
        sentence = obs.pauli_rep
        if sentence is not None and not (isinstance(mp, ProbabilityMP) and len(sentence) > 1):
            terms = [(dict(word.items()), coefficient) for word, coefficient in sentence.items()]
            joint = joined([word for word, _ in terms])
            if isinstance(mp, ProbabilityMP):
                wanted = {w: terms[0][0].get(w, "Z") for w in obs.wires}
                return self._on_wires(mp, self._basis(wanted, turns(wanted)), list(obs.wires))
            if isinstance(mp, ExpectationMP) or joint is not None:
                # A shot has one value of the sum where all words are read from one sampling of it.
                found = [(self._basis(joint or word, turns(joint or word)), list(word), c) for word, c in terms]
                return lambda shots: sum(c * shots.sign(basis, wires) for basis, wires, c in found)
        if not obs.has_diagonalizing_gates:
            raise DeviceError(
                f"{type(mp).__name__} of {obs.name} needs more than one basis, so no single shot has a value. "
                "Ask for its expectation, or for its terms one by one."
            )
        own = object()
        basis = self._basis(dict.fromkeys(obs.wires, own), obs.diagonalizing_gates())
        return self._on_wires(mp, basis, list(obs.wires))

    def _basis(self, wanted: Mapping[Any, Any], gates: Sequence[Operator]) -> int:
        """The index of a basis that measures all that is wanted; a new one if none does."""
        fitting = [k for k, basis in enumerate(self._bases) if basis.takes(wanted)]
        index = fitting[0] if fitting else len(self._bases)
        if not fitting:
            self._bases.append(_Basis())
        basis = self._bases[index]
        basis.gates += [g for g in gates if not basis.meaning.keys() & set(g.wires)]
        basis.meaning.update(wanted)
        return index

    def read(
        self, drawn: Drawn, slots: Mapping[Any, int], bins: Sequence[tuple[int, int]], pad: bool, sure: bool
    ) -> Any:
        """The results as a PennyLane device gives them, apart from their types.

        Args:
            drawn: the shots.
            slots: where the outcome of each measurement is, by its id.
            bins: first and last (exclusive) shot of each part of a shot vector.
            pad: whether samples of rejected shots are kept as `INVALID`.
            sure: whether no shot can be rejected.
        """
        traced = any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(drawn))
        whole = drawn if traced else jax.tree.map(np.asarray, drawn)
        results = []
        for low, high in bins:
            part = jax.tree.map(lambda x, a=low, b=high: x[..., a:b], whole)
            shots = _Shots(part, slots, self.labels, jnp if traced else np)
            mask = None if sure else part.valid
            keep = traced or pad
            one = [
                _reduce(mp, r(shots), mask, keep, shots.xp)
                for mp, r in zip(self.measurements, self._readers, strict=True)
            ]
            results.append(one[0] if len(one) == 1 else tuple(one))
        return results


def joined(words: Sequence[Mapping[Any, str]]) -> dict[Any, str] | None:
    """One letter for each wire that serves all Pauli words, or None."""
    joint: dict[Any, str] = {}
    for word in words:
        for wire, letter in word.items():
            if joint.setdefault(wire, letter) != letter:
                return None
    return joint


def turns(word: Mapping[Any, str]) -> list[Operator]:
    """Gates after which a measurement of each wire is one of its Pauli letter; one gate for each wire."""
    gates = {"X": lambda w: qml.Hadamard(w), "Y": lambda w: qml.RX(pi / 2, w)}
    return [gates[letter](wire) for wire, letter in word.items() if letter in gates]


def _index(bits: Any) -> Any:
    return bits @ (1 << np.arange(bits.shape[-1])[::-1])


class _Shots:
    """Reads single shots; `xp` is numpy, or jax.numpy where they are traced."""

    def __init__(self, drawn: Drawn, slots: Mapping[Any, int], labels: Sequence[Any], xp: Any) -> None:
        self.drawn, self.slots, self.xp = drawn, slots, xp
        self.place = {label: len(labels) - 1 - k for k, label in enumerate(labels)}

    def bits(self, basis: int, wires: Sequence[Any]) -> Any:
        """Shape (shots, wires)."""
        shifts = np.array([self.place[w] for w in wires])
        return (self.drawn.samples[basis][:, None] >> shifts & 1).astype(np.int64)

    def sign(self, basis: int, wires: Sequence[Any]) -> Any:
        """The product of ±1 over wires, shape (shots,)."""
        sample = self.drawn.samples[basis]
        odd = self.xp.zeros(sample.shape, np.int64)
        for wire in wires:
            odd = odd ^ (sample >> self.place[wire] & 1)
        return 1.0 - 2.0 * odd

    def outcome(self, uid: Any) -> Any:
        return self.drawn.bits[self.slots[uid]].astype(np.int64)

    def values(self, value: MeasurementValue) -> Any:
        """A measured value in every shot, shape (shots,)."""
        rows = [self.outcome(m.meas_uid) for m in value.measurements]
        if not value.has_processing:
            return rows[0]
        if len(rows) <= LONGEST_TABLE:
            table = only_followed_outside(tabulate(value))
            index = _index(self.xp.stack(rows, -1))
            return table[index] if isinstance(table, jax.Array) else self.xp.asarray(table)[index]
        return value.processing_fn(*rows)


def _reduce(mp: MeasurementProcess, values: Any, mask: Any, keep: bool, xp: Any) -> Any:
    """One result from the values of all shots; `mask` says which are valid, None that all are."""
    if mask is not None and not keep:
        values, mask = values[mask], None
    if isinstance(mp, SampleMP):
        if mask is not None:
            values = xp.where(mask[:, None] if values.ndim == 2 else mask, values, INVALID)
        return values if mp._dtype is None else values.astype(mp._dtype)
    if isinstance(mp, CountsMP):
        return _counts(mp, values, mask, xp)
    share = xp.ones(len(values)) if mask is None else mask.astype(np.float64)
    total = share.sum()
    if xp is np and not total:
        return np.full(2 ** values.shape[1], np.nan) if isinstance(mp, ProbabilityMP) else np.float64(np.nan)
    if isinstance(mp, ProbabilityMP):
        return xp.bincount(_index(values), share, **_length(2 ** values.shape[1], xp)) / total
    mean = (values * share).sum() / total
    return mean if isinstance(mp, ExpectationMP) else ((values - mean) ** 2 * share).sum() / total


def _length(length: int, xp: Any) -> dict[str, int]:
    return {"minlength": length} if xp is np else {"length": length}


def _counts(mp: CountsMP, values: Any, mask: Any, xp: Any) -> dict[Any, Any]:
    bits = values.ndim == 2
    if xp is not np and not mp.all_outcomes:
        raise DeviceError(NO_TRACED_COUNTS)
    if mask is not None and xp is np:
        values = values[mask]
    if xp is np:
        found, numbers = np.unique(values, axis=0, return_counts=True)
        seen = {_name(k, bits): n for k, n in zip(found, numbers, strict=True)}
        return {**{_name(k, bits): np.int64(0) for k in _possible(mp, values)}, **seen} if mp.all_outcomes else seen
    share = True if mask is None else mask
    equal = [(xp.all(values == k, axis=1) if bits else values == k) & share for k in _possible(mp, values)]
    return {_name(k, bits): e.sum() for k, e in zip(_possible(mp, values), equal, strict=True)}


def _name(key: Any, bits: bool) -> Any:
    return "".join(str(int(b)) for b in key) if bits else float(key)


def _possible(mp: CountsMP, values: Any) -> Any:
    """Every outcome that could be counted, in ascending order."""
    if values.ndim == 2:
        return bit_columns(values.shape[1]).T
    levels = tabulate(mp.mv) if mp.mv is not None else mp.eigvals()
    return np.unique(np.asarray(qml.math.unwrap(levels)))
