"""A real account as IBM's own client sees it, against a server in this process: faults, sessions, tags, credentials.

Nothing here was checked on hardware.
"""

from __future__ import annotations

import numpy as np
import pennylane as qml
import pytest
from qiskit_samples import circuit
from session_service import SESSION, dispatcher, states, store_of

from varq.devices import ibm_sites
from varq.devices.faults import (
    DeviceError,
    ExpiredError,
    GoneError,
    PermanentError,
    TransientError,
    UncertainError,
)
from varq.devices.ibm import open_ibm
from varq.devices.ibm_sites import STEP
from varq.devices.prices import price
from varq.devices.service import JobResult, JobStatus, Mode
from varq.devices.settling import Settling
from varq.session.queue import packed
from varq.session.tickets import Ticket
from varq.store.circuit_records import CircuitRow
from varq.store.job_records import JobRecord

pytestmark = [pytest.mark.ibm, pytest.mark.flagless]


def opened(server, **options):
    from ibm_stub import StubService

    return open_ibm("ibm.stub", 3, client=StubService(server), settled=options.pop("settled", 0.0), **options)


@pytest.fixture
def server():
    from ibm_stub import Server

    return Server()


def batch(shots=50):
    def ladder(a, b, n):
        return circuit([qml.RY(a, 0), qml.CNOT([0, 1]), qml.RX(b, 2)], 3, n)

    return [ladder(0, np.pi, shots), circuit([qml.X(1)], 3, shots), ladder(np.pi, 0, shots), ladder(np.pi, np.pi, 9)]


WANT = [[0, 0, 1], [0, 1, 0], [1, 1, 0], [1, 1, 1]]


def check_bits(found):
    for bits, ones, shots in zip(found.bits, WANT, [50, 50, 50, 9], strict=True):
        np.testing.assert_array_equal(bits, np.tile(ones, (shots, 1)))


def shots_of(pub):
    """Of a PUB as it travels: circuit, parameter sets of which each is a circuit of its own, shots."""
    _, values, shots = pub
    return shots * int(np.prod(np.shape(values)[:-1]))


def posts(server, path="/jobs"):
    return [asked for asked in server.asked if asked == ("POST", path)]


def test_what_the_machine_says_of_itself_now(server, monkeypatch):
    import ibm_stub

    service = opened(server)
    assert service.standing() == {"queue": "0 jobs", "calibrated": "2024-05-27"}, "as the snapshot's file says"
    monkeypatch.setattr(
        ibm_stub, "STATUS", {**ibm_stub.STATUS, "length_queue": 7, "state": False, "status": "maintenance"}
    )
    assert service.standing()["queue"] == "7 jobs, maintenance"
    assert open_ibm("ibm.fake_manila").standing() == {"queue": "none", "calibrated": "2024-05-27"}


def test_jobs_are_those_of_an_instance(server):
    from ibm_stub import CRN, StubService

    assert opened(server).payer() == f"instance {CRN}", "the one that the account chose"
    named = open_ibm("ibm.stub", client=StubService(server), account="lab", instance="crn:of:another")
    assert named.payer() == "instance crn:of:another"
    named._site.backend._instance = None
    assert named.payer() == "account lab, instance crn:of:another"
    named._site._names = {}
    assert named.payer() is None
    assert open_ibm("ibm.fake_manila").payer() is None


def test_a_job_from_here_to_there_and_back(server):
    from ibm_stub import MACHINE, SECONDS

    service = opened(server)
    assert service.paid
    assert service.limits.wires == 5
    service.compile(batch())
    assert service.open() is None
    assert posts(server) == posts(server, "/sessions") == []
    job = service.submit(batch(), "tag")
    assert service.status(job) is JobStatus.DONE
    found = service.result(job)
    check_bits(found)
    assert (found.seconds, found.queued, found.cost) == (SECONDS, 10.5, None)
    assert found.details["backend"] == MACHINE
    assert server.jobs[job]["tags"] == ["varq", "tag"]
    assert len(server.jobs[job]["params"]["pubs"]) == 3
    assert service.find("tag") == job
    assert service.find("other") is None


def test_a_job_holds_as_many_shots_as_ibm_documents(server):
    limits = opened(server).limits
    assert limits.job_shots == 10_000_000
    assert [len(job) for job in packed(range(25), [10**6] * 25, limits)] == [10, 10, 5]
    assert open_ibm("ibm.fake_manila").limits.job_shots == limits.job_shots, "what is tried there travels alike"


def test_circuits_beyond_that_travel_in_further_jobs(server, monkeypatch):
    monkeypatch.setattr(ibm_sites, "EXECUTIONS", 120)
    service = opened(server)
    sender = dispatcher(service, store_of())
    ticket = sender.add(("run", 0, "step"), batch())
    while sender.turn():
        pass
    check_bits(JobResult(tuple(ticket.outcome())))
    totals = [sum(shots_of(pub) for pub in job["params"]["pubs"]) for job in server.jobs.values()]
    assert totals == [100, 59]
    assert len(posts(server)) == 2


@pytest.mark.parametrize("keeps", [True, False])
def test_another_process_reads_the_result_by_its_id(server, keeps):
    server.keeps_metadata = keeps
    job = opened(server).submit(batch(), "tag")
    check_bits(opened(server).result(job))


@pytest.mark.parametrize(
    ("fault", "kind", "received"),
    [
        ("503", UncertainError, False),
        ("500", UncertainError, False),
        ("lost", UncertainError, True),
        ("timeout", UncertainError, True),
        ("garbled", UncertainError, True),
        ("refused", TransientError, False),
        ("429", TransientError, False),
        ("400", PermanentError, False),
        ("401", PermanentError, False),
        ("403", PermanentError, False),
    ],
)
def test_a_fault_while_sending_is_told_and_settled_by_the_tag(server, fault, kind, received):
    from ibm_stub import CRN, TOKEN

    server.faults = [fault]
    service = opened(server)
    with pytest.raises(DeviceError, match="IBM") as caught:
        service.submit(batch(), "tag")
    assert type(caught.value) is kind
    assert TOKEN not in str(caught.value)
    assert CRN not in str(caught.value)
    assert caught.value.__context__ is None
    assert len(posts(server)) == 1, "nothing is sent again by itself"
    job = service.find("tag")
    assert (job is not None) is received
    if job is not None:
        check_bits(service.result(job))


def timed(service, settled):
    """The clock of a service, which moves while it waits."""
    now = [100.0]
    service._site._settling = Settling(
        settled, STEP, lambda: now[0], lambda seconds: now.__setitem__(0, now[0] + seconds)
    )
    return now


def test_a_lost_job_is_looked_for_until_it_is_listed(server):
    server.faults, server.hidden_for = ["lost"], 2
    service = opened(server)
    now = timed(service, 3.0)
    with pytest.raises(UncertainError, match="look for it by its tag"):
        service.submit(batch(), "tag")
    assert service.find("tag") == "job0"
    assert now == [102.0]


def test_none_is_said_only_when_a_job_would_be_listed(server):
    service = opened(server)
    now = timed(service, 3.0)
    now[0] += 50.0
    assert service.find("tag") is None
    assert now == [153.0], "another process may have sent it just before"
    assert service.find("tag") is None
    assert now == [153.0]


def test_jobs_of_an_earlier_process_have_one_time_to_be_listed(server):
    service = opened(server)
    now = timed(service, 3.0)
    tags = [f"tag {k}" for k in range(10)]
    service.expect(tags)
    assert [service.find(tag) for tag in tags] == [None] * len(tags)
    assert now == [103.0]
    assert open_ibm("ibm.fake_manila").expect(tags) is None


def test_the_time_until_a_job_is_listed_begins_when_its_sending_has_ended(server, monkeypatch):
    """IBM's client repeats a call by itself for about 15 s, and in those cases above all an answer is lost."""
    server.faults, server.hidden_for = ["lost"], 2
    service = opened(server)
    now, send = timed(service, 10.0), server.send

    def slowly(request, **kwargs):
        now[0] += 15.0 if (request.method, request.path_url) == ("POST", "/jobs") else 0.0
        return send(request, **kwargs)

    monkeypatch.setattr(server, "send", slowly)
    with pytest.raises(UncertainError, match="look for it by its tag"):
        service.submit(batch(), "tag")
    assert now == [115.0]
    assert service.find("tag") == "job0"
    assert now == [117.0]
    assert len(posts(server)) == 1


def test_a_job_that_came_twice_is_kept_once(server):
    server.faults = ["duplicate"]
    service = opened(server)
    service.submit(batch(), "tag")
    for job in server.jobs.values():
        job["status"] = "Queued"
    assert service.find("tag") == "job0"
    assert [job["status"] for job in server.jobs.values()] == ["Queued", "Cancelled"]


def test_a_session_is_opened_by_open_and_not_before(server):
    service = opened(server, mode="session", max_time="1h")
    service.compile(batch())
    assert posts(server, "/sessions") == []
    with pytest.raises(ExpiredError, match="No session is open"):
        service.submit(batch(), "tag")
    assert service.open() is None
    assert service.open() is None
    assert len(posts(server, "/sessions")) == 1
    assert server.sessions["session0"] == {"open": True, "mode": "dedicated", "max": 3600}
    assert server.jobs[service.submit(batch(), "tag")]["session"] == "session0"
    service.close()
    assert not server.sessions["session0"]["open"]
    service.close()


def test_a_batch_is_a_batch(server):
    service = opened(server, mode="batch")
    assert service.open() is None
    assert server.sessions["session0"]["mode"] == "batch"
    assert service.mode is Mode.BATCH


def test_an_open_session_is_metered_as_ibm_says(server):
    service = opened(server, mode="session")
    assert service.metered() is None
    service.open()
    assert service.metered() is None, "before its first job"
    server.elapsed = 17
    assert service.metered() == 17.0
    service.close()
    assert service.metered() is None


@pytest.mark.parametrize("mode", ["job", "batch"])
def test_single_jobs_and_batches_are_metered_by_their_jobs(server, mode):
    service = opened(server, mode=mode)
    server.elapsed = 17
    service.open()
    assert service.metered() is None


def test_an_expired_session_is_opened_again(server):
    service = opened(server, mode="session")
    service.open()
    server.sessions["session0"]["open"] = False
    with pytest.raises(ExpiredError, match="open it again"):
        service.submit(batch(), "tag")
    with pytest.raises(ExpiredError, match="No session is open"):
        service.submit(batch(), "tag")
    assert service.find("tag") is None
    assert service.open() is None
    assert server.jobs[service.submit(batch(), "tag")]["session"] == "session1"


def asked(sender, *angles, owner="run"):
    ticket = sender.add((owner, 0, "step"), [circuit([qml.RX(a * np.pi, 0)], 1, 20) for a in angles])
    assert isinstance(ticket, Ticket)
    return ticket


@pytest.mark.parametrize("end", ["Cancelled", "Failed"])
def test_what_still_waited_when_a_session_ended_is_sent_anew_in_another(server, end):
    """IBM lets what runs finish when a session reaches its limit, and drops what is in its queue, unrun and unpaid."""
    store, waits, said = store_of(), [], []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 1:
            server.expire("session0", end)
            server.waits = False

    sender = dispatcher(opened(server, mode="session"), store, limits={"circuits": 1}, sleep=sleep, say=said.append)
    assert asked(sender, 0, owner="before")
    assert sender.turn()
    server.waits = True
    ticket = asked(sender, 0, 1)
    server.jobs["job0"]["status"] = "Completed"
    assert sender.turn()
    assert [bits.mean() for bits in ticket.outcome()] == [0.0, 1.0]
    assert states(store) == ["done", "cancelled", "cancelled", "done", "done"]
    assert [job["session"] for job in server.jobs.values()] == ["session0"] * 3 + ["session1"] * 2
    assert store.jobs.spent(SESSION).shots == sender._account.spent.shots == 60
    assert any("had not run when its session on ibm.stub ended" in text for text in said)


def test_what_somebody_cancelled_in_an_open_session_is_not_sent_anew(server):
    server.waits, store = True, store_of()
    sender = dispatcher(
        opened(server, mode="session"),
        store,
        sleep=lambda s: server.jobs["job0"].update(status="Cancelled", unrun=True),
    )
    ticket = asked(sender, 1)
    assert sender.turn()
    with pytest.raises(PermanentError, match="ended as cancelled"):
        ticket.outcome()
    assert (states(store), len(server.jobs)) == (["failed"], 1)


def test_a_job_that_a_session_dropped_before_a_crash_is_sent_anew(server):
    server.waits, store = True, store_of()
    first = dispatcher(opened(server, mode="session"), store)
    asked(first, 1)
    first.launch()
    server.expire("session0")
    server.waits = False
    sender = dispatcher(opened(server, mode="session"), store)
    ticket = asked(sender, 1)
    assert sender.turn()
    assert ticket.outcome()[0].all()
    assert states(store) == ["cancelled", "done"]


@pytest.mark.parametrize("usage", [{"status": "pending", "qpu_charge_time_seconds": 0}, {"quantum_seconds": 0}, {}])
def test_seconds_that_ibm_tells_late_are_asked_for_again(server, usage):
    from ibm_stub import SECONDS

    server.pending, server.usage, store = 1, usage, store_of()
    sender = dispatcher(opened(server), store, price=price("ibm.torino"))
    assert asked(sender, 1)
    assert sender.turn()
    estimate = store.jobs.jobs(SESSION)[0].estimate_seconds
    assert estimate != SECONDS
    assert sender._account.spent.seconds == store.jobs.spent(SESSION).seconds == estimate
    assert asked(sender, 0, owner="next")
    assert sender.turn()
    first, second = store.jobs.jobs(SESSION)
    assert (first.seconds, first.cost) == (SECONDS, pytest.approx(1.6 * SECONDS))
    assert second.estimate_seconds == pytest.approx(SECONDS), "the pace has been learned before it was reckoned"
    assert sender._account.spent.seconds == store.jobs.spent(SESSION).seconds == 2 * SECONDS
    server.pending = 1
    assert asked(sender, 0.5, owner="last")
    assert sender.turn()
    sender.close()
    assert [job.seconds for job in store.jobs.jobs(SESSION)] == [SECONDS] * 3
    assert sender._account.spent.seconds == store.jobs.spent(SESSION).seconds == 3 * SECONDS


def test_a_job_of_another_tag_settles_nothing(server):
    """All steps of a run look alike: by their circuits and shots alone a neighbor's bits would be taken."""
    store, service, mine = store_of(), opened(server), "varq-that-may-have-been-sent"
    store.jobs.write(
        [JobRecord(mine, SESSION, 0, service.name, circuits=1, shots=20, created=1.0, paid=True)],
        [CircuitRow(mine, 0, "0" * 64, 20, 7, (("run", 0, "step", 0),))],
    )
    flip = [circuit([qml.X(0)], 1, 20)]
    neighbor, own = service.submit(flip, "varq-of-somebody"), service.submit(flip, mine)
    for status in ("Queued", "Completed"):
        server.jobs[neighbor]["status"] = status
        with pytest.raises(PermanentError, match=f"Job {neighbor} on ibm.stub was not sent under the tag {mine}"):
            dispatcher(opened(server), store).settle(mine, provider_id=neighbor)
    assert states(store) == ["written"]
    assert dispatcher(opened(server), store).settle(mine, provider_id=own) == "done"


@pytest.mark.parametrize("mode", ["session", "batch"])
def test_an_account_without_sessions_goes_on_with_jobs(server, mode):
    server.plan_has_sessions = False
    service = opened(server, mode=mode)
    assert "has no sessions on ibm_stub: jobs go one by one" in service.open()
    assert service.mode is Mode.JOB
    assert service.open() is None
    job = service.submit(batch(), "tag")
    assert server.jobs[job]["session"] is None
    check_bits(service.result(job))


def test_a_session_that_cannot_be_opened_says_why(server):
    server.broken["/sessions"] = "503"
    with pytest.raises(TransientError, match="503"):
        opened(server, mode="session").open()


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("Queued", JobStatus.QUEUED),
        ("Running", JobStatus.RUNNING),
        ("Completed", JobStatus.DONE),
        ("Failed", JobStatus.FAILED),
        ("Cancelled", JobStatus.CANCELLED),
    ],
)
def test_statuses(server, said, status):
    job = opened(server).submit(batch(), "tag")
    server.jobs[job]["status"] = said
    assert opened(server).status(job) is status


def test_an_unknown_status_is_no_guess(server):
    service = opened(server)
    job = service.submit(batch(), "tag")
    server.jobs[job]["status"] = "Levitating"
    with pytest.raises(PermanentError, match="'LEVITATING'"):
        service.status(job)


def test_a_queued_job_can_be_cancelled_once(server):
    service = opened(server)
    job = service.submit(batch(), "tag")
    server.jobs[job]["status"] = "Queued"
    assert service.cancel(job) is True
    assert server.jobs[job]["status"] == "Cancelled"
    assert service.status(job) is JobStatus.CANCELLED
    assert service.cancel(job) is False
    with pytest.raises(PermanentError, match="cancelled"):
        service.result(job)


def test_a_failed_job_says_why(server):
    service = opened(server)
    job = service.submit(batch(), "tag")
    server.jobs[job].update(status="Failed", reason="The cryostat is warm")
    with pytest.raises(PermanentError, match="The cryostat is warm"):
        service.result(job)


def test_a_job_or_result_that_is_gone(server):
    service = opened(server)
    with pytest.raises(GoneError, match="has this job no more"):
        service.result("nobody")
    job = service.submit(batch(), "tag")
    server.jobs[job]["result"] = ""
    with pytest.raises(GoneError, match="no longer keeps the result"):
        service.result(job)


def test_a_result_without_its_times_is_still_a_result(server):
    service = opened(server)
    job = service.submit(batch(), "tag")
    server.broken["/metrics"] = "400"
    found = service.result(job)
    check_bits(found)
    assert found.seconds is found.queued is None


def test_a_fault_while_fetching_is_no_loss(server):
    service = opened(server)
    job = service.submit(batch(), "tag")
    for part, fault in (("/results", "503"), ("/metrics", "lost")):
        server.broken = {part: fault}
        with pytest.raises(TransientError, match="may work on the next try"):
            service.result(job)
    server.broken = {}
    check_bits(service.result(job))


def test_a_result_of_someone_elses_is_refused(server):
    service = opened(server)
    job = service.submit(batch(), "tag")
    server.jobs[job]["result"] = server.jobs[job]["result"].replace('"varq"', '"other"')
    for circuit_sent, *_ in server.jobs[job]["params"]["pubs"]:
        circuit_sent.metadata = {}
    with pytest.raises(PermanentError, match="does not say which circuit is which"):
        service.result(job)


def test_twirling_that_runs_more_shots_than_asked_for_is_refused(server):
    service = opened(server, options={"twirling": {"enable_gates": True}})
    with pytest.raises(PermanentError, match=r"rounds 1000 shots up to 1024, which are paid\. Ask for 1024"):
        service.compile([circuit([qml.X(0)], 1, 1000)])
    job = service.submit([circuit([qml.X(0)], 1, 1024)], "tag")
    assert server.jobs[job]["params"]["options"]["twirling"]["enable_gates"] is True


@pytest.mark.parametrize("name", ["ibm.stub", "ibm.ibm_stub"])
def test_a_machine_is_known_by_ibm_under_its_own_name(server, name):
    from ibm_stub import MACHINE, StubService

    service = open_ibm(name, 3, client=StubService(server))
    assert (service.name, service._site.backend.name) == ("ibm.stub", MACHINE)
    with pytest.raises(PermanentError, match=r"QiskitBackendNotFoundError.*ibm_torino"):
        open_ibm("ibm.torino", 3, client=StubService(server))


def test_a_machine_that_is_not_there(server):
    server.broken["/backends"] = "404"
    with pytest.raises(PermanentError, match="QiskitBackendNotFoundError"):
        opened(server)


def test_the_account_is_asked_for_with_what_is_given(monkeypatch):
    """No account, no network: IBM's own class is replaced by one that refuses and shows the token in its error."""
    from varq.devices import qiskit_packages

    asked = []

    def refuse(**given):
        asked.append(given)
        raise ValueError(f"invalid {given}")

    monkeypatch.setattr(qiskit_packages.client(), "QiskitRuntimeService", refuse)
    with pytest.raises(PermanentError, match="hidden") as caught:
        open_ibm("ibm.torino", token="secret-of-mine", instance="inst", channel="ibm_quantum_platform")
    assert asked == [{"channel": "ibm_quantum_platform", "token": "secret-of-mine", "instance": "inst"}]
    assert "secret-of-mine" not in str(caught.value)
    with pytest.raises(PermanentError, match="invalid"):
        open_ibm("ibm.torino", account="work")
    assert asked[1] == {"name": "work"}
