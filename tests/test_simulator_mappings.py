"""A process that compiles circuit after circuit does not run out of memory mappings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest

from varq.simulator import mappings

pytestmark = pytest.mark.flagless  # one run is enough: nothing here depends on the precision

NEAR = 1e-5  # float32


def node(layers: int, measured: bool = False) -> Any:
    """The expectation value of Z after turns about X that add up."""

    @qml.qnode(qml.device("varq.qubit", wires=2))
    def circuit(x: Any) -> Any:
        if measured:
            qml.measure(1)
        for _ in range(layers):
            qml.RX(x, 0)
            qml.CNOT([1, 0])
        return qml.expval(qml.Z(0))

    return circuit


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A process that is always about to run out; notes when caches are emptied."""
    emptied: list[int] = []
    empty = jax.clear_caches
    monkeypatch.setattr(mappings, "EVERY", 1)
    monkeypatch.setattr(mappings, "_used", lambda: 100)
    monkeypatch.setattr(mappings, "_allowed", lambda: 100)
    monkeypatch.setattr(mappings.jax, "clear_caches", lambda: (emptied.append(1), empty())[1])
    return emptied


@pytest.mark.parametrize("measured", [False, True], ids=["plain", "measured"])
def test_numbers_and_slopes_stay_right_while_caches_are_emptied(crowded: list[int], measured: bool) -> None:
    ways = (lambda f: f, jax.jit, lambda f: lambda x: jax.vmap(f)(jnp.stack([x, x]))[1])
    for layers, way in enumerate(ways, start=1):
        before = len(crowded)
        np.testing.assert_allclose(way(node(layers, measured))(0.3), np.cos(0.3 * layers), atol=NEAR)
        np.testing.assert_allclose(
            way(jax.grad(node(layers + 3, measured)))(0.3), -(layers + 3) * np.sin(0.3 * (layers + 3)), atol=10 * NEAR
        )
        assert len(crowded) > before


def test_caches_stay_while_there_is_room(crowded: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mappings, "_used", lambda: 30)
    node(9)(0.3)
    assert not crowded


def test_one_call_in_some_looks(crowded: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mappings, "EVERY", 4)
    for _ in range(8):
        mappings.make_room()
    assert len(crowded) == 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc of Linux")
def test_mappings_are_counted() -> None:
    assert 10 < mappings._used() < mappings._allowed()
    before = mappings._used()
    held = [jax.jit(lambda x, k=k: jnp.sin(x) * k)(jnp.ones(k + 50)) for k in range(5)]
    assert mappings._used() > before
    assert len(held) == 5


def test_other_systems_tell_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: Path, *args: Any, **options: Any) -> Any:
        raise OSError

    monkeypatch.setattr(Path, "read_bytes", missing)
    monkeypatch.setattr(Path, "read_text", missing)
    assert (mappings._used(), mappings._allowed()) == (0, 65530)
    mappings.make_room()
