-- Accounts, devices and tokens, profiles, account data, filters.

CREATE TABLE account (
	domain_id      BIGINT NOT NULL,
	user_id        TEXT   NOT NULL,
	password_hash  TEXT   NOT NULL, -- argon2id in PHC form; '' means no password opens this account
	created_ts     BIGINT NOT NULL,
	admin          BIGINT NOT NULL DEFAULT 0,
	locked         BIGINT NOT NULL DEFAULT 0,
	suspended      BIGINT NOT NULL DEFAULT 0,
	deactivated_ts BIGINT NOT NULL DEFAULT 0, -- the name stays taken for ever
	erased         BIGINT NOT NULL DEFAULT 0,
	PRIMARY KEY (domain_id, user_id)
);

CREATE TABLE device (
	domain_id       BIGINT NOT NULL,
	user_id         TEXT   NOT NULL,
	device_id       TEXT   NOT NULL,
	display_name    TEXT   NOT NULL, -- '' means none
	created_ts      BIGINT NOT NULL,
	last_seen_ts    BIGINT NOT NULL DEFAULT 0,
	last_seen_ip    TEXT   NOT NULL DEFAULT '',
	last_seen_agent TEXT   NOT NULL DEFAULT '',
	PRIMARY KEY (domain_id, user_id, device_id)
);

-- Tokens are kept as SHA-256: who reads the database learns none.
CREATE TABLE access_token (
	domain_id  BIGINT NOT NULL,
	token_hash BYTEA  NOT NULL,
	user_id    TEXT   NOT NULL,
	device_id  TEXT   NOT NULL,
	expires_ts BIGINT NOT NULL, -- 0 means never; an expired token stays, so that its use is a soft logout
	unproven   BIGINT NOT NULL, -- 1 until its first use, when it came from a refresh
	PRIMARY KEY (domain_id, token_hash)
);
CREATE INDEX access_token_device ON access_token (domain_id, user_id, device_id);

-- A family is the line of refresh tokens of one login. A token names its family, so one that is neither the current nor
-- the previous one was used before, and betrays theft.
CREATE TABLE refresh_family (
	domain_id     BIGINT NOT NULL,
	family        TEXT   NOT NULL,
	user_id       TEXT   NOT NULL,
	device_id     TEXT   NOT NULL,
	current_hash  BYTEA  NOT NULL,
	previous_hash BYTEA, -- still good until the current pair is used
	expires_ts    BIGINT NOT NULL,
	PRIMARY KEY (domain_id, family)
);
CREATE INDEX refresh_family_device ON refresh_family (domain_id, user_id, device_id);

CREATE TABLE openid_token (
	domain_id  BIGINT NOT NULL,
	token_hash BYTEA  NOT NULL,
	user_id    TEXT   NOT NULL,
	expires_ts BIGINT NOT NULL,
	PRIMARY KEY (domain_id, token_hash)
);
CREATE INDEX openid_token_expires ON openid_token (domain_id, expires_ts);

CREATE TABLE registration_token (
	domain_id    BIGINT NOT NULL,
	token        TEXT   NOT NULL,
	uses_allowed BIGINT NOT NULL, -- below 0 means any number
	used         BIGINT NOT NULL DEFAULT 0,
	expires_ts   BIGINT NOT NULL DEFAULT 0, -- 0 means never
	PRIMARY KEY (domain_id, token)
);

CREATE TABLE profile (
	domain_id   BIGINT NOT NULL,
	user_id     TEXT   NOT NULL,
	displayname TEXT   NOT NULL DEFAULT '', -- '' means none
	avatar_url  TEXT   NOT NULL DEFAULT '',
	fields      BYTEA  NOT NULL, -- JSON object of all other fields
	search      TEXT   NOT NULL DEFAULT '', -- what the user directory looks at: lower-case name and localpart
	PRIMARY KEY (domain_id, user_id)
);

-- room_id '' is the global account data. A deleted type stays as {} for those who have yet to hear of it.
CREATE TABLE account_data (
	domain_id BIGINT NOT NULL,
	user_id   TEXT   NOT NULL,
	room_id   TEXT   NOT NULL,
	type      TEXT   NOT NULL,
	pos       BIGINT NOT NULL,
	deleted   BIGINT NOT NULL DEFAULT 0,
	content   BYTEA  NOT NULL,
	PRIMARY KEY (domain_id, user_id, room_id, type)
);
CREATE INDEX account_data_pos ON account_data (domain_id, user_id, pos);

CREATE TABLE filter (
	domain_id BIGINT NOT NULL,
	user_id   TEXT   NOT NULL,
	filter_id TEXT   NOT NULL, -- a hash of the definition: the same filter is stored once
	filter    BYTEA  NOT NULL,
	PRIMARY KEY (domain_id, user_id, filter_id)
);
