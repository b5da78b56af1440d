-- Names of unpublished packages whose owner or repository was deleted: nobody may have them again (ADR 0041).
CREATE TABLE retired_names (
    ecosystem TEXT NOT NULL,
    collision_key TEXT NOT NULL,
    -- As its adapter accepted it.
    name TEXT NOT NULL,
    retired_at INTEGER NOT NULL,
    PRIMARY KEY (ecosystem, collision_key)
) STRICT, WITHOUT ROWID;
