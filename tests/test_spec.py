"""Specs: what they are is what they hold."""

import functools
import importlib
import json
import linecache
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varq import names, spec
from varq.ansatze import UCCSD
from varq.optimizers.stochastic import SPSA
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


@pytest.fixture(autouse=True)
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


def test_none_is_a_choice_where_the_default_is_another() -> None:
    assert spec.loads(spec.dumps(Thing(a=None, b=None))) == Thing(a=None, b=None)
    assert spec.loads(spec.dumps(Thing(a=(1, (2.5, "x"))))).a == (1, (2.5, "x"))
    free = SPSA(learning_rate=0.3, largest_step=None)
    assert spec.loads(spec.dumps(free)) == free
    assert spec.identity(free)[0] != spec.identity(SPSA(learning_rate=0.3))[0]


def test_a_class_is_never_taken_for_the_one_it_was_derived_from() -> None:
    class Reversed(UCCSD):
        """The same fields, and the excitations in another order."""

        @property
        def excitations(self) -> Any:
            return super().excitations[::-1]

    plain, own = UCCSD((1, 1), 2), Reversed((1, 1), 2)
    assert spec.identity(Thing(plain))[1]
    assert not spec.identity(Thing(own))[1]
    assert len(identities(plain, own, own)) == 3
    with pytest.raises(LookupError, match=r"Reversed that cannot .* a kind of its own in place of 'ansatz:uccsd'"):
        spec.loads(spec.dumps(Thing(own)))


def test_a_class_of_an_unregistered_kind_is_known_in_its_process_only() -> None:
    @dataclass(frozen=True)
    class Mine:
        size: int = 1
        kind: ClassVar[str] = "ansatz:mine"
        version: ClassVar[int] = 1

    assert not spec.identity(Mine())[1]
    assert '"ansatz:mine"' in spec.dumps(Mine())


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


def identities(*values: Any) -> set[str]:
    return {spec.identity(Thing(value))[0] for value in values}


def wrapped(times: int) -> Any:
    @functools.wraps(plain)
    def inner(x: float) -> Any:
        return times * plain(x)

    return inner


def twice_wrapped(times: int) -> Any:
    @functools.wraps(plain)
    def inner(x: float) -> Any:
        return times * 2 * plain(x)

    return inner


def test_a_wrapper_is_known_by_its_own_source_and_not_by_what_it_wraps() -> None:
    assert wrapped(1).__qualname__ == twice_wrapped(1).__qualname__ == plain.__qualname__
    assert len(identities(plain, wrapped(1), wrapped(2), twice_wrapped(1))) == 4
    assert spec.identity(Thing(wrapped(1))) == spec.identity(Thing(wrapped(1)))


def test_a_renamed_lambda_is_still_a_lambda() -> None:
    pair = [lambda x: x, lambda x: 2 * x]
    for function in pair:
        function.__name__ = function.__qualname__ = "named"
    assert not spec.identity(Thing(pair[0]))[1]


@pytest.fixture
def mylib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A user's own module, with a submodule."""
    folder = tmp_path / "mylib"
    folder.mkdir()
    (folder / "__init__.py").write_text("SCALE = 1\nUNREAD = 1\n\n\ndef f(x):\n    return SCALE * x\n")
    (folder / "deep.py").write_text("RATE = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("mylib", "mylib.deep"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module("mylib.deep") and sys.modules["mylib"]
    for name in ("mylib", "mylib.deep"):
        sys.modules.pop(name, None)


def over_a_module(mylib: Any) -> list[Any]:
    def constant(x: float) -> Any:
        return mylib.SCALE * x

    def function(x: float) -> Any:
        return mylib.f(x)

    def nested(x: float) -> Any:
        return [mylib.deep.RATE * y for y in (x, x)]

    return [constant, function, nested]


def test_a_users_module_is_known_by_what_is_read_of_it(mylib: Any) -> None:
    functions = over_a_module(mylib)
    before = [spec.identity(Thing(f)) for f in functions]
    assert all(findable for _, findable in before)
    mylib.UNREAD = 2
    assert [spec.identity(Thing(f)) for f in functions] == before
    mylib.SCALE = 5
    after = [spec.identity(Thing(f)) for f in functions]
    assert [a != b for a, b in zip(after, before, strict=True)] == [True, True, False]
    mylib.deep.RATE = 5
    assert spec.identity(Thing(functions[2]))[0] != before[2][0]


def test_a_users_module_read_through_a_global_is_known_too(mylib: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "elsewhere", mylib)

    def scaled(x: float) -> Any:
        return elsewhere.SCALE * x  # type: ignore[name-defined] # noqa: F821

    before, findable = spec.identity(Thing(scaled))
    assert findable
    mylib.SCALE = 5
    assert spec.identity(Thing(scaled))[0] != before


def test_a_users_module_that_is_read_in_other_ways_makes_a_function_unknown(mylib: Any) -> None:
    def by_name(x: float) -> Any:
        return getattr(mylib, "SCALE") * x  # noqa: B009

    def imported(x: float) -> Any:
        import mylib as mine

        return mine.SCALE * x

    def absent(x: float) -> Any:
        return mylib.nothing * x

    for function in (by_name, imported, absent):
        assert not spec.identity(Thing(function))[1]


def test_a_library_imported_inside_counts_by_name() -> None:
    def inside(x: float) -> Any:
        import colorsys

        import numpy as inner

        return inner.sin(x) + colorsys.ONE_THIRD

    assert spec.identity(Thing(inside))[1]


def test_attributes_of_a_function_count(monkeypatch: pytest.MonkeyPatch) -> None:
    without = spec.identity(Thing(plain))[0]
    monkeypatch.setattr(plain, "k", 1, raising=False)
    one = spec.identity(Thing(plain))[0]
    monkeypatch.setattr(plain, "k", 2)
    assert len({without, one, spec.identity(Thing(plain))[0]}) == 3
    monkeypatch.setattr(plain, "k", object())
    assert not spec.identity(Thing(plain))[1]


class Scaled:
    def __init__(self, scale: float) -> None:
        self.scale = scale

    def __call__(self, x: float) -> float:
        return self.scale * x

    def method(self, x: float) -> float:
        return self.scale * x


class Shifted(float):
    """A number with a method, which its value does not tell."""

    def __call__(self, x: float) -> float:
        return x + self


@pytest.mark.parametrize(
    "make",
    [
        lambda n: functools.partial(closure, n),
        Scaled,
        lambda n: Scaled(n).method,
        lambda n: closure(functools.partial(closure, n)),
        lambda n: closure(Scaled(n).method),
        lambda n: closure(Scaled(n)),
        lambda n: closure(Shifted(n)),
        lambda n: functools.lru_cache(closure(n)),
    ],
)
def test_callables_that_are_no_plain_functions_are_never_taken_for_each_other(make: Any) -> None:
    assert not spec.identity(Thing(make(1)))[1]
    assert len(identities(make(1), make(2), make(1))) == 3


def test_functions_that_call_each_other_are_known() -> None:
    def made(step: int) -> Any:
        table: dict[str, Any] = {}

        def even(n: int) -> bool:
            return n == 0 or table["odd"](n - step)

        def odd(n: int) -> bool:
            return n != 0 and even(n - step)

        table["odd"] = odd
        return even

    assert spec.identity(Thing(made(1))) == spec.identity(Thing(made(1)))
    assert len(identities(made(1), made(2))) == 2
    assert spec.identity(Thing(made(1)))[1]


def test_many_functions_that_share_helpers_are_read_once_each() -> None:
    function = helper
    for _ in range(30):  # 2^30 readings if each were read wherever it stands
        function = paired(function, function)
    assert spec.identity(Thing(function))[1]


def paired(f: Any, g: Any) -> Any:
    def both(x: float) -> Any:
        return f(x) + g(x)

    return both


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


def test_a_file_edited_after_its_import_makes_its_functions_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    file = tmp_path / "edited_costs.py"
    file.write_text("def cost(x):\n    return x + 10.0\n")
    import edited_costs  # type: ignore[import-not-found]

    before, findable = spec.identity(Thing(edited_costs.cost))
    assert findable
    file.write_text("# moved down\ndef cost(x):\n    return x + 20.0\n")
    linecache.checkcache()
    assert not spec.identity(Thing(edited_costs.cost))[1]
    importlib.reload(edited_costs)
    after, findable = spec.identity(Thing(edited_costs.cost))
    assert findable
    assert after != before
    monkeypatch.delitem(sys.modules, "edited_costs")
