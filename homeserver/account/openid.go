package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"konsil/homeserver/store"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// OpenIDLifetime is how long a third party has to ask whose an OpenID token is.
const OpenIDLifetime = time.Hour

// NewOpenIDToken makes a token by which a third party learns the user's ID and nothing else. CS v1.16 #openid
func (k *Keeper) NewOpenIDToken(ctx context.Context, user id.UserID) (string, error) {
	token, err := k.secret(24)
	if err != nil {
		return "", err
	}
	err = k.Store.Write(ctx, func(tx *store.Tx) error {
		return tx.CreateOpenIDToken(ctx, hashOf(token), user, k.now()+OpenIDLifetime.Milliseconds(), k.now())
	})
	if err != nil {
		return "", fmt.Errorf("store an OpenID token: %w", err)
	}
	return token, nil
}

// OpenIDUser says whose an OpenID token is. SS v1.16 #openid
func (k *Keeper) OpenIDUser(ctx context.Context, token string) (user id.UserID, err error) {
	err = k.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		user, err = tx.OpenIDUser(ctx, hashOf(token), k.now())
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return "", mxerr.UnknownToken(false)
	}
	return user, err
}
