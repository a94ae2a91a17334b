"""Algorithms as functions: problem in, result out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from varq import checks
from varq.algorithms.amplitude import AmplitudeEstimation
from varq.algorithms.approximate import QAOA
from varq.algorithms.batch_phase import QPE
from varq.algorithms.correction.memory import Memory
from varq.algorithms.correction.teleportation import LogicalTeleportation
from varq.algorithms.factoring import Shor
from varq.algorithms.minimization import Minimize
from varq.algorithms.phase import PhaseEstimation
from varq.algorithms.variational import VQE
from varq.protocol import Result
from varq.session.api import run

__all__ = [
    "amplitude_estimation",
    "logical_teleportation",
    "memory",
    "minimize",
    "phase_estimation",
    "qaoa",
    "qpe",
    "shor",
    "vqe",
]

_RUNNING = set(inspect.signature(run).parameters) - {"task", "stop"}


def _run(name: str, build: Callable[..., Any], options: dict[str, Any]) -> Result:
    """Give each option to whom it belongs: the spec's fields to the spec, the others to `varq.run`."""
    checks.keywords(f"{name}()", options, [*inspect.signature(build).parameters, *sorted(_RUNNING)])
    running = {k: options.pop(k) for k in list(options) if k in _RUNNING}
    return run(build(**options), **running)


def vqe(problem: Any, **options: Any) -> Result:
    """The ground state energy of a problem: `varq.run(VQE(problem=problem, ...))`.

    Args:
        problem: a `Molecule`, a lattice, an `Operator`; anything with a Hamiltonian.
        **options: fields of `VQE` (`ansatz`, `optimizer`, `seed`, `shots`, `stop` ...) and arguments of `varq.run`
            (`store`, `progress`, `existing` ...).

    Raises:
        TypeError: for an option that neither has; lists the close ones.

    Example:
        >>> from varq.problems import Molecule
        >>> bool(abs(vqe(Molecule.load("H2"), store=None, progress=False).deviation) < 1e-6)
        True
    """
    return _run("vqe", VQE, {"problem": problem, **options})


def qaoa(problem: Any, depth: int = 1, **options: Any) -> Result:
    """The best cut of a graph, approximately: `varq.run(QAOA(problem=problem, depth=depth, ...))`.

    Args:
        problem: a `MaxCut`.
        depth: number of layers.
        **options: fields of `QAOA` and arguments of `varq.run`.

    Raises:
        TypeError: for an option that neither has; lists the close ones.

    Example:
        >>> from varq.problems import MaxCut
        >>> ring = MaxCut([(0, 1), (1, 2), (2, 3), (3, 0)])
        >>> round(qaoa(ring, depth=2, store=None, progress=False).details["expected_cut"], 3)
        4.0
    """
    return _run("qaoa", QAOA, {"problem": problem, "depth": depth, **options})


def phase_estimation(problem: Any, **options: Any) -> Result:
    """An eigenphase, with its posterior: `varq.run(PhaseEstimation(problem=problem, ...))`.

    Args:
        problem: an `EigenPhase`.
        **options: fields of `PhaseEstimation` (`applications`, `shots`, `coherence` ...) and arguments of `varq.run`.

    Raises:
        TypeError: for an option that neither has; lists the close ones.

    Example:
        >>> import numpy as np
        >>> from varq.problems import EigenPhase
        >>> result = phase_estimation(EigenPhase(np.diag([1, np.exp(2.0j)]), state=1), store=None, progress=False)
        >>> bool(abs(result.deviation) < 6 * result.stderr)
        True
    """
    return _run("phase_estimation", PhaseEstimation, {"problem": problem, **options})


def qpe(problem: Any, bits: int = 6, **options: Any) -> Result:
    """An eigenphase by phase estimation as in textbooks: `varq.run(QPE(problem=problem, bits=bits, ...))`.

    Args:
        problem: an `EigenPhase`.
        bits: of the measured phase.
        **options: fields of `QPE` (`state`, `control`, `shots` ...) and arguments of `varq.run`.

    Raises:
        TypeError: for an option that neither has; lists the close ones.

    Example:
        >>> import pennylane as qml
        >>> from varq.problems import EigenPhase
        >>> result = qpe(EigenPhase(qml.T(0), state=1), bits=3, store=None, progress=False)
        >>> result.details["outcomes"].tolist(), abs(result.deviation) < 1e-6
        ([1], True)
    """
    return _run("qpe", QPE, {"problem": problem, "bits": bits, **options})


def shor(N: int, **options: Any) -> Result:
    """Two factors of a number: `varq.run(Shor(N, ...))`.

    Args:
        N: composite, at least 4.
        **options: fields of `Shor` (`base`, `backend`, `control`, `shots` ...) and arguments of `varq.run`.

    Raises:
        TypeError: for an option that neither has; lists the close ones.

    Example:
        >>> shor(15, base=2, store=None, progress=False).details["factors"]
        (3, 5)
    """
    return _run("shor", Shor, {"N": N, **options})


def amplitude_estimation(prepare: Any, good: str, **options: Any) -> Result:
    """The probability of good outcomes of a circuit: `varq.run(AmplitudeEstimation(prepare, good, ...))`.

    Args:
        prepare: queues the circuit, without arguments.
        good: one letter a wire: "1", "0", or "-" for either.
        **options: fields of `AmplitudeEstimation` (`accuracy`, `confidence`, `shots` ...) and arguments of `varq.run`.

    Raises:
        TypeError: for an option that neither has; lists the close ones.

    Example:
        >>> import pennylane as qml
        >>> def fair():
        ...     qml.Hadamard(0)
        >>> result = amplitude_estimation(fair, "1", accuracy=0.1, store=None, progress=False)
        >>> abs(result.deviation) <= 0.1
        True
    """
    return _run("amplitude_estimation", AmplitudeEstimation, {"prepare": prepare, "good": good, **options})


def memory(code: Any, p: float, **options: Any) -> Result:
    """How often a code loses the logical state that it keeps: `varq.run(Memory(code, p, ...))`.

    Args:
        code: such as `RotatedSurface(3)`.
        p: probability that the noise takes multiples of.
        **options: fields of `Memory` (`noise`, `rounds`, `decoder`, `shots` ...) and arguments of `varq.run`.

    Raises:
        TypeError: for an option that neither has; lists the close ones.

    Example:
        >>> from varq.algorithms.correction import Repetition
        >>> memory(Repetition(3), 0.01, shots=1000, store=None, progress=False).details["shots"]  # doctest: +SKIP
        1000
    """
    return _run("memory", Memory, {"code": code, "p": p, **options})


def logical_teleportation(**options: Any) -> Result:
    """How often a logical state that moves arrives wrong: `varq.run(LogicalTeleportation(...))`.

    Args:
        **options: fields of `LogicalTeleportation` (`code`, `p`, `noise`, `decoder`, `listened` ...) and arguments of
            `varq.run`.

    Raises:
        TypeError: for an option that neither has; lists the close ones.

    Example:
        >>> options = {"rounds": 1, "noise": "code-capacity", "shots": 100, "store": None, "progress": False}
        >>> logical_teleportation(p=0.0, **options).value
        0.0
    """
    return _run("logical_teleportation", LogicalTeleportation, options)


def minimize(cost: Any, x0: Any, **options: Any) -> Result:
    """The minimum of any function of an array: `varq.run(Minimize(cost, x0, ...))`.

    Args:
        cost: takes an array, returns a number.
        x0: the starting point.
        **options: fields of `Minimize` and arguments of `varq.run`.

    Raises:
        TypeError: for an option that neither has; lists the close ones.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> def bowl(x):
        ...     return jnp.sum((x - 1.0) ** 2)
        >>> bool(minimize(bowl, np.zeros(2), store=None, progress=False).value < 1e-10)
        True
    """
    return _run("minimize", Minimize, {"cost": cost, "x0": x0, **options})
