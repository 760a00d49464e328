// Package csapi is the Client-Server API: it reads requests, knows who calls, asks the keeper whose subject it is, and
// writes the answer. It decides nothing about rooms, keys or accounts and holds no state of its own but the rate limits.
// A file holds the endpoints of one of the specification's subjects; routes.go lists all that are served.
//
// An API is made once per domain and serves any number of requests at the same time. A request's context carries its
// deadline and nothing else: who calls is an argument.
package csapi

import (
	"log/slog"
	"net/http"
	"net/netip"

	"konsil/client/ssclient"
	"konsil/homeserver/account"
	"konsil/homeserver/appservice"
	"konsil/homeserver/clientsync"
	"konsil/homeserver/delayed"
	"konsil/homeserver/e2ee"
	"konsil/homeserver/ephemeral"
	"konsil/homeserver/federation"
	"konsil/homeserver/media"
	"konsil/homeserver/notice"
	"konsil/homeserver/preview"
	"konsil/homeserver/push"
	"konsil/homeserver/report"
	"konsil/homeserver/room"
	"konsil/homeserver/search"
	"konsil/kit/clock"
	"konsil/kit/limit"
	"konsil/kit/web"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Config is what an API stands on. Each subject adds the keeper it speaks to.
type Config struct {
	Server     id.ServerName          // the domain
	Accounts   *account.Keeper        // users, devices, tokens, profiles, account data
	E2EE       *e2ee.Keeper           // keys, key backups, to-device messages
	Ephemeral  *ephemeral.Keeper      // typing, receipts, presence
	Federation *federation.Federation // joins and questions that lead to other servers; nil means that there are none
	Rooms      *room.Engine           // rooms
	Sync       *clientsync.Syncer     // /sync
	Push       *push.Keeper           // push rules, pushers, unread counts
	Media      *media.Repository      // files
	Previews   *preview.Previewer     // of links; nil means that there are none
	Search     *search.Index          // full-text search; nil means that there is none
	Delayed    *delayed.Keeper        // events that are sent later; nil means that all are sent at once
	Notices    *notice.Keeper         // what operators tell users; nil means that they can not
	Services   *appservice.Mover      // transactions for application services; nil means that they get none
	Reports    *report.Keeper         // what users report to operators; nil means that they can not
	Remote     *ssclient.Client       // speaks to other servers; nil means that there are none
	Clock      clock.Clock            // nil means the system's
	Log        *slog.Logger           // nil means slog.Default()

	// TrustedProxies are the peers whose X-Forwarded-For is believed. Empty: nobody's.
	TrustedProxies []netip.Prefix
	// Unlimited switches the rate limits off, for test suites. Limits on sizes stay.
	Unlimited bool

	// AuthenticatedMediaOnly closes the older media endpoints, which need no access token. CS v1.16 #content-repository
	AuthenticatedMediaOnly bool

	// DefaultVersion is the version of new rooms, as the capabilities tell it; "" means 11.
	DefaultVersion string

	Discovery Discovery // what the well-known documents say
	TURN      TURN      // the relay for calls; the zero value means none
}

// API answers the requests of one domain's clients.
type API struct {
	Config
	limiter  *limit.Limiter
	features map[string]bool // of /versions
}

// New assembles the API. It starts nothing.
func New(cfg Config) *API {
	if cfg.Clock == nil {
		cfg.Clock = clock.System()
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.DefaultVersion == "" {
		cfg.DefaultVersion = "11"
	}
	a := &API{Config: cfg, limiter: limit.New(cfg.Clock, 50_000)}
	if cfg.Unlimited {
		a.limiter = limit.Off()
	}
	a.features = a.unstable()
	return a
}

// Handler serves the whole API. Paths that are none of its own are answered with M_UNRECOGNIZED.
// CS v1.16 #common-error-codes
func (a *API) Handler() http.Handler {
	unknown := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.respond(w, r, nil, mxerr.Unrecognized()) })
	wrong := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.respond(w, r, nil, mxerr.WrongMethod()) })
	return crossOrigin(web.NewMux(a.Routes(), unknown, wrong))
}

// crossOrigin lets web clients of any origin in: access is by token, never by cookie. CS v1.16 #web-browser-clients
func crossOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, PATCH, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "X-Requested-With, Content-Type, Authorization, Date")
		h.Set("Access-Control-Expose-Headers", "ETag, Retry-After")
		if r.Method == http.MethodOptions {
			// A preflight says nothing about the endpoint, so it is answered before any is looked up.
			h.Set("Access-Control-Max-Age", "86400")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}
