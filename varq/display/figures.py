"""A figure of a run that is drawn anew while the run goes on."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from varq import checks, names
from varq.display.progress import notebook
from varq.plots.canvas import Sheet, save
from varq.protocol import Event, Record

__all__ = ["Watch"]

log = logging.getLogger("varq")

_SUFFIX = ".png"


class Watch:
    """An observer that draws a run's figure in a notebook, or in a file that an image viewer follows.

    It is drawn when it is first asked for, after steps, though not more often than every so many seconds, and at the
    end.  The file is replaced whole: who looks at it never sees half of one.  Where it can no longer be drawn, that is
    said once, and the run goes on.

    Args:
        record: gives what is drawn.
        kind: of the figure, such as "convergence" or "posterior".
        path: of the file; None for the notebook.
        seconds: at least between two figures.
        options: of the figure.

    Raises:
        RuntimeError: without a path where no notebook is.
        ValueError: for an unknown kind, a file that is no PNG, or a negative time.
    """

    def __init__(
        self, record: Callable[[], Record], kind: str, path: str | os.PathLike[str] | None, seconds: float, options: Any
    ) -> None:
        self._draw = names.find("plot", kind)
        self._record, self._options = record, options
        self._seconds = checks.real("seconds", seconds, minimum=0)
        self._path = None if path is None else Path(path)
        if self._path is not None and self._path.suffix != _SUFFIX:
            raise ValueError(f"path must end in {_SUFFIX}. Got {str(self._path)!r}. Give path='run{_SUFFIX}'.")
        self._shell = notebook()
        if self._path is None and self._shell is None:
            raise RuntimeError(
                "A run is watched in a Jupyter notebook, or in a file. No notebook is here. "
                f"Give path='run{_SUFFIX}', or draw between steps: run.step(10); run.plot()."
            )
        self._handle = uuid.uuid4().hex
        self._shown = False
        self._drawn = 0.0
        self._quiet = False  # after an error, which the next figure would meet again
        self._paint()

    def __call__(self, event: Event) -> None:
        """Draw, if it is time; never raises: no run ends for want of its figure."""
        due = event.kind == "end" or (event.kind == "step" and time.monotonic() - self._drawn >= self._seconds)
        if self._quiet or not due:
            return
        try:
            self._paint()
        except Exception as error:
            self._quiet = True
            log.warning("The figure of run %s is drawn no more: %s", event.run_id, error)

    def _paint(self) -> None:
        record = self._record()
        if not len(record.history):
            return
        figure = self._draw(record, **self._options).figure
        if self._path is not None:
            beside = self._path.with_name(f".{self._path.stem}-{self._handle[:8]}{_SUFFIX}")
            save(figure, beside)
            beside.replace(self._path)
        elif isinstance(figure, Sheet):
            picture, size = figure._repr_png_()
            self._shell.display_pub.publish(
                data={"image/png": picture, "text/plain": f"<figure of {record.title}>"},
                metadata={"image/png": size},
                transient={"display_id": self._handle},
                update=self._shown,
            )
            self._shown = True
        self._drawn = time.monotonic()
