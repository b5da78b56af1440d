-- Requests that may be sent again, and second factors of accounts.

-- One row per (actor, method, path, key) of the last 24 hours; only digests of them are kept.
CREATE TABLE idempotency_keys (
    key_hash BYTEA PRIMARY KEY NOT NULL,
    body_hash BYTEA NOT NULL,
    -- Whoever runs the request; an answer is kept only of the last one.
    attempt UUID NOT NULL,
    claimed_at BIGINT NOT NULL,
    -- NULL while it runs.
    status BIGINT,
    content_type TEXT,
    body BYTEA
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (claimed_at);

-- A second factor that its owner has not confirmed yet.
CREATE TABLE mfa_setups (
    user_id UUID PRIMARY KEY NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    totp_secret TEXT NOT NULL,
    -- Keyed digests of the recovery codes that were shown: a JSON list of lists of bytes.
    recovery_codes TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Recovery codes that were not used yet, as keyed digests.
CREATE TABLE recovery_codes (
    user_id UUID NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    code_hash BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, code_hash)
);

-- Logins whose password was right and whose second factor is awaited.
CREATE TABLE mfa_challenges (
    id_hash BYTEA PRIMARY KEY NOT NULL,
    user_id UUID NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    failures BIGINT NOT NULL DEFAULT 0,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX mfa_challenges_age ON mfa_challenges (expires_at);

CREATE INDEX audit_log_action ON audit_log (action, occurred_at, id);
CREATE INDEX audit_log_actor ON audit_log (actor_user_id, occurred_at, id) WHERE actor_user_id IS NOT NULL;
CREATE INDEX audit_log_user ON audit_log (target_user_id, occurred_at, id) WHERE target_user_id IS NOT NULL;
