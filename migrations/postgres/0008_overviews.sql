-- The audit log of one organization.
CREATE INDEX audit_log_org ON audit_log (target_org_id, occurred_at, id) WHERE target_org_id IS NOT NULL;
-- What its teams were granted.
CREATE INDEX audit_log_access ON audit_log (target_org_id, occurred_at, id)
    WHERE action IN ('team_package_access_update', 'team_repository_access_update', 'team_namespace_access_update');

-- The instance in numbers: the folded part, and changes not folded yet. Changes only insert, so no two
-- transactions ever wait for each other's counter, and reading sums a few rows however much there is.
CREATE TABLE tallies (
    name TEXT PRIMARY KEY NOT NULL,
    n BIGINT NOT NULL
);
CREATE TABLE tally_deltas (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL,
    n BIGINT NOT NULL
);

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

-- A row of a table whose name is the tally's.
CREATE FUNCTION tally_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tally_deltas (name, n) VALUES (TG_TABLE_NAME, CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END);
    RETURN NULL;
END $$;
CREATE TRIGGER tally_organization AFTER INSERT OR DELETE ON organizations FOR EACH ROW EXECUTE FUNCTION tally_row();
CREATE TRIGGER tally_artifact AFTER INSERT OR DELETE ON artifacts FOR EACH ROW EXECUTE FUNCTION tally_row();
CREATE TRIGGER tally_finding AFTER INSERT OR DELETE ON findings FOR EACH ROW EXECUTE FUNCTION tally_row();

CREATE FUNCTION tally_unresolved() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE n BIGINT := 0;
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.resolved_at IS NULL THEN n := n - 1; END IF;
    IF TG_OP <> 'DELETE' AND NEW.resolved_at IS NULL THEN n := n + 1; END IF;
    IF n <> 0 THEN INSERT INTO tally_deltas (name, n) VALUES ('unresolved_findings', n); END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER tally_unresolved AFTER INSERT OR DELETE OR UPDATE OF resolved_at ON findings
FOR EACH ROW EXECUTE FUNCTION tally_unresolved();

CREATE FUNCTION tally_release() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE n BIGINT := 0; package UUID;
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.status IN ('published', 'deprecated', 'yanked') THEN n := n - 1; END IF;
    IF TG_OP <> 'DELETE' AND NEW.status IN ('published', 'deprecated', 'yanked') THEN n := n + 1; END IF;
    IF n <> 0 THEN
        package := CASE TG_OP WHEN 'DELETE' THEN OLD.package_id ELSE NEW.package_id END;
        INSERT INTO tally_deltas (name, n) SELECT 'releases', n FROM open_packages o WHERE o.id = package;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER tally_release AFTER INSERT OR DELETE OR UPDATE OF status ON releases
FOR EACH ROW EXECUTE FUNCTION tally_release();

-- What a package counts for, once more or no more.
CREATE FUNCTION tally_package_as(package UUID, sign BIGINT) RETURNS void LANGUAGE sql AS $$
    INSERT INTO tally_deltas (name, n) SELECT 'packages', sign FROM open_packages o WHERE o.id = package;
    INSERT INTO tally_deltas (name, n) SELECT 'releases', sign * COUNT(*) FROM releases l
        JOIN open_packages o ON o.id = l.package_id
        WHERE l.package_id = package AND l.status IN ('published', 'deprecated', 'yanked') HAVING COUNT(*) > 0;
$$;
CREATE FUNCTION tally_package_out() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tally_package_as(OLD.id, -1);
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION tally_package_in() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tally_package_as(NEW.id, 1);
    RETURN NULL;
END $$;
CREATE TRIGGER tally_package_in AFTER INSERT ON packages FOR EACH ROW EXECUTE FUNCTION tally_package_in();
-- While the package is there: its releases go after it, and then count for nothing.
CREATE TRIGGER tally_package_out BEFORE DELETE ON packages FOR EACH ROW EXECUTE FUNCTION tally_package_out();
-- Out with what it counted for before, in with what it counts for now.
CREATE TRIGGER tally_package_before BEFORE UPDATE OF visibility, is_quarantined, deleted_at, repository_id ON packages
FOR EACH ROW WHEN ((OLD.visibility, OLD.is_quarantined, OLD.deleted_at, OLD.repository_id)
    IS DISTINCT FROM (NEW.visibility, NEW.is_quarantined, NEW.deleted_at, NEW.repository_id))
EXECUTE FUNCTION tally_package_out();
CREATE TRIGGER tally_package_after AFTER UPDATE OF visibility, is_quarantined, deleted_at, repository_id ON packages
FOR EACH ROW WHEN ((OLD.visibility, OLD.is_quarantined, OLD.deleted_at, OLD.repository_id)
    IS DISTINCT FROM (NEW.visibility, NEW.is_quarantined, NEW.deleted_at, NEW.repository_id))
EXECUTE FUNCTION tally_package_in();

CREATE FUNCTION tally_repository() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE sign BIGINT := CASE TG_WHEN WHEN 'BEFORE' THEN -1 ELSE 1 END;
BEGIN
    INSERT INTO tally_deltas (name, n) SELECT 'packages', sign * COUNT(*) FROM packages p
        JOIN open_packages o ON o.id = p.id WHERE p.repository_id = OLD.id HAVING COUNT(*) > 0;
    INSERT INTO tally_deltas (name, n) SELECT 'releases', sign * COUNT(*) FROM packages p
        JOIN open_packages o ON o.id = p.id JOIN releases l ON l.package_id = p.id
        WHERE p.repository_id = OLD.id AND l.status IN ('published', 'deprecated', 'yanked') HAVING COUNT(*) > 0;
    RETURN NEW;
END $$;
CREATE TRIGGER tally_repository_before BEFORE UPDATE OF visibility ON repositories
FOR EACH ROW WHEN ((OLD.visibility = 'public') <> (NEW.visibility = 'public')) EXECUTE FUNCTION tally_repository();
CREATE TRIGGER tally_repository_after AFTER UPDATE OF visibility ON repositories
FOR EACH ROW WHEN ((OLD.visibility = 'public') <> (NEW.visibility = 'public')) EXECUTE FUNCTION tally_repository();
