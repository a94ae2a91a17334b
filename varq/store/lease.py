"""One owner a run or session: who may write to it, how other processes and machines see that, and how it passes on."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from varq.store.database import Database
from varq.store.faults import OwnedError, StoreError
from varq.store.job_records import STUDY

__all__ = ["Holder", "Keeper", "Lease", "Process", "Watch", "holders", "process_alive"]

_LOG = logging.getLogger("varq")
_COLUMNS = "run, epoch, token, host, pid, process, since, heartbeat, released"


@dataclass(frozen=True)
class Process:
    """A process as other processes can recognize it.

    Args:
        host: its machine.
        pid: its number there.
        mark: "boot/namespace/start": what tells it from another process of the same number.
    """

    host: str
    pid: int
    mark: str

    @classmethod
    def this(cls, host: str) -> Process:
        """The process that calls."""
        return cls.of(host, os.getpid())

    @classmethod
    def of(cls, host: str, pid: int) -> Process:
        """A process of this machine."""
        return cls(host, pid, f"{_boot()}/{_namespace()}/{_start(pid)}")


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)  # containers count their processes apart
    except OSError:
        return ""


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _start(pid: int) -> str | None:
    """When a process started, in the system's words; None if there is no such process, "" if it cannot be known."""
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return "" if _exists(pid) else None  # /proc may hide other users' processes
        except OSError:
            return ""
        state, *rest = stat.rpartition(")")[2].split()  # a command's name may hold spaces and brackets
        return None if state in "ZX" else rest[18]
    if not _exists(pid):
        return None
    try:  # macOS
        said = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return " ".join(said.stdout.split())


@dataclass(frozen=True)
class Holder:
    """One row of the lease table: who holds, or held, a run."""

    run: str
    epoch: int
    token: str
    host: str
    pid: int
    process: str
    since: float
    heartbeat: float
    released: int

    def is_by(self, me: Process) -> bool:
        """Whether a process itself is the one that holds it."""
        # Processes that started in the same tick of the clock (10 ms on Linux, 1 s on macOS) have one mark.
        return (self.host, self.pid, self.process) == (me.host, me.pid, me.mark)

    def words(self, me: Process) -> str:
        """Who and since when, for a message."""
        who = (
            f"by another run object in this process (pid {self.pid})"
            if self.is_by(me)
            else f"by pid {self.pid} on host {self.host}"
        )
        since = datetime.fromtimestamp(self.since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"{who} since {since}; heartbeat {max(0.0, time.time() - self.heartbeat):.0f} s ago"


def process_alive(holder: Holder, me: Process) -> bool | None:
    """Whether the holder's process runs: None if that cannot be seen from here (another machine, container or boot)."""
    if holder.host != me.host:
        return None
    boot, namespace, start = holder.process.split("/", 2)
    here = me.mark.split("/", 2)
    if [boot, namespace] != here[:2]:
        return None
    now = _start(holder.pid)
    if now is None:
        return False
    return True if "" in (now, start) else now == start


@dataclass(frozen=True)
class Watch:
    """What this process can tell of the owners of runs and sessions.

    Args:
        me: this process.
        stale: age of a heartbeat, in seconds, after which its owner may be gone.
    """

    me: Process
    stale: float

    def gone(self, holder: Holder) -> bool:
        """Whether it is sure that an owner is no more."""
        alive = process_alive(holder, self.me)
        # The same host after a reboot, or another container on it: an old heartbeat is proof enough.
        rebooted = alive is None and holder.host == self.me.host and self.late(holder)
        return alive is False or rebooted

    def late(self, holder: Holder) -> bool:
        """Whether an owner's last sign of life is older than it should be."""
        return time.time() - holder.heartbeat > self.stale

    def silent(self, holder: Holder) -> bool:
        """Whether nothing tells that an owner still lives: it cannot be seen from here, and is late."""
        return process_alive(holder, self.me) is not True and self.late(holder)


def holders(files: Iterable[Database], run: str) -> list[Holder]:
    """The rows of the highest epoch for a run, over all files, released ones included."""
    rows = [Holder(*row) for file in files for row in file.read(f"SELECT {_COLUMNS} FROM leases WHERE run = ?", (run,))]
    top = max((row.epoch for row in rows), default=0)
    return [row for row in rows if row.epoch == top]


def _owned(name: str) -> str:
    """The rule, and of what it is broken: a run, a session as `new_session_id` names it, or a study's budget."""
    if name.startswith(STUDY):
        return f"The budget of a study has one owner at a time. That of {name.removeprefix(STUDY)}"
    kind = next((kind for kind in ("session", "batch") if name.startswith(f"{kind}-")), "run")
    return f"A {kind} has one owner at a time. {kind.capitalize()} {name[:12] if kind == 'run' else name}"


class Lease:
    """The right to write to one run or session, held inside `with`.

    Example:
        >>> from varq.store.store import open_store
        >>> with open_store(None) as store, store.lease("0123abcd"):
        ...     pass
    """

    def __init__(self, keeper: Keeper, run: str, take_over: bool) -> None:
        self.run = run
        self.token = os.urandom(8).hex()
        self._keeper = keeper
        self._take_over = take_over
        self._forgotten: weakref.finalize[[str, str], Lease] | None = None

    @property
    def lost(self) -> bool:
        """Whether somebody else took the run over."""
        return self.run in self._keeper.lost

    def __enter__(self) -> Lease:
        self._keeper.acquire(self.run, self.token, self._take_over)
        # An object that is dropped without being left gives its run back at the next heartbeat.
        self._forgotten = weakref.finalize(self, self._keeper.forget, self.run, self.token)
        self._forgotten.atexit = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._forgotten is not None:
            self._forgotten.detach()
            self._forgotten = None
        self._keeper.release(self.run, self.token)


class Keeper:
    """Holds the leases of one store and keeps their heartbeat, in one thread that lives while any is held.

    Args:
        own: the file that this host writes.
        others: the files of other hosts, as they are now.
        me: this process.
        interval: seconds between heartbeats.
        stale: age of a heartbeat, in seconds, after which its owner may be gone.
    """

    def __init__(
        self, own: Database, others: Callable[[], list[Database]], me: Process, interval: float, stale: float
    ) -> None:
        self.own = own
        self.others = others
        self.me = me
        self.interval = interval
        self.stale = stale
        self.watch = Watch(me, stale)
        self.held: dict[str, str] = {}
        self.lost: set[str] = set()
        self._forgotten: deque[tuple[str, str]] = deque()
        self._lock = threading.Lock()  # of who is held, and of the thread that follows from it
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def owner(self, run: str) -> Holder | None:
        """Who holds a run now; None if nobody does, or only a process that is gone."""
        for holder in holders([self.own, *self.others()], run):
            if not holder.released and not self.watch.gone(holder):
                return holder
        return None

    def at_work(self) -> list[Holder]:
        """Who holds anything now, this process left out, and those of other machines whose heartbeat is stale."""
        files, found = [self.own, *self.others()], []
        names = {name for file in files for (name,) in file.read("SELECT run FROM leases WHERE released = 0")}
        for name in names:
            for holder in holders(files, name):
                unseen = holder.host != self.me.host and self.watch.late(holder)
                if not (holder.released or holder.is_by(self.me) or unseen or self.watch.gone(holder)):
                    found.append(holder)
        return found

    def acquire(self, run: str, token: str, take_over: bool) -> None:
        """Takes a run, or raises OwnedError."""
        self._return_forgotten()
        files = [self.own, *self.others()]
        now = time.time()
        with self.own.write() as db:
            before = holders(files, run)
            for holder in before:
                self._admit(holder, take_over)
            epoch = 1 + max((holder.epoch for holder in before), default=0)
            row = (run, epoch, token, self.me.host, self.me.pid, self.me.mark, now, now, 0)
            db.execute(f"INSERT OR REPLACE INTO leases ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        # Two hosts write two files at once: whoever sees the other's row after writing its own steps back.
        rival = next((h for h in holders(files, run) if h.token != token and not h.released), None)
        if rival is not None:
            self._end(run, token)
            raise OwnedError(self._refusal(rival) + " Both asked at the same moment: try again.")
        with self._lock:
            self.lost.discard(run)
            self.held[run] = token
            self._keep_beating()

    def _admit(self, holder: Holder, take_over: bool) -> None:
        if holder.released or self.watch.gone(holder):
            return
        in_process = holder.is_by(self.me)
        if take_over and (in_process or self.watch.late(holder)):
            return
        if in_process:
            way = "Use that object, end it, or pass take_over=True to take it over."
        elif take_over:
            way = f"It can be taken over once its heartbeat is older than {self.stale:g} s: wait, or stop that process."
        else:
            way = (
                "Wait for it or stop that process; if it is gone without a trace, pass take_over=True once its "
                f"heartbeat is older than {self.stale:g} s."
            )
        raise OwnedError(f"{self._refusal(holder)} {way}")

    def _refusal(self, holder: Holder) -> str:
        return f"{_owned(holder.run)} is owned {holder.words(self.me)}."

    def check(self, run: str, token_now: str | None) -> None:
        """Raises OwnedError if a run that was held here has passed to somebody else.

        Args:
            run: the run's id.
            token_now: what this host's file says about it.
        """
        token = self.held.get(run)
        if token is not None and token_now != token:
            self.lost.add(run)
        if run in self.lost:
            raise OwnedError(
                f"{_owned(run)} was taken over by somebody else, so nothing more of "
                "this process is recorded in it. What was recorded before is kept; to go on here, "
                "resume it with take_over=True."
            )

    def release(self, run: str, token: str) -> None:
        """Gives a run back."""
        if self.me.pid != os.getpid():
            return  # a forked child owns nothing of its parent's
        with self._lock:
            if self.held.get(run) == token:
                del self.held[run]
            if not self.held:
                self._stop.set()
        try:
            self._end(run, token)
        except StoreError as error:
            # The run's outcome must not hang on this: the row says who it was, and that process will be gone.
            _LOG.warning("The lease of run %s could not be given back: %s", run[:12], error)

    def _end(self, run: str, token: str) -> None:
        with self.own.write() as db:
            db.execute("UPDATE leases SET released = 1 WHERE run = ? AND token = ?", (run, token))

    def forget(self, run: str, token: str) -> None:
        """Notes that a lease was dropped; called by the garbage collector, so it must not touch the file."""
        self._forgotten.append((run, token))

    def _return_forgotten(self) -> None:
        while self._forgotten:
            self.release(*self._forgotten.popleft())

    def _keep_beating(self) -> None:
        if self._thread is not None and self._thread.is_alive() and not self._stop.is_set():
            return
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=_beat, args=(weakref.ref(self), self._stop, self.interval), name="varq-heartbeat", daemon=True
        )
        self._thread.start()

    def beat(self) -> None:
        """One heartbeat for all leases held."""
        self._return_forgotten()
        now = time.time()
        held = list(self.held.items())
        if not held:
            return
        with self.own.write() as db:
            for run, token in held:
                sql = "UPDATE leases SET heartbeat = ? WHERE run = ? AND token = ? AND released = 0"
                if db.execute(sql, (now, run, token)).rowcount == 0 and self.held.get(run) == token:
                    self.lost.add(run)
        others = self.others()
        for run, token in held:
            if (
                others
                and all(h.token != token for h in holders([self.own, *others], run))
                and self.held.get(run) == token
            ):
                self.lost.add(run)

    def close(self) -> None:
        """Gives everything back."""
        self._return_forgotten()
        for run, token in list(self.held.items()):
            self.release(run, token)
        self._stop.set()


def _beat(keeper: weakref.ref[Keeper], stop: threading.Event, interval: float) -> None:
    while not stop.wait(interval):
        here = keeper()
        if here is None:
            return
        try:
            here.beat()
        except StoreError as error:
            _LOG.warning("A heartbeat could not be written: %s", error)
        del here
