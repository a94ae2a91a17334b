"""The main program of a worker process: it calls what it is sent, and ends with the process that started it."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection

__all__ = ["main"]

_LOOK = 0.25  # seconds between looks whether the other process is there


def main(wire: int, parent: int) -> None:
    """Serve calls until the other end of the wire is closed.

    Args:
        wire: descriptor of a socket.
        parent: pid of the process that started this one.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # while nothing is in flight
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # as it was while Python started
    threading.Thread(target=_watch, args=(parent,), name="varq-parent", daemon=True).start()
    calls = Connection(wire)
    while True:
        try:
            function, args, keywords = calls.recv()
            kind, answer = _answer(function, args, keywords)
            calls.send((kind, answer))
            if isinstance(answer, SystemExit):  # somebody told this process to end: SIGTERM while a run was driven
                raise answer
        except (EOFError, OSError):  # the other end is closed, or its process was killed
            return


def _answer(function: object, args: tuple[object, ...], keywords: dict[str, object]) -> tuple[str, object]:
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return "result", function(*args, **keywords)  # type: ignore[operator]
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except BaseException as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return "error", RuntimeError(f"{type(error).__name__}: {error}")
        return "error", error


def _watch(parent: int) -> None:
    """End at once when the process that started this one is gone: all that counts is in the store already."""
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
