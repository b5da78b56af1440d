-- Releases whose number of files nobody announces (Maven): open while files come, sealed afterwards.

-- Until when files may still be added; moves on with each. NULL: the release is not of that kind.
ALTER TABLE releases ADD COLUMN open_until INTEGER;
-- Set by the client's last request, or once `open_until` has passed.
ALTER TABLE releases ADD COLUMN sealed_at INTEGER;
CREATE INDEX releases_open ON releases (open_until) WHERE open_until IS NOT NULL AND sealed_at IS NULL;

-- Checksums that clients uploaded beside files, kept for files that are yet to come.
CREATE TABLE uploaded_checksums (
    -- The account or organization that sent it: nobody can spoil another's upload.
    actor_id BLOB NOT NULL,
    -- Of the file, below the mount.
    path TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    digest TEXT NOT NULL,
    uploaded_at INTEGER NOT NULL,
    PRIMARY KEY (actor_id, path, algorithm)
) STRICT, WITHOUT ROWID;
CREATE INDEX uploaded_checksums_age ON uploaded_checksums (uploaded_at);
CREATE INDEX uploaded_checksums_path ON uploaded_checksums (path);

-- Short names under which Maven plugins are called: `mvn gizmo:help`.
CREATE TABLE plugin_prefixes (
    package_id BLOB NOT NULL REFERENCES packages(id) ON DELETE CASCADE,
    prefix TEXT NOT NULL,
    name TEXT,
    added_at INTEGER NOT NULL,
    PRIMARY KEY (package_id, prefix)
) STRICT, WITHOUT ROWID;
