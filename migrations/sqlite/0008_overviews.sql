-- The audit log of one organization.
CREATE INDEX audit_log_org ON audit_log (target_org_id, occurred_at, id) WHERE target_org_id IS NOT NULL;
-- What its teams were granted.
CREATE INDEX audit_log_access ON audit_log (target_org_id, occurred_at, id)
    WHERE action IN ('team_package_access_update', 'team_repository_access_update', 'team_namespace_access_update');

-- The instance in numbers: the folded part, and changes not folded yet. Changes only insert, so no two
-- transactions ever wait for each other's counter, and reading sums a few rows however much there is.
CREATE TABLE tallies (
    name TEXT PRIMARY KEY NOT NULL,
    n INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE tally_deltas (
    id INTEGER PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    n INTEGER NOT NULL
) STRICT;

-- Packages of effective visibility `public`.
CREATE VIEW open_packages AS SELECT p.id FROM packages p JOIN repositories r ON r.id = p.repository_id
    WHERE p.visibility = 'public' AND r.visibility = 'public' AND NOT p.is_quarantined AND p.deleted_at IS NULL;

INSERT INTO tallies (name, n)
    SELECT 'organizations', COUNT(*) FROM organizations
    UNION ALL SELECT 'artifacts', COUNT(*) FROM artifacts
    UNION ALL SELECT 'findings', COUNT(*) FROM findings
    UNION ALL SELECT 'unresolved_findings', COUNT(*) FROM findings WHERE resolved_at IS NULL
    UNION ALL SELECT 'packages', COUNT(*) FROM open_packages
    UNION ALL SELECT 'releases', COUNT(*) FROM releases l JOIN open_packages o ON o.id = l.package_id
        WHERE l.status IN ('published', 'deprecated', 'yanked');

CREATE TRIGGER tally_organization_in AFTER INSERT ON organizations
BEGIN INSERT INTO tally_deltas (name, n) VALUES ('organizations', 1); END;
CREATE TRIGGER tally_organization_out AFTER DELETE ON organizations
BEGIN INSERT INTO tally_deltas (name, n) VALUES ('organizations', -1); END;

CREATE TRIGGER tally_artifact_in AFTER INSERT ON artifacts
BEGIN INSERT INTO tally_deltas (name, n) VALUES ('artifacts', 1); END;
CREATE TRIGGER tally_artifact_out AFTER DELETE ON artifacts
BEGIN INSERT INTO tally_deltas (name, n) VALUES ('artifacts', -1); END;

CREATE TRIGGER tally_finding_in AFTER INSERT ON findings
BEGIN INSERT INTO tally_deltas (name, n) VALUES ('findings', 1), ('unresolved_findings', NEW.resolved_at IS NULL); END;
CREATE TRIGGER tally_finding_out AFTER DELETE ON findings
BEGIN INSERT INTO tally_deltas (name, n) VALUES ('findings', -1), ('unresolved_findings', -(OLD.resolved_at IS NULL)); END;
CREATE TRIGGER tally_finding_change AFTER UPDATE OF resolved_at ON findings
WHEN (OLD.resolved_at IS NULL) <> (NEW.resolved_at IS NULL)
BEGIN INSERT INTO tally_deltas (name, n) VALUES ('unresolved_findings', (NEW.resolved_at IS NULL) - (OLD.resolved_at IS NULL)); END;

CREATE TRIGGER tally_release_in AFTER INSERT ON releases
WHEN NEW.status IN ('published', 'deprecated', 'yanked')
BEGIN INSERT INTO tally_deltas (name, n) SELECT 'releases', 1 FROM open_packages o WHERE o.id = NEW.package_id; END;
CREATE TRIGGER tally_release_out AFTER DELETE ON releases
WHEN OLD.status IN ('published', 'deprecated', 'yanked')
BEGIN INSERT INTO tally_deltas (name, n) SELECT 'releases', -1 FROM open_packages o WHERE o.id = OLD.package_id; END;
CREATE TRIGGER tally_release_change AFTER UPDATE OF status ON releases
WHEN (OLD.status IN ('published', 'deprecated', 'yanked')) <> (NEW.status IN ('published', 'deprecated', 'yanked'))
BEGIN INSERT INTO tally_deltas (name, n)
    SELECT 'releases', (NEW.status IN ('published', 'deprecated', 'yanked')) - (OLD.status IN ('published', 'deprecated', 'yanked'))
    FROM open_packages o WHERE o.id = NEW.package_id; END;

CREATE TRIGGER tally_package_in AFTER INSERT ON packages
BEGIN INSERT INTO tally_deltas (name, n) SELECT 'packages', 1 FROM open_packages o WHERE o.id = NEW.id; END;
-- While the package is there: its releases go after it, and then count for nothing.
CREATE TRIGGER tally_package_out BEFORE DELETE ON packages
BEGIN
    INSERT INTO tally_deltas (name, n) SELECT 'packages', -1 FROM open_packages o WHERE o.id = OLD.id;
    INSERT INTO tally_deltas (name, n) SELECT 'releases', -COUNT(*) FROM releases l JOIN open_packages o ON o.id = l.package_id
        WHERE l.package_id = OLD.id AND l.status IN ('published', 'deprecated', 'yanked') HAVING COUNT(*) > 0;
END;
-- Out with what it counted for before, in with what it counts for now.
CREATE TRIGGER tally_package_before BEFORE UPDATE OF visibility, is_quarantined, deleted_at, repository_id ON packages
WHEN (OLD.visibility, OLD.is_quarantined, OLD.deleted_at, OLD.repository_id)
    IS NOT (NEW.visibility, NEW.is_quarantined, NEW.deleted_at, NEW.repository_id)
BEGIN
    INSERT INTO tally_deltas (name, n) SELECT 'packages', -1 FROM open_packages o WHERE o.id = OLD.id;
    INSERT INTO tally_deltas (name, n) SELECT 'releases', -COUNT(*) FROM releases l JOIN open_packages o ON o.id = l.package_id
        WHERE l.package_id = OLD.id AND l.status IN ('published', 'deprecated', 'yanked') HAVING COUNT(*) > 0;
END;
CREATE TRIGGER tally_package_after AFTER UPDATE OF visibility, is_quarantined, deleted_at, repository_id ON packages
WHEN (OLD.visibility, OLD.is_quarantined, OLD.deleted_at, OLD.repository_id)
    IS NOT (NEW.visibility, NEW.is_quarantined, NEW.deleted_at, NEW.repository_id)
BEGIN
    INSERT INTO tally_deltas (name, n) SELECT 'packages', 1 FROM open_packages o WHERE o.id = NEW.id;
    INSERT INTO tally_deltas (name, n) SELECT 'releases', COUNT(*) FROM releases l JOIN open_packages o ON o.id = l.package_id
        WHERE l.package_id = NEW.id AND l.status IN ('published', 'deprecated', 'yanked') HAVING COUNT(*) > 0;
END;

CREATE TRIGGER tally_repository_before BEFORE UPDATE OF visibility ON repositories
WHEN (OLD.visibility = 'public') <> (NEW.visibility = 'public')
BEGIN
    INSERT INTO tally_deltas (name, n) SELECT 'packages', -COUNT(*) FROM packages p JOIN open_packages o ON o.id = p.id
        WHERE p.repository_id = OLD.id HAVING COUNT(*) > 0;
    INSERT INTO tally_deltas (name, n) SELECT 'releases', -COUNT(*) FROM packages p JOIN open_packages o ON o.id = p.id
        JOIN releases l ON l.package_id = p.id
        WHERE p.repository_id = OLD.id AND l.status IN ('published', 'deprecated', 'yanked') HAVING COUNT(*) > 0;
END;
CREATE TRIGGER tally_repository_after AFTER UPDATE OF visibility ON repositories
WHEN (OLD.visibility = 'public') <> (NEW.visibility = 'public')
BEGIN
    INSERT INTO tally_deltas (name, n) SELECT 'packages', COUNT(*) FROM packages p JOIN open_packages o ON o.id = p.id
        WHERE p.repository_id = NEW.id HAVING COUNT(*) > 0;
    INSERT INTO tally_deltas (name, n) SELECT 'releases', COUNT(*) FROM packages p JOIN open_packages o ON o.id = p.id
        JOIN releases l ON l.package_id = p.id
        WHERE p.repository_id = NEW.id AND l.status IN ('published', 'deprecated', 'yanked') HAVING COUNT(*) > 0;
END;
