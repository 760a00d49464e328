-- The registry knows which domains an installation serves and where each lives. A sleeping domain is its row here and nothing else.
CREATE TABLE domain (
	domain_id   BIGINT NOT NULL,          -- always 0 here: the registry is nobody's domain
	number      BIGINT NOT NULL,          -- $0 of the domain's own statements
	server_name TEXT   NOT NULL,
	flavour     TEXT   NOT NULL,          -- pro, epa, open
	federated   BIGINT NOT NULL,          -- 1 when other servers may speak to it
	key_id      TEXT   NOT NULL,          -- of the signing key, ed25519:…
	seed        BYTEA  NOT NULL,          -- of the signing key, 32 bytes
	due_ts      BIGINT NOT NULL DEFAULT 0, -- ms: wake it then; 0 for never
	PRIMARY KEY (domain_id, number)
);
CREATE UNIQUE INDEX domain_by_name ON domain (domain_id, server_name);
CREATE INDEX domain_due ON domain (domain_id, due_ts) WHERE due_ts > 0;
