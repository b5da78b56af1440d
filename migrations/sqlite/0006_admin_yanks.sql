-- A version that an administrator yanked is not for its owners to bring back.
ALTER TABLE releases ADD COLUMN yanked_by_admin INTEGER NOT NULL DEFAULT 0;
