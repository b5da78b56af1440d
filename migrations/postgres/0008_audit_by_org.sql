-- The audit log of one organization.
CREATE INDEX audit_log_org ON audit_log (target_org_id, occurred_at, id) WHERE target_org_id IS NOT NULL;
