-- End-to-end encryption: what the server keeps of it without being able to read anything.
-- "owner" is a device: its user's ID, a space, the device's ID (a user ID holds no space).

-- Identity keys of devices: of our own users as uploaded, of other servers' users as last fetched.
CREATE TABLE device_key (
	domain_id	BIGINT NOT NULL,
	user_id	  TEXT   NOT NULL,
	device_id	TEXT   NOT NULL,
	keys		 BYTEA,		   -- JSON without "unsigned"; NULL for a remote device without keys
	display_name TEXT,			-- remote devices only; ours stand in the table device
	PRIMARY KEY (domain_id, user_id, device_id)
);

-- One-time keys, up to 16 of one upload in a row: the first `taken` are gone, `total` were there. A claim counts up.
CREATE TABLE one_time_key (
	domain_id BIGINT NOT NULL,
	owner	 TEXT   NOT NULL,
	algorithm TEXT   NOT NULL,
	pos	   BIGINT NOT NULL,	-- order of upload
	taken	 BIGINT NOT NULL,
	total	 BIGINT NOT NULL,
	keys	  BYTEA  NOT NULL,	-- lengths and bytes of key ID and key, total times
	PRIMARY KEY (domain_id, owner, algorithm, pos)
);

CREATE TABLE fallback_key (
	domain_id BIGINT NOT NULL,
	owner	 TEXT   NOT NULL,
	algorithm TEXT   NOT NULL,
	key_id	TEXT   NOT NULL,
	key_json  BYTEA  NOT NULL,
	used	  BIGINT NOT NULL,
	PRIMARY KEY (domain_id, owner, algorithm)
);

CREATE TABLE cross_signing_key (
	domain_id BIGINT NOT NULL,
	user_id   TEXT   NOT NULL,
	usage	 TEXT   NOT NULL,	-- master, self_signing, user_signing
	public	TEXT   NOT NULL,	-- the key itself, unpadded base64
	key_json  BYTEA  NOT NULL,	-- with the signatures of the user's own keys
	PRIMARY KEY (domain_id, user_id, usage)
);

-- What our users signed of other people's master keys; nobody but the signer sees it.
CREATE TABLE user_signature (
	domain_id BIGINT NOT NULL,
	signer	TEXT   NOT NULL,
	target	TEXT   NOT NULL,
	public	TEXT   NOT NULL,	-- the signed master key
	key_id	TEXT   NOT NULL,	-- the signing key
	signature TEXT   NOT NULL,
	pos       BIGINT NOT NULL,    -- when it came: the signer's other devices hear of it
	PRIMARY KEY (domain_id, signer, target, public, key_id)
);

-- When a user's devices or cross-signing keys changed last, as /sync and /keys/changes tell it.
CREATE TABLE device_list (
	domain_id BIGINT NOT NULL,
	user_id   TEXT   NOT NULL,
	pos	   BIGINT NOT NULL,
	PRIMARY KEY (domain_id, user_id)
);
CREATE INDEX device_list_pos ON device_list (domain_id, pos);

-- Changes of our own users' devices, for other servers; device_id '' is a change of cross-signing keys. A few per user are kept.
CREATE TABLE device_update (
	domain_id BIGINT NOT NULL,
	pos	   BIGINT NOT NULL,	-- the stream_id
	device_id TEXT   NOT NULL,
	user_id   TEXT   NOT NULL,
	prev_pos  BIGINT NOT NULL,	-- the prev_id, 0 for none
	PRIMARY KEY (domain_id, pos, device_id)
);
CREATE INDEX device_update_user ON device_update (domain_id, user_id, pos);

-- Which remote device lists device_key holds. Not stale: complete up to stream_id.
CREATE TABLE remote_device_list (
	domain_id  BIGINT NOT NULL,
	user_id	TEXT   NOT NULL,
	stream_id  BIGINT NOT NULL,   -- -1 when the answer did not say
	stale	  BIGINT NOT NULL,
	fence_nid  BIGINT NOT NULL,   -- membership events up to here were stored when it was asked for
	fence_pos  BIGINT NOT NULL,   -- the same for our own users, as position
	PRIMARY KEY (domain_id, user_id)
);

-- Messages waiting for a device's next sync.
CREATE TABLE to_device (
	domain_id BIGINT NOT NULL,
	owner	 TEXT   NOT NULL,
	pos	   BIGINT NOT NULL,
	event	 TEXT   NOT NULL,	-- as the client gets it
	PRIMARY KEY (domain_id, owner, pos)
);

-- Transaction IDs of sendToDevice requests, and message IDs that came over federation.
CREATE TABLE to_device_seen (
	domain_id BIGINT NOT NULL,
	source	TEXT   NOT NULL,	-- a device of ours, or a server name
	txn_id	BYTEA  NOT NULL,
	ts		BIGINT NOT NULL,
	PRIMARY KEY (domain_id, source, txn_id)
);
CREATE INDEX to_device_seen_ts ON to_device_seen (domain_id, ts);

-- Messages for devices of other servers, until federation has taken them into its queues.
CREATE TABLE to_device_out (
	domain_id   BIGINT NOT NULL,
	pos		 BIGINT NOT NULL,
	destination TEXT   NOT NULL,
	content	 BYTEA  NOT NULL,  -- of the m.direct_to_device EDU
	PRIMARY KEY (domain_id, pos)
);

CREATE TABLE key_backup (
	domain_id BIGINT NOT NULL,
	user_id   TEXT   NOT NULL,
	version   BIGINT NOT NULL,
	algorithm TEXT   NOT NULL,
	auth_data BYTEA  NOT NULL,
	etag	  BIGINT NOT NULL,	-- counts changes of the stored keys
	sessions  BIGINT NOT NULL,	-- how many there are
	deleted   BIGINT NOT NULL,	-- the number is not used again
	PRIMARY KEY (domain_id, user_id, version)
);

CREATE TABLE key_backup_session (
	domain_id		   BIGINT NOT NULL,
	user_id			 TEXT   NOT NULL,
	version			 BIGINT NOT NULL,
	room_id			 TEXT   NOT NULL,
	session_id		  TEXT   NOT NULL,
	first_message_index BIGINT NOT NULL,
	forwarded_count	 BIGINT NOT NULL,
	is_verified		 BIGINT NOT NULL,
	session_data		BYTEA  NOT NULL,
	PRIMARY KEY (domain_id, user_id, version, room_id, session_id)
);
