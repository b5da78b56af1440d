-- Workloads that may publish a package which does not exist yet: the first exchange creates it. They hold no name.
CREATE TABLE pending_publishers (
    -- That of the trusted publisher it becomes.
    id BLOB PRIMARY KEY NOT NULL,
    ecosystem TEXT NOT NULL,
    -- As its adapter accepted it.
    name TEXT NOT NULL,
    normalized_name TEXT NOT NULL,
    collision_key TEXT NOT NULL,
    lookalike_key TEXT NOT NULL,
    -- Where the package will be.
    target_repository_id BLOB NOT NULL REFERENCES repositories(id) ON DELETE CASCADE,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    repository TEXT,
    workflow_ref TEXT,
    -- Empty for any.
    environment TEXT NOT NULL DEFAULT '',
    created_by BLOB NOT NULL REFERENCES users(id),
    created_at INTEGER NOT NULL,
    UNIQUE (created_by, ecosystem, normalized_name, issuer, subject, environment)
) STRICT;
CREATE INDEX pending_publishers_subject ON pending_publishers (issuer, subject);
CREATE INDEX pending_publishers_repository ON pending_publishers (target_repository_id);
