// Package ssapi is the Server-Server API: it authenticates other servers, reads their requests, asks the keeper whose
// subject it is, and writes the answer. It decides nothing about rooms or keys and sends nothing by itself. A file holds one
// of the specification's subjects; routes.go lists all that is served.
//
// An API is made once per domain and serves any number of requests at the same time.
package ssapi

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"konsil/homeserver/account"
	"konsil/homeserver/e2ee"
	"konsil/homeserver/federation"
	"konsil/homeserver/room"
	"konsil/kit/web"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Config is what an API stands on.
type Config struct {
	Server     id.ServerName
	Federation *federation.Federation
	Rooms      *room.Engine
	Accounts   *account.Keeper
	Devices    *e2ee.Keeper
	Media      Media // nil: we have none, every file is unknown
	Version    string
	Log        *slog.Logger // nil means slog.Default()
}

// Media gives other servers the files of this one. It knows only local files, and refuses with mxerr values.
type Media interface {
	// LocalFile opens a file; wait is how long to wait for one that is announced and not uploaded yet.
	LocalFile(ctx context.Context, mediaID string, wait time.Duration) (File, error)
	// LocalThumbnail opens a thumbnail of a file.
	LocalThumbnail(ctx context.Context, mediaID string, wait time.Duration, width, height int, method string, animated bool) (File, error)
}

// API answers the requests of other servers to one domain.
type API struct {
	cfg     Config
	handler http.Handler
}

// New assembles the API. It starts nothing.
func New(cfg Config) *API {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Version == "" {
		cfg.Version = "dev"
	}
	a := &API{cfg: cfg}
	// SS v1.16 #unsupported-endpoints
	unknown := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { web.Respond(w, r, nil, mxerr.Unrecognized()) })
	wrong := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { web.Respond(w, r, nil, mxerr.WrongMethod()) })
	a.handler = web.NewMux(a.Routes(), unknown, wrong)
	return a
}

// ServeHTTP answers a request below /_matrix/federation and /_matrix/key.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }
