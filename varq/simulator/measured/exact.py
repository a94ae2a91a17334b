"""PennyLane's measurements of a weighted ensemble of pure states, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pennylane.exceptions import DeviceError
from pennylane.measurements import (
    DensityMatrixMP,
    ExpectationMP,
    MeasurementProcess,
    MutualInfoMP,
    ProbabilityMP,
    PurityMP,
    StateMP,
    VarianceMP,
    VnEntropyMP,
)
from pennylane.queuing import QueuingManager
from pennylane.wires import Wires

from varq.simulator.bits import parity
from varq.simulator.eigenbases import found_anew
from varq.simulator.measured import amplitudes
from varq.simulator.measured.machine import Columns, place, value
from varq.simulator.measured.program import NO_STRUCTURE, SPARSE, Final, Numbers, Ref, Static

__all__ = ["Ensemble", "check_exact", "evaluate"]

_OF_DENSITY = (DensityMatrixMP, PurityMP, VnEntropyMP, MutualInfoMP)


class Ensemble:
    """Unnormalized states with weights, and the outcomes that led to each.

    Args:
        columns: states, outcomes, registers, and weights as `extra`.
        numbers: of the program.
        labels: of the wires.
    """

    def __init__(self, columns: Columns, numbers: Numbers, labels: Sequence[Any]) -> None:
        self.columns, self.numbers, self.labels = columns, numbers, list(labels)
        self.wires = len(labels)

    @cached_property
    def chances(self) -> Any:
        """The probability of each branch, given postselection."""
        raw = amplitudes.weights(self.columns.state) * self.columns.extra
        return raw / jnp.sum(raw)

    @cached_property
    def total(self) -> Any:
        """The probability of postselection."""
        return jnp.sum(amplitudes.weights(self.columns.state) * self.columns.extra)

    @cached_property
    def vectors(self) -> Any:
        """The states as complex vectors, shape (2**wires, branches)."""
        parts = amplitudes.flat(self.columns.state)
        return jax.lax.complex(parts[0], parts[1])

    def density(self, wires: Sequence[Any]) -> Any:
        """The density matrix of some wires, in the given order."""
        keep = [self.labels.index(w) for w in wires]
        tensor = self.vectors.reshape((2,) * self.wires + (-1,))
        rows = jnp.moveaxis(tensor, keep, range(len(keep))).reshape(2 ** len(keep), -1, tensor.shape[-1])
        left = (rows * self.columns.extra).reshape(len(rows), -1)
        return left @ rows.reshape(len(rows), -1).conj().T / self.total

    def probabilities(self, wires: Sequence[Any]) -> Any:
        """The probabilities of the basis states of some wires, in the given order."""
        keep = [self.labels.index(w) for w in wires]
        squares = jnp.sum(self.columns.state**2, axis=0) @ self.columns.extra
        return jnp.moveaxis(squares, keep, range(len(keep))).reshape(2 ** len(keep), -1).sum(axis=1) / self.total

    def mean(self, sentence: Any) -> Any:
        """The expectation of a Pauli sentence: one overlap for each set of flipped wires."""
        index = np.arange(2**self.wires)
        found: Any = 0.0
        for flip, words in _by_flip(sentence, self.labels).items():
            each = self.vectors[index ^ flip].conj() * self.vectors
            real, imaginary = jnp.real(each) @ self.columns.extra, jnp.imag(each) @ self.columns.extra
            # A word's expectation is real, so its coefficient meets real numbers alone.
            phases = [(c if isinstance(c, float) else jnp.real(c), _phase(index, mask, ys)) for mask, ys, c in words]
            found += jnp.sum(real * sum(c * phase.real for c, phase in phases))
            found -= jnp.sum(imaginary * sum(c * phase.imag for c, phase in phases))
        return found / self.total

    def mean_of_elements(self, rows: Any, columns: Any, values: Any) -> Any:
        """The expectation of a matrix by its nonzero elements."""
        parts = (self.vectors[rows].conj() * self.vectors[columns]) @ self.columns.extra
        return jnp.real(values @ parts) / self.total


def _by_flip(sentence: Any, labels: Sequence[Any]) -> dict[int, list[tuple[int, int, Any]]]:
    """For each mask of flipped wires: (mask of sign wires, number of Y, coefficient)."""
    grouped: dict[int, list[tuple[int, int, Any]]] = {}
    for word, coefficient in sentence.items():
        flip = sign = ys = 0
        for wire, letter in word.items():
            bit = 1 << (len(labels) - 1 - labels.index(wire))
            flip |= bit if letter in "XY" else 0
            sign |= bit if letter in "YZ" else 0
            ys += letter == "Y"
        grouped.setdefault(flip, []).append((sign, ys, coefficient))
    return grouped


def _phase(index: Any, mask: int, ys: int) -> Any:
    """What a Pauli word does to a basis state besides flipping it."""
    return 1j**ys * parity(index, mask)


def check_exact(measurements: Sequence[MeasurementProcess], branches: int) -> None:
    """Raise DeviceError for a measurement that has no exact value here."""
    for mp in measurements:
        if isinstance(mp, StateMP) and not isinstance(mp, DensityMatrixMP):
            if branches > 1:
                raise DeviceError(
                    f"qml.state() of a measured circuit is a mixture of {branches} states. "
                    "Ask for qml.density_matrix(wires), or postselect every measurement."
                )
        elif not isinstance(mp, (*_OF_DENSITY, ExpectationMP, VarianceMP, ProbabilityMP)):
            raise DeviceError(
                f"{type(mp).__name__} of a measured circuit has no exact value. Set shots by qml.set_shots, or ask for "
                "qml.expval, qml.var, qml.probs or qml.density_matrix."
            )


def evaluate(final: Final, ensemble: Ensemble) -> Any:
    """The value of one terminal measurement."""
    if final.kind == SPARSE:
        return ensemble.mean_of_elements(*(_read(r, ensemble) for r in final.refs))
    if final.structure == NO_STRUCTURE:
        return _of_outcomes(final, ensemble)
    leaves = [_read(r, ensemble) for r in final.refs]
    with QueuingManager.stop_recording(), found_anew():
        mp = jax.tree_util.tree_unflatten(final.structure, leaves)
        return _of_state(mp, ensemble)


def _read(ref: Ref, ensemble: Ensemble) -> Any:
    kind = (type(ref).__name__, ref if isinstance(ref, Static) else getattr(ref, "index", None))
    return value(kind, place(ref, ensemble.numbers), ensemble.numbers, ensemble.columns)


def _of_outcomes(final: Final, ensemble: Ensemble) -> Any:
    """Statistics of measured values."""
    if final.kind == "ProbabilityMP":
        return _histogram(final.refs, ensemble)
    values = jnp.broadcast_to(_read(final.refs[0], ensemble), ensemble.chances.shape)
    mean = values @ ensemble.chances
    return mean if final.kind == "ExpectationMP" else (values - mean) ** 2 @ ensemble.chances


def _histogram(refs: Sequence[Any], ensemble: Ensemble) -> Any:
    """Probabilities of the combinations of outcomes."""
    rows = [ensemble.columns.bits[r.index] for r in refs]
    index = sum(np.asarray(row, int) << (len(rows) - 1 - k) for k, row in enumerate(rows))
    return jnp.zeros(2 ** len(rows), ensemble.chances.dtype).at[index].add(ensemble.chances)


def _of_state(mp: MeasurementProcess, ensemble: Ensemble) -> Any:
    everything = ensemble.labels
    if isinstance(mp, _OF_DENSITY):
        wires = list(mp.wires) or everything
        numbered = mp.map_wires({w: k for k, w in enumerate(wires)})  # PennyLane's entropies expect wires 0, 1, ...
        return numbered.process_density_matrix(ensemble.density(wires), Wires(range(len(wires))))
    if isinstance(mp, StateMP):
        return ensemble.vectors[:, 0] / jnp.sqrt(amplitudes.weights(ensemble.columns.state)[0])
    if isinstance(mp, ProbabilityMP) and mp.obs is None:
        return ensemble.probabilities(mp.wires if mp.wires else everything)
    if mp.obs is None:
        chances, levels = ensemble.probabilities(mp.wires), jnp.asarray(mp.eigvals())
        return _moment(mp, chances @ levels, chances @ levels**2)
    if isinstance(mp, ProbabilityMP):
        return jnp.real(jnp.diagonal(_rotated(mp, ensemble)))
    sentence = mp.obs.pauli_rep
    if sentence is not None:
        second = ensemble.mean(sentence @ sentence) if isinstance(mp, VarianceMP) else 0.0
        return _moment(mp, ensemble.mean(sentence), second)
    matrix, density = jnp.asarray(mp.obs.matrix()), ensemble.density(mp.obs.wires)
    once = jnp.real(jnp.trace(density @ matrix))
    return _moment(mp, once, jnp.real(jnp.trace(density @ matrix @ matrix)))


def _moment(mp: MeasurementProcess, first: Any, second: Any) -> Any:
    return second - first**2 if isinstance(mp, VarianceMP) else first


def _rotated(mp: MeasurementProcess, ensemble: Ensemble) -> Any:
    """The density matrix of an observable's wires after its diagonalizing gates."""
    wires = mp.obs.wires
    turn = jnp.eye(2 ** len(wires), dtype=complex)
    for gate in mp.obs.diagonalizing_gates():
        turn = jnp.asarray(gate.matrix(wire_order=wires)) @ turn
    return turn @ ensemble.density(wires) @ turn.conj().T
