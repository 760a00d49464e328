package account

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the shared-secret protocol fixes it; HMAC-SHA1 is not broken
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"konsil/homeserver/store"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// NewAccount says what account to make.
type NewAccount struct {
	Localpart   string // "" draws one; capitals become small
	Password    string // "" makes an account that no password opens; only programs of ours may ask for it
	Admin       bool
	Reserved    bool // a name for the server's own use, with a leading underscore
	DisplayName string
	Token       string      // registration token that pays for it, "" for none
	Service     *AppService // that registers a user of its namespace; nil for people
}

// CheckUsername says whether somebody may register this name: the grammar, and that it is free.
// CS v1.16 #get_matrixclientv3registeravailable
func (k *Keeper) CheckUsername(ctx context.Context, name string) error {
	user, err := k.newUserID(NewAccount{Localpart: name})
	if err == nil {
		err = k.checkOwner(user, nil)
	}
	if err != nil {
		return err
	}
	return k.Store.ReadOne(ctx, func(tx *store.Tx) error {
		switch _, err := tx.Account(ctx, user); {
		case errors.Is(err, store.ErrNotFound):
			return nil
		case err != nil:
			return fmt.Errorf("look up an account: %w", err)
		}
		return mxerr.UserInUse()
	})
}

// newUserID makes the user ID of a new account. Appendices v1.16 #user-identifiers
func (k *Keeper) newUserID(n NewAccount) (id.UserID, error) {
	name := strings.ToLower(n.Localpart)
	if name == "" {
		drawn, err := id.NewDeviceID(k.Rand)
		if err != nil {
			return "", err
		}
		name = strings.ToLower(string(drawn))
	}
	// Names with a leading underscore belong to the server and to application services.
	if n.Service == nil && n.Reserved != strings.HasPrefix(name, "_") {
		return "", mxerr.InvalidUsername()
	}
	user, err := id.NewUserID(name, k.Server)
	if err != nil {
		return "", mxerr.InvalidUsername()
	}
	return user, nil
}

// Register makes an account. M_USER_IN_USE if its name is taken, also by one that is no more.
func (k *Keeper) Register(ctx context.Context, n NewAccount) (id.UserID, error) {
	user, err := k.newUserID(n)
	if err != nil {
		return "", err
	}
	if !n.Reserved {
		if err := k.checkOwner(user, n.Service); err != nil {
			return "", err
		}
	}
	hash := ""
	if n.Password != "" {
		if err := k.checkNewPassword(n.Password); err != nil {
			return "", err
		}
		if hash, err = k.Hasher.Hash(ctx, k.Rand, n.Password); err != nil {
			return "", fmt.Errorf("hash a password: %w", err)
		}
	}
	if err := checkDisplayName(n.DisplayName); err != nil {
		return "", err
	}
	err = k.Store.Write(ctx, func(tx *store.Tx) error {
		isNew, err := tx.CreateAccount(ctx, store.Account{User: user, PasswordHash: hash, Created: k.now(), Admin: n.Admin})
		if err != nil {
			return fmt.Errorf("create an account: %w", err)
		}
		if !isNew {
			return mxerr.UserInUse()
		}
		if n.Token != "" {
			if ok, err := tx.UseRegistrationToken(ctx, n.Token, k.now()); err != nil {
				return fmt.Errorf("use a registration token: %w", err)
			} else if !ok {
				return mxerr.Forbidden("Invalid registration token")
			}
		}
		p := store.Profile{DisplayName: n.DisplayName, Fields: []byte("{}")}
		return tx.PutProfile(ctx, user, p, searchText(user, p))
	})
	return user, err
}

// CreateRegistrationToken makes a token that pays for accounts. An empty name draws one.
func (k *Keeper) CreateRegistrationToken(ctx context.Context, t store.RegistrationToken) (string, error) {
	if t.Token == "" {
		var err error
		if t.Token, err = k.secret(12); err != nil {
			return "", err
		}
	}
	if !validRegistrationToken(t.Token) {
		return "", mxerr.InvalidParam("Invalid registration token")
	}
	err := k.Store.Write(ctx, func(tx *store.Tx) error {
		isNew, err := tx.CreateRegistrationToken(ctx, t)
		if err == nil && !isNew {
			return mxerr.InvalidParam("Registration token already exists")
		}
		return err
	})
	return t.Token, err
}

// validRegistrationToken checks the grammar of opaque identifiers, to 64 characters. CS v1.16 #token-authenticated-registration
func validRegistrationToken(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("._~-", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// RegistrationTokenValid says whether a token would pay for an account now.
func (k *Keeper) RegistrationTokenValid(ctx context.Context, token string) (bool, error) {
	if !validRegistrationToken(token) {
		return false, nil
	}
	var t store.RegistrationToken
	err := k.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		t, err = tx.RegistrationToken(ctx, token)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	spent := t.UsesAllowed >= 0 && t.Used >= t.UsesAllowed
	expired := t.Expires != 0 && t.Expires <= k.now()
	return err == nil && !spent && !expired, err
}

// SharedSecretNonce begins a registration by shared secret: the nonce is good for one, within a minute.
func (k *Keeper) SharedSecretNonce() (string, error) {
	if k.SharedSecret == "" {
		return "", mxerr.New(400, mxerr.CodeUnknown, "Shared secret registration is not enabled")
	}
	nonce, err := k.secret(32)
	if err != nil {
		return "", err
	}
	k.nonces.put(nonce, struct{}{})
	return nonce, nil
}

// SharedSecretProof is what a program shows that knows the secret. UserType is not "" where it names one.
type SharedSecretProof struct {
	Nonce, MAC, UserType string
}

// RegisterBySecret makes an account for a program that knows the shared secret.
func (k *Keeper) RegisterBySecret(ctx context.Context, n NewAccount, proof SharedSecretProof) (id.UserID, error) {
	if _, fresh := k.nonces.take(proof.Nonce); k.SharedSecret == "" || !fresh {
		return "", mxerr.New(400, mxerr.CodeUnknown, "Unrecognised nonce")
	}
	role := "notadmin"
	if n.Admin {
		role = "admin"
	}
	// The parts are joined by NUL, so none may hold one: "a\0b" would be two parts.
	parts := []string{proof.Nonce, n.Localpart, n.Password, role}
	if proof.UserType != "" {
		parts = append(parts, proof.UserType)
	}
	for _, part := range parts {
		if part == "" || strings.IndexByte(part, 0) >= 0 {
			return "", mxerr.New(400, mxerr.CodeUnknown, "Invalid username or password")
		}
	}
	mac := hmac.New(sha1.New, []byte(k.SharedSecret))
	mac.Write([]byte(strings.Join(parts, "\x00")))
	given, err := hex.DecodeString(proof.MAC)
	if err != nil || !hmac.Equal(mac.Sum(nil), given) {
		return "", mxerr.Forbidden("HMAC incorrect")
	}
	return k.Register(ctx, n)
}
