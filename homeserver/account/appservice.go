package account

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"

	"konsil/homeserver/store"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// AppService is a program whom the operator lets act for a namespace of users: a bridge or a bot. AS v1.16 #registration
type AppService struct {
	ID        string
	URL       string // where it takes transactions; "" for one that wants none
	HSToken   string // proves us to it
	Ephemeral bool   // it wants typing, receipts and presence
	Limited   bool   // the rate limits hold for the users it acts for

	sender    string // localpart of its own user
	asToken   tokenHash
	users     []namespace
	aliases   []namespace
	rooms     []namespace
	protocols []string
}

// namespace is a set of IDs. A name outside may be used by everybody, one in an exclusive set by its owner only.
type namespace struct {
	exclusive bool
	pattern   *regexp.Regexp
}

// registration is the file as operators and bridges write it. Unknown keys are those of proposals; they are left alone.
type registration struct {
	ID              string  `yaml:"id"`
	URL             *string `yaml:"url"`
	ASToken         string  `yaml:"as_token"`
	HSToken         string  `yaml:"hs_token"`
	SenderLocalpart string  `yaml:"sender_localpart"`
	Ephemeral       bool    `yaml:"receive_ephemeral"`
	RateLimited     bool    `yaml:"rate_limited"`
	Protocols       []string
	Namespaces      struct {
		Users   []registeredNamespace `yaml:"users"`
		Aliases []registeredNamespace `yaml:"aliases"`
		Rooms   []registeredNamespace `yaml:"rooms"`
	} `yaml:"namespaces"`
}

type registeredNamespace struct {
	Exclusive bool   `yaml:"exclusive"`
	Regex     string `yaml:"regex"`
}

// ParseAppService reads a registration. AS v1.16 #registration
func ParseAppService(file []byte) (*AppService, error) {
	var r registration
	if err := yaml.Unmarshal(file, &r); err != nil {
		return nil, fmt.Errorf("read the registration: %w", err)
	}
	s := &AppService{ID: r.ID, HSToken: r.HSToken, Ephemeral: r.Ephemeral, Limited: r.RateLimited, sender: r.SenderLocalpart,
		asToken: sha256.Sum256([]byte(r.ASToken)), protocols: r.Protocols}
	switch {
	case r.ID == "":
		return nil, errors.New("id is missing")
	case r.ASToken == "" || r.HSToken == "":
		return nil, errors.New("as_token and hs_token must be given")
	case r.ASToken == r.HSToken:
		return nil, errors.New("as_token and hs_token must differ")
	}
	if _, err := id.NewUserID(r.SenderLocalpart, "x"); err != nil {
		return nil, errors.New("sender_localpart is no localpart of a user ID")
	}
	if r.URL != nil && *r.URL != "" {
		u, err := url.Parse(*r.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, errors.New("url is no http or https URL")
		}
		s.URL = strings.TrimSuffix(*r.URL, "/")
	}
	for _, set := range []struct {
		name  string
		to    *[]namespace
		given []registeredNamespace
	}{{"users", &s.users, r.Namespaces.Users}, {"aliases", &s.aliases, r.Namespaces.Aliases}, {"rooms", &s.rooms, r.Namespaces.Rooms}} {
		for _, n := range set.given {
			// The start is anchored, as bridges expect it; Go's expressions run in linear time whatever they say.
			pattern, err := regexp.Compile(`\A(?:` + n.Regex + `)`)
			if err != nil {
				return nil, fmt.Errorf("namespaces.%s: %w", set.name, err)
			}
			*set.to = append(*set.to, namespace{n.Exclusive, pattern})
		}
	}
	return s, nil
}

// CheckAppServices refuses registrations that could be taken for each other. AS v1.16 #registration
func CheckAppServices(all []*AppService) error {
	ids, tokens := map[string]bool{}, map[tokenHash]bool{}
	for _, s := range all {
		if ids[s.ID] {
			return fmt.Errorf("two application services have the id %q", s.ID)
		}
		if tokens[s.asToken] {
			return fmt.Errorf("application service %q has the as_token of another", s.ID)
		}
		ids[s.ID], tokens[s.asToken] = true, true
	}
	return nil
}

func within(set []namespace, name string, exclusively bool) bool {
	for _, n := range set {
		if (n.exclusive || !exclusively) && n.pattern.MatchString(name) {
			return true
		}
	}
	return false
}

// Sender is the service's own user.
func (s *AppService) Sender(server id.ServerName) id.UserID {
	return id.UserID("@" + s.sender + ":" + string(server))
}

// Covers reports whether a user of this server is the service's own or in its namespace.
func (s *AppService) Covers(user id.UserID, server id.ServerName) bool {
	return user.Server() == server && (user == s.Sender(server) || within(s.users, string(user), false))
}

// CoversAlias reports whether an alias is in the service's namespace.
func (s *AppService) CoversAlias(alias id.RoomAlias) bool {
	return within(s.aliases, string(alias), false)
}

// CoversRoom reports whether a room is in the service's namespace.
func (s *AppService) CoversRoom(room id.RoomID) bool { return within(s.rooms, string(room), false) }

// AppServiceOf says whose as_token a token is, if it is one.
func (k *Keeper) AppServiceOf(token string) *AppService {
	if len(k.services) == 0 {
		return nil
	}
	return k.services[sha256.Sum256([]byte(token))]
}

// CheckAlias refuses aliases in the exclusive namespace of another service, and those a service has no claim to. by is nil for
// people. AS v1.16 #server-admin-style-permissions
func (k *Keeper) CheckAlias(alias id.RoomAlias, by *AppService) error {
	for _, s := range k.AppServices {
		if s != by && within(s.aliases, string(alias), true) {
			return mxerr.Exclusive("This alias belongs to an application service")
		}
	}
	if by != nil && !by.CoversAlias(alias) {
		return mxerr.Exclusive("This alias is not in the application service's namespace")
	}
	return nil
}

// checkOwner is CheckAlias for users.
func (k *Keeper) checkOwner(user id.UserID, by *AppService) error {
	for _, s := range k.AppServices {
		if s != by && (user == s.Sender(k.Server) || within(s.users, string(user), true)) {
			return mxerr.Exclusive("This user ID belongs to an application service")
		}
	}
	if by != nil && !by.Covers(user, k.Server) {
		return mxerr.Exclusive("This user ID is not in the application service's namespace")
	}
	return nil
}

// ActAs makes a service's request one of a user in its namespace, and of a device of theirs; empty ones mean its own user and no
// device. AS v1.16 #identity-assertion
func (k *Keeper) ActAs(ctx context.Context, s *AppService, user id.UserID, device id.DeviceID) (Caller, error) {
	if user == "" {
		user = s.Sender(k.Server)
	}
	if !s.Covers(user, k.Server) {
		return Caller{}, mxerr.Forbidden("The application service may not act for this user")
	}
	var a store.Account
	err := k.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		a, err = tx.Account(ctx, user)
		return err
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && a.Deactivated != 0 {
		return Caller{}, mxerr.Forbidden("The application service has not registered this user")
	}
	if err != nil {
		return Caller{}, fmt.Errorf("read an account: %w", err)
	}
	if device != "" {
		if _, err := k.Device(ctx, user, device); mxerr.Is(err, mxerr.CodeNotFound) {
			return Caller{}, mxerr.New(400, mxerr.CodeUnknownDevice, "The user has no such device")
		} else if err != nil {
			return Caller{}, err
		}
	}
	return Caller{User: user, Device: device, Admin: a.Admin, Locked: a.Locked, Suspended: a.Suspended, AppService: s}, nil
}

// LoginUser says who a service logs in as: somebody of its namespace. AS v1.16 #server-admin-style-permissions
func (k *Keeper) LoginUser(s *AppService, name string) (id.UserID, error) {
	user, ok := k.UserOf(name)
	if !ok || !s.Covers(user, k.Server) {
		return "", mxerr.Exclusive("This user ID is not in the application service's namespace")
	}
	return user, nil
}

// EnsureAppServices sees that the services' own users exist.
func (k *Keeper) EnsureAppServices(ctx context.Context) error {
	for _, s := range k.AppServices {
		user := s.Sender(k.Server)
		_, err := k.Account(ctx, user)
		if mxerr.Is(err, mxerr.CodeNotFound) {
			_, err = k.Register(ctx, NewAccount{Localpart: s.sender, Service: s})
		}
		if err != nil && !mxerr.Is(err, mxerr.CodeUserInUse) {
			return fmt.Errorf("make the user of application service %s: %w", s.ID, err)
		}
	}
	return nil
}

// CreateDevice makes a device without a session, or renames the one there is: services keep keys for their users' devices.
// AS v1.17 #creating-devices
func (k *Keeper) CreateDevice(ctx context.Context, user id.UserID, device id.DeviceID, name string) error {
	if err := checkDeviceName(name); err != nil {
		return err
	}
	var pos int64
	err := k.Store.Write(ctx, func(tx *store.Tx) error {
		isNew, err := tx.CreateDevice(ctx, store.Device{User: user, ID: device, DisplayName: name, Created: k.now()})
		if err != nil {
			return fmt.Errorf("create a device: %w", err)
		}
		if isNew {
			err = notAKey(ctx, tx, user, device)
		} else {
			_, err = tx.RenameDevice(ctx, user, device, name)
		}
		if err != nil {
			return err
		}
		pos, err = tx.DeviceListChanged(ctx, user, device)
		return err
	})
	if err != nil {
		return err
	}
	k.tellDevices(ctx, user, []id.DeviceID{device}, pos)
	return nil
}

// HasAliases reports whether any alias at all may be in the service's namespace.
func (s *AppService) HasAliases() bool { return len(s.aliases) > 0 }
