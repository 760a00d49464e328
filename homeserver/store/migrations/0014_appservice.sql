-- What application services are to hear. AS v1.16 #pushing-events

-- How far the domain's order was looked through for them.
CREATE TABLE appservice_cursor (
	domain_id BIGINT NOT NULL,
	pos       BIGINT NOT NULL,
	PRIMARY KEY (domain_id)
);

-- Events that wait for a service, in the order in which it gets them.
CREATE TABLE appservice_event (
	domain_id  BIGINT NOT NULL,
	service_id TEXT   NOT NULL,
	pos        BIGINT NOT NULL,
	event_nid  BIGINT NOT NULL,
	PRIMARY KEY (domain_id, service_id, pos)
);

-- The transaction under way: all that waits up to last_pos. A repeated one must hold the same events.
CREATE TABLE appservice_transaction (
	domain_id  BIGINT NOT NULL,
	service_id TEXT   NOT NULL,
	last_pos   BIGINT NOT NULL,
	failures   BIGINT NOT NULL,
	retry_at   BIGINT NOT NULL, -- ms
	PRIMARY KEY (domain_id, service_id)
);
