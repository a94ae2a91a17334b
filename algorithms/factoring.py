"""Shor's algorithm: order finding on qubits, and what surrounds it on paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from varq import checks, spec
from varq.algorithms.batch_phase import CONTROLS
from varq.algorithms.fourier_law import outcome_law
from varq.algorithms.order_finding import Attempt, OrderFinding, Search
from varq.algorithms.permuted import Permuted
from varq.algorithms.phases.posterior import TWO_PI
from varq.algorithms.task import Task, put, settled, usual_device
from varq.circuits.adders import Registers, multiply
from varq.circuits.frames import controlled_by_many, controlled_by_one, one_round, prepared, turn_after
from varq.circuits.integers import is_prime, perfect_power, powers_of_base
from varq.circuits.permutation import Multiplication
from varq.devices.catalog import PERMUTATION, called
from varq.keys import Key
from varq.node.bits import Bitwise, Size
from varq.node.nodes import Nodes
from varq.node.rounds import Rounds
from varq.protocol import Array, Outcome, Plan, Prepared, Progress, Reply, Request, Stop

__all__ = ["BACKENDS", "LARGEST", "SHOTS", "Shor"]

BACKENDS = (PERMUTATION, "gates")
SHOTS = 16  # of an attempt
LARGEST = {
    ("permutation", "semiclassical"): 20,
    ("permutation", "qft"): 11,
    ("gates", "semiclassical"): 10,
    ("gates", "qft"): 6,
}
"""Most bits of N by back end and control: what runs in minutes on a few cores."""

_DRAWN = 1 << 20  # entries of the law that a histogram is drawn beside


@dataclass(frozen=True, eq=False)
class Shor(Task):
    """Factor a number by order finding (P. W. Shor, SIAM J. Comput. 26, 1484 (1997)).

    An attempt takes a base a of order r and measures phases s/r of the multiplication by a modulo N, each with twice as
    many bits as N has.  By continued fractions they tell r, small multiples of denominators tried, which is checked by
    a^r = 1 modulo N.  An even r with a^(r/2) other than -1 gives the factors.  Nothing knows r beforehand.

    `value` is the smaller factor.  `details` holds `factors`, `base`, `order`, `method` ("quantum", or the classical
    check that answered: "even", "power" or "gcd"), what the classical checks said (`prechecks`: whether N is `even`; of
    what `power` it is, (root, exponent); and the bases that were drawn and passed over as they share a factor with N,
    `shared`, (base, factor) each, with any of which N was split already), all `attempts`, the histogram of the last one
    (`outcomes`, `frequencies`, and the `law` of the order found), and the `qubits`, `gates` and `depth` of its circuit.

    Args:
        N: the number, composite, at least 4.
        base: a, from 2 to N - 1; None to draw one for each attempt, from the seed, that shares no factor with N.
        backend: "permutation", where each modular multiplication is one permutation of basis states, compiled by JAX
            and simulated in this process; or "gates", Beauregard's circuit of Fourier space adders.
        control: "semiclassical", one control wire used again (with gates 2 n + 3 wires in all for n bits, on a
            simulator); or "qft", 2 n control wires (with gates 4 n + 2 wires, on any device).
        prechecks: whether an even N, a perfect power and a given base that shares a factor with N are answered
            classically, and reported so.  Without, an even N and a power of a prime are refused, which order finding
            cannot split, and so is such a base.  Either way a prime N is refused, and drawn bases share no factor.
        attempts: most of them.
        shots: of each attempt; None for 16.

    Raises:
        TypeError: for numbers that are no integers.
        ValueError: for an N below 4, a prime, or too large for the back end; without prechecks for an even N, a power
            of a prime, or a base that shares a factor; for an unknown back end or control; for a device with
            "permutation".

    Example:
        >>> import varq
        >>> result = varq.run(Shor(15, base=7), store=None, progress=False)
        >>> result.details["factors"], result.details["order"], result.details["qubits"]
        ((3, 5), 4, 5)
    """

    N: int
    base: int | None = None
    backend: str = "permutation"
    control: str = "semiclassical"
    prechecks: bool = True
    attempts: int = 20

    kind: ClassVar[str] = "algorithm:shor"

    def __post_init__(self) -> None:
        super().__post_init__()
        put(self, N=checks.integer("N", self.N, 4, hint="The smallest composite number is 4."))
        put(self, attempts=checks.integer("attempts", self.attempts, minimum=1))
        checks.choice("backend", self.backend, BACKENDS)
        checks.choice("control", self.control, CONTROLS)
        put(self, prechecks=checks.boolean("prechecks", self.prechecks))
        self._check_number()
        if self.base is not None:
            hint = "Leave it out to have one drawn."
            put(self, base=checks.integer("base", self.base, 2, self.N - 1, hint))
            if not self.prechecks and (shared := math.gcd(self.base, self.N)) > 1:
                raise ValueError(
                    f"base must share no factor with N={self.N}: its powers never come back to 1. Got {self.base}, "
                    f"which shares {shared}. Give another base, or prechecks=True, which takes that for the answer."
                )
        if self.backend == "permutation" and self.device not in (None, self.backend):
            raise ValueError(
                "backend='permutation' is simulated in this process: device has no meaning here. "
                f"Got device={called(spec.unwrap(self.device))!r}. Leave it out, or use backend='gates'."
            )

    def _check_number(self) -> None:
        if is_prime(self.N):
            raise ValueError(f"N must be composite: a prime has no factors. Got the prime {self.N}. Give another N.")
        if self._classical is not None:
            if self.prechecks:
                return
            root, exponent = perfect_power(self.N) or (self.N, 1)
            if self.N % 2 == 0 or is_prime(root):
                what = f"{root}^{exponent}" if exponent > 1 else "which is even"
                raise ValueError(
                    f"N must be odd and no power of a prime for order finding to split it. Got {self.N}, {what}. "
                    "Use prechecks=True, which answers such a number classically."
                )
        most = LARGEST[self.backend, self.control]
        if self._size > most:
            fits = [f"backend={b!r}, control={c!r}" for (b, c), m in LARGEST.items() if m >= self._size]
            way = f"Use {' or '.join(fits)}." if fits else "No back end here simulates as many qubits as it needs."
            raise ValueError(
                f"N must be below 2^{most} with backend={self.backend!r}, control={self.control!r}. Got {self.N}. {way}"
            )

    @property
    def _size(self) -> int:
        """n, bits of N."""
        return self.N.bit_length()

    @property
    def _bits(self) -> int:
        """Of the phase: twice as many as N has tell a fraction with a denominator below N from its neighbors."""
        return 2 * self._size

    @property
    def _classical(self) -> tuple[str, int] | None:
        """The check that splits N without any order, and a factor."""
        if self.N % 2 == 0:
            return "even", 2
        found = perfect_power(self.N)
        return None if found is None else ("power", found[0])

    @property
    def title(self) -> str:
        """What is run, in a few words."""
        return f"factors of {self.N}"

    def resolve(self, device: Any, shots: int | None) -> Shor:
        """This spec with every choice made; "permutation" stands for the device where there is none."""
        device = usual_device(device)
        if self.backend == "permutation":
            device = self.backend
        resolved: Shor = settled(self, device, SHOTS if shots is None else shots)
        return resolved

    def plan(self, nodes: Nodes) -> Plan:
        """This spec, resolved, made runnable."""
        assert self.shots is not None
        method = OrderFinding(
            modulus=self.N,
            bits=self._bits,
            shots=self.shots,
            base=self.base,
            known=self._classical if self.prechecks else None,
            attempts=self.attempts,
        )
        sampler: Permuted | Bitwise | _Reversed
        if self.backend == "permutation":
            sampler = Permuted(self.N, self._bits, self.control, self.precision, *self._circuit()[:2])
        elif self.control == "qft":
            sampler = nodes.bits(*self._circuit())
        else:
            sampler = _Reversed(self._rounds(nodes))
        return Plan(
            method=method,
            start=np.zeros(0),
            evaluate=sampler.evaluate,
            conclude=self._conclude,
            final=lambda progress: None,
            reference=lambda: None,  # the answer proves itself: its factors multiply to N
            stop=Stop(),
            title=self.title,
            prepare=sampler.prepare,
            requests=lambda: self.attempts,
        )

    def _rounds(self, nodes: Nodes) -> Rounds:
        """Beauregard's circuit with one control wire."""
        registers = Registers.after(1, self._size)

        def each(x: Array, number: int, bits: tuple[int, ...]) -> None:
            factors = powers_of_base(int(x[0]), self.N, self._bits)

            def apply(wire: int, j: int) -> None:
                multiply(factors[number], self.N, wire, registers)

            # A turn by nothing, too: all rounds have one structure, which is compiled once.
            one_round(apply, 0, self._bits - 1 - number, float(turn_after(*bits)))

        return nodes.rounds(lambda x: self._one(registers), each, self._bits, registers.ancilla + 1)

    def _one(self, registers: Registers) -> None:
        """Queue the number 1 in the register that is multiplied."""
        prepared(np.eye(1, 1 << self._size, 1)[0], registers.x)

    def _circuit(self) -> tuple[Callable[[Array], Any], int, tuple[int, ...]]:
        """The circuit as a function of the base, its wires, and those whose bits are asked for."""
        controls = tuple(range(self._bits if self.control == "qft" else 1))
        gates = self.backend == "gates"
        registers = Registers.after(len(controls), self._size)
        wires = registers.ancilla + 1 if gates else registers.sums[0]

        def circuit(x: Array) -> list[Any] | None:
            factors = powers_of_base(int(x[0]), self.N, self._bits)[::-1]

            def apply(wire: int, j: int) -> None:
                if gates:
                    multiply(factors[j], self.N, wire, registers)
                else:
                    Multiplication(factors[j], self.N, wires=[wire, *registers.x])

            self._one(registers)
            if len(controls) == 1:
                return controlled_by_one(apply, controls[0], self._bits)
            controlled_by_many(apply, controls)
            return None

        return circuit, wires, controls

    def _conclude(self, progress: Progress) -> Outcome:
        found: Search | None = progress.state
        if found is None:
            return Outcome()
        last = found.attempts[-1] if found.attempts else None
        factors = found.factors
        details: dict[str, Any] = {
            "factors": factors,
            "method": found.method,
            "base": found.base,
            "order": None if found.method != "quantum" or last is None else last.order,
            "prechecks": {"even": self.N % 2 == 0, "power": perfect_power(self.N), "shared": found.shared},
            "attempts": tuple(attempt.as_data() for attempt in found.attempts),
        }
        if last is not None:
            details |= {**self._histogram(last), **self._measured(last)}
        return Outcome(float(factors[0]) if factors else None, None, None, details)

    def _measured(self, attempt: Attempt) -> Mapping[str, Any]:
        """How large the circuit of an attempt was."""
        circuit, wires, _ = self._circuit()
        size = Size.recorded(circuit, np.array([float(attempt.base)]), wires)
        return {"qubits": size.qubits, "gates": size.gates, "depth": size.depth, "bits": self._bits}

    def _histogram(self, attempt: Attempt) -> dict[str, Any]:
        seen = {"outcomes": attempt.outcomes, "frequencies": attempt.counts / attempt.counts.sum()}
        if attempt.order is None or attempt.order << self._bits > _DRAWN:
            return seen
        phases = TWO_PI * np.arange(attempt.order) / attempt.order
        return {**seen, "law": outcome_law(phases, np.full(attempt.order, 1 / attempt.order), self._bits)}


@dataclass(frozen=True, eq=False)
class _Reversed:
    """Beauregard's circuit round by round, its bits turned around: the most significant is measured last."""

    rounds: Rounds

    def prepare(self, request: Request, key: Key, precision: float = 1.0) -> Prepared:
        """The one circuit of a sample."""
        prepared = self.rounds.prepare(request, key, precision)
        return replace(prepared, decode=lambda bits: prepared.decode([bits[0][:, ::-1]]))

    def evaluate(self, request: Request, key: Key) -> Reply:
        """The reply to a sample."""
        reply = self.rounds.evaluate(request, key)
        assert reply.outcomes is not None
        return replace(reply, outcomes=reply.outcomes[:, ::-1])
