"""What the simulator keeps for circuits that come again, and that it does not keep too much."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pennylane as qml
import pytest

from varq.simulator import execution, kept, measurements, paths, programs
from varq.simulator.kept import Kept, table_bytes

ENOUGH = 1e-12  # float64 rounding of a few gates


def lengths(most_bytes: int, most_entries: int = 100) -> Kept[list[int]]:
    """Lists that weigh what they are long."""
    return Kept(len, most_bytes, most_entries)


def fill(values: Kept[list[int]], **sizes: int) -> None:
    for key, size in sizes.items():
        values.get(key, lambda size=size: [0] * size)


def test_what_was_not_asked_for_longest_goes_first() -> None:
    values = lengths(10)
    fill(values, a=4, b=4)
    fill(values, a=0)  # asks for a again, and does not make it anew
    fill(values, c=4)
    assert ("a" in values, "b" in values, "c" in values) == (True, False, True)
    assert values.held_bytes() == 8


def test_as_many_go_as_must() -> None:
    values = lengths(10)
    fill(values, a=3, b=3, c=3, d=7)
    assert ("a" in values, "b" in values, "c" in values, "d" in values) == (False, False, True, True)


def test_the_newest_stays_whatever_its_weight() -> None:
    values = lengths(10)
    fill(values, a=3, b=1000)
    assert len(values) == 1
    assert "b" in values


def test_many_small_ones_are_bounded_by_their_number() -> None:
    values = lengths(10, most_entries=3)
    fill(values, a=0, b=0, c=0, d=0)
    assert len(values) == 3
    assert "a" not in values


def test_values_that_grow_are_weighed_anew() -> None:
    values = lengths(10)
    fill(values, a=1, b=1)
    values.get("a", list).extend(range(20))
    fill(values, b=0, c=1)
    assert ("a" in values, "b" in values, "c" in values) == (False, True, True)


def test_looking_is_not_asking() -> None:
    values = lengths(2)
    fill(values, a=1, b=1)
    assert values.peek("a") == [0]
    assert values.peek("z") is None
    fill(values, c=1)
    assert "a" not in values


def test_what_fails_is_not_kept() -> None:
    values = lengths(10)
    with pytest.raises(ZeroDivisionError, match="by zero"):
        values.get("a", lambda: [1 // 0])
    assert values.get("a", lambda: [7]) == [7]


def test_threads_get_one_and_the_same() -> None:
    values = lengths(10**6, most_entries=10**6)
    meet = threading.Barrier(4)
    found: list[Any] = []

    def work() -> None:
        for k in range(200):
            if k == 0:
                meet.wait()
            found.append((k, values.get(k, lambda k=k: [k])))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 800
    assert all(value is values.peek(k) for k, value in found)
    assert values.held_bytes() == 200


def test_a_value_may_ask_for_others() -> None:
    values = lengths(10)
    assert values.get("a", lambda: [*values.get("b", lambda: [1]), 2]) == [1, 2]


def test_a_function_is_called_once_for_each_argument() -> None:
    calls = []

    @kept.kept(len)
    def digits(number: int) -> str:
        """Its name and text stay."""
        calls.append(number)
        return str(number)

    assert [digits(k) for k in (12, 7, 12)] == ["12", "7", "12"]
    assert calls == [12, 7]
    assert digits.kept.held_bytes() == 3
    assert digits.__doc__ == "Its name and text stay."
    digits.cache_clear()
    digits(12)
    assert calls == [12, 7, 12]


def test_an_array_counts_once() -> None:
    array = np.zeros(10)
    assert table_bytes((array, [array]), {"again": array}, np.zeros(3, np.int8), 7) == 80 + 3


def swapped(first: int) -> Any:
    """A circuit of its own for each `first`, on the sector path, whose tables are not empty."""

    def circuit(x: Any) -> Any:
        qml.BasisState([1, 1, 0, 0, 0, 0], wires=range(6))
        for k in range(first, first + 4):
            qml.SingleExcitation(x, wires=[k % 6, (k + 2) % 6])
        return qml.expval(qml.Z(0))

    return circuit


def test_what_is_too_much_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no room for two circuits, the first is gone once the second has come; asked for again, it is made anew."""
    stores = [paths.engine.kept, execution._program.kept, programs._programs]
    for store in stores:
        store.clear()
        monkeypatch.setattr(store, "most_bytes", 1)
    device = qml.device("varq.qubit", wires=6)
    nodes = [qml.QNode(swapped(first), device) for first in (0, 1)]
    before = nodes[0](0.3)
    tape = qml.tape.make_qscript(nodes[0].func)(0.3).map_to_standard_wires()
    engine = paths.engine(measurements.plan(tape)[0].circuit, device.options())
    assert engine.path == "sector"
    assert [store.held_bytes() > 0 for store in stores] == [True, True, True]
    gone = weakref.ref(engine)
    del engine
    nodes[1](0.3)
    for _ in range(4):  # what JAX holds of a program goes with the program, in a round after it
        gc.collect()
    assert gone() is None
    assert [len(store) for store in stores] == [1, 1, 1]
    np.testing.assert_allclose(nodes[0](0.3), before, atol=ENOUGH)
