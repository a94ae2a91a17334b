"""What a session was opened with, as data, so that another process can open it again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from varq import spec
from varq.devices.choice import Device
from varq.devices.prices import Price
from varq.devices.several import Spread
from varq.session.budget import Budget
from varq.session.retry import Retry

__all__ = ["read_terms", "refuse_objects", "written_terms"]

_UNWRITTEN = ('"$":"function"', '"$":"opaque"')  # as varq.spec writes what another process cannot make again


def written_terms(
    device: Any,
    budget: Budget,
    on_error: str = "abort",
    retry: Retry | None = None,
    prices: Mapping[str, Price] | None = None,
) -> dict[str, Any]:
    """What a session was opened with, as JSON data; a device that is an object is only named as one."""
    out: dict[str, Any] = {"budget": _given(budget), "on_error": on_error, "retry": _given(retry or Retry())}
    if isinstance(device, (str, Device)) or (isinstance(device, Spread) and _written(device)):
        out["device"] = spec.encode(device)
    elif device is not None:
        out["object"] = f"{type(device).__module__}.{type(device).__qualname__}"
    if prices:
        out["prices"] = {name: _given(price) for name, price in prices.items()}
    return out


def _written(device: Spread) -> bool:
    """Whether all of its devices are data."""
    return all(isinstance(one, (str, Device)) for one in device.devices)


def _given(value: Any) -> dict[str, Any]:
    return {name: entry for name, entry in dataclasses.asdict(value).items() if entry is not None}


def read_terms(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `Session` that stand in a record's settings.

    Raises:
        ValueError: if the session's device was an object of the process that opened it.
    """
    if "object" in settings:
        raise ValueError(_object_said(settings["object"]))
    return {
        "device": spec.decode(settings.get("device")),
        "budget": Budget(**settings.get("budget", {})),
        "on_error": settings.get("on_error", "abort"),
        "retry": Retry(**settings.get("retry", {})),
        "prices": settings.get("prices"),
    }


def refuse_objects(
    terms: Mapping[str, Any], specs: Mapping[str, str], way: str = "keep the run here: session.drain()"
) -> None:
    """Raises where a session or a spec holds what no other process can make again.

    Args:
        terms: of the session.
        specs: the canonical JSON of each spec, by its title.
        way: out of it, beside a description by specs.

    Raises:
        ValueError: names what it is, and the way out.
    """
    if "object" in terms:
        raise ValueError(_object_said(terms["object"]))
    for title, text in specs.items():
        if any(mark in text for mark in _UNWRITTEN):
            raise ValueError(
                f"What another process is to run must be data. {title!r} holds a function or an object of this "
                f"process. Describe it by specs (VQE(...) of a problem, an ansatz and an optimizer by name), or {way}."
            )


def _object_said(kind: str) -> str:
    return (
        f"A session that another process is to own needs a device by name. Got an object of type {kind}. "
        "Use a name, or varq.device(name, ...), or keep the runs here: session.drain()."
    )
