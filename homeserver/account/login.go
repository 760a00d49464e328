package account

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"time"

	"konsil/homeserver/store"
	"konsil/kit/limit"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// NewSession says what a login asks for.
type NewSession struct {
	Device     id.DeviceID // "" draws a new one; a known one is taken over, its tokens end
	DeviceName string      // of a new device
	Refresh    bool        // the client can refresh tokens
}

// Session is what a login gives.
type Session struct {
	User         id.UserID
	Device       id.DeviceID
	AccessToken  string
	RefreshToken string        // "" for clients that can not refresh
	Expires      time.Duration // of the access token; 0 means never
}

// errLogin is the one answer to all that may be wrong with a user and a password (B10).
func errLogin() error { return mxerr.Forbidden("Invalid username or password") }

// UserOf reads what people type as their name: a localpart or a full user ID of this domain. Names of accounts made here
// are lower case; what a person types need not be. CS v1.16 #matrix-user-id
func (k *Keeper) UserOf(name string) (id.UserID, bool) {
	if !strings.HasPrefix(name, "@") {
		name = "@" + name + ":" + string(k.Server)
	}
	user, err := id.ParseUserID(name)
	if err != nil || user.Server() != k.Server {
		return "", false
	}
	return id.UserID("@" + strings.ToLower(user.Localpart()) + ":" + string(k.Server)), true
}

// passwordRate is how often a password may be tried for one user, from wherever: no person mistypes faster, and a list of a
// million common passwords takes two months.
var passwordRate = limit.Rate{PerSecond: 0.2, Burst: 20}

// CheckPassword says with M_FORBIDDEN if this is not the user's password. It takes as long and answers the same for users
// there are not (B10), and slows down who tries many (B11).
func (k *Keeper) CheckPassword(ctx context.Context, user id.UserID, password string) error {
	if wait, ok := k.attempts.Allow("password", string(user), passwordRate); !ok {
		return mxerr.LimitExceeded(wait)
	}
	var a store.Account
	err := k.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		a, err = tx.Account(ctx, user)
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("read an account: %w", err)
	}
	ok, err := k.Hasher.Verify(ctx, a.PasswordHash, password)
	if err != nil {
		return fmt.Errorf("check a password: %w", err)
	}
	if !ok || a.Deactivated != 0 {
		return errLogin()
	}
	return nil
}

// Login gives a user who has proved themselves a new session. CS v1.16 #relationship-between-access-tokens-and-devices
func (k *Keeper) Login(ctx context.Context, user id.UserID, ask NewSession) (Session, error) {
	p, err := k.prepare(user, ask)
	if err != nil {
		return Session{}, err
	}
	var opened removal
	err = k.Store.Write(ctx, func(tx *store.Tx) error {
		a, err := tx.Account(ctx, user)
		if err != nil {
			return notFound(err, "Unknown account")
		}
		if a.Deactivated != 0 {
			return mxerr.UserDeactivated()
		}
		opened, err = k.open(ctx, tx, p)
		return err
	})
	if err != nil {
		return Session{}, err
	}
	k.tokens.drop(opened.tokens)
	k.tellDevices(ctx, user, opened.devices, opened.pos)
	return p.Session, nil
}

// prepared is a session whose secrets are drawn; the transaction that opens it may run twice.
type prepared struct {
	Session
	device store.Device
	access store.AccessToken
	family *store.RefreshFamily // nil for clients that can not refresh
}

func (k *Keeper) prepare(user id.UserID, ask NewSession) (prepared, error) {
	if err := checkDeviceName(ask.DeviceName); err != nil {
		return prepared{}, err
	}
	device := ask.Device
	if device == "" {
		var err error
		if device, err = id.NewDeviceID(k.Rand); err != nil {
			return prepared{}, err
		}
	}
	token, err := k.secret(32)
	if err != nil {
		return prepared{}, err
	}
	p := prepared{
		Session: Session{User: user, Device: device, AccessToken: token},
		device:  store.Device{User: user, ID: device, DisplayName: ask.DeviceName, Created: k.now()},
		access:  store.AccessToken{Hash: hashOf(token), User: user, Device: device},
	}
	if !ask.Refresh {
		return p, nil
	}
	family, err := k.secret(16)
	if err != nil {
		return prepared{}, err
	}
	refresh, hash, err := k.newRefreshToken(family)
	if err != nil {
		return prepared{}, err
	}
	p.RefreshToken, p.Expires = refresh, k.AccessTokenLifetime
	p.access.Expires = k.now() + k.AccessTokenLifetime.Milliseconds()
	p.family = &store.RefreshFamily{
		Family: family, User: user, Device: device, Current: hash, Expires: k.now() + k.RefreshTokenLifetime.Milliseconds(),
	}
	return p, nil
}

// open stores a session within a transaction. The tokens its device had before end.
func (k *Keeper) open(ctx context.Context, tx *store.Tx, p prepared) (removal, error) {
	r := removal{devices: []id.DeviceID{p.Device}}
	isNew, err := tx.CreateDevice(ctx, p.device)
	if err != nil {
		return r, fmt.Errorf("create a device: %w", err)
	}
	if isNew {
		if err := notAKey(ctx, tx, p.User, p.Device); err != nil {
			return r, err
		}
		r.pos, err = tx.DeviceListChanged(ctx, p.User, p.Device)
	} else {
		r.tokens, err = tx.DeleteTokens(ctx, p.User, r.devices)
	}
	if err != nil {
		return r, fmt.Errorf("begin a session: %w", err)
	}
	if err := tx.CreateToken(ctx, p.access); err != nil {
		return r, fmt.Errorf("store an access token: %w", err)
	}
	if p.family == nil {
		return r, nil
	}
	if err := tx.PutRefreshFamily(ctx, *p.family); err != nil {
		return r, fmt.Errorf("store a refresh token: %w", err)
	}
	return r, nil
}

// notAKey refuses a device that calls itself like a cross-signing key of its user: signatures name both the same way.
// CS v1.16 #post_matrixclientv3login
func notAKey(ctx context.Context, tx *store.Tx, user id.UserID, device id.DeviceID) error {
	keys, err := tx.CrossSigningKeys(ctx, []id.UserID{user})
	if err != nil {
		return fmt.Errorf("read cross-signing keys: %w", err)
	}
	for _, key := range keys {
		if key.Public == string(device) {
			return mxerr.Forbidden("The device ID is that of a cross-signing key")
		}
	}
	return nil
}

// newRefreshToken draws a token of a family. It names the family, so that a used token can be told from nonsense.
func (k *Keeper) newRefreshToken(family string) (token string, hash []byte, err error) {
	part, err := k.secret(32)
	if err != nil {
		return "", nil, err
	}
	token = family + "." + part
	return token, hashOf(token), nil
}

// Refresh gives new tokens for a refresh token. The old one stays good until the new ones are used; one from before that
// has been stolen or copied, and ends the session of both, the thief and the owner (B11, RFC 9700 4.14.2): the owner logs
// in again and keeps the device. CS v1.16 #refreshing-access-tokens
func (k *Keeper) Refresh(ctx context.Context, token string) (Session, error) {
	family, _, _ := strings.Cut(token, ".")
	access, err := k.secret(32)
	if err != nil {
		return Session{}, err
	}
	next, nextHash, err := k.newRefreshToken(family)
	if err != nil {
		return Session{}, err
	}
	var f store.RefreshFamily
	var ended [][]byte
	var reused bool
	err = k.Store.Write(ctx, func(tx *store.Tx) (err error) {
		if f, err = tx.RefreshFamily(ctx, family); errors.Is(err, store.ErrNotFound) {
			return mxerr.UnknownToken(false)
		} else if err != nil {
			return fmt.Errorf("read a refresh token: %w", err)
		}
		if err = k.refreshable(ctx, tx, f); err != nil {
			return err
		}
		ended, reused, err = k.rotate(ctx, tx, f, hashOf(token), nextHash, access)
		return err
	})
	if err != nil {
		return Session{}, err
	}
	k.tokens.drop(ended)
	if reused {
		return Session{}, mxerr.UnknownToken(true)
	}
	return Session{User: f.User, Device: f.Device, AccessToken: access, RefreshToken: next, Expires: k.AccessTokenLifetime}, nil
}

// refreshable refuses families that are too old, and locked accounts.
func (k *Keeper) refreshable(ctx context.Context, tx *store.Tx, f store.RefreshFamily) error {
	if k.now() >= f.Expires {
		return mxerr.UnknownToken(true)
	}
	a, err := tx.Account(ctx, f.User)
	if err != nil {
		return fmt.Errorf("read an account: %w", err)
	}
	if a.Locked {
		return mxerr.New(401, mxerr.CodeUserLocked, "This account has been locked").With("soft_logout", true)
	}
	return nil
}

// rotate stores the next tokens of a family, or ends it when the presented one was used before.
func (k *Keeper) rotate(ctx context.Context, tx *store.Tx, f store.RefreshFamily, presented, next []byte, access string) (ended [][]byte, reused bool, err error) {
	switch {
	case subtle.ConstantTimeCompare(presented, f.Current) == 1:
		f.Previous = f.Current
	case f.Previous != nil && subtle.ConstantTimeCompare(presented, f.Previous) == 1:
		// The client never got the last pair: that pair ends, and its access token with it.
		if ended, err = tx.DeleteUnprovenTokens(ctx, f.User, f.Device); err != nil {
			return nil, false, fmt.Errorf("end unused tokens: %w", err)
		}
	default:
		if ended, err = tx.ExpireTokens(ctx, f.User, f.Device, k.now()); err != nil {
			return nil, false, fmt.Errorf("end a session: %w", err)
		}
		return ended, true, nil
	}
	f.Current, f.Expires = next, k.now()+k.RefreshTokenLifetime.Milliseconds()
	if err := tx.PutRefreshFamily(ctx, f); err != nil {
		return nil, false, fmt.Errorf("store a refresh token: %w", err)
	}
	err = tx.CreateToken(ctx, store.AccessToken{
		Hash: hashOf(access), User: f.User, Device: f.Device,
		Expires: k.now() + k.AccessTokenLifetime.Milliseconds(), Unproven: true,
	})
	return ended, false, err
}

// NewLoginToken makes a token by which another client of the user may log in, once and soon. CS v1.16 #post_matrixclientv1loginget_token
func (k *Keeper) NewLoginToken(user id.UserID) (token string, lifetime time.Duration, err error) {
	if token, err = k.secret(24); err != nil {
		return "", 0, err
	}
	k.logins.put(token, user)
	return token, k.logins.lifetime, nil
}

// RedeemLoginToken says whose a login token is, and ends it. CS v1.16 #token-based-user-login
func (k *Keeper) RedeemLoginToken(token string) (id.UserID, error) {
	user, ok := k.logins.take(token)
	if !ok {
		return "", mxerr.Forbidden("Invalid login token")
	}
	return user, nil
}

// ChangePassword stores a new password. The user has proved themselves.
func (k *Keeper) ChangePassword(ctx context.Context, user id.UserID, password string) error {
	if err := k.checkNewPassword(password); err != nil {
		return err
	}
	hash, err := k.Hasher.Hash(ctx, k.Rand, password)
	if err != nil {
		return fmt.Errorf("hash a password: %w", err)
	}
	return k.Store.Write(ctx, func(tx *store.Tx) error { return tx.SetPassword(ctx, user, hash) })
}

// maxPassword bounds what is hashed.
const maxPassword = 1024

func (k *Keeper) checkNewPassword(password string) error {
	switch n := len([]rune(password)); {
	case n < k.MinPassword:
		return mxerr.WeakPassword("A password needs at least %d characters", k.MinPassword)
	case len(password) > maxPassword:
		return mxerr.WeakPassword("A password has at most %d bytes", maxPassword)
	}
	return nil
}

func hashOf(token string) []byte {
	h := sha256.Sum256([]byte(token))
	return h[:]
}
