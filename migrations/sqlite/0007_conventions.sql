-- Requests that may be sent again, and second factors of accounts.

-- One row per (actor, method, path, key) of the last 24 hours; only digests of them are kept.
CREATE TABLE idempotency_keys (
    key_hash BLOB PRIMARY KEY NOT NULL,
    body_hash BLOB NOT NULL,
    -- Whoever runs the request; an answer is kept only of the last one.
    attempt BLOB NOT NULL,
    claimed_at INTEGER NOT NULL,
    -- NULL while it runs.
    status INTEGER,
    content_type TEXT,
    body BLOB
) STRICT;
CREATE INDEX idempotency_keys_age ON idempotency_keys (claimed_at);

-- A second factor that its owner has not confirmed yet.
CREATE TABLE mfa_setups (
    user_id BLOB PRIMARY KEY NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    totp_secret TEXT NOT NULL,
    -- Keyed digests of the recovery codes that were shown: a JSON list of lists of bytes.
    recovery_codes TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Recovery codes that were not used yet, as keyed digests.
CREATE TABLE recovery_codes (
    user_id BLOB NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    code_hash BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, code_hash)
) STRICT, WITHOUT ROWID;

-- Logins whose password was right and whose second factor is awaited.
CREATE TABLE mfa_challenges (
    id_hash BLOB PRIMARY KEY NOT NULL,
    user_id BLOB NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    failures INTEGER NOT NULL DEFAULT 0,
    expires_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX mfa_challenges_age ON mfa_challenges (expires_at);

CREATE INDEX audit_log_action ON audit_log (action, occurred_at, id);
CREATE INDEX audit_log_actor ON audit_log (actor_user_id, occurred_at, id) WHERE actor_user_id IS NOT NULL;
CREATE INDEX audit_log_user ON audit_log (target_user_id, occurred_at, id) WHERE target_user_id IS NOT NULL;
