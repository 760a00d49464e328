-- Files of the content repository: what is known of them. Their bytes lie in the domain's media folder.
CREATE TABLE media (
	domain_id    BIGINT NOT NULL,
	origin       TEXT   NOT NULL,          -- server name in mxc://origin/media_id
	media_id     TEXT   NOT NULL,
	user_id      TEXT   NOT NULL,          -- uploader; empty for files of other servers
	content_type TEXT   NOT NULL,
	upload_name  BYTEA  NOT NULL,          -- file name as given; foreign text, so bytes
	size         BIGINT NOT NULL,          -- bytes; -1 while announced and not uploaded
	created_ts   BIGINT NOT NULL,
	expires_ts   BIGINT NOT NULL DEFAULT 0, -- of an announcement
	PRIMARY KEY (domain_id, origin, media_id)
);
CREATE INDEX media_announced ON media (domain_id, user_id, expires_ts) WHERE size < 0;

CREATE TABLE media_thumbnail (
	domain_id    BIGINT NOT NULL,
	origin       TEXT   NOT NULL,
	media_id     TEXT   NOT NULL,
	variant      TEXT   NOT NULL,          -- 320x240-scale
	content_type TEXT   NOT NULL,
	size         BIGINT NOT NULL,
	PRIMARY KEY (domain_id, origin, media_id, variant)
);
