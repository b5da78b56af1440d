-- Files with a quarantine of their own, what is kept beside a file, names that look alike.

-- `joint`: judged together with its release. Otherwise `scanning`, `live` or `held`, whatever the release is.
ALTER TABLE artifacts ADD COLUMN state TEXT NOT NULL DEFAULT 'joint';
-- The adapter's own document of this file, where the release's is not enough.
ALTER TABLE artifacts ADD COLUMN metadata TEXT;
-- What the release says of itself once this file is cleared, unless it is live by then.
ALTER TABLE artifacts ADD COLUMN pending TEXT;
CREATE INDEX artifacts_scanning ON artifacts (uploaded_at) WHERE state = 'scanning';

-- What clients fetch beside a file: the manifest inside it, attestations about it.
CREATE TABLE artifact_companions (
    artifact_id BLOB NOT NULL REFERENCES artifacts(id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    content_type TEXT NOT NULL,
    sha256 TEXT NOT NULL REFERENCES blobs(digest),
    PRIMARY KEY (artifact_id, role)
) STRICT, WITHOUT ROWID;
CREATE INDEX artifact_companions_sha256 ON artifact_companions (sha256);

-- Names of files that must be cleared before the release goes live; JSON.
ALTER TABLE releases ADD COLUMN required_files TEXT NOT NULL DEFAULT '[]';

-- The release whose files a `publish` token may still add to.
ALTER TABLE tokens ADD COLUMN used_for BLOB;
