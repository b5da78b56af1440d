-- Organizations with their people, teams and grants; namespace claims; what packages and releases carry
-- for the management API.

CREATE TABLE organizations (
    id UUID PRIMARY KEY NOT NULL,
    slug TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    description TEXT,
    website TEXT,
    email TEXT,
    avatar_url TEXT,
    is_verified BOOLEAN NOT NULL DEFAULT FALSE,
    mfa_required BOOLEAN NOT NULL DEFAULT FALSE,
    member_directory_is_private BOOLEAN NOT NULL DEFAULT FALSE,
    restrict_private_reads BOOLEAN NOT NULL DEFAULT FALSE,
    -- Counts only while the organization owns it.
    default_repository_id UUID REFERENCES repositories(id) ON DELETE SET NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE memberships (
    org_id UUID NOT NULL REFERENCES organizations(id) ON DELETE CASCADE,
    user_id UUID NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    joined_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, user_id)
);
CREATE INDEX memberships_user ON memberships (user_id);

CREATE TABLE invitations (
    id UUID PRIMARY KEY NOT NULL,
    org_id UUID NOT NULL REFERENCES organizations(id) ON DELETE CASCADE,
    user_id UUID NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    -- Set when the invitation was addressed by e-mail.
    email TEXT,
    role TEXT NOT NULL,
    -- `pending` with an `expires_at` in the past reads as `expired`.
    status TEXT NOT NULL,
    invited_by UUID REFERENCES users(id) ON DELETE SET NULL,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    -- When it was accepted, declined or revoked.
    ended_at BIGINT
);
CREATE UNIQUE INDEX invitations_pending ON invitations (org_id, user_id) WHERE status = 'pending';
CREATE INDEX invitations_org ON invitations (org_id, created_at);
CREATE INDEX invitations_user ON invitations (user_id, created_at);

CREATE TABLE teams (
    id UUID PRIMARY KEY NOT NULL,
    org_id UUID NOT NULL REFERENCES organizations(id) ON DELETE CASCADE,
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (org_id, slug),
    UNIQUE (id, org_id)
);

-- Whoever leaves the organization leaves its teams: the second reference sees to it.
CREATE TABLE team_members (
    team_id UUID NOT NULL,
    org_id UUID NOT NULL,
    user_id UUID NOT NULL,
    added_at BIGINT NOT NULL,
    PRIMARY KEY (team_id, user_id),
    FOREIGN KEY (team_id, org_id) REFERENCES teams(id, org_id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, user_id) REFERENCES memberships(org_id, user_id) ON DELETE CASCADE
);
CREATE INDEX team_members_user ON team_members (org_id, user_id);

CREATE TABLE namespace_claims (
    id UUID PRIMARY KEY NOT NULL,
    ecosystem TEXT NOT NULL,
    -- As its owner wrote it, and as it is compared.
    namespace TEXT NOT NULL,
    namespace_key TEXT NOT NULL,
    owner_user_id UUID REFERENCES users(id),
    owner_org_id UUID REFERENCES organizations(id),
    is_verified BOOLEAN NOT NULL DEFAULT FALSE,
    created_at BIGINT NOT NULL,
    UNIQUE (ecosystem, namespace_key),
    CHECK ((owner_user_id IS NULL) <> (owner_org_id IS NULL))
);
CREATE INDEX namespace_claims_owner_org ON namespace_claims (owner_org_id) WHERE owner_org_id IS NOT NULL;
CREATE INDEX namespace_claims_owner_user ON namespace_claims (owner_user_id) WHERE owner_user_id IS NOT NULL;
CREATE INDEX namespace_claims_created ON namespace_claims (created_at);

-- Grants: a JSON array of permissions per team and resource. They count only while the team's organization
-- owns the resource (access.md §1); transfers delete them.
CREATE TABLE team_package_grants (
    team_id UUID NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
    resource_id UUID NOT NULL REFERENCES packages(id) ON DELETE CASCADE,
    permissions TEXT NOT NULL,
    granted_at BIGINT NOT NULL,
    PRIMARY KEY (team_id, resource_id)
);
CREATE INDEX team_package_grants_resource ON team_package_grants (resource_id);

CREATE TABLE team_repository_grants (
    team_id UUID NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
    resource_id UUID NOT NULL REFERENCES repositories(id) ON DELETE CASCADE,
    permissions TEXT NOT NULL,
    granted_at BIGINT NOT NULL,
    PRIMARY KEY (team_id, resource_id)
);
CREATE INDEX team_repository_grants_resource ON team_repository_grants (resource_id);

CREATE TABLE team_claim_grants (
    team_id UUID NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
    resource_id UUID NOT NULL REFERENCES namespace_claims(id) ON DELETE CASCADE,
    permissions TEXT NOT NULL,
    granted_at BIGINT NOT NULL,
    PRIMARY KEY (team_id, resource_id)
);
CREATE INDEX team_claim_grants_resource ON team_claim_grants (resource_id);

CREATE INDEX repositories_owner_org ON repositories (owner_org_id, created_at) WHERE owner_org_id IS NOT NULL;
CREATE INDEX packages_owner_org ON packages (owner_org_id) WHERE owner_org_id IS NOT NULL;
CREATE INDEX tokens_org ON tokens (org_id, created_at) WHERE org_id IS NOT NULL;
CREATE INDEX tokens_repository ON tokens (repository_id) WHERE repository_id IS NOT NULL;
CREATE INDEX tokens_package ON tokens (package_id) WHERE package_id IS NOT NULL;

ALTER TABLE packages ADD COLUMN display_name TEXT;
-- Names that look the same share it (access.md §8); computed by `publaryn_core::similar::lookalike_key`.
ALTER TABLE packages ADD COLUMN lookalike_key TEXT NOT NULL DEFAULT '';
UPDATE packages SET lookalike_key = substr(normalized_name, 1, strpos(normalized_name, '/')) ||
    replace(replace(replace(replace(replace(replace(replace(replace(
        substr(normalized_name, strpos(normalized_name, '/') + 1),
        '-', ''), '_', ''), '.', ''), '0', 'o'), '1', 'l'), '5', 's'), 'rn', 'm'), 'vv', 'w');
CREATE INDEX packages_lookalike ON packages (ecosystem, lookalike_key);
-- Prefixes of names: what a namespace covers.
CREATE INDEX packages_name_prefix ON packages (ecosystem, normalized_name COLLATE "C");
ALTER TABLE packages ADD COLUMN quarantined_at BIGINT;
ALTER TABLE packages ADD COLUMN quarantine_reason TEXT;
-- An entry made by a platform administrator is lifted by one only.
ALTER TABLE packages ADD COLUMN quarantined_by_admin BOOLEAN NOT NULL DEFAULT FALSE;

ALTER TABLE releases ADD COLUMN description TEXT;
ALTER TABLE releases ADD COLUMN changelog TEXT;
ALTER TABLE releases ADD COLUMN source_ref TEXT;
-- A JSON object.
ALTER TABLE releases ADD COLUMN provenance TEXT;
CREATE INDEX releases_by_sequence ON releases (package_id, sequence);

ALTER TABLE artifacts ADD COLUMN is_signed BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE artifacts ADD COLUMN signature_key_id TEXT;

CREATE TABLE trusted_publishers (
    id UUID PRIMARY KEY NOT NULL,
    package_id UUID NOT NULL REFERENCES packages(id) ON DELETE CASCADE,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    repository TEXT,
    workflow_ref TEXT,
    -- Empty for any.
    environment TEXT NOT NULL DEFAULT '',
    created_by UUID NOT NULL REFERENCES users(id),
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,
    UNIQUE (package_id, issuer, subject, environment)
);
CREATE INDEX trusted_publishers_subject ON trusted_publishers (issuer, subject);

ALTER TABLE tokens ADD COLUMN trusted_publisher_id UUID;
