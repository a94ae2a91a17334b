"""What a person calls the parts of a spec, and what they must have in common."""

from __future__ import annotations

from dataclasses import fields
from types import MappingProxyType
from typing import Any

from varq import names
from varq.simulator.slopes import least_step

__all__ = ["TOLERANCES", "called", "check_differences", "check_frequencies"]

TOLERANCES = MappingProxyType({"single": 1e-3, "double": 1e-6})
"""Of a gradient beside differences of values, in either precision."""


def called(part: Any) -> str:
    """What a part of a spec is called in a title: its title or method's name where it has one, else its kind."""
    return str(getattr(part, "title", None) or getattr(part, "name", None) or type(part).__name__)


def check_frequencies(optimizer: Any, ansatz: Any) -> None:
    """ValueError if a coordinate optimizer assumes other frequencies than the ansatz has.

    Where nobody knows those of the ansatz, what a person gave is taken; the method's own assumption is not.
    """
    assumed = getattr(optimizer, "frequencies", None)
    if assumed is None:
        return
    known = getattr(ansatz, "frequencies", None)
    rows = assumed if isinstance(assumed[0], tuple) else (assumed,)
    if known is None and assumed != _assumed(optimizer):
        return
    if known is not None and all(set(known) <= set(row) for row in rows):
        return
    what = "are not single frequencies" if known is None else f"have frequencies {tuple(known)}"
    usable = [n for n in names.names("optimizer") if n not in ("rotosolve", "excitation-solve")]
    raise ValueError(
        f"{called(optimizer)} assumes that the cost in each parameter has the frequencies {tuple(assumed)}. The "
        f"parameters of {called(ansatz)} {what}. Use ExcitationSolve for excitations, Rotosolve for rotations, "
        f"frequencies=((1.0,), (1.0, 2.0), ...), one tuple for each parameter, where you know them, or one of {usable}."
    )


def _assumed(optimizer: Any) -> Any:
    """The frequencies that an optimizer has where nobody gave any."""
    return next((f.default for f in fields(optimizer) if f.name == "frequencies"), None)


def check_differences(optimizer: Any, shots: int | None) -> None:
    """ValueError if an optimizer differences sampled values or slopes over a step that drowns in shot noise."""
    step = getattr(optimizer, "differences", None)
    if shots is not None and step is not None and step < least_step(shots):
        raise ValueError(
            f"{called(optimizer)} must difference values over at least {least_step(shots):.2g} rad to see them through "
            f"the noise of {shots} shots. Its step is {step:.2g}. Use 'spsa', 'adam', 'L-BFGS-B' with its gradients "
            "(by shift rules) or 'COBYLA'; or shots=None."
        )
