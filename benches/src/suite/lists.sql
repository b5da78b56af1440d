-- 100 organizations, 50 of which `bench` is a member of; 1 000 packages in each, a third of them private.
INSERT INTO organizations (id, slug, name, created_at, updated_at)
WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < 99)
SELECT {id}, 'org-' || n, 'Organization ' || n, {now} * 1000000, {now} * 1000000 FROM s;

INSERT INTO memberships (org_id, user_id, role, joined_at)
WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < 49)
SELECT o.id, u.id, 'owner', {now} * 1000000
FROM s JOIN organizations o ON o.slug = 'org-' || s.n JOIN users u ON u.username = 'bench';

INSERT INTO repositories (id, slug, name, kind, visibility, owner_org_id, created_at, updated_at)
SELECT {id}, slug, name, 'public', 'public', id, created_at, updated_at FROM organizations;

INSERT INTO packages (id, ecosystem, name, normalized_name, collision_key, repository_id, owner_org_id, visibility,
    revision, sequence, description, keywords, license, download_count, lookalike_key, created_at, updated_at)
WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < 99999),
first_words(at, word) AS (VALUES (0, 'amber'), (1, 'brisk'), (2, 'cedar'), (3, 'dusty'), (4, 'eager'), (5, 'frost'),
    (6, 'gentle'), (7, 'hollow'), (8, 'ivory'), (9, 'jolly')),
second_words(at, word) AS (VALUES (0, 'anchor'), (1, 'beacon'), (2, 'compass'), (3, 'dynamo'), (4, 'engine'),
    (5, 'falcon'), (6, 'glacier'), (7, 'harbor'), (8, 'island'), (9, 'jigsaw')),
named(n, name, f, w) AS (
    SELECT n, f.word || '-' || w.word || '-' || n, f.word, w.word
    FROM s JOIN first_words f ON f.at = s.n % 10 JOIN second_words w ON w.at = s.n / 10 % 10)
SELECT {id}, 'npm', name, name, name, r.id, r.owner_org_id, CASE WHEN n % 3 = 2 THEN 'private' ELSE 'public' END,
    1, 10, 'A ' || f || ' ' || w || ' for number ' || n, '["' || f || '","' || w || '"]', 'MIT', n * 7919 % 100003, name,
    {now} * 1000000 - n, {now} * 1000000 - n
FROM named JOIN repositories r ON r.slug = 'org-' || (n / 100 % 100);

-- Ten releases each, and one package with ten thousand.
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

INSERT INTO audit_log (id, action, actor_user_id, target_org_id, target_package_id, metadata, occurred_at)
WITH RECURSIVE v(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM v WHERE n < 9)
SELECT {id}, CASE v.n WHEN 0 THEN 'package_create' WHEN 1 THEN 'tag_update' ELSE 'release_publish' END,
    u.id, p.owner_org_id, p.id, '{"source":"npm"}', p.created_at - v.n * 100000
FROM packages p CROSS JOIN v LEFT JOIN users u ON u.username = 'bench';
