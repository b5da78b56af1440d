-- The exchange of foreign identity tokens for publishing rights.

-- Tokens that were exchanged, as digests of issuer and `jti`; each is good once.
CREATE TABLE exchanged_tokens (
    token_hash BLOB PRIMARY KEY NOT NULL,
    -- From then on the token itself is refused.
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX exchanged_tokens_age ON exchanged_tokens (expires_at);

-- The issuer's number for whoever owned the source at the first exchange: a name may be given to somebody else.
ALTER TABLE trusted_publishers ADD COLUMN source_owner_id TEXT;
