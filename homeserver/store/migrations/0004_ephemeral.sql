-- Receipts: the latest of a user for each kind and thread in a room.
CREATE TABLE receipt (
	domain_id BIGINT NOT NULL,
	room_id   TEXT   NOT NULL,
	user_id   TEXT   NOT NULL,
	kind	  TEXT   NOT NULL,	-- m.read, m.read.private
	thread_id TEXT   NOT NULL,	-- '' for an unthreaded one, "main", or the thread's root
	event_id  TEXT   NOT NULL,
	ts		BIGINT NOT NULL,	-- as the user's server gave it
	pos	   BIGINT NOT NULL,
	local	 BIGINT NOT NULL,	-- 1 for a user of ours: federation sends these
	PRIMARY KEY (domain_id, room_id, user_id, kind, thread_id)
);
CREATE INDEX receipt_pos ON receipt (domain_id, room_id, pos);
CREATE INDEX receipt_order ON receipt (domain_id, pos);

-- The presence of users, ours and others', when the domain shares presence.
CREATE TABLE presence (
	domain_id	  BIGINT NOT NULL,
	user_id		TEXT   NOT NULL,
	pos			BIGINT NOT NULL,
	state		  TEXT   NOT NULL,
	status_msg	 TEXT,
	last_active	BIGINT NOT NULL,
	currently_active BIGINT NOT NULL,
	PRIMARY KEY (domain_id, user_id)
);
CREATE INDEX presence_pos ON presence (domain_id, pos);
