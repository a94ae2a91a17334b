"""IBM's machines: snapshots of them with their noise in this process, and real ones through an account."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from math import ceil
from typing import Any, TypeVar

from varq import checks
from varq.devices import ibm_faults, qiskit_noise, qiskit_packages
from varq.devices.faults import GoneError, PermanentError
from varq.devices.ibm_sites import SETTLED, Account, Local, Site, sampler_options
from varq.devices.qiskit_circuits import REGISTER, Block, Translator, blocks, in_order
from varq.devices.service import Bits, Circuit, JobResult, JobStatus, Limits, Mode, Plain
from varq.devices.standing import age

__all__ = ["IBMService", "open_ibm"]

T = TypeVar("T")

LEVELS = (0, 1, 2, 3)

_STATUSES = {
    "INITIALIZING": JobStatus.CREATED,
    "QUEUED": JobStatus.QUEUED,
    "VALIDATING": JobStatus.QUEUED,
    "RUNNING": JobStatus.RUNNING,
    "DONE": JobStatus.DONE,
    "ERROR": JobStatus.FAILED,
    "CANCELLED": JobStatus.CANCELLED,
    "CANCELLED - RAN TOO LONG": JobStatus.FAILED,
}

_OWN = "ibm_"  # begins IBM's names of its machines, which its client compares letter by letter
_SENT = "varq"  # in a circuit's metadata: the places in the job of the circuits of its block, and their shots


class IBMService(Plain):
    """An IBM machine, real or a snapshot, as a session uses it; `open_ibm` makes one.

    Equal jobs on a snapshot give equal bits.  Those of one circuit depend on what else is in its job: the local mode
    takes one seed for all, which is made from every circuit's.

    A job is one run of IBM's SamplerV2: circuits of one structure and number of shots are one PUB of many parameter
    sets.  Each structure is compiled once.  Which circuit is which travels in the circuits' metadata, so that another
    process can read a result.

    Args:
        name: as `varq.device` knows it, such as "ibm.fake_torino" or "ibm.torino".
        site: where jobs go.
        layout: the machine's qubits that the wires are put on; None lets Qiskit choose.
        optimization_level: how hard Qiskit compiles, 0 to 3.
        seed_transpiler: of its random choices.
        options: of SamplerV2, for the number of shots that twirling leads to.
    """

    def __init__(
        self,
        name: str,
        site: Site,
        layout: Sequence[int] | None = None,
        optimization_level: int = 1,
        seed_transpiler: int = 0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self._site = site
        self._twirling = dict(options or {}).get("twirling", {})
        manager = site.call(
            lambda: qiskit_packages.qiskit().transpiler.generate_preset_pass_manager(
                optimization_level,
                target=site.backend.target,
                initial_layout=None if layout is None else list(layout),
                seed_transpiler=seed_transpiler,
            )
        )
        self._translator = Translator(lambda circuit: self._sound(manager.run(circuit)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, mode={self.mode.value!r})"

    @property
    def paid(self) -> bool:
        """Whether jobs run on a real machine."""
        return self._site.paid

    @property
    def limits(self) -> Limits:
        """What one job may hold."""
        return self._site.limits

    @property
    def mode(self) -> Mode:
        """How jobs travel now."""
        return self._site.mode

    def _sound(self, circuit: Any) -> Any:
        """The circuit, if it touches no part of the machine that is out of order."""
        if hasattr(self._site.backend, "check_faulty"):
            self._site.backend.check_faulty(circuit)
        return circuit

    def compile(self, circuits: Sequence[Circuit]) -> None:
        """Translate and compile each structure once.

        Raises:
            PermanentError: for a circuit that the machine cannot run.
        """
        self._blocks(circuits)

    def open(self) -> str | None:
        """Open the session or batch at IBM; a line for the person if jobs travel in another way."""
        return self._site.open()

    def metered(self) -> float | None:
        """Seconds for which IBM has metered the open session until now; None for batches and single jobs."""
        return self._site.metered()

    def payer(self) -> str | None:
        """The instance whose jobs these are, by its CRN where IBM's client knows it; None on a snapshot."""
        return self._site.payer()

    def submit(self, circuits: Sequence[Circuit], tag: str) -> str:
        """Send one job.

        Raises:
            ExpiredError: if the session has ended; nothing was sent.
            UncertainError: if IBM may have received it.
        """
        found = self._blocks(circuits)
        pubs = self._site.call(lambda: [_pub(block) for block in found])
        seed = qiskit_noise.derived_seed([circuit.digest for circuit in circuits])
        return self._site.send(pubs, tag, seed)

    def _blocks(self, circuits: Sequence[Circuit]) -> list[Block]:
        for circuit in circuits:
            self._fits(circuit)
        return self._site.call(lambda: blocks(circuits, self._translator))

    def _fits(self, circuit: Circuit) -> None:
        limits = self.limits
        if limits.wires is not None and circuit.wires > limits.wires:
            raise PermanentError(f"{self.name} has {limits.wires} qubits. Got a circuit of {circuit.wires} wires.")
        if limits.shots is not None and circuit.shots > limits.shots:
            raise PermanentError(f"{self.name} takes {limits.shots} shots of a circuit. Got {circuit.shots}; split it.")
        run = twirled_shots(circuit.shots, self._twirling) if self.paid else circuit.shots
        if run != circuit.shots:
            raise PermanentError(
                f"Twirling rounds {circuit.shots} shots up to {run}, which are paid. Ask for {run} shots, or set "
                "num_randomizations and shots_per_randomization so that their product is the shots."
            )

    def expect(self, tags: Collection[str]) -> None:
        """For an account, the time until IBM lists what earlier processes sent begins now, for all of these tags."""
        self._site.expect(tags)

    def find(self, tag: str) -> str | None:
        """The job sent under a tag.  For an account, looks for some seconds before it says that there is none."""
        return self._site.find(tag)

    def tagged(self, job: str, tag: str) -> bool | None:
        """Whether a job of an account was sent under a tag; None on a snapshot."""
        tags = self._site.tags(job)
        return None if tags is None else tag in tags

    def status(self, job: str) -> JobStatus:
        """Where the job stands."""
        found = self._site.job(job)
        said = self._site.call(found.status)
        name = str(getattr(said, "name", said)).upper()
        if name not in _STATUSES:
            raise PermanentError(f"The status of a job is one of {sorted(_STATUSES)}. Got {name!r} for {job}.")
        return _STATUSES[name]

    def dropped(self, job: str) -> bool:
        """Whether a job that was cancelled or failed had never run when its session or batch ended."""
        if not self._site.ended(job):
            return False
        try:
            measures = self._site.call(self._site.job(job).metrics)
        except PermanentError:
            return False
        stamps = measures.get("timestamps") or {}
        return bool(stamps) and not stamps.get("running") and not _busy(measures)

    def seconds(self, job: str) -> float | None:
        """Seconds that IBM charges for a job; None until it has worked them out, which it has not when a job ends."""
        return _busy(self._measures(self._site.job(job)))

    def result(self, job: str) -> JobResult:
        """Bits of each circuit, in the order they were sent; waits for a job that still runs.

        Raises:
            PermanentError: if the job failed or was cancelled.
            GoneError: if there is no such job, or IBM no longer keeps what came out.
        """
        found = self._site.job(job)
        parts = self._site.call(found.result)
        if parts is None:
            raise GoneError(f"IBM no longer keeps the result of {job}.")
        bits = self._site.call(lambda: self._decoded(job, found, parts))
        measures = self._measures(found)
        here = self._site.seconds(job)
        seconds = _busy(measures) if here is None else here
        self._site.fetched(job)
        return JobResult(
            bits=bits,
            seconds=seconds,
            pending=self.paid and seconds is None,
            queued=_waited(measures) if self.paid else None,
            details={"backend": str(self._site.backend.name), **self._stamps(measures)},
        )

    def _measures(self, found: Any) -> Mapping[str, Any]:
        try:
            measures: Mapping[str, Any] = self._site.call(found.metrics)
        except PermanentError:  # bits without times are better than neither
            return {}
        return measures

    def _stamps(self, measures: Mapping[str, Any]) -> dict[str, object]:
        return {"timestamps": dict(measures.get("timestamps") or {})} if self.paid else {}

    def _decoded(self, job: str, found: Any, parts: Any) -> tuple[Bits, ...]:
        marks = [_sent(part.metadata.get("circuit_metadata")) for part in parts]
        if None in marks:  # the circuits that were sent have it in any case
            marks = [_sent(_circuit_of(pub).metadata) for pub in found.inputs["pubs"]]
        sent = [mark for mark in marks if mark is not None]
        if len(sent) != len(parts):
            raise PermanentError(f"Job {job} does not say which circuit is which: varq did not send it.")
        shots = {place: count for places, count in sent for place in places}
        return in_order({places: part.data[REGISTER] for (places, _), part in zip(sent, parts, strict=True)}, shots)

    def standing(self) -> dict[str, str | None]:
        """What the machine says of itself now: "queue", jobs that wait, and "calibrated", how long ago.

        Raises:
            DeviceError: if IBM cannot be asked.
        """
        measured = self._site.call(self._site.backend.properties)
        return {"queue": self._site.queue(), "calibrated": age(getattr(measured, "last_update_date", None))}

    def cancel(self, job: str) -> bool:
        """Ask to cancel; False if the job is past that."""
        found = self._site.job(job)
        if self.status(job).final:
            return False
        try:
            said = self._site.call(found.cancel)
        except PermanentError:
            return False
        return said is not False  # a local job says whether; IBM's says nothing, or raises

    def close(self) -> None:
        """Close the session or batch; jobs that were sent stay."""
        self._site.close()


def _pub(block: Block) -> Any:
    circuit = block.translation.circuit.copy()
    circuit.metadata = {_SENT: [list(block.places), block.shots]}
    pub = qiskit_packages.qiskit().primitives.containers.sampler_pub.SamplerPub
    return pub.coerce((circuit, block.values, block.shots))


def _sent(metadata: Any) -> tuple[tuple[int, ...], int] | None:
    """The places and the shots of a block's circuits; None where the metadata does not say it."""
    said = (metadata or {}).get(_SENT)
    return (tuple(int(p) for p in said[0]), int(said[1])) if said else None


def _circuit_of(pub: Any) -> Any:
    return pub.circuit if hasattr(pub, "circuit") else pub[0]


def twirled_shots(shots: int, twirling: Mapping[str, Any]) -> int:
    """How many shots IBM runs where `shots` are asked for, by the rule in its `TwirlingOptions`: it rounds up."""
    if not (twirling.get("enable_gates") or twirling.get("enable_measure")):
        return shots
    draws, each = twirling.get("num_randomizations", "auto"), twirling.get("shots_per_randomization", "auto")
    if each == "auto":
        each = max(64, ceil(shots / 32)) if draws == "auto" else ceil(shots / draws)
    if draws == "auto":
        draws = ceil(shots / each)
    return int(draws * each)


def _busy(measures: Mapping[str, Any]) -> float | None:
    """Seconds that IBM charges for, once it has worked them out: until then it may say 0, as its client does."""
    usage = measures.get("usage") or {}
    if usage.get("status", "pending") == "pending":
        return None
    found = usage.get("qpu_charge_time_seconds", usage.get("quantum_seconds", usage.get("seconds")))
    return None if found is None else float(found)


def _waited(measures: Mapping[str, Any]) -> float | None:
    stamps = measures.get("timestamps") or {}
    if not stamps.get("created") or not stamps.get("running"):
        return None
    began, ran = (datetime.fromisoformat(stamps[name].replace("Z", "+00:00")) for name in ("created", "running"))
    return max(0.0, (ran - began).total_seconds())


def open_ibm(
    name: str,
    wires: int | None = None,
    *,
    mode: str = "job",
    layout: Sequence[int] | None = None,
    optimization_level: int = 1,
    seed_transpiler: int = 0,
    options: Mapping[str, Any] | None = None,
    account: str | None = None,
    channel: str | None = None,
    token: str | None = None,
    instance: str | None = None,
    max_time: int | str | None = None,
    settled: float = SETTLED,
    client: Any = None,
) -> IBMService:
    """An IBM machine by name.

    Real machines: not run on hardware so far.  The tests drive IBM's own client against a server of their own.

    Args:
        name: "ibm.fake_<name>" for a snapshot in this process, "ibm.<name>" for the real machine, which IBM calls
            ibm_<name>.
        wires: how many it must have; None for any number.
        mode: "job", "batch" or "session".  A session is opened by `open`, and not before.
        layout: the machine's qubits for wires 0, 1, ...; None lets Qiskit choose.
        optimization_level: how hard Qiskit compiles, 0 to 3.
        seed_transpiler: of Qiskit's random choices while compiling.
        options: of IBM's SamplerV2, such as {"dynamical_decoupling": {"enable": True}}; snapshots ignore them.
        account: the name of an account saved with `QiskitRuntimeService.save_account`; None for the default one.
        channel: instead of a saved account: "ibm_quantum_platform", with `token`.
        token: instead of a saved account: the API key.  It is handed to IBM's client and kept out of every error.
        instance: the instance that pays, by name or CRN; None for the account's own.
        max_time: most seconds (or "2h 30m") that a session stays open.
        settled: seconds after which IBM surely lists a job that it has received.
        client: a `QiskitRuntimeService` that is there already, instead of an account.

    Raises:
        ValueError: for an unknown snapshot, too many wires, or options that cannot be.
        ModuleNotFoundError: without the extra `ibm`.
        DeviceError: if IBM cannot be reached or refuses the account.

    Example:
        >>> from varq.devices.ibm import open_ibm
        >>> open_ibm("ibm.fake_manila")  # doctest: +SKIP
        IBMService('ibm.fake_manila', mode='job')
    """
    machine = checks.text("device", name, hint="Such as 'ibm.fake_torino'.").removeprefix("ibm.").removeprefix(_OWN)
    name = f"ibm.{machine}"
    chosen = Mode(checks.choice("mode", mode, [m.value for m in Mode]))
    checks.integer("optimization_level", optimization_level, minimum=0, maximum=LEVELS[-1])
    checks.integer("seed_transpiler", seed_transpiler, minimum=0)
    given = sampler_options(options)
    site: Site
    if machine.startswith("fake_"):
        real = {"account": account, "channel": channel, "token": token, "instance": instance, "client": client}
        if asked := [key for key, value in real.items() if value is not None]:
            raise ValueError(f"{name} runs in this process and takes no account. Got {asked}.")
        site = Local(qiskit_noise.fake_backend(machine), chosen, given)
    else:
        secrets = tuple(s for s in (token,) if s)
        client = client or _connected(account, channel, token, instance, secrets)
        settled = checks.real("settled", settled, 0.0)
        site = Account(client, _OWN + machine, instance, chosen, given, max_time, settled, secrets, account=account)
    _checked(site, name, wires, layout)
    return IBMService(name, site, layout, optimization_level, seed_transpiler, given)


def _connected(
    account: str | None, channel: str | None, token: str | None, instance: str | None, secrets: tuple[str, ...]
) -> Any:
    asked = {"name": account, "channel": channel, "token": token, "instance": instance}
    kind: Callable[..., Any] = qiskit_packages.client().QiskitRuntimeService
    return ibm_faults.attempt(lambda: kind(**{k: v for k, v in asked.items() if v is not None}), secrets=secrets)


def _checked(site: Site, name: str, wires: int | None, layout: Sequence[int] | None) -> None:
    most = site.limits.wires or 0
    if wires is not None:
        checks.integer("wires", wires, minimum=1, maximum=most, hint=f"{name} has {most} qubits.")
    if layout is None:
        return
    qubits = [checks.integer("layout", q, minimum=0, maximum=most - 1) for q in layout]
    if len(set(qubits)) != len(qubits) or (wires is not None and len(qubits) != wires):
        raise ValueError(f"layout must name one qubit of {name} for each wire, none of them twice. Got {list(layout)}.")
