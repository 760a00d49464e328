package homeserver

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"

	"konsil/client/ssclient"
	"konsil/homeserver/account"
	"konsil/homeserver/appservice"
	"konsil/homeserver/clientsync"
	"konsil/homeserver/csapi"
	"konsil/homeserver/delayed"
	"konsil/homeserver/e2ee"
	"konsil/homeserver/ephemeral"
	"konsil/homeserver/federation"
	"konsil/homeserver/media"
	"konsil/homeserver/notice"
	"konsil/homeserver/notify"
	"konsil/homeserver/preview"
	"konsil/homeserver/push"
	"konsil/homeserver/report"
	"konsil/homeserver/room"
	"konsil/homeserver/search"
	"konsil/homeserver/ssapi"
	"konsil/homeserver/store"
	"konsil/kit/job"
	"konsil/kit/obs"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Domain is one organisation's homeserver, awake.
type Domain struct {
	Name     id.ServerName
	Flavour  Flavour
	Accounts *account.Keeper

	number     int64
	federated  bool
	log        *slog.Logger
	store      *store.DB
	notify     *notify.Notifier
	federation *federation.Federation
	dues       []func() int64
	client     http.Handler // the Client-Server API
	server     http.Handler // the Server-Server API
	jobs       *job.Group
}

// keepers are the parts of a domain while it is put together, from the ground up.
type keepers struct {
	host     *Host
	row      store.RegisteredDomain
	log      *slog.Logger
	store    *store.DB
	notify   *notify.Notifier
	remote   *ssclient.Client
	rooms    *room.Engine
	devices  *e2ee.Keeper
	accounts *account.Keeper
	presence *ephemeral.Keeper
	media    *media.Repository
	notices  *notice.Keeper
	delayed  *delayed.Keeper
	outside  *federation.Federation
	push     *push.Keeper
	search   *search.Index
	services *appservice.Mover
	sync     *clientsync.Syncer
}

// openDomain opens the store and wires everything around it. What is opened is closed again if something fails.
func openDomain(ctx context.Context, h *Host, row store.RegisteredDomain) (*Domain, error) {
	db, err := store.Open(ctx, store.Config{URL: h.cfg.storeURL(row.Name), Domain: row.Number, Pools: h.pools})
	if err != nil {
		return nil, err
	}
	k := keepers{host: h, row: row, store: db, notify: notify.New(), log: h.cfg.Log.With(obs.KeyDomain, string(row.Name))}
	k.base()
	if err := k.accounts.EnsureAppServices(ctx); err != nil {
		_ = db.Close()
		return nil, err
	}
	k.movers()
	d := &Domain{
		Name: row.Name, Flavour: Flavour(row.Flavour), Accounts: k.accounts,
		number: row.Number, federated: row.Federated, log: k.log, store: db, notify: k.notify, federation: k.outside,
		dues:   []func() int64{k.outside.NextDue, k.push.NextDue, k.delayed.NextDue, k.services.NextDue},
		client: k.clientAPI(), server: k.serverAPI(),
		jobs: job.NewGroup(context.WithoutCancel(ctx), job.Config{Clock: h.cfg.Clock, Log: k.log}),
	}
	d.jobs.Go("account", k.accounts.Run)
	d.jobs.Go("appservice", k.services.Run)
	d.jobs.Go("delayed", k.delayed.Run)
	d.jobs.Go("e2ee", k.devices.Run)
	d.jobs.Go("ephemeral", k.presence.Run)
	d.jobs.Go("federation", k.outside.Run)
	d.jobs.Go("push", k.push.Run)
	d.jobs.Go("search", k.search.Run)
	return d, nil
}

// base makes the keepers of floors 4 and 5.
func (k *keepers) base() {
	cfg, s := k.host.cfg, k.host.cfg.Settings
	k.remote = ssclient.New(ssclient.Config{Server: k.row.Name, Key: k.row.Key, Network: k.host.network})
	k.rooms = room.New(room.Config{
		Store: k.store, Notify: k.notify, Clock: cfg.Clock, Rand: cfg.Rand, Server: k.row.Name, Key: k.row.Key,
		DefaultVersion: Flavour(k.row.Flavour).defaultRoomVersion(), CacheBytes: s.CacheBytes, Profile: k.profile,
		CheckInvite: func(ctx context.Context, target, from id.UserID) error {
			return k.accounts.CheckInvite(ctx, target, from)
		},
	})
	k.devices = e2ee.New(e2ee.Config{
		Server: k.row.Name, Store: k.store, Notify: k.notify, Remote: k.remote, Clock: cfg.Clock, Rand: cfg.Rand, Log: k.log,
		HideDeviceNames: !s.DeviceNames,
	})
	k.accounts = account.New(account.Config{
		Server: k.row.Name, Store: k.store, Notify: k.notify, Clock: cfg.Clock, Rand: cfg.Rand, Log: k.log, Hasher: k.host.hasher,
		Registration: s.registration(), SharedSecret: s.RegistrationSecret, MinPassword: s.minPassword(),
		UnlimitedLogins: s.NoRateLimits, DevicesChanged: k.devices.DevicesChanged, AppServices: k.host.services.of(k.row.Name),
	})
	k.presence = ephemeral.New(ephemeral.Config{
		Server: k.row.Name, Store: k.store, Notify: k.notify, Rooms: k.rooms, Accounts: k.accounts, Clock: cfg.Clock, Log: k.log,
		Presence: s.Presence,
	})
	k.media = media.New(media.Config{
		Server: k.row.Name, Store: k.store, Dir: filepath.Join(cfg.DataDir, "media", fileName(k.row.Name)), Remote: k.remote,
		Clock: cfg.Clock, Rand: cfg.Rand, MaxUpload: s.MaxUploadBytes,
	})
	k.delayed = delayed.New(delayed.Config{Store: k.store, Rooms: k.rooms, Clock: cfg.Clock, Rand: cfg.Rand, Log: k.log})
	k.notices = notice.New(notice.Config{Server: k.row.Name, Store: k.store, Accounts: k.accounts, Rooms: k.rooms})
}

// movers makes those of floor 6, which follow the domain's order.
func (k *keepers) movers() {
	cfg, s := k.host.cfg, k.host.cfg.Settings
	k.outside = federation.New(federation.Config{
		Server: k.row.Name, Key: k.row.Key, Client: k.remote, Store: k.store, Rooms: k.rooms, Notify: k.notify, Clock: cfg.Clock, Log: k.log,
		Notaries: s.KeyServers, Profile: k.profile, Devices: k.devices, Ephemeral: k.presence,
	})
	k.push = push.New(push.Config{
		Server: k.row.Name, Store: k.store, Rooms: k.rooms, Notify: k.notify, Clock: cfg.Clock, Log: k.log, AllowPrivate: s.AllowPrivate,
	})
	k.services = appservice.New(appservice.Config{
		Server: k.row.Name, Services: k.accounts.AppServices, Store: k.store, Rooms: k.rooms, Notify: k.notify,
		Clock: cfg.Clock, Log: k.log,
	})
	k.search = search.New(search.Config{Store: k.store, Rooms: k.rooms, Notify: k.notify, Clock: cfg.Clock, Log: k.log})
	k.sync = clientsync.New(clientsync.Config{
		Server: k.row.Name, Store: k.store, Rooms: k.rooms, Accounts: k.accounts, E2EE: k.devices, Ephemeral: k.presence, Notify: k.notify,
		Clock: cfg.Clock, Unread: k.push.Unread,
	})
}

// profile is what member events carry about a user of this domain.
func (k *keepers) profile(ctx context.Context, user id.UserID) (room.Profile, error) {
	p, err := k.accounts.Profile(ctx, user)
	if e, ok := mxerr.As(err); ok && e.Status == http.StatusNotFound {
		return room.Profile{}, nil
	}
	return room.Profile{DisplayName: p.DisplayName, AvatarURL: p.AvatarURL}, err
}

func (k *keepers) clientAPI() http.Handler {
	cfg, s := k.host.cfg, k.host.cfg.Settings
	var previews *preview.Previewer
	if s.URLPreviews {
		ask := preview.Config{Server: k.row.Name, Media: k.media, Clock: cfg.Clock, Log: k.log}
		if s.AllowPrivate {
			ask.Reachable = func(netip.Addr) bool { return true }
		}
		previews = preview.New(ask)
	}
	return csapi.New(csapi.Config{
		Server: k.row.Name, Accounts: k.accounts, E2EE: k.devices, Ephemeral: k.presence, Federation: k.outside, Rooms: k.rooms,
		Media: k.media, Previews: previews, Search: k.search, Sync: k.sync, Push: k.push, Notices: k.notices, Delayed: k.delayed, Remote: k.remote,
		Services: k.services,
		Reports:  report.New(report.Config{Server: k.row.Name, Store: k.store, Rooms: k.rooms, Clock: cfg.Clock}),
		Clock:    cfg.Clock, Log: k.log, Unlimited: s.NoRateLimits,
		DefaultVersion: Flavour(k.row.Flavour).defaultRoomVersion(),
		Discovery:      csapi.Discovery{BaseURL: s.PublicBaseURL},
		TURN:           csapi.TURN{URIs: s.TURN.URIs, Secret: s.TURN.Secret},
	}).Handler()
}

func (k *keepers) serverAPI() http.Handler {
	return ssapi.New(ssapi.Config{
		Server: k.row.Name, Federation: k.outside, Rooms: k.rooms, Accounts: k.accounts, Devices: k.devices, Media: localMedia{k.media, k.row.Name},
		Version: k.host.cfg.Version, Log: k.log,
	})
}

// Close stops what runs in the background and closes the store. What was acknowledged is on disk.
func (d *Domain) Close() {
	d.jobs.Stop()
	if err := d.store.Close(); err != nil {
		d.log.Error("close store", obs.KeyError, err)
	}
}

// Busy says whether the domain has work under way that should not be cut.
func (d *Domain) Busy() bool { return d.federation.Busy() }

// NextDue says when the domain wants to be woken: to try another server again, or a push gateway, or to send what was left for
// later. 0 for never.
func (d *Domain) NextDue() int64 {
	due := int64(0)
	for _, next := range d.dues {
		if at := next(); due == 0 || (at > 0 && at < due) {
			due = at
		}
	}
	return due
}

// ServeHTTP answers clients and other servers; which of the two is asked stands in the path.
func (d *Domain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/_matrix/federation/") || strings.HasPrefix(r.URL.Path, "/_matrix/key/"):
		if !d.federated {
			refuse(w, mxerr.Unrecognized())
			return
		}
		d.server.ServeHTTP(w, r)
	case r.URL.Path == "/" && r.Method == http.MethodGet:
		d.welcome(w)
	default:
		d.client.ServeHTTP(w, r)
	}
}

// refuse answers where no API does.
func refuse(w http.ResponseWriter, e *mxerr.Error) {
	body, err := json.Marshal(e)
	if err != nil {
		body = []byte(`{"errcode":"M_UNKNOWN"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.WriteHeader(e.Status)
	_, _ = w.Write(body) // who is gone needs no answer
}

// NewUser is a user that has to exist.
type NewUser struct {
	Localpart   string
	DisplayName string
	Admin       bool
	Password    string // "" draws one
	AccessToken string // of the development device, if it has one already
}

// DevelopmentDevice is the device whose access token `konsil up` gives to scripts.
const DevelopmentDevice = id.DeviceID("KONSILUP")

// EnsureUser makes the user unless they are there, and sees that the access token works. It answers the secrets in force.
func (d *Domain) EnsureUser(ctx context.Context, n NewUser) (NewUser, error) {
	user := UserID(n.Localpart, d.Name)
	_, err := d.Accounts.Account(ctx, user)
	if e, ok := mxerr.As(err); ok && e.Status == http.StatusNotFound {
		n.AccessToken = ""
		if n.Password == "" {
			n.Password = newPassword()
		}
		_, err = d.Accounts.Register(ctx, account.NewAccount{
			Localpart: n.Localpart, Password: n.Password, Admin: n.Admin, DisplayName: n.DisplayName,
		})
	}
	if err != nil {
		return n, fmt.Errorf("make account: %w", err)
	}
	if n.AccessToken != "" {
		if _, err := d.Accounts.Authenticate(ctx, n.AccessToken); err == nil {
			return n, nil
		}
	}
	session, err := d.Accounts.Login(ctx, user, account.NewSession{Device: DevelopmentDevice, DeviceName: "konsil up"})
	if err != nil {
		return n, fmt.Errorf("log in: %w", err)
	}
	n.AccessToken = session.AccessToken
	return n, nil
}
