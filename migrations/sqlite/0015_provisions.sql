-- Which packages stand in for which names, as far as their adapters say so (`provide` of Composer). Kept per
-- package, not per release, so that it stays small; whether something live still does, its document says.
CREATE TABLE package_provisions (
    -- Normalised name of what is provided; often no package has it.
    name TEXT NOT NULL,
    package_id BLOB NOT NULL REFERENCES packages(id) ON DELETE CASCADE,
    PRIMARY KEY (name, package_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX package_provisions_package ON package_provisions (package_id);
