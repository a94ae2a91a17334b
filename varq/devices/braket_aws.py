"""Quantum tasks on AWS: created under client tokens of their own, found again by their tags, read from S3."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from varq.devices.braket_circuits import Task, numbered, ranges
from varq.devices.braket_faults import translated, without_secrets
from varq.devices.braket_results import read_task
from varq.devices.faults import DeviceError, ExpiredError, PartialError, PermanentError
from varq.devices.service import Bits, Circuit, JobResult, JobStatus, Limits
from varq.devices.settling import Settling
from varq.devices.standing import age

__all__ = ["STATUSES", "AwsMachine", "together"]

STATUSES = {
    "CREATED": JobStatus.CREATED,
    "QUEUED": JobStatus.QUEUED,
    "RUNNING": JobStatus.RUNNING,
    "CANCELLING": JobStatus.CANCELLING,
    "COMPLETED": JobStatus.DONE,
    "FAILED": JobStatus.FAILED,
    "CANCELLED": JobStatus.CANCELLED,
}
"""What the states of a quantum task mean."""

FRESH = 60.0  # seconds in which AWS may not yet find everywhere what it has just created
STEP = 5.0  # most seconds between two looks for a task
LONGEST = 240  # letters of a tag's value, of which AWS allows 256
TAG, PART, WIRES, ORDER = "varq", "varq-part", "varq-wires", "varq-order"


def together(states: Sequence[JobStatus]) -> JobStatus:
    """The status of a job of several tasks: final once all are, and then the worst of them."""
    for status in (JobStatus.CANCELLING, JobStatus.RUNNING):
        if status in states:
            return status
    waiting = [status for status in states if not status.final]
    if waiting:
        return JobStatus.RUNNING if len(waiting) < len(states) else max(waiting, key=list(JobStatus).index)
    return next((s for s in (JobStatus.FAILED, JobStatus.CANCELLED) if s in states), JobStatus.DONE)


class AwsMachine:
    """Creates quantum tasks for one device, asks after them, and reads their results.

    Not run on hardware: the tests drive the vendor's own clients against a stand-in for its servers.

    Each task is created under a client token made from the job's tag and the task's number, and marked with both.  AWS
    answers a repeated creation under the same token with the task that is there, so a job may safely be sent again
    under its tag, with the same circuits, when an answer was lost.  How long AWS remembers a token is not published;
    `find` looks for the marks, which stay, until AWS surely lists them.  The token is no reason to look only once: what
    is taken for not received may go out under another tag, when the next tries to send it fail.

    Args:
        name: of the device.
        arn: of the device.
        sdk: the SDK's names.
        connect: opens an `AwsSession`; called again by `open` after credentials have expired.
        s3: bucket and prefix for results; None for the SDK's default bucket, which it creates where absent.
        settled: seconds after which AWS surely lists a task that it has created.
        clock: seconds that only grow.
        sleep: waits so many seconds.
    """

    paid = True
    seeded = False

    def __init__(
        self,
        name: str,
        arn: str,
        sdk: Any,
        connect: Callable[[], Any],
        s3: tuple[str, str] | None = None,
        settled: float = FRESH,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._name = name
        self._arn = arn
        self._sdk = sdk
        self._connect = connect
        self._s3 = s3
        self._clock = clock
        self._settling = Settling(settled, STEP, clock, sleep)
        self._sent: dict[str, float] = {}
        self._expired = False
        device = self._sign_in()
        if device.properties is None:
            raise PermanentError(f"{name}: the installed amazon-braket-sdk cannot read what the device says of itself.")
        actions: dict[str, Any] = {str(getattr(k, "value", k)): a for k, a in device.properties.action.items()}
        if "braket.ir.openqasm.program" not in actions:
            raise PermanentError(f"{name}: the device must run OpenQASM programs. It takes only {sorted(actions)}.")
        self.operations = frozenset(
            str(operation).casefold() for operation in actions["braket.ir.openqasm.program"].supportedOperations
        )
        sets = actions.get("braket.ir.openqasm.program_set")
        self.grouped = sets is not None
        self.limits = _limits(device.properties, sets)

    def _device(self) -> Any:
        with self._calling():
            return self._sdk.AwsDevice(self._arn, aws_session=self._connect())

    def _sign_in(self) -> Any:
        """Open the device with the credentials of now; returns it."""
        device = self._device()
        self._session: Any = device.aws_session
        self._expired = False
        self._payer = self._identity()  # which may find that these have expired too
        return device

    @contextmanager
    def _calling(self, sending: bool = False, arn: str = "") -> Iterator[None]:
        """A block in which the SDK is called: its exceptions are translated, and an end of the credentials is noted."""
        fresh = arn in self._sent and self._clock() - self._sent[arn] < FRESH
        try:
            with translated(self._name, sending, fresh):
                yield
        except ExpiredError:
            self._expired = True
            raise

    def standing(self) -> dict[str, str | None]:
        """Tasks of normal priority that wait, and when the device last renewed what it says of itself."""
        with self._calling():
            device = self._device()
            told = device.aws_session.get_device(self._arn).get("deviceQueueInfo") or ()
        tasks = {q.get("queuePriority"): q.get("queueSize") for q in told if q.get("queue") == "QUANTUM_TASKS_QUEUE"}
        size = tasks.get("Normal")
        renewed = getattr(device.properties.service, "updatedAt", None)
        return {"queue": None if size is None else f"{size} tasks", "calibrated": age(renewed)}

    def payer(self) -> str | None:
        """The number of the AWS account, and the region; None where AWS did not tell it on signing in."""
        return self._payer

    def _identity(self) -> str | None:
        """Whose credentials these are: a profile, or keys in the environment, may be another account's tomorrow."""
        try:
            with self._calling():
                return f"account {self._session.account_id}, region {self._session.region}"
        except DeviceError:  # a network may lead to Braket alone, and whatever else is wrong ends the next call too
            return None

    def open(self) -> None:
        """Sign in anew if the credentials have expired."""
        if self._expired:
            self._sign_in()

    def send(self, tasks: tuple[Task, ...], circuits: tuple[Circuit, ...], tag: str) -> str:
        """Create the tasks, in order; the job's id is their ARNs, a space between two."""
        requests = [self._request(task, tag, part, len(tasks)) for part, task in enumerate(tasks)]
        arns: list[str] = []
        for request in requests:
            try:
                with self._settling.attempt(tag), self._calling(sending=True):
                    arns.append(str(self._session.create_quantum_task(**request)))
            except DeviceError as error:
                if not arns:
                    raise
                raise PartialError(
                    f"{error} {len(arns)} of {len(requests)} tasks of the job were created before that. Send it again "
                    "under the same tag: AWS gives back the tasks that are there."
                ) from None
            self._sent[arns[-1]] = self._clock()
        return " ".join(arns)

    def _request(self, task: Task, tag: str, part: int, parts: int) -> dict[str, Any]:
        with self._calling():
            if self._s3 is None:
                self._s3 = (str(self._session.default_bucket()), "tasks")
            action = self._action(task)
        order = _chunks(ranges(task.order))
        marks = {TAG: _digest(tag), PART: f"{part}/{parts}", WIRES: str(task.wires)}
        return {
            "clientToken": _digest(f"{tag}:{part}/{parts}"),
            "deviceArn": self._arn,
            "shots": task.shots * len(task.order),
            "outputS3Bucket": self._s3[0],
            "outputS3KeyPrefix": self._s3[1],
            "action": action,
            "tags": marks | {f"{ORDER}{index}": chunk for index, chunk in enumerate(order)},
        }

    def _action(self, task: Task) -> str:
        """What is to be run, as JSON; a lone circuit is a plain program, which every device takes."""
        sdk = self._sdk
        if len(task.order) == 1:
            ((program, inputs),) = task.programs
            numbers = {name: column[0] for name, column in (program.columns(inputs) or {}).items()}
            return str(sdk.Program(source=program.source, inputs=numbers or None).json())
        programs = [sdk.Program(source=p.source, inputs=p.columns(inputs)) for p, inputs in task.programs]
        return str(sdk.ProgramSet(programs, task.shots).to_ir().json())

    def expect(self, tags: Collection[str]) -> None:
        """From now on AWS has the time until it lists them."""
        self._settling.expect(tags)

    def find(self, tag: str) -> str | None:
        """The job whose tasks carry the tag; None if there surely is none.

        A task may be listed some seconds after it was created, and is looked for again until then.

        Raises:
            PartialError: if some of its tasks are there and some are not.
        """
        found, parts = self._settling.look(tag, lambda: self._marked(tag), _whole)
        if len(found) < parts:
            raise PartialError(
                f"{self._name}: {len(found)} of {parts} tasks of the job are on AWS. Send it again under the same tag "
                f"to add the others, or cancel {', '.join(found.values())} and settle the job as lost."
            )
        return " ".join(found[part] for part in sorted(found)) or None

    def _marked(self, tag: str) -> tuple[dict[int, str], int]:
        """The tasks that carry the tag, by their number, and how many the job has; 0 if none is listed."""
        parts, found = 0, {}
        for task in self._tasks():
            if task.get("tags", {}).get(TAG) == _digest(tag):
                part, parts = (int(number) for number in task["tags"][PART].split("/"))
                found[part] = str(task["quantumTaskArn"])
        return found, parts

    def _tasks(self) -> list[dict[str, Any]]:
        """All tasks of this account on the device, as AWS lists them."""
        with self._calling():
            pages = self._session.braket_client.get_paginator("search_quantum_tasks").paginate(
                filters=[{"name": "deviceArn", "operator": "EQUAL", "values": [self._arn]}]
            )
            return [task for page in pages for task in page["quantumTasks"]]

    def _metadata(self, arn: str) -> dict[str, Any]:
        """What AWS says of a task: asked of the client itself, as the SDK's session would wait, repeat and log."""
        with self._calling(arn=arn):
            return dict(self._session.braket_client.get_quantum_task(quantumTaskArn=arn))

    def tagged(self, job: str, tag: str) -> bool | None:
        """Whether these are all tasks that were created under a tag."""
        tags = [self._metadata(arn).get("tags", {}) for arn in job.split()]
        parts = {f"{part}/{len(tags)}" for part in range(len(tags))}
        return all(one.get(TAG) == _digest(tag) for one in tags) and parts == {one[PART] for one in tags}

    def status(self, job: str) -> JobStatus:
        """Of all tasks together."""
        return together([STATUSES[self._metadata(arn)["status"]] for arn in job.split()])

    def cancel(self, job: str) -> bool:
        """Ask to cancel every task that has not ended; returns whether there was one."""
        asked = False
        for arn in job.split():
            if STATUSES[self._metadata(arn)["status"]].final:
                continue
            try:
                with self._calling(arn=arn):
                    self._session.cancel_quantum_task(arn)
                asked = True
            except PermanentError:
                if not STATUSES[self._metadata(arn)["status"]].final:  # else it ended in between
                    raise
        return asked

    def result(self, job: str) -> JobResult:
        """Read from S3.

        Raises:
            GoneError: if the task or its result was deleted.
            PermanentError: if a task failed; the text has AWS's reason.
        """
        bits: dict[int, Bits] = {}
        seconds: list[float | None] = []
        details: list[object] = []
        for arn in job.split():
            metadata = self._metadata(arn)
            order, wires = self._order(arn, metadata)
            with self._calling(arn=arn):
                place = (metadata["outputS3Bucket"], metadata["outputS3Directory"])
                shots = int(metadata["shots"]) // len(order)
                result = read_task(self._fetched, *place, [wires] * len(order), shots)
            bits.update(zip(order, result.bits, strict=True))
            seconds.append(result.seconds)
            times = {key: metadata[key].isoformat() for key in ("createdAt", "endedAt") if key in metadata}
            details.append({"arn": arn, "shots": int(metadata["shots"])} | times)
        if sorted(bits) != list(range(len(bits))):
            raise PermanentError(
                f"{self._name}: tasks of the job {job} are missing. Give the id that `submit` returned."
            )
        told = [second for second in seconds if second is not None]
        busy = sum(told) if len(told) == len(seconds) else None
        return JobResult(tuple(bits[index] for index in range(len(bits))), busy, details={"tasks": details})

    def _fetched(self, bucket: str, key: str) -> Any:
        return self._sdk.Schema.parse_raw_schema(self._session.retrieve_s3_object_body(bucket, key))

    def _order(self, arn: str, metadata: dict[str, Any]) -> tuple[list[int], int]:
        """Which circuits of the job the task ran, and how many wires each measured, as its tags say."""
        state = STATUSES[metadata["status"]]
        if state is not JobStatus.DONE:
            reason = without_secrets(str(metadata.get("failureReason", "no reason was given")))
            raise PermanentError(f"{self._name}: the task {arn} is {state} and has no result: {reason}.")
        tags = metadata.get("tags", {})
        keys = [f"{ORDER}{index}" for index in range(len(tags)) if f"{ORDER}{index}" in tags]
        if not keys or WIRES not in tags:
            raise PermanentError(f"{self._name}: the task {arn} has lost the tags that say which circuits it ran.")
        return numbered(" ".join(tags[key] for key in keys)), int(tags[WIRES])


def _whole(marked: tuple[dict[int, str], int]) -> bool:
    """Whether all tasks of a job are among those that carry its tag."""
    found, parts = marked
    return len(found) >= max(1, parts)


def _limits(properties: Any, sets: Any) -> Limits:
    """What a job may hold, as the device says of itself; `sets` is what it says of program sets, if it takes them."""
    shots = int(properties.service.shotsRange[1])
    wires = getattr(properties.paradigm, "qubitCount", None)
    if sets is None:
        return Limits(shots=shots, wires=wires)
    return Limits(int(sets.maximumExecutables), shots, int(sets.maximumTotalShots), wires=wires)


def _digest(text: str) -> str:
    """64 letters, as many as a client token may have."""
    return hashlib.sha256(text.encode()).hexdigest()


def _chunks(text: str) -> list[str]:
    """The text cut at spaces into pieces that fit into a tag."""
    chunks: list[str] = []
    for word in text.split():
        if chunks and len(chunks[-1]) + len(word) < LONGEST:
            chunks[-1] += f" {word}"
        else:
            chunks.append(word)
    return chunks
