"""Options that several commands of `varq` have, as typer takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "BudgetCircuits",
    "BudgetCost",
    "BudgetSeconds",
    "BudgetShots",
    "Json",
    "Out",
    "Prices",
    "Quiet",
    "Run",
    "SessionId",
    "Steps",
    "Store",
]

_SECONDS = (
    "The same for seconds of the device, as far as they are known beforehand: until a job has told, one circuit goes "
    "alone; a job that takes longer than the one before it goes beyond."
)
_COST = "The same for money, in the currency of the price; where it is charged by the second, as for seconds."

Store = Annotated[
    Path | None,
    typer.Option("--store", metavar="DIR", help="Folder of the store.  [default: varq-runs]", show_default=False),
]
Run = Annotated[str, typer.Argument(metavar="ID", help="The run's id, or its first 4 characters or more.")]
SessionId = Annotated[str, typer.Argument(metavar="ID", help="The session's id, or its first 4 characters or more.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Steps = Annotated[
    int | None, typer.Option("--stop-steps", metavar="N", min=0, help="Stop after N steps in all, resumed or not.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No live line; print the result only.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Where to write.", show_default=False)]
BudgetShots = Annotated[
    int | None,
    typer.Option("--budget-shots", metavar="N", min=0, help="Stop before the job that would cross N shots in all."),
]
BudgetCircuits = Annotated[
    int | None, typer.Option("--budget-circuits", metavar="N", min=0, help="The same for circuits.")
]
BudgetSeconds = Annotated[float | None, typer.Option("--budget-seconds", metavar="S", min=0, help=_SECONDS)]
BudgetCost = Annotated[float | None, typer.Option("--budget-cost", metavar="C", min=0, help=_COST)]
Prices = Annotated[
    Path | None, typer.Option("--prices", metavar="FILE.toml", help="Prices of your own.", show_default=False)
]
