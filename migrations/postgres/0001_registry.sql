-- Accounts, repositories, packages and what hangs on them. Instants are microseconds since 1970,
-- ids are UUIDs, words are TEXT with a Rust enum behind them, documents are JSON text in publisher's key order.

CREATE TABLE users (
    id UUID PRIMARY KEY NOT NULL,
    -- Cargo needs an integer id in u32 range for owners.
    number BIGINT NOT NULL UNIQUE,
    username TEXT NOT NULL,
    username_key TEXT NOT NULL UNIQUE,
    email TEXT NOT NULL,
    email_key TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    display_name TEXT,
    bio TEXT,
    website TEXT,
    avatar_url TEXT,
    is_admin BOOLEAN NOT NULL DEFAULT FALSE,
    is_active BOOLEAN NOT NULL DEFAULT TRUE,
    email_verified BOOLEAN NOT NULL DEFAULT FALSE,
    totp_secret TEXT,
    totp_enabled_at BIGINT,
    totp_last_step BIGINT,
    last_login_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE sessions (
    id UUID PRIMARY KEY NOT NULL,
    user_id UUID NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    refresh_hash BYTEA NOT NULL UNIQUE,
    previous_refresh_hash BYTEA,
    rotated_at BIGINT,
    has_mfa BOOLEAN NOT NULL DEFAULT FALSE,
    ip_address TEXT,
    user_agent TEXT,
    created_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    absolute_expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE INDEX sessions_user ON sessions (user_id, created_at);
CREATE INDEX sessions_previous_refresh ON sessions (previous_refresh_hash) WHERE previous_refresh_hash IS NOT NULL;

CREATE TABLE repositories (
    id UUID PRIMARY KEY NOT NULL,
    slug TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    description TEXT,
    kind TEXT NOT NULL,
    visibility TEXT NOT NULL,
    owner_user_id UUID REFERENCES users(id),
    owner_org_id UUID,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    CHECK ((owner_user_id IS NULL) <> (owner_org_id IS NULL))
);
CREATE INDEX repositories_owner_user ON repositories (owner_user_id, created_at);

CREATE TABLE packages (
    id UUID PRIMARY KEY NOT NULL,
    ecosystem TEXT NOT NULL,
    name TEXT NOT NULL,
    normalized_name TEXT NOT NULL,
    collision_key TEXT NOT NULL,
    repository_id UUID NOT NULL REFERENCES repositories(id),
    owner_user_id UUID REFERENCES users(id),
    owner_org_id UUID,
    visibility TEXT NOT NULL,
    is_quarantined BOOLEAN NOT NULL DEFAULT FALSE,
    is_archived BOOLEAN NOT NULL DEFAULT FALSE,
    -- Grows with every visible change; caches and validators are keyed by it.
    revision BIGINT NOT NULL DEFAULT 0,
    -- Numbers publishes and tag changes, so that tags follow publish order, not scan order.
    sequence BIGINT NOT NULL DEFAULT 0,
    description TEXT,
    readme TEXT,
    homepage TEXT,
    repository_url TEXT,
    license TEXT,
    keywords TEXT NOT NULL DEFAULT '[]',
    deprecation_message TEXT,
    download_count BIGINT NOT NULL DEFAULT 0,
    indexed_revision BIGINT NOT NULL DEFAULT -1,
    -- Set when the whole package was unpublished: the name stays with its owner.
    deleted_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (ecosystem, normalized_name),
    UNIQUE (ecosystem, collision_key),
    CHECK ((owner_user_id IS NULL) <> (owner_org_id IS NULL))
);
CREATE INDEX packages_repository ON packages (repository_id);
CREATE INDEX packages_owner_user ON packages (owner_user_id);
CREATE INDEX packages_behind_index ON packages (updated_at) WHERE indexed_revision < revision;

-- Co-owners of user-owned packages (npm owner, cargo owner); ADR 0006.
CREATE TABLE package_owners (
    package_id UUID NOT NULL REFERENCES packages(id) ON DELETE CASCADE,
    user_id UUID NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    added_by UUID REFERENCES users(id),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (package_id, user_id)
);
CREATE INDEX package_owners_user ON package_owners (user_id);

CREATE TABLE package_stars (
    package_id UUID NOT NULL REFERENCES packages(id) ON DELETE CASCADE,
    user_id UUID NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (package_id, user_id)
);
CREATE INDEX package_stars_user ON package_stars (user_id);

CREATE TABLE tokens (
    id UUID PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    token_hash BYTEA NOT NULL UNIQUE,
    last_four TEXT NOT NULL,
    scopes TEXT NOT NULL,
    user_id UUID REFERENCES users(id) ON DELETE CASCADE,
    org_id UUID,
    role TEXT,
    repository_id UUID REFERENCES repositories(id) ON DELETE CASCADE,
    package_id UUID REFERENCES packages(id) ON DELETE CASCADE,
    expires_at BIGINT,
    last_used_at BIGINT,
    used_up_at BIGINT,
    revoked_at BIGINT,
    created_at BIGINT NOT NULL
);
CREATE INDEX tokens_user ON tokens (user_id, created_at);

CREATE TABLE releases (
    id UUID PRIMARY KEY NOT NULL,
    package_id UUID NOT NULL REFERENCES packages(id) ON DELETE CASCADE,
    version TEXT NOT NULL,
    -- Equal for versions the ecosystem calls equal; stays taken for good.
    version_key TEXT NOT NULL,
    sort_key BYTEA NOT NULL,
    status TEXT NOT NULL,
    is_prerelease BOOLEAN NOT NULL,
    is_yanked BOOLEAN NOT NULL DEFAULT FALSE,
    yank_reason TEXT,
    deprecation_message TEXT,
    -- The adapter's normalised document of this release.
    metadata TEXT NOT NULL,
    -- Package-level facts that take effect when the release goes live.
    facts TEXT NOT NULL DEFAULT '{}',
    requested_tags TEXT NOT NULL DEFAULT '[]',
    sequence BIGINT NOT NULL,
    scans_total BIGINT NOT NULL DEFAULT 0,
    scans_done BIGINT NOT NULL DEFAULT 0,
    -- Why the last finalisation did not publish, as finding ids.
    blocked_by TEXT NOT NULL DEFAULT '[]',
    published_by UUID REFERENCES users(id),
    is_native BOOLEAN NOT NULL DEFAULT TRUE,
    published_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (package_id, version_key)
);
CREATE INDEX releases_live ON releases (package_id, status, sequence);
CREATE INDEX releases_staged ON releases (status, updated_at) WHERE status IN ('quarantine', 'scanning');

CREATE TABLE tags (
    package_id UUID NOT NULL REFERENCES packages(id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    release_id UUID NOT NULL REFERENCES releases(id) ON DELETE CASCADE,
    sequence BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (package_id, tag)
);
CREATE INDEX tags_release ON tags (release_id);

-- One row per distinct content; `location` is the store's own key.
CREATE TABLE blobs (
    digest TEXT PRIMARY KEY NOT NULL,
    location TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE artifacts (
    id UUID PRIMARY KEY NOT NULL,
    release_id UUID NOT NULL REFERENCES releases(id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    filename TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256 TEXT NOT NULL REFERENCES blobs(digest),
    sha512 TEXT NOT NULL,
    sha1 TEXT,
    md5 TEXT,
    -- NULL until its scan has ended; then the digest of the rule set that judged it.
    scanned_with TEXT,
    uploaded_at BIGINT NOT NULL,
    UNIQUE (release_id, filename)
);
CREATE INDEX artifacts_sha256 ON artifacts (sha256);

CREATE TABLE findings (
    id UUID PRIMARY KEY NOT NULL,
    release_id UUID NOT NULL REFERENCES releases(id) ON DELETE CASCADE,
    artifact_id UUID REFERENCES artifacts(id) ON DELETE CASCADE,
    -- (artifact sha256, rule, location): scanning unchanged bytes again never doubles a finding.
    fingerprint TEXT NOT NULL,
    rule_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    category TEXT NOT NULL,
    severity TEXT NOT NULL,
    title TEXT NOT NULL,
    description TEXT,
    location TEXT NOT NULL,
    is_blocking BOOLEAN NOT NULL DEFAULT FALSE,
    resolved_at BIGINT,
    resolved_by UUID REFERENCES users(id),
    note TEXT,
    detected_at BIGINT NOT NULL,
    UNIQUE (release_id, fingerprint)
);

CREATE TABLE audit_log (
    id UUID PRIMARY KEY NOT NULL,
    action TEXT NOT NULL,
    actor_user_id UUID,
    actor_token_id UUID,
    target_user_id UUID,
    target_org_id UUID,
    target_package_id UUID,
    target_release_id UUID,
    ip_address TEXT,
    user_agent TEXT,
    metadata TEXT NOT NULL,
    occurred_at BIGINT NOT NULL
);
CREATE INDEX audit_log_time ON audit_log (occurred_at, id);
CREATE INDEX audit_log_package ON audit_log (target_package_id, occurred_at) WHERE target_package_id IS NOT NULL;

CREATE FUNCTION audit_log_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'audit_log is append-only'; END $$;
CREATE TRIGGER audit_log_no_change BEFORE UPDATE OR DELETE ON audit_log
FOR EACH ROW EXECUTE FUNCTION audit_log_refuse();
CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION audit_log_refuse();

-- Instance-wide facts: signing keys, generated once (name, value).
CREATE TABLE instance_settings (
    name TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- Pending browser logins of command-line clients (npm web flow).
CREATE TABLE web_logins (
    id_hash BYTEA PRIMARY KEY NOT NULL,
    user_id UUID REFERENCES users(id) ON DELETE CASCADE,
    approved_at BIGINT,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
