"""Loops of experiments on the compiled simulator, where each is chosen from the outcomes before it.

Two ways: `segment` runs one experiment on a state that the caller's own compiled loop carries on, and `feed_forward` is
one measured circuit with all experiments, their powers and angles computed from its own outcomes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from numpy.typing import NDArray

from varq.devices.catalog import DEFAULT
from varq.simulator.outcomes import outcome

__all__ = ["feed_forward", "segment"]

Eigensystem = tuple[NDArray[np.float64], NDArray[np.complex128]]


def segment(eigen: Eigensystem) -> Callable[[Any, Any, Any, Any], Any]:
    """One experiment on `varq.qubit`, from a system's state to the amplitudes for both outcomes of the control.

    Args:
        eigen: eigenphases of the unitary, radians, shape (2^n,), and its eigenvectors as columns.

    Returns:
        A function of the state of shape (2^n,), the power, a further phase of each application and the reference angle
        (radians); it gives amplitudes of shape (2, 2^n), which JAX may trace, map and compile.
    """
    phases, vectors = eigen
    wires = len(phases).bit_length()
    identity = np.eye(len(phases))

    @qml.qnode(qml.device(DEFAULT, wires=wires), interface="jax", diff_method=None)  # type: ignore[untyped-decorator]
    def circuit(state: Any, power: Any, turn: Any, angle: Any) -> Any:
        qml.StatePrep(state, wires=range(1, wires), validate_norm=False)
        qml.Hadamard(0)
        block = (vectors * jnp.exp(1j * power * phases)) @ vectors.conj().T
        qml.QubitUnitary(jax.scipy.linalg.block_diag(identity, block), wires=range(wires))
        qml.PhaseShift(power * turn - angle, 0)
        qml.Hadamard(0)
        return qml.state()

    return lambda state, power, turn, angle: circuit(state, power, turn, angle).reshape(2, -1)


def feed_forward(
    init: Any,
    choose: Callable[[Any], tuple[Any, Any]],
    update: Callable[[Any, Any, Any, Any], Any],
    matrices: list[NDArray[np.complex128]],
    state: NDArray[np.complex128],
    rounds: int,
    shots: int,
    seed: int,
    misread: Callable[[Any], Any] | None = None,
) -> NDArray[np.uint8]:
    """The outcomes of a measured circuit that chooses its own experiments; the system is prepared once.

    Args:
        init: what the controller knows at first, a tree of arrays.
        choose: gives a power below 2^len(matrices) and an angle; traced by JAX.
        update: gives what is known after (known, power, angle, bit); traced by JAX.
        matrices: U, U^2, U^4, ...: each is applied where the power's binary digit says so.
        state: of the system, shape (2^n,).
        rounds: of experiments.
        shots: how often the circuit runs.
        seed: of the outcomes.
        misread: the probability that the bit of a power is read wrongly, traced by JAX; None for no noise.  A coin
            qubit, measured beside the control, draws whether it is.

    Returns:
        Bits as they were read, shape (shots, rounds).
    """
    # What is known holds the next experiment: each is chosen once, and read wherever the circuit needs it.
    first = (init, *choose(init))
    pack, unpack = _packing(first)
    wires = len(state).bit_length()
    coin = wires

    def step(known: Any, bit: Any) -> Any:
        before, power, angle = unpack(known)
        now = update(before, power, angle, bit)
        return pack((now, *choose(now)))

    @qml.set_shots(shots)  # type: ignore[untyped-decorator]
    @qml.qnode(qml.device(DEFAULT, wires=wires + (misread is not None), seed=seed), interface="jax", diff_method=None)  # type: ignore[untyped-decorator]
    def circuit() -> Any:
        known: Any = None
        bits = []
        qml.StatePrep(state, wires=range(1, wires))
        for _ in range(rounds):
            qml.Hadamard(0)
            _experiment(known, first[1:], unpack, matrices, wires)
            qml.Hadamard(0)
            bit = qml.measure(0, reset=True)
            if misread is not None:
                bit = _read(bit, known, first[1], unpack, misread, coin)
            bits.append(bit)
            known = outcome(lambda b: step(pack(first), b), bit) if known is None else outcome(step, known, bit)
        return [qml.sample(bit) for bit in bits]

    return np.asarray(circuit(), dtype=np.uint8).reshape(rounds, shots).T


def _experiment(
    known: Any,
    first: tuple[Any, Any],
    unpack: Callable[[Any], Any],
    matrices: list[NDArray[np.complex128]],
    wires: int,
) -> None:
    """The controlled power and the reference angle that what is known asks for; those of the first where it is None."""

    def digit(place: int) -> Callable[[Any], Any]:
        return lambda vector: (unpack(vector)[1] >> place) & 1

    for place, matrix in enumerate(matrices):
        block = np.eye(2 * len(matrix), dtype=np.complex128)
        block[len(matrix) :, len(matrix) :] = matrix
        if known is not None:
            qml.cond(outcome(digit(place), known), qml.QubitUnitary)(block, wires=range(wires))
        elif (int(first[0]) >> place) & 1:
            qml.QubitUnitary(block, wires=range(wires))
    if known is not None:
        qml.PhaseShift(outcome(lambda vector: -unpack(vector)[2], known), 0)
    else:
        qml.PhaseShift(-first[1], 0)


def _read(
    bit: Any, known: Any, first: Any, unpack: Callable[[Any], Any], misread: Callable[[Any], Any], coin: int
) -> Any:
    """The bit as it is read: turned over where the coin falls on 1."""

    def angle(power: Any) -> Any:
        return 2 * jnp.arcsin(jnp.sqrt(misread(power)))

    qml.RY(angle(first) if known is None else outcome(lambda vector: angle(unpack(vector)[1]), known), coin)
    return outcome(lambda b, c: (b + c) % 2, bit, qml.measure(coin, reset=True))


def _packing(tree: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """A tree of arrays as one vector of real numbers, and back."""
    leaves, structure = jax.tree.flatten(tree)
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    sizes = [leaf.size * (2 if jnp.iscomplexobj(leaf) else 1) for leaf in leaves]
    ends = np.cumsum(sizes)

    def pack(known: Any) -> Any:
        flat = [jnp.ravel(leaf) for leaf in jax.tree.leaves(known)]
        parts = [jnp.concatenate([x.real, x.imag]) if jnp.iscomplexobj(x) else x.astype(jnp.float64) for x in flat]
        return jnp.concatenate(parts)

    def unpack(vector: Any) -> Any:
        out = []
        for leaf, size, end in zip(leaves, sizes, ends, strict=True):
            part = vector[end - size : end]
            if jnp.iscomplexobj(leaf):
                part = part[: size // 2] + 1j * part[size // 2 :]
            out.append(part.astype(leaf.dtype).reshape(leaf.shape))
        return jax.tree.unflatten(structure, out)

    return pack, unpack
