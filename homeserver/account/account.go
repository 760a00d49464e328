// Package account keeps the users of a domain: their accounts, devices and tokens, profiles, account data, tags and
// filters. It knows who somebody is and proves it; what they may do in a room is decided elsewhere, and keys are the key
// directory's. It speaks no HTTP.
//
// A Keeper is safe for concurrent use. Access tokens in use are held in memory, so that Authenticate reads no database;
// everything that ends a token goes through the Keeper, which forgets it after the commit.
package account

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"time"

	"konsil/homeserver/notify"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/kit/limit"
	"konsil/kit/obs"
	"konsil/matrix/id"
)

// Registration says who may make an account.
type Registration int

const (
	Closed    Registration = iota // nobody but operators
	WithToken                     // who has a registration token
	Open                          // everybody
)

// Config is what a Keeper stands on.
type Config struct {
	Server id.ServerName
	Store  *store.DB
	Notify *notify.Notifier
	Clock  clock.Clock  // nil means the system's
	Rand   io.Reader    // nil means the system's
	Log    *slog.Logger // nil means slog.Default()

	// Hasher makes and checks password hashes. Share one between the domains of a process: it is what keeps hashing from
	// taking all cores. Nil makes one with the default cost.
	Hasher *Hasher
	// Registration says who may make an account; the zero value is nobody.
	Registration Registration
	// SharedSecret lets programs make accounts, also administrators'. Empty: none may.
	SharedSecret string
	// MinPassword is the least length of a password in characters; 0 means 8.
	MinPassword int
	// AccessTokenLifetime bounds the access tokens of clients that can refresh them; 0 means one hour.
	AccessTokenLifetime time.Duration
	// RefreshTokenLifetime is how long a client may stay away without having to log in again; 0 means 90 days.
	RefreshTokenLifetime time.Duration
	// AppServices may act for users of their namespaces. See CheckAppServices.
	AppServices []*AppService
	// SearchAll makes all users of the domain findable in its user directory, not only those who share a room with the
	// searcher or are in a published one.
	SearchAll bool
	// UnlimitedLogins switches the limit on password attempts off, for test suites.
	UnlimitedLogins bool

	// DevicesChanged hears of changed devices after their commit; nil means that nobody has to.
	DevicesChanged DevicesChanged
}

// Keeper keeps the accounts of one domain.
type Keeper struct {
	Config
	tokens   *tokenCache
	attempts *limit.Limiter     // on passwords, by user
	nonces   *vault[struct{}]   // of shared-secret registrations
	logins   *vault[id.UserID]  // one-time login tokens
	proofs   *vault[*operation] // user-interactive authentication under way
	services map[tokenHash]*AppService
}

// New assembles a Keeper. It starts nothing: Run does the work in the background.
func New(cfg Config) *Keeper {
	if cfg.Clock == nil {
		cfg.Clock = clock.System()
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Hasher == nil {
		cfg.Hasher = NewHasher(DefaultCost)
	}
	if cfg.MinPassword == 0 {
		cfg.MinPassword = 8
	}
	if cfg.AccessTokenLifetime == 0 {
		cfg.AccessTokenLifetime = time.Hour
	}
	if cfg.RefreshTokenLifetime == 0 {
		cfg.RefreshTokenLifetime = 90 * 24 * time.Hour
	}
	attempts := limit.New(cfg.Clock, 10_000)
	if cfg.UnlimitedLogins {
		attempts = limit.Off()
	}
	services := make(map[tokenHash]*AppService, len(cfg.AppServices))
	for _, s := range cfg.AppServices {
		services[s.asToken] = s
	}
	return &Keeper{
		Config:   cfg,
		services: services,
		tokens:   newTokenCache(),
		attempts: attempts,
		nonces:   newVault[struct{}](cfg.Clock, time.Minute, 1000),
		logins:   newVault[id.UserID](cfg.Clock, 2*time.Minute, 10000),
		proofs:   newVault[*operation](cfg.Clock, time.Hour, 10000),
	}
}

// Run writes down what is kept in memory only, until the context ends, and once more then.
func (k *Keeper) Run(ctx context.Context) error {
	timer := k.Clock.NewTimer(seenDelay)
	defer timer.Stop()
	for {
		select {
		case <-timer.C():
			if err := k.Flush(ctx); err != nil {
				k.Log.Warn("write last seen", obs.KeyError, err) // nothing is lost: the next round writes it
			}
			timer.Reset(seenDelay)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return k.Flush(last)
		}
	}
}

// wake tells the user's waiting clients of a committed change.
func (k *Keeper) wake(kind notify.Kind, users ...id.UserID) {
	k.Notify.Wake(notify.Change{Pos: k.Store.Position(), Users: users, Kind: kind})
}

func (k *Keeper) now() int64 { return clock.Millis(k.Clock) }

// secret draws n random bytes as text.
func (k *Keeper) secret(n int) (string, error) {
	buf := make([]byte, n)
	if _, err := io.ReadFull(k.Rand, buf); err != nil {
		return "", fmt.Errorf("draw a secret: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(buf), nil
}
