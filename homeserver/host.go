// Package homeserver is the Matrix homeserver as a whole. A Host knows all domains of a process by its registry, wakes the
// one a request is for, and lets it sleep again when nobody has asked for a while. A Domain is one organisation's homeserver,
// wired: its keepers around a store handle that is bound to it, and the two APIs in front.
//
// Requests are told apart by host name once, at the edge; below it nothing knows that other domains exist. Between domains
// of one process messages still are federation: signed, checked and stored by each side, only the network hop is short.
// All methods of Host are safe for concurrent use.
package homeserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"konsil/client/ssclient"
	"konsil/homeserver/account"
	"konsil/homeserver/store"
	"konsil/kit/cache"
	"konsil/kit/clock"
	"konsil/kit/obs"
	"konsil/kit/web"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/sign"
)

// ErrClosed is what a closed Host answers.
var ErrClosed = errors.New("host is closed")

// Config is what a Host stands on. The settings hold for all its domains.
type Config struct {
	DataDir  string // databases, media; made if missing
	Database string // a PostgreSQL URL shared by all domains; "" keeps an SQLite file per domain below DataDir
	Network  ssclient.NetworkConfig
	Settings Settings
	Clock    clock.Clock // nil means the system's
	Rand     io.Reader   // nil means crypto/rand
	Log      *slog.Logger
	Version  string // of the program, told to other servers

	// IdleAfter is how long a domain stays awake after its last request. 0 means a minute.
	IdleAfter time.Duration
	// DefaultDomain answers requests whose host name is none of ours: `konsil serve` with a single domain. "" means nobody.
	DefaultDomain id.ServerName
}

// Host serves the domains of a process.
type Host struct {
	cfg      Config
	registry *store.Registry
	network  *ssclient.Network
	hasher   *account.Hasher
	metrics  *obs.Metrics
	pools    *store.Pools // connections of all domains that share a PostgreSQL database
	services appServices
	hosts    *cache.Cache[string, hosted] // by the host name of requests
	added    atomic.Int64                 // domains added by this Host: what is known of host names before is old

	mu     sync.Mutex
	awake  map[id.ServerName]*berth // guarded by mu
	closed bool                     // guarded by mu
}

// berth is the place of one awake domain, or of one that is waking up.
type berth struct {
	ready  chan struct{} // closed once domain or err is set
	domain *Domain
	err    error
	users  int       // requests under way, guarded by Host.mu
	last   time.Time // of the last request's begin, guarded by Host.mu
}

// Open opens the registry. Domains open when somebody asks for them; Run must be running for them to sleep again.
func Open(ctx context.Context, cfg Config) (*Host, error) {
	if cfg.Clock == nil {
		cfg.Clock = clock.System()
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.IdleAfter == 0 {
		cfg.IdleAfter = time.Minute
	}
	if err := os.MkdirAll(filepath.Join(cfg.DataDir, "domains"), 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	services, err := readAppServices(cfg.Settings.AppServiceDir)
	if err != nil {
		return nil, err
	}
	pools := &store.Pools{}
	registry, err := store.OpenRegistry(ctx, cfg.registryURL(), pools)
	if err != nil {
		return nil, err
	}
	h := &Host{cfg: cfg, registry: registry, services: services, hasher: cfg.Settings.hasher(), metrics: obs.NewMetrics(), pools: pools,
		hosts: cache.New(64<<10, func(host string, v hosted) int64 { return int64(len(host) + len(v.name)) }), awake: map[id.ServerName]*berth{}}
	h.measure()
	network := cfg.Network
	network.Local = h.local
	h.network = ssclient.NewNetwork(network)
	return h, nil
}

func (cfg Config) registryURL() string {
	if cfg.Database != "" {
		return cfg.Database
	}
	return "sqlite:" + filepath.Join(cfg.DataDir, "registry.db")
}

// storeURL is where a domain's tables are. A file name is made of the server name; a colon before a port is no good in one.
func (cfg Config) storeURL(name id.ServerName) string {
	if cfg.Database != "" {
		return cfg.Database
	}
	return "sqlite:" + filepath.Join(cfg.DataDir, "domains", fileName(name)+".db")
}

func fileName(name id.ServerName) string {
	return strings.NewReplacer(":", "_", "[", "", "]", "").Replace(string(name))
}

// Add registers a domain with a fresh signing key.
func (h *Host) Add(ctx context.Context, name id.ServerName, flavour Flavour, federated bool) error {
	key, err := sign.NewKey(h.cfg.Rand)
	if err != nil {
		return fmt.Errorf("make signing key: %w", err)
	}
	_, err = h.registry.Add(ctx, store.RegisteredDomain{Name: name, Flavour: string(flavour), Federated: federated, Key: key})
	if err != nil {
		return fmt.Errorf("add domain %s: %w", name, err)
	}
	h.added.Add(1)
	return nil
}

// Domains lists all registered domains, awake or not, in pages: those whose number is above after.
func (h *Host) Domains(ctx context.Context, after int64, limit int) ([]store.RegisteredDomain, error) {
	return h.registry.List(ctx, after, limit)
}

// Awake is how many domains are awake.
func (h *Host) Awake() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.awake)
}

// Use wakes a domain and keeps it awake while fn runs. store.ErrNotFound means that we do not serve it.
func (h *Host) Use(ctx context.Context, name id.ServerName, fn func(d *Domain) error) error {
	b, err := h.enter(ctx, name)
	if err != nil {
		return err
	}
	defer h.leave(b)
	return fn(b.domain)
}

// enter finds or wakes a domain. Several requests that come at once wait for one waking.
func (h *Host) enter(ctx context.Context, name id.ServerName) (*berth, error) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, ErrClosed
	}
	b, ok := h.awake[name]
	if !ok {
		b = &berth{ready: make(chan struct{})}
		h.awake[name] = b
	}
	b.users++
	b.last = h.cfg.Clock.Now()
	h.mu.Unlock()
	if !ok {
		// The waking outlives a caller that gives up: others may wait for it already.
		b.domain, b.err = h.wake(context.WithoutCancel(ctx), name)
		if b.err != nil {
			h.forget(name, b)
		}
		close(b.ready)
	}
	select {
	case <-b.ready:
	case <-ctx.Done():
		h.leave(b)
		return nil, ctx.Err()
	}
	if b.err != nil {
		h.leave(b)
		return nil, b.err
	}
	return b, nil
}

func (h *Host) leave(b *berth) {
	h.mu.Lock()
	b.users--
	h.mu.Unlock()
}

func (h *Host) forget(name id.ServerName, b *berth) {
	h.mu.Lock()
	if h.awake[name] == b {
		delete(h.awake, name)
	}
	h.mu.Unlock()
}

func (h *Host) wake(ctx context.Context, name id.ServerName) (*Domain, error) {
	row, err := h.registry.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	d, err := openDomain(ctx, h, row)
	if err != nil {
		return nil, fmt.Errorf("wake domain %s: %w", name, err)
	}
	return d, nil
}

// Run lets idle domains sleep and wakes those that are due, until the context ends; then it ends the waits of clients, so that
// the process need not wait for them. What they were told is on disk already, so there is nothing to save.
func (h *Host) Run(ctx context.Context) error {
	const look = 5 * time.Second
	h.wakeDue(ctx)
	for {
		select {
		case <-ctx.Done():
			h.endWaits()
			return nil
		case <-h.cfg.Clock.After(look):
			h.rest(ctx)
			h.wakeDue(ctx)
		}
	}
}

func (h *Host) endWaits() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.awake {
		if closed(b.ready) && b.domain != nil {
			b.domain.notify.End()
		}
	}
}

// wakeDue wakes domains that have something to do: a server to try again, a message to push.
func (h *Host) wakeDue(ctx context.Context) {
	const atOnce = 50 // the rest follows with the next look: a restart must not wake ten thousand domains in one second
	due, err := h.registry.DueBefore(ctx, clock.Millis(h.cfg.Clock), atOnce)
	if err != nil {
		h.cfg.Log.Error("list due domains", obs.KeyError, err)
		return
	}
	for _, row := range due {
		if err := h.Use(ctx, row.Name, func(*Domain) error { return nil }); err != nil && ctx.Err() == nil {
			h.cfg.Log.Error("wake due domain", obs.KeyDomain, row.Name, obs.KeyError, err)
		}
	}
}

// rest closes domains that nobody has asked for a while. A request that comes meanwhile waits for the closing, then wakes
// the domain again.
func (h *Host) rest(ctx context.Context) {
	now := h.cfg.Clock.Now()
	idle := map[id.ServerName]*berth{}
	h.mu.Lock()
	for name, b := range h.awake {
		if b.users == 0 && now.Sub(b.last) >= h.cfg.IdleAfter && b.domain != nil && !b.domain.Busy() {
			b.users++ // nobody else takes it for idle meanwhile
			idle[name] = b
		}
	}
	h.mu.Unlock()
	for name, b := range idle {
		h.putToSleep(ctx, name, b)
	}
}

func (h *Host) putToSleep(ctx context.Context, name id.ServerName, b *berth) {
	due := b.domain.NextDue()
	if err := h.registry.SetDue(ctx, b.domain.number, due); err != nil {
		h.cfg.Log.Error("note when a domain is due", obs.KeyDomain, name, obs.KeyError, err)
		h.leave(b)
		return
	}
	h.mu.Lock()
	if b.users > 1 || h.closed { // somebody came in between
		b.users--
		h.mu.Unlock()
		return
	}
	// From here on requests find a berth that is not ready and wait for it.
	closing := &berth{ready: make(chan struct{}), err: errSleeping}
	h.awake[name] = closing
	h.mu.Unlock()
	b.domain.Close()
	h.forget(name, closing)
	close(closing.ready)
}

// errSleeping tells a request that came while its domain was closing to try again.
var errSleeping = errors.New("domain is falling asleep")

// measure registers what an operator asks first: how many are here, how many wait, how many cannot be reached.
func (h *Host) measure() {
	h.metrics.Gauge("domains_awake", "Domains that are awake.", func() float64 { return float64(h.Awake()) })
	h.metrics.Gauge("clients_waiting", "Long polls of clients that wait for something to happen.",
		h.sum(func(d *Domain) int { return d.notify.Waiting() }))
	h.metrics.Gauge("destinations_failing", "Other servers that have something to get and could not be reached.",
		h.sum(func(d *Domain) int { return d.federation.Failing() }))
}

// sum adds up a figure of all awake domains.
func (h *Host) sum(of func(d *Domain) int) func() float64 {
	return func() float64 {
		h.mu.Lock()
		defer h.mu.Unlock()
		total := 0
		for _, b := range h.awake {
			if closed(b.ready) && b.domain != nil {
				total += of(b.domain)
			}
		}
		return float64(total)
	}
}

// Close closes all domains and the registry.
func (h *Host) Close() error {
	h.mu.Lock()
	h.closed = true
	awake := h.awake
	h.awake = map[id.ServerName]*berth{}
	h.mu.Unlock()
	var all sync.WaitGroup
	for _, b := range awake {
		all.Go(func() {
			<-b.ready
			if b.domain != nil {
				b.domain.Close()
			}
		})
	}
	all.Wait()
	h.network.Close()
	return h.registry.Close()
}

// Handler serves all domains, told apart by the host name of the request.
func (h *Host) Handler() http.Handler {
	return h.frame(func(w http.ResponseWriter, r *http.Request) { h.serve(w, r, h.nameOf(r)) })
}

// For serves one domain whatever the host name: a port of its own, for clients whose resolver does not know *.localhost.
func (h *Host) For(name id.ServerName) http.Handler {
	return h.frame(func(w http.ResponseWriter, r *http.Request) { h.serve(w, r, name) })
}

// frame logs, counts and compresses.
func (h *Host) frame(serve http.HandlerFunc) http.Handler {
	f := &web.Frame{Log: h.cfg.Log, Internal: mxerr.Internal(), Observe: h.metrics.Requests("matrix")}
	const smallest = 1400 // bytes: what fits into one packet is not worth the work
	packed, err := web.Gzip(serve, smallest)
	if err != nil { // the size is a constant that the library takes
		packed = serve
	}
	return f.Wrap(packed)
}

// AdminHandler is the operator's view: metrics, health, profiles. For a loopback port only.
func (h *Host) AdminHandler() http.Handler {
	return obs.Admin(h.metrics, func(ctx context.Context) error {
		_, err := h.registry.List(ctx, 0, 1)
		return err
	})
}

// hosted is what a host name has turned out to mean.
type hosted struct {
	name  id.ServerName
	until time.Time
	added int64 // Host.added then
}

// hostedFor is how long that holds: domains may be added by another process.
const hostedFor = 5 * time.Second

// nameOf picks the domain of a request. What a host name means is kept for a moment, above all that it is no domain's: behind
// a reverse proxy, or with a single domain, that is every request's.
func (h *Host) nameOf(r *http.Request) id.ServerName {
	now, added := h.cfg.Clock.Now(), h.added.Load()
	if known, ok := h.hosts.Get(r.Host); ok && known.added == added && now.Before(known.until) {
		return known.name
	}
	name, err := h.lookUp(r.Context(), strings.ToLower(r.Host))
	if err != nil {
		h.cfg.Log.Error("look up a host name", obs.KeyError, err)
		return h.cfg.DefaultDomain
	}
	h.hosts.Put(r.Host, hosted{name, now.Add(hostedFor), added})
	return name
}

// lookUp finds the domain of a host name. A server name may contain a port, so the host is tried as it is first.
func (h *Host) lookUp(ctx context.Context, host string) (id.ServerName, error) {
	tries := []string{host}
	if bare, _, err := net.SplitHostPort(host); err == nil {
		tries = append(tries, bare)
	}
	for _, try := range tries {
		name, err := id.ParseServerName(try)
		if err != nil {
			continue // an address, or nonsense: nobody's
		}
		_, err = h.registry.Get(ctx, name)
		if err == nil || !errors.Is(err, store.ErrNotFound) {
			return name, err
		}
	}
	return h.cfg.DefaultDomain, nil
}

// local is the short way from one domain of the process to another.
func (h *Host) local(name id.ServerName) http.Handler {
	h.mu.Lock()
	b := h.awake[name]
	h.mu.Unlock()
	if b != nil && closed(b.ready) && b.domain != nil {
		if !b.domain.federated {
			return nil
		}
		return h.direct(name)
	}
	row, err := h.registry.Get(context.Background(), name)
	if err != nil || !row.Federated {
		return nil
	}
	return h.direct(name)
}

// direct is For without a log line and compression: for a request that never leaves the process.
func (h *Host) direct(name id.ServerName) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.serve(w, r, name) })
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// serve hands the request to its domain. A name that is none of ours looks like any server that has no such path (C1).
func (h *Host) serve(w http.ResponseWriter, r *http.Request, name id.ServerName) {
	for {
		b, err := h.enter(r.Context(), name)
		switch {
		case err == nil:
			defer h.leave(b)
			b.domain.ServeHTTP(w, r)
			return
		case errors.Is(err, errSleeping):
			continue // it sleeps now; wake it again
		case errors.Is(err, store.ErrNotFound):
			refuse(w, mxerr.Unrecognized())
			return
		case r.Context().Err() != nil:
			return
		default:
			h.cfg.Log.Error("open domain", obs.KeyDomain, name, obs.KeyError, err)
			refuse(w, mxerr.Internal())
			return
		}
	}
}
