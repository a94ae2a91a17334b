"""Any PennyLane observable as a problem: find its lowest eigenvalue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pennylane as qml
import scipy.sparse as sps

from varq import checks, spec
from varq.problems import spectrum
from varq.problems.pauli import MATRIX_WIRES, MOST_WIRES, PauliSum

__all__ = ["Operator"]

MOST_WORDS = 4096  # a matrix with more Pauli words than this is kept as a sparse matrix
DENSE_WIRES = 12  # operators without a sparse matrix are made dense up to here: 268 MB
_CSR = frozenset({"data", "indices", "indptr"})


@dataclass(frozen=True, eq=False, repr=False)
class Operator:
    """A Hermitian operator whose lowest eigenvalue is sought.

    Kept as Pauli words where there are at most 4096 of them, whatever form it was given in, else as a sparse matrix: so
    Hermitian, Projector and a Pauli sum that mean the same are the same problem.

    Args:
        op: a PennyLane observable; a `PauliSum`; words such as {"ZZ": 0.5} or [(0.5, "ZZ")]; or a Hermitian matrix,
            NumPy or SciPy sparse, shape (2^n, 2^n), wire 0 the most significant bit. Kept as ((coefficient, word), ...)
            or, for a matrix with many words, as its CSR arrays.
        wires: how many; None for as many as `op` needs.
        labels: the labels of the wires where they are no integers from 0 on; in PennyLane's order they become wires
            0, 1, 2 ... Integer labels are never renumbered.

    Raises:
        TypeError: if `op` is none of these.
        ValueError: if it is not Hermitian (says by how much), or too large.

    Example:
        >>> problem = Operator(0.5 * qml.Z(0) @ qml.Z(1) + 0.25 * qml.X(0))
        >>> problem
        Operator(2 wires, 2 words: 0.5 ZZ + 0.25 XI)
        >>> round(problem.reference(), 6)
        -0.559017
    """

    op: Any
    wires: int | None = None
    labels: tuple[Any, ...] | None = field(default=None, metadata=spec.UNHASHED)

    kind: ClassVar[str] = "problem:operator"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = ""

    def __post_init__(self) -> None:
        wanted = None if self.wires is None else checks.integer("wires", self.wires, 1, MOST_WIRES)
        found, labels = _read(self.op, wanted)
        if isinstance(found, PauliSum):
            found = _hermitian_sum(found, wanted)
            kept: Any = tuple((float(c.real), word) for c, word in found.words())
            count = found.wires
        else:
            kept = _hermitian_matrix(found)
            count = found.shape[0].bit_length() - 1
            if wanted not in (None, count):
                raise ValueError(f"wires must be {count}, as the matrix has it. Got {wanted}.")
        given = labels if self.labels is None else tuple(self.labels)
        if given is not None and len(given) > count:
            raise ValueError(f"labels must name at most {count} wires. Got {given}.")
        for name, value in (("op", kept), ("wires", count), ("labels", given)):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        if self.pauli is None:
            return f"Operator({self._acting}, sparse matrix, {self.matrix.nnz:,} entries)"
        shown = " + ".join(f"{c:g} {w}" for c, w in self.op[:4]).replace("+ -", "- ")
        words = checks.counted(len(self.op), "word")
        return f"Operator({self._acting}, {words}: {shown}{' + ...' if len(self.op) > 4 else ''})"

    @property
    def _acting(self) -> str:
        return checks.counted(self.wires or 0, "wire")

    @property
    def title(self) -> str:
        """The problem in a few words."""
        return f"observable on {self.wires} wire{'s' if self.wires != 1 else ''}"

    @cached_property
    def pauli(self) -> PauliSum | None:
        """The operator as a `PauliSum`; None where it is kept as a matrix."""
        return None if isinstance(self.op, Mapping) else PauliSum.from_words(self.op, self.wires)

    @cached_property
    def matrix(self) -> Any:
        """The matrix as SciPy CSR, shape (2^wires, 2^wires), wire 0 the most significant bit."""
        if self.pauli is not None:
            return self.pauli.sparse()
        size = 1 << int(self.wires or 0)
        return sps.csr_matrix((self.op["data"], self.op["indices"], self.op["indptr"]), shape=(size, size))

    @cached_property
    def hamiltonian(self) -> Any:
        """The operator on wires 0 .. wires-1, as a PennyLane operator."""
        if self.pauli is not None:
            return self.pauli.operator()
        with qml.QueuingManager.stop_recording():
            return qml.SparseHamiltonian(self.matrix, wires=range(int(self.wires or 0)))

    def reference(self) -> float | None:
        """The exact lowest eigenvalue up to 20 wires, else None."""
        values = self.pauli.lowest() if self.pauli is not None else spectrum.lowest_of_matrix(self.matrix, 1)
        return None if values is None else float(values[0])


def _read(op: Any, wires: int | None) -> tuple[Any, tuple[Any, ...] | None]:
    """A Pauli sum or a square sparse matrix, and the labels of wires that are renamed."""
    if isinstance(op, PauliSum):
        return op, None
    if isinstance(op, qml.operation.Operator):
        return _read_pennylane(op, wires)
    if isinstance(op, Mapping) and set(op) == _CSR:
        size = len(op["indptr"]) - 1
        return sps.csr_matrix((op["data"], op["indices"], op["indptr"]), shape=(size, size)), None
    if isinstance(op, (Mapping, list, tuple)):
        return PauliSum.from_words(op, wires if not op else None), None
    if isinstance(op, np.ndarray):
        op = checks.array("op", op, (None, None), np.complex128)
    if isinstance(op, np.ndarray) or sps.issparse(op):
        return _as_sum(sps.csr_matrix(op, dtype=np.complex128)), None
    hint = "Give a PennyLane observable, a PauliSum, words such as {'ZZ': 0.5}, or a matrix."
    raise TypeError(f"op must be an observable. Got {type(op).__name__}. {hint}")


def _read_pennylane(op: Any, wires: int | None) -> tuple[Any, tuple[Any, ...] | None]:
    labels = tuple(op.wires.tolist())
    counted = all(isinstance(w, (int, np.integer)) and w >= 0 for w in labels)
    order = list(range(max(wires or 0, *(int(w) + 1 for w in labels), 1))) if counted else list(labels)
    names = None if counted else labels
    checks.integer("wires", len(order), maximum=MOST_WIRES, hint="Number the operator's wires from 0.")
    if op.pauli_rep is not None:
        return PauliSum.from_operator(op, order).simplify(), names
    if op.has_sparse_matrix:
        try:
            return _as_sum(sps.csr_matrix(op.sparse_matrix(wire_order=order))), names
        except (RuntimeError, qml.exceptions.SparseMatrixUndefinedError):
            pass  # some composite operators announce a sparse matrix and say only here that they have none
    if not op.has_matrix or len(order) > DENSE_WIRES:
        raise ValueError(f"op must have Pauli words or a matrix on up to {DENSE_WIRES} wires. Got {op.name}.")
    return _as_sum(sps.csr_matrix(qml.matrix(op, wire_order=order))), names


def _as_sum(matrix: Any) -> Any:
    """The matrix as a Pauli sum where it has few words, else as it is."""
    size = matrix.shape[0]
    if matrix.shape != (size, size) or size < 2 or size & (size - 1):
        raise ValueError(f"op must be a matrix with 2^n rows and columns, n at least 1. Got shape {matrix.shape}.")
    checks.finite("op", matrix.data)
    if size.bit_length() - 1 > MATRIX_WIRES:
        return matrix
    found = PauliSum.from_matrix(matrix.toarray())
    return found if len(found) <= MOST_WORDS else matrix


def _hermitian_sum(found: PauliSum, wires: int | None) -> PauliSum:
    found = found.simplify()
    gap = float(np.max(np.abs(found.coefficients.imag), initial=0.0))
    if gap > checks.UNIT_TOLERANCE * max(1.0, float(np.max(np.abs(found.coefficients), initial=0.0))):
        raise ValueError(f"op must be Hermitian. Its anti-Hermitian part has a Pauli coefficient of size {gap:.3g}.")
    count = max(found.wires, 1) if wires is None else checks.integer("wires", wires, found.wires)
    return PauliSum(count, found.x, found.z, found.coefficients.real).simplify()


def _hermitian_matrix(matrix: Any) -> dict[str, Any]:
    gap = float(abs(matrix - matrix.conj().T).max()) / 2
    if gap > checks.UNIT_TOLERANCE * max(1.0, float(abs(matrix).max())):
        raise ValueError(f"op must be Hermitian. Its anti-Hermitian part has an element of size {gap:.3g}.")
    clean = sps.csr_matrix((matrix + matrix.conj().T) / 2)
    clean.sum_duplicates()
    clean.eliminate_zeros()
    data = clean.data if clean.data.imag.any() else clean.data.real
    return {
        "data": checks.array("op", data, (None,), data.dtype),
        "indices": checks.array("op", clean.indices, (None,), np.int64),
        "indptr": checks.array("op", clean.indptr, (None,), np.int64),
    }
