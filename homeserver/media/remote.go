package media

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"path/filepath"
	"time"

	"konsil/client/ssclient"
	"konsil/homeserver/store"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// fetchTime bounds the fetching of one file: that of a large one over a slow line.
const fetchTime = 10 * time.Minute

// fetch gets a file of another server and keeps it. Those who ask at the same time wait for one fetch; one who gives up
// does not end it for the others.
func (r *Repository) fetch(ctx context.Context, origin id.ServerName, mediaID string, wait time.Duration) (store.Media, error) {
	if r.cfg.Remote == nil {
		return store.Media{}, mxerr.NotFound("Media not found")
	}
	result := r.fetches.DoChan(string(origin)+"/"+mediaID, func() (any, error) {
		detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
		defer cancel()
		return r.download(detached, origin, mediaID, wait)
	})
	select {
	case got := <-result:
		if got.Err != nil {
			return store.Media{}, remoteRefusal(got.Err)
		}
		return got.Val.(store.Media), nil
	case <-ctx.Done():
		return store.Media{}, ctx.Err()
	}
}

func (r *Repository) download(ctx context.Context, origin id.ServerName, mediaID string, wait time.Duration) (store.Media, error) {
	// Somebody may have fetched it since we looked.
	if m, err := r.row(ctx, origin, mediaID); err == nil {
		return m, nil
	}
	remote, err := r.cfg.Remote.Download(ctx, ssclient.MediaRequest{Server: origin, MediaID: mediaID, Timeout: wait, MaxSize: r.cfg.MaxUpload})
	if err != nil {
		return store.Media{}, fmt.Errorf("fetch media from %s: %w", origin, err)
	}
	defer remote.Body.Close()
	m := r.describe(mediaID, Upload{ContentType: remote.ContentType, Name: fileName(remote.Disposition)})
	m.Origin = origin
	err = r.save(r.path(origin, mediaID), remote.Body, func(size int64) error {
		m.Size = size
		return r.cfg.Store.Write(ctx, func(tx *store.Tx) error {
			_, err := tx.CreateMedia(ctx, m)
			return err
		})
	})
	return m, err
}

// remoteRefusal says in our own words what came of a fetch: another server's refusal is not ours (A29).
func remoteRefusal(err error) error {
	if _, ok := mxerr.As(err); ok {
		return err
	}
	if answer, ok := ssclient.Answered(err); ok {
		switch answer.Status {
		case http.StatusNotFound:
			return mxerr.NotFound("Media not found")
		case http.StatusGatewayTimeout:
			return mxerr.New(http.StatusGatewayTimeout, "M_NOT_YET_UPLOADED", "The file has not been uploaded yet")
		}
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	return mxerr.New(http.StatusBadGateway, mxerr.CodeUnknown, "The file's server does not deliver it")
}

// fileName reads the name out of a Content-Disposition, without any folders.
func fileName(disposition string) string {
	_, params, err := mime.ParseMediaType(disposition)
	if err != nil || params["filename"] == "" {
		return ""
	}
	return filepath.Base(filepath.ToSlash(params["filename"]))
}
