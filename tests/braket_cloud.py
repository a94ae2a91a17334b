"""A stand-in for the servers of AWS: the vendor's own clients talk to it, one level above the network.

It answers what botocore would send: devices, quantum tasks under client tokens, tags, S3 objects.  Tasks are run by
Braket's local simulator.  What goes wrong, and when, is written into `faults`.
"""

from __future__ import annotations

import io
import json
import re
import urllib.parse
from collections.abc import Callable
from typing import Any

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYVARQSECRETKEY0"
KEY = "AKIAVARQTESTKEY00001"
REGION = "eu-north-1"
ACCOUNT = "123456789012"
QPU = f"arn:aws:braket:{REGION}::device/qpu/iqm/Garnet"
SV1 = "arn:aws:braket:::device/quantum-simulator/amazon/sv1"

_SERVICE = {
    "braketSchemaHeader": {"name": "braket.device_schema.device_service_properties", "version": "1"},
    "executionWindows": [{"executionDay": "Everyday", "windowStartHour": "00:00", "windowEndHour": "23:59:59"}],
    "shotsRange": [1, 20000],
    "updatedAt": "2025-02-03T04:05:06",
}
_OPERATIONS = {
    QPU: ["cz", "cnot", "h", "i", "rx", "ry", "rz", "x", "y", "z", "phaseshift", "s", "t", "swap"],
    SV1: ["cnot", "h", "rx", "ry", "rz", "xx", "ccnot", "phaseshift", "i"],
}


class Cloud:
    """The servers.

    Args:
        arn: of the one device; a QPU with program sets, or a simulator without.
        executables: most circuits in a program set.
        total: most shots in a program set.
    """

    def __init__(self, arn: str = QPU, executables: int = 100, total: int = 200_000) -> None:
        self.arn = arn
        self.executables = executables
        self.total = total
        self.tasks: dict[str, dict[str, Any]] = {}
        self.made: dict[str, float] = {}
        self.tokens: dict[str, tuple[str, str]] = {}
        self.objects: dict[str, str] = {}
        self.faults: list[tuple[str, Callable[[], Any], bool]] = []
        self.calls: list[str] = []
        self.credentials: list[str] = []
        self.state = "COMPLETED"
        self.page = 2
        self.probabilities = False
        self.inline = False
        self.account = ACCOUNT
        self.lag = 0.0  # seconds until a new task is listed
        self.clock: Callable[[], float] = lambda: 0.0

    def session(self) -> Any:
        """An `AwsSession` whose clients talk to this cloud, once for each request."""
        import boto3
        import botocore.session
        from botocore.config import Config
        from braket.aws import AwsSession

        core = botocore.session.Session()
        core.register("before-send", self.answer)
        boto = boto3.Session(
            aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name=REGION, botocore_session=core
        )
        return AwsSession(boto_session=boto, config=Config(retries={"total_max_attempts": 1}))

    def fail(self, call: str, fault: Callable[[], Any], after: bool = False) -> None:
        """Let the next such call fail, before or after it has done its deed."""
        self.faults.append((call, fault, after))

    def answer(self, request: Any, **_: Any) -> Any:
        """What botocore gets in the place of the network's answer."""
        url = urllib.parse.urlsplit(request.url)
        path = urllib.parse.unquote(url.path)
        call = self._call(request.method, url.netloc, path)
        self.calls.append(call)
        self.credentials.append(request.headers.get("Authorization", b""))
        fault = next((f for f in self.faults if f[0] == call), None)
        if fault is not None:
            self.faults.remove(fault)
            if not fault[2]:
                return response(request.url, *_raised(fault[1]()))
        body = request.body.decode() if isinstance(request.body, (bytes, bytearray)) else (request.body or "")
        done = getattr(self, f"_{call}")(path, json.loads(body) if body.startswith("{") else {})
        if fault is not None:
            return response(request.url, *_raised(fault[1]()))
        return response(request.url, *done)

    def _call(self, method: str, host: str, path: str) -> str:
        if host.startswith("sts."):
            return "identity"
        if ".s3." in host or host.startswith("s3."):
            return "read" if method == "GET" else "bucket"
        if path.startswith("/device/"):
            return "device"
        if path.endswith("/cancel"):
            return "cancel"
        return {"POST /quantum-task": "create", "POST /quantum-tasks": "search"}.get(f"{method} {path}", "ask")

    def _identity(self, path: str, body: Any) -> tuple[int, str]:
        inside = f"<GetCallerIdentityResult><Account>{self.account}</Account></GetCallerIdentityResult>"
        return (
            200,
            f'<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">{inside}</GetCallerIdentityResponse>',
        )

    def _bucket(self, path: str, body: Any) -> tuple[int, str]:
        return 200, ""

    def _device(self, path: str, body: Any) -> tuple[int, str]:
        qpu = self.arn == QPU
        kind = "iqm.iqm" if qpu else "simulators.gate_model_simulator"
        paradigm = "gate_model_qpu" if qpu else "simulators.gate_model_simulator"
        actions: dict[str, Any] = {
            "braket.ir.openqasm.program": {
                "actionType": "braket.ir.openqasm.program",
                "version": ["1"],
                "supportedOperations": _OPERATIONS[self.arn],
            }
        }
        if qpu:
            actions["braket.ir.openqasm.program_set"] = {
                "actionType": "braket.ir.openqasm.program_set",
                "version": ["1"],
                "maximumExecutables": self.executables,
                "maximumTotalShots": self.total,
            }
        capabilities = {
            "braketSchemaHeader": {"name": f"braket.device_schema.{kind}_device_capabilities", "version": "1"},
            "service": _SERVICE,
            "action": actions,
            "paradigm": {
                "braketSchemaHeader": {"name": f"braket.device_schema.{paradigm}_paradigm_properties", "version": "1"},
                "qubitCount": 20,
                "connectivity": {"fullyConnected": True, "connectivityGraph": {}},
                "nativeGateSet": ["cz", "prx"],
            },
            "deviceParameters": {},
        }
        return 200, json.dumps(
            {
                "deviceArn": self.arn,
                "deviceName": self.arn.rpartition("/")[2],
                "providerName": "IQM" if qpu else "Amazon Braket",
                "deviceType": "QPU" if qpu else "SIMULATOR",
                "deviceStatus": "ONLINE",
                "deviceCapabilities": json.dumps(capabilities),
                "deviceQueueInfo": [
                    {"queue": "QUANTUM_TASKS_QUEUE", "queueSize": "12", "queuePriority": "Normal"},
                    {"queue": "QUANTUM_TASKS_QUEUE", "queueSize": "1", "queuePriority": "Priority"},
                    {"queue": "JOBS_QUEUE", "queueSize": "0"},
                ],
            }
        )

    def _create(self, path: str, body: dict[str, Any]) -> tuple[int, str]:
        token = body.pop("clientToken")
        said = json.dumps(body, sort_keys=True)
        if token in self.tokens:
            arn, before = self.tokens[token]
            if said != before:
                return 400, json.dumps({"__type": "ValidationException", "message": "the token has another request"})
            return 201, json.dumps({"quantumTaskArn": arn})
        arn = f"arn:aws:braket:{REGION}:123456789012:quantum-task/{len(self.tasks):08d}-0000-4000-8000-000000000000"
        folder = f"{body['outputS3KeyPrefix']}/{len(self.tasks)}"
        self.tokens[token] = (arn, said)
        self.tasks[arn] = {
            "quantumTaskArn": arn,
            "status": self.state,
            "deviceArn": body["deviceArn"],
            "deviceParameters": "{}",
            "shots": body["shots"],
            "outputS3Bucket": body["outputS3Bucket"],
            "outputS3Directory": folder,
            "createdAt": "2026-01-01T00:00:00Z",
            "endedAt": "2026-01-01T00:00:05Z",
            "tags": body["tags"],
        }
        self.made[arn] = self.clock()
        self._run(arn, body, folder)
        return 201, json.dumps({"quantumTaskArn": arn})

    def _run(self, arn: str, body: dict[str, Any], folder: str) -> None:
        from braket.ir.openqasm import Program, ProgramSet

        header = json.loads(body["action"])["braketSchemaHeader"]["name"]
        if header.endswith("program_set"):
            self._run_set(arn, ProgramSet.parse_raw(body["action"]), body, folder)
            return
        result = self._simulated(Program.parse_raw(body["action"]), body["shots"])
        place = "s3/" + body["outputS3Bucket"] + "/" + folder + "/results.json"
        self.objects[place] = json.dumps(
            {
                "braketSchemaHeader": {"name": "braket.task_result.gate_model_task_result", "version": "1"},
                **result,
                "taskMetadata": {
                    "braketSchemaHeader": {"name": "braket.task_result.task_metadata", "version": "1"},
                    "id": arn,
                    "shots": body["shots"],
                    "deviceId": self.arn,
                },
                "additionalMetadata": {
                    "simulatorMetadata": {
                        "braketSchemaHeader": {"name": "braket.task_result.simulator_metadata", "version": "1"},
                        "executionDuration": 250,
                    }
                }
                if self.arn == SV1
                else {},
            }
        )

    def _run_set(self, arn: str, programs: Any, body: dict[str, Any], folder: str) -> None:
        """A program set's result, in many files, with the parts of a program in no order."""
        from braket.ir.openqasm import Program

        count = sum(len(next(iter((p.inputs or {"-": [0]}).values()))) for p in programs.programs)
        assert count <= self.executables
        assert body["shots"] % count == 0
        assert body["shots"] <= self.total
        root = "s3/" + body["outputS3Bucket"] + "/" + folder
        listed = []
        for index, program in enumerate(programs.programs):
            columns = program.inputs or {}
            rows = len(next(iter(columns.values()))) if columns else 1
            parts: list[Any] = []
            for row in range(rows):
                inputs = {name: column[row] for name, column in columns.items()} or None
                run = self._simulated(Program(source=program.source, inputs=inputs), body["shots"] // count)
                name = "braket.task_result.program_set_executable_result"
                part = {"braketSchemaHeader": {"name": name, "version": "1"}, "inputsIndex": row, **run}
                self.objects[f"{root}/programs/{index}/{row}.json"] = json.dumps(part)
                parts.append(part if self.inline else f"programs/{index}/{row}.json")
            inside = {
                "braketSchemaHeader": {"name": "braket.task_result.program_result", "version": "1"},
                "executableResults": parts[::-1],
                "source": json.loads(program.json()),
                "additionalMetadata": {},
            }
            self.objects[f"{root}/programs/{index}/results.json"] = json.dumps(inside)
            listed.append(inside if self.inline else f"programs/{index}/results.json")
        self.objects[f"{root}/results.json"] = json.dumps(
            {
                "braketSchemaHeader": {"name": "braket.task_result.program_set_task_result", "version": "1"},
                "programResults": listed,
                "taskMetadata": "metadata.json",
                "s3Location": None if self.inline else [body["outputS3Bucket"], folder],
            }
        )

    def _simulated(self, program: Any, shots: int) -> dict[str, Any]:
        """Measured bits; the columns turned around, as a device may report its qubits in any order."""
        from braket.devices import LocalSimulator

        found = LocalSimulator().run(program, shots=shots).result()
        if self.probabilities:
            counts = {key[::-1]: value for key, value in found.measurement_probabilities.items()}
            return {"measurementProbabilities": counts, "measuredQubits": found.measured_qubits[::-1]}
        return {"measurements": found.measurements[:, ::-1].tolist(), "measuredQubits": found.measured_qubits[::-1]}

    def _ask(self, path: str, body: Any) -> tuple[int, str]:
        task = self.tasks.get(path.removeprefix("/quantum-task/"))
        if task is None:
            return 404, json.dumps({"__type": "ResourceNotFoundException", "message": "no such task"})
        return 200, json.dumps(task)

    def _cancel(self, path: str, body: Any) -> tuple[int, str]:
        arn = path.removeprefix("/quantum-task/").removesuffix("/cancel")
        self.tasks[arn]["status"] = "CANCELLING"
        return 200, json.dumps({"quantumTaskArn": arn, "cancellationStatus": "CANCELLING"})

    def _search(self, path: str, body: dict[str, Any]) -> tuple[int, str]:
        (asked,) = body["filters"]
        assert asked == {"name": "deviceArn", "operator": "EQUAL", "values": [self.arn]}
        start = int(body.get("nextToken", 0))
        tasks = [task for arn, task in self.tasks.items() if self.clock() >= self.made[arn] + self.lag]
        told: dict[str, Any] = {"quantumTasks": tasks[start : start + self.page]}
        if start + self.page < len(tasks):
            told["nextToken"] = str(start + self.page)
        return 200, json.dumps(told)

    def _read(self, path: str, body: Any) -> tuple[int, str]:
        found = next((text for place, text in self.objects.items() if place.endswith(path)), None)
        if found is None:
            return 404, "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"
        return 200, found


def refusal(code: str, status: int, message: str = "no") -> Callable[[], Any]:
    """A fault: AWS answers with an error."""
    return lambda: (status, json.dumps({"__type": code, "message": message}))


def _raised(fault: Any) -> tuple[int, str]:
    if isinstance(fault, BaseException):
        raise fault
    status, body = fault
    return status, body


def response(url: str, status: int, body: str) -> Any:
    """As botocore reads it from the network."""
    from botocore.awsrequest import AWSResponse

    headers = {"Content-Type": "application/json", "Content-Length": str(len(body.encode()))}
    error = re.search(r'"__type": "(\w+)"', body)
    if error is not None:
        headers["x-amzn-ErrorType"] = error.group(1)
    return AWSResponse(url, status, headers, _Raw(body.encode()))


class _Raw(io.BytesIO):
    """The body of an answer, as urllib3 gives it."""

    def stream(self, amount: int = 1024, decode_content: bool | None = None) -> Any:
        while chunk := self.read(amount):
            yield chunk
