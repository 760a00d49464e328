-- What users report to the operators: a room, an event, or a user. CS v1.16 #reporting-content
CREATE TABLE report (
	domain_id BIGINT NOT NULL,
	report_id BIGINT NOT NULL, -- a position of the domain's order
	ts        BIGINT NOT NULL, -- ms
	reporter  TEXT   NOT NULL,
	room_id   TEXT   NOT NULL, -- '' where a user is reported
	event_id  TEXT   NOT NULL, -- '' where a room or user is reported
	user_id   TEXT   NOT NULL, -- who is reported: the sender of the event; '' where a room is reported
	reason    BYTEA  NOT NULL, -- any text somebody typed
	PRIMARY KEY (domain_id, report_id)
);
