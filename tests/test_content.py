"""Results by content: equal, hashed and read-only alike whether they are live, stored or from another process."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import varq
from varq import spec
from varq.algorithms import QAOA, VQE
from varq.problems import MaxCut, TransverseFieldIsing
from varq.protocol import Result, Stop
from varq.session.session import Session

TASK = QAOA(problem=MaxCut([(0, 1), (1, 2), (2, 0)]), stop=Stop(steps=3))
WAYS: dict[str, Callable[[Result], Result]] = {
    "pickled": lambda result: pickle.loads(pickle.dumps(result)),
    "copied": copy.deepcopy,
    "read": lambda result: spec.loads(spec.dumps(result)),
}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return varq.run(TASK, store=tmp_path_factory.mktemp("live"), progress=False)


def changes(result: Result) -> list[Callable[[], Any]]:
    """What must not work."""

    def entry() -> None:
        result.details["expected_cut"] = 4.0

    def place() -> None:
        result.parameters[0] = 1.0

    def inside() -> None:
        result.details["probabilities"][0] = 1.0

    def field() -> None:
        result.value = 1.0

    return [entry, place, inside, field, lambda: result.details.update(a=1), lambda: result.details.pop("bitstrings")]


def check(result: Result, live: Result) -> None:
    """It is equal to the live one, and as little to be changed."""
    assert result == live
    assert hash(result) == hash(live)
    for change in changes(result):
        with pytest.raises((AttributeError, TypeError, ValueError), match=r"stays as it is|read-only|cannot assign"):
            change()
    assert result == live


def test_a_live_result_stays_as_it_is(live: Result) -> None:
    check(live, live)


@pytest.mark.parametrize("way", WAYS)
def test_so_does_one_that_travelled(live: Result, way: str) -> None:
    check(WAYS[way](live), live)


def test_so_does_one_from_the_store_and_one_computed_again(tmp_path: Any, live: Result) -> None:
    with Session(store=tmp_path, progress=False) as session:
        computed = session.run(TASK)
        check(session.run(TASK), computed)
    check(computed, live)


def test_a_run_cut_off_and_replayed_is_equal(tmp_path: Any, live: Result) -> None:
    with Session(store=tmp_path, progress=False) as session:
        session.start(TASK).step(2)
        replayed = session.run(TASK)
    assert replayed.replay == "exact"
    assert replayed == live


def test_other_results_are_other_ones(live: Result) -> None:
    others = [dataclasses.replace(live, **change) for change in ({"value": 0.5}, {"details": {}}, {"steps": 1})]
    assert len({live, *others}) == 4
    assert live != spec.dumps(live)
    assert dataclasses.replace(live, seconds=9.0) == live


def test_what_a_result_was_made_from_may_change(live: Result) -> None:
    x, details = np.zeros(2), {"levels": [np.zeros(2)]}
    result = dataclasses.replace(live, parameters=x, details=details)
    x[0] = details["levels"][0][0] = 1.0
    details["more"] = []
    assert result == dataclasses.replace(live, parameters=np.zeros(2), details={"levels": (np.zeros(2),)})


def test_the_live_run_and_its_result_share_no_array() -> None:
    task = VQE(problem=TransverseFieldIsing(2), ansatz="hardware-efficient", optimizer="adam")
    run = varq.start(task, stop=Stop(steps=2), store=None, progress=False)
    result = run.finish()
    assert not np.shares_memory(result.parameters, run.loop.trace.best_x)


def test_details_are_a_dictionary_for_who_reads_them(live: Result) -> None:
    free = live.details.copy()
    free["expected_cut"] = 0.0
    assert live.details["expected_cut"] != 0.0
    assert json.loads(json.dumps(live.details, default=np.ndarray.tolist))["best_cut"] == 2.0
    assert dataclasses.asdict(live)["details"]["best_bits"] == live.details["best_bits"]
