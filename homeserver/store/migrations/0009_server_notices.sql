-- The room in which the server speaks to a user. CS v1.16 #server-notices
CREATE TABLE server_notice_room (
	domain_id BIGINT NOT NULL,
	user_id   TEXT   NOT NULL,
	room_id   TEXT   NOT NULL,
	PRIMARY KEY (domain_id, user_id)
);
