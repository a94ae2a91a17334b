"""What a session did, job by job, and where its time went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, overload

from varq import checks, names
from varq.session.outages import ANSWERS, LEFT_OUT
from varq.session.reporting import EVENTS, RUN, spans_of
from varq.session.stopwatch import CLASSICAL, DECODE, DEVICE, PREPARE, Span
from varq.store.job_records import JobRecord, JobState, used_up
from varq.store.store import Store

__all__ = ["PHASES", "QUEUE", "READ", "Ledger", "Line", "Outage", "RunTimes", "StepTimes", "Times", "of_session"]

QUEUE = "queue"
READ = "read"
PHASES = (PREPARE, QUEUE, DEVICE, READ, DECODE, CLASSICAL)
"""In the order in which a request goes through them."""

Place = tuple[str, int, str]


@dataclass(frozen=True)
class Times:
    """Where time went, in seconds; None where it was not measured.

    Args:
        prepare: making circuits of requests.
        queue: waiting: in the session's queue, while circuits were translated, on the way, and at the vendor.
        qpu: that the device was busy, as its vendor meters it.
        read: fetching the results.
        decode: making values and error bars of bits.
        classical: the rest of a step: writing down, telling the method, asking it for the next request.

    Example:
        >>> (Times(queue=1.0, qpu=2.0) + Times(qpu=0.5)).qpu
        2.5
    """

    prepare: float | None = None
    queue: float | None = None
    qpu: float | None = None
    read: float | None = None
    decode: float | None = None
    classical: float | None = None

    def __add__(self, other: Times) -> Times:
        both = [(getattr(self, f.name), getattr(other, f.name)) for f in fields(Times)]
        return Times(*(b if a is None else a if b is None else a + b for a, b in both))

    @property
    def total(self) -> float:
        """Of all that was measured."""
        return sum(getattr(self, name) or 0.0 for name in PHASES)


def _times(spans: Iterable[Span]) -> Times:
    """The spans of each phase together."""
    sums: dict[str, float] = defaultdict(float)
    for span in spans:
        sums[span.phase] += span.seconds
    return Times(**sums)


@dataclass(frozen=True)
class Line:
    """One job.

    Args:
        job: its id, which is also its tag at the vendor.
        number: its order in the session.
        session: the session's id.
        device: where it went.
        state: how it stands.
        created: when it was written down, in seconds since 1970.
        circuits: how many.
        shots: of all of them.
        seconds: that are charged: the device was busy, or the vendor's session waited; None where that is not told.
        cost: what was charged; None where that is not told.
        attempts: how often it was tried to send it.
        provider_id: the vendor's id.
        owners: the runs and batches that it served.
        times: where the time of its requests went. Requests that share a job share its queue, qpu and read.
        error: what went wrong.
    """

    job: str
    number: int
    session: str
    device: str
    state: JobState
    created: float
    circuits: int
    shots: int
    seconds: float | None
    cost: float | None
    attempts: int
    provider_id: str | None
    owners: tuple[str, ...]
    times: Times
    error: str | None = None

    @property
    def counts(self) -> bool:
        """Whether it used anything, as far as that is known: sums and budgets count it then."""
        return used_up(self.state, self.seconds)


@dataclass(frozen=True)
class StepTimes:
    """One request of a run: that of a step, or its last estimate.

    Args:
        step: the request's number, from 0 on; of the last estimate, how many steps there were.
        role: "step" or "final".
        times: where its time went; parts of it that ran on several devices add up.
    """

    step: int
    role: str
    times: Times


@dataclass(frozen=True)
class RunTimes:
    """One run or batch of a session.

    Args:
        id: of it.
        title: what is run, in a few words.
        steps: that were noted.
        jobs: that served it.
        times: where its time went; a job that served several counts for each of them.
        spans: the same in order, for figures.
        by_step: the same of each request, in the order of the steps.
    """

    id: str
    title: str
    steps: int
    jobs: int
    times: Times
    spans: tuple[Span, ...] = field(repr=False)
    by_step: tuple[StepTimes, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Outage:
    """A time for which a device of a spread was left out.

    Args:
        device: its name.
        began: when, in seconds since 1970.
        why: what it did not do.
        ended: when it answered again; None if it did not.
    """

    device: str
    began: float
    why: str
    ended: float | None = None


class Ledger(Sequence[Line]):
    """The jobs of a session in order, each a `Line`; and its runs.  A value: it does not change any more.

    Args:
        session: the session's id.
        lines: one a job.
        runs: one a run or batch.
        outages: when devices of a spread were left out.

    Example:
        >>> Ledger("session-1f", (), ()).total.qpu is None
        True
    """

    def __init__(
        self, session: str, lines: Sequence[Line], runs: Sequence[RunTimes], outages: Sequence[Outage] = ()
    ) -> None:
        self.session = session
        self.lines = tuple(lines)
        self.runs = tuple(runs)
        self.outages = tuple(outages)

    @overload
    def __getitem__(self, index: int) -> Line: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Line, ...]: ...
    def __getitem__(self, index: Any) -> Any:
        return self.lines[index]

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Ledger):
            mine, theirs = ((one.session, one.lines, one.runs, one.outages) for one in (self, other))
            return mine == theirs
        return list(self.lines) == other if isinstance(other, list) else False

    def __hash__(self) -> int:
        return hash((self.session, self.lines))

    @property
    def total(self) -> Times:
        """Of the runs, but a job counts once."""
        out = Times()
        for line in self.lines:
            out += Times(queue=line.times.queue, qpu=line.times.qpu, read=line.times.read)
        for run in self.runs:
            mine = Times() if run.jobs else Times(qpu=run.times.qpu)
            out += mine + Times(run.times.prepare, decode=run.times.decode, classical=run.times.classical)
        return out

    def table(self) -> Any:
        """The jobs as a `rich.table.Table`, with the sums below."""
        return names.find("display", "ledger")(self)

    def plot(self, **options: Any) -> Any:
        """Draw where the time went, one row a run; returns the matplotlib Axes."""
        return names.find("plot", "timeline")(self, **options)

    def __str__(self) -> str:
        return str(names.find("display", "ledger-text")(self))

    def _repr_html_(self) -> str:
        return str(names.find("display", "ledger-html")(self))

    def __repr__(self) -> str:
        size = f"{checks.counted(len(self.lines), 'job')} of {checks.counted(len(self.runs), 'run')}"
        return f"<varq ledger of {self.session}: {size}>"


def of_session(store: Store, session: str) -> Ledger:
    """The ledger of a session of the store.

    Raises:
        LookupError: if there is no such session.
    """
    titles, spans, steps = _noted(store, session)
    requests = store.jobs.requests(session)
    jobs = {job.id: job for job in store.jobs.jobs(session)}
    lines, counts, there = [], defaultdict[str, int](int), defaultdict[str, list[Span]](list)
    each = defaultdict[Place, list[Span]](list)
    for job in jobs.values():
        places = requests.get(job.id, ())
        asked = {place: spans.get(_plain(place), []) for place in places}
        served = tuple(dict.fromkeys(place[0] for place in places))
        own = [span for some in asked.values() for span in some]
        lines.append(_line(job, served, _times([*own, *_there(job, _ready(job, asked))])))
        for owner in served:
            counts[owner] += 1
            mine = {place: some for place, some in asked.items() if place[0] == owner}
            there[owner] += _there(job, _ready(job, mine))
        for place, some in asked.items():
            each[_plain(place)] += _there(job, _ready(job, {place: some}))
    owners = dict.fromkeys([*titles, *counts])
    for place, some in spans.items():
        there[place[0]] += some
        each[place] += some
    runs = [_run(o, titles.get(o, o), steps.get(o, 0), counts[o], there[o], each) for o in owners]
    return Ledger(session, lines, runs, _outages(store, session))


def _outages(store: Store, session: str) -> list[Outage]:
    """As a session's owner noted them; a process that took the session up asked all devices anew."""
    out: list[Outage] = []
    open_ones: dict[int, int] = {}
    for note in store.jobs.notes(session):
        if note.kind == LEFT_OUT:
            open_ones[note.body["member"]] = len(out)
            out.append(Outage(note.body["device"], note.time, note.body["why"]))
        elif note.kind == ANSWERS and note.body["member"] in open_ones:
            place = open_ones.pop(note.body["member"])
            out[place] = replace(out[place], ended=note.time)
    return out


def _noted(store: Store, session: str) -> tuple[dict[str, str], dict[Place, list[Span]], dict[str, int]]:
    """Titles, spans of requests and numbers of steps, as a session's owner noted them."""
    titles: dict[str, str] = {}
    spans: dict[Place, list[Span]] = {}
    steps: dict[str, int] = {}
    for note in store.jobs.notes(session):
        if note.kind == RUN:
            titles[note.body["run"]] = note.body["title"]
        for entry in note.body["events"] if note.kind == EVENTS else ():
            name = entry.get("run", "")
            if "title" in entry.get("info", {}) and name:
                titles.setdefault(name, entry["info"]["title"])
            step = entry.get("step", 0)
            if entry["kind"] == "step":
                steps[name] = max(step, steps.get(name, 0))
            # The event after an answer counts it: the request of step 0 is told of by step 1, the last one by the end.
            place = (name, step - 1, "step") if entry["kind"] == "step" else (name, step, "final")
            if found := spans_of(entry):
                spans.setdefault(place, []).extend(found)
    return titles, spans, steps


def _plain(place: Place) -> Place:
    """A request as events name it: the role of a more precise last estimate says more."""
    return (place[0], place[1], place[2].split(" ")[0])


def _ready(job: JobRecord, asked: Mapping[Place, Sequence[Span]]) -> float:
    """When a job began to wait: the first of its requests was ready, or it was written down."""
    ends = [[s.began + s.seconds for s in some if s.phase == PREPARE] for some in asked.values()]
    return min([job.created, *(max(found) for found in ends if found)])


def _there(job: JobRecord, since: float) -> list[Span]:
    """What became of a job between its being ready and its result: it waited, ran, and was fetched."""
    if job.finished is None:
        return []
    read = min(float(job.details.get("read") or 0.0), max(0.0, job.finished - since))
    told = _busy(job)
    # A clock of the vendor's may say more than passed here.
    busy = min(told or 0.0, max(0.0, job.finished - since - read))
    waited = max(0.0, job.finished - since - read - busy)
    out = [Span(QUEUE, since, waited)]
    if told is not None:
        out.append(Span(DEVICE, since + waited, busy))
    if "read" in job.details:
        out.append(Span(READ, job.finished - read, read))
    return out


def _busy(job: JobRecord) -> float | None:
    """Seconds that the device was busy: those charged, without the time that the vendor's session waited."""
    busy = job.details.get("busy", job.seconds)
    return None if busy is None else float(busy)


def _line(job: JobRecord, owners: tuple[str, ...], times: Times) -> Line:
    same = {f.name: getattr(job, f.name) for f in fields(Line) if f.name not in ("job", "owners", "times")}
    busy = _busy(job)
    metered = times if busy is None else Times(**{**_fields(times), DEVICE: busy})
    return Line(job=job.id, owners=owners, times=metered, **same)


def _fields(times: Times) -> Mapping[str, float | None]:
    return {name: getattr(times, name) for name in PHASES}


def _run(
    owner: str, title: str, steps: int, jobs: int, spans: Iterable[Span], each: Mapping[Place, Sequence[Span]]
) -> RunTimes:
    ordered = tuple(sorted(spans, key=lambda span: span.began))
    own = sorted((place[2] == "final", place) for place in each if place[0] == owner)
    by_step = tuple(StepTimes(place[1], place[2], _times(each[place])) for _, place in own)
    return RunTimes(owner, title, steps, jobs, _times(ordered), ordered, by_step)
