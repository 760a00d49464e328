// Package media is the content repository of a domain: it takes files, keeps them in the domain's media folder, fetches and
// keeps those of other servers, and makes thumbnails. Most files here are ciphertext, which it neither knows nor minds.
//
// It trusts no size, no type and no name that somebody claims: bytes are counted while they are written, pictures are
// measured before they are decoded, names never become paths. A Repository is safe for concurrent use.
package media

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"konsil/client/ssclient"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Config is what a Repository stands on.
type Config struct {
	Server id.ServerName
	Store  *store.DB
	Dir    string           // the domain's media folder; made when it is needed
	Remote *ssclient.Client // fetches files of other servers; nil means that there are none
	Clock  clock.Clock      // nil means the system's
	Rand   io.Reader        // nil means the system's

	MaxUpload int64 // bytes of one file, also of one from another server; 0 means 100 MiB
	MaxPixels int   // of a picture that thumbnails are made of; 0 means 50 million
}

const (
	defaultMaxUpload = 100 << 20
	defaultMaxPixels = 50_000_000

	announceLife     = 24 * time.Hour // CS v1.16 #post_matrixmediav1create: how long a media ID waits for its bytes
	maxAnnouncements = 100            // open ones of a user: each is a row that somebody made for nothing so far
	maxName          = 255            // bytes of a file name; longer ones are cut
	maxContentType   = 255

	// maxWait bounds timeout_ms: how long a download waits for bytes that are announced. CS v1.16 #content-repository
	maxWait = time.Minute
)

// Repository keeps the files of one domain.
type Repository struct {
	cfg      Config
	fetches  singleflight.Group // files of other servers under way
	scaling  chan struct{}      // bounds how many pictures are decoded at once: each takes its pixels in memory
	arrivals arrivals

	completing sync.Map // announced media IDs whose bytes are being received
}

// New assembles a Repository. It starts nothing and opens nothing.
func New(cfg Config) *Repository {
	if cfg.Clock == nil {
		cfg.Clock = clock.System()
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.MaxUpload == 0 {
		cfg.MaxUpload = defaultMaxUpload
	}
	if cfg.MaxPixels == 0 {
		cfg.MaxPixels = defaultMaxPixels
	}
	return &Repository{cfg: cfg, scaling: make(chan struct{}, 2)}
}

// MaxUpload is the largest file that is taken, in bytes.
func (r *Repository) MaxUpload() int64 { return r.cfg.MaxUpload }

// Upload is a file somebody sends.
type Upload struct {
	User        id.UserID
	ContentType string
	Name        string
	Body        io.Reader // read to its end, whatever a Content-Length said
}

// File is an open file; who got it closes it.
type File struct {
	*os.File
	ContentType string
	Name        string // "" for none
	Size        int64
	Modified    time.Time
}

// mediaIDs of the specification are opaque; ours are also good file names, and so are all that we store.
var mediaIDs = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

// Upload keeps a file and gives it an ID. It is on disk when Upload returns.
func (r *Repository) Upload(ctx context.Context, up Upload) (mediaID string, err error) {
	if mediaID, err = r.newID(); err != nil {
		return "", err
	}
	m := r.describe(mediaID, up)
	err = r.save(r.path(m.Origin, mediaID), up.Body, func(size int64) error {
		m.Size = size
		return r.cfg.Store.Write(ctx, func(tx *store.Tx) error {
			_, err := tx.CreateMedia(ctx, m)
			return err
		})
	})
	return mediaID, err
}

// Create announces a file whose bytes come later. CS v1.16 #post_matrixmediav1create
func (r *Repository) Create(ctx context.Context, user id.UserID) (mediaID string, expires time.Time, err error) {
	if mediaID, err = r.newID(); err != nil {
		return "", time.Time{}, err
	}
	now := r.cfg.Clock.Now()
	expires = now.Add(announceLife)
	err = r.cfg.Store.Write(ctx, func(tx *store.Tx) error {
		open, err := tx.AnnouncedMedia(ctx, user, now.UnixMilli())
		if err != nil {
			return err
		}
		if open >= maxAnnouncements {
			return mxerr.LimitExceeded(time.Minute)
		}
		_, err = tx.CreateMedia(ctx, store.Media{Origin: r.cfg.Server, MediaID: mediaID, User: user, Size: -1,
			Created: now.UnixMilli(), Expires: expires.UnixMilli()})
		return err
	})
	return mediaID, expires, err
}

// Complete brings the bytes of an announced file. CS v1.16 #put_matrixmediav3uploadservernamemediaid
func (r *Repository) Complete(ctx context.Context, origin id.ServerName, mediaID string, up Upload) error {
	announced, err := r.row(ctx, origin, mediaID)
	switch {
	case errors.Is(err, store.ErrNotFound) || origin != r.cfg.Server:
		return mxerr.NotFound("Unknown media ID")
	case err != nil:
		return err
	case announced.Size >= 0:
		return errTaken()
	case announced.User != up.User:
		return mxerr.Forbidden("Only who created the media ID may upload to it")
	case announced.Expires <= clock.Millis(r.cfg.Clock):
		return mxerr.NotFound("The media ID has expired")
	}
	// Two uploads at once to one ID would write one file: the first that comes has it.
	if _, taken := r.completing.LoadOrStore(mediaID, true); taken {
		return errTaken()
	}
	defer r.completing.Delete(mediaID)
	m := r.describe(mediaID, up)
	err = r.save(r.path(origin, mediaID), up.Body, func(size int64) error {
		m.Size = size
		return r.cfg.Store.Write(ctx, func(tx *store.Tx) error {
			done, err := tx.CompleteMedia(ctx, m)
			if err == nil && !done {
				return errTaken()
			}
			return err
		})
	})
	if err == nil {
		r.arrivals.tell(mediaID)
	}
	return err
}

func errTaken() error {
	return mxerr.New(http.StatusConflict, "M_CANNOT_OVERWRITE_MEDIA", "The media ID has its file already")
}

// Open opens a file, fetching it from its server first if need be. wait bounds the time for a file that is announced and
// not there yet; what never comes is M_NOT_YET_UPLOADED.
func (r *Repository) Open(ctx context.Context, origin id.ServerName, mediaID string, wait time.Duration) (*File, error) {
	m, err := r.find(ctx, origin, mediaID, wait)
	if err != nil {
		return nil, err
	}
	return r.open(r.path(origin, mediaID), m)
}

// find makes sure that a file is here.
func (r *Repository) find(ctx context.Context, origin id.ServerName, mediaID string, wait time.Duration) (store.Media, error) {
	if !mediaIDs.MatchString(mediaID) {
		return store.Media{}, mxerr.NotFound("Media not found")
	}
	m, err := r.row(ctx, origin, mediaID)
	switch {
	case errors.Is(err, store.ErrNotFound) && origin != r.cfg.Server:
		return r.fetch(ctx, origin, mediaID, wait)
	case errors.Is(err, store.ErrNotFound):
		return m, mxerr.NotFound("Media not found")
	case err == nil && m.Size < 0:
		return r.awaitUpload(ctx, m, wait)
	}
	return m, err
}

func (r *Repository) row(ctx context.Context, origin id.ServerName, mediaID string) (m store.Media, err error) {
	err = r.cfg.Store.ReadOne(ctx, func(tx *store.Tx) error {
		m, err = tx.Media(ctx, origin, mediaID)
		return err
	})
	return m, err
}

// awaitUpload waits for the bytes of an announced file.
func (r *Repository) awaitUpload(ctx context.Context, m store.Media, wait time.Duration) (store.Media, error) {
	arrived, done := r.arrivals.wait(m.MediaID)
	defer done()
	timer := r.cfg.Clock.NewTimer(min(max(wait, 0), maxWait))
	defer timer.Stop()
	for {
		now, err := r.row(ctx, m.Origin, m.MediaID)
		if err != nil || now.Size >= 0 {
			return now, err
		}
		select {
		case <-arrived:
		case <-timer.C():
			return now, mxerr.New(http.StatusGatewayTimeout, "M_NOT_YET_UPLOADED", "The file has not been uploaded yet")
		case <-ctx.Done():
			return now, ctx.Err()
		}
	}
}

func (r *Repository) open(path string, m store.Media) (*File, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, mxerr.NotFound("Media not found")
	}
	if err != nil {
		return nil, fmt.Errorf("open media: %w", err)
	}
	return &File{File: f, ContentType: m.ContentType, Name: m.Name, Size: m.Size, Modified: time.UnixMilli(m.Created)}, nil
}

func (r *Repository) describe(mediaID string, up Upload) store.Media {
	m := store.Media{Origin: r.cfg.Server, MediaID: mediaID, User: up.User, ContentType: up.ContentType, Name: cut(up.Name, maxName),
		Created: clock.Millis(r.cfg.Clock)}
	if m.ContentType == "" || len(m.ContentType) > maxContentType {
		m.ContentType = "application/octet-stream"
	}
	return m
}

// cut shortens s to at most n bytes without breaking a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}

func (r *Repository) newID() (string, error) {
	var raw [18]byte
	if _, err := io.ReadFull(r.cfg.Rand, raw[:]); err != nil {
		return "", fmt.Errorf("draw media ID: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(raw[:]), nil
}

// path is where a file lies: folders of two characters keep directories small. Another server's name is written in base64,
// for it may hold what no file name may.
func (r *Repository) path(origin id.ServerName, mediaID string) string {
	place := "local"
	if origin != r.cfg.Server {
		place = filepath.Join("remote", base64.RawURLEncoding.EncodeToString([]byte(origin)))
	}
	return filepath.Join(r.cfg.Dir, place, (mediaID + "__")[:2], mediaID)
}
