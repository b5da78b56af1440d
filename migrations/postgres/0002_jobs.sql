-- The durable job queue (jobs.md). Instants are microseconds since 1970.

-- The clock of leases and schedules, usable in index conditions.
CREATE FUNCTION publaryn_now() RETURNS BIGINT LANGUAGE SQL STABLE
    AS $$ SELECT CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000000 AS BIGINT) $$;

CREATE TABLE jobs (
    id UUID PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'running', 'completed', 'failed', 'dead')),
    -- The state before the last transition: SQLite's RETURNING sees only new values.
    previous_state TEXT,
    -- Claimable now: waiting and due. Keeps retries of the future out of the claim index.
    ready BOOLEAN NOT NULL,
    priority BIGINT NOT NULL,
    -- Claim order within a partition: scheduled_at plus 60 s per priority level, which ages without upkeep.
    rank BIGINT NOT NULL,
    partition TEXT NOT NULL,
    unique_key TEXT,
    -- The unique key while it is occupied by this job.
    key_slot TEXT,
    keeps_key BOOLEAN NOT NULL,
    -- The package, release or artifact the payload names.
    target UUID,
    attempts BIGINT NOT NULL DEFAULT 0,
    max_attempts BIGINT NOT NULL,
    crashes BIGINT NOT NULL DEFAULT 0,
    scheduled_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    lease_id UUID,
    node_id TEXT,
    incarnation BIGINT,
    locked_by TEXT,
    locked_until BIGINT,
    heartbeat_at BIGINT,
    started_at BIGINT,
    completed_at BIGINT,
    cancel_requested BOOLEAN NOT NULL DEFAULT FALSE,
    last_error TEXT,
    dead_reason TEXT,
    progress_done BIGINT,
    progress_total BIGINT,
    progress_note TEXT,
    attempts_log TEXT NOT NULL DEFAULT '[]',
    enqueued_by TEXT,
    request_id TEXT
);
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
    n BIGINT NOT NULL,
    PRIMARY KEY (kind, state)
);
CREATE TABLE job_deltas (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    n BIGINT NOT NULL
);

-- Present = paused.
CREATE TABLE job_pauses (
    kind TEXT PRIMARY KEY NOT NULL,
    paused_by TEXT,
    paused_at BIGINT NOT NULL
);

-- Rates and latencies in buckets of ten seconds; histograms are JSON arrays of power-of-two buckets.
CREATE TABLE job_stats (
    bucket BIGINT NOT NULL,
    kind TEXT NOT NULL,
    node_id TEXT NOT NULL,
    finished BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    waits TEXT NOT NULL,
    runs TEXT NOT NULL,
    PRIMARY KEY (bucket, kind, node_id)
);

CREATE TABLE nodes (
    node_id TEXT PRIMARY KEY NOT NULL,
    incarnation BIGINT NOT NULL,
    version TEXT NOT NULL,
    role TEXT NOT NULL,
    kinds TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    heartbeat_at BIGINT NOT NULL,
    is_draining BOOLEAN NOT NULL DEFAULT FALSE,
    -- Set by an orderly stop; such a node is gone, not dead.
    stopped_at BIGINT,
    running_jobs BIGINT NOT NULL DEFAULT 0,
    rss_bytes BIGINT NOT NULL DEFAULT 0,
    cpu_count BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE leaders (
    name TEXT PRIMARY KEY NOT NULL,
    node_id TEXT NOT NULL,
    incarnation BIGINT NOT NULL,
    since BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE schedules (
    name TEXT PRIMARY KEY NOT NULL,
    cron TEXT NOT NULL,
    kind TEXT NOT NULL,
    is_enabled BOOLEAN NOT NULL DEFAULT TRUE,
    last_tick BIGINT NOT NULL,
    next_run_at BIGINT NOT NULL,
    last_run_at BIGINT,
    last_job_id UUID
);

-- Rows change a few times and rest; dead versions in the hot indexes cost every claim.
ALTER TABLE jobs SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE job_deltas SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
