package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// Presence is what a user lets others know of being there.
type Presence struct {
	User       id.UserID
	Pos        int64
	State      string  // online, unavailable, offline
	StatusMsg  *string // nil for none
	LastActive int64   // ms since 1970, 0 unknown
	Active     bool    // currently_active
}

// SetPresence stores a user's presence at the next position, which it gives.
func (tx *Tx) SetPresence(ctx context.Context, p Presence) (int64, error) {
	pos := tx.NextPosition()
	_, err := tx.Exec(ctx, `
		INSERT INTO presence (domain_id, user_id, pos, state, status_msg, last_active, currently_active)
		VALUES ($0, $1, $2, $3, $4, $5, $6)
		ON CONFLICT (domain_id, user_id) DO UPDATE SET pos = excluded.pos, state = excluded.state,
			status_msg = excluded.status_msg, last_active = excluded.last_active, currently_active = excluded.currently_active`,
		p.User, pos, p.State, p.StatusMsg, p.LastActive, bit(p.Active))
	return pos, err
}

// Presence reads a user's presence. ErrNotFound when nothing is known.
func (tx *Tx) Presence(ctx context.Context, user id.UserID) (Presence, error) {
	all, err := tx.presences(ctx, `
		SELECT user_id, pos, state, status_msg, last_active, currently_active FROM presence
		WHERE domain_id = $0 AND user_id = $1`, user)
	if err == nil && len(all) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return Presence{}, err
	}
	return all[0], nil
}

// Presences lists the presence changes after one position, up to another, of users who share a room with user, and user's own.
func (tx *Tx) Presences(ctx context.Context, user id.UserID, after, upTo int64) ([]Presence, error) {
	return tx.presences(ctx, `
		SELECT p.user_id, p.pos, p.state, p.status_msg, p.last_active, p.currently_active FROM presence p
		WHERE p.domain_id = $0 AND p.pos > $2 AND p.pos <= $3 AND (p.user_id = $1 OR EXISTS (
			SELECT 1 FROM membership m JOIN membership me
				ON me.domain_id = $0 AND me.room_nid = m.room_nid AND me.user_id = $1 AND me.membership = 1
			WHERE m.domain_id = $0 AND m.user_id = p.user_id AND m.membership = 1))
		ORDER BY p.pos`, user, after, upTo)
}

// PresencesSince lists all presence changes after one position, up to another: for federation.
func (tx *Tx) PresencesSince(ctx context.Context, after, upTo int64, limit int) ([]Presence, error) {
	return tx.presences(ctx, `
		SELECT user_id, pos, state, status_msg, last_active, currently_active FROM presence
		WHERE domain_id = $0 AND pos > $1 AND pos <= $2 ORDER BY pos LIMIT $3`, after, upTo, limit)
}

// ActivePresences lists the users who were last known to be online or unavailable.
func (tx *Tx) ActivePresences(ctx context.Context) ([]Presence, error) {
	return tx.presences(ctx, `
		SELECT user_id, pos, state, status_msg, last_active, currently_active FROM presence
		WHERE domain_id = $0 AND state <> 'offline'`)
}

func (tx *Tx) presences(ctx context.Context, q string, args ...any) ([]Presence, error) {
	var all []Presence
	err := db.Each(ctx, tx, q, args, func(row *db.Row) error {
		var p Presence
		var active int64
		if err := row.Scan(&p.User, &p.Pos, &p.State, &p.StatusMsg, &p.LastActive, &active); err != nil {
			return err
		}
		p.Active = active != 0
		all = append(all, p)
		return nil
	})
	return all, err
}
