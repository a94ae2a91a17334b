"""The options that limit what a run may use up.  Loads nothing but typer."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

__all__ = ["Circuits", "Cost", "Seconds", "Shots"]

_SECONDS = (
    "The same for seconds of the device, as far as they are known beforehand: until a job has told, one circuit goes "
    "alone; a job that takes longer than the one before it goes beyond."
)
_COST = "The same for money, in the currency of the price; where it is charged by the second, as for seconds."

Shots: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", min=0, help="Stop before the job that would cross N shots in all.")
]
Circuits: TypeAlias = Annotated[int | None, typer.Option(metavar="N", min=0, help="The same for circuits.")]
Seconds: TypeAlias = Annotated[float | None, typer.Option(metavar="S", min=0, help=_SECONDS)]
Cost: TypeAlias = Annotated[float | None, typer.Option(metavar="C", min=0, help=_COST)]
