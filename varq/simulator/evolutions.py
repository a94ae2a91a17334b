"""Evolutions under commuting Pauli words: the words, one vector of weights, and one time."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from autograd.tracer import isbox
from pennylane import ApproxTimeEvolution
from pennylane.operation import Operator
from pennylane.ops import Evolution
from pennylane.pauli import PauliWord
from pennylane.wires import Wires

__all__ = [
    "MOST_LEVELS",
    "WordEvolution",
    "evolved",
    "gather",
    "is_complex",
    "is_followed",
    "levels",
    "together",
    "words_of",
]

MOST_LEVELS = 1 << 14
"""Sums of weights with more steps than this are taken as real numbers."""


class WordEvolution(Operator):  # type: ignore[misc]
    """exp(-i time * sum of weights * words), for words that commute: what a compiled program takes of an evolution.

    Args:
        weights: shape (words,).
        time: a number.
        words: hashable.
        levels: None if the weights are traced; else they are constants, and this is what `levels` gives for them, that
            of the empty word apart.
        wires: of the operation, idle ones among them.
    """

    def __init__(self, weights: Any, time: Any, words: tuple[PauliWord, ...], levels: int | None, wires: Any) -> None:
        super().__init__(weights, time, wires=wires)
        self._hyperparameters = {"words": words, "levels": levels}

    @property
    def words(self) -> tuple[PauliWord, ...]:
        """The words, without their weights."""
        found: tuple[PauliWord, ...] = self.hyperparameters["words"]
        return found

    @property
    def levels(self) -> int | None:
        """What is known of the weights."""
        found: int | None = self.hyperparameters["levels"]
        return found

    def map_wires(self, wire_map: Mapping[Any, Any]) -> WordEvolution:
        """The same evolution on other wires."""
        wires = Wires([wire_map.get(w, w) for w in self.wires])
        words = tuple(word.map_wires(wire_map) for word in self.words)
        weights, time = self.data
        return WordEvolution(weights, time, words, self.levels, wires)

    def _flatten(self) -> tuple[Any, Any]:
        return self.data, (self.words, self.levels, self.wires)

    @classmethod
    def _unflatten(cls, data: Any, metadata: Any) -> WordEvolution:
        return cls(*data, *metadata)


def is_complex(value: Any) -> bool:
    """Whether a number has an imaginary part, or may have one: what is traced shows its type alone."""
    if isinstance(value, (int, float)):
        return False
    if qml.math.is_abstract(value):
        return bool(np.issubdtype(value.dtype, np.complexfloating))
    return bool(np.any(np.abs(np.imag(qml.math.unwrap(value))) > 0))


def is_followed(value: Any) -> bool:
    """Whether JAX or autograd follows a value, to compile or to differentiate."""
    return isinstance(value, jax.core.Tracer) or isbox(value)


def words_of(op: Operator) -> tuple[Mapping[PauliWord, Any], Any] | None:
    """The weights by word, and the time, of an evolution that is exact word by word; None for other operations."""
    if isinstance(op, ApproxTimeEvolution):
        generator, time = op.hyperparameters["hamiltonian"], op.parameters[-1]
    elif isinstance(op, Evolution):
        generator, time = op.base, op.data[0] if op.data else op.param
    else:
        return None
    sentence: Mapping[PauliWord, Any] | None = generator.pauli_rep
    if sentence is None or any(is_complex(c) for c in (*sentence.values(), time)):
        return None
    if isinstance(op, ApproxTimeEvolution) and qml.math.ndim(time):
        return None  # a batch that PennyLane sees in its decomposition alone
    return (sentence, time) if _commuting(list(sentence)) else None


def _commuting(words: Sequence[PauliWord]) -> bool:
    if all(set(word.values()) <= {"Z"} for word in words):
        return True
    return all(a.commutes_with(b) for k, a in enumerate(words) for b in words[:k])


def evolved(op: Operator, known: dict[Hashable, Any] | None = None) -> WordEvolution | None:
    """An operation as a `WordEvolution`, or None if it is none.

    Args:
        op: any operation.
        known: the weights made before, by the generator that they belong to: evolutions under one generator then share
            one vector, by which the layers of a circuit are seen to have one cost.  Generators are one if they are one
            object, or have the same words with the same plain numbers.
    """
    found = words_of(op)
    if found is None:
        return None
    sentence, time = found
    known = {} if known is None else known
    if id(sentence) not in known:
        values = list(sentence.values())
        if any(isbox(v) or np.ndim(v) for v in values):
            return None
        weights = gather(values)
        if isinstance(weights, np.ndarray):
            weights = known.setdefault((tuple(sentence), weights.tobytes()), weights)
        known[id(sentence)] = weights, levels(v for w, v in sentence.items() if len(w)), sentence
    weights, steps, _ = known[id(sentence)]
    return WordEvolution(weights, time, tuple(sentence), steps, op.wires)


def together(operations: Iterable[Operator]) -> list[Operator]:
    """Operations with every evolution as a `WordEvolution`, those under one generator with the same vector."""
    known: dict[Hashable, Any] = {}
    return [evolved(op, known) or op for op in operations]


def levels(weights: Iterable[Any]) -> int | None:
    """A bound, a power of 2, on the sum of |weights| / (the least of them); 0 if some are no multiples of that.

    Args:
        weights: numbers; None comes back where one is traced, as its value is not known and may be followed.

    Example:
        >>> levels([0.5, -1.5, 0.5]), levels([0.5, 0.3])
        (8, 0)
    """
    given = list(weights)
    if any(isinstance(w, jax.core.Tracer) for w in given):
        return None
    sizes = np.abs(np.array([float(np.real(w)) for w in given]))
    sizes = sizes[sizes > 0]
    if not len(sizes) or not np.all(np.isfinite(sizes)) or sizes.sum() > MOST_LEVELS * sizes.min():
        return 0
    steps = sizes / sizes.min()
    if np.any(np.abs(steps - np.rint(steps)) > 4 * np.finfo(float).eps * steps):
        return 0
    return 1 << (int(np.rint(steps).sum()) - 1).bit_length()


_TOGETHER = 32  # scalars that one operation puts into a vector


def gather(values: Sequence[Any]) -> Any:
    """Scalars and vectors as one vector: of NumPy if all are plain numbers, else of JAX."""
    if not any(isinstance(v, jax.Array) for v in values):
        return np.concatenate([np.zeros(0), *(np.atleast_1d(np.real(v)).astype(np.float64) for v in values)])
    # Half precision is a choice of the caller for some numbers, not for the plain ones beside them.
    dtype = jnp.promote_types(jnp.result_type(*values), jnp.float32)
    parts: list[Any] = []
    scalars: list[Any] = []
    for value in [*values, None]:
        if value is not None and not jnp.ndim(value):
            scalars.append(jnp.asarray(value, dtype))
            continue
        parts += [_vector(*scalars[at : at + _TOGETHER]) for at in range(0, len(scalars), _TOGETHER)]
        scalars = []
        if value is not None:
            parts.append(jnp.asarray(value, dtype))
    return jnp.concatenate(parts) if len(parts) > 1 else parts[0]


@jax.jit
def _vector(*scalars: Any) -> Any:
    """A sum of padded scalars, which XLA compiles as one kernel; of the operands of a stack it makes one for each."""
    last, zero = len(scalars) - 1, jnp.zeros((), jnp.result_type(*scalars))
    return sum(jax.lax.pad(jnp.reshape(v, 1), zero, ((k, last - k, 0),)) for k, v in enumerate(scalars))
