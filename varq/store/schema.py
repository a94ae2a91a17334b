"""The tables of a store file.  They change only together with `SCHEMA`."""

from __future__ import annotations

__all__ = ["APPLICATION", "NEEDS", "SCHEMA", "SQL"]

SCHEMA = 1  # PRAGMA user_version
NEEDS = "0.1.0"  # the first varq that reads this layout; an older one shows it in its refusal
APPLICATION = int.from_bytes(b"varq", "big")  # PRAGMA application_id

SQL = """
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
    role TEXT NOT NULL,             -- 'step' or 'final'
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
