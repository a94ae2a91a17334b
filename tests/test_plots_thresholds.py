"""The threshold plot: its curves, upper limits and crossing, and what it says to other things."""

from __future__ import annotations

import numpy as np
import pytest

from varq.algorithms.correction.threshold import Threshold, ThresholdStudy
from varq.plots import threshold

RATES = (0.01, 0.1, 0.0, 0.2)
STUDY = ThresholdStudy((3, 3, 5, 5), (0.001, 0.01, 0.001, 0.01), RATES, (0.002, 0.01, 0.0005, 0.01), (3, 3, 5, 5))


def test_each_distance_has_a_curve_and_silence_is_an_upper_limit() -> None:
    ax = STUDY.plot()
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    curves = {bars.get_label(): bars[0] for bars in ax.containers}
    assert set(curves) == {"distance 3", "distance 5"}
    np.testing.assert_allclose(curves["distance 3"].get_ydata(), [0.01, 0.1])
    np.testing.assert_allclose(curves["distance 5"].get_ydata(), [0.2])
    (limit,) = [line for line in ax.lines if line.get_marker() == "v"]
    assert (limit.get_xdata()[0], limit.get_ydata()[0]) == (0.001, 0.0005)
    assert len({line.get_color() for line in curves.values()}) == 2


def test_the_crossing_is_a_line_with_a_band() -> None:
    ax = threshold(STUDY, crossing=Threshold(0.005, 0.0005, 1.4, 0.1, 1.0))
    (line,) = [line for line in ax.lines if line.get_label() == "threshold"]
    assert line.get_xdata()[0] == 0.005
    band = ax.patches[0]
    assert band.get_x() == pytest.approx(0.0045)
    assert band.get_width() == pytest.approx(0.001)


def test_strengths_are_labeled_where_they_have_room() -> None:
    ps = (0.001, 0.0011, 0.01)
    ax = threshold(ThresholdStudy((3, 3, 3), ps, (0.1, 0.1, 0.2), (0.01, 0.01, 0.01), (1, 1, 1)))
    ax.figure.canvas.draw()
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0.1", "1"]


def test_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match=r"study must be a ThresholdStudy. Got 3. Use threshold_study"):
        threshold(3)
    with pytest.raises(ValueError, match=r"study must hold at least one memory. Got none"):
        threshold(ThresholdStudy((), (), (), (), ()))
    with pytest.raises(TypeError, match=r"ax must be of type Axes"):
        threshold(STUDY, ax=3)
