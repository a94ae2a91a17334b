"""The command `varq`: what it says and accepts stands in `app`; each command's work is loaded when it is called."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varq.cli.app import main
    from varq.cli.demonstration import demo
    from varq.cli.drawing import compare, export, plot
    from varq.cli.health import doctor
    from varq.cli.keeping import compact, gc, merge, remove, verify
    from varq.cli.looking import list_runs, show
    from varq.cli.machines import show_devices
    from varq.cli.opening import Options
    from varq.cli.probing import probe
    from varq.cli.running import resume, run_file
    from varq.cli.sessions import attach_to, cancel, send, settle, show_ledger, work
    from varq.cli.sweeping import export_study, list_studies, plot_study, run_study, study_ledger, study_status

_HOME = {
    "Options": "varq.cli.opening",
    "attach_to": "varq.cli.sessions",
    "cancel": "varq.cli.sessions",
    "compact": "varq.cli.keeping",
    "compare": "varq.cli.drawing",
    "demo": "varq.cli.demonstration",
    "doctor": "varq.cli.health",
    "export": "varq.cli.drawing",
    "export_study": "varq.cli.sweeping",
    "gc": "varq.cli.keeping",
    "list_runs": "varq.cli.looking",
    "list_studies": "varq.cli.sweeping",
    "main": "varq.cli.app",
    "merge": "varq.cli.keeping",
    "plot": "varq.cli.drawing",
    "plot_study": "varq.cli.sweeping",
    "probe": "varq.cli.probing",
    "remove": "varq.cli.keeping",
    "resume": "varq.cli.running",
    "run_file": "varq.cli.running",
    "run_study": "varq.cli.sweeping",
    "send": "varq.cli.sessions",
    "settle": "varq.cli.sessions",
    "show": "varq.cli.looking",
    "show_devices": "varq.cli.machines",
    "show_ledger": "varq.cli.sessions",
    "study_ledger": "varq.cli.sweeping",
    "study_status": "varq.cli.sweeping",
    "verify": "varq.cli.keeping",
    "work": "varq.cli.sessions",
}

__all__ = [
    "Options",
    "attach_to",
    "cancel",
    "compact",
    "compare",
    "demo",
    "doctor",
    "export",
    "export_study",
    "gc",
    "list_runs",
    "list_studies",
    "main",
    "merge",
    "plot",
    "plot_study",
    "probe",
    "remove",
    "resume",
    "run_file",
    "run_study",
    "send",
    "settle",
    "show",
    "show_devices",
    "show_ledger",
    "study_ledger",
    "study_status",
    "verify",
    "work",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import what a name of the table stands for when it is first used (PEP 562)."""
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
