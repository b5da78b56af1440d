-- Entries of the audit log may go once they lie before the horizon (`retention.audit_days`); until it is moved,
-- none may. It only moves on, and never closer to now than a day: what just happened cannot be made to vanish.
CREATE TABLE audit_horizon (
    only_row BIGINT PRIMARY KEY NOT NULL CHECK (only_row = 1),
    kept_from BIGINT NOT NULL
);
INSERT INTO audit_horizon (only_row, kept_from) VALUES (1, 0);

CREATE FUNCTION audit_horizon_moves_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.kept_from < OLD.kept_from OR NEW.kept_from > (extract(epoch FROM now()) - 86400) * 1000000 THEN
        RAISE EXCEPTION 'audit_horizon only moves on, up to a day before now';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER audit_horizon_moves_on BEFORE UPDATE ON audit_horizon
FOR EACH ROW EXECUTE FUNCTION audit_horizon_moves_on();

CREATE OR REPLACE FUNCTION audit_log_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND EXISTS (SELECT 1 FROM audit_horizon WHERE kept_from > OLD.occurred_at) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'audit_log is append-only';
END $$;
