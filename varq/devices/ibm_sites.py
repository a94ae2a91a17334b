"""Where jobs for an IBM machine go: into this process, or to an account."""

from __future__ import annotations

import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from varq.devices import ibm_faults, qiskit_noise, qiskit_packages
from varq.devices.faults import ExpiredError, GoneError, PermanentError
from varq.devices.service import Limits, Mode
from varq.devices.settling import Settling
from varq.devices.usual import EXECUTIONS

__all__ = ["Account", "Local", "Site", "sampler_options"]

T = TypeVar("T")

SETTLED = 10.0
"""Seconds after which a job that was sent is surely listed: IBM promises nothing, and lists it within about one."""

STEP = 1.0  # most seconds between two looks for a job

KEPT = 64  # results of local jobs that were fetched and stay at hand

_LIVE = ("DONE", "RUNNING", "QUEUED", "INITIALIZING")


class Site(Protocol):
    """Where jobs go, and come back from."""

    backend: Any
    """A Qiskit backend with the machine's target."""

    paid: bool
    mode: Mode
    limits: Limits

    def open(self) -> str | None:
        """Open the session or batch; a line for the person if it is something else."""

    def metered(self) -> float | None:
        """Seconds for which the open session has been metered."""

    def payer(self) -> str | None:
        """Whose jobs these are at IBM."""

    def send(self, pubs: Sequence[Any], tag: str, seed: int) -> str:
        """Send one job; returns its id."""

    def expect(self, tags: Collection[str]) -> None:
        """Jobs of other processes under these tags are looked for soon."""

    def find(self, tag: str) -> str | None:
        """The job sent under a tag."""

    def job(self, job: str) -> Any:
        """IBM's job of an id, with `status`, `result`, `metrics` and `cancel`."""

    def call(self, ask: Callable[[], T]) -> T:
        """What `ask` returns; what IBM's client raises is explained, without credentials."""

    def seconds(self, job: str) -> float | None:
        """That the machine was busy with a job, as far as this site knows."""

    def fetched(self, job: str) -> None:
        """The result of a job has been read."""

    def tags(self, job: str) -> Sequence[str] | None:
        """The tags that a job was sent with; None where there are none."""

    def ended(self, job: str) -> bool:
        """Whether the session or batch that a job was sent in has ended."""

    def queue(self) -> str:
        """How many jobs wait for the machine."""

    def close(self) -> None:
        """Close the session or batch."""


def _sampler(mode: Any, options: Mapping[str, Any]) -> Any:
    return _quietly(lambda: qiskit_packages.client().SamplerV2(mode=mode, options=dict(options)))


def _quietly(call: Callable[[], T]) -> T:
    """Without what IBM's client says of its own future: pyproject bounds its version for that.

    SamplerV2, and other shots for each PUB, are deprecated since 0.50.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return call()


def sampler_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Options of IBM's SamplerV2, as plain data, checked by its own rules.

    Raises:
        ValueError: for unknown ones, and for those that varq sets itself.
    """
    given = dict(options or {})
    taken: list[str] = [name for name in ("default_shots", "simulator") if name in given]
    if "job_tags" in dict(given.get("environment", {})):
        taken.append("environment.job_tags")
    if dict(given.get("execution", {})).get("meas_type", "classified") != "classified":
        taken.append("execution.meas_type")
    if taken:
        raise ValueError(
            f"options must leave to varq what it sets itself. Got {taken}; give shots, seeds to the session."
        )
    try:
        qiskit_packages.client().options.SamplerOptions(**given)
    except (TypeError, ValueError) as error:  # pydantic's errors are ValueErrors
        raise ValueError(f"options must be those of IBM's SamplerV2. Got {sorted(given)}: {error}") from error
    return given


class Local:
    """IBM's local mode: its SamplerV2 on a snapshot of a machine, simulated with the machine's noise in this process.

    Args:
        machine: the snapshot, from `qiskit_noise.fake_backend`.
        mode: what was asked for; the local mode has jobs only.
        options: of SamplerV2, which the local mode ignores.
    """

    paid = False

    def __init__(self, machine: Any, mode: Mode, options: Mapping[str, Any]) -> None:
        self.backend = machine
        self.mode = mode
        self.limits = _limits(machine)
        self._noise = qiskit_noise.Noise(machine)
        self._ignored = sorted(options)
        self._jobs: OrderedDict[str, tuple[Any, Any]] = OrderedDict()
        self._by_tag: dict[str, str] = {}
        self._read: OrderedDict[str, None] = OrderedDict()

    def open(self) -> str | None:
        """There is nothing to open."""
        lines = []
        if self.mode is not Mode.JOB:
            lines.append(f"{self.backend.name} runs in this process, where a {self.mode.value} is a row of jobs.")
        if self._ignored:
            lines.append(f"{self.backend.name} ignores {', '.join(self._ignored)}, which real machines obey.")
        self.mode = Mode.JOB
        return " ".join(lines) or None

    def metered(self) -> float | None:
        """None: nothing is metered here."""
        return None

    def payer(self) -> str | None:
        """None: nobody pays."""
        return None

    def send(self, pubs: Sequence[Any], tag: str, seed: int) -> str:
        """Start a job in a thread of its own."""
        if tag in self._by_tag and self._by_tag[tag] in self._jobs:
            return self._by_tag[tag]
        machine = qiskit_noise.rehearsal(self.backend, self._noise)
        sampler = _sampler(machine, {"simulator": {"seed_simulator": seed}})
        job = _quietly(lambda: sampler.run(list(pubs)))
        name = str(job.job_id())
        self._jobs[name] = (job, machine)
        self._by_tag[tag] = name
        return name

    def expect(self, tags: Collection[str]) -> None:
        """Nothing: other processes keep their own."""

    def find(self, tag: str) -> str | None:
        """A job of this process."""
        return self._by_tag.get(tag)

    def job(self, job: str) -> Any:
        """A job of this process."""
        if job not in self._jobs:
            raise GoneError(f"Jobs of {self.backend.name} live in the process that sent them. Got the id {job!r}.")
        return self._jobs[job][0]

    def call(self, ask: Callable[[], T]) -> T:
        """What goes wrong here is not the network's fault."""
        return ibm_faults.attempt(ask)

    def seconds(self, job: str) -> float | None:
        """Seconds of simulation."""
        return float(self._jobs[job][1].seconds) if job in self._jobs else None

    def fetched(self, job: str) -> None:
        """Keep the last results only."""
        self._read[job] = None
        self._read.move_to_end(job)
        while len(self._read) > KEPT:
            gone, _ = self._read.popitem(last=False)
            self._jobs.pop(gone, None)
            self._by_tag = {tag: name for tag, name in self._by_tag.items() if name != gone}

    def tags(self, job: str) -> Sequence[str] | None:
        """None: a job is known by its id alone."""
        return None

    def ended(self, job: str) -> bool:
        """There is no session that could."""
        return False

    def queue(self) -> str:
        """Nobody else is here."""
        return "none"

    def close(self) -> None:
        """There is nothing to close."""


class Account:
    """Jobs for a real machine through an account at IBM.  Not run on hardware: tested with IBM's client alone.

    Args:
        client: a `QiskitRuntimeService`.
        name: of the machine, as IBM calls it.
        instance: the instance of the account that pays; None for the account's own choice.
        mode: how jobs travel.
        options: of SamplerV2, checked by `sampler_options`.
        max_time: most seconds (or "2h 30m") that a session stays open; None for IBM's own limit.
        settled: seconds after which a job that was sent is listed.
        secrets: what no error may show.
        sleep: waits so many seconds.
        clock: seconds that only grow.
        account: the name under which the account is saved here, if it was opened by it.
    """

    paid = True

    def __init__(
        self,
        client: Any,
        name: str,
        instance: str | None,
        mode: Mode,
        options: Mapping[str, Any],
        max_time: int | str | None,
        settled: float,
        secrets: tuple[str, ...],
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        account: str | None = None,
    ) -> None:
        self._client = client
        self._names = {"account": account, "instance": instance}
        self._secrets = secrets
        self._wanted = self.mode = mode
        self._options = dict(options)
        self._max_time = max_time
        self._settling = Settling(settled, STEP, clock, sleep)
        self._session: Any = None
        self._jobs: OrderedDict[str, Any] = OrderedDict()
        self.backend = self.call(lambda: client.backend(name, instance=instance, use_fractional_gates=False))
        self.limits = self.call(lambda: _limits(self.backend))

    def call(self, ask: Callable[[], T]) -> T:
        """A question to IBM."""
        return ibm_faults.attempt(ask, secrets=self._secrets)

    def open(self) -> str | None:
        """Open a session or batch at IBM, where the account has such.

        IBM opens it with this call and meters it from its first job on.
        """
        self.mode = self._wanted
        if self.mode is Mode.JOB or self._session is not None:
            return None
        kind = qiskit_packages.client().Session if self.mode is Mode.SESSION else qiskit_packages.client().Batch
        try:
            self._session = kind(backend=self.backend, max_time=self._max_time)
            return None
        except Exception as error:
            refused = ibm_faults.no_sessions(error)
            found = ibm_faults.explained(error, False, self._secrets)
        if not refused:
            raise found
        self._wanted = self.mode = Mode.JOB
        return f"The account has no sessions on {self.backend.name}: jobs go one by one, each into the common queue."

    def metered(self) -> float | None:
        """What IBM says that the open session has used: from its first job on, the time between jobs included."""
        session = self._session
        if session is None or self.mode is not Mode.SESSION:
            return None
        used = self.call(session.usage)
        return None if used is None else float(used)

    def payer(self) -> str | None:
        """The instance, by the CRN that `find` lists its jobs with, whatever the account is called here; else names."""
        names = self._names if self._instance is None else {"instance": self._instance}
        return ", ".join(f"{kind} {name}" for kind, name in names.items() if name is not None) or None

    def send(self, pubs: Sequence[Any], tag: str, seed: int) -> str:
        """Send one job; IBM's client repeats calls that surely did not arrive, for a quarter of a minute and more."""
        if self.mode is not Mode.JOB and self._session is None:
            raise ExpiredError(f"No {self.mode.value} is open on {self.backend.name}. Open it and send the job again.")
        sampler = self.call(lambda: _sampler(self._session or self.backend, self._tagged(tag)))
        try:
            with self._settling.attempt(tag):
                job = ibm_faults.attempt(lambda: _quietly(lambda: sampler.run(list(pubs))), True, self._secrets)
                name = str(job.job_id())
        except ExpiredError:
            self._session = None
            raise
        self._remember(name, job)
        return name

    def _tagged(self, tag: str) -> dict[str, Any]:
        environment = {**self._options.get("environment", {}), "job_tags": ["varq", tag]}
        return {**self._options, "environment": environment}

    def expect(self, tags: Collection[str]) -> None:
        """From now on IBM has the time until it lists them."""
        self._settling.expect(tags)

    def find(self, tag: str) -> str | None:
        """The oldest living job under a tag; later ones, if any, are cancelled.

        Looks again until what was sent is surely listed.
        """
        jobs = self._settling.look(
            tag,
            lambda: self.call(
                lambda: self._client.jobs(job_tags=[tag], limit=None, descending=False, instance=self._instance)
            ),
        )
        if not jobs:
            return None
        living = [job for job in jobs if self.call(job.status) in _LIVE]
        for extra in living[1:]:
            self._drop(extra)
        best = (living or jobs)[0]
        self._remember(str(best.job_id()), best)
        return str(best.job_id())

    @property
    def _instance(self) -> str | None:
        found = getattr(self.backend, "_instance", None)  # IBM's own client reads the same attribute
        return None if found is None else str(found)

    def _drop(self, job: Any) -> None:
        """Cancel a job that was sent twice, if there is still time."""
        try:
            self.call(job.cancel)
        except PermanentError:
            return

    def _remember(self, name: str, job: Any) -> None:
        self._jobs[name] = job
        while len(self._jobs) > KEPT:
            self._jobs.popitem(last=False)

    def job(self, job: str) -> Any:
        """A job of the account, whoever sent it."""
        if job not in self._jobs:
            self._remember(job, self.call(lambda: self._client.job(job)))
        return self._jobs[job]

    def seconds(self, job: str) -> float | None:
        """IBM says it with the job."""
        return None

    def fetched(self, job: str) -> None:
        """IBM keeps it."""

    def tags(self, job: str) -> Sequence[str] | None:
        """As IBM keeps them."""
        found = self.job(job)
        return self.call(lambda: [str(tag) for tag in found.tags or ()])

    def ended(self, job: str) -> bool:
        """By its limit, or since somebody closed it: IBM then cancels what still waits, or lets it fail."""
        found = self.job(job)
        name = self.call(lambda: found.session_id)
        if not name:
            return False
        # As the client's `Session.details` asks; `Session.from_id` would change which instance it works for.
        try:
            said = self.call(lambda: self._client._get_api_client(self._instance).session_details(name))
            return bool(said) and said.get("state") == "closed"
        except ExpiredError:  # what IBM says of one that it knows no more
            return True

    def queue(self) -> str:
        """As IBM counts them, with what it says of a machine that takes no jobs."""
        said = self.call(self.backend.status)
        return f"{said.pending_jobs} jobs" + ("" if said.operational else f", {said.status_msg}")

    def close(self) -> None:
        """Close the session: it takes no more jobs, and ends with the last one."""
        session, self._session = self._session, None
        if session is not None:
            self.call(session.close)


def _limits(backend: Any) -> Limits:
    """Of a job; a snapshot's are those of the machine, so that what is tried there travels as it will."""
    # IBM announces that `max_shots` goes; until then a circuit of more shots is sent in parts.
    shots = getattr(backend.configuration(), "max_shots", None)
    return Limits(shots=None if shots is None else int(shots), job_shots=EXECUTIONS, wires=backend.num_qubits)
