-- The durable job queue (jobs.md). Instants are microseconds since 1970.

CREATE TABLE jobs (
    id BLOB PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'running', 'completed', 'failed', 'dead')),
    -- The state before the last transition: SQLite's RETURNING sees only new values.
    previous_state TEXT,
    -- Claimable now: waiting and due. Keeps retries of the future out of the claim index.
    ready INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    -- Claim order within a partition: scheduled_at plus 60 s per priority level, which ages without upkeep.
    rank INTEGER NOT NULL,
    partition TEXT NOT NULL,
    unique_key TEXT,
    -- The unique key while it is occupied by this job.
    key_slot TEXT,
    keeps_key INTEGER NOT NULL,
    -- The package, release or artifact the payload names.
    target BLOB,
    attempts INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    crashes INTEGER NOT NULL DEFAULT 0,
    scheduled_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    lease_id BLOB,
    node_id TEXT,
    incarnation INTEGER,
    locked_by TEXT,
    locked_until INTEGER,
    heartbeat_at INTEGER,
    started_at INTEGER,
    completed_at INTEGER,
    cancel_requested INTEGER NOT NULL DEFAULT FALSE,
    last_error TEXT,
    dead_reason TEXT,
    progress_done INTEGER,
    progress_total INTEGER,
    progress_note TEXT,
    attempts_log TEXT NOT NULL DEFAULT '[]',
    enqueued_by TEXT,
    request_id TEXT
) STRICT;
CREATE UNIQUE INDEX jobs_key_slot ON jobs (kind, key_slot) WHERE key_slot IS NOT NULL;
CREATE INDEX jobs_ready ON jobs (kind, partition, rank, id) WHERE ready;
CREATE INDEX jobs_due ON jobs (scheduled_at) WHERE state IN ('pending', 'failed') AND NOT ready;
CREATE INDEX jobs_waiting ON jobs (state, scheduled_at) WHERE state IN ('pending', 'failed');
CREATE INDEX jobs_running ON jobs (kind, unique_key) WHERE state = 'running';
CREATE INDEX jobs_finished ON jobs (state, completed_at) WHERE state IN ('completed', 'dead');
CREATE INDEX jobs_finished_kind ON jobs (kind, state, completed_at) WHERE state IN ('completed', 'dead');
CREATE INDEX jobs_by_schedule ON jobs (scheduled_at, created_at DESC);
CREATE INDEX jobs_by_key ON jobs (kind, unique_key, id) WHERE unique_key IS NOT NULL;
CREATE INDEX jobs_by_target ON jobs (target) WHERE target IS NOT NULL;

-- How many jobs of a kind are in a state: the folded part, and changes not folded yet. Transitions only
-- insert, so no two transactions ever wait for each other's counter.
CREATE TABLE job_counts (
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (kind, state)
) STRICT;
CREATE TABLE job_deltas (
    id INTEGER PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    n INTEGER NOT NULL
) STRICT;

-- Present = paused.
CREATE TABLE job_pauses (
    kind TEXT PRIMARY KEY NOT NULL,
    paused_by TEXT,
    paused_at INTEGER NOT NULL
) STRICT;

-- Rates and latencies in buckets of ten seconds; histograms are JSON arrays of power-of-two buckets.
CREATE TABLE job_stats (
    bucket INTEGER NOT NULL,
    kind TEXT NOT NULL,
    node_id TEXT NOT NULL,
    finished INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    waits TEXT NOT NULL,
    runs TEXT NOT NULL,
    PRIMARY KEY (bucket, kind, node_id)
) STRICT;

CREATE TABLE nodes (
    node_id TEXT PRIMARY KEY NOT NULL,
    incarnation INTEGER NOT NULL,
    version TEXT NOT NULL,
    role TEXT NOT NULL,
    kinds TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL,
    is_draining INTEGER NOT NULL DEFAULT FALSE,
    -- Set by an orderly stop; such a node is gone, not dead.
    stopped_at INTEGER,
    running_jobs INTEGER NOT NULL DEFAULT 0,
    rss_bytes INTEGER NOT NULL DEFAULT 0,
    cpu_count INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE leaders (
    name TEXT PRIMARY KEY NOT NULL,
    node_id TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    since INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE TABLE schedules (
    name TEXT PRIMARY KEY NOT NULL,
    cron TEXT NOT NULL,
    kind TEXT NOT NULL,
    is_enabled INTEGER NOT NULL DEFAULT TRUE,
    last_tick INTEGER NOT NULL,
    next_run_at INTEGER NOT NULL,
    last_run_at INTEGER,
    last_job_id BLOB
) STRICT;
