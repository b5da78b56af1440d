-- Gems that differ only in `-` and `_` cannot both be had (access.md §7), and which look alike is told as for all other
-- names (§8). Where both are here already, both stay: one of them holds the key that a third would need.
UPDATE packages SET collision_key = replace(normalized_name, '-', '_') WHERE ecosystem = 'rubygems' AND normalized_name IN
    (SELECT MAX(normalized_name) FROM packages WHERE ecosystem = 'rubygems' GROUP BY replace(normalized_name, '-', '_'));
UPDATE packages SET lookalike_key = replace(replace(replace(replace(replace(replace(replace(replace(normalized_name,
    '-', ''), '_', ''), '.', ''), '0', 'o'), '1', 'l'), '5', 's'), 'rn', 'm'), 'vv', 'w') WHERE ecosystem = 'rubygems';
UPDATE pending_publishers SET collision_key = replace(normalized_name, '-', '_'), lookalike_key = replace(replace(replace(replace(replace(replace(replace(replace(normalized_name,
    '-', ''), '_', ''), '.', ''), '0', 'o'), '1', 'l'), '5', 's'), 'rn', 'm'), 'vv', 'w') WHERE ecosystem = 'rubygems';
