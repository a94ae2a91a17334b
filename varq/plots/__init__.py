"""Figures made from records: the same code draws a live run and one that was stored a month ago."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varq.plots.canvas import save
    from varq.plots.circuits import circuit
    from varq.plots.drawings import problem
    from varq.plots.energies import convergence, curve
    from varq.plots.histograms import histogram
    from varq.plots.probabilities import distribution, posterior
    from varq.plots.spans import timeline
    from varq.plots.studies import study
    from varq.plots.thresholds import threshold
    from varq.plots.traces import parameters

_HOME = {
    "circuit": "varq.plots.circuits",
    "convergence": "varq.plots.energies",
    "curve": "varq.plots.energies",
    "distribution": "varq.plots.probabilities",
    "histogram": "varq.plots.histograms",
    "parameters": "varq.plots.traces",
    "posterior": "varq.plots.probabilities",
    "problem": "varq.plots.drawings",
    "save": "varq.plots.canvas",
    "study": "varq.plots.studies",
    "threshold": "varq.plots.thresholds",
    "timeline": "varq.plots.spans",
}

__all__ = [
    "circuit",
    "convergence",
    "curve",
    "distribution",
    "histogram",
    "parameters",
    "posterior",
    "problem",
    "save",
    "study",
    "threshold",
    "timeline",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import what a name of the table stands for when it is first used (PEP 562)."""
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
