"""Which engine runs a circuit."""

from __future__ import annotations

from dataclasses import dataclass

from varq.simulator.circuit import Circuit
from varq.simulator.dense.engine import DenseEngine
from varq.simulator.engine import Engine
from varq.simulator.kept import kept, table_bytes
from varq.simulator.scans import STORED
from varq.simulator.sector.engine import SectorEngine, sector_engine

__all__ = ["PATHS", "Options", "engine"]

PATHS = ("sector", "layers", "general")
"""Paths that can be asked for; "alternating" is what "layers" is called where layers alternate."""


@dataclass(frozen=True)
class Options:
    """How circuits are run.

    Args:
        path: one of `PATHS`, or None to choose by the circuit.
        stored_bytes: budget for the states that a gradient stores; beyond it states are computed anew.  Each element of
            a batch has its own.
        dtype: "float64" or "float32".
    """

    path: str | None = None
    stored_bytes: int = STORED
    dtype: str = "float64"


def _weight(found: Engine) -> int:
    return found.held_bytes() if isinstance(found, SectorEngine) else table_bytes(found.tables)


@kept(_weight)
def engine(circuit: Circuit, options: Options) -> Engine:
    """The engine for a circuit.

    Raises:
        ValueError: if a path is asked for that this circuit cannot take; says why.
    """
    why_not = ""
    if options.path in (None, "sector"):
        found = sector_engine(circuit, options.stored_bytes, options.dtype)
        if not isinstance(found, str):
            return found
        why_not = found
    if options.path == "sector":
        raise ValueError(f"The sector path needs a circuit that conserves particle numbers. {why_not}")
    whole = DenseEngine(circuit, options.stored_bytes, options.path != "general", options.dtype)
    whole.facts["not sector"] = why_not
    return whole
