// Package report takes what users report to the operators of their domain: rooms, events, other users. It keeps it and decides
// nothing; it tells no other server. CS v1.16 #reporting-content
//
// A Keeper holds no state of its own and is safe for concurrent use.
package report

import (
	"context"
	"errors"
	"fmt"

	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Config is what a Keeper stands on.
type Config struct {
	Server id.ServerName
	Store  *store.DB
	Rooms  *room.Engine
	Clock  clock.Clock
}

// Keeper keeps the reports of one domain.
type Keeper struct{ cfg Config }

// New assembles a Keeper.
func New(cfg Config) *Keeper { return &Keeper{cfg} }

const maxReason = 4096 // bytes

// Event reports an event that the reporter can see; M_NOT_FOUND for another. CS v1.16 #post_matrixclientv3roomsroomidreporteventid
func (k *Keeper) Event(ctx context.Context, by id.UserID, in id.RoomID, evID id.EventID, reason string) error {
	ev, err := k.cfg.Rooms.EventOf(ctx, by, in, evID)
	if err != nil {
		return err
	}
	return k.add(ctx, store.Report{Reporter: by, Room: in, Event: evID, User: ev.Sender, Reason: reason})
}

// Room reports a room. That there is none is not told: the answer would show which rooms there are.
// CS v1.16 #post_matrixclientv3roomsroomidreport
func (k *Keeper) Room(ctx context.Context, by id.UserID, in id.RoomID, reason string) error {
	if _, err := k.cfg.Rooms.Room(ctx, in); errors.Is(err, room.ErrUnknownRoom) {
		return nil
	} else if err != nil {
		return err
	}
	return k.add(ctx, store.Report{Reporter: by, Room: in, Reason: reason})
}

// User reports a user. That there is none is not told, see Room. CS v1.16 #post_matrixclientv3usersuseridreport
func (k *Keeper) User(ctx context.Context, by, user id.UserID, reason string) error {
	if user.Server() == k.cfg.Server {
		err := k.cfg.Store.ReadOne(ctx, func(tx *store.Tx) error {
			_, err := tx.Account(ctx, user)
			return err
		})
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return k.add(ctx, store.Report{Reporter: by, User: user, Reason: reason})
}

func (k *Keeper) add(ctx context.Context, r store.Report) error {
	if len(r.Reason) > maxReason {
		return mxerr.TooLarge("The reason is too long")
	}
	r.TS = clock.Millis(k.cfg.Clock)
	err := k.cfg.Store.Write(ctx, func(tx *store.Tx) error { return tx.AddReport(ctx, r) })
	if err != nil {
		return fmt.Errorf("store a report: %w", err)
	}
	return nil
}

// List gives reports to operators, the newest first: those older than one of them (0: all), and how many there are in all.
func (k *Keeper) List(ctx context.Context, before int64, limit int) (list []store.Report, total int64, err error) {
	err = k.cfg.Store.Read(ctx, func(tx *store.Tx) (err error) {
		if list, err = tx.Reports(ctx, before, limit); err != nil {
			return err
		}
		total, err = tx.CountReports(ctx)
		return err
	})
	return list, total, err
}
