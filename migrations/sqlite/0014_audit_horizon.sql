-- Entries of the audit log may go once they lie before the horizon (`retention.audit_days`); until it is moved,
-- none may. It only moves on, and never closer to now than a day: what just happened cannot be made to vanish.
CREATE TABLE audit_horizon (
    only_row INTEGER PRIMARY KEY NOT NULL CHECK (only_row = 1),
    kept_from INTEGER NOT NULL
) STRICT;
INSERT INTO audit_horizon (only_row, kept_from) VALUES (1, 0);

CREATE TRIGGER audit_horizon_moves_on BEFORE UPDATE ON audit_horizon
WHEN NEW.kept_from < OLD.kept_from OR NEW.kept_from > (unixepoch() - 86400) * 1000000
BEGIN SELECT RAISE(ABORT, 'audit_horizon only moves on, up to a day before now'); END;

DROP TRIGGER audit_log_no_delete;
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
WHEN NOT EXISTS (SELECT 1 FROM audit_horizon WHERE kept_from > OLD.occurred_at)
BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END;
