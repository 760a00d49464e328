package room

import (
	"context"

	"konsil/homeserver/store"
	"konsil/matrix/id"
)

// CollectSnapshots deletes the states of a room that nothing refers to any more, and says how many those were. It waits its turn
// in the room's queue, so that no state is taken away from an event being built.
func (e *Engine) CollectSnapshots(ctx context.Context, room id.RoomID) (int, error) {
	n := 0
	err := e.change(ctx, room, func(b *batch) error {
		if b.head.snap.nid == 0 {
			return ErrUnknownRoom
		}
		b.touched = true
		b.also = func(ctx context.Context, tx *store.Tx) (err error) {
			n, err = tx.CollectSnapshots(ctx, b.head.nid)
			return err
		}
		return nil
	})
	return n, err
}
