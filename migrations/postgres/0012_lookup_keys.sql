-- Keys by which clients ask for what is inside a file without naming its package: debuggers know symbol files by
-- their name and id only. Several files may answer to one key; the newest that the caller may see does.
CREATE TABLE artifact_lookup_keys (
    ecosystem TEXT NOT NULL,
    key TEXT NOT NULL,
    artifact_id UUID NOT NULL REFERENCES artifacts(id) ON DELETE CASCADE,
    PRIMARY KEY (ecosystem, key, artifact_id)
);
CREATE INDEX artifact_lookup_keys_artifact ON artifact_lookup_keys (artifact_id);
