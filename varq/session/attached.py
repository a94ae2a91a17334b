"""Watching a session that another process owns, and asking things of it."""

from __future__ import annotations

import os
import shlex
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from varq import checks, names
from varq.protocol import Event, Result
from varq.session import handing, ledger, orders
from varq.session.following import Follower
from varq.session.opening import DEFAULT_STORE, UNSET, Unset
from varq.session.stored import result_of
from varq.store.job_records import JobState, SessionRecord, SessionState
from varq.store.store import Store, open_store

__all__ = ["NOT_ENDED", "SILENT", "Attached", "attach"]

_LOOK = 0.1  # seconds between two looks at the store
_SETTLED = (SessionState.CLOSED, SessionState.BROKEN)
SILENT = "no sign of life"
_GOING = ("running", "starting")
NOT_ENDED = ("left", "broken", SILENT)
"""The states in which nothing goes on by itself any more, and something is left to be done."""
_STARTS = 60.0  # seconds that a worker may take to begin, where its process cannot be seen


class Attached:
    """A session seen from outside: made by `varq.attach`.

    It reads; only commands write, and they only ask: the process that owns the session obeys them between two requests.
    Any number of these may watch one session, and none that ends or is killed changes anything.

    Args:
        session: the session's id, or a unique beginning of it.
        folder: of the store.
    """

    def __init__(self, session: str, folder: Path) -> None:
        self._folder = folder
        self._store = open_store(folder, read_only=True)
        try:
            self._record = self._store.jobs.session(session)
        except BaseException:
            self._store.close()
            raise
        self._follower = Follower(self._store, self.id)

    # -- what there is to see --

    @property
    def id(self) -> str:
        """The session's id."""
        return self._record.id

    @property
    def record(self) -> SessionRecord:
        """The session as it stands in the store now."""
        return self._store.jobs.session(self.id)

    @property
    def state(self) -> str:
        """How the session stands.

        "starting" (its worker has not begun yet), "running", "ended", "broken" (ended by an error), "left": nobody
        owns it, and it has not ended; or "no sign of life": so does a process that cannot be seen from here, on another
        host or in another container, and that has been silent for a minute. `restart()` has it go on then.
        """
        stands = self.record.state
        if stands in _SETTLED:
            return "ended" if stands is SessionState.CLOSED else "broken"
        if (owner := self._store.jobs.owner(self.id)) is not None:
            if not self._store.jobs.silent(owner):
                return "running"
            return "starting" if self._starting() else SILENT
        return "starting" if self._starting() else "left"

    def _starting(self) -> bool:
        """Whether a worker was launched that is still there and has not owned the session yet."""
        launched = [note for note in self._store.jobs.notes(self.id) if note.kind == handing.LAUNCHED]
        if not launched or self._store.jobs.owned_since(self.id, launched[-1].time):
            return False
        alive = handing.alive(self._store.host, launched[-1].body)
        return time.time() - launched[-1].time < _STARTS if alive is None else alive

    @property
    def runs(self) -> dict[str, str]:
        """The title of each run, by its id, in the order in which they were started."""
        self._follower.look()
        return dict(self._follower.titles)

    def ledger(self) -> ledger.Ledger:
        """Every job: whose it was, where its time went, what it cost."""
        return ledger.of_session(self._store, self.id)

    def standing(self) -> Mapping[str, Any]:
        """What waits and what was used up, as its owner noted last."""
        self._follower.look()
        return self._follower.standing

    def result(self, run: str) -> Result | None:
        """The result of a run; None while there is none.

        Raises:
            LookupError: if the session has no such run.
        """
        return result_of(self._store, self._named(run))

    def events(self, follow: bool = True) -> Iterator[Event]:
        """Every event of every run from the beginning, and each change of a job (kind "job").

        A note that speaks of no run has an empty `run_id`.

        Args:
            follow: go on until the session has ended, or its owner is gone or silent; if not, end with what there is.
        """
        follower = Follower(self._store, self.id)
        while True:
            over = not follow or self.state not in _GOING
            yield from follower.look()
            if over:
                yield from follower.rest()
                return
            time.sleep(_LOOK)

    def wait(self, timeout: float | None = None) -> str:
        """Wait until the session has ended, or its owner is gone or silent; returns its state.

        Args:
            timeout: seconds to wait at most; None for ever.

        Raises:
            TimeoutError: if it goes on after that.
        """
        end = None if timeout is None else time.monotonic() + checks.real("timeout", timeout, minimum=0)
        while (state := self.state) in _GOING:
            if end is not None and time.monotonic() > end:
                raise TimeoutError(
                    f"{self.id} was to end within {timeout:g} s. It is {state}. Wait longer, or stop it."
                )
            time.sleep(_LOOK)
        return state

    def show(self, block: bool = True) -> str:
        """Show the runs live until the session has ended; Ctrl-C ends the display only.

        Args:
            block: wait for the end; if not, another thread goes on showing, and a notebook's cell is free: its buttons
                (pause, resume, step, stop) answer then.

        Returns:
            The state.
        """
        if not checks.boolean("block", block):
            threading.Thread(target=Attached._alone, args=(self.id, self._folder), daemon=True).start()
            return self.state
        with names.find("display", "session")(self.id, self.standing, ask=self._asked) as board:
            for event in self.events():
                board(event)
            if (state := self.state) in NOT_ENDED:
                board.say(self.said())
        return state

    @staticmethod
    def _alone(session: str, folder: Path) -> None:
        with Attached(session, folder) as attached:
            attached.show()

    def _asked(self, do: str) -> None:
        """What a button asks: of all runs."""
        with Attached(self.id, self._folder) as alone:  # a button may be pressed in another thread
            alone._ask(do, None)

    def said(self) -> str:
        """How the session stands, and what to do if nobody owns it."""
        state = self.state
        if state not in NOT_ENDED:
            return f"{self.id} is {state}."
        why = "was ended by an error" if state == "broken" else "has not ended, and the process that owned it is gone"
        owner = self._store.jobs.owner(self.id) if state == SILENT else None
        if owner is not None:
            silent = f"has shown no sign of life for {time.time() - owner.heartbeat:.0f} s"
            why = f"has not ended, and its owner, pid {owner.pid} on host {owner.host}, {silent}: end that if it lives"
        log = handing.log_path(self._folder, self.id)
        more = f" Its log: {log}." if log.exists() else ""
        again = handing.again(self.id, self._folder, take_over=owner is not None)
        for job in self._store.jobs.jobs(self.id, [JobState.UNCERTAIN])[:1]:
            more += f" Before that, say what became of a job that may have been sent: varq settle {job.id[:13]} "
            more += f"--id ID (as its vendor shows it) or --lost, with --store {shlex.quote(str(self._folder))}."
        return f"{self.id} {why}.{more} Recorded steps are kept; go on with: {again}"

    # -- what can be asked --

    def cancel(self, run: str) -> None:
        """End a run: what waits of it is not sent, and what its vendor has for nobody else is called back if it can be;
        an evaluation that its owner computes itself is finished first.

        Raises:
            LookupError: if the session has no such run.
            RuntimeError: if nobody owns the session.
        """
        self._ask("cancel", run)

    def pause(self, run: str | None = None) -> None:
        """Hold back a run, or all of them."""
        self._ask("pause", run)

    def resume(self, run: str | None = None) -> None:
        """Let a run go on that was paused, or all of them."""
        self._ask("resume", run)

    def step(self, run: str | None = None) -> None:
        """Let a run do one more step and hold it back then, or all of them."""
        self._ask("step", run)

    def prioritize(self, run: str, priority: int) -> None:
        """Give a run another priority; the higher goes first."""
        self._ask("priority", run, priority)

    def stop(self) -> None:
        """End all runs after the evaluations in flight, and the session; the runs can be carried on one by one."""
        self._ask("stop", None)

    def restart(self) -> int:
        """Have a session go on that nobody owns; returns the pid of the worker that owns it now.

        For a session whose process was killed or lost its machine ("left"; of "no sign of life", the worker takes it
        over), that an error ended ("broken"), or that was closed or stopped with runs that are not done ("ended"): it
        keeps its id, budget, queue and ledger, its recorded steps cost nothing, and what a vendor holds of it is
        fetched.  A session that its vendor let expire needs none of this: it is opened again while its runs go on.
        One run alone goes on, in this process, by `varq.resume(run_id)`.

        Raises:
            RuntimeError: if somebody owns it.
            OSError: if no process can be started.
        """
        state = self.state
        if state in _GOING:
            raise RuntimeError(f"A session has one owner at a time. {self.id} is {state}. Stop it first: stop().")
        with open_store(self._folder) as store:
            return handing.launch(store, self._folder, self.id, take_over=state == SILENT)

    def _ask(self, do: str, run: str | None, priority: int | None = None) -> None:
        body = orders.order(do, None if run is None else self._named(run), priority)
        if self.state not in _GOING:
            raise RuntimeError(f"Commands are for a session that somebody owns. {self.said()}")
        with open_store(self._folder) as store:
            store.jobs.post(self.id, body)

    def _named(self, run: str) -> str:
        """The full id of a run of this session."""
        checks.text("run", run)
        found = [name for name in self.runs if name.startswith(run)]
        if len(found) != 1:
            known = ", ".join(name[:8] for name in self.runs)
            raise LookupError(f"A run is named by its id, or a beginning that fits one. Got {run!r}. Runs: {known}.")
        return found[0]

    def close(self) -> None:
        """Close the store; the session goes on."""
        self._store.close()

    def __enter__(self) -> Attached:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<varq attached to {self.id}: {self.state}, {checks.counted(len(self.runs), 'run')}>"


def attach(session: str, *, store: str | os.PathLike[str] | Store | Unset = UNSET) -> Attached:
    """Watch a session, whoever owns it, and give it commands.

    Args:
        session: its id, or a unique beginning of it.
        store: folder of the store; by default "varq-runs" here.

    Returns:
        The session seen from outside: iterate over `events()`, look at `runs`, `ledger()` and `state`, `show()` it
        live, and `cancel`, `pause`, `resume`, `step`, `prioritize` or `stop` what it does.

    Raises:
        LookupError: if there is no such session.
        StoreError: if there is no such store.
        ValueError: if the store is in memory, which no other process sees.
    """
    path: Any = DEFAULT_STORE if isinstance(store, Unset) else store.path if isinstance(store, Store) else store
    if path is None:
        raise ValueError("A session is watched through its store's folder. Got a store in memory. Name a folder.")
    return Attached(session, Path(os.fspath(checks.instance("store", path, (str, os.PathLike)))).absolute())
