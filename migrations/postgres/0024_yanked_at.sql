-- When a release was yanked: indexes that tell of it as of an event must tell the same moment for good, whatever else
-- is said of the release later.
ALTER TABLE releases ADD COLUMN yanked_at BIGINT;
UPDATE releases SET yanked_at = updated_at WHERE status = 'yanked';
