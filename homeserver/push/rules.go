package push

import (
	"context"
	"encoding/json"
	"fmt"

	"konsil/homeserver/notify"
	"konsil/homeserver/store"
	"konsil/matrix/id"
	"konsil/matrix/pushrule"
)

// Rules reads a user's push rules.
func (k *Keeper) Rules(ctx context.Context, user id.UserID) (*pushrule.Set, error) {
	var raw []byte
	err := k.cfg.Store.ReadOne(ctx, func(tx *store.Tx) error {
		var err error
		raw, _, err = tx.PushRules(ctx, user)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read push rules: %w", err)
	}
	return pushrule.Parse(raw)
}

// ChangeRules gives a user other push rules: change gets the present ones. Events that come after it are counted by the new
// ones; what is counted already stays.
func (k *Keeper) ChangeRules(ctx context.Context, user id.UserID, change func(*pushrule.Set) (*pushrule.Set, error)) error {
	var pos int64
	err := k.cfg.Store.Write(ctx, func(tx *store.Tx) error {
		pos = 0
		raw, _, err := tx.PushRules(ctx, user)
		if err != nil {
			return err
		}
		set, err := pushrule.Parse(raw)
		if err != nil {
			return err
		}
		next, err := change(set)
		if err != nil || next == set {
			return err
		}
		if raw, err = next.Encode(); err != nil {
			return err
		}
		pos, err = tx.SetPushRules(ctx, user, raw)
		return err
	})
	if err == nil && pos > 0 {
		k.cfg.Notify.Wake(notify.Change{Pos: pos, Users: []id.UserID{user}, Kind: notify.Account})
	}
	return err
}

// PutRule adds a rule of the user's own or replaces it.
func (k *Keeper) PutRule(ctx context.Context, user id.UserID, kind pushrule.Kind, rule pushrule.Rule, before, after string) error {
	return k.ChangeRules(ctx, user, func(s *pushrule.Set) (*pushrule.Set, error) { return s.Put(kind, rule, before, after) })
}

// DeleteRule removes one.
func (k *Keeper) DeleteRule(ctx context.Context, user id.UserID, kind pushrule.Kind, ruleID string) error {
	return k.ChangeRules(ctx, user, func(s *pushrule.Set) (*pushrule.Set, error) { return s.Delete(kind, ruleID) })
}

// EnableRule switches a rule on or off.
func (k *Keeper) EnableRule(ctx context.Context, user id.UserID, kind pushrule.Kind, ruleID string, enabled bool) error {
	return k.ChangeRules(ctx, user, func(s *pushrule.Set) (*pushrule.Set, error) { return s.SetEnabled(kind, ruleID, enabled) })
}

// SetRuleActions gives a rule other actions.
func (k *Keeper) SetRuleActions(ctx context.Context, user id.UserID, kind pushrule.Kind, ruleID string, actions []json.RawMessage) error {
	return k.ChangeRules(ctx, user, func(s *pushrule.Set) (*pushrule.Set, error) { return s.SetActions(kind, ruleID, actions) })
}

// RoomUpgraded takes over the user's rules for a room to the room that replaces it. CS v1.16 #server-behaviour-19
func (k *Keeper) RoomUpgraded(ctx context.Context, user id.UserID, from, to id.RoomID) error {
	return k.ChangeRules(ctx, user, func(s *pushrule.Set) (*pushrule.Set, error) { return s.CopyRoom(string(from), string(to)), nil })
}
