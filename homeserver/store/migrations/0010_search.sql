-- Full-text search over what clients may search: bodies, names and topics of rooms without encryption. CS v1.16 #server-side-search
CREATE TABLE search_doc (
	domain_id BIGINT NOT NULL,
	event_nid BIGINT NOT NULL,
	room_nid  BIGINT NOT NULL,
	pos       BIGINT NOT NULL, -- of the event: the order of "recent"
	field     BIGINT NOT NULL, -- 1 body, 2 name, 3 topic
	sender    TEXT   NOT NULL,
	PRIMARY KEY (domain_id, event_nid)
);
CREATE INDEX search_doc_by_room ON search_doc (domain_id, room_nid);

-- The words of a document, as homeserver/search cuts them: neither engine's own idea of a word counts.
-- only: sqlite
CREATE VIRTUAL TABLE search_words USING fts5 (words, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 0');
-- end
-- only: postgres
ALTER TABLE search_doc ADD COLUMN words TSVECTOR NOT NULL;
CREATE INDEX search_doc_words ON search_doc USING GIN (words);
-- end

-- How far the domain's order, and the history that other servers gave us, are indexed.
CREATE TABLE search_cursor (
	domain_id BIGINT NOT NULL,
	pos       BIGINT NOT NULL,
	history   BIGINT NOT NULL, -- number of an event
	PRIMARY KEY (domain_id)
);
