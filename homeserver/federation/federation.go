// Package federation moves events and messages between this domain and other servers: it keeps their keys, verifies what
// they send, fills gaps, hands events to the room engine, and follows the domain's order to send what is ours. It joins,
// leaves, knocks and invites through other servers for local users.
//
// It decides nothing about rooms (package room does) and speaks through client/ssclient only; what others ask of us is
// answered by homeserver/ssapi. All methods are safe for concurrent use. Run owns all goroutines but those of callers.
package federation

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"konsil/client/ssclient"
	"konsil/homeserver/e2ee"
	"konsil/homeserver/ephemeral"
	"konsil/homeserver/notify"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/matrix/id"
	"konsil/matrix/sign"
)

// Config is what a domain's federation stands on.
type Config struct {
	Server id.ServerName
	Key    sign.Key                 // signs requests and events
	Old    map[id.KeyID]sign.OldKey // keys of the past, published so that old events stay verifiable; may be nil
	Client *ssclient.Client         // sends as Server
	Store  *store.DB
	Rooms  *room.Engine
	Notify *notify.Notifier
	Clock  clock.Clock  // nil means the system's
	Log    *slog.Logger // nil means slog.Default()

	// Notaries are asked for keys of servers that do not answer. Empty: nobody, keys come from their servers only.
	Notaries []id.ServerName

	// Profile gives display name and avatar of a local user, for joins and knocks through other servers. nil: none has any.
	Profile func(ctx context.Context, user id.UserID) (room.Profile, error)

	// JoinLimit bounds the answer to a send_join in bytes. 0 means 512 MiB.
	JoinLimit int64

	Devices   *e2ee.Keeper      // end-to-end keys and to-device messages; nil: EDUs about them are ignored
	Ephemeral *ephemeral.Keeper // typing, receipts, presence; nil: EDUs about them are ignored
}

// Federation is one domain's.
type Federation struct {
	cfg    Config
	Keys   *Keyring
	Sender *Sender

	inbound inbound
	late    late
	joins   singleflight.Group // one join of a user to a room at a time
	verify  chan struct{}      // bounds how many batches are verified at once
}

// New assembles a domain's federation. Nothing runs until Run.
func New(cfg Config) *Federation {
	if cfg.Clock == nil {
		cfg.Clock = clock.System()
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	f := &Federation{cfg: cfg, verify: make(chan struct{}, runtime.GOMAXPROCS(0))}
	f.Keys = newKeyring(cfg)
	f.Sender = newSender(cfg)
	f.inbound.init()
	f.late.init()
	return f
}

// Run sends and keeps house until ctx ends.
func (f *Federation) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.Sender.Run(ctx) })
	g.Go(func() error { return f.runHousekeeping(ctx) })
	g.Go(func() error { return f.runLate(ctx) })
	return g.Wait()
}

// Now is the time by the domain's clock.
func (f *Federation) Now() time.Time { return f.cfg.Clock.Now() }

// Failing is how many servers could not be reached at the last try and still have to get something.
func (f *Federation) Failing() int { return int(f.Sender.failing.Load()) }

// Contact notes that a server has just reached us: what waits for it is tried again.
func (f *Federation) Contact(server id.ServerName) { f.Sender.Contact(server) }

// Busy says whether work is under way: a transaction of another server, or one of ours, or something that waits to be sent to
// a server in good order.
func (f *Federation) Busy() bool {
	f.inbound.mu.Lock()
	receiving := len(f.inbound.running) > 0
	f.inbound.mu.Unlock()
	return receiving || f.Sender.busy()
}

// NextDue is when a server that did not answer has to be tried again, in ms; 0 for never.
func (f *Federation) NextDue() int64 { return f.Sender.nextDue() }
