"""TOML files: what they can say, that it is the same spec as in Python, and what is said of mistakes in them."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import house
import numpy as np
import pytest

import varq
from varq import spec
from varq.algorithms import QAOA, QPE, VQE, PhaseEstimation
from varq.ansatze import UCCSD, HardwareEfficient, KUpCCGSD
from varq.cli import specfile
from varq.cli.mistakes import InputError
from varq.devices.prices import Price
from varq.optimizers import SPSA, Optax, Scipy
from varq.problems import EigenPhase, Heisenberg, MaxCut, Molecule, TransverseFieldIsing
from varq.protocol import Stop
from varq.session.budget import Budget
from varq.session.retry import Retry


def read(text: str, folder: Path) -> specfile.Described:
    path = folder / "file.toml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return specfile.read(path)


H2 = Molecule.load("H2", bond=0.75)
SQUARE = [(0, 1), (1, 2), (2, 3), (3, 0)]
DECAY = Optax.schedule("exponential_decay", init_value=0.1, transition_steps=5, decay_rate=0.9)
TURN = np.diag([1.0, 1j])
QUARTER = [("T", (0,)), ("PauliRot", (0,), (np.pi / 4,), "Z"), ("GlobalPhase", (), (-np.pi / 8,))]

SAME: list[tuple[str, str, Any]] = [
    (
        "a molecule by name",
        """
        algorithm = "vqe"
        problem = { kind = "molecule", name = "H2", bond = 0.75 }
        """,
        VQE(problem=H2),
    ),
    (
        "parts by name",
        """
        algorithm = "vqe"
        ansatz = "uccsd"
        optimizer = "cobyla"
        seed = 3
        [problem]
        kind = "molecule"
        name = "H2"
        bond = 0.75
        """,
        VQE(problem=H2, ansatz="uccsd", optimizer="COBYLA", seed=3),
    ),
    (
        "parts as tables",
        """
        algorithm = "vqe"
        [problem]
        kind = "molecule"
        name = "H2"
        bond = 0.75
        [ansatz]
        kind = "kupccgsd"
        k = 1
        [optimizer]
        kind = "optax"
        name = "adam"
        learning_rate = 0.01
        [stop]
        steps = 20
        """,
        VQE(
            problem=H2,
            ansatz=KUpCCGSD.for_problem(H2, k=1),
            optimizer=Optax("adam", learning_rate=0.01),
            stop=Stop(steps=20),
        ),
    ),
    (
        "an ansatz by its fields",
        """
        algorithm = "vqe"
        problem = { kind = "molecule", name = "H2", bond = 0.75 }
        ansatz = { kind = "uccsd", electrons = [1, 1], orbitals = 2 }
        """,
        VQE(problem=H2, ansatz=UCCSD(electrons=(1, 1), orbitals=2)),
    ),
    (
        "a schedule in a chain",
        """
        algorithm = "vqe"
        problem = { kind = "transverse-field-ising", sites = 2 }
        [optimizer]
        kind = "optax"
        name = "chain"
        [[optimizer.args]]
        kind = "optax"
        name = "clip_by_global_norm"
        max_norm = 1.0
        [[optimizer.args]]
        kind = "optax"
        name = "sgd"
        [optimizer.args.learning_rate]
        kind = "optax"
        name = "exponential_decay"
        init_value = 0.1
        transition_steps = 5
        decay_rate = 0.9
        """,
        VQE(
            problem=TransverseFieldIsing(sites=2),
            optimizer=Optax.chain(
                Optax("clip_by_global_norm", max_norm=1.0),
                Optax("sgd", learning_rate=DECAY),
            ),
        ),
    ),
    (
        "a lattice with options for its optimizer",
        """
        algorithm = "vqe"
        shots = 100
        initial = [[[0.1], [0.2]], [[0.3], [0.4]]]
        [problem]
        kind = "heisenberg"
        shape = [1, 2]
        [ansatz]
        kind = "hardware-efficient"
        depth = 1
        rotations = ["RY"]
        [optimizer]
        kind = "spsa"
        blocking = true
        """,
        VQE(
            problem=Heisenberg(shape=(1, 2)),
            ansatz=HardwareEfficient(2, depth=1, rotations=("RY",)),
            optimizer=SPSA(blocking=True),
            shots=100,
            initial=[[[0.1], [0.2]], [[0.3], [0.4]]],
        ),
    ),
    (
        "further quantities",
        """
        algorithm = "vqe"
        problem = { kind = "transverse-field-ising", sites = 2 }
        [track.exchange]
        kind = "heisenberg"
        sites = 2
        """,
        VQE(problem=TransverseFieldIsing(sites=2), track={"exchange": Heisenberg(sites=2)}),
    ),
    (
        "options of a method of SciPy",
        """
        algorithm = "vqe"
        problem = { kind = "transverse-field-ising", sites = 2 }
        [optimizer]
        kind = "scipy"
        name = "L-BFGS-B"
        bounds = [[-1, 1]]
        [optimizer.options]
        maxiter = 7
        """,
        VQE(
            problem=TransverseFieldIsing(sites=2),
            optimizer=Scipy("L-BFGS-B", {"maxiter": 7}, bounds=((-1, 1),)),
        ),
    ),
    (
        "a graph as its edges",
        """
        algorithm = "qaoa"
        depth = 2
        [problem]
        kind = "maxcut"
        edges = [[0, 1], [1, 2], [2, 3], [3, 0]]
        """,
        QAOA(problem=MaxCut(SQUARE), depth=2),
    ),
    (
        "a unitary with complex entries",
        """
        algorithm = "phase-estimation"
        applications = 64
        [problem]
        kind = "eigenphase"
        unitary = [[1, 0], [0, "1j"]]
        state = 1
        """,
        PhaseEstimation(problem=EigenPhase(TURN, 1), applications=64),
    ),
    (
        "a unitary by its gates",
        """
        algorithm = "qpe"
        bits = 3
        [problem]
        kind = "eigenphase"
        unitary = [[1, 0], [0, "1j"]]
        gates = [
            ["T", [0], []],
            ["PauliRot", [0], [0.7853981633974483], "Z"],
            ["GlobalPhase", [], [-0.39269908169872414]],
        ]
        preparation = [["PauliX", [0]]]
        state = 1
        """,
        QPE(problem=EigenPhase(TURN, 1, gates=QUARTER, preparation=[("PauliX", (0,))]), bits=3),
    ),
]


@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in SAME], ids=[row[0] for row in SAME])
def test_a_file_says_the_same_as_python(tmp_path: Path, text: str, expected: Any) -> None:
    found = read(text, tmp_path).task
    assert spec.identity(found.resolve("default.qubit", None)) == spec.identity(expected.resolve("default.qubit", None))
    assert spec.dumps(found) == spec.dumps(expected)


def test_the_session_s_table(tmp_path: Path) -> None:
    found = read(
        """
        algorithm = "vqe"
        problem = { kind = "transverse-field-ising", sites = 2 }
        [session]
        store = "elsewhere"
        device = "default.qubit"
        shots = 50
        """,
        tmp_path,
    )
    assert (found.store, found.device, found.shots) == (Path("elsewhere"), "default.qubit", 50)
    assert found.task.device is None
    assert (found.options, found.start) == ({}, {})


CHAIN = 'algorithm = "vqe"\nproblem = { kind = "transverse-field-ising", sites = 2 }\n'


def test_all_that_a_session_can_be_told_stands_in_its_table(tmp_path: Path) -> None:
    found = read(
        CHAIN
        + """[session]
on_error = "continue"
priority = 2
deadline = 60
[session.device]
name = "ibm.torino"
mode = "session"
layout = [3, 4]
account = "lab"
limits = { circuits = 20 }
optimization_level = 2
[session.budget]
cost = 2.5
reserve = 0.2
[session.retry]
attempts = 3
[session.prices."ibm.*"]
per_second = 1.2
dated = 2026-05-01
source = "our contract"
""",
        tmp_path,
    )
    given: dict[str, Any] = {"account": "lab", "limits": {"circuits": 20}, "optimization_level": 2}
    assert found.device == varq.device("ibm.torino", mode="session", layout=(3, 4), **given)
    assert found.options == {
        "budget": Budget(cost=2.5, reserve=0.2),
        "retry": Retry(attempts=3),
        "on_error": "continue",
        "prices": {"ibm.*": Price(per_second=1.2, dated="2026-05-01", source="our contract")},
    }
    assert found.start == {"priority": 2, "deadline": 60.0}


def test_devices_with_options_are_spread(tmp_path: Path) -> None:
    text = '[session]\ndevice = ["varq.qubit", { name = "braket.local_dm", noise = { readout = 0.1 } }]'
    noisy = varq.device("braket.local_dm", noise={"readout": 0.1})
    assert read(CHAIN + text, tmp_path).device == varq.spread("varq.qubit", noisy)


def test_prices_are_found_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text('["ibm.*"]\nper_shot = 0.5\ndated = "2026"\nsource = "us"\n')
    found = read(CHAIN + '[session]\nprices = "prices.toml"', tmp_path)
    assert found.options["prices"]["ibm.*"].per_shot == 0.5


def test_integrals_are_found_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "h2.fcidump").write_text(
        "&FCI NORB=1,NELEC=2,MS2=0,\n ORBSYM=1,\n ISYM=1,\n&END\n 0.7 1 1 1 1\n -1.2 1 1 0 0\n 0.5 0 0 0 0\n"
    )
    found = read('algorithm = "vqe"\nproblem = { kind = "molecule", path = "h2.fcidump" }', tmp_path)
    assert found.task.problem.wires == 2


def test_the_example_of_the_documents() -> None:
    path = house.ROOT / "docs" / "example.toml"
    found = specfile.read(path)
    problem = Molecule.load("LiH", bond=1.6)
    expected = VQE(
        problem=problem,
        ansatz=UCCSD.for_problem(problem),
        optimizer=Optax("adam", learning_rate=0.05),
        seed=7,
        stop=Stop(steps=200, tolerance=1e-6, patience=10),
    )
    assert spec.dumps(found.task) == spec.dumps(expected)
    assert found.device == "varq.qubit"


def test_the_readme_shows_the_example() -> None:
    readme = (house.ROOT / "README.md").read_text(encoding="utf-8")
    assert (house.ROOT / "docs" / "example.toml").read_text(encoding="utf-8").strip() in readme


ISING = 'problem = { kind = "transverse-field-ising", sites = 2 }\n'

WRONG = [
    ("algorithm = ", r"file\.toml: this is not TOML: Invalid value \(at "),
    ("", r"file\.toml: algorithm is missing; it is one of logical-teleportation, memory, .*, qpe, shor, vqe\."),
    ('algorithm = "vqf"', r"file\.toml: algorithm must be one of .* Got 'vqf'\. Did you mean 'vqe'"),
    ('algorithm = "amplitude-estimation"', r"cannot stand in a file: its circuit is a Python function"),
    ('algorithm = "minimize"', r"algorithm = 'minimize' cannot stand in a file: its cost is a Python function"),
    ('algorithm = "vqe"', r"file\.toml: algorithm = 'vqe' needs problem\."),
    ('algorithm = "vqe"\nproblem = "LiH"', r"file\.toml: problem must be a table, \[problem\]\. Got 'LiH'\."),
    ('algorithm = "vqe"\n[problem]\nname = "LiH"', r"\[problem\]: kind is missing; it is one of .*molecule"),
    ('algorithm = "vqe"\n[problem]\nkind = "molecul"', r"\[problem\]: kind must be .* Did you mean 'molecule'"),
    (
        'algorithm = "vqe"\n[problem]\nkind = "molecule"\nname = "LiH"\nbnd = 1.6',
        r"file\.toml, \[problem\]: there is no key 'bnd' here\. Did you mean bond\? Keys: name, bond",
    ),
    (
        'algorithm = "vqe"\n[problem]\nkind = "molecule"\nbond = 1.6',
        r"\[problem\]: one of the keys name or path or atoms or h1 must say what it is made from",
    ),
    (
        'algorithm = "vqe"\n[problem]\nkind = "molecule"\nname = "LiHH"\nbond = 1.6',
        r"file\.toml, \[problem\]: .*LiHH",
    ),
    (
        'algorithm = "vqe"\n[problem]\nkind = "molecule"\npath = "none.fcidump"',
        r"file\.toml, \[problem\]: .*none\.fcidump",
    ),
    ('algorithm = "vqe"\nsteps = 3\n' + ISING, r"file\.toml: there is no key 'steps' here"),
    ('algorithm = "vqe"\nseed = 0.5\n' + ISING, r"file\.toml: seed must be an integer\. Got 0\.5"),
    ('algorithm = "vqe"\nansatz = "ucsd"\n' + ISING, r"file\.toml: ansatz must be one of .* Did you mean 'uccsd'"),
    ('algorithm = "vqe"\nansatz = "uccsd"\n' + ISING, r"file\.toml: .*UCCSD.*electrons"),
    (
        'algorithm = "vqe"\nansatz = { kind = "hardware-efficient", dept = 2 }\n' + ISING,
        r"\[ansatz\]: there is no key 'dept' here\. Did you mean depth",
    ),
    (
        'algorithm = "vqe"\nansatz = { kind = "circuit" }\n' + ISING,
        r"\[ansatz\]: kind = 'circuit' cannot stand in a file: it is a Python function",
    ),
    (
        'algorithm = "vqe"\noptimizer = { kind = "adam" }\n' + ISING,
        r"\[optimizer\]: kind must be one of .* Methods of optax and SciPy: kind = 'optax' or 'scipy'",
    ),
    (
        'algorithm = "vqe"\noptimizer = { kind = "optax", name = "adma", learning_rate = 0.1 }\n' + ISING,
        r"\[optimizer\]: .*Did you mean .*'adam'",
    ),
    (
        'algorithm = "vqe"\noptimizer = { kind = "optax", name = "adam", learnin_rate = 0.1 }\n' + ISING,
        r"\[optimizer\]: optax\.adam: .*Did you mean 'learning_rate'",
    ),
    (
        'algorithm = "vqe"\noptimizer = { kind = "spsa", blockin = true }\n' + ISING,
        r"\[optimizer\]: there is no key 'blockin' here\. Did you mean blocking",
    ),
    ('algorithm = "vqe"\n' + ISING + "[stop]\nstep = 3", r"\[stop\]: there is no key 'step' here\. Did you mean steps"),
    ('algorithm = "vqe"\n' + ISING + "[stop]\nsteps = -3", r"\[stop\]: steps must be at least 0\. Got -3"),
    ('algorithm = "vqe"\n' + ISING + "[session]\nshot = 3", r"\[session\]: there is no key 'shot' here"),
    ('algorithm = "vqe"\n' + ISING + "[session]\nshots = 0", r"\[session\]: shots must be at least 1\. Got 0"),
    ('algorithm = "vqe"\n' + ISING + "[session]\ndevice = 3", r"\[session\]: device must be of type str"),
    (CHAIN + "[session]\nbudget = 3", r"file\.toml: session\.budget must be a table, \[session\.budget\]\. Got 3"),
    (CHAIN + "[session.budget]\nshot = 3", r"\[session\.budget\]: there is no key 'shot' here\. Did you mean shots"),
    (CHAIN + "[session.budget]\nshots = -3", r"\[session\.budget\]: shots must be at least 0\. Got -3"),
    (CHAIN + "[session.retry]\nattempts = 0", r"\[session\.retry\]: attempts must be at least 1\. Got 0"),
    (CHAIN + '[session]\nprices = "none.toml"', r"\[session\.prices\]: .*none\.toml"),
    (CHAIN + '[session.prices."ibm.*"]\nper_shot = -1', r"\[session\.prices\]: The price of 'ibm\.\*': per_shot must"),
    (CHAIN + '[session.device]\nmode = "batch"', r"\[session\.device\]: a device needs name\."),
    (CHAIN + '[session.device]\nname = "ibm.torino"\nmode = "sesion"', r"\[session\.device\]: mode must be one of"),
    (
        CHAIN + '[session.device]\nname = "ibm.torino"\napi_token = "x"',
        r"\[session\.device\]: options must hold no cred",
    ),
    (CHAIN + '[session.device]\nname = "ibn.torino"', r"\[session\.device\]: device must be one of"),
    (CHAIN + '[session]\ndevice = ["varq.qubit"]', r"\[session\.device\]: A spread has at least two devices\. Got 1"),
    (CHAIN + '[session]\non_error = "go"', r"\[session\]: on_error must be one of 'abort', 'continue'"),
    (CHAIN + "[session]\ndeadline = -1", r"\[session\]: deadline must be at least 0"),
    (CHAIN + "[session]\npriority = 0.5", r"\[session\]: priority must be an integer"),
    (
        'algorithm = "qaoa"\nproblem = { kind = "transverse-field-ising", sites = 2 }',
        r"file\.toml: problem must be a MaxCut",
    ),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_mistakes_name_file_table_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(text, tmp_path)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml: it cannot be read: No such file"):
        specfile.read(tmp_path / "none.toml")


def test_a_mark_in_front_is_no_part_of_the_file(tmp_path: Path) -> None:
    text = f'algorithm = "vqe"\n{ISING}'
    (tmp_path / "marked.toml").write_bytes(text.encode("utf-8-sig"))
    assert spec.dumps(specfile.read(tmp_path / "marked.toml").task) == spec.dumps(read(text, tmp_path).task)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"x\.toml: this is not TOML"):
        specfile.read(tmp_path / "x.toml")
