-- OCI: blobs held by repositories, uploads in progress, what manifests refer to (docs/adr/0020-oci-storage.md).

-- A repository's pushes may name content that is not there (cosign load, sparse indexes).
ALTER TABLE packages ADD COLUMN allows_missing_references BOOLEAN NOT NULL DEFAULT FALSE;

-- Which blobs a repository holds, under the digest they were pushed with.
CREATE TABLE oci_blobs (
    -- The package or, before there is one, the account or organization that uploaded.
    holder_id UUID NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    sha256 TEXT NOT NULL REFERENCES blobs(digest),
    created_at BIGINT NOT NULL,
    -- Last time somebody was told that it is here and may rely on it.
    touched_at BIGINT NOT NULL,
    PRIMARY KEY (holder_id, name, digest)
);
CREATE INDEX oci_blobs_sha256 ON oci_blobs (sha256);
CREATE INDEX oci_blobs_digest ON oci_blobs (digest);
CREATE INDEX oci_blobs_touched ON oci_blobs (touched_at);

CREATE TABLE oci_uploads (
    id UUID PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    -- The account or organization that began it.
    actor_id UUID NOT NULL,
    -- The blob store's own account of it, as JSON text.
    state TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    -- Who may append, and until when.
    writer_id UUID,
    writer_until BIGINT,
    -- Set when it became a blob; kept a while for clients that lost the answer.
    finished_digest TEXT,
    created_at BIGINT NOT NULL,
    touched_at BIGINT NOT NULL
);
CREATE INDEX oci_uploads_touched ON oci_uploads (touched_at);
CREATE INDEX oci_uploads_writers ON oci_uploads (writer_until) WHERE writer_id IS NOT NULL;

-- Every manifest that is not deleted, staged ones included.
CREATE TABLE oci_manifests (
    release_id UUID PRIMARY KEY NOT NULL REFERENCES releases(id) ON DELETE CASCADE,
    package_id UUID NOT NULL REFERENCES packages(id) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    -- The manifest it is about; may not exist.
    subject TEXT,
    artifact_type TEXT,
    -- Its entry in the referrers listing, as JSON text.
    descriptor TEXT NOT NULL
);
CREATE INDEX oci_manifests_subject ON oci_manifests (package_id, subject, digest COLLATE "C") WHERE subject IS NOT NULL;

-- What those manifests cannot be used without.
CREATE TABLE oci_references (
    release_id UUID NOT NULL REFERENCES releases(id) ON DELETE CASCADE,
    package_id UUID NOT NULL REFERENCES packages(id) ON DELETE CASCADE,
    child TEXT NOT NULL,
    kind TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    -- The content to scan; NULL for manifests and for what is not here.
    sha256 TEXT,
    PRIMARY KEY (release_id, child)
);
CREATE INDEX oci_references_child ON oci_references (package_id, child);
CREATE INDEX oci_references_sha256 ON oci_references (sha256) WHERE sha256 IS NOT NULL;

-- What scanners said about content that several releases share. Outlives the content: the verdict is on
-- the bytes, wherever they turn up again.
CREATE TABLE content_scans (
    sha256 TEXT PRIMARY KEY NOT NULL,
    ruleset TEXT NOT NULL,
    -- A JSON array.
    findings TEXT NOT NULL,
    scanned_at BIGINT NOT NULL
);

-- Tags that take effect when their release goes live, each with the number of its own request.
CREATE TABLE staged_tags (
    release_id UUID NOT NULL REFERENCES releases(id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (release_id, tag)
);

-- Listings are in byte order, whatever the database's collation.
CREATE INDEX tags_bytes ON tags (package_id, tag COLLATE "C");
CREATE INDEX packages_name_bytes ON packages (ecosystem, normalized_name COLLATE "C");
