-- Federation: other servers' keys, what waits for them, what they have sent.

-- Documents in which servers publish their keys, by each key they name: the latest document for a key counts.
CREATE TABLE server_key (
	domain_id   BIGINT NOT NULL,
	server      TEXT   NOT NULL,
	key_id      TEXT   NOT NULL,
	fetched_ts  BIGINT NOT NULL, -- when it came, from the server itself or a notary
	valid_until BIGINT NOT NULL, -- as published
	document    BYTEA  NOT NULL, -- signed by the server
	PRIMARY KEY (domain_id, server, key_id)
);

-- How far the domain's order has been handed to all other servers, or to the queues below.
CREATE TABLE federation_cursor (
	domain_id BIGINT NOT NULL,
	pos       BIGINT NOT NULL,
	PRIMARY KEY (domain_id)
);

-- Servers that can not be reached at present. Those that can have no row here and none in the queues.
CREATE TABLE federation_destination (
	domain_id     BIGINT NOT NULL,
	server        TEXT   NOT NULL,
	failing_since BIGINT NOT NULL, -- ms
	retry_at      BIGINT NOT NULL, -- ms
	failures      BIGINT NOT NULL,
	PRIMARY KEY (domain_id, server)
);

-- Events that wait for such a server.
CREATE TABLE federation_pdu (
	domain_id BIGINT NOT NULL,
	server    TEXT   NOT NULL,
	pos       BIGINT NOT NULL,
	room_nid  BIGINT NOT NULL,
	event_nid BIGINT NOT NULL,
	PRIMARY KEY (domain_id, server, pos)
);

-- To-device messages and device list updates that wait for such a server.
CREATE TABLE federation_edu (
	domain_id BIGINT NOT NULL,
	server    TEXT   NOT NULL,
	pos       BIGINT NOT NULL,
	edu_key   TEXT   NOT NULL, -- one EDU per position and key
	edu       BYTEA  NOT NULL, -- {"edu_type":…,"content":…}
	PRIMARY KEY (domain_id, server, pos, edu_key)
);

-- Events of other servers' users that it is upon us to tell the room: we have let them join, leave or knock.
CREATE TABLE federation_relay (
	domain_id BIGINT NOT NULL,
	event_id  TEXT   NOT NULL,
	PRIMARY KEY (domain_id, event_id)
);

-- Transactions answered lately, so that a repeated one gets the same answer.
CREATE TABLE federation_transaction (
	domain_id BIGINT NOT NULL,
	origin    TEXT   NOT NULL,
	txn_id    BYTEA  NOT NULL, -- any bytes the origin likes
	ts        BIGINT NOT NULL,
	answer    BYTEA  NOT NULL,
	PRIMARY KEY (domain_id, origin, txn_id)
);
CREATE INDEX federation_transaction_ts ON federation_transaction (domain_id, ts);
