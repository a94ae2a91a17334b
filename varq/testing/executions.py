"""What local devices really do: every run of circuits in this process, whoever asked for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

import pennylane as qml
from pennylane.devices import DefaultQubit
from pennylane.tape import QuantumScript
from pennylane_lightning.lightning_qubit import LightningQubit

from varq.node import compiled
from varq.simulator.device import VarqQubit
from varq.simulator.kept import Kept

__all__ = ["counted"]

_DEVICES = (DefaultQubit, LightningQubit, VarqQubit)
_RUNS = (
    "execute",
    "compute_derivatives",
    "execute_and_compute_derivatives",
    "compute_vjp",
    "execute_and_compute_vjp",
    "compute_jvp",
    "execute_and_compute_jvp",
)
_PROGRAMS = ("value", "both", "further", "metric", "state", "probabilities")


@contextmanager
def counted(note: Callable[[], Any]) -> Iterator[None]:
    """Inside the block, call `note` after each run on default.qubit, lightning.qubit or varq.qubit.

    A run is one call of a device with circuits that hold numbers, or of a program that was compiled of such a call; to
    trace and to compile a circuit is none.  This sees whatever runs, inside the loop of a run and outside.

    Example:
        >>> runs = []
        >>> @qml.qnode(qml.device("default.qubit", wires=1))
        ... def circuit():
        ...     return qml.expval(qml.Z(0))
        >>> with counted(lambda: runs.append("ran")):
        ...     value = circuit()
        >>> value = circuit()
        >>> runs
        ['ran']
    """
    inside = False

    def noting(run: Callable[..., Any], is_real: Callable[[tuple[Any, ...]], bool]) -> Callable[..., Any]:
        @wraps(run)
        def noted(*args: Any, **options: Any) -> Any:
            nonlocal inside
            if inside or not is_real(args):
                return run(*args, **options)
            inside = True  # what a run asks of its own device is part of it
            try:
                found = run(*args, **options)
            finally:
                inside = False
            note()
            return found

        return noted

    make = compiled._Functions.__init__

    def made(self: Any, *args: Any, **options: Any) -> None:
        make(self, *args, **options)
        for name in _PROGRAMS:
            setattr(self, name, noting(getattr(self, name), lambda given: True))

    with ExitStack() as patches:
        patches.enter_context(patch.object(compiled._Functions, "__init__", made))
        # Those that were made before would not be seen.
        patches.enter_context(patch.object(compiled, "_functions", Kept(weigh=lambda functions: 0)))
        for device in _DEVICES:
            for name in _RUNS:
                run = getattr(device, name, None)
                if run is not None:
                    patches.enter_context(patch.object(device, name, noting(run, lambda given: _has_numbers(given[1]))))
        yield


def _has_numbers(circuits: Any) -> bool:
    """Whether tapes are to be run, and not traced."""
    tapes = (circuits,) if isinstance(circuits, QuantumScript) else circuits
    return not any(
        qml.math.is_abstract(number) for tape in tapes for number in tape.get_parameters(trainable_only=False)
    )
