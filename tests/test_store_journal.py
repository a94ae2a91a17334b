"""What goes into a store comes out again: runs, journals, arrays, results, and the two views for people."""

from __future__ import annotations

import math
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_samples import BIG, BIG_SHA, record, row, run_id

from varq.spec import array_digest, canonical
from varq.store.faults import ConflictError, StoreError
from varq.store.records import Row, RunRecord
from varq.store.store import Store, open_store


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "runs" if request.param == "disk" else None) as made:
        yield made


@pytest.fixture
def run(store: Store) -> RunRecord:
    store.create(record(), {})
    return record()


# -- runs


def test_a_run_comes_back_as_it_was(store: Store, run: RunRecord) -> None:
    assert store.get(run.id) == run
    assert store.get(run_id(1)) is None


def test_creating_a_run_twice_changes_nothing(store: Store, run: RunRecord) -> None:
    store.create(record(title="another"), {})
    assert store.get(run.id) == run


def test_one_id_has_one_identity(store: Store, run: RunRecord) -> None:
    with pytest.raises(ConflictError, match="one identity"):
        store.create(record(identity="0" * 64), {})
    assert store.get(run.id) == run


def test_find_by_prefix(store: Store) -> None:
    for number in range(3):
        store.create(record(number), {})
    assert store.find(run_id(1)[:4]).title == "VQE 1"
    assert store.find(run_id(1)).title == "VQE 1"


def test_find_lists_what_fits(store: Store) -> None:
    with pytest.raises(LookupError, match=r"store in .* is empty|in memory is empty"):
        store.find("abcd")
    for number in range(3):
        store.create(record(number, id=f"abcd{number}" + "0" * 59), {})
    with pytest.raises(LookupError, match=r"(?s)3 runs have ids that start with 'abcd'.*abcd2.*VQE 2.*abcd0"):
        store.find("abcd")
    with pytest.raises(LookupError, match="Did you mean abcd"):
        store.find("abce1")
    with pytest.raises(LookupError, match="varq list"):
        store.find("ffff")
    with pytest.raises(ValueError, match="at least 4 characters"):
        store.find("abc")


def test_an_id_that_is_the_start_of_another_is_found(store: Store) -> None:
    store.create(record(0, id="abcd"), {})
    store.create(record(1, id="abcdef"), {})
    assert store.find("abcd").title == "VQE 0"


def test_list_is_newest_first(store: Store) -> None:
    for number in (2, 0, 3, 1):
        store.create(record(number, algorithm="algorithm:qaoa" if number == 3 else "algorithm:vqe"), {})
    assert [r.title for r in store.list()] == ["VQE 3", "VQE 2", "VQE 1", "VQE 0"]
    assert [r.title for r in store.list(limit=2)] == ["VQE 3", "VQE 2"]
    assert [r.title for r in store.list("algorithm:vqe", 1)] == ["VQE 2"]
    assert store.list("algorithm:shor") == []
    with pytest.raises(ValueError, match="limit must be at least 0"):
        store.list(limit=-1)


# -- journals


def test_rows_come_back_in_order(store: Store, run: RunRecord) -> None:
    for step in (2, 0, 1):
        store.append(run.id, row(step))
    store.append(run.id, row(1, role="final"))
    assert store.rows(run.id) == [row(0), row(1), row(1, role="final"), row(2)]
    assert store.rows(run.id, first=2) == [row(2)]
    assert store.rows(run_id(9)) == []
    with pytest.raises(ValueError, match="first must be at least 0"):
        store.rows(run.id, -1)


@given(
    value=st.none() | st.floats(),
    stderr=st.none() | st.floats(min_value=0),
    text=st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    seconds=st.floats(0, 1e9),
    executions=st.integers(0, 2**62),
)
def test_any_row_comes_back(
    value: float | None, stderr: float | None, text: str, seconds: float, executions: int
) -> None:
    with open_store(None) as store:
        store.create(record(), {})
        given_row = Row(
            0, "step", canonical({"x": text}), "d", canonical([text]), "k", value, stderr, seconds, executions
        )
        store.append(run_id(0), given_row)
        (back,) = store.rows(run_id(0))
        assert store.verify() == []
    assert (back.request, back.reply, back.executions, back.seconds) == (
        given_row.request,
        given_row.reply,
        executions,
        seconds,
    )
    for got, want in ((back.value, value), (back.stderr, stderr)):
        assert got == want or (got is not None and want is not None and math.isnan(got) and math.isnan(want))


def test_the_same_row_again_is_no_error(store: Store, run: RunRecord) -> None:
    store.append(run.id, row(0))
    store.append(run.id, row(0, seconds=99.0))  # the time it took is no part of what was found
    assert store.rows(run.id) == [row(0)]


@pytest.mark.parametrize("name", ["request", "digest", "reply", "key"])
def test_another_row_for_one_step_shows_both(store: Store, run: RunRecord, name: str) -> None:
    store.append(run.id, row(0, **{name: "first"}))
    with pytest.raises(ConflictError, match=rf"(?s)step 0 \(step\).*{name} here:  first.*{name} there: second"):
        store.append(run.id, row(0, **{name: "second"}))
    assert len(store.rows(run.id)) == 1


def test_a_long_difference_is_cut_to_where_it_is(store: Store, run: RunRecord) -> None:
    store.append(run.id, row(0, reply="a" * 5000 + "X" + "b" * 5000))
    with pytest.raises(ConflictError, match=r"here:  \.\.\.a+Xb+\.\.\.") as caught:
        store.append(run.id, row(0, reply="a" * 5000 + "Y" + "b" * 5000))
    assert len(str(caught.value)) < 1500


def test_several_rows_are_written_together_or_not_at_all(store: Store, run: RunRecord) -> None:
    store.extend(run.id, [row(0), row(1)])
    with pytest.raises(ConflictError, match="step 1"):
        store.extend(run.id, [row(2), row(1, value=7.0)])
    assert store.rows(run.id) == [row(0), row(1)]


def test_a_row_needs_its_run(store: Store) -> None:
    with pytest.raises(LookupError, match="There is no run"):
        store.append(run_id(0), row(0))
    store.create(record(), {})
    store.append(run_id(0), row(0))
    store.remove([run_id(0)])
    with pytest.raises(LookupError, match="There is no run"):
        store.append(run_id(0), row(1))


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"step": -1}, ValueError, "step must be at least 0"),
        ({"step": 1.0}, TypeError, "step must be an integer"),
        ({"role": "finale"}, ValueError, "role must be one of 'final', 'start', 'step'. Got 'finale'. Did you"),
        ({"request": b"{}"}, TypeError, "request must be of type str"),
        ({"reply": None}, TypeError, "reply must be of type str"),
    ],
)
def test_bad_rows(changes: dict[str, object], error: type[Exception], match: str) -> None:
    good = {"step": 0, "role": "step", "request": "", "digest": "", "reply": "", "key": ""}
    with pytest.raises(error, match=match):
        Row(**good | changes, value=None, stderr=None, seconds=0.0, executions=0)  # type: ignore[arg-type]


def test_bad_records() -> None:
    with pytest.raises(ValueError, match="id must not be an empty string"):
        record(id="")
    with pytest.raises(TypeError, match="spec must be of type str"):
        record(spec={})


# -- arrays


def test_arrays_come_back_bit_for_bit(store: Store, run: RunRecord) -> None:
    arrays = [BIG, np.array([np.nan, np.inf, -0.0]), np.array(2 + 1j), np.zeros((0, 3), np.uint8), BIG.T.astype(">f4")]
    store.append(run.id, row(0), {array_digest(a): a for a in arrays})
    for array in arrays:
        back = store.array(array_digest(array))
        assert back.shape == array.shape
        assert not back.flags.writeable
        assert back.tobytes() == np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()


def test_arrays_are_checked(store: Store, run: RunRecord) -> None:
    with pytest.raises(LookupError, match="The store has no array"):
        store.array("0" * 64)
    with pytest.raises(ValueError, match="named by their SHA-256"):
        store.append(run.id, row(0), {"0" * 64: BIG})
    with pytest.raises(TypeError, match="must be of type ndarray"):
        store.append(run.id, row(0), {BIG_SHA: [1.0]})  # type: ignore[dict-item]
    assert store.rows(run.id) == []


# -- outcomes


def test_a_run_ends_and_goes_on(store: Store, run: RunRecord) -> None:
    for step in range(3):
        store.append(run.id, row(step))
    unfinished = store.get(run.id)
    assert unfinished is not None
    assert (unfinished.reason, unfinished.steps, unfinished.seconds) == (None, 3, 0.5)
    store.conclude(run.id, "stopped", "{}", {}, 3, -1.0, 0.1, -1.1, 0.5)
    ended = store.get(run.id)
    assert ended == record(reason="stopped", result="{}", steps=3, value=-1.0, stderr=0.1, reference=-1.1, seconds=0.5)
    store.reopen(run.id)
    assert store.get(run.id) == record(steps=3, reference=-1.1, seconds=0.5)
    store.conclude(run.id, "converged", '{"a":1}', {BIG_SHA: BIG}, 2, math.nan, None, None, 1.0)
    last = store.get(run.id)
    assert last is not None
    assert last.value is not None
    assert math.isnan(last.value)
    assert (last.reason, last.result, last.steps) == ("converged", '{"a":1}', 2)
    np.testing.assert_array_equal(store.array(BIG_SHA), BIG)


def test_bad_outcomes(store: Store, run: RunRecord) -> None:
    with pytest.raises(ValueError, match="reason must be one of 'budget', 'converged'"):
        store.conclude(run.id, "done", "{}")
    with pytest.raises(TypeError, match="result must be of type str"):
        store.conclude(run.id, "converged", {})  # type: ignore[arg-type]
    for call in (lambda: store.conclude(run_id(5), "converged", "{}"), lambda: store.reopen(run_id(5))):
        with pytest.raises(LookupError, match="There is no run"):
            call()


# -- opening


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"path": 5}, TypeError, "path must be of type str or PathLike"),
        ({"timeout": -1}, ValueError, "timeout must be at least 0"),
        ({"heartbeat": 0}, ValueError, "heartbeat must be greater than 0"),
        ({"stale": math.nan}, ValueError, "stale must be finite"),
        ({"read_only": "yes"}, TypeError, "read_only must be True or False"),
    ],
)
def test_bad_options(options: dict[str, object], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        open_store(**{"path": None} | options)  # type: ignore[arg-type]


def test_folder_and_files_are_private(tmp_path: Path) -> None:
    with open_store(tmp_path / "deep" / "runs", host="ada") as store:
        store.create(record(), {})
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "deep" / "runs").iterdir()}
    assert stat.S_IMODE((tmp_path / "deep" / "runs").stat().st_mode) == 0o700
    assert modes == {"ada.sqlite": 0o600, "ada.sqlite-wal": 0o600, "ada.sqlite-shm": 0o600}
    assert [p.name for p in (tmp_path / "deep" / "runs").iterdir()] == ["ada.sqlite"]


def test_names_with_special_characters(tmp_path: Path) -> None:
    with open_store(tmp_path / "a b?c#d%e'", host="../ada:1") as store:
        store.create(record(), {})
        assert store.get(run_id(0)) == record()
    assert [p.name for p in (tmp_path / "a b?c#d%e'").iterdir()] == ["_ada_1.sqlite"]


def test_a_closed_store_says_so(store: Store, run: RunRecord) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match="This store is closed"):
        store.append(run.id, row(0))


# -- people and threads


def test_views_for_any_sql_tool(tmp_path: Path) -> None:
    with open_store(tmp_path, host="ada") as store:
        store.create(record(0, created=86400.0), {})
        store.create(record(1, created=0.0), {})
        for step in range(2):
            store.append(run_id(1), row(step))
        store.append(run_id(1), row(1, role="final"))
        store.conclude(run_id(0), "steps", "{}", {}, 7, -1.0, None, -1.5, 3.0)
    with closing(sqlite3.connect(tmp_path / "ada.sqlite")) as db:
        cursor = db.execute("SELECT * FROM runs_view")
        names = [c[0] for c in cursor.description]
        assert names == [
            *("id", "title", "device", "created", "reason"),
            *("steps", "value", "reference", "deviation", "seconds"),
        ]
        assert cursor.fetchall() == [
            (run_id(0), "VQE 0", "default.qubit", "1970-01-02T00:00:00Z", "steps", 7, -1.0, -1.5, 0.5, 3.0),
            (run_id(1), "VQE 1", "default.qubit", "1970-01-01T00:00:00Z", None, 2, None, None, None, 0.25),
        ]
        trace = db.execute("SELECT run, step, value, stderr, seconds FROM trace").fetchall()
        assert trace == [(run_id(1), 0, -1.0, None, 0.0), (run_id(1), 1, -0.5, None, 0.25)]


def test_many_threads_share_one_store(store: Store) -> None:
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            store.create(record(number), {})
            with store.lease(run_id(number)):
                for step in range(40):
                    store.append(run_id(number), row(step))
                    assert len(store.rows(run_id(number))) == step + 1
            store.list()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert [r.steps for r in store.list()] == [40] * 6
    assert store.verify() == []
