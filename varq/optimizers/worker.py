"""A function that calls back for answers, turned inside out: its own thread runs it, and waits at each question."""

from __future__ import annotations

import contextvars
import threading
import warnings
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np

__all__ = ["Conversation", "Question"]

Question = Callable[[Any], Any]  # what the function calls to have something answered

JOIN_SECONDS = 1.0  # longest wait for an abandoned thread, which has nothing left to do but to unwind

# Python's warning filters belong to the whole process: one thread at a time may change them.
_FILTERS = threading.Lock()


class _Abandoned(BaseException):
    """Unwinds the function of a conversation nobody waits for; no `except Exception` on the way may stop it."""


_STOP = object()


class _Channel:
    """The two ends of a conversation.  Refers to neither end, so that dropping the caller's end is noticed."""

    def __init__(self, lock: threading.Lock | None) -> None:
        self.lock = lock
        self.answers: SimpleQueue[Any] = SimpleQueue()
        self.questions: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self.quiet: warnings.catch_warnings | None = None

    def hush(self) -> None:
        """Hold back the function's warnings until `speak`; filters that it changes meanwhile are put back there."""
        _FILTERS.acquire()
        self.quiet = warnings.catch_warnings()
        self.quiet.__enter__()
        warnings.simplefilter("ignore")

    def speak(self) -> None:
        """Leave the warning filters as `hush` found them."""
        if self.quiet is not None:
            self.quiet.__exit__(None, None, None)
            self.quiet = None
            _FILTERS.release()

    def question(self, asked: Any) -> Any:
        """Hand `asked` to the caller and wait for the answer."""
        self.speak()
        if self.lock is not None:
            self.lock.release()
        self.questions.put(("question", asked))
        answer = self.answers.get()
        self.hush()  # first, as a conversation that begins does: two orders of two locks would wait for each other
        if self.lock is not None:
            self.lock.acquire()
        if answer is _STOP:
            raise _Abandoned
        return answer


class _Thread(threading.Thread):
    """The thread of a conversation."""


def _talk(channel: _Channel, function: Callable[[Question], Any]) -> None:
    try:
        channel.hush()
        with np.errstate(all="ignore"):
            end = ("result", function(channel.question))
    except _Abandoned:
        end = ("abandoned", None)
    except BaseException as error:
        end = ("error", error)
    finally:
        channel.speak()
    channel.questions.put(end)


def _end(channel: _Channel, thread: threading.Thread) -> None:
    channel.answers.put(_STOP)
    # The garbage collector may call this in another conversation's thread, which holds the lock that unwinding needs.
    if not isinstance(threading.current_thread(), _Thread):
        thread.join(JOIN_SECONDS)


class Conversation:
    """The caller's end: what is asked, and the way to answer.

    The function runs only while the caller waits in here, and pauses inside `question(...)` otherwise.  When the
    conversation is closed, or dropped, the pending question raises a private BaseException and the thread ends.

    Args:
        function: called with the function to ask by; its return value ends the conversation.
        name: of the thread.
        lock: one that the function holds whenever it asks; it is let go while the function waits.

    Example:
        >>> talk = Conversation(lambda question: question(1) + question(2))
        >>> talk.pending
        ('question', 1)
        >>> talk.answer(10), talk.pending
        (None, ('question', 2))
        >>> talk.answer(20), talk.pending
        (None, ('result', 30))
    """

    def __init__(
        self, function: Callable[[Question], Any], name: str = "varq-method", lock: threading.Lock | None = None
    ) -> None:
        self._channel = _Channel(lock)
        self._pending: tuple[str, Any] | None = None
        context = contextvars.copy_context()
        thread = _Thread(target=context.run, args=(_talk, self._channel, function), name=name, daemon=True)
        self._finalizer = weakref.finalize(self, _end, self._channel, thread)
        thread.start()

    @property
    def pending(self) -> tuple[str, Any]:
        """("question", what is asked) or ("result", what the function returned); raises what the function raised."""
        if self._pending is None:
            self._pending = self._channel.questions.get()
        if self._pending[0] == "error":
            raise self._pending[1]
        return self._pending

    def answer(self, answer: Any) -> None:
        """Answer the pending question; returns once the function asks the next one or has ended."""
        kind, _ = self.pending
        if kind != "question":
            raise RuntimeError("Nothing is asked: this conversation has ended. Start a new one with init.")
        self._pending = None
        self._channel.answers.put(answer)
        self._pending = self._channel.questions.get()

    def close(self) -> None:
        """End the conversation and its thread; doing so twice is no mistake."""
        self._finalizer()
        if self._pending is None or self._pending[0] == "question":
            self._pending = ("result", None)
