package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// Media is what is known of a file.
type Media struct {
	Origin      id.ServerName
	MediaID     string
	User        id.UserID // uploader, "" for files of other servers
	ContentType string
	Name        string // as given by the uploader, "" for none
	Size        int64  // -1 while announced and not uploaded
	Created     int64  // ms
	Expires     int64  // ms; of an announcement
}

// CreateMedia stores a file, or its announcement. One that is there already stays as it is; created is false then.
func (tx *Tx) CreateMedia(ctx context.Context, m Media) (created bool, err error) {
	n, err := tx.Exec(ctx, `
		INSERT INTO media (domain_id, origin, media_id, user_id, content_type, upload_name, size, created_ts, expires_ts)
		VALUES ($0, $1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (domain_id, origin, media_id) DO NOTHING`,
		string(m.Origin), m.MediaID, string(m.User), m.ContentType, []byte(m.Name), m.Size, m.Created, m.Expires)
	return n > 0, err
}

// CompleteMedia turns an announcement into a file; done is false when it was none any more.
func (tx *Tx) CompleteMedia(ctx context.Context, m Media) (done bool, err error) {
	n, err := tx.Exec(ctx, `
		UPDATE media SET content_type = $3, upload_name = $4, size = $5, expires_ts = 0
		WHERE domain_id = $0 AND origin = $1 AND media_id = $2 AND size < 0`,
		string(m.Origin), m.MediaID, m.ContentType, []byte(m.Name), m.Size)
	return n > 0, err
}

// Media reads one file's row, or gives ErrNotFound.
func (tx *Tx) Media(ctx context.Context, origin id.ServerName, mediaID string) (Media, error) {
	m := Media{Origin: origin, MediaID: mediaID}
	var name []byte
	err := db.One(ctx, tx, `
		SELECT user_id, content_type, upload_name, size, created_ts, expires_ts
		FROM media WHERE domain_id = $0 AND origin = $1 AND media_id = $2`,
		[]any{string(origin), mediaID}, &m.User, &m.ContentType, &name, &m.Size, &m.Created, &m.Expires)
	m.Name = string(name)
	return m, err
}

// AnnouncedMedia counts a user's announcements that are still open.
func (tx *Tx) AnnouncedMedia(ctx context.Context, user id.UserID, now int64) (int64, error) {
	return db.Get[int64](ctx, tx, `
		SELECT COUNT(*) FROM media WHERE domain_id = $0 AND user_id = $1 AND size < 0 AND expires_ts > $2`, string(user), now)
}

// Thumbnail is a picture made of a file.
type Thumbnail struct {
	Variant     string // 320x240-scale
	ContentType string
	Size        int64
}

// PutThumbnail remembers a thumbnail.
func (tx *Tx) PutThumbnail(ctx context.Context, origin id.ServerName, mediaID string, t Thumbnail) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO media_thumbnail (domain_id, origin, media_id, variant, content_type, size) VALUES ($0, $1, $2, $3, $4, $5)
		ON CONFLICT (domain_id, origin, media_id, variant) DO UPDATE SET content_type = excluded.content_type, size = excluded.size`,
		string(origin), mediaID, t.Variant, t.ContentType, t.Size)
	return err
}

// Thumbnail reads one thumbnail's row, or gives ErrNotFound.
func (tx *Tx) Thumbnail(ctx context.Context, origin id.ServerName, mediaID, variant string) (Thumbnail, error) {
	t := Thumbnail{Variant: variant}
	err := db.One(ctx, tx, `
		SELECT content_type, size FROM media_thumbnail
		WHERE domain_id = $0 AND origin = $1 AND media_id = $2 AND variant = $3`,
		[]any{string(origin), mediaID, variant}, &t.ContentType, &t.Size)
	return t, err
}
