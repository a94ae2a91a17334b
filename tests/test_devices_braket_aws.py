"""Braket on AWS: the vendor's clients against a stand-in for its servers; faults told apart."""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from braket_cloud import ACCOUNT, KEY, QPU, REGION, SECRET, SV1, Cloud, refusal
from session_service import AT_ONCE, dispatcher, states, store_of
from test_devices_braket import agrees, circuit, layers, truth

from varq.devices import braket_faults, braket_sdk
from varq.devices.braket import BraketService, open_braket
from varq.devices.braket_aws import FRESH, STATUSES, STEP, AwsMachine, together
from varq.devices.braket_faults import CODES, EXCEPTIONS, explained, without_secrets
from varq.devices.faults import (
    DeviceError,
    ExpiredError,
    GoneError,
    LostError,
    OfflineError,
    PartialError,
    PermanentError,
    TransientError,
    UncertainError,
)
from varq.devices.service import JobStatus
from varq.devices.settling import Settling
from varq.session.tickets import Ticket

pytestmark = [pytest.mark.flagless, pytest.mark.braket]

PLACE = ("bucket", "folder")


def opened(cloud: Cloud, **options: Any) -> BraketService:
    options = {"s3": PLACE, "settled": 0} | options
    return open_braket(f"braket.{cloud.arn}", 4, aws_session=cloud.session(), **options)


def gradient(rows: int = 6, shots: int = 40) -> list[Any]:
    """Circuits of two structures in turn, as two measured groups of a gradient are."""
    angles = np.random.default_rng(0).normal(size=(rows, 4))
    some = []
    for index, row in enumerate(angles):
        some.append(circuit(layers(row), 4, shots=shots, seed=index))
        some.append(circuit([*layers(row), qml.Hadamard(0)], 4, shots=shots, seed=index, structure="x"))
    return some


def marked(wires: int, shots: int = 10) -> list[Any]:
    """Circuits whose results are sure and all different: the binary digits of their place."""
    return [
        circuit([qml.RX(np.pi * int(digit), w) for w, digit in enumerate(f"{i:0{wires}b}")], wires, shots=shots)
        for i in range(2**wires)
    ]


def digits(bits: Any) -> list[int]:
    return [int("".join(map(str, rows[0])), 2) for rows in bits if (rows == rows[0]).all()]


def test_what_the_device_says_of_itself_now() -> None:
    assert opened(Cloud(QPU)).standing() == {"queue": "12 tasks", "calibrated": "2025-02-03"}


def test_jobs_are_those_of_an_account_in_a_region() -> None:
    cloud = Cloud(QPU)
    service = opened(cloud)
    assert service.payer() == f"account {ACCOUNT}, region {REGION}"
    assert open_braket("braket.local").payer() is None
    cloud.account = "999999999999"
    assert opened(cloud).payer() == f"account 999999999999, region {REGION}"
    assert service.payer() == f"account {ACCOUNT}, region {REGION}", "it has signed in as that"


def test_keys_that_expired_may_be_followed_by_those_of_another_account() -> None:
    cloud = Cloud(QPU)
    machine = AwsMachine("braket", QPU, braket_sdk.load(), cloud.session, PLACE)
    cloud.fail("device", refusal("ExpiredTokenException", 403))
    with pytest.raises(ExpiredError, match="Sign in"):
        machine.standing()
    cloud.account = "999999999999"
    assert machine.payer() == f"account {ACCOUNT}, region {REGION}"
    machine.open()
    assert machine.payer() == f"account 999999999999, region {REGION}"


def test_an_account_that_is_not_told_is_no_reason_to_fail() -> None:
    """A private network may lead to Braket and not to the service that says who one is."""
    cloud = Cloud(QPU)
    cloud.fail("identity", refusal("AccessDenied", 403))
    assert opened(cloud).payer() is None


def test_what_the_device_says_of_itself() -> None:
    service = opened(Cloud(QPU, executables=34, total=5000))
    assert service.limits.circuits == 34
    assert service.limits.job_shots == 5000
    assert service.limits.shots == 20000
    assert service.limits.wires == 20
    assert (service.paid, service.seeded, service.grouped) == (True, False, True)
    lone = opened(Cloud(SV1))
    assert (lone.limits.circuits, lone.limits.job_shots, lone.grouped) == (None, None, False)


def test_a_gradient_is_one_program_set() -> None:
    cloud = Cloud()
    service = opened(cloud)
    some = gradient()
    service.compile(some)
    job = service.submit(some, "tag")
    assert cloud.calls.count("create") == 1
    assert len(cloud.tasks) == 1
    assert cloud.tasks[job]["shots"] == 12 * 40
    assert sum(place.endswith("results.json") for place in cloud.objects) == 1 + 2
    assert service.status(job) is JobStatus.DONE
    result = service.result(job)
    assert [bits.shape for bits in result.bits] == [(40, 4)] * 12
    assert (result.seconds, result.cost) == (None, None)
    assert result.details == {
        "tasks": [
            {
                "arn": job,
                "shots": 480,
                "createdAt": "2026-01-01T00:00:00+00:00",
                "endedAt": "2026-01-01T00:00:05+00:00",
            }
        ]
    }


@pytest.mark.parametrize("arn", [QPU, SV1])
@pytest.mark.parametrize("inline", [False, True])
def test_results_come_back_in_the_order_of_the_circuits(arn: str, inline: bool) -> None:
    cloud = Cloud(arn)
    cloud.inline = inline
    service = opened(cloud)
    some = marked(3)
    some[2], some[5] = replace(some[2], shots=20), replace(some[5], shots=20)
    result = service.result(service.submit(some, "tag"))
    assert digits(result.bits) == list(range(8))
    assert [len(bits) for bits in result.bits] == [one.shots for one in some]


def test_samples_follow_the_probabilities() -> None:
    service = opened(Cloud())
    some = gradient(rows=2, shots=3000)
    for one, bits in zip(some, service.result(service.submit(some, "tag")).bits, strict=True):
        assert agrees(bits, truth(one.tape.operations, 4))


def test_counts_serve_where_a_device_gives_no_single_shots() -> None:
    cloud = Cloud()
    cloud.probabilities = True
    service = opened(cloud)
    assert digits(service.result(service.submit(marked(2), "tag")).bits) == [0, 1, 2, 3]


def test_jobs_are_split_at_the_device_s_limits() -> None:
    cloud = Cloud(executables=3)
    service = opened(cloud)
    job = service.submit(marked(3), "tag")
    assert [cloud.tasks[arn]["shots"] for arn in job.split()] == [30, 30, 20]
    assert digits(service.result(job).bits) == list(range(8))
    few = Cloud(total=45)
    service = opened(few)
    assert digits(service.result(service.submit(marked(3), "tag")).bits) == list(range(8))
    assert len(few.tasks) == 2


def test_without_program_sets_each_circuit_is_a_task() -> None:
    cloud = Cloud(SV1)
    service = opened(cloud)
    job = service.submit(marked(2), "tag")
    assert len(job.split()) == len(cloud.tasks) == 4
    result = service.result(job)
    assert digits(result.bits) == [0, 1, 2, 3]
    assert result.seconds == pytest.approx(4 * 0.25)


@pytest.mark.parametrize("cloud", [Cloud(), Cloud(executables=3), Cloud(total=45), Cloud(SV1)])
def test_the_tasks_that_are_charged_for_are_those_that_are_created(cloud: Cloud) -> None:
    service = opened(cloud)
    some = marked(3)
    some[2], some[5] = replace(some[2], shots=20), replace(some[5], shots=20)
    some += [circuit([qml.X(0)], 2, shots=10)]
    service.submit(some, "tag")
    assert service.tasks([(one.shots, one.wires) for one in some]) == len(cloud.tasks)


def test_many_circuits_find_their_way_back_through_the_tags() -> None:
    """An order so broken that it needs several tags: two structures in turn."""
    cloud = Cloud(executables=1000, total=10**6)
    service = opened(cloud)
    some = [
        circuit([qml.RX(np.pi * (i % 3 == 0), 0), *([qml.CNOT([0, 1])] if i % 2 else [])], 2, shots=1)
        for i in range(300)
    ]
    job = service.submit(some, "tag")
    assert "varq-order1" in cloud.tasks[job]["tags"]
    assert all(len(value) <= 256 for value in cloud.tasks[job]["tags"].values())
    bits = service.result(job).bits
    assert [rows[0].tolist() for rows in bits] == [[int(i % 3 == 0), int(i % 3 == 0 and i % 2)] for i in range(300)]


def test_another_process_reads_the_result() -> None:
    cloud = Cloud(executables=3)
    job = opened(cloud).submit(marked(2), "tag")
    later = opened(cloud)
    assert later.find("tag") == job
    assert later.status(job) is JobStatus.DONE
    assert digits(later.result(job).bits) == [0, 1, 2, 3]
    assert later.find("another") is None
    assert later.tagged(job, "tag")
    assert not later.tagged(job, "another")
    assert not later.tagged(job.split()[0], "tag"), "a part of the job"


def test_a_lost_answer_is_uncertain_and_sending_again_runs_nothing_twice() -> None:
    from botocore.exceptions import ReadTimeoutError

    cloud = Cloud()
    service = opened(cloud)
    cloud.fail("create", lambda: ReadTimeoutError(endpoint_url="https://x"), after=True)
    with pytest.raises(UncertainError, match=r"ReadTimeoutError.*look for it by its tag"):
        service.submit(marked(2), "tag")
    assert cloud.calls.count("create") == 1
    assert len(cloud.tasks) == 1
    found = service.find("tag")
    assert found is not None
    assert service.submit(marked(2), "tag") == found
    assert opened(cloud).submit(marked(2), "tag") == found
    assert len(cloud.tasks) == 1


def test_the_request_is_the_same_in_every_process(tmp_path: Path) -> None:
    """A token that comes with another request is refused: nothing may depend on the order of a set."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "import test_devices_braket_aws as t\n"
        "cloud = t.Cloud(); t.opened(cloud).submit(t.gradient(2), 'tag')\n"
        "import hashlib; print(hashlib.sha256(repr(cloud.tokens).encode()).hexdigest())\n"
    )
    here = Path(__file__).resolve().parent
    said = set()
    for seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": seed, "PATH": "", "HOME": str(tmp_path)}
        command = [sys.executable, "-c", code, str(here), str(here.parent)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)
        assert done.returncode == 0, done.stderr[-2000:]
        said.add(done.stdout)
    assert len(said) == 1


def test_a_tag_that_comes_with_other_circuits_is_refused() -> None:
    service = opened(Cloud())
    service.submit(marked(2), "tag")
    with pytest.raises(PermanentError, match="the token has another request"):
        service.submit(marked(2)[::-1], "tag")


def test_a_job_that_was_sent_in_part_is_completed() -> None:
    cloud = Cloud(SV1)
    service = opened(cloud)
    session_fails = refusal("ThrottlingException", 429)
    service.submit(marked(1), "another")
    before = len(cloud.tasks)
    real = cloud._create
    count = iter(range(100))
    cloud._create = lambda path, body: session_fails() if next(count) == 2 else real(path, body)  # type: ignore[method-assign]
    with pytest.raises(PartialError, match=r"ThrottlingException.*2 of 4 tasks.*again under the same tag"):
        service.submit(marked(2), "tag")
    assert len(cloud.tasks) - before == 2
    with pytest.raises(PartialError, match=r"2 of 4 tasks of the job are on AWS.*or cancel arn:aws:braket.*as lost"):
        service.find("tag")
    job = service.submit(marked(2), "tag")
    assert len(cloud.tasks) - before == 4
    assert service.find("tag") == job
    assert digits(service.result(job).bits) == [0, 1, 2, 3]


def late(lag: float = 20.0) -> tuple[Cloud, list[float], Callable[[], BraketService]]:
    """A cloud that lists a task so many seconds after it was created, its time, and what opens its device."""
    cloud, now = Cloud(), [1000.0]
    cloud.lag, cloud.clock = lag, lambda: now[0]

    def service() -> BraketService:
        made = opened(cloud)
        machine = made._machine
        assert isinstance(machine, AwsMachine)
        machine._settling = Settling(FRESH, STEP, cloud.clock, lambda s: now.__setitem__(0, now[0] + s))
        return made

    return cloud, now, service


def test_what_an_earlier_process_sent_is_looked_for_until_it_is_listed() -> None:
    _, now, service = late()
    first, later = service(), service()
    now[0] += 10 * FRESH
    job, began = first.submit(marked(2), "tag"), now[0]
    assert later.find("tag") == job, "opened long ago, and looking for the first time"
    assert now == [began + 20.0]
    assert later.find("another") is None
    assert now == [began + 20.0 + FRESH]
    assert later.find("another") is None
    assert now == [began + 20.0 + FRESH]


def test_what_an_earlier_process_sent_has_one_time_to_be_listed() -> None:
    _, now, service = late()
    tags = [f"tag {k}" for k in range(10)]
    later, began = service(), now[0]
    later.expect(tags)
    assert [later.find(tag) for tag in tags] == [None] * len(tags)
    assert now == [began + FRESH]


def refuses(cloud: Cloud, tries: int) -> None:
    from botocore.exceptions import ConnectTimeoutError

    for _ in range(tries):
        cloud.fail("create", lambda: ConnectTimeoutError(endpoint_url="https://x"))


def test_a_job_whose_answer_was_lost_is_found_before_the_next_tries_fail() -> None:
    """Else it would be taken for one that was never received, and its circuits sent under another tag."""
    from botocore.exceptions import ReadTimeoutError

    cloud, now, service = late()
    cloud.fail("create", lambda: ReadTimeoutError(endpoint_url="https://x"), after=True)
    refuses(cloud, AT_ONCE.attempts)
    store = store_of()
    sender = dispatcher(service(), store)
    ticket = sender.add(("run", 0, "step"), marked(2))
    assert isinstance(ticket, Ticket)
    assert sender.turn()
    assert digits(ticket.outcome()) == [0, 1, 2, 3]
    assert (states(store), len(cloud.tasks), now) == (["done"], 1, [1020.0])


def test_a_job_that_surely_was_not_received_is_sent_again() -> None:
    from botocore.exceptions import ReadTimeoutError

    cloud, now, service = late()
    cloud.fail("create", lambda: ReadTimeoutError(endpoint_url="https://x"))
    refuses(cloud, 1)
    store = store_of()
    sender = dispatcher(service(), store)
    ticket = sender.add(("run", 0, "step"), marked(2))
    assert isinstance(ticket, Ticket)
    assert sender.turn()
    assert digits(ticket.outcome()) == [0, 1, 2, 3]
    assert (states(store), len(cloud.tasks), now) == (["done"], 1, [1000.0 + FRESH])


def test_a_job_that_was_out_at_an_interrupt_is_found_by_the_process_that_sent_it() -> None:
    cloud, now, service = late()
    store = store_of()
    sender = dispatcher(service(), store)
    ticket = sender.add(("run", 0, "step"), marked(2))
    assert isinstance(ticket, Ticket)
    cloud.fail("create", KeyboardInterrupt, after=True)
    with pytest.raises(KeyboardInterrupt):
        sender.turn()
    assert states(store) == ["written"]
    sender.again(ticket)
    assert digits(ticket.outcome()) == [0, 1, 2, 3]
    assert (states(store), len(cloud.tasks), now) == (["done"], 1, [1020.0])


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ThrottlingException", 429, TransientError),
        ("DeviceOfflineException", 424, OfflineError),
        ("InternalServiceException", 500, UncertainError),
        ("SomethingNew", 503, UncertainError),
        ("SomethingNew", 418, PermanentError),
        ("DeviceRetiredException", 410, LostError),
        ("ValidationException", 400, PermanentError),
        ("AccessDeniedException", 403, PermanentError),
        ("ServiceQuotaExceededException", 402, PermanentError),
        ("ConflictException", 409, PermanentError),
    ],
)
def test_refusals_of_a_job(code: str, status: int, kind: type[DeviceError]) -> None:
    cloud = Cloud()
    service = opened(cloud)
    cloud.fail("create", refusal(code, status, "because"))
    with pytest.raises(DeviceError, match=rf"braket\.arn.*{code}: because\.") as caught:
        service.submit(marked(1), "tag")
    assert type(caught.value) is kind
    assert cloud.calls.count("create") == 1
    assert not cloud.tasks


def test_asking_may_be_repeated_after_a_server_s_error() -> None:
    cloud = Cloud()
    service = opened(cloud)
    job = service.submit(marked(1), "tag")
    for call, ask in [("ask", service.status), ("read", service.result), ("search", lambda job: service.find("tag"))]:
        cloud.fail(call, refusal("InternalServiceException", 500))
        with pytest.raises(TransientError, match=r"braket\.arn.*(InternalServiceException|500).*Try again later"):
            ask(job)
        assert ask(job) is not None


def test_a_task_made_just_now_may_not_be_known_yet() -> None:
    cloud = Cloud()
    service = opened(cloud)
    job = service.submit(marked(1), "tag")
    cloud.fail("ask", refusal("ResourceNotFoundException", 404))
    with pytest.raises(TransientError, match="ResourceNotFoundException"):
        service.status(job)
    assert service.status(job) is JobStatus.DONE
    cloud.tasks.clear()
    with pytest.raises(GoneError, match=r"ResourceNotFoundException.*deleted"):
        opened(cloud).status(job)


def test_a_deleted_result_is_gone() -> None:
    cloud = Cloud()
    service = opened(cloud)
    job = service.submit(marked(1), "tag")
    cloud.objects.clear()
    with pytest.raises(GoneError, match=r"NoSuchKey.*deleted from its S3 bucket"):
        service.result(job)


def test_expired_credentials_are_read_again() -> None:
    cloud = Cloud()
    service = opened(cloud)
    cloud.fail("create", refusal("ExpiredTokenException", 403))
    with pytest.raises(ExpiredError, match="ExpiredTokenException.*Sign in"):  # noqa: RUF043
        service.submit(marked(1), "tag")
    devices = cloud.calls.count("device")
    assert service.open() is None
    assert cloud.calls.count("device") == devices + 1
    assert service.open() is None
    assert cloud.calls.count("device") == devices + 1
    assert service.status(service.submit(marked(1), "tag")) is JobStatus.DONE


@pytest.mark.parametrize("state", sorted(STATUSES))
def test_states_of_a_task(state: str) -> None:
    cloud = Cloud()
    cloud.state = state
    service = opened(cloud)
    job = service.submit(marked(1), "tag")
    assert service.status(job) is STATUSES[state]
    final = STATUSES[state].final
    assert service.cancel(job) is not final
    assert cloud.calls.count("cancel") == (not final)
    if state != "COMPLETED":
        with pytest.raises(PermanentError, match=r"and has no result"):
            service.result(job)


def test_every_state_of_the_service_has_a_meaning() -> None:
    import botocore.session

    model = botocore.session.get_session().get_service_model("braket")
    assert set(model.shape_for("QuantumTaskStatus").enum) == set(STATUSES)
    errors = {shape.name for shape in model.error_shapes}
    assert errors - set(CODES) <= {"InternalServiceException"} | {e for e in errors if e.startswith("Job")}


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ("DONE DONE", "DONE"),
        ("DONE FAILED", "FAILED"),
        ("DONE CANCELLED", "CANCELLED"),
        ("CANCELLED FAILED", "FAILED"),
        ("QUEUED QUEUED", "QUEUED"),
        ("CREATED QUEUED", "QUEUED"),
        ("CREATED CREATED", "CREATED"),
        ("DONE QUEUED", "RUNNING"),
        ("FAILED RUNNING", "RUNNING"),
        ("QUEUED RUNNING", "RUNNING"),
        ("CANCELLING RUNNING", "CANCELLING"),
    ],
)
def test_the_status_of_several_tasks(states: str, status: str) -> None:
    assert together([JobStatus[state] for state in states.split()]) is JobStatus[status]


def test_the_reason_of_a_failure_is_told() -> None:
    cloud = Cloud()
    cloud.state = "FAILED"
    service = opened(cloud)
    job = service.submit(marked(1), "tag")
    cloud.tasks[job]["failureReason"] = "the ions left"
    with pytest.raises(PermanentError, match=r"is failed and has no result: the ions left\."):
        service.result(job)


def test_a_circuit_that_failed_alone_is_told() -> None:
    cloud = Cloud()
    service = opened(cloud)
    job = service.submit(marked(2), "tag")
    place = next(place for place in cloud.objects if place.endswith("/2.json"))
    cloud.objects[place] = (
        '{"braketSchemaHeader": {"name": "braket.task_result.program_set_executable_failure", "version": "1"},'
        '"inputsIndex": 2, "failureMetadata": {"failureReason": "too hot", "retryable": true, "category": "DEVICE"}}'
    )
    with pytest.raises(PermanentError, match=r"braket\.arn.*1 of 4 circuits have no result.*too hot"):
        service.result(job)


def test_lost_tags_and_tasks_are_told() -> None:
    cloud = Cloud(SV1)
    service = opened(cloud)
    job = service.submit(marked(1), "tag")
    with pytest.raises(PermanentError, match="tasks of the job .* are missing"):  # noqa: RUF043
        service.result(job.split()[1])
    for task in cloud.tasks.values():
        task["tags"] = {}
    with pytest.raises(PermanentError, match="has lost the tags"):
        service.result(job)


def test_the_default_bucket_is_the_sdk_s() -> None:
    cloud = Cloud()
    service = opened(cloud, s3=None)
    job = service.submit(marked(1), "tag")
    assert cloud.tasks[job]["outputS3Bucket"] == f"amazon-braket-{REGION}-123456789012"
    assert digits(service.result(job).bits) == [0, 1]


def test_circuits_are_written_in_the_device_s_own_gates() -> None:
    cloud = Cloud(SV1)
    service = opened(cloud)
    some = [circuit([qml.SWAP([0, 1]), qml.IsingZZ(0.3, [0, 1]), qml.PauliX(0), qml.S(1), qml.CZ([0, 1])], 2)]
    job = service.submit(some, "tag")
    (_, said) = next(iter(cloud.tokens.values()))
    assert not [gate for gate in ("swap", "zz(", "\\nx ", "\\ns ", "cz") if gate in said]
    assert service.result(job).bits[0][:, 0].all()


def test_shots_beyond_the_device_are_refused() -> None:
    cloud = Cloud()
    with pytest.raises(PermanentError, match=r"at most 20000 shots\. Got 20001"):
        opened(cloud).submit([circuit([qml.PauliX(0)], 1, shots=20001)], "tag")
    assert "create" not in cloud.calls


def test_a_device_that_is_not_there() -> None:
    cloud = Cloud()
    cloud.fail("device", refusal("ResourceNotFoundException", 404))
    with pytest.raises(PermanentError, match=r"ValueError: .*Garnet' not found"):
        opened(cloud)
    cloud.fail("device", refusal("AccessDeniedException", 403, "not authorized"))
    with pytest.raises(PermanentError, match=r"AccessDeniedException: not authorized\. Check the credentials"):
        opened(cloud)


def test_the_credentials_sign_the_requests_and_are_in_no_error_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    cloud = Cloud()
    service = opened(cloud)
    assert KEY in str(cloud.credentials[0])
    caplog.set_level("INFO")
    quoted = f"The Canonical String: x-amz-security-token:{SECRET} AWS4-HMAC-SHA256 Credential={KEY}/2026"
    for code in ("InvalidSignatureException", "UnrecognizedClientException", "ValidationException", "SomethingNew"):
        cloud.fail("create", refusal(code, 400, quoted))
        with pytest.raises(PermanentError, match=code) as caught:
            service.submit(marked(1), "tag")
        shown = "".join(traceback.format_exception(caught.value))
        assert SECRET not in shown
        assert KEY not in shown
        cloud.fail("ask", refusal(code, 400, quoted))
        with pytest.raises(PermanentError, match=code):
            service.status(f"arn:aws:braket:{REGION}:123456789012:quantum-task/0")
    assert SECRET not in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"key {KEY} is bad", "key (left out) is bad"),
        (f"aws_secret_access_key={SECRET}", "(left out)"),
        ("x-amz-security-token: abc/def", "(left out)"),
        (f"task arn:aws:braket:{REGION}:123456789012:quantum-task/00000000-0000-4000-8000-000000000000 ended",) * 2,
        ("nothing secret.", "nothing secret"),
        ("a " * 400, ("a " * 250).rstrip()),
    ],
)
def test_secrets_are_left_out(text: str, left: str) -> None:
    assert without_secrets(text) == left


def client_error(code: str, status: int = 400) -> Callable[[], BaseException]:
    def made() -> BaseException:
        from botocore.exceptions import ClientError

        said = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
        return ClientError(said, "CreateQuantumTask")

    return made


def botocore_error(name: str, **fields: Any) -> Callable[[], BaseException]:
    def made() -> BaseException:
        import botocore.exceptions

        error: BaseException = getattr(botocore.exceptions, name)(**fields)
        return error

    return made


WHERE = {"endpoint_url": "https://braket", "error": "e"}
FAULTS: list[tuple[Callable[[], BaseException], type[DeviceError], type[DeviceError]]] = [
    (client_error("ThrottlingException", 429), TransientError, TransientError),
    (client_error("DeviceOfflineException", 424), OfflineError, OfflineError),
    (client_error("InternalServiceException", 500), TransientError, UncertainError),
    (client_error("ServiceUnavailable", 503), TransientError, UncertainError),
    (client_error("NewThrottle", 429), TransientError, TransientError),
    (client_error("ResourceNotFoundException", 404), GoneError, PermanentError),
    (client_error("NoSuchKey", 404), GoneError, GoneError),
    (client_error("NoSuchBucket", 404), GoneError, GoneError),
    (client_error("DeviceRetiredException", 410), LostError, LostError),
    (client_error("ValidationException", 400), PermanentError, PermanentError),
    (client_error("ServiceQuotaExceededException", 402), PermanentError, PermanentError),
    (client_error("ConflictException", 409), PermanentError, PermanentError),
    (client_error("AccessDeniedException", 403), PermanentError, PermanentError),
    (client_error("UnrecognizedClientException", 403), PermanentError, PermanentError),
    (client_error("ExpiredTokenException", 403), ExpiredError, ExpiredError),
    (client_error("RequestExpired", 400), ExpiredError, ExpiredError),
    (botocore_error("NoCredentialsError"), PermanentError, PermanentError),
    (botocore_error("PartialCredentialsError", provider="p", cred_var="v"), PermanentError, PermanentError),
    (botocore_error("NoRegionError"), PermanentError, PermanentError),
    (botocore_error("ProfileNotFound", profile="p"), PermanentError, PermanentError),
    (botocore_error("ParamValidationError", report="r"), PermanentError, PermanentError),
    (botocore_error("CredentialRetrievalError", provider="p", error_msg="m"), ExpiredError, ExpiredError),
    (botocore_error("UnauthorizedSSOTokenError"), ExpiredError, ExpiredError),
    (botocore_error("SSOTokenLoadError", error_msg="m"), ExpiredError, ExpiredError),
    (botocore_error("SSLError", **WHERE), PermanentError, PermanentError),
    (botocore_error("EndpointConnectionError", **WHERE), TransientError, TransientError),
    (botocore_error("ConnectTimeoutError", **WHERE), TransientError, TransientError),
    (botocore_error("ProxyConnectionError", proxy_url="https://proxy"), TransientError, TransientError),
    (botocore_error("ReadTimeoutError", **WHERE), TransientError, UncertainError),
    (botocore_error("ConnectionClosedError", **WHERE), TransientError, UncertainError),
    (botocore_error("HTTPClientError", error="e"), TransientError, UncertainError),
    (botocore_error("IncompleteReadError", actual_bytes=1, expected_bytes=2), TransientError, UncertainError),
    (lambda: ConnectionResetError("reset"), TransientError, UncertainError),
    (lambda: ValueError("the circuit"), PermanentError, UncertainError),
    (lambda: KeyError("quantumTaskArn"), PermanentError, UncertainError),
]


@pytest.mark.parametrize(("made", "asking", "sending"), FAULTS)
def test_faults_are_told_apart(
    made: Callable[[], BaseException], asking: type[DeviceError], sending: type[DeviceError]
) -> None:
    error = made()
    for is_sending, kind in ((False, asking), (True, sending)):
        told = explained(error, sending=is_sending, device="braket.x")
        assert type(told) is kind
        assert str(told).startswith("braket.x: ")
        assert len(str(told).split(". ")) >= 2, "what to do is missing"


def test_a_device_error_stays_as_it_is() -> None:
    own = GoneError("it is gone")
    assert explained(own, sending=True) is own


def test_what_is_fresh_may_appear_yet() -> None:
    assert type(explained(client_error("ResourceNotFoundException", 404)(), fresh=True)) is TransientError


def test_the_first_failure_of_a_program_set_is_told() -> None:
    from botocore.exceptions import ClientError

    said = {"Error": {"Code": "ValidationException", "Message": "m"}, "programSetValidationFailures": [{"why": "q[9]"}]}
    assert "q[9]" in str(explained(ClientError(said, "CreateQuantumTask"), sending=True))


def test_every_exception_of_the_table_exists() -> None:
    import botocore.exceptions

    assert all(hasattr(botocore.exceptions, name) for name in EXCEPTIONS)
    assert all(hasattr(botocore.exceptions, name) or name == "OSError" for name in braket_faults._UNHEARD)
