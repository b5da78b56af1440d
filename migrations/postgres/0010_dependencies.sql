-- Which packages ask for which names, as far as their adapters say so: an unpublish that would break
-- others is refused. Kept per package, not per release, so that it stays small.
CREATE TABLE package_dependencies (
    -- Normalised name of what is asked for; it need not exist here.
    name TEXT NOT NULL,
    package_id UUID NOT NULL REFERENCES packages(id) ON DELETE CASCADE,
    PRIMARY KEY (name, package_id)
);
CREATE INDEX package_dependencies_package ON package_dependencies (package_id);
