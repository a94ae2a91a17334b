"""Amazon Braket as a service: its local simulators and emulator, and devices on AWS, all by one class."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from varq import checks
from varq.devices import braket_sdk
from varq.devices.braket_aws import FRESH, AwsMachine
from varq.devices.braket_circuits import GATES, SMALL, Programs, Task, job_tasks, task_count
from varq.devices.braket_faults import translated
from varq.devices.braket_local import LocalMachine
from varq.devices.faults import PermanentError
from varq.devices.service import Circuit, JobResult, JobStatus, Limits, Mode, Plain, Service

__all__ = ["BraketService", "Machine", "aws_arn", "open_braket"]


class Machine(Protocol):
    """What runs tasks: `varq.devices.braket_local.LocalMachine` or `varq.devices.braket_aws.AwsMachine`."""

    paid: bool
    seeded: bool
    grouped: bool
    limits: Limits

    def open(self) -> None:
        """Sign in, where that is needed."""

    def send(self, tasks: tuple[Task, ...], circuits: tuple[Circuit, ...], tag: str) -> str:
        """Send the tasks of a job."""

    def expect(self, tags: Collection[str]) -> None:
        """Jobs of other processes under these tags are looked for soon."""

    def find(self, tag: str) -> str | None:
        """The job that was sent under a tag."""

    def tagged(self, job: str, tag: str) -> bool | None:
        """Whether these are the tasks of a tag."""

    def payer(self) -> str | None:
        """Whose jobs these are on AWS."""

    def status(self, job: str) -> JobStatus:
        """Where a job stands."""

    def result(self, job: str) -> JobResult:
        """What came back of a job."""

    def cancel(self, job: str) -> bool:
        """Ask to cancel a job."""

    def standing(self) -> dict[str, str | None]:
        """What the machine says of itself now."""


class BraketService(Plain):
    """A `varq.devices.service.Service` on Amazon Braket: one class for this machine and for AWS.

    A job is one quantum task, a program set in which circuits of one structure share a program with inputs, where the
    device takes program sets and all circuits have the same shots.  Otherwise it is several tasks under one id: one for
    each number of shots, and on devices without program sets one for each circuit.

    Devices on AWS: not run on hardware.  A job may be sent again under its tag without being run twice; see
    `varq.devices.braket_aws.AwsMachine`.

    Args:
        name: of the device.
        machine: that runs tasks.
        programs: that translates circuits for it.

    Attributes:
        name: of the device.
        paid: whether jobs cost money.
        limits: of a job.
        mode: always `Mode.JOB`; Braket has no sessions.
        seeded: whether samples follow the seed of each circuit; the machines on AWS take no seed.
        grouped: whether a task may hold many circuits; AWS charges for each task.
    """

    def __init__(self, name: str, machine: Machine, programs: Programs) -> None:
        self.name = name
        self.paid = machine.paid
        self.limits = machine.limits
        self.mode = Mode.JOB
        self.seeded = machine.seeded
        self.grouped = machine.grouped
        self._machine = machine
        self._programs = programs

    def compile(self, circuits: Sequence[Circuit]) -> None:
        """Translate the circuits, keeping a program for each structure.

        Raises:
            PermanentError: for a circuit that the device cannot run.
        """
        self._checked(circuits)
        with translated(self.name):
            for circuit in circuits:
                self._programs.translated(circuit)

    def open(self) -> str | None:
        """Sign in anew if the credentials have expired; Braket has no sessions to open."""
        self._machine.open()
        return None

    def tasks(self, shapes: Sequence[tuple[int, int]]) -> int:
        """How many quantum tasks a job is."""
        return task_count(shapes, self._task_limits)

    def payer(self) -> str | None:
        """The AWS account and the region whose jobs these are; None on a local simulator, and where untold."""
        return self._machine.payer()

    def standing(self) -> dict[str, str | None]:
        """What the machine says of itself now: "queue", tasks that wait, and "calibrated", how long ago; None untold.

        Raises:
            DeviceError: if AWS cannot be asked.
        """
        return self._machine.standing()

    def submit(self, circuits: Sequence[Circuit], tag: str) -> str:
        """Send one job; returns the ARNs of its tasks, a space between two, or the name of a local job.

        A local job has run when this returns.  On AWS a job that is sent again under its tag, with the same circuits,
        is not run twice, and one of which only a part was created is completed.

        Args:
            circuits: of the job.
            tag: names the job; its digest is the client token and a tag of each task.

        Raises:
            UncertainError: if it may have been received.
            PartialError: if a part of it was.
            PermanentError: for circuits that the device cannot run.
        """
        checks.text("tag", tag, hint="Give each job a tag of its own.")
        self._checked(circuits)
        with translated(self.name):
            tasks = job_tasks(circuits, self._programs, self._task_limits)
        return self._machine.send(tasks, tuple(circuits), tag)

    def expect(self, tags: Collection[str]) -> None:
        """On AWS, the time until what earlier processes sent is listed begins now, for all of these tags."""
        self._machine.expect(tags)

    def find(self, tag: str) -> str | None:
        """The id of the job that was sent under `tag`; None if Braket has none.

        Raises:
            PartialError: if only a part of it is there.
        """
        return self._machine.find(checks.text("tag", tag))

    def tagged(self, job: str, tag: str) -> bool | None:
        """Whether these are the tasks that were created under a tag; None for a local job."""
        return self._machine.tagged(checks.text("job", job), tag)

    def status(self, job: str) -> JobStatus:
        """Where the job stands: of several tasks together."""
        return self._machine.status(checks.text("job", job))

    def result(self, job: str) -> JobResult:
        """Its result: bits of each circuit, in the order they were sent.

        Raises:
            GoneError: if it was deleted, or ran locally in another process.
            PermanentError: if it failed.
        """
        return self._machine.result(checks.text("job", job))

    def cancel(self, job: str) -> bool:
        """Ask to cancel it; returns whether it was still possible."""
        return self._machine.cancel(checks.text("job", job))

    def close(self) -> None:
        """Nothing to close: Braket has no sessions."""

    @property
    def _task_limits(self) -> Limits:
        """Tasks run one circuit each where there are no program sets."""
        return self.limits if self.grouped else Limits(circuits=1)

    def _checked(self, circuits: Sequence[Circuit]) -> None:
        if not circuits:
            raise PermanentError(f"{self.name}: a job must hold at least one circuit. Got none.")
        for circuit in circuits:
            for what, most in (("wires", self.limits.wires), ("shots", self.limits.shots)):
                if most is not None and getattr(circuit, what) > most:
                    raise PermanentError(
                        f"{self.name}: a circuit may have at most {most} {what}. Got {getattr(circuit, what)}."
                    )
            if circuit.shots < 1:
                raise PermanentError(f"{self.name}: a circuit must have at least 1 shot. Got {circuit.shots}.")


EMULATED_WIRES = 8  # of the emulator, unless another number is asked for: its density matrix grows by 4 a wire

_AS_SERVICE: Callable[..., Service] = BraketService  # mypy compares the two


def open_braket(name: str, wires: int | None = None, **options: Any) -> BraketService:
    """Open a device of Amazon Braket.

    Args:
        name: one of

            * "braket.local": Braket's state vector simulator, on this machine;
            * "braket.local_dm": its density matrix simulator, with `noise=` (`varq.devices.braket_sdk.noise_model`);
            * "braket.emulator": its emulator of a quantum processor, with `fidelities=` or `properties=`
              (`varq.devices.braket_sdk.emulator`); circuits are put in its native gates, but not routed;
            * "braket.<ARN>" or "braket.<region>/<device>", such as "braket.us-east-1/sv1": a device on AWS, with `s3=`
              (bucket, prefix), `profile=` of the AWS configuration, or `aws_session=`, an `AwsSession` of your own,
              whose client had best make one attempt at a request, as varq's does; `settled=`, the seconds after which
              AWS surely lists a task that it has created.  Not run on hardware.
        wires: that circuits have at most; None for what the device has, and 8 for the emulator.
        options: of the device, as above.

    Raises:
        ModuleNotFoundError: without the extra `braket`.
        ValueError: for an unknown name, too many wires, or a bad option.
        TypeError: for an option that the device does not have.
        DeviceError: if AWS cannot be reached or refuses.
    """
    if wires is not None:
        checks.integer("wires", wires, minimum=1)
    opener, allowed = _OPENERS.get(checks.text("name", name), (_on_aws, ("s3", "profile", "aws_session", "settled")))
    if opener is _on_aws and not name.startswith("braket."):
        checks.choice("device", name, _OPENERS)
    for option in options:
        if option not in allowed:
            listed = ", ".join(allowed) or "none"
            raise TypeError(f"{name} has no option {option!r}. Its options are: {listed}.")
    service: BraketService = opener(name, wires, **options)
    if wires is not None and service.limits.wires is not None and wires > service.limits.wires:
        raise ValueError(f"wires must be at most {service.limits.wires} on {name}. Got {wires}.")
    return service


def _local(name: str, wires: int | None) -> BraketService:
    sdk = braket_sdk.load()
    machine = LocalMachine(name, sdk, braket_sdk.seeded_simulator("braket_sv"))
    return BraketService(name, machine, Programs(sdk, frozenset(GATES.values())))


def _noisy(name: str, wires: int | None, noise: Any = None) -> BraketService:
    sdk = braket_sdk.load()
    if noise is None:
        raise ValueError(f"{name} needs noise, such as noise={{'two_qubit': 0.01}}. Use 'braket.local' without noise.")
    model = braket_sdk.noise_model(noise)
    machine = LocalMachine(name, sdk, braket_sdk.seeded_simulator("braket_dm"))
    return BraketService(name, machine, Programs(sdk, SMALL, finish=model.apply))


def _emulated(name: str, wires: int | None, properties: Any = None, fidelities: Any = None) -> BraketService:
    sdk = braket_sdk.load()
    simulator = braket_sdk.seeded_simulator("braket_dm")
    machine = LocalMachine(name, sdk, simulator)
    wires = EMULATED_WIRES if wires is None else wires
    if machine.limits.wires is not None and wires > machine.limits.wires:
        raise ValueError(f"wires must be at most {machine.limits.wires} on {name}. Got {wires}.")
    emulator, native = braket_sdk.emulator(wires, simulator, properties, fidelities)
    if not {"rx", "rz", "cz"} <= native:
        raise ValueError(f"properties must have the native gates rx, rz and cz. Got {sorted(native)}.")

    def finish(circuit: Any) -> Any:
        """Validated and made noisy as `LocalEmulator.run` does, once for each structure."""
        return sdk.RemoveVerbatim().transform(emulator.transform(circuit))

    return BraketService(name, machine, Programs(sdk, native & {"rx", "ry", "rz", "cz"}, finish, verbatim=True))


def _on_aws(
    name: str,
    wires: int | None,
    s3: Any = None,
    profile: str | None = None,
    aws_session: Any = None,
    settled: float = FRESH,
) -> BraketService:
    sdk = braket_sdk.load()
    arn, region = aws_arn(name, braket_sdk.known_arns())
    if aws_session is not None and profile is not None:
        raise ValueError("profile must not be given with aws_session. Got both. Make the session with the profile.")
    if s3 is not None and (
        not isinstance(s3, (tuple, list)) or len(s3) != 2 or not all(isinstance(p, str) for p in s3)
    ):
        raise ValueError(f"s3 must be the bucket and the prefix of results, two strings. Got {s3!r}.")

    def connect() -> Any:
        if aws_session is not None:
            return aws_session
        # One attempt: botocore's own repeats would hide that an earlier one may have been received.
        config = sdk.config(retries={"total_max_attempts": 1})
        return sdk.AwsSession(boto_session=sdk.boto_session(profile_name=profile, region_name=region), config=config)

    machine = AwsMachine(name, arn, sdk, connect, tuple(s3) if s3 else None, checks.real("settled", settled, 0.0))
    return BraketService(name, machine, Programs(sdk, frozenset(GATES.values()) & machine.operations))


_OPENERS: Mapping[str, tuple[Callable[..., BraketService], tuple[str, ...]]] = MappingProxyType(
    {
        "braket.local": (_local, ()),
        "braket.local_dm": (_noisy, ("noise",)),
        "braket.emulator": (_emulated, ("properties", "fidelities")),
    }
)


def aws_arn(name: str, known: Any) -> tuple[str, str | None]:
    """The ARN and the region that a device name means; the region is None where the AWS configuration decides.

    Args:
        name: "braket.<ARN>", "braket.<region>/<device>" or "braket.<region>/<provider>/<device>".
        known: ARNs that short names are looked for in.

    Raises:
        ValueError: for a name that is none of these, or a device of another region.

    Example:
        >>> aws_arn("braket.eu-north-1/iqm/Garnet", [])
        ('arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet', 'eu-north-1')
    """
    place = name.removeprefix("braket.")
    if place.startswith("arn:"):
        match = re.fullmatch(r"arn:aws[\w-]*:braket:([\w-]*):\d*:device/[\w-]+/[\w-]+/[\w.-]+", place)
        if match is None:
            raise ValueError(f"device must be the ARN of a Braket device. Got {place!r}.")
        return place, match.group(1) or None
    region, _, device = place.partition("/")
    if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", region) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", device):
        raise ValueError(
            "device must be 'braket.local', 'braket.local_dm', 'braket.emulator', 'braket.<ARN>' or "
            f"'braket.<region>/<device>', such as 'braket.us-east-1/sv1'. Got {name!r}."
        )
    if "/" in device:
        return f"arn:aws:braket:{region}::device/qpu/{device}", region
    arns = {arn.rpartition("/")[2].casefold(): arn for arn in known}
    arn = arns.get(checks.choice("device", device.casefold(), arns, hint="Or give its ARN."), "")
    home = arn.split(":")[3]
    if home and home != region:
        raise ValueError(f"{device} is in the region {home}. Got {region!r}. Write 'braket.{home}/{device}'.")
    return arn, region
