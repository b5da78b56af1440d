-- Accounts, repositories, packages and what hangs on them. Instants are microseconds since 1970,
-- ids are UUIDs, words are TEXT with a Rust enum behind them, documents are JSON text in publisher's key order.

CREATE TABLE users (
    id BLOB PRIMARY KEY NOT NULL,
    -- Cargo needs an integer id in u32 range for owners.
    number INTEGER NOT NULL UNIQUE,
    username TEXT NOT NULL,
    username_key TEXT NOT NULL UNIQUE,
    email TEXT NOT NULL,
    email_key TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    display_name TEXT,
    bio TEXT,
    website TEXT,
    avatar_url TEXT,
    is_admin INTEGER NOT NULL DEFAULT 0,
    is_active INTEGER NOT NULL DEFAULT 1,
    email_verified INTEGER NOT NULL DEFAULT 0,
    totp_secret TEXT,
    totp_enabled_at INTEGER,
    totp_last_step INTEGER,
    last_login_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    id BLOB PRIMARY KEY NOT NULL,
    user_id BLOB NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    refresh_hash BLOB NOT NULL UNIQUE,
    previous_refresh_hash BLOB,
    rotated_at INTEGER,
    has_mfa INTEGER NOT NULL DEFAULT 0,
    ip_address TEXT,
    user_agent TEXT,
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    absolute_expires_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;
CREATE INDEX sessions_user ON sessions (user_id, created_at);
CREATE INDEX sessions_previous_refresh ON sessions (previous_refresh_hash) WHERE previous_refresh_hash IS NOT NULL;

CREATE TABLE repositories (
    id BLOB PRIMARY KEY NOT NULL,
    slug TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    description TEXT,
    kind TEXT NOT NULL,
    visibility TEXT NOT NULL,
    owner_user_id BLOB REFERENCES users(id),
    owner_org_id BLOB,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CHECK ((owner_user_id IS NULL) <> (owner_org_id IS NULL))
) STRICT;
CREATE INDEX repositories_owner_user ON repositories (owner_user_id, created_at);

CREATE TABLE packages (
    id BLOB PRIMARY KEY NOT NULL,
    ecosystem TEXT NOT NULL,
    name TEXT NOT NULL,
    normalized_name TEXT NOT NULL,
    collision_key TEXT NOT NULL,
    repository_id BLOB NOT NULL REFERENCES repositories(id),
    owner_user_id BLOB REFERENCES users(id),
    owner_org_id BLOB,
    visibility TEXT NOT NULL,
    is_quarantined INTEGER NOT NULL DEFAULT 0,
    is_archived INTEGER NOT NULL DEFAULT 0,
    -- Grows with every visible change; caches and validators are keyed by it.
    revision INTEGER NOT NULL DEFAULT 0,
    -- Numbers publishes and tag changes, so that tags follow publish order, not scan order.
    sequence INTEGER NOT NULL DEFAULT 0,
    description TEXT,
    readme TEXT,
    homepage TEXT,
    repository_url TEXT,
    license TEXT,
    keywords TEXT NOT NULL DEFAULT '[]',
    deprecation_message TEXT,
    download_count INTEGER NOT NULL DEFAULT 0,
    indexed_revision INTEGER NOT NULL DEFAULT -1,
    -- Set when the whole package was unpublished: the name stays with its owner.
    deleted_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (ecosystem, normalized_name),
    UNIQUE (ecosystem, collision_key),
    CHECK ((owner_user_id IS NULL) <> (owner_org_id IS NULL))
) STRICT;
CREATE INDEX packages_repository ON packages (repository_id);
CREATE INDEX packages_owner_user ON packages (owner_user_id);
CREATE INDEX packages_behind_index ON packages (updated_at) WHERE indexed_revision < revision;

-- Co-owners of user-owned packages (npm owner, cargo owner); ADR 0006.
CREATE TABLE package_owners (
    package_id BLOB NOT NULL REFERENCES packages(id) ON DELETE CASCADE,
    user_id BLOB NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    added_by BLOB REFERENCES users(id),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (package_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX package_owners_user ON package_owners (user_id);

CREATE TABLE package_stars (
    package_id BLOB NOT NULL REFERENCES packages(id) ON DELETE CASCADE,
    user_id BLOB NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (package_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX package_stars_user ON package_stars (user_id);

CREATE TABLE tokens (
    id BLOB PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    token_hash BLOB NOT NULL UNIQUE,
    last_four TEXT NOT NULL,
    scopes TEXT NOT NULL,
    user_id BLOB REFERENCES users(id) ON DELETE CASCADE,
    org_id BLOB,
    role TEXT,
    repository_id BLOB REFERENCES repositories(id) ON DELETE CASCADE,
    package_id BLOB REFERENCES packages(id) ON DELETE CASCADE,
    expires_at INTEGER,
    last_used_at INTEGER,
    used_up_at INTEGER,
    revoked_at INTEGER,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX tokens_user ON tokens (user_id, created_at);

CREATE TABLE releases (
    id BLOB PRIMARY KEY NOT NULL,
    package_id BLOB NOT NULL REFERENCES packages(id) ON DELETE CASCADE,
    version TEXT NOT NULL,
    -- Equal for versions the ecosystem calls equal; stays taken for good.
    version_key TEXT NOT NULL,
    sort_key BLOB NOT NULL,
    status TEXT NOT NULL,
    is_prerelease INTEGER NOT NULL,
    is_yanked INTEGER NOT NULL DEFAULT 0,
    yank_reason TEXT,
    deprecation_message TEXT,
    -- The adapter's normalised document of this release.
    metadata TEXT NOT NULL,
    -- Package-level facts that take effect when the release goes live.
    facts TEXT NOT NULL DEFAULT '{}',
    requested_tags TEXT NOT NULL DEFAULT '[]',
    sequence INTEGER NOT NULL,
    scans_total INTEGER NOT NULL DEFAULT 0,
    scans_done INTEGER NOT NULL DEFAULT 0,
    -- Why the last finalisation did not publish, as finding ids.
    blocked_by TEXT NOT NULL DEFAULT '[]',
    published_by BLOB REFERENCES users(id),
    is_native INTEGER NOT NULL DEFAULT 1,
    published_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (package_id, version_key)
) STRICT;
CREATE INDEX releases_live ON releases (package_id, status, sequence);
CREATE INDEX releases_staged ON releases (status, updated_at) WHERE status IN ('quarantine', 'scanning');

CREATE TABLE tags (
    package_id BLOB NOT NULL REFERENCES packages(id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    release_id BLOB NOT NULL REFERENCES releases(id) ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (package_id, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_release ON tags (release_id);

-- One row per distinct content; `location` is the store's own key.
CREATE TABLE blobs (
    digest TEXT PRIMARY KEY NOT NULL,
    location TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE artifacts (
    id BLOB PRIMARY KEY NOT NULL,
    release_id BLOB NOT NULL REFERENCES releases(id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    filename TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL REFERENCES blobs(digest),
    sha512 TEXT NOT NULL,
    sha1 TEXT,
    md5 TEXT,
    -- NULL until its scan has ended; then the digest of the rule set that judged it.
    scanned_with TEXT,
    uploaded_at INTEGER NOT NULL,
    UNIQUE (release_id, filename)
) STRICT;
CREATE INDEX artifacts_sha256 ON artifacts (sha256);

CREATE TABLE findings (
    id BLOB PRIMARY KEY NOT NULL,
    release_id BLOB NOT NULL REFERENCES releases(id) ON DELETE CASCADE,
    artifact_id BLOB REFERENCES artifacts(id) ON DELETE CASCADE,
    -- (artifact sha256, rule, location): scanning unchanged bytes again never doubles a finding.
    fingerprint TEXT NOT NULL,
    rule_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    category TEXT NOT NULL,
    severity TEXT NOT NULL,
    title TEXT NOT NULL,
    description TEXT,
    location TEXT NOT NULL,
    is_blocking INTEGER NOT NULL DEFAULT 0,
    resolved_at INTEGER,
    resolved_by BLOB REFERENCES users(id),
    note TEXT,
    detected_at INTEGER NOT NULL,
    UNIQUE (release_id, fingerprint)
) STRICT;

CREATE TABLE audit_log (
    id BLOB PRIMARY KEY NOT NULL,
    action TEXT NOT NULL,
    actor_user_id BLOB,
    actor_token_id BLOB,
    target_user_id BLOB,
    target_org_id BLOB,
    target_package_id BLOB,
    target_release_id BLOB,
    ip_address TEXT,
    user_agent TEXT,
    metadata TEXT NOT NULL,
    occurred_at INTEGER NOT NULL
) STRICT;
CREATE INDEX audit_log_time ON audit_log (occurred_at, id);
CREATE INDEX audit_log_package ON audit_log (target_package_id, occurred_at) WHERE target_package_id IS NOT NULL;

CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END;
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END;

-- Instance-wide facts: signing keys, generated once (name, value).
CREATE TABLE instance_settings (
    name TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Pending browser logins of command-line clients (npm web flow).
CREATE TABLE web_logins (
    id_hash BLOB PRIMARY KEY NOT NULL,
    user_id BLOB REFERENCES users(id) ON DELETE CASCADE,
    approved_at INTEGER,
    expires_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
