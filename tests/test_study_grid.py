"""Cells: what is swept over, their identities, and the batches in which they are run."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

import varq
from varq import spec
from varq.algorithms import VQE, Minimize
from varq.optimizers import Optax
from varq.problems import Molecule, TransverseFieldIsing
from varq.study.cells import Batch, resolved, shards
from varq.study.grid import Grid, axes_of, replaced
from varq.study.study import Study

BONDS = (0.7, 0.735, 0.8)


def h2(**changes: Any) -> VQE:
    return VQE(problem=Molecule.load("H2"), ansatz="uccsd", optimizer="L-BFGS-B", **changes)


def sweep(*args: Any, **options: Any) -> Study:
    return varq.sweep(*args, store=None, progress=False, **options)


def bowl(x: Any) -> float:
    return float((x**2).sum())


def test_every_combination_is_a_cell_in_order() -> None:
    grid = Grid(h2(), axes_of({"problem.bond": BONDS, "seed": range(2)}))
    told = [(grid.values(k)["problem.bond"], grid.values(k)["seed"]) for k in range(len(grid))]
    assert told == list(product(BONDS, range(2)))
    assert [(grid.spec(k).problem.bond, grid.spec(k).seed) for k in range(len(grid))] == told
    assert all(grid.index(grid.place(k)) == k for k in range(len(grid)))


def test_fields_that_change_together_are_one_axis() -> None:
    grid = Grid(h2(), axes_of({("problem.bond", "seed"): zip(BONDS, (7, 8, 9), strict=True), "repeat": [0, 1]}))
    assert [tuple(grid.values(k).values()) for k in range(6)] == [
        (b, s, r) for b, s in zip(BONDS, (7, 8, 9), strict=True) for r in (0, 1)
    ]


@pytest.mark.parametrize("part_first", [True, False])
def test_a_part_and_a_field_of_it_are_both_swept_over(part_first: bool) -> None:
    over = {"problem": [TransverseFieldIsing(2), TransverseFieldIsing(2, coupling=2.0)], "problem.field": [0.5, 0.8]}
    over = over if part_first else dict(reversed(over.items()))
    study = sweep(VQE(problem=TransverseFieldIsing(2), ansatz="hardware-efficient"), over)
    for index in range(4):
        told = study.layout.grid.values(index)
        wanted = replace(told["problem"], field=told["problem.field"])
        assert study.layout.task(index).problem == wanted
    assert len(set(study.layout.ids)) == 4


@pytest.mark.parametrize("part_first", [True, False])
def test_a_name_that_stands_for_a_part_has_its_fields(part_first: bool) -> None:
    over = {"optimizer": ["adam", "sgd"], "optimizer.arguments": [{"learning_rate": 0.1}],
            "optimizer.arguments.learning_rate": [0.2, 0.3]}  # fmt: skip
    grid = Grid(h2(), axes_of(over if part_first else dict(reversed(over.items()))))
    for index in range(4):
        told = grid.values(index)
        rate = told["optimizer.arguments.learning_rate"]
        assert grid.spec(index).optimizer == Optax(told["optimizer"], learning_rate=rate)


def test_a_cell_is_the_run_of_its_spec() -> None:
    study = sweep(h2(), {"problem.bond": BONDS})
    alone = [varq.start(VQE(problem=Molecule.load("H2", bond=b), ansatz="uccsd", optimizer="L-BFGS-B"),
                        store=None, progress=False).id for b in BONDS]  # fmt: skip
    assert study.layout.ids == alone


def test_values_reach_into_parts_and_mappings() -> None:
    task = VQE(problem=TransverseFieldIsing(2), optimizer=Optax("adam", learning_rate=0.1))
    assert replaced(task, "optimizer.arguments.learning_rate", 0.5).optimizer.arguments["learning_rate"] == 0.5
    assert replaced(task, "problem.field", 0.25).problem.field == 0.25


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"problem.bnd": [1]}, "Molecule has no field 'bnd'.*Did you mean bond"),
        ({"bond": [1]}, "VQE has no field 'bond'"),
        ({"seed.more": [1]}, "has no field 'more'.*name a part that has"),
        ({"optimizer": [None], "optimizer.arguments": [{}]}, "NoneType has no field 'arguments'.*optimizer=None"),
        ({"seed": []}, "must hold at least one value"),
        ({"seed": [0], ("seed", "repeat"): [(1, 1)]}, "'seed' on two"),
        ({("seed", "repeat"): [(1, 2), (1,)]}, "rows of 2 values"),
        ({"problem.bond": [0.7, 123.0]}, r"problem.bond=123.0\)"),
    ],
)
def test_axes_that_cannot_be_are_refused(over: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sweep(h2(), over)


def test_what_cannot_be_resolved_says_in_which_cell() -> None:
    starts = [np.zeros(3), np.ones(3), np.zeros(4), np.full(3, 0.5)]
    over = {"problem.bond": [0.7, 0.735], "initial": starts}
    with pytest.raises(
        ValueError, match=r"must have shape \(3,\).*in the cell problem.bond=0.7, initial=value 3 of 4\)"
    ):
        sweep(h2(), over)
    with pytest.raises(ValueError, match=r"\(3,\).*\(in the cell seed=2\)$"):
        sweep([h2(seed=k, initial=start) for k, start in enumerate(starts)])


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"seed": 3}, "must be a list of values"),
        ({"ansatz": "uccsd"}, "must be a list of values"),
        ([1], "over must be"),
    ],
)
def test_axes_of_another_type_are_refused(over: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        sweep(h2(), over)


def test_what_is_no_spec_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one spec"):
        sweep([])
    with pytest.raises(TypeError, match="takes specs"):
        sweep([h2(), "uccsd"])
    with pytest.raises(ValueError, match="over applies to one spec"):
        sweep([h2()], {"seed": [1]})
    held = np.zeros(2).tolist()
    with pytest.raises(ValueError, match="holds an object of this process"):
        sweep(
            Minimize(lambda x: float(x[0] + len(held) + id(held)), np.zeros(2), gradient=object().__eq__), {"seed": [1]}
        )


def test_a_list_of_specs_tells_them_apart_by_what_differs() -> None:
    study = sweep([h2(seed=1), h2(seed=2), h2(seed=2, repeat=1)])
    assert study.record.names == ("seed", "repeat")
    assert study.record.rows == ((1, 0), (2, 0), (2, 1))


def test_a_warm_start_is_part_of_the_cell() -> None:
    study = sweep(h2(), {"problem.bond": BONDS, "seed": range(2)}, warm_start="problem.bond", batch=2)
    ids = study.layout.ids
    assert [study.layout.task(k).initial for k in (0, 1)] == [None, None]
    assert [study.layout.task(k).initial.run for k in (2, 3, 4, 5)] == ids[:4]
    assert study.layout.batches == (Batch((0, 1), 2), Batch((2, 3), 2, (0,)), Batch((4, 5), 2, (1,)))
    cold = sweep(h2(), {"problem.bond": BONDS, "seed": range(2)})
    assert cold.layout.ids[:2] == ids[:2]
    assert not set(cold.layout.ids[2:]) & set(ids[2:])


@pytest.mark.parametrize(
    ("task", "over", "warm", "message"),
    [
        (h2(), {"seed": [1, 2]}, "problem.bond", "must be one of the fields swept over: 'seed'"),
        (h2(), {"initial": [np.zeros(3), np.ones(3)]}, "initial", "needs a spec with the field `initial`"),
        (VQE(problem=TransverseFieldIsing(2)), {"problem.sites": [2, 3], "seed": [0]}, "problem.sites", "ansatz|shape"),
        (Minimize(bowl, np.zeros(2), gradient="finite-diff"), {"seed": [1, 2]}, "seed", "field `initial`"),
    ],
)
def test_a_warm_start_that_cannot_be_is_refused(task: Any, over: Any, warm: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sweep(task, over, warm_start=warm)


def test_cells_along_a_warm_start_have_one_shape() -> None:
    task = VQE(problem=TransverseFieldIsing(2), ansatz="hardware-efficient")
    with pytest.raises(ValueError, match=r"parameters of one shape. Got \(3, 2, 2\) after \(2, 2, 2\)"):
        sweep(task, {"ansatz.depth": [1, 2]}, warm_start="ansatz.depth")


def test_batches_are_cells_of_one_shape_in_equal_parts() -> None:
    study = sweep([*(h2(seed=k) for k in range(5)), VQE(problem=TransverseFieldIsing(2)), h2(shots=10)], batch=3)
    assert [(b.cells, b.seats) for b in study.layout.batches] == [((0, 1, 2), 3), ((3, 4), 3), ((5,), 1), ((6,), 1)]
    assert [b.seats for b in sweep([h2(seed=k) for k in range(4)], batch=1).layout.batches] == [1] * 4


def test_cells_that_are_one_run_are_run_once() -> None:
    study = sweep([h2(), h2(), h2(seed=1)])
    assert sorted(c for b in study.layout.batches for c in b.cells) == [0, 2]


def cells_of(study: Study, part: list[int]) -> list[int]:
    return [cell for number in part for cell in study.layout.batches[number].cells]


@pytest.mark.parametrize("batch", [None, 1, 3, 25])
@pytest.mark.parametrize("chains", [2, 7, 40])
def test_shards_cut_no_chain(chains: int, batch: int | None) -> None:
    study = sweep(h2(), {"seed": range(chains), "problem.bond": BONDS}, warm_start="problem.bond", batch=batch)
    for count in (1, 2, 3, 8, 30):
        parts = shards(study.layout.batches, count)
        assert sorted(cell for part in parts for cell in cells_of(study, part)) == list(range(3 * chains))
        assert all(set(study.layout.batches[n].needs) <= set(part) for part in parts for n in part)
        for part in parts:
            assert {cell // 3 for cell in cells_of(study, part)} == {
                chain for chain in range(chains) if 3 * chain in cells_of(study, part)
            }


@pytest.mark.parametrize(("chains", "seats", "most"), [(1, 1, 1), (5, 1, 5), (9, 2, 5), (40, 5, 8), (500, 25, 20)])
def test_a_study_of_chains_has_something_for_several_workers(chains: int, seats: int, most: int) -> None:
    study = sweep(h2(), {"problem.bond": BONDS, "seed": range(chains)}, warm_start="problem.bond")
    assert {batch.seats for batch in study.layout.batches} == {seats}
    sizes = [len(cells_of(study, part)) for part in shards(study.layout.batches, most)]
    assert min(sizes) > 0
    assert max(sizes) - min(sizes) <= 3 * seats


def test_chains_of_two_kinds_stay_apart() -> None:
    task = VQE(problem=TransverseFieldIsing(2), ansatz="hardware-efficient")
    over = {"problem.field": [0.5, 1.0], "ansatz.depth": [1, 2], "seed": range(4)}
    study = sweep(task, over, warm_start="problem.field", batch=3)
    told = [[(study.layout.task(c).ansatz.depth, c % 4) for c in batch.cells] for batch in study.layout.batches]
    one, two = ([[(depth, 0), (depth, 1)], [(depth, 2), (depth, 3)]] for depth in (1, 2))
    assert told == [*one, *two] * 2
    assert [batch.needs for batch in study.layout.batches] == [()] * 4 + [(k,) for k in range(4)]


def test_a_shard_without_work_says_so(caplog: pytest.LogCaptureFixture) -> None:
    few = sweep(h2(), {"seed": range(2)})
    few.finish(shard=(2, 2))
    assert few.status()["missing"] == 2
    (said,) = (record.message for record in caplog.records)
    assert said == (
        "Shard 2 of 2 has nothing to do: the study has 1 part of which none needs another. Fewer shards, or a smaller "
        "batch= in its sweep, give each some."
    )


def test_a_resolved_cell_keeps_the_run_that_it_starts_from() -> None:
    task = h2(initial="00ff00ff00ff00ff")
    assert resolved(task).initial == task.initial
    assert spec.loads(spec.dumps(task)).initial == task.initial
    with pytest.raises(ValueError, match="16 hexadecimal digits"):
        h2(initial="the last one")
