-- Rooms, events and their state. Numbers (…_nid) stand for the long identifiers of Matrix inside one domain; all come from
-- one counter that is kept in memory. Positions (pos) are the domain's one order. On SQLite, tables of small rows live in their
-- primary key alone (WITHOUT ROWID); events and snapshots are too long for that.

CREATE TABLE room (
	domain_id   BIGINT NOT NULL,
	room_nid    BIGINT NOT NULL,
	room_id     TEXT   NOT NULL,
	version     TEXT   NOT NULL,
	state_nid   BIGINT NOT NULL, -- snapshot of the current state, 0 while only an invite or a knock is known
	extremities BYTEA  NOT NULL, -- numbers of the forward extremities, as varints
	last_pos    BIGINT NOT NULL, -- position of the last event in the timeline
	joined      BIGINT NOT NULL, -- members in the room
	joined_here BIGINT NOT NULL, -- of these, users of this domain; 0 means that we are not in the room
	published   BIGINT NOT NULL DEFAULT 0, -- listed in the room directory
	PRIMARY KEY (domain_id, room_nid)
)
-- only: sqlite
WITHOUT ROWID
-- end
;
CREATE UNIQUE INDEX room_by_id ON room (domain_id, room_id);
CREATE INDEX room_published ON room (domain_id, joined) WHERE published = 1;

CREATE TABLE event (
	domain_id    BIGINT NOT NULL,
	event_nid    BIGINT NOT NULL,
	event_id     TEXT   NOT NULL,
	room_nid     BIGINT NOT NULL,
	pos          BIGINT NOT NULL, -- > 0 place in the domain's order, < 0 history from before we knew, 0 not in the timeline
	topo         BIGINT NOT NULL, -- order within the room; not the sender's word alone, see room.topo
	ts           BIGINT NOT NULL, -- origin_server_ts
	status       BIGINT NOT NULL, -- 0 accepted, 1 outlier, 2 rejected, 3 soft-failed
	slot_nid     BIGINT NOT NULL, -- 0 for what is no state event
	replaces_nid BIGINT NOT NULL, -- event that held the slot before, 0 for none
	state_before BIGINT NOT NULL, -- snapshots; 0 unknown (outliers)
	state_after  BIGINT NOT NULL,
	room_state   BIGINT NOT NULL, -- current state of the room once this event was in, after resolution
	redacted_by  BIGINT NOT NULL, -- number of the redaction that was applied to json, 0 for none
	txn          TEXT,            -- who sent it by which transaction id, for events of our own clients
	auth         BYTEA  NOT NULL, -- numbers of the auth events, as varints
	json         BYTEA  NOT NULL, -- canonical, without unsigned
	PRIMARY KEY (domain_id, event_nid)
);
CREATE UNIQUE INDEX event_by_id ON event (domain_id, event_id);
CREATE UNIQUE INDEX event_by_txn ON event (domain_id, txn) WHERE txn IS NOT NULL;
-- These say "<> 0", not "> 0": with a second lower bound in the statement SQLite would walk an index from its beginning.
-- Who wants the newest wants their numbers, and finds most of the events in memory.
CREATE INDEX event_by_pos ON event (domain_id, pos, event_nid) WHERE pos <> 0;
CREATE INDEX event_by_room_pos ON event (domain_id, room_nid, pos) WHERE pos <> 0;
CREATE INDEX event_by_room_topo ON event (domain_id, room_nid, topo, pos, event_nid) WHERE pos <> 0;
CREATE INDEX event_by_room_ts ON event (domain_id, room_nid, ts) WHERE pos <> 0;

-- A slot is a type and a state key: what a state event replaces.
CREATE TABLE slot (
	domain_id BIGINT NOT NULL,
	slot_nid  BIGINT NOT NULL,
	type      TEXT   NOT NULL,
	state_key TEXT   NOT NULL,
	PRIMARY KEY (domain_id, slot_nid)
)
-- only: sqlite
WITHOUT ROWID
-- end
;
CREATE UNIQUE INDEX slot_by_key ON slot (domain_id, type, state_key);

-- A snapshot is a full state (parent_nid 0) or what changed since its parent: see snapshots.go.
CREATE TABLE state_snapshot (
	domain_id    BIGINT NOT NULL,
	snapshot_nid BIGINT NOT NULL,
	room_nid     BIGINT NOT NULL,
	depth        BIGINT NOT NULL,
	parent_nid   BIGINT NOT NULL,
	entries      BYTEA  NOT NULL,
	PRIMARY KEY (domain_id, snapshot_nid)
);

-- The current state of every room, members apart.
CREATE TABLE current_state (
	domain_id BIGINT NOT NULL,
	room_nid  BIGINT NOT NULL,
	type      TEXT   NOT NULL,
	state_key TEXT   NOT NULL,
	event_nid BIGINT NOT NULL,
	PRIMARY KEY (domain_id, room_nid, type, state_key)
)
-- only: sqlite
WITHOUT ROWID
-- end
;

-- The current members of every room we are or were in.
CREATE TABLE membership (
	domain_id    BIGINT NOT NULL,
	room_nid     BIGINT NOT NULL,
	user_id      TEXT   NOT NULL,
	server       TEXT   NOT NULL,
	membership   BIGINT NOT NULL, -- 1 join, 2 invite, 3 knock, 4 leave, 5 ban
	event_nid    BIGINT NOT NULL,
	display_name TEXT,
	avatar_url   TEXT,
	PRIMARY KEY (domain_id, room_nid, user_id)
)
-- only: sqlite
WITHOUT ROWID
-- end
;
CREATE INDEX membership_by_user ON membership (domain_id, user_id, membership);
CREATE INDEX membership_by_server ON membership (domain_id, room_nid, server, user_id) WHERE membership = 1;

-- What each position did to the current state of its room. prev_nid is 0 where the slot was free, event_nid where it is now.
CREATE TABLE state_change (
	domain_id BIGINT NOT NULL,
	room_nid  BIGINT NOT NULL,
	pos       BIGINT NOT NULL,
	slot_nid  BIGINT NOT NULL,
	event_nid BIGINT NOT NULL,
	prev_nid  BIGINT NOT NULL,
	PRIMARY KEY (domain_id, room_nid, pos, slot_nid)
)
-- only: sqlite
WITHOUT ROWID
-- end
;

-- The rooms of this domain's users, also those they are only invited to, or left.
CREATE TABLE user_room (
	domain_id  BIGINT NOT NULL,
	user_id    TEXT   NOT NULL,
	room_nid   BIGINT NOT NULL,
	membership BIGINT NOT NULL,
	event_nid  BIGINT NOT NULL,
	pos        BIGINT NOT NULL, -- of the last change of membership
	forgotten  BIGINT NOT NULL,
	stripped   BYTEA,           -- invite_state or knock_state as a JSON array, for rooms we are not in
	PRIMARY KEY (domain_id, user_id, room_nid)
)
-- only: sqlite
WITHOUT ROWID
-- end
;

-- Backward extremities: events that stored ones refer to and that we do not have. topo is that of the referring event.
CREATE TABLE missing_event (
	domain_id BIGINT NOT NULL,
	room_nid  BIGINT NOT NULL,
	event_id  TEXT   NOT NULL,
	topo      BIGINT NOT NULL,
	PRIMARY KEY (domain_id, room_nid, event_id)
)
-- only: sqlite
WITHOUT ROWID
-- end
;

-- Redactions that came before what they redact.
CREATE TABLE pending_redaction (
	domain_id     BIGINT NOT NULL,
	target_id     TEXT   NOT NULL,
	redaction_nid BIGINT NOT NULL,
	PRIMARY KEY (domain_id, target_id, redaction_nid)
)
-- only: sqlite
WITHOUT ROWID
-- end
;

-- Who relates to what. Redacted children are taken out.
CREATE TABLE event_relation (
	domain_id BIGINT NOT NULL,
	parent_id TEXT   NOT NULL,
	event_nid BIGINT NOT NULL,
	room_nid  BIGINT NOT NULL,
	rel_type  TEXT   NOT NULL,
	type      TEXT   NOT NULL,
	sender    TEXT   NOT NULL,
	PRIMARY KEY (domain_id, parent_id, event_nid)
)
-- only: sqlite
WITHOUT ROWID
-- end
;
CREATE INDEX event_relation_by_room ON event_relation (domain_id, room_nid, rel_type, parent_id, event_nid);
CREATE INDEX event_relation_by_child ON event_relation (domain_id, event_nid);

-- Aliases of this domain.
CREATE TABLE room_alias (
	domain_id  BIGINT NOT NULL,
	alias      TEXT   NOT NULL,
	room_id    TEXT   NOT NULL,
	creator    TEXT   NOT NULL,
	created_ts BIGINT NOT NULL,
	PRIMARY KEY (domain_id, alias)
)
-- only: sqlite
WITHOUT ROWID
-- end
;
CREATE INDEX room_alias_by_room ON room_alias (domain_id, room_id);
