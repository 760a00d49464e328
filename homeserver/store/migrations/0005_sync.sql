-- Push rules, unread counts, pushers; and what /sync needs to see quickly.

-- What users made of their push rules; who never touched them has no row.
CREATE TABLE push_rules (
	domain_id BIGINT NOT NULL,
	user_id   TEXT   NOT NULL,
	pos       BIGINT NOT NULL, -- of the last change
	rules     BYTEA  NOT NULL, -- JSON, see matrix/pushrule
	PRIMARY KEY (domain_id, user_id)
);

-- Unread counts of all local members of a room, as they were at unread_cursor.pos. What came after is counted again.
CREATE TABLE unread (
	domain_id BIGINT NOT NULL,
	room_id   TEXT   NOT NULL,
	counts    BYTEA  NOT NULL, -- see homeserver/push
	PRIMARY KEY (domain_id, room_id)
);

CREATE TABLE unread_cursor (
	domain_id BIGINT NOT NULL,
	pos       BIGINT NOT NULL,
	PRIMARY KEY (domain_id)
);

-- Where to ring. A pusher belongs to the device that set it and is void once that device is gone.
CREATE TABLE pusher (
	domain_id           BIGINT NOT NULL,
	user_id             TEXT   NOT NULL,
	app_id              TEXT   NOT NULL,
	pushkey             TEXT   NOT NULL,
	device_id           TEXT   NOT NULL, -- '' belongs to none
	kind                TEXT   NOT NULL,
	app_display_name    TEXT   NOT NULL,
	device_display_name TEXT   NOT NULL,
	profile_tag         TEXT   NOT NULL,
	lang                TEXT   NOT NULL,
	data                BYTEA  NOT NULL, -- JSON object
	set_ts              BIGINT NOT NULL, -- ms
	failures            BIGINT NOT NULL, -- in a row
	retry_at            BIGINT NOT NULL, -- ms, 0 at once
	PRIMARY KEY (domain_id, user_id, app_id, pushkey)
);
CREATE INDEX pusher_by_key ON pusher (domain_id, app_id, pushkey); -- who had the phone before

-- Notifications that wait for their pusher's gateway.
CREATE TABLE push_outbox (
	domain_id BIGINT NOT NULL,
	user_id   TEXT   NOT NULL,
	app_id    TEXT   NOT NULL,
	pushkey   TEXT   NOT NULL,
	pos       BIGINT NOT NULL, -- of the event, or of the receipt that changed the counts
	event_id  TEXT   NOT NULL, -- '' when just the counts are told
	tweaks    BYTEA  NOT NULL, -- JSON object
	high      BIGINT NOT NULL, -- priority
	PRIMARY KEY (domain_id, user_id, app_id, pushkey, pos)
);

-- /sync asks what changed after a position, whoever it belongs to, once for everybody who waits.
CREATE INDEX account_data_by_pos ON account_data (domain_id, pos);
CREATE INDEX to_device_by_pos ON to_device (domain_id, pos);
CREATE INDEX user_room_by_pos ON user_room (domain_id, pos);
CREATE INDEX user_signature_by_pos ON user_signature (domain_id, pos);
CREATE INDEX push_rules_by_pos ON push_rules (domain_id, pos);

-- A room's summary counts who is invited.
CREATE INDEX membership_invited ON membership (domain_id, room_nid) WHERE membership = 2;
