-- Upkeep: how each blob stands with the collector and the verifier, and downloads not yet summed.

-- kept: somebody may refer to it. missing, corrupt: kept, but this is how the verifier found its bytes.
-- doomed: nobody refers to it and nobody may any more, its digest reads `doomed:<location>`, and its bytes are
-- being deleted. gone: they are deleted; the row still keeps a late publish from naming that key (ADR 0012).
ALTER TABLE blobs ADD COLUMN state TEXT NOT NULL DEFAULT 'kept';
ALTER TABLE blobs ADD COLUMN state_at INTEGER;
-- A key is in one row only: a publish and the collector that want the same key meet here.
CREATE UNIQUE INDEX blobs_location ON blobs (location);
CREATE INDEX blobs_by_state ON blobs (state, state_at) WHERE state <> 'kept';

CREATE INDEX releases_deleted ON releases (updated_at) WHERE status = 'deleted';
CREATE INDEX findings_artifact ON findings (artifact_id) WHERE artifact_id IS NOT NULL;

-- Downloads as the processes noted them; `flush_downloads` sums them into `packages`. No two writers ever
-- wait for each other's counter.
CREATE TABLE download_deltas (
    id INTEGER PRIMARY KEY NOT NULL,
    package_id BLOB NOT NULL,
    n INTEGER NOT NULL
) STRICT;
