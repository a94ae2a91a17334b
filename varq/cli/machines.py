"""`varq devices`: what there is to run on, what each can do, and what it is doing now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from varq import names
from varq.cli.console import note, print_json, table
from varq.cli.health import lacking
from varq.cli.mistakes import asked
from varq.devices.catalog import DEFAULT, FAMILIES, KNOWN, VENDORS, abilities, known, open_service
from varq.devices.faults import DeviceError
from varq.devices.prices import load_prices, price

__all__ = ["show_devices"]

UNTOLD = "not told"
HEADERS = ("device", "gradients", "exact", "seeded", "noise", "jobs", "sessions", "paid", "installed")
STATUS = ("queue", "calibrated", "price")


def show_devices(chosen: list[str], status: bool, prices: Path | None, as_json: bool) -> None:
    """Print the devices that varq knows, and others that are named.

    Raises:
        InputError: for an unknown device, or prices that cannot be read.
    """
    with asked():
        own = None if prices is None else load_prices(prices)
        rows = [_row(name) for name in chosen or [*KNOWN, *VENDORS]]
    for row in rows:
        if status:
            row |= _now(row, own)
    headers = (*HEADERS, *STATUS) if status else HEADERS
    if as_json:
        print_json(rows)
        return
    table(headers, [[_word(row[name]) for name in headers] for row in rows], wide=(8,))
    others = sorted(set(names.names("device")) - {name.split(".")[0] for name in VENDORS})
    more = f" Devices of other packages: {', '.join(others)}." if others else ""
    note(f"Any other PennyLane device runs too, by its values alone.{more}")


def _row(name: str) -> dict[str, Any]:
    able = abilities(known(name))
    extra = able.extra
    lacks = lacking(extra) if extra else []
    installed = "yes" if not lacks else f"pip install 'varq[{extra}]'"
    return {
        "device": f"{name}, the default" if name == DEFAULT else name,
        "name": name,
        "gradients": able.gradient,
        "exact": able.analytic,
        "seeded": able.seeded,
        "noise": able.noise,
        "jobs": able.jobs,
        "sessions": able.sessions,
        "paid": able.paid,
        "installed": installed,
    }


def _now(row: Mapping[str, Any], prices: Any) -> dict[str, Any]:
    """What a device says of itself now; what it does not say is told as that."""
    name = str(row["name"])
    charged = price(FAMILIES.get(name, name), prices)
    out = {"queue": UNTOLD, "calibrated": UNTOLD, "price": _price(charged, bool(row["paid"]))}
    if name in FAMILIES:  # opened, it would be looked for as a machine in the account that is saved here
        return out
    if not row["paid"]:
        out |= {"queue": "none"}  # it runs on this machine
        if not name.startswith("ibm.fake_"):  # a snapshot alone has a date
            return {**out, "calibrated": "exact"}
    if row["installed"] != "yes":
        return out
    try:
        service = open_service(name)
        tell = getattr(service, "standing", None)
        told = tell() if callable(tell) else {}
    except (DeviceError, ValueError, ImportError) as error:
        note(f"varq: {name}: {error}")
        return out
    return {**out, **{name: told[name] for name in ("queue", "calibrated") if told.get(name) is not None}}


def _price(found: Any, paid: bool) -> str:
    if found is None:
        return UNTOLD if paid else "free"
    if found.free:
        return "free"
    parts = {"job": found.per_job, "circuit": found.per_circuit, "shot": found.per_shot, "second": found.per_second}
    said = " + ".join(f"{value:g} a {what}" for what, value in parts.items() if value)
    return f"{said} {found.currency} ({found.dated})"


def _word(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
