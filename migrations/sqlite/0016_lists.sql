-- What lists of a large registry take (docs/benchmarks.md, `make bench-lists`).

-- Filters by action, actor and organization are decided in the index; it takes the place of a narrower one.
DROP INDEX audit_log_org;
CREATE INDEX audit_log_org ON audit_log (target_org_id, occurred_at, id, action, actor_user_id)
    WHERE target_org_id IS NOT NULL;
DROP INDEX audit_log_actor;
CREATE INDEX audit_log_actor ON audit_log (actor_user_id, occurred_at, id, action, target_org_id)
    WHERE actor_user_id IS NOT NULL;

DROP INDEX audit_log_access;
CREATE INDEX audit_log_access ON audit_log (target_org_id, occurred_at, id, action)
    WHERE action IN ('team_package_access_update', 'team_repository_access_update', 'team_namespace_access_update');

-- How many packages there are, and for whom, is counted in the index.
DROP INDEX packages_owner_org;
CREATE INDEX packages_owner_org ON packages (owner_org_id, deleted_at) WHERE owner_org_id IS NOT NULL;
DROP INDEX packages_repository;
CREATE INDEX packages_repository ON packages (repository_id, deleted_at, visibility, is_quarantined, owner_org_id,
    owner_user_id);

-- Findings of a package without a look at each of its releases. Never changes, as a release stays in its package;
-- the database sees to it, so that no writer can forget.
ALTER TABLE findings ADD COLUMN package_id BLOB;
UPDATE findings SET package_id = (SELECT r.package_id FROM releases r WHERE r.id = findings.release_id);
CREATE TRIGGER findings_package AFTER INSERT ON findings
BEGIN
    UPDATE findings SET package_id = (SELECT r.package_id FROM releases r WHERE r.id = NEW.release_id) WHERE id = NEW.id;
END;
CREATE INDEX findings_package ON findings (package_id, detected_at, id);
CREATE INDEX findings_open ON findings (package_id, release_id, severity, detected_at) WHERE resolved_at IS NULL;

-- Files that are in, or stay in, a quarantine of their own: few.
CREATE INDEX artifacts_withheld ON artifacts (id) WHERE state IN ('scanning', 'held');

-- Pages of jobs, whose order is that of an index with all that it takes; of a kind of which there are few, too.
DROP INDEX jobs_by_schedule;
CREATE INDEX jobs_by_schedule ON jobs (scheduled_at, created_at DESC, id DESC);
CREATE INDEX jobs_by_kind ON jobs (kind, scheduled_at, created_at DESC, id DESC);
DROP INDEX jobs_finished;
CREATE INDEX jobs_finished ON jobs (state, completed_at, id) WHERE state IN ('completed', 'dead');
DROP INDEX jobs_finished_kind;
CREATE INDEX jobs_finished_kind ON jobs (kind, state, completed_at, id) WHERE state IN ('completed', 'dead');
