"""The histogram of batch phase estimation: what it shows, and what it says to other records."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import plot_samples as samples
import pytest

from varq.plots import histogram


def record(bits: int = 4, law: bool = True, reference: float | None = 1.9, **changes: Any) -> Any:
    """Shots that gave three phases."""
    details = {"bits": bits, "outcomes": np.array([4, 5, 9]), "frequencies": np.array([0.25, 0.7, 0.05])}
    if law:
        details["law"] = np.full(1 << bits, 2.0**-bits)
    done = samples.result(1.9, reference, unit="rad", title="QPE", details=details)
    given = {"title": "QPE", "algorithm": "algorithm:qpe", "unit": "rad", "reference": reference, "result": done}
    return samples.vqe(1, **{**given, **changes})


def test_bars_and_law_stand_at_their_phases() -> None:
    ax = histogram(record())
    (bars,) = ax.collections
    places = [path.vertices[:, 0].tolist() for path in bars.get_paths()]
    assert places == [[2 * math.pi * k / 16] * 2 for k in (4, 5, 9)]
    assert [path.vertices[1, 1] for path in bars.get_paths()] == [0.25, 0.7, 0.05]
    law = next(line for line in ax.lines if line.get_label() == "exact law")
    np.testing.assert_allclose(law.get_ydata(), 1 / 16)
    assert next(line for line in ax.lines if line.get_label() == "exact phase").get_xdata()[0] == 1.9
    assert ax.get_ylim()[1] > 0.7


def test_without_law_and_reference_there_are_bars_alone() -> None:
    ax = histogram(record(law=False, reference=None))
    assert not ax.lines
    many = histogram(record(bits=14))
    assert len(next(line for line in many.lines if line.get_label() == "exact law").get_xdata()) == 3


def test_other_records_are_refused() -> None:
    with pytest.raises(ValueError, match=r"histogram needs the result's details 'outcomes', .* as QPE or Shor"):
        histogram(samples.qaoa())
