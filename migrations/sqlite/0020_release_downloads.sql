-- Downloads of each release. Not in `releases`: their rows hold whole documents and would be written anew for a number.
CREATE TABLE release_downloads (
    release_id BLOB PRIMARY KEY NOT NULL REFERENCES releases(id) ON DELETE CASCADE,
    n INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- None in notes from before.
ALTER TABLE download_deltas ADD COLUMN release_id BLOB;
