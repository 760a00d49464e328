package homeserver

import (
	"context"
	"time"

	"konsil/homeserver/media"
	"konsil/homeserver/ssapi"
	"konsil/matrix/id"
)

// localMedia shows other servers the files of one domain, and none of those it keeps of others.
type localMedia struct {
	repository *media.Repository
	server     id.ServerName
}

// LocalFile opens a file.
func (m localMedia) LocalFile(ctx context.Context, mediaID string, wait time.Duration) (ssapi.File, error) {
	return file(m.repository.Open(ctx, m.server, mediaID, wait))
}

// LocalThumbnail opens a thumbnail. Ours never move, so animated makes no difference.
func (m localMedia) LocalThumbnail(ctx context.Context, mediaID string, wait time.Duration, width, height int, method string, _ bool) (ssapi.File, error) {
	how := media.Scale
	if method == string(media.Crop) {
		how = media.Crop
	}
	return file(m.repository.Thumbnail(ctx, m.server, mediaID, width, height, how, wait))
}

func file(f *media.File, err error) (ssapi.File, error) {
	if err != nil {
		return ssapi.File{}, err
	}
	return ssapi.File{ContentType: f.SafeType(), Disposition: f.Disposition(), Size: f.Size, Body: f.File}, nil
}
