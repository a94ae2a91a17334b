r"""Fermionic excitations under the Jordan-Wigner map, built from gates that state-vector devices run natively.

Spin orbitals are interleaved: wire 2p is orbital p with spin up, wire 2p + 1 with spin down.  With
:math:`T = a_a^\dagger a_b^\dagger a_j a_i`, i < j and a < b, the Jordan-Wigner map gives
:math:`T = \sigma^+_a \sigma^+_b \sigma^-_j \sigma^-_i P` with P the product of Z over the wires that lie between an
odd number of the four: the signs of the ladder operators among themselves cancel for that order of indices.  P is the
hard part of such a gate.  Let C be the product of CZ between one changing wire and each wire of P: C is "P if that
wire is 1".  T flips the wire, so exactly one of the two C in C T C acts, and C T C = P T.  Hence the fermionic
excitation is PennyLane's qubit excitation between two layers of CZ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import pennylane as qml

from varq import checks

__all__ = [
    "Excitation",
    "FermionicDouble",
    "FermionicSingle",
    "electron_pair",
    "excite",
    "expand_excitations",
    "parity_wires",
    "wires_of",
]

Excitation = tuple[tuple[int, ...], tuple[int, ...]]
"""Spin orbitals that lose an electron and those that gain it, both ascending: ((i,), (a,)) or ((i, j), (a, b))."""


class _Fermionic(qml.operation.Operation):  # type: ignore[misc]  # PennyLane is untyped
    """exp(angle/2 (T - T^dagger)) for an excitation T; subclasses say of how many electrons."""

    num_params = 1
    ndim_params = (0,)
    grad_method = "A"
    parameter_frequencies = [(0.5, 1.0)]  # noqa: RUF012  # PennyLane's own form
    resource_keys = {"num_wires"}  # noqa: RUF012
    electrons = 1

    def __init__(self, angle: Any, wires: Any, id: str | None = None) -> None:
        count = len(qml.wires.Wires(wires))
        if count < 2 * self.electrons:
            raise ValueError(
                f"{type(self).__name__} needs at least {2 * self.electrons} wires. Got {count}. "
                "State the wires that lose an electron, those that gain one, then those of the parity string."
            )
        super().__init__(angle, wires=wires, id=id)

    @property
    def resource_params(self) -> dict[str, int]:
        """What the number of gates of the decomposition depends on."""
        return {"num_wires": len(self.wires)}

    def adjoint(self) -> _Fermionic:
        """The rotation back."""
        return type(self)(-self.data[0], wires=self.wires)

    def pow(self, z: float) -> list[_Fermionic]:
        """The rotation z times."""
        return [type(self)(self.data[0] * z, wires=self.wires)]

    def anchored(self) -> Any:
        """The excitation without its parity string: a gate on the changing wires only."""
        return _bare(self.data[0], self.wires[: 2 * self.electrons])

    @property
    def parity(self) -> Any:
        """The wires of the parity string."""
        return self.wires[2 * self.electrons :]


class FermionicSingle(_Fermionic):
    r"""The rotation :math:`\exp(\frac{\varphi}{2}(a_a^\dagger a_i - a_i^\dagger a_a))`.

    Args:
        angle: :math:`\varphi` in radians, twice the amplitude of coupled-cluster theory.
        wires: (i, a, then the wires strictly between them in Jordan-Wigner order).
        id: PennyLane's label for the instance.

    Raises:
        ValueError: for fewer than two wires.

    Example:
        >>> [op.name for op in FermionicSingle(0.3, wires=[0, 2, 1]).decomposition()]
        ['CZ', 'SingleExcitation', 'CZ']
    """

    electrons = 1
    simulated_as = "FermionicSingle"  # the gate of the compiled simulator that this is

    def label(self, decimals: int | None = None, base_label: str | None = None, cache: Any = None) -> str:
        """How drawings show it."""
        return str(super().label(decimals=decimals, base_label=base_label or "F1", cache=cache))

    @staticmethod
    def compute_decomposition(angle: Any, wires: Any) -> list[Any]:
        """The single excitation between two layers of CZ from wire i to the parity string."""
        return _decompose(angle, wires, 2)


class FermionicDouble(_Fermionic):
    r"""The rotation :math:`\exp(\frac{\varphi}{2}(T - T^\dagger))` with :math:`T = a_a^\dagger a_b^\dagger a_j a_i`.

    Args:
        angle: :math:`\varphi` in radians, twice the amplitude of coupled-cluster theory.
        wires: (i, j, a, b, then the parity string) with i < j and a < b in Jordan-Wigner order; `parity_wires` gives
            the string.
        id: PennyLane's label for the instance.

    Raises:
        ValueError: for fewer than four wires.

    Example:
        >>> [op.name for op in FermionicDouble(0.3, wires=[0, 1, 2, 3]).decomposition()]
        ['DoubleExcitation']
    """

    electrons = 2
    simulated_as = "FermionicDouble"

    def label(self, decimals: int | None = None, base_label: str | None = None, cache: Any = None) -> str:
        """How drawings show it."""
        return str(super().label(decimals=decimals, base_label=base_label or "F2", cache=cache))

    @staticmethod
    def compute_decomposition(angle: Any, wires: Any) -> list[Any]:
        """The double excitation between two layers of CZ from wire i to the parity string."""
        return _decompose(angle, wires, 4)


def _bare(angle: Any, changing: Any) -> Any:
    """The qubit excitation from the first half of `changing` to the second half."""
    half = len(changing) // 2
    # PennyLane's gates turn |01> to +|10> and |0011> to +|1100>: gaining wires come first.
    gate = qml.SingleExcitation if half == 1 else qml.DoubleExcitation
    return gate(angle, wires=[*changing[half:], *changing[:half]])


def _decompose(angle: Any, wires: Any, changing: int) -> list[Any]:
    string = wires[changing:]
    before = [qml.CZ([wires[0], w]) for w in string]
    middle = _bare(angle, wires[:changing])
    return [*before, middle, *(qml.CZ([wires[0], w]) for w in string)]


def _resources(gate: Any, changing: int, num_wires: int) -> dict[Any, int]:
    out = {gate: 1}
    if num_wires > changing:
        out[qml.CZ] = 2 * (num_wires - changing)
    return out


def _rule(gate: Any, changing: int) -> Any:
    """The decomposition as PennyLane's graph-based search wants it stated."""

    def rule(angle: Any, wires: Any, **_: Any) -> None:
        for w in wires[changing:]:
            qml.CZ([wires[0], w])
        _bare(angle, wires[:changing])
        for w in wires[changing:]:
            qml.CZ([wires[0], w])

    return qml.register_resources(partial(_resources, gate, changing))(rule)


for _gate, _native, _count in ((FermionicSingle, qml.SingleExcitation, 2), (FermionicDouble, qml.DoubleExcitation, 4)):
    if not qml.list_decomps(_gate):  # PennyLane refuses a second registration, as when a module is imported twice
        qml.add_decomps(_gate, _rule(_native, _count))


def parity_wires(*orbitals: int) -> tuple[int, ...]:
    """The wires of the Jordan-Wigner string of an excitation among an even number of spin orbitals.

    Example:
        >>> parity_wires(0, 3), parity_wires(1, 4, 6, 8)
        ((1, 2), (2, 3, 7))
    """
    ends = sorted(orbitals)
    return tuple(k for low, high in zip(ends[::2], ends[1::2], strict=True) for k in range(low + 1, high))


def wires_of(excitation: Excitation) -> list[int]:
    """The wires of an excitation as `FermionicSingle` and `FermionicDouble` take them."""
    lose, gain = excitation
    return [*lose, *gain, *parity_wires(*lose, *gain)]


def excite(angle: Any, excitation: Excitation) -> Any:
    """Queue the fermionic rotation of `angle` radians along an excitation of one or two electrons.

    Args:
        angle: radians, a number of any interface.
        excitation: (spin orbitals that lose an electron, spin orbitals that gain one), each ascending.

    Raises:
        ValueError: if the four (two) orbitals are not distinct, not ascending, or not one or two on each side.

    Example:
        >>> excite(0.1, ((0,), (2,))).wires
        Wires([0, 2, 1])
    """
    lose, gain = excitation
    ordered = list(lose) == sorted(lose) and list(gain) == sorted(gain)
    if len(lose) != len(gain) or len(lose) not in (1, 2) or not ordered or len({*lose, *gain}) != 2 * len(lose):
        raise ValueError(
            f"An excitation must be two ascending tuples of one or two spin orbitals, all different. Got {excitation}. "
            "For example ((0, 1), (2, 3)) moves two electrons from 0 and 1 to 2 and 3."
        )
    gate = FermionicSingle if len(lose) == 1 else FermionicDouble
    return gate(angle, wires=wires_of(excitation))


def electron_pair(electrons: Any, orbitals: int) -> tuple[int, int]:
    """`electrons` as (up, down), each between 0 and `orbitals`.

    Raises:
        TypeError: if it is no pair of integers.
        ValueError: if a number does not fit.
    """
    hint = "Use (n_up, n_down), such as (2, 2) for four electrons in a singlet."
    checks.instance("electrons", electrons, (tuple, list), hint=hint)
    if len(electrons) != 2:
        raise ValueError(f"electrons must have two entries. Got {electrons!r}. {hint}")
    up, down = (checks.integer("electrons", n, minimum=0, maximum=orbitals, hint=hint) for n in electrons)
    return up, down


def _flips(anchor: Any, string: Iterable[Any]) -> dict[frozenset[Any], tuple[Any, Any]]:
    return {frozenset((anchor, w)): (anchor, w) for w in string}


def _cheapest(op: _Fermionic, pending: dict[Any, Any]) -> tuple[dict[Any, Any], list[tuple[Any, Any]]]:
    """The layer of CZ for `op` that is nearest to the `pending` one, and the gates that lead from one to the other."""
    layers = [_flips(anchor, op.parity) for anchor in op.wires[: 2 * op.electrons]]
    best = min(layers, key=lambda layer: len(layer.keys() ^ pending.keys()))
    return best, _between(pending, best)


def _between(old: dict[Any, Any], new: dict[Any, Any]) -> list[tuple[Any, Any]]:
    leave = [pair for key, pair in old.items() if key not in new]
    return leave + [pair for key, pair in new.items() if key not in old]


def _expanded(operations: Sequence[Any]) -> list[Any]:
    out: list[Any] = []
    pending: dict[Any, Any] = {}
    for op in operations:
        if isinstance(op, _Fermionic):
            pending, gates = _cheapest(op, pending)
            out += [qml.CZ(pair) for pair in gates]
            out.append(op.anchored())
        else:
            out += [qml.CZ(pair) for pair in pending.values()]
            pending = {}
            out.append(op)
    return out + [qml.CZ(pair) for pair in pending.values()]


def _first(results: Any) -> Any:
    return results[0]


@qml.transform  # type: ignore[untyped-decorator]  # PennyLane is untyped
def expand_excitations(tape: Any) -> tuple[list[Any], Any]:
    """Replace fermionic excitations by native gates, and let the CZ of neighbors cancel.

    The circuit is the same as the one their decompositions give.  A device that knows `FermionicSingle` and
    `FermionicDouble` should run them as they are; any other runs fewer gates (LiH: 232 CZ in place of 528) with this
    transform on its QNode.

    Args:
        tape: a PennyLane circuit, quantum function or QNode.

    Example:
        >>> ops = [FermionicSingle(0.1, wires=[0, 2, 1]), FermionicSingle(0.2, wires=[0, 4, 1, 2, 3])]
        >>> tape = qml.tape.QuantumScript(ops, [qml.expval(qml.Z(0))])
        >>> [len(t.operations) for t in expand_excitations(tape)[0]]
        [8]
    """
    return [tape.copy(operations=_expanded(tape.operations))], _first


def generalized_pairs(orbitals: int, occupied: int) -> list[tuple[int, int]]:
    """All pairs p < q of orbitals, those from an occupied to an empty one first."""
    return sorted(combinations(range(orbitals), 2), key=lambda pq: not pq[0] < occupied <= pq[1])
