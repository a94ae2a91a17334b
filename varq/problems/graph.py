"""The largest cut of a weighted graph."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from varq import checks, spec
from varq.keys import Key
from varq.problems.pauli import MOST_WIRES, PauliSum

__all__ = ["MaxCut"]

MOST_NODES = 28  # 2^27 cuts: a few seconds
BLOCK_NODES = 20  # nodes whose cuts, 2^20, are compared at once: 8 MB
TRIES = 10_000  # pairings drawn for a random regular graph before giving up

Edge = tuple[int, int, float]
_HINT = "Give edges such as [(0, 1), (1, 2, 0.5)], a NumPy adjacency matrix, or a networkx graph."
_NUMBERED = "Number the nodes from 0; nodes with other names come in a networkx graph: MaxCut(nx.Graph(edges))."


@dataclass(frozen=True)
class MaxCut:
    """Split the nodes of a graph in two so that the edges between the sides weigh as much as possible.

    The cut's weight is to be maximized; `hamiltonian` is to be minimized: H = -sum w (1 - Z_i Z_j) / 2, so its energy
    is minus the cut's weight, and node k is wire k.

    Args:
        graph: a list of edges (i, j) or (i, j, weight), with nodes numbered from 0; a NumPy adjacency matrix, shape
            (nodes, nodes), symmetric; or a networkx graph. Kept as sorted (i, j, weight) with i < j.
        nodes: how many, where some have no edges; None for as many as the edges name.
        labels: names of the nodes, for display; those of a networkx graph unless they are 0 .. nodes-1.

    Raises:
        TypeError: if `graph` is none of these.
        ValueError: for no edges, an edge from a node to itself, an edge given twice, a negative node, a weight that is
            not finite, or a matrix that is not symmetric.

    Example:
        >>> square = MaxCut([(0, 1), (1, 2), (2, 3), (3, 0)])
        >>> square, square.cut("0101"), square.reference(), square.best_bits()
        (MaxCut(4 nodes, 4 edges), 4.0, -4.0, '0101')
    """

    graph: Any
    nodes: int | None = None
    labels: tuple[Any, ...] | None = field(default=None, metadata=spec.UNHASHED, compare=False)

    kind: ClassVar[str] = "problem:maxcut"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = ""

    def __post_init__(self) -> None:
        given, counted, labels = _read(self.graph)
        edges = _edges(given)
        least = max(max(e[1] for e in edges) + 1, counted or 0)
        hint = "The edges name that many."
        nodes = least if self.nodes is None else checks.integer("nodes", self.nodes, least, hint=hint)
        names = labels if self.labels is None else tuple(checks.instance("labels", self.labels, Iterable))
        if names is not None and len(names) != nodes:
            raise ValueError(f"labels must hold one name for each of the {nodes} nodes. Got {len(names)}.")
        for name, value in (("graph", edges), ("nodes", nodes), ("labels", names)):
            object.__setattr__(self, name, value)

    @classmethod
    def random_regular(cls, degree: int, nodes: int, seed: int = 0) -> MaxCut:
        """A random graph in which every node has `degree` edges, uniform over all such graphs.

        Stubs are paired at random until no edge is double or joins a node to itself (Bollobas, 1980).

        Raises:
            ValueError: if no such graph exists, or pairing succeeds too rarely (degrees above about 6).

        Example:
            >>> MaxCut.random_regular(3, 10, seed=1)
            MaxCut(10 nodes, 15 edges)
        """
        nodes = checks.integer("nodes", nodes, 2)
        degree = checks.integer("degree", degree, 1, nodes - 1, "A node has at most nodes - 1 neighbors.")
        if degree * nodes % 2:
            raise ValueError(f"degree times nodes must be even. Got degree {degree} and {nodes} nodes.")
        draw = Key.from_seed(checks.integer("seed", seed)).fold("random-regular", degree, nodes).generator()
        stubs = np.repeat(np.arange(nodes), degree)
        for _ in range(TRIES):
            pairs = np.sort(draw.permutation(stubs).reshape(-1, 2), axis=1)
            if (pairs[:, 0] != pairs[:, 1]).all() and len(np.unique(pairs, axis=0)) == len(pairs):
                return cls([(int(a), int(b)) for a, b in pairs], nodes)
        raise ValueError(f"No simple graph of degree {degree} on {nodes} nodes came up. Choose a lower degree.")

    def __repr__(self) -> str:
        return f"MaxCut({self._words}{'' if self.is_unweighted else ', weighted'})"

    @property
    def _words(self) -> str:
        return f"{self.nodes} nodes, {checks.counted(len(self.graph), 'edge')}"

    @property
    def title(self) -> str:
        """The problem in a few words."""
        return f"MaxCut, {self._words}"

    @property
    def wires(self) -> int:
        """Number of wires, one for each node."""
        return int(self.nodes or 0)

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """The edges (i, j), i < j, sorted."""
        return tuple((i, j) for i, j, _ in self.graph)

    @property
    def weights(self) -> tuple[float, ...]:
        """The edges' weights, in the order of `edges`."""
        return tuple(w for _, _, w in self.graph)

    @property
    def is_unweighted(self) -> bool:
        """Whether every edge weighs 1."""
        return all(w == 1 for w in self.weights)

    @cached_property
    def pauli(self) -> PauliSum:
        """The Hamiltonian as a `PauliSum`.

        Raises:
            ValueError: for more than 63 nodes.
        """
        checks.integer("nodes", self.wires, maximum=MOST_WIRES, hint="Larger graphs have no Hamiltonian here.")
        i, j = np.array(self.edges, dtype=np.uint64).T
        z = (np.uint64(1) << i) | (np.uint64(1) << j)
        half = np.array(self.weights) / 2
        return PauliSum.identity(self.wires, -half.sum()) + PauliSum(self.wires, np.zeros_like(z), z, half)

    @cached_property
    def hamiltonian(self) -> Any:
        """-sum w (1 - Z_i Z_j) / 2 as a PennyLane operator, to be minimized."""
        return self.pauli.operator()

    def cut(self, bits: Any) -> float | NDArray[np.float64]:
        """The weight of the edges between the two sides.

        Args:
            bits: the side of each node: a string such as "0101", or an array of 0 and 1, shape (nodes,) or
                (cuts, nodes).

        Returns:
            A float, or shape (cuts,).

        Raises:
            ValueError: for another length, or entries other than 0 and 1.
        """
        given = [int(c) if c in "01" else -1 for c in bits] if isinstance(bits, str) else bits
        try:
            values = np.array(given)
        except ValueError:  # rows of several lengths
            values = np.array(None)
        if values.ndim not in (1, 2) or values.shape[-1] != self.wires or not np.isin(values, (0, 1)).all():
            raise ValueError(f"bits must be {self.wires} times 0 or 1, one for each node. Got {bits!r}.")
        i, j = np.array(self.edges).T
        weight = (values[..., i] != values[..., j]) @ np.array(self.weights)
        return float(weight) if values.ndim == 1 else np.asarray(weight, dtype=np.float64)

    @cached_property
    def _best(self) -> str | None:
        """The first largest cut in counting order, node 0 on side 0; None for too many nodes."""
        if self.wires > MOST_NODES:
            return None
        weights = np.zeros((self.wires, self.wires))
        for i, j, weight in self.graph:
            weights[i, j] = weights[j, i] = weight
        # Both sides may be exchanged, so node 0 stays where it is and the first sides are counted over the others.
        low = min(BLOCK_NODES, self.wires - 1)
        high = self.wires - low
        inside = _cuts(weights[high:, high:])
        best, bits = -math.inf, ""
        for number in range(1 << (high - 1)):
            sides = np.array([int(c) for c in format(number, f"0{high}b")], dtype=np.float64)
            base = sides @ weights[:high, :high] @ (1 - sides) + sides @ weights[:high, high:].sum(axis=1)
            cuts = inside + _linear((1 - 2 * sides) @ weights[:high, high:])
            first = int(np.argmax(cuts))
            if base + cuts[first] > best:
                best, bits = float(base + cuts[first]), format(number, f"0{high}b") + format(first, f"0{low}b")
        return bits

    def reference(self) -> float | None:
        """Minus the largest cut, by trying all of them up to 28 nodes; else None."""
        return None if self._best is None else 0.0 - float(self.cut(self._best))

    def best_bits(self) -> str | None:
        """A largest cut as a string, node 0 on side 0: the first in counting order; None beyond 28 nodes."""
        return self._best


def _linear(slopes: NDArray[np.float64]) -> NDArray[np.float64]:
    """sum_k slopes[k] bit_k for all bit patterns in counting order, bit 0 the most significant."""
    out = np.zeros(1)
    for slope in slopes[::-1]:
        out = np.concatenate([out, out + slope])
    return out


def _cuts(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cuts of all bit patterns of a graph, in counting order: each node in front doubles the list."""
    out = np.zeros(1)
    for k in range(len(weights) - 1, -1, -1):
        later = weights[k, k + 1 :]
        pull = _linear(later)
        out = np.concatenate([out + pull, out + later.sum() - pull])
    return out


def _read(graph: Any) -> tuple[Iterable[Any], int | None, tuple[Any, ...] | None]:
    """Edges, the number of nodes where it is known, and labels where nodes have other names than 0, 1, 2 ..."""
    if hasattr(graph, "edges") and hasattr(graph, "nodes") and callable(graph.edges):
        return _networkx(graph)
    if isinstance(graph, np.ndarray) or hasattr(graph, "toarray"):
        return _matrix(graph.toarray() if hasattr(graph, "toarray") else graph)
    if not isinstance(graph, (list, tuple, set, frozenset)):
        raise TypeError(f"graph must be edges, a matrix or a networkx graph. Got {type(graph).__name__}. {_HINT}")
    return graph, None, None


def _networkx(graph: Any) -> tuple[Iterable[Any], int, tuple[Any, ...] | None]:
    if graph.is_directed() or graph.is_multigraph():
        raise ValueError("graph must be undirected with single edges. Use nx.Graph(graph) to make it so.")
    found = list(graph.nodes)
    counted = sorted(found) if all(isinstance(n, int) for n in found) else found
    place = {node: k for k, node in enumerate(counted)}
    edges = [(place[a], place[b], data.get("weight", 1.0)) for a, b, data in graph.edges(data=True)]
    return edges, len(found), None if counted == list(range(len(found))) else tuple(counted)


def _matrix(matrix: Any) -> tuple[Iterable[Any], int, None]:
    hint = "For an array of edges use graph.tolist()."
    weights = checks.array("graph", matrix, (None, None), hint=_HINT)
    if weights.shape[0] != weights.shape[1] or not (weights == weights.T).all():
        raise ValueError(f"graph must be a symmetric adjacency matrix. Got shape {weights.shape}. {hint}")
    if weights.diagonal().any():
        raise ValueError("graph must have no edge from a node to itself. Got a diagonal that is not zero.")
    return [(int(i), int(j), weights[i, j]) for i, j in np.argwhere(np.triu(weights))], len(weights), None


def _edges(given: Iterable[Any]) -> tuple[Edge, ...]:
    out: dict[tuple[int, int], float] = {}
    for edge in given:
        if not isinstance(edge, (tuple, list)) or len(edge) not in (2, 3):
            raise ValueError(f"graph must hold edges (i, j) or (i, j, weight). Got {edge!r}. {_HINT}")
        a, b = sorted(checks.integer("a node of graph", node, 0, hint=_NUMBERED) for node in edge[:2])
        if a == b:
            raise ValueError(f"graph must have no edge from a node to itself. Got {edge!r}.")
        if (a, b) in out:
            raise ValueError(f"graph must hold each edge once. Got {(a, b)} twice. Add up their weights.")
        out[a, b] = checks.real("weight", edge[2] if len(edge) == 3 else 1.0)
    if not out:
        raise ValueError(f"graph must have at least one edge. {_HINT}")
    return tuple((a, b, w) for (a, b), w in sorted(out.items()))
