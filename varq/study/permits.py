"""Files that tell workers that their work is wanted, and what becomes of those whose client is gone."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from varq.store.faults import OwnedError
from varq.store.job_records import STUDY
from varq.store.store import Store

__all__ = ["free_spender", "new_permit", "order_lease", "signed", "sole_spender", "touched"]

log = logging.getLogger("varq")

_BEGIN, _END = ".study-", ".running"
_ORDER = "order-"
_FREE = "free-"  # begins the leases of those who finish a study without a budget
_TOUCH = 600.0  # seconds between signs of life of the client
_LOOK = 0.25  # seconds between looks whether workers have ended


def new_permit(folder: Path) -> Path:
    """A file in a store's folder while which is there work goes on; what it says is a token that nobody guesses."""
    permit = folder / f"{_BEGIN}{secrets.token_hex(8)}{_END}"
    permit.write_text(secrets.token_hex(16), encoding="utf-8")
    return permit


def touched(permit: Path | None) -> None:
    """Show that a permit's client is there: one that nobody touched for a week goes with the next `gc` of the store."""
    if permit is not None and time.time() - _age(permit) > _TOUCH:
        with suppress(OSError):  # it was taken away: workers see that
            os.utime(permit)


def _age(permit: Path) -> float:
    """When a permit was last touched, in seconds since 1970; now if it is not there."""
    try:
        return permit.stat().st_mtime
    except OSError:
        return time.time()


def signed(permit: Path, study: str) -> None:
    """Write into a permit for which study it is: who next spends that one's budget takes it away."""
    with permit.open("a", encoding="utf-8") as file:
        file.write(f"\n{STUDY}{study}")


def order_lease(permit: Path | None) -> str:
    """A name under which a worker holds an order while it works: with it others see that something goes on.

    Args:
        permit: without which the order is not done; None for none.
    """
    return f"{_ORDER}{'' if permit is None else _told(permit)}-{secrets.token_hex(8)}"


@contextmanager
def sole_spender(store: Store, study: str, runs: Sequence[str]) -> Iterator[None]:
    """Inside the block nobody else spends what a study may use up.

    A client that was killed leaves workers behind that go on with what it had given them.  Their permit is taken away
    first, so that they stop after the evaluation in flight, and what they still have is waited for: by then all that
    they used up is in the store.

    Args:
        store: of the study.
        study: its name.
        runs: the ids of its cells.

    Raises:
        OwnedError: if another process finishes the study just now, with a budget or without one.
    """
    name = STUDY + study
    with store.lease(name, take_over=store.jobs.abandoned(name)):
        for holder in store.jobs.at_work():
            if holder.run.rpartition("-")[0] == _FREE + study:
                raise OwnedError(
                    f"The budget of a study holds over all who work on it. {study} is finished without one by pid "
                    f"{holder.pid} on host {holder.host} just now. Wait for it, stop it, or leave budget= out."
                )
        _withdraw(store, name)
        _wait(store, study, frozenset(runs))
        yield


@contextmanager
def free_spender(store: Store, study: str) -> Iterator[None]:
    """Inside the block nobody else spends a study's budget; others may work on it without one, as this process does.

    Args:
        store: of the study.
        study: its name.

    Raises:
        OwnedError: if another process finishes the study with a budget just now.
    """
    # First the own lease, then a look at that of the budget.  Who holds that one looks at these: one of both sees it.
    with store.lease(f"{_FREE}{study}-{secrets.token_hex(8)}"):
        name = STUDY + study
        holder = store.jobs.owner(name)
        if holder is not None and not store.jobs.silent(holder):
            raise OwnedError(
                f"The budget of a study holds over all who work on it. {study} is finished with one by pid "
                f"{holder.pid} on host {holder.host} just now. Wait for it, or stop it."
            )
        yield


def _permits(store: Store) -> dict[str, Path]:
    """The permits in a store's folder, by what tells them apart."""
    found = [] if store.path is None else store.path.glob(f"{_BEGIN}*{_END}")
    return {_told(permit): permit for permit in found}


def _told(permit: Path) -> str:
    return permit.name.removeprefix(_BEGIN).removesuffix(_END)


def _withdraw(store: Store, name: str) -> None:
    """Take away the permits that are signed so."""
    for permit in _permits(store).values():
        with suppress(OSError):  # it was taken away meanwhile
            if permit.read_text(encoding="utf-8").endswith(f"\n{name}"):
                permit.unlink()


def _wait(store: Store, study: str, runs: Collection[str]) -> None:
    """Until no other process has a cell of a study, or an order whose permit was taken away."""
    told = False
    while True:
        permits = _permits(store)
        left = [
            holder
            for holder in store.jobs.at_work()
            if holder.run in runs or (holder.run.startswith(_ORDER) and _permit_of(holder.run) not in ("", *permits))
        ]
        if not left:
            return
        if not told:
            told = True
            log.warning(
                "Others are still at work on %s, the first as pid %d on host %s. What they use up counts: waiting for "
                "their end.",
                study,
                left[0].pid,
                left[0].host,
            )
        time.sleep(_LOOK)


def _permit_of(order: str) -> str:
    """Which permit the lease of an order names; "" for none."""
    return order.removeprefix(_ORDER).rpartition("-")[0]
