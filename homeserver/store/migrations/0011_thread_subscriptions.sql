-- Which threads users want to hear of. MSC4306
CREATE TABLE thread_subscription (
	domain_id  BIGINT NOT NULL,
	user_id    TEXT   NOT NULL,
	room_id    TEXT   NOT NULL,
	root_id    TEXT   NOT NULL,
	pos        BIGINT NOT NULL, -- of the last change: an automatic subscription needs a later cause than the end of the one before
	subscribed BIGINT NOT NULL, -- 0 for one that was ended
	automatic  BIGINT NOT NULL,
	PRIMARY KEY (domain_id, user_id, room_id, root_id)
);
CREATE INDEX thread_subscription_by_pos ON thread_subscription (domain_id, user_id, pos);
