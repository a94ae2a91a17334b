"""The quantum approximate optimization algorithm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from varq import checks, spec
from varq.algorithms.requirements import TOLERANCES, check_differences, check_frequencies
from varq.algorithms.task import Task, as_initial, minimization, put, settled, starting_point, usual_device
from varq.algorithms.tracking import tracked_problems
from varq.ansatze.alternating import Alternating
from varq.keys import Key
from varq.node.nodes import Nodes
from varq.node.verification import Report, verify
from varq.optimizers.resolution import as_optimizer
from varq.protocol import Array, Evaluating, Law, Plan, Reply, Sample

__all__ = ["KEPT", "QAOA"]

KEPT = 64  # bit strings kept in a result, the most probable first


@dataclass(frozen=True, eq=False)
class QAOA(Task):
    """Approximate the best cut of a graph (Farhi, Goldstone and Gutmann, arXiv:1411.4028).

    `value` is the expectation of minus the cut, `reference` minus the best cut.  `details` holds the expected cut, its
    ratio to the best one, the distribution over bit strings, and the best of those seen: of the measured ones or, where
    the law is exact and every string has a probability, of the 64 most probable.

    Args:
        problem: a `MaxCut`.
        depth: p, the number of layers.
        optimizer: an optimizer or its name; None for L-BFGS-B, or SPSA when there are shots.
        initial: starting angles (radians), shape (2, depth): gammas, betas; or the id of a run, whose angles
            are taken; None for a linear ramp.
        track: further observables to follow at each step, by name.  They are no part of the run's identity.

    Raises:
        TypeError: if `problem` is no `MaxCut`.
        ValueError: if `depth` is below 1.

    Example:
        >>> from varq.problems import MaxCut
        >>> QAOA(problem=MaxCut([(0, 1), (1, 2), (2, 0)]), depth=2).resolve("lightning.qubit", None).initial.shape
        (2, 2)
    """

    problem: Any
    depth: int = 1
    optimizer: Any = None
    initial: Any = None
    track: Mapping[str, Any] = field(default_factory=dict, metadata=spec.UNHASHED)

    kind: ClassVar[str] = "algorithm:qaoa"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not hasattr(self.problem, "cut") or not hasattr(self.problem, "hamiltonian"):
            raise TypeError(
                f"problem must be a MaxCut. Got {self.problem!r}. Use MaxCut(graph), or VQE for an operator."
            )
        put(self, depth=checks.integer("depth", self.depth, minimum=1))
        put(self, track=tracked_problems(self.track, self.problem.wires))
        if self.optimizer is not None:
            put(self, optimizer=as_optimizer(self.optimizer))
        if self.initial is not None:
            put(self, initial=as_initial(self.initial, (2, self.depth)))

    @property
    def title(self) -> str:
        """What is run, in a few words."""
        return f"QAOA {self.problem.title}, p = {self.depth}"

    @property
    def cost_circuit(self) -> Alternating:
        """The alternating layers, which hold the edges of the graph and their weights."""
        return Alternating.for_problem(self.problem, depth=self.depth)

    def resolve(self, device: Any, shots: int | None) -> QAOA:
        """This spec with every choice made."""
        ansatz = self.cost_circuit
        default = "L-BFGS-B" if shots is None else "spsa"
        optimizer = as_optimizer(default if self.optimizer is None else self.optimizer)
        check_frequencies(optimizer, ansatz)
        check_differences(optimizer, shots)
        initial = starting_point(self.initial, ansatz.shape, ansatz.init, self.seed)
        resolved: QAOA = settled(self, usual_device(device), shots, optimizer=optimizer, initial=initial)
        return resolved

    def plan(self, nodes: Nodes) -> Plan:
        """This spec, resolved, made runnable on a device."""
        problem = self.problem
        ansatz = self.cost_circuit
        tracked = {name: entry.hamiltonian for name, entry in self.track.items()}
        cost = nodes.cost(ansatz, problem.hamiltonian, ansatz.wires, ansatz.shape, tracked)

        def details(further: Reply | None) -> Mapping[str, Any]:
            most = KEPT if self.shots is None else None
            return {} if further is None else cut_details(problem, *_distribution(further), most)

        def more(x: Array) -> Sample | Law:
            return Law(x) if self.shots is None else Sample(x, self.shots)

        return minimization(
            method=self.optimizer.method(),
            start=self.initial,
            evaluate=cost.evaluate,
            prepare=cost.prepare,
            verify=lambda asking, key: self._verify(cost if self.shots is None else asking, key),
            sampled=self.shots is not None,
            reference=problem.reference,
            stop=self.optimizer.stop,
            title=self.title,
            unit="",
            details=details,
            more=more,
        )

    def _verify(self, cost: Evaluating, key: Key) -> Report:
        """The gradient by two methods, and a Hermitian cost."""
        observable = self.problem.hamiltonian
        tolerance = TOLERANCES[self.precision]
        return verify(cost, self.initial.shape, key, observable=observable, tolerance=tolerance)


def _distribution(found: Reply) -> tuple[NDArray[np.uint8], Array]:
    """Bit strings, shape (k, wires), and their probabilities: measured ones, or all of them when exact."""
    if found.law is None:
        assert found.outcomes is not None
        strings, counts = np.unique(found.outcomes, axis=0, return_counts=True)
        return strings.astype(np.uint8), counts / counts.sum()
    weights = found.law
    wires = len(weights).bit_length() - 1
    index = np.arange(len(weights), dtype=np.uint64)
    strings = (index[:, None] >> np.arange(wires - 1, -1, -1, dtype=np.uint64)) & np.uint64(1)
    return strings.astype(np.uint8), weights


def cut_details(problem: Any, strings: NDArray[np.uint8], weights: Array, most: int | None = None) -> dict[str, Any]:
    """What a distribution over bit strings says of a cut problem.

    Args:
        problem: a `MaxCut`.
        strings: shape (k, nodes).
        weights: their probabilities, shape (k,).
        most: of how many strings, the most probable ones, the best is taken; None for all of them.
    """
    edges = np.asarray(problem.edges, dtype=np.int64).reshape(-1, 2)
    crossing = strings[:, edges[:, 0]] != strings[:, edges[:, 1]]
    cuts = crossing.astype(np.float64) @ np.asarray(problem.weights, dtype=np.float64)
    order = np.argsort(-weights, kind="stable")
    likely = order[:KEPT]
    seen = order[:most][weights[order[:most]] > 0]
    best = int(seen[np.argmax(cuts[seen])])
    levels, level = np.unique(np.round(cuts, 9), return_inverse=True)
    reference = problem.reference()
    expected = float(weights @ cuts)
    out = {
        "expected_cut": expected,
        "best_bits": "".join(map(str, strings[best])),
        "best_cut": float(cuts[best]),
        "bitstrings": tuple("".join(map(str, strings[k])) for k in likely),
        "probabilities": np.asarray(weights[likely]),
        "values": cuts[likely],
        "cut_levels": levels,
        "cut_probabilities": np.bincount(np.ravel(level), weights=weights),
    }
    if reference:
        out["approximation_ratio"] = expected / -reference
    return out
