"""The variational quantum eigensolver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from varq import checks, spec
from varq.algorithms.requirements import TOLERANCES, called, check_differences, check_frequencies
from varq.algorithms.task import Task, as_initial, minimization, put, settled, starting_point, usual_device
from varq.algorithms.tracking import tracked_problems
from varq.ansatze.choose import as_ansatz
from varq.devices.catalog import DEFAULT, abilities
from varq.estimation.groups import GROUPINGS
from varq.estimation.shots import RULES
from varq.keys import Key
from varq.node.nodes import Nodes
from varq.node.verification import Report, verify
from varq.optimizers.resolution import as_optimizer
from varq.protocol import Evaluating, Plan, Reply

__all__ = ["VQE"]


@dataclass(frozen=True, eq=False)
class VQE(Task):
    """Minimize the energy of a parametrized circuit (Peruzzo et al., Nat. Commun. 5, 4213 (2014)).

    Args:
        problem: what has the energy: a `Molecule`, a lattice, an `Operator`; anything with `hamiltonian` and `wires`.
        ansatz: an ansatz or its name; None for the problem's usual one (UCCSD for molecules, in the Jordan-Wigner map,
            Hamiltonian-variational for lattices, else hardware-efficient).
        optimizer: an optimizer or its name; None for L-BFGS-B, or SPSA when there are shots.
        initial: starting parameters of the ansatz' shape (radians); or the id of a run, whose parameters are
            taken (the default where it failed); None for the ansatz' own.
        grouping: with shots, which Pauli words one circuit measures: those that agree wire by wire ("qubit-wise"), or
            all that commute ("commuting": fewer circuits, with two-qubit gates before the measurement).
        allocation: with shots, how they are shared out over the groups: by their "variance" in the maximally mixed
            state (nothing is measured for that), or "equal"; None for "variance" where groups agree wire by wire, and
            "equal" where they commute: near a basis state the large group of Z spreads far less than in the mixed
            state, so that "variance" loses there for small molecules.  `varq.estimation.shared` has figures.
        track: further observables to follow at each step, by name.  They are no part of the run's identity.

    Raises:
        TypeError: if `problem` has no Hamiltonian.
        ValueError: for an unknown ansatz or optimizer, or parameters of another shape.

    Example:
        >>> from varq.problems import Molecule
        >>> task = VQE(problem=Molecule.load("H2"), ansatz="uccsd", optimizer="L-BFGS-B", seed=7)
        >>> task.resolve("lightning.qubit", None).ansatz.shape
        (3,)
    """

    problem: Any
    ansatz: Any = None
    optimizer: Any = None
    initial: Any = None
    grouping: str = "qubit-wise"
    allocation: str | None = None
    track: Mapping[str, Any] = field(default_factory=dict, metadata=spec.UNHASHED)

    kind: ClassVar[str] = "algorithm:vqe"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not hasattr(self.problem, "hamiltonian") or not hasattr(self.problem, "wires"):
            raise TypeError(
                f"problem must have a Hamiltonian. Got {self.problem!r}. Use a Molecule, a lattice, MaxCut, or "
                "Operator(op) for any PennyLane observable."
            )
        checks.choice("grouping", self.grouping, GROUPINGS)
        if self.allocation is not None:
            checks.choice("allocation", self.allocation, RULES)
        put(self, track=tracked_problems(self.track, self.problem.wires))
        if self.ansatz is not None:
            put(self, ansatz=as_ansatz(self.ansatz, self.problem))
        if self.optimizer is not None:
            put(self, optimizer=as_optimizer(self.optimizer))
        if self.initial is not None:
            put(self, initial=as_initial(self.initial))

    @property
    def title(self) -> str:
        """What is run, in a few words."""
        parts = [called(part) for part in (self.problem, self.ansatz, self.optimizer) if part is not None]
        return "VQE " + ", ".join(parts)

    @property
    def cost_circuit(self) -> Any:
        """The ansatz."""
        return self.ansatz

    def resolve(self, device: Any, shots: int | None) -> VQE:
        """This spec with every choice made."""
        ansatz = as_ansatz(usual_ansatz(self.problem) if self.ansatz is None else self.ansatz, self.problem)
        default = "L-BFGS-B" if shots is None else "spsa"
        optimizer = as_optimizer(default if self.optimizer is None else self.optimizer)
        check_frequencies(optimizer, ansatz)
        check_differences(optimizer, shots)
        initial = starting_point(self.initial, ansatz.shape, ansatz.init, self.seed)
        allocation = self.allocation or ("variance" if self.grouping == "qubit-wise" else "equal")
        chosen = {"ansatz": ansatz, "optimizer": optimizer, "initial": initial, "allocation": allocation}
        resolved: VQE = settled(self, usual_device(device), shots, **chosen)
        return resolved

    def plan(self, nodes: Nodes) -> Plan:
        """This spec, resolved, made runnable on a device."""
        problem, ansatz = self.problem, self.ansatz
        tracked = {name: entry.hamiltonian for name, entry in self.track.items()}
        assert self.allocation is not None
        cost = nodes.cost(
            ansatz, problem.hamiltonian, ansatz.wires, ansatz.shape, tracked, self.grouping, self.allocation
        )
        energies = dict(getattr(problem, "energies", None) or {})

        def details(further: Reply | None) -> Mapping[str, Any]:
            return {f"energy_{name}": value for name, value in energies.items() if value is not None}

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
            unit=getattr(problem, "unit", ""),
            details=details,
        )

    def state(self, parameters: Any) -> NDArray[np.complex128]:
        """The state that the ansatz prepares, simulated on `varq.qubit`: an input for phase estimation, for instance.

        Args:
            parameters: of the ansatz' shape, such as a result's.

        Returns:
            Amplitudes, shape (2**wires,), wire 0 the most significant bit.

        Raises:
            ValueError: for parameters of another shape.

        Example:
            >>> from varq.problems import Molecule
            >>> task = VQE(problem=Molecule.load("H2"))
            >>> float(abs(task.state([0.0, 0.0, 0.0])[0b1100]))
            1.0
        """
        ansatz = as_ansatz(usual_ansatz(self.problem) if self.ansatz is None else self.ansatz, self.problem)
        cost = Nodes(DEFAULT).cost(ansatz, self.problem.hamiltonian, ansatz.wires, ansatz.shape)
        return cost.state(checks.array("parameters", parameters, ansatz.shape))

    def circuit(self, parameters: Any) -> Callable[[], None]:
        """A function that queues the ansatz with these parameters: a state that phase estimation prepares by gates.

        Args:
            parameters: of the ansatz' shape, such as a result's.

        Raises:
            ValueError: for parameters of another shape.

        Example:
            >>> from varq.problems import EigenPhase, Molecule
            >>> h2 = Molecule.load("H2")
            >>> prepare = VQE(problem=h2).circuit([0.0, 0.0, 0.0])
            >>> [gate.name for gate in EigenPhase.from_hamiltonian(h2, state=prepare).preparation][:2]
            ['PauliX', 'PauliX']
        """
        ansatz = as_ansatz(usual_ansatz(self.problem) if self.ansatz is None else self.ansatz, self.problem)
        return partial(ansatz, checks.array("parameters", parameters, ansatz.shape))

    def _verify(self, cost: Evaluating, key: Key) -> Report:
        """The gradient by two methods, a Hermitian Hamiltonian, and the electrons that a chemical ansatz keeps."""
        problem, ansatz = self.problem, self.ansatz
        conserved = {}
        if hasattr(ansatz, "electrons") and hasattr(problem, "number"):
            up, down = ansatz.electrons
            conserved = {"electrons": (problem.number, up + down), "spin along z": (problem.spin_z, (up - down) / 2)}
        device = abilities(spec.unwrap(self.device))
        leakage = 1.0 if device.noise else 0.0  # a noisy machine keeps nothing; what leaks is part of its error
        return verify(
            cost,
            ansatz.shape,
            key,
            observable=problem.hamiltonian,
            conserved=conserved,
            tolerance=TOLERANCES[self.precision],
            leakage=leakage,
        )


def usual_ansatz(problem: Any) -> str:
    """The name of the ansatz that suits a problem when none is named."""
    if hasattr(problem, "parts"):
        return "hamiltonian-variational"
    return "uccsd" if hasattr(problem, "orbitals") else "hardware-efficient"
