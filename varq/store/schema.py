"""The tables of a store file.  They change only together with `SCHEMA`, and each layout grows out of the one before."""

from __future__ import annotations

from collections.abc import Iterator
from sqlite3 import complete_statement

__all__ = ["APPLICATION", "JOBS_SINCE", "LAYOUTS", "NEEDS", "RULES_SINCE", "SCHEMA", "statements"]

SCHEMA = 3  # PRAGMA user_version
NEEDS = "0.2.0"  # the first varq that reads this layout; an older one shows it in its refusal
JOBS_SINCE = 2  # the layout that brought sessions and jobs
RULES_SINCE = 3  # the layout that brought the stop rules that runs go by
APPLICATION = int.from_bytes(b"varq", "big")  # PRAGMA application_id


def statements(text: str) -> Iterator[str]:
    """The single statements of an SQL text: `executescript` would end a transaction that is open."""
    held = ""
    for line in text.splitlines(keepends=True):
        held += line
        if complete_statement(held):
            yield held.strip()
            held = ""


_RUNS = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE runs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    identity TEXT NOT NULL,
    findable INTEGER NOT NULL,
    spec TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    title TEXT NOT NULL,
    device TEXT NOT NULL,
    created REAL NOT NULL,          -- seconds since 1970, UTC
    host TEXT NOT NULL,
    versions TEXT NOT NULL,         -- JSON
    seal TEXT NOT NULL
);

CREATE INDEX runs_created ON runs (created DESC, id);

CREATE TABLE steps (
    run INTEGER NOT NULL,           -- runs.number
    step INTEGER NOT NULL,
    role TEXT NOT NULL,             -- 'step', 'start' or 'final'
    request TEXT NOT NULL,          -- JSON
    digest TEXT NOT NULL,
    reply TEXT NOT NULL,            -- JSON
    key TEXT NOT NULL,
    value REAL,                     -- the text 'nan' where it is not a number
    stderr REAL,
    seconds REAL NOT NULL,          -- cumulative
    executions INTEGER NOT NULL,
    versions TEXT,                  -- JSON; NULL for those of the run
    seal TEXT NOT NULL
);
CREATE UNIQUE INDEX steps_order ON steps (run, step, role DESC);

CREATE TABLE results (
    run INTEGER PRIMARY KEY,        -- runs.number
    revision INTEGER NOT NULL,
    reason TEXT,                    -- NULL while the run is unfinished
    result TEXT,                    -- JSON
    steps INTEGER NOT NULL,
    value REAL,
    stderr REAL,
    reference REAL,
    seconds REAL NOT NULL,
    seal TEXT NOT NULL
);

CREATE TABLE arrays (
    sha256 TEXT PRIMARY KEY,        -- of dtype, shape and data
    dtype TEXT NOT NULL,
    shape TEXT NOT NULL,            -- JSON
    data BLOB NOT NULL              -- little-endian, C order
);

CREATE TABLE leases (
    run TEXT PRIMARY KEY,           -- runs.id
    epoch INTEGER NOT NULL,         -- the highest over all files holds
    token TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    process TEXT NOT NULL,          -- boot, namespace and start time of the process
    since REAL NOT NULL,
    heartbeat REAL NOT NULL,
    released INTEGER NOT NULL
);

CREATE VIEW runs_view AS
SELECT
    id, title, device,
    strftime('%Y-%m-%dT%H:%M:%SZ', created, 'unixepoch') AS created,
    reason,
    CASE WHEN reason IS NOT NULL THEN steps
         ELSE (SELECT count(*) FROM steps s WHERE s.run = runs.number AND s.role = 'step') END AS steps,
    value, reference,
    CASE WHEN typeof(value) = 'text' THEN value ELSE value - reference END AS deviation,
    CASE WHEN reason IS NOT NULL THEN seconds
         ELSE (SELECT coalesce(max(s.seconds), 0.0) FROM steps s WHERE s.run = runs.number) END AS seconds
FROM runs JOIN results ON results.run = runs.number
ORDER BY runs.created DESC;

CREATE VIEW trace AS
SELECT runs.id AS run, step, steps.value, steps.stderr, steps.seconds
FROM runs JOIN steps ON steps.run = runs.number
WHERE role = 'step'
ORDER BY runs.number, step;
"""

_JOBS = """
CREATE TABLE sessions (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    created REAL NOT NULL,          -- seconds since 1970, UTC
    host TEXT NOT NULL,
    device TEXT NOT NULL,
    shots INTEGER,                  -- NULL for exact values
    settings TEXT NOT NULL,         -- JSON, without credentials
    state TEXT NOT NULL,            -- open, paused, closed, broken
    revision INTEGER NOT NULL,      -- how often the state was set
    seal TEXT NOT NULL
);

CREATE TABLE jobs (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,        -- also the tag that the vendor is given
    session INTEGER NOT NULL,       -- sessions.key
    number INTEGER NOT NULL,        -- order in the session
    device TEXT NOT NULL,
    circuits INTEGER NOT NULL,
    shots INTEGER NOT NULL,         -- of all circuits together
    created REAL NOT NULL,
    paid INTEGER NOT NULL,
    estimate_seconds REAL NOT NULL,
    estimate_cost REAL NOT NULL,
    state TEXT NOT NULL,            -- written, sent, uncertain, done, failed, cancelled, unsent
    attempts INTEGER NOT NULL,
    provider_id TEXT,
    sent REAL,
    finished REAL,
    queued REAL,                    -- seconds
    seconds REAL,                   -- of the quantum processor
    cost REAL,                      -- charged
    error TEXT,
    details TEXT NOT NULL,          -- JSON
    seal TEXT NOT NULL
);
CREATE INDEX jobs_order ON jobs (session, number);

CREATE TABLE circuits (
    job INTEGER NOT NULL,           -- jobs.key
    position INTEGER NOT NULL,
    digest TEXT NOT NULL,
    shots INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    wires INTEGER,                  -- of the result
    bits TEXT,                      -- arrays.sha256 of the result: bits in order of shot and wire, eight to a byte
    seal TEXT NOT NULL,             -- of this row and of its uses
    PRIMARY KEY (job, position)
) WITHOUT ROWID;

CREATE TABLE uses (                 -- whom a circuit serves
    job INTEGER NOT NULL,
    position INTEGER NOT NULL,
    owner TEXT NOT NULL,            -- id of a run or of a batch
    step INTEGER NOT NULL,
    role TEXT NOT NULL,
    item INTEGER NOT NULL,          -- which circuit of the request
    PRIMARY KEY (job, position, owner, step, role, item)
) WITHOUT ROWID;
CREATE INDEX uses_owner ON uses (owner, step, role);

CREATE TABLE notes (
    session INTEGER NOT NULL,       -- sessions.key
    number INTEGER NOT NULL,
    host TEXT NOT NULL,
    time REAL NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,             -- JSON
    seal TEXT NOT NULL,
    PRIMARY KEY (session, number, host)
) WITHOUT ROWID;

CREATE TABLE commands (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    session TEXT NOT NULL,          -- sessions.id; the session may be in another host's file
    time REAL NOT NULL,
    body TEXT NOT NULL,             -- JSON
    taken INTEGER NOT NULL,
    seal TEXT NOT NULL
);
CREATE INDEX commands_waiting ON commands (session) WHERE taken = 0;

CREATE VIEW ledger AS
SELECT
    jobs.id AS job, sessions.id AS session, jobs.device, jobs.state,
    strftime('%Y-%m-%dT%H:%M:%SZ', jobs.created, 'unixepoch') AS created,
    jobs.circuits, jobs.shots, jobs.seconds, jobs.cost, jobs.attempts, jobs.provider_id
FROM jobs JOIN sessions ON sessions.key = jobs.session
ORDER BY sessions.created, sessions.id, jobs.number;
"""

_RULES = """
ALTER TABLE results ADD COLUMN rule TEXT;  -- JSON; null for the method's own; NULL where it is not known
"""

LAYOUTS = {1: _RUNS, 2: _JOBS, 3: _RULES}
"""What each layout adds to the one before, as SQL."""
