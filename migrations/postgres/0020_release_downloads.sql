-- Downloads of each release. Not in `releases`: their rows hold whole documents and would be written anew for a number.
CREATE TABLE release_downloads (
    release_id UUID PRIMARY KEY REFERENCES releases(id) ON DELETE CASCADE,
    n BIGINT NOT NULL
);

-- None in notes from before.
ALTER TABLE download_deltas ADD COLUMN release_id UUID;
