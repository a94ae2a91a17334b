"""Records as runs make them, for the tests of figures and tables."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varq.protocol import Reason, Record, Result
from varq.session.ledger import PHASES, Ledger, Line, RunTimes, Times
from varq.session.stopwatch import Span
from varq.store.job_records import JobState

EXACT = -7.8823623
NAMES = ("step", "value", "best", "stderr", "seconds", "executions", "grad_norm")


def history(values: Any, stderr: Any = math.nan) -> NDArray[Any]:
    """Rows for a list of values."""
    values = np.asarray(values, dtype=float)
    whole = ("step", "executions")
    out = np.zeros(len(values), dtype=[(n, np.int64 if n in whole else np.float64) for n in NAMES])
    out["step"] = np.arange(1, len(values) + 1)
    out["value"], out["stderr"] = values, stderr
    out["best"] = np.fmin.accumulate(values) if len(values) else values
    out["seconds"] = 0.1 * out["step"]
    out["executions"] = 3 * out["step"]
    out["grad_norm"] = 1.0 / out["step"]
    return out


def result(value: float | None, reference: float | None, **changes: Any) -> Result:
    """A result with everything that a test does not care about filled in."""
    given = {
        "run_id": "1f2e3d4c5b6a7988",
        "title": "LiH 1.6 Å, UCCSD, L-BFGS-B",
        "value": value,
        "stderr": None,
        "reference": reference,
        "reason": Reason.CONVERGED,
        "parameters": None,
        "steps": 30,
        "executions": 90,
        "seconds": 3.0,
        "unit": "Ha",
        "device": "lightning.qubit",
    }
    return Result(**{**given, **changes})


def vqe(steps: int = 30, reference: float | None = EXACT, noise: float = 0.0, **changes: Any) -> Record:
    """A VQE that falls onto `EXACT`, from Hartree-Fock; with noise, sampled."""
    rng = np.random.default_rng(5)
    fall = 0.0195 * 0.55 ** np.arange(steps)
    values = EXACT + fall + noise * rng.standard_normal(steps)
    points = np.cumsum(0.1 * rng.standard_normal((steps, changes.pop("parameters", 5))), axis=0)
    given: dict[str, Any] = {
        "id": "1f2e3d4c5b6a7988",
        "title": "LiH 1.6 Å, UCCSD, L-BFGS-B",
        "algorithm": "algorithm:vqe",
        "unit": "Ha",
        "reference": reference,
        "history": history(values, noise or math.nan),
        "points": points,
    }
    return Record(**{**given, **changes})


def ledger(runs: int, jobs: int, seconds: float = 2.5) -> Ledger:
    """A session whose jobs all served all of its runs: each waited as long as it ran."""
    ids = [f"{k:016x}" for k in range(runs)]
    times = Times(0.1, seconds, seconds, 0.05, 0.01, 0.2)
    spans: list[Span] = []
    for k in range(jobs):
        began = 1.75e9 + 5.5 * k
        for phase, length in zip(PHASES, (0.1, seconds, seconds, 0.05, 0.01, 0.2), strict=True):
            spans.append(Span(phase, began, length))
            began += length
    lines = [
        Line(
            f"varq-{k:08d}",
            k,
            "session-1f",
            "ibm.torino",
            JobState.DONE,
            1.75e9,
            4,
            400,
            seconds,
            0.5,
            1,
            None,
            (*ids,),
            times,
        )
        for k in range(jobs)
    ]
    titles = [f"<run {k}>" for k in range(runs)]
    return Ledger(
        "session-1f", lines, [RunTimes(i, t, jobs, jobs, times, tuple(spans)) for i, t in zip(ids, titles, strict=True)]
    )


def molecule_curve(count: int = 9) -> list[Record]:
    """Runs along a bond, with the energies that the problems know."""
    out = []
    for bond in np.linspace(0.8, 3.2, count):
        exact = -7.8823 + 0.18 * (1 - math.exp(-1.1 * (bond - 1.6))) ** 2
        energies = {"hf": exact + 0.02 + 0.03 * (bond - 0.8) ** 2, "ccsd": exact + 1e-5 * bond**3, "exact": exact}
        problem = SimpleNamespace(name="LiH", bond=float(bond), energies=energies)
        value = exact + 2e-5 * bond**4
        title = f"LiH {bond:.2f} Å, UCCSD, L-BFGS-B"
        done = result(value, exact, title=title)
        record = vqe(reference=exact, title=title, result=done, problem=problem, id=f"{len(out):016x}")
        out.append(record)
    return out[::-1]


EDGES = ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0), (0, 3), (1, 4), (2, 5), (0, 2))


def qaoa() -> Record:
    """A distribution over the cuts of a graph of six vertices, better than chance."""
    index = np.arange(64)
    bits = index[:, None] >> np.arange(5, -1, -1) & 1
    cuts = sum((bits[:, a] != bits[:, b]).astype(float) for a, b in EDGES)
    weights = np.exp(0.75 * cuts)
    weights /= weights.sum()
    likely = np.argsort(-weights, kind="stable")
    levels, level = np.unique(cuts, return_inverse=True)
    details = {
        "bitstrings": tuple("".join(map(str, bits[k])) for k in likely),
        "probabilities": weights[likely],
        "values": cuts[likely],
        "cut_levels": levels,
        "cut_probabilities": np.bincount(level, weights=weights),
    }
    best = -float(cuts.max())
    values = best + 2.5 * 0.8 ** np.arange(20) + 0.8
    problem = SimpleNamespace(edges=EDGES, weights=np.ones(len(EDGES)), title="graph of 6", wires=6)
    done = result(values[-1], best, unit="", title="QAOA graph of 6, p = 2", details=details)
    return vqe(
        title="QAOA graph of 6, p = 2",
        algorithm="algorithm:qaoa",
        unit="",
        reference=best,
        history=history(values),
        points=np.cumsum(np.full((20, 4), 0.02), axis=0),
        result=done,
        problem=problem,
    )


def phase(value: float, width: float, reference: float | None = None, size: int = 1 << 17) -> Record:
    """A Gaussian posterior of a phase."""
    grid = np.arange(size) * 2 * math.pi / size
    away = (grid - value + math.pi) % (2 * math.pi) - math.pi
    density = np.exp(-(away**2) / 2 / width**2)
    density /= density.sum() * 2 * math.pi / size
    turn = 2 * math.pi
    interval = ((value - 1.96 * width) % turn, (value + 1.96 * width) % turn)
    details = {"grid": grid, "density": density, "interval": interval}
    title = "phase of a unitary, 4096 applications"
    done = result(value, reference, stderr=width, unit="rad", title=title, details=details)
    steps = 40
    values = (value + 3 * 0.8 ** np.arange(steps) * (-1.0) ** np.arange(steps)) % turn
    return vqe(
        title=title,
        algorithm="algorithm:phase-estimation",
        unit="rad",
        reference=reference,
        history=history(values, np.maximum(3 * 0.8 ** np.arange(steps), width)),
        points=np.zeros((steps, 0)),
        result=done,
    )
