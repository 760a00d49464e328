package account

import (
	"context"
	"fmt"

	"konsil/homeserver/store"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Account reads an account; M_NOT_FOUND if there is none, or none any longer.
func (k *Keeper) Account(ctx context.Context, user id.UserID) (a store.Account, err error) {
	err = k.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		a, err = tx.Account(ctx, user)
		return err
	})
	if err == nil && a.Deactivated != 0 {
		err = store.ErrNotFound
	}
	return a, notFound(err, "Unknown user")
}

// ChangeAccount lets an administrator change an account's flags; change gets the account as it is.
func (k *Keeper) ChangeAccount(ctx context.Context, user id.UserID, change func(*store.Account)) error {
	var tokens [][]byte
	err := k.Store.Write(ctx, func(tx *store.Tx) error {
		a, err := tx.Account(ctx, user)
		if err == nil && a.Deactivated != 0 {
			err = store.ErrNotFound
		}
		if err != nil {
			return notFound(err, "Unknown user")
		}
		change(&a)
		if err := tx.SetAccountFlags(ctx, a); err != nil {
			return fmt.Errorf("change an account: %w", err)
		}
		tokens, err = tx.TokenHashes(ctx, user)
		return err
	})
	k.tokens.drop(tokens) // they are good still, but say something else of their owner now
	return err
}

// Deactivate ends an account for ever, with all its devices. With erase its profile and account data go too. That it
// leaves its rooms is the caller's work. CS v1.16 #account-deactivation
func (k *Keeper) Deactivate(ctx context.Context, user id.UserID, erase bool) error {
	var gone removal
	err := k.Store.Write(ctx, func(tx *store.Tx) error {
		a, err := tx.Account(ctx, user)
		if err != nil {
			return notFound(err, "Unknown user")
		}
		if a.Deactivated != 0 {
			return mxerr.UserDeactivated()
		}
		devices, err := otherDevices(ctx, tx, user, "")
		if err != nil {
			return err
		}
		if gone, err = k.removeDevices(ctx, tx, user, devices); err != nil {
			return err
		}
		if err := tx.DeactivateAccount(ctx, user, k.now(), erase); err != nil {
			return fmt.Errorf("deactivate an account: %w", err)
		}
		return forget(ctx, tx, user, erase)
	})
	if err != nil {
		return err
	}
	k.removed(ctx, user, gone)
	return nil
}

// forget removes what a deactivated account leaves behind.
func forget(ctx context.Context, tx *store.Tx, user id.UserID, erase bool) error {
	if err := tx.DropUserKeys(ctx, user); err != nil {
		return fmt.Errorf("drop keys: %w", err)
	}
	if err := tx.DeleteOpenIDTokens(ctx, user); err != nil {
		return fmt.Errorf("end OpenID tokens: %w", err)
	}
	// Nobody shall find them in the directory or look them up any more, erased or not.
	if err := tx.DeleteProfile(ctx, user); err != nil {
		return fmt.Errorf("delete a profile: %w", err)
	}
	if !erase {
		return nil
	}
	if err := tx.EraseAccountData(ctx, user); err != nil {
		return fmt.Errorf("erase account data: %w", err)
	}
	return nil
}
