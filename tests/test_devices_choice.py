"""What is said of a device beside its name holds no credentials: it is written down with each of its runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from session_samples import task

import varq
from varq import Session
from varq.devices.catalog import usable

pytestmark = pytest.mark.flagless

SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"token": SECRET}, "options must hold no credentials. Got the entry 'token'"),
        ({"options": {"environment": {"api_key": SECRET}}}, "Got the entry 'options.environment.api_key'"),
        ({"urls": [{"accesskey": SECRET}]}, r"Got the entry 'urls\[0\].accesskey'"),
        ({"proxies": {"https": f"https://ada:{SECRET}@host/"}}, "Got the entry 'proxies.https'"),
        ({"header": f"Authorization: Bearer {SECRET}"}, "Got the entry 'header'"),
        ({"instance": f"https://host/?token={SECRET}"}, "instance must hold no credentials"),
        ({"account": f"api_key={SECRET}"}, "account must hold no credentials"),
    ],
)
def test_credentials_are_refused_wherever_they_stand(tmp_path: Path, options: Any, place: str) -> None:
    """A session with such a device would write them into its own row and into that of each run."""
    with (
        pytest.raises(ValueError, match=place) as caught,
        Session(None, shots=5, store=tmp_path, progress=False) as own,
    ):
        own.start(task(device=varq.device("ibm.torino", **options)))
    assert "give its name, account=" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert all(SECRET.encode() not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_what_only_looks_alike_is_kept() -> None:
    options = {"url": "https://host:8080/a@b", "keyboard": 1, "nested": {"monkey": (1, 2)}}
    assert (
        varq.device("ibm.torino", account="lab", instance="crn:v1:bluemix:public:a/12::", **options).options == options
    )


@pytest.mark.parametrize("taken", [varq.device, usable, Session], ids=["device", "name", "session"])
def test_a_machine_of_ibm_has_one_name_and_so_a_run_on_it_one_id(taken: Any) -> None:
    with pytest.raises(ValueError, match=r"Got 'ibm\.ibm_torino', which is 'ibm\.torino' here\. Write that\."):
        taken("ibm.ibm_torino")
