"""Specs: what they are is what they hold."""

import json
import sys
from dataclasses import dataclass, field
from typing import Any, ClassVar

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varq import names, spec
from varq.protocol import Many, Reply, Stop, Value, ValueAndGrad

PROPERTY = settings(deadline=None, max_examples=60, derandomize=True)

LEVEL = 3.0


def helper(x: float) -> float:
    return x + 1


def plain(x: float, scale: float = 2.0) -> Any:
    return np.sin(x) * scale * LEVEL + helper(x)


def closure(rate: float) -> Any:
    def inner(x: float) -> float:
        return x * rate

    return inner


def endless(n: int) -> int:
    return 1 if n == 0 else endless(n - 1)


@dataclass(frozen=True)
class Thing:
    """A spec of the tests' own."""

    a: Any = None
    b: Any = 1
    note: str = field(default="", metadata=spec.UNHASHED)
    kind: ClassVar[str] = "problem:thing"
    version: ClassVar[int] = 2


@pytest.fixture
def thing(monkeypatch: pytest.MonkeyPatch) -> type[Thing]:
    table = {**names.TABLE, "problem:thing": f"{Thing.__module__}:Thing"}
    monkeypatch.setattr(names, "TABLE", table)
    return Thing


DTYPES = [np.float64, np.float32, np.complex128, np.int64, np.uint8, np.bool_]

data = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=4).filter(lambda k: not k.startswith("$")), inner, max_size=3)
    ),
    max_leaves=12,
)


@PROPERTY
@given(data)
def test_any_data_comes_back_the_same(value: Any) -> None:
    assert spec.loads(spec.dumps(value)) == value


@PROPERTY
@given(
    hnp.arrays(
        st.sampled_from([np.float64, np.float32, np.complex128, np.int64, np.uint8, np.bool_]),
        hnp.array_shapes(min_dims=0),
    )
)
def test_arrays_come_back_bit_for_bit(array: np.ndarray) -> None:
    arrays: dict[str, Any] = {}
    back = spec.loads(spec.dumps(array, arrays), arrays.__getitem__)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -0.0, 1e-320, 2 + 3j])
def test_odd_numbers_come_back(value: complex) -> None:
    assert repr(spec.loads(spec.dumps(value))) == repr(value)


def test_large_arrays_are_kept_beside_the_text() -> None:
    arrays: dict[str, Any] = {}
    big = np.arange(spec.INLINE + 1.0)
    text = spec.dumps(big, arrays)
    assert len(text) < 200
    assert np.array_equal(spec.loads(text, arrays.__getitem__), big)
    with pytest.raises(LookupError, match="kept in the store"):
        spec.loads(text)


def test_messages_come_back(thing: type[Thing]) -> None:
    request = Many((Value(np.ones(3)), ValueAndGrad(np.arange(20.0))))
    back = spec.loads(spec.dumps(request))
    assert [type(p) for p in back.parts] == [Value, ValueAndGrad]
    reply = Reply(value=float("nan"), tracked={"n": 2.0}, parts=(Reply(value=1.0),))
    assert spec.dumps(spec.loads(spec.dumps(reply))) == spec.dumps(reply)
    assert spec.loads(spec.dumps(Stop(steps=3, tolerance=1e-3))) == Stop(steps=3, tolerance=1e-3, patience=10)


def test_identity_is_the_hashed_content() -> None:
    assert spec.identity(Thing(1)) == spec.identity(Thing(1, note="other words"))
    assert spec.identity(Thing(1))[0] != spec.identity(Thing(1.0))[0]
    assert spec.identity(Thing(0.1))[0] != spec.identity(Thing(0.2))[0]
    assert spec.identity(Thing(np.ones(3)))[0] != spec.identity(Thing(np.ones(3, dtype=np.float32)))[0]


def test_none_is_no_choice_and_leaves_no_trace() -> None:
    assert '"a"' not in spec.dumps(Thing())


def test_a_field_without_default_comes_back_as_none(thing: type[Thing]) -> None:
    assert spec.loads(spec.dumps(Thing(a=None, b=None))).b == 1  # None was left out, so the default holds
    assert spec.loads(spec.dumps(Thing(a=(1, (2.5, "x"))))).a == (1, (2.5, "x"))


def test_closures_of_one_factory_differ() -> None:
    assert spec.identity(Thing(closure(0.1)))[0] != spec.identity(Thing(closure(0.2)))[0]
    assert spec.identity(Thing(closure(0.1))) == spec.identity(Thing(closure(0.1)))


def test_functions_are_known_by_all_they_read(monkeypatch: pytest.MonkeyPatch) -> None:
    before, findable = spec.identity(Thing(plain))
    assert findable
    monkeypatch.setitem(plain.__globals__, "LEVEL", 4.0)
    assert spec.identity(Thing(plain))[0] != before
    monkeypatch.undo()
    assert spec.identity(Thing(plain))[0] == before
    monkeypatch.setattr(plain, "__defaults__", (3.0,))
    assert spec.identity(Thing(plain))[0] != before
    monkeypatch.undo()
    monkeypatch.setitem(plain.__globals__, "helper", closure)
    assert spec.identity(Thing(plain))[0] != before


def test_a_function_that_calls_itself_is_known() -> None:
    assert spec.identity(Thing(endless))[1]


def test_two_lambdas_on_one_line_are_not_taken_for_each_other() -> None:
    pair = [lambda x: x, lambda x: 2 * x]
    first, findable = spec.identity(Thing(pair[0]))
    assert not findable
    assert first != spec.identity(Thing(pair[1]))[0]
    lone = lambda x: 3 * x  # noqa: E731
    assert spec.identity(Thing(lone))[1]


def test_a_function_comes_back_where_it_is_defined(thing: type[Thing], monkeypatch: pytest.MonkeyPatch) -> None:
    text = spec.dumps(Thing(plain))
    assert spec.loads(text).a is plain
    monkeypatch.setitem(plain.__globals__, "LEVEL", 4.0)
    with pytest.raises(LookupError, match=r"plain differs .* \(in its globals\)"):
        spec.loads(text)


def test_a_function_that_is_not_at_hand_is_asked_for(thing: type[Thing]) -> None:
    inner = closure(0.5)
    text = spec.dumps(Thing(inner))
    with pytest.raises(LookupError, match="not at hand"):
        spec.loads(text)
    assert spec.loads(text, objects={inner.__qualname__: inner}).a is inner
    with pytest.raises(LookupError, match="in its closure"):
        spec.loads(text, objects={inner.__qualname__: closure(0.6)})


def test_objects_that_cannot_be_written_are_opaque(thing: type[Thing]) -> None:
    made = object()
    first, findable = spec.identity(Thing(made))
    assert not findable
    assert first != spec.identity(Thing(made))[0]
    with pytest.raises(LookupError, match="given no name"):
        spec.loads(spec.dumps(Thing(made)))
    named = spec.dumps(Thing(spec.Opaque(made, "mine")))
    with pytest.raises(LookupError, match="kept under the name 'mine'"):
        spec.loads(named)
    assert spec.unwrap(spec.loads(named, objects={"mine": made}).a) is made


def test_a_function_over_an_opaque_object_is_opaque() -> None:
    lock = closure(object())  # type: ignore[arg-type]
    assert not spec.identity(Thing(lock))[1]


def test_a_newer_spec_is_refused(thing: type[Thing]) -> None:
    data = json.loads(spec.dumps(Thing(1)))
    data["version"] = 3
    with pytest.raises(ValueError, match=r"version 3; this varq knows versions up to 2.*Update varq"):
        spec.decode(data)


def test_unknown_kinds_and_fields_are_refused(thing: type[Thing]) -> None:
    data = json.loads(spec.dumps(Thing(1)))
    with pytest.raises(ValueError, match=r"problem must be one of .*Did you mean 'thing'"):
        spec.decode({**data, "kind": "problem:thong"})
    with pytest.raises(ValueError, match=r"unknown fields \['c'\]"):
        spec.decode({**data, "c": 1})
    with pytest.raises(ValueError, match="tagged 'mystery'"):
        spec.decode({"$": "mystery"})


def test_an_import_path_in_a_record_imports_nothing() -> None:
    with pytest.raises(ValueError, match="kind must be one of"):
        spec.decode({"$": "spec", "kind": "os:system", "version": 1})
    stored = {"$": "function", "module": "antigravity", "name": "fly", "source": ""}
    with pytest.raises(LookupError, match="not at hand"):
        spec.decode(stored)
    assert "antigravity" not in sys.modules


def test_text_that_is_not_json_is_refused() -> None:
    with pytest.raises(ValueError, match="must be JSON text"):
        spec.loads("{half")


def test_keys_of_mappings_are_checked() -> None:
    with pytest.raises(TypeError, match="without a leading"):
        spec.dumps({"$": 1})
    with pytest.raises(TypeError, match="must be strings"):
        spec.dumps({1: 1})


def test_arrays_of_objects_are_refused() -> None:
    with pytest.raises(TypeError, match="must hold numbers"):
        spec.dumps(np.array([object()]))
