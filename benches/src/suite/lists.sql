-- A registry of 100 000 packages with 1 000 000 releases and as many audit entries, in the words of both engines;
-- `{id}` and its like are filled in by `lists.rs`. Ids are random, which is worse for the engines than the ordered
-- ones of a live registry.
--
-- Whoever asks is `bench`: platform administrator, member of 50 organizations with 20 grants in each.

INSERT INTO users (id, number, username, username_key, email, email_key, password_hash, display_name, created_at,
    updated_at)
WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < 19999)
SELECT {id}, 1000 + n, 'person-' || n, 'person-' || n, 'person-' || n || '@example.test',
    'person-' || n || '@example.test', '-', 'Person ' || n, ({now} - 60 * n) * 1000000, ({now} - 60 * n) * 1000000 FROM s;

INSERT INTO organizations (id, slug, name, created_at, updated_at)
WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < 99)
SELECT {id}, 'org-' || n, 'Organization ' || n, {now} * 1000000, {now} * 1000000 FROM s;

-- `org-0` is large: 5 000 people, 50 teams, 10 000 packages.
INSERT INTO memberships (org_id, user_id, role, joined_at)
WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < 49)
SELECT o.id, u.id, CASE n % 5 WHEN 0 THEN 'owner' WHEN 1 THEN 'admin' WHEN 2 THEN 'auditor' WHEN 3 THEN 'viewer'
    ELSE 'publisher' END, {now} * 1000000
FROM s JOIN organizations o ON o.slug = 'org-' || s.n JOIN users u ON u.username = 'bench';
INSERT INTO memberships (org_id, user_id, role, joined_at)
WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < 6979)
SELECT o.id, u.id, CASE n % 20 WHEN 0 THEN 'admin' ELSE 'publisher' END, ({now} - 60 * n) * 1000000
FROM s JOIN organizations o ON o.slug = 'org-' || CASE WHEN n < 5000 THEN 0 ELSE 1 + n % 99 END
    JOIN users u ON u.username = 'person-' || s.n;

INSERT INTO teams (id, number, org_id, slug, name, created_at, updated_at)
WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < 49)
SELECT {id}, 1000 + ROW_NUMBER() OVER (ORDER BY o.slug, n), o.id, 'team-' || n, 'Team ' || n, o.created_at, o.created_at
FROM s JOIN organizations o ON n < 2 OR o.slug = 'org-0';
INSERT INTO team_members (team_id, org_id, user_id, added_at)
SELECT t.id, m.org_id, m.user_id, m.joined_at
FROM teams t JOIN memberships m ON m.org_id = t.org_id JOIN users u ON u.id = m.user_id
WHERE t.slug = 'team-0' OR u.number % 50 = CAST(substr(t.slug, 6) AS BIGINT);

INSERT INTO invitations (id, org_id, user_id, role, status, expires_at, created_at)
SELECT {id}, o.id, u.id, 'viewer', 'pending', {now} * 1000000 + 604800000000, u.created_at
FROM organizations o JOIN users u ON u.number BETWEEN 11000 AND 12999 WHERE o.slug = 'org-0';

INSERT INTO repositories (id, slug, name, kind, visibility, owner_org_id, created_at, updated_at)
SELECT {id}, slug, name, 'public', 'public', id, created_at, updated_at FROM organizations
UNION ALL SELECT {id}, slug || '-private', name, 'private', 'private', id, created_at + 1, updated_at FROM organizations;
INSERT INTO repositories (id, slug, name, kind, visibility, owner_user_id, created_at, updated_at)
SELECT {id}, username_key, username, 'public', CASE number % 4 WHEN 0 THEN 'public' ELSE 'private' END, id, created_at,
    updated_at FROM users WHERE number < 11000;

INSERT INTO namespace_claims (id, ecosystem, namespace, namespace_key, owner_user_id, owner_org_id, created_at)
SELECT {id}, 'npm', '@' || r.slug, '@' || r.slug, r.owner_user_id, r.owner_org_id, r.created_at FROM repositories r;

-- A third is private. `person-0` has 2 000, every other organization about 890.
INSERT INTO packages (id, ecosystem, name, normalized_name, collision_key, repository_id, owner_user_id, owner_org_id,
    visibility, revision, sequence, description, keywords, license, download_count, lookalike_key, created_at, updated_at)
WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < 99999),
first_words(at, word) AS (VALUES (0, 'amber'), (1, 'brisk'), (2, 'cedar'), (3, 'dusty'), (4, 'eager'), (5, 'frost'),
    (6, 'gentle'), (7, 'hollow'), (8, 'ivory'), (9, 'jolly')),
second_words(at, word) AS (VALUES (0, 'anchor'), (1, 'beacon'), (2, 'compass'), (3, 'dynamo'), (4, 'engine'),
    (5, 'falcon'), (6, 'glacier'), (7, 'harbor'), (8, 'island'), (9, 'jigsaw')),
named(n, name, f, w, home) AS (
    SELECT n, f.word || '-' || w.word || '-' || n, f.word, w.word,
        CASE WHEN n < 10000 THEN 'org-0' WHEN n < 12000 THEN 'person-0' ELSE 'org-' || (1 + n % 99) END
        || CASE WHEN n % 15 = 2 AND (n < 10000 OR n >= 12000) THEN '-private' ELSE '' END
    FROM s JOIN first_words f ON f.at = s.n % 10 JOIN second_words w ON w.at = s.n / 10 % 10)
SELECT {id}, CASE n % 7 WHEN 5 THEN 'cargo' WHEN 6 THEN 'pypi' ELSE 'npm' END, named.name, named.name, named.name, r.id,
    r.owner_user_id, r.owner_org_id, CASE WHEN n % 3 = 2 THEN 'private' ELSE 'public' END, 1, 10,
    'A ' || f || ' ' || w || ' for number ' || n, '["' || f || '","' || w || '"]', 'MIT', CAST(n AS BIGINT) * 7919 % 100003,
    named.name, ({now} - 60 * n) * 1000000, ({now} - 60 * n) * 1000000
FROM named JOIN repositories r ON r.slug = named.home;

-- Ten releases each, and one package with ten thousand; every release has a file.
INSERT INTO releases (id, package_id, version, version_key, sort_key, status, is_prerelease, metadata, sequence,
    published_at, created_at, updated_at)
WITH RECURSIVE v(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM v WHERE n < 10)
SELECT {id}, p.id, '1.' || v.n || '.0', '1.' || v.n || '.0', {key}, 'published', {no}, '{}', v.n,
    p.created_at + v.n, p.created_at + v.n, p.created_at + v.n
FROM packages p CROSS JOIN v;
INSERT INTO releases (id, package_id, version, version_key, sort_key, status, is_prerelease, metadata, sequence,
    published_at, created_at, updated_at)
WITH RECURSIVE v(n) AS (SELECT 11 UNION ALL SELECT n + 1 FROM v WHERE n < 10000)
SELECT {id}, p.id, '1.' || v.n || '.0', '1.' || v.n || '.0', {key}, 'published', {no}, '{}', v.n,
    p.created_at + v.n, p.created_at + v.n, p.created_at + v.n
FROM packages p CROSS JOIN v WHERE p.normalized_name = 'amber-anchor-0';
INSERT INTO tags (package_id, tag, release_id, sequence, updated_at)
SELECT r.package_id, 'latest', r.id, r.sequence, r.published_at
FROM releases r JOIN packages p ON p.id = r.package_id WHERE r.sequence = 10 AND p.ecosystem = 'npm';
INSERT INTO blobs (digest, location, size_bytes, created_at)
SELECT {digest}, {digest}, 1000, created_at FROM packages p;
INSERT INTO artifacts (id, release_id, kind, filename, content_type, size_bytes, sha256, sha512, uploaded_at)
SELECT {id}, r.id, 'tarball', p.name || '-' || r.version || '.tgz', 'application/octet-stream', 1000, {digest}, '00',
    r.created_at
FROM releases r JOIN packages p ON p.id = r.package_id;

INSERT INTO team_package_grants (team_id, resource_id, permissions, granted_at)
SELECT t.id, p.id, '["publish","read_private"]', p.created_at FROM teams t JOIN packages p ON p.owner_org_id = t.org_id
WHERE t.slug = 'team-0' AND CAST(p.download_count AS BIGINT) % 44 = 0;
INSERT INTO trusted_publishers (id, package_id, issuer, subject, created_by, created_at)
SELECT {id}, p.id, 'https://issuer.test', 'repo:' || u.username, u.id, u.created_at
FROM packages p JOIN users u ON u.number BETWEEN 1000 AND 1199 WHERE p.normalized_name = 'amber-anchor-0';

-- One in twenty packages of `org-0` has an open finding, and the package with most releases one in each.
INSERT INTO findings (id, release_id, artifact_id, fingerprint, rule_id, kind, category, severity, title, location,
    detected_at)
SELECT {id}, r.id, a.id, '-', 'bench', 'policy_violation', 'policy', CASE r.sequence % 4 WHEN 0 THEN 'high'
    WHEN 1 THEN 'medium' ELSE 'low' END, 'A finding', '-', r.created_at
FROM packages p JOIN organizations o ON o.id = p.owner_org_id JOIN releases r ON r.package_id = p.id
    JOIN artifacts a ON a.release_id = r.id
WHERE o.slug = 'org-0' AND p.download_count % 20 = 0 AND (r.sequence = 10 OR p.normalized_name = 'amber-anchor-0');

INSERT INTO tokens (id, kind, name, token_hash, last_four, scopes, user_id, org_id, role, created_at)
WITH RECURSIVE v(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM v WHERE n < 999)
SELECT {id}, 'personal', 'token ' || n, {key}, '0000', '["packages:read"]', u.id, NULL, NULL, u.created_at + n
FROM v JOIN users u ON u.username = 'bench';

INSERT INTO audit_log (id, action, actor_user_id, target_org_id, target_package_id, metadata, occurred_at)
WITH RECURSIVE v(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM v WHERE n < 9)
SELECT {id}, CASE v.n WHEN 0 THEN 'package_create' WHEN 1 THEN 'tag_update' ELSE 'release_publish' END,
    u.id, p.owner_org_id, p.id, '{"source":"npm"}', p.created_at - v.n * 1000000
FROM packages p CROSS JOIN v
    JOIN users u ON u.username = CASE v.n WHEN 9 THEN 'bench' ELSE 'person-' || (p.download_count % 1000) END;
INSERT INTO audit_log (id, action, actor_user_id, target_user_id, target_org_id, metadata, occurred_at)
SELECT {id}, 'org_member_add', b.id, m.user_id, m.org_id, '{"role":"publisher"}', m.joined_at
FROM memberships m JOIN users b ON b.username = 'bench';
INSERT INTO audit_log (id, action, actor_user_id, target_org_id, target_package_id, metadata, occurred_at)
SELECT {id}, 'team_package_access_update', b.id, t.org_id, p.id, '{"team_slug":"' || t.slug || '","team_name":"'
    || t.name || '","ecosystem":"' || p.ecosystem || '","name":"' || p.name || '","permissions":["publish"]}', g.granted_at
FROM team_package_grants g JOIN teams t ON t.id = g.team_id JOIN packages p ON p.id = g.resource_id
    JOIN users b ON b.username = 'bench';

INSERT INTO jobs (id, kind, payload, state, ready, priority, "rank", "partition", keeps_key, target, attempts,
    max_attempts, scheduled_at, created_at, started_at, completed_at)
SELECT {id}, 'scan_artifact', '{}', CASE r.sequence % 10 WHEN 1 THEN 'dead' ELSE 'completed' END, {no}, 0, 0, '', {no}, a.id,
    1, 3, r.created_at, r.created_at, r.created_at, {now} * 1000000 - r.sequence
FROM releases r JOIN artifacts a ON a.release_id = r.id WHERE r.sequence <= 10;
INSERT INTO job_deltas (kind, state, n) SELECT kind, state, COUNT(*) FROM jobs WHERE completed_at IS NOT NULL
    GROUP BY kind, state;

-- As the upkeep job does it.
INSERT INTO tallies (name, n) SELECT name, SUM(n) FROM tally_deltas WHERE TRUE GROUP BY name
    ON CONFLICT (name) DO UPDATE SET n = tallies.n + EXCLUDED.n;
DELETE FROM tally_deltas;
