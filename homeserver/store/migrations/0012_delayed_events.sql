-- Events that are to be sent later, unless their client stays in touch. MSC4140
CREATE TABLE delayed_event (
	domain_id BIGINT NOT NULL,
	delay_id  TEXT   NOT NULL, -- a secret: who knows it may end the delay
	user_id   TEXT   NOT NULL,
	room_id   TEXT   NOT NULL,
	type      TEXT   NOT NULL,
	state_key TEXT,            -- NULL for what is no state event
	content   BYTEA  NOT NULL,
	delay     BIGINT NOT NULL, -- ms
	since     BIGINT NOT NULL, -- ms: when the delay began, or began again
	due       BIGINT NOT NULL, -- since + delay
	pos       BIGINT NOT NULL, -- of the domain's order when it was asked for: somebody's later state goes before it
	txn       TEXT   NOT NULL, -- the client transaction that asked for it, see TxnKey; '' for state
	PRIMARY KEY (domain_id, delay_id)
);
CREATE INDEX delayed_event_due ON delayed_event (domain_id, due);
CREATE INDEX delayed_event_by_user ON delayed_event (domain_id, user_id, due);
CREATE UNIQUE INDEX delayed_event_by_txn ON delayed_event (domain_id, txn) WHERE txn <> '';
