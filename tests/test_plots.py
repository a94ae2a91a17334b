"""Figures: what they show, that nothing is hidden or left behind, and what they say to wrong input."""

from __future__ import annotations

import dataclasses
import gc
import math
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import plot_samples as samples
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from varq.ansatze import HardwareEfficient
from varq.plots import circuit, convergence, curve, distribution, parameters, posterior, problem, save, timeline
from varq.plots.canvas import BAND, COLORS
from varq.plots.drawings import layout
from varq.plots.units import CHEMICAL_ACCURACY, difference, small, uncertain, value_text
from varq.problems import Heisenberg, MaxCut
from varq.protocol import Reason

PIXEL = 1.5  # rounding of positions by the Agg renderer, in pixels
EXACT = samples.EXACT
SQUARE = SimpleNamespace(edges=((0, 1), (1, 2), (2, 3), (0, 3)), weights=(1.0, 2.0, 1.0, 0.5), title="a square")

FIGURES: dict[str, Callable[[], Axes]] = {
    "convergence": lambda: convergence(samples.vqe()),
    "convergence of samples": lambda: convergence(samples.vqe(noise=2e-3)),
    "convergence of many samples": lambda: convergence(samples.vqe(steps=400, noise=2e-3)),
    "convergence without reference": lambda: convergence(samples.vqe(reference=None)),
    "convergence of several": lambda: convergence([samples.vqe(title="adam"), samples.vqe(40, title="SPSA" * 9)]),
    "convergence of one step": lambda: convergence(samples.vqe(1)),
    "convergence before the first step": lambda: convergence(samples.vqe(0)),
    "convergence of a phase": lambda: convergence(samples.phase(0.001, 1e-2, 6.28)),
    "curve": lambda: curve(samples.molecule_curve()),
    "parameters": lambda: parameters(samples.vqe()),
    "parameters, many": lambda: parameters(samples.vqe(parameters=40)),
    "distribution": lambda: distribution(samples.qaoa()),
    "posterior": lambda: posterior(samples.phase(2.0, 1e-4, 2.0001)),
    "posterior across 0": lambda: posterior(samples.phase(6.2831, 3e-3, 0.001)),
    "posterior, wide": lambda: posterior(samples.phase(0.3, 0.6, 0.1, size=512)),
    "problem": lambda: problem(SQUARE, cut="0101"),
}
figures = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES.keys())


def legends(figure: Figure) -> list[Any]:
    return [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend() is not None)]


def labels(ax: Axes) -> set[str]:
    found = legends(ax.get_figure(root=True))  # type: ignore[arg-type]
    return {t.get_text() for legend in found for t in legend.get_texts()}


def box(artist: Any) -> Any:
    return artist.get_window_extent()


# -- every figure ----------------------------------------------------------------------------------------------------


@figures
def test_nothing_is_cut_off_and_no_legend_lies_on_a_panel(draw: Callable[[], Axes]) -> None:
    figure = draw().figure
    figure.canvas.draw()
    sheet = figure.bbox
    for ax in figure.axes:
        place = ax.get_tightbbox()
        assert place is not None
        assert min(place.x0, place.y0) >= -PIXEL
        assert place.x1 <= sheet.x1 + PIXEL
        assert place.y1 <= sheet.y1 + PIXEL
    for legend in legends(figure):
        place = box(legend)
        assert place.x0 >= -PIXEL
        assert place.x1 <= sheet.x1 + PIXEL
        assert place.y0 >= -PIXEL
        assert not any(place.overlaps(ax.get_window_extent()) for ax in figure.axes)


@figures
def test_panels_and_their_texts_do_not_overlap(draw: Callable[[], Axes]) -> None:
    figure = draw().figure
    figure.canvas.draw()
    for ax in figure.axes:
        labels = [t for t in (ax.xaxis.label, ax.yaxis.label, ax._left_title) if t.get_text() and ax.axison]  # type: ignore[attr-defined]
        for other in figure.axes:
            if other is not ax:
                clash = [t.get_text() for t in labels if box(t).overlaps(other.get_window_extent())]
                assert not clash


@figures
def test_axes_say_what_they_show(draw: Callable[[], Axes]) -> None:
    drawn = [ax for ax in draw().figure.axes if ax.axison]
    assert not drawn or any(ax.get_xlabel() for ax in drawn)
    for ax in drawn:
        if ax.get_yticks().size:
            assert ax.get_ylabel() or ax.get_yticklabels()[0].get_text()


@figures
def test_pyplot_knows_nothing_and_settings_stay(draw: Callable[[], Axes]) -> None:
    before = dict(matplotlib.rcParams)
    axes = draw()
    assert plt.get_fignums() == []
    assert dict(matplotlib.rcParams) == before
    figure = weakref.ref(axes.figure)
    del axes
    gc.collect()
    assert figure() is None


@figures
def test_axes_show_themselves_in_a_notebook(draw: Callable[[], Axes]) -> None:
    data, size = draw()._repr_png_()  # type: ignore[attr-defined]
    assert data.startswith(b"\x89PNG")
    assert size["width"] > size["height"] / 3


def test_colors_differ_in_gray_or_else_in_more_than_color() -> None:
    def gray(color: str) -> float:
        red, green, blue = to_rgb(color)
        return 0.299 * red + 0.587 * green + 0.114 * blue

    assert len(set(COLORS)) == len(COLORS)
    first, second = convergence([samples.vqe(title="a"), samples.vqe(20, title="b")]).get_lines()[:2]
    assert first.get_linestyle() != second.get_linestyle()
    assert first.get_marker() != second.get_marker()
    assert abs(gray(COLORS[4]) - gray(COLORS[0])) > 0.2


# -- convergence -----------------------------------------------------------------------------------------------------


def test_convergence_draws_the_values_the_exact_one_and_the_band() -> None:
    run = samples.vqe()
    upper = convergence(run)
    lower = upper.figure.axes[1]
    value, exact = upper.get_lines()[:2]
    assert np.array_equal(value.get_ydata(), run.history["value"])
    assert set(exact.get_ydata()) == {EXACT}
    band = upper.patches[0]
    assert band.get_y() == pytest.approx(EXACT - CHEMICAL_ACCURACY)
    assert band.get_height() == pytest.approx(2 * CHEMICAL_ACCURACY)
    assert to_rgb(band.get_facecolor()) == to_rgb(BAND)
    assert np.allclose(lower.get_lines()[0].get_ydata(), 1e3 * np.abs(run.history["value"] - EXACT))
    assert lower.get_yscale() == "log"
    assert lower.patches[0].get_y() + lower.patches[0].get_height() == pytest.approx(1e3 * CHEMICAL_ACCURACY)
    assert (upper.get_ylabel(), lower.get_ylabel(), lower.get_xlabel()) == ("Energy (Ha)", "|Deviation| (mHa)", "Step")
    assert labels(upper) == {"value", "exact", "chemical accuracy (1.594 mHa)"}
    assert upper.get_title(loc="left") == run.title


def test_the_band_is_for_hartree_alone() -> None:
    for run in (samples.qaoa(), samples.phase(1.0, 1e-2, 1.001)):
        assert "chemical accuracy (1.594 mHa)" not in labels(convergence(run))


def test_without_a_reference_there_is_one_panel() -> None:
    assert len(convergence(samples.vqe(reference=None)).figure.axes) == 1
    assert len(convergence(samples.vqe(), deviation=False).figure.axes) == 1


def test_values_that_go_up_get_the_best_so_far_and_errors() -> None:
    noisy = convergence(samples.vqe(noise=2e-3))
    assert {"best so far", "one standard error"} <= labels(noisy)
    assert "best so far" not in labels(convergence(samples.vqe()))


def test_steps_without_a_value_leave_no_gap() -> None:
    run = samples.vqe(20)
    run.history["value"][::3] = np.nan
    line = convergence(run).get_lines()[0]
    assert np.isfinite(line.get_ydata()).all()
    assert len(line.get_ydata()) == 13


def test_a_run_that_left_the_numbers_says_so() -> None:
    run = samples.vqe(5, result=samples.result(EXACT, EXACT, reason=Reason.NONFINITE))
    run.history["value"][-1] = math.inf
    assert "not finite" in labels(convergence(run))


def test_several_records_are_told_apart_by_title_or_else_by_id() -> None:
    same = [samples.vqe(id="aaaaaaaaaa"), samples.vqe(id="bbbbbbbbbb")]
    assert {f"{same[0].title} (aaaaaaaa)", f"{same[1].title} (bbbbbbbb)"} <= labels(convergence(same))
    other = convergence([samples.vqe(title="H2"), samples.vqe(title="LiH", reference=EXACT + 0.1)])
    assert {"H2", "LiH", "exact"} <= labels(other)


def test_a_deviation_below_rounding_stands_at_the_floor() -> None:
    run = samples.vqe(3)
    run.history["value"][-1] = EXACT
    marks = convergence(run).figure.axes[1].get_lines()[1]
    assert list(marks.get_xdata()) == [3]


def test_phases_take_the_short_way_around() -> None:
    run = samples.phase(0.001, 1e-2, 6.2827)
    upper = convergence(run)
    last = upper.figure.axes[1].get_lines()[0].get_ydata()[-1]
    # The sample's last value is off its own phase by 3 * 0.8**39.
    assert last == pytest.approx(0.001 + 2 * math.pi - 6.2827, abs=6e-4)
    assert upper.get_ylabel() == "Phase modulo 2π (rad)"


def test_a_users_axes_are_used_and_their_legend_hides_nothing() -> None:
    figure, pair = plt.subplots(2, 1)
    try:
        upper = convergence(samples.vqe(noise=1e-3), ax=pair)
        assert upper is pair[0]
        figure.canvas.draw()
        legend = box(upper.get_legend())
        for line in upper.get_lines()[:2]:
            points = upper.transData.transform(np.column_stack([line.get_xdata(), line.get_ydata()]))
            hidden = (points > [legend.x0, legend.y0]).all(axis=1) & (points < [legend.x1, legend.y1]).all(axis=1)
            assert not hidden.any()
    finally:
        plt.close(figure)


def test_titles_are_shown_as_they_are() -> None:
    run = samples.vqe(title=r"_cost $\frac{$ & <b>" + "\n" + "long words " * 30)
    axes = convergence([run, samples.vqe()])
    axes.figure.canvas.draw()
    assert any(r"\$\frac{\$ & <b>" in label for label in labels(axes))
    assert convergence(run).get_title(loc="left").count("\n") <= 2


# -- curves ----------------------------------------------------------------------------------------------------------


def test_a_curve_sorts_records_and_takes_what_their_problems_know() -> None:
    runs = samples.molecule_curve()
    upper = curve(runs)
    lower = upper.figure.axes[1]
    drawn = {line.get_label(): line for line in upper.get_lines()}
    assert set(drawn) == {"exact", "HF", "CCSD", "VQE"}
    assert np.array_equal(drawn["VQE"].get_xdata(), sorted(r.problem.bond for r in runs))
    values = {r.problem.bond: r.result.value - r.reference for r in runs if r.result and r.reference}
    gaps = [1e3 * values[b] for b in sorted(values)]
    assert any(np.allclose(line.get_ydata(), gaps) for line in lower.get_lines() if len(line.get_ydata()) == len(gaps))
    assert lower.get_xlabel() == "Bond length (Å)"
    assert upper.get_title(loc="left") == "UCCSD, L-BFGS-B"
    assert "chemical accuracy (1.594 mHa)" in labels(upper)


def test_a_curve_of_groups_names_them() -> None:
    runs = samples.molecule_curve()
    assert {"UCCSD", "layers"} <= labels(curve({"UCCSD": runs[:5], "layers": runs[5:]}))


def test_a_curve_of_a_table() -> None:
    table = {"bond": [2.0, 1.0], "VQE": [-1.0, -1.1], "hf": [-0.9, -1.0], "exact": [-1.001, -1.101]}
    upper = curve(table, heading="H2")
    drawn = {line.get_label(): list(line.get_ydata()) for line in upper.get_lines()}
    assert drawn == {"VQE": [-1.1, -1.0], "HF": [-1.0, -0.9], "exact": [-1.101, -1.001]}
    assert upper.get_title(loc="left") == "H2"
    assert len(curve({"x": [1, 2], "VQE": [0.1, 0.2]}, unit="", label="field").figure.axes) == 1


def test_wrong_curves() -> None:
    runs = samples.molecule_curve()
    with pytest.raises(ValueError, match=r"x must name a number.*Got 'angle'.*'bond'"):
        curve(runs, x="angle")
    with pytest.raises(ValueError, match="needs runs with a result"):
        curve([dataclasses.replace(runs[0], result=None)])
    other = SimpleNamespace(name="H2", bond=1.0, energies={})
    with pytest.raises(ValueError, match=r"one kind of problem. Got H2, LiH"):
        curve([runs[0], dataclasses.replace(runs[1], problem=other)])
    with pytest.raises(ValueError, match="column 'VQE' must have shape"):
        curve({"x": [1, 2], "VQE": [1.0]})
    with pytest.raises(ValueError, match="Add a column called 'bond' or 'x'"):
        curve({"VQE": [1.0]})
    with pytest.raises(TypeError, match="record must be of type Record"):
        curve([1, 2])


# -- parameters, distributions, posteriors ---------------------------------------------------------------------------


def test_parameters_as_lines_and_as_a_map() -> None:
    run = samples.vqe(parameters=4)
    lines = parameters(run).get_lines()
    assert all(np.array_equal(line.get_ydata(), run.points[:, k]) for k, line in enumerate(lines))
    many = samples.vqe(parameters=13)
    mesh = parameters(many).collections[0]
    assert np.array_equal(mesh.get_array(), many.points.T)
    assert parameters(many).figure.axes[1].get_ylabel() == "Parameter (rad)"
    assert parameters(samples.vqe(algorithm="algorithm:minimize")).get_ylabel() == "Parameter"


def test_a_long_map_is_thinned_and_steps_without_parameters_are_left_out() -> None:
    mesh = parameters(samples.vqe(steps=3000, parameters=20)).collections[0]
    assert mesh.get_array().shape[1] <= 600
    run = samples.vqe(parameters=2)
    run.points[4] = np.nan
    assert 5 not in parameters(run).get_lines()[0].get_xdata()
    assert "no parameters yet" in [t.get_text() for t in parameters(samples.vqe(0)).texts]


def test_a_distribution_shows_the_likely_strings_and_the_rest() -> None:
    run = samples.qaoa()
    assert run.result is not None
    bars = distribution(run, most=5)
    widths = [bar.get_width() for bar in bars.patches]
    assert np.allclose(widths[:5], run.result.details["probabilities"][:5])
    assert sum(widths) == pytest.approx(1)
    names = [t.get_text() for t in bars.get_yticklabels()]
    assert names == [*run.result.details["bitstrings"][:5], "all others"]
    best = run.result.details["values"][:5] == -(run.reference or 0)
    assert len([t for t in bars.texts if t.get_text() == "★"]) == best.sum() > 0


def test_cuts_are_compared_with_guessing() -> None:
    run = samples.qaoa()
    lower = distribution(run).figure.axes[1]
    guessed, circuit_ = lower.get_lines()[:2]
    # Over all bit strings, each edge is cut half of the time.
    chance = -np.diff(np.append(guessed.get_ydata(), 0))
    assert chance @ guessed.get_xdata() == pytest.approx(len(samples.EDGES) / 2)
    assert (circuit_.get_ydata() >= guessed.get_ydata() - 1e-12).all()


@pytest.mark.parametrize("value", [0.0, 1e-5, 2.0, 6.28318])
@pytest.mark.parametrize("width", [1e-4, 1e-2])
def test_a_narrow_posterior_stays_in_one_piece(value: float, width: float) -> None:
    exact = (value + width) % (2 * math.pi)
    axes = posterior(samples.phase(value, width, exact))
    x, y = axes.get_lines()[0].get_data()
    unit = axes.get_xlabel().rsplit("(", 1)[1].rstrip(")")
    factor = {"rad": 1, "mrad": 1e3, "µrad": 1e6}[unit]
    peak = x[np.argmax(y)]
    assert abs(peak) <= 2 * math.pi / (1 << 17) * factor
    assert (np.diff(x) > 0).all()
    low, high = axes.get_xlim()
    assert 4 * width * factor < high - low < 20 * width * factor
    inside = (x > low) & (x < high)
    assert np.trapezoid(y[inside], x[inside]) == pytest.approx(1, abs=1e-3)
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert lines["exact"].get_xdata()[0] == pytest.approx(width * factor, rel=1e-6)


def test_a_wide_posterior_is_drawn_on_the_circle_in_two_pieces_across_zero() -> None:
    axes = posterior(samples.phase(0.3, 0.6, 0.1, size=512))
    assert len(axes.figure.axes) == 1
    assert len(axes.patches) == 2
    assert len(posterior(samples.phase(3.0, 0.6, size=512)).patches) == 1


def test_an_exact_phase_far_away_is_pointed_at() -> None:
    texts = [t.get_text() for t in posterior(samples.phase(2.0, 1e-4, 3.0)).texts]
    assert "exact: +1.00 rad away" in texts


# -- drawings --------------------------------------------------------------------------------------------------------


def test_a_graph_with_a_cut() -> None:
    axes = problem(SQUARE, cut=[0, 1, 1, 0])
    assert axes.get_title(loc="left") == "a square: cut 2 of 4.5"
    assert labels(axes) == {"cut edge", "edge left", "side 0", "side 1"}
    assert {"0", "1", "2", "3", "0.5"} <= {t.get_text() for t in axes.texts}


def test_problems_of_this_package_are_drawn() -> None:
    assert problem(MaxCut([(0, 1), (1, 2)])).get_title(loc="left") == "MaxCut, 3 nodes, 2 edges"
    lattice = Heisenberg(shape=(2, 3))
    points = np.vstack([c.get_offsets() for c in problem(lattice).collections if len(c.get_offsets()) == 6])
    assert np.allclose(points, lattice.positions)


def test_a_ring_is_laid_out_round_and_a_path_straight() -> None:
    ring = layout([(k, (k + 1) % 7) for k in range(7)], 7)
    radius = np.linalg.norm(ring - ring.mean(axis=0), axis=1)
    assert np.ptp(radius) < 1e-3 * radius.mean()
    path = layout([(0, 1), (1, 2), (2, 3)], 4)
    assert np.linalg.norm(path[3] - path[0]) == pytest.approx(3, rel=0.02)


@pytest.mark.parametrize("size", [2, 3, 8, 30])
def test_no_vertex_hides_another(size: int) -> None:
    rng = np.random.default_rng(size)
    full = [(a, b) for a in range(size) for b in range(a)]
    for edges in (full, [e for e in full if rng.random() < 0.2] or full, full[:1]):
        points = layout(edges, size)
        gaps = np.linalg.norm(points[:, None] - points[None], axis=-1) + 9 * np.eye(size)
        assert gaps.min() > 0.1


def test_wrong_problems() -> None:
    with pytest.raises(TypeError, match=r"must have edges to be drawn: MaxCut, .* Got SimpleNamespace"):
        problem(SimpleNamespace(title="a molecule"))
    with pytest.raises(ValueError, match="cut must have shape"):
        problem(SQUARE, cut="011")
    with pytest.raises(ValueError, match="cut must hold zeros and ones only"):
        problem(SQUARE, cut="01x1")


def test_a_circuit_is_drawn_without_pyplot() -> None:
    ansatz = HardwareEfficient(3, depth=2)
    before = dict(matplotlib.rcParams)
    axes = circuit(ansatz)
    assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == []
    assert len(axes.get_lines()) >= 3
    assert axes.get_title(loc="left") == ansatz.title
    axes.figure.canvas.draw()
    top = box(axes._left_title)  # type: ignore[attr-defined]
    assert top.y1 < axes.figure.bbox.y1
    assert top.y0 >= axes.get_window_extent().y1
    assert "(the first " in circuit(ansatz, most=2).get_title(loc="left")


def test_wrong_circuits() -> None:
    with pytest.raises(TypeError, match="ansatz must have wires and shape"):
        circuit("uccsd")
    with pytest.raises(ValueError, match="params must have shape"):
        circuit(HardwareEfficient(2, depth=1), np.zeros(1))
    with pytest.raises(ValueError, match="most must be at least 1"):
        circuit(HardwareEfficient(2, depth=1), most=0)


# -- files and wrong input -------------------------------------------------------------------------------------------


def test_files_say_which_runs_they_show(tmp_path: Path) -> None:
    path = save(convergence([samples.vqe(id="aa", title="a"), samples.vqe(id="bb", title="b")]), tmp_path / "a.png")
    with Image.open(path) as picture:
        assert picture.text["Source"] == "aa bb"  # type: ignore[attr-defined]
        assert picture.text["Software"].startswith("varq ")  # type: ignore[attr-defined]
    for suffix in ("svg", "pdf"):
        written = save(curve(samples.molecule_curve()).figure, tmp_path / f"c.{suffix}")
        assert b"0000000000000003" in written.read_bytes() or suffix == "pdf"
    assert save(Figure(), tmp_path / "empty.png").exists()


def test_wrong_files(tmp_path: Path) -> None:
    axes = convergence(samples.vqe())
    with pytest.raises(ValueError, match=r"the suffix of path must be one of .* Use .png, .pdf or .svg"):
        save(axes, tmp_path / "figure.doc")
    with pytest.raises(FileNotFoundError, match="in a folder that exists"):
        save(axes, tmp_path / "nowhere" / "figure.png")
    with pytest.raises(TypeError, match="ax must be of type Axes"):
        save("figure", tmp_path / "figure.png")
    with pytest.raises(ValueError, match="dpi must be greater than 0"):
        save(axes, tmp_path / "figure.png", dpi=0)


@pytest.mark.parametrize("draw", [convergence, parameters, distribution, posterior, curve])
def test_wrong_records(draw: Callable[..., Axes]) -> None:
    with pytest.raises(TypeError, match=r"record must be of type Record"):
        draw([3])
    with pytest.raises(ValueError, match="at least one record"):
        draw([])


def test_wrong_units_axes_and_kinds() -> None:
    with pytest.raises(ValueError, match=r"must have one unit. Got '', 'Ha'"):
        convergence([samples.vqe(), samples.qaoa()])
    with pytest.raises(TypeError, match="ax must be of type Axes"):
        convergence(samples.vqe(), ax=3)
    with pytest.raises(ValueError, match=r"one for each of the 2 panels. Got 3"):
        convergence(samples.vqe(), ax=[Figure().add_subplot() for _ in range(3)])
    with pytest.raises(TypeError, match="deviation must be True or False"):
        convergence(samples.vqe(), deviation="no")
    for draw in (parameters, distribution, posterior):
        with pytest.raises(ValueError, match=r"draws one record. Got 2"):
            draw([samples.vqe(), samples.vqe()])
    with pytest.raises(ValueError, match=r"as QAOA gives them.*without 'bitstrings'"):
        distribution(samples.vqe(result=samples.result(EXACT, EXACT)))
    with pytest.raises(ValueError, match="posterior needs a run with a result"):
        posterior(samples.vqe())
    with pytest.raises(ValueError, match="most must be at least 1"):
        distribution(samples.qaoa(), most=0)


# -- time lines ------------------------------------------------------------------------------------------------------


def bars(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    """Begin and end of what is drawn, by color, in the order of the axes."""
    found: dict[str, list[tuple[float, float]]] = {}
    for drawn in axes.collections:
        color = matplotlib.colors.to_hex(drawn.get_facecolor()[0]) if len(drawn.get_facecolor()) else ""
        for path in drawn.get_paths():
            ends = path.vertices[:, 0]
            found.setdefault(color, []).append((float(ends.min()), float(ends.max())))
    return found


def test_a_timeline_has_a_row_a_run_and_a_bar_a_span() -> None:
    ledger = samples.ledger(2, jobs=3)
    axes = timeline(ledger)
    drawn = bars(axes)
    qpu = drawn["#0072b2"]
    np.testing.assert_allclose(qpu, [(b, b + 2.5) for b in (2.6, 8.1, 13.6)] * 2, atol=1e-6)
    assert sum(len(found) for found in drawn.values()) == 2 * 3 * 6
    assert [label.get_text() for label in axes.get_yticklabels()] == ["<run 0>", "<run 1>"]
    assert axes.get_xlabel() == "Time (s)"
    legend = [text.get_text() for text in axes.get_figure().legends[0].get_texts()]  # type: ignore[union-attr]
    assert "QPU 7.5 s" in legend, "the device was busy for both at once"
    assert "classical 0.6 s" in legend
    assert ledger.plot(ax=Figure().add_subplot()).get_xlabel() == "Time (s)"


def test_a_timeline_tells_apart_what_differs_at_the_end() -> None:
    titles = [f"VQE H2, 0.7414 Å, noisy, {method}" for method in ("SPSA", "adam")]
    runs = [SimpleNamespace(id=name, title=name, spans=(("qpu", 0.0, 1.0),)) for name in titles]
    axes = timeline(SimpleNamespace(session="session-1f", runs=runs))
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert shown == ["VQE H2, 0.741…noisy, SPSA", "VQE H2, 0.741…noisy, adam"]


def test_a_timeline_of_many_jobs_shows_shares_that_add_up() -> None:
    ledger = samples.ledger(3, jobs=2000)
    axes = timeline(ledger)
    assert axes.get_xlabel() == "Time (h)"
    for color, share in (("#0072b2", 2.5), ("#d55e00", 0.2)):
        drawn = sum(end - begin for begin, end in bars(axes)[color])
        assert drawn == pytest.approx(3 * 2000 * share / 3600, rel=1e-6)
    assert len(save(axes, "many.png").read_bytes()) > 10_000


def test_a_timeline_of_many_runs_names_some() -> None:
    axes = timeline(samples.ledger(200, jobs=1))
    labels = axes.get_yticklabels()
    assert 20 < len(labels) < 60
    assert axes.get_figure().get_size_inches()[1] <= 9  # type: ignore[union-attr]


def test_a_timeline_of_nothing_says_so() -> None:
    axes = timeline(samples.ledger(0, jobs=0))
    assert "nothing measured yet" in [text.get_text() for text in axes.texts]
    with pytest.raises(TypeError, match=r"ledger must be a session's. Got 3"):
        timeline(3)
    with pytest.raises(TypeError, match="ax must be of type Axes"):
        timeline(samples.ledger(1, jobs=1), ax=3)


# -- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (-1.137234, 0.0012, "-1.1372(12)"),
        (-1.137234, 0.00996, "-1.137(10)"),
        (123.4, 5.61, "123.4(5.6)"),
        (1234.0, 56.0, "1234(56)"),
        (123456.0, 5678.0, "123456(5700)"),
        (0.0, 0.012, "0.000(12)"),
        (3e-7, 2e-8, "3.00(20)e-07"),
        (1.0, math.inf, "1(unknown)"),
        (math.nan, 0.1, "nan"),
        (2.5, 0.0, "2.5"),
    ],
)
def test_errors_stand_in_the_last_digits(value: float, error: float, text: str) -> None:
    assert uncertain(value, error) == text


def test_numbers_of_tables() -> None:
    assert value_text(-7.88236, None, "Ha") == "-7.88236000 Ha"
    assert value_text(3.0, None, "") == "3"
    assert [small(x) for x in (0.0, 1.5944, -0.00012, 250.04)] == ["0", "+1.59", "-0.00012", "+250"]
    assert difference(0.1, 6.2, "rad") == pytest.approx(0.1 - 6.2 + 2 * math.pi)


def test_matplotlib_is_not_loaded_by_numbers_alone() -> None:
    code = "import sys, varq.plots.units, varq.display; assert 'matplotlib' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
