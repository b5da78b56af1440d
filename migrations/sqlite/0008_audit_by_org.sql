-- The audit log of one organization.
CREATE INDEX audit_log_org ON audit_log (target_org_id, occurred_at, id) WHERE target_org_id IS NOT NULL;
-- What its teams were granted.
CREATE INDEX audit_log_access ON audit_log (target_org_id, occurred_at, id)
    WHERE action IN ('team_package_access_update', 'team_repository_access_update', 'team_namespace_access_update');
