package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"konsil/homeserver/store"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/pushrule"
)

// The account data in which users say who may invite them.
const (
	typeInvitePermission = "m.invite_permission_config"                  // CS v1.18 #invite-permission
	typeInviteFilter     = "org.matrix.msc4155.invite_permission_config" // MSC4155
)

// InviteVerdict says what becomes of an invite.
type InviteVerdict int

// The verdicts.
const (
	InviteAllowed InviteVerdict = iota
	InviteIgnored               // it is taken, and the user never hears of it
	InviteBlocked               // it is refused
)

// InvitePermission says whose invites a user takes. The zero value takes everybody's.
type InvitePermission struct {
	blockAll bool
	users    []inviteRule
	servers  []inviteRule
}

type inviteRule struct {
	pattern pushrule.Glob
	verdict InviteVerdict
}

// maxInviteRules bounds the rules of one user. B5
const maxInviteRules = 10_000

// ParseInvitePermission reads account data: that of the specification, and that of MSC4155. What is no rule counts as none.
func ParseInvitePermission(config, filter []byte) *InvitePermission {
	p := &InvitePermission{}
	var c struct {
		DefaultAction string `json:"default_action"`
	}
	if len(config) > 0 && json.Unmarshal(config, &c) == nil {
		p.blockAll = c.DefaultAction == "block"
	}
	fields := map[string]json.RawMessage{}
	if len(filter) == 0 || json.Unmarshal(filter, &fields) != nil || string(fields["enabled"]) == "false" {
		return p
	}
	// The order is the proposal's: who is allowed is not ignored, who is ignored is not blocked. MSC4155
	for _, list := range []struct {
		field   string
		to      *[]inviteRule
		verdict InviteVerdict
	}{
		{"allowed_users", &p.users, InviteAllowed}, {"ignored_users", &p.users, InviteIgnored}, {"blocked_users", &p.users, InviteBlocked},
		{"allowed_servers", &p.servers, InviteAllowed}, {"ignored_servers", &p.servers, InviteIgnored}, {"blocked_servers", &p.servers, InviteBlocked},
	} {
		var patterns []json.RawMessage
		if json.Unmarshal(fields[list.field], &patterns) != nil {
			continue
		}
		for _, raw := range patterns {
			var pattern string
			if json.Unmarshal(raw, &pattern) == nil && len(p.users)+len(p.servers) < maxInviteRules {
				*list.to = append(*list.to, inviteRule{pushrule.CompileGlob(pattern), list.verdict})
			}
		}
	}
	return p
}

// Verdict says what becomes of somebody's invite. Rules for users come before those for servers. MSC4155
func (p *InvitePermission) Verdict(from id.UserID) InviteVerdict {
	if p.blockAll {
		return InviteBlocked
	}
	for i := range p.users {
		if p.users[i].pattern.Match(string(from)) {
			return p.users[i].verdict
		}
	}
	for i := range p.servers {
		if p.servers[i].pattern.Match(string(from.Server())) {
			return p.servers[i].verdict
		}
	}
	return InviteAllowed
}

// ReadInvitePermission reads what a user has said.
func ReadInvitePermission(ctx context.Context, tx *store.Tx, user id.UserID) (*InvitePermission, error) {
	var said [2][]byte
	for i, typ := range []string{typeInvitePermission, typeInviteFilter} {
		content, err := tx.AccountData(ctx, user, "", typ)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, fmt.Errorf("read invite permission: %w", err)
		}
		said[i] = content
	}
	return ParseInvitePermission(said[0], said[1]), nil
}

// CheckInvite refuses an invite that its target blocks, with M_INVITE_BLOCKED. CS v1.18 #invite-permission
func (k *Keeper) CheckInvite(ctx context.Context, target, from id.UserID) error {
	var p *InvitePermission
	err := k.Store.Read(ctx, func(tx *store.Tx) (err error) {
		p, err = ReadInvitePermission(ctx, tx, target)
		return err
	})
	if err != nil {
		return err
	}
	if p.Verdict(from) == InviteBlocked {
		return mxerr.New(http.StatusForbidden, mxerr.CodeInviteBlocked, "The user does not accept this invite")
	}
	return nil
}
