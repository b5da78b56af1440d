-- Integer ids of teams, as Cargo wants owners to have them.
ALTER TABLE teams ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
UPDATE teams SET number = (SELECT COUNT(*) FROM teams t
    WHERE t.created_at < teams.created_at OR (t.created_at = teams.created_at AND t.id <= teams.id));
CREATE UNIQUE INDEX teams_number ON teams (number);
