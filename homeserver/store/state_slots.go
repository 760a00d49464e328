package store

import (
	"context"
	"sync"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// Slots gives slots their numbers. A number is handed out in memory before it is stored; until then every writer that uses
// the slot stores it too, with the same number, so it does not matter which of them commits first, or fails.
type Slots struct {
	db  *DB
	mu  sync.Mutex
	nid map[id.Slot]slotEntry // guarded by mu
	key map[int64]id.Slot     // guarded by mu

	stored int // entries that are stored and may be dropped; guarded by mu
}

type slotEntry struct {
	nid    int64
	stored bool
}

// maxSlots bounds the stored entries kept, about 250 bytes each: beyond it some are dropped and read again when needed.
const maxSlots = 40_000

// SlotRow is a slot with its number.
type SlotRow struct {
	NID  int64
	Slot id.Slot
}

// Slots is the domain's table of slots.
func (d *DB) Slots() *Slots { return d.slots }

func newSlots(d *DB) *Slots {
	return &Slots{db: d, nid: map[id.Slot]slotEntry{}, key: map[int64]id.Slot{}}
}

// Find looks a slot up; found is false for one that no event was ever stored for.
func (s *Slots) Find(ctx context.Context, slot id.Slot) (nid int64, found bool, err error) {
	s.mu.Lock()
	e, ok := s.nid[slot]
	s.mu.Unlock()
	if ok {
		return e.nid, true, nil
	}
	err = s.db.ReadOne(ctx, func(tx *Tx) error {
		nid, err = tx.slotNID(ctx, slot)
		return err
	})
	if err == ErrNotFound {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	return s.remember(SlotRow{nid, slot}), true, nil
}

// Intern gives the number of a slot, a new one if need be. stored is false while the caller has to store it with its events.
func (s *Slots) Intern(ctx context.Context, slot id.Slot) (row SlotRow, stored bool, err error) {
	nid, found, err := s.Find(ctx, slot)
	if err != nil {
		return SlotRow{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.nid[slot]; ok {
		return SlotRow{e.nid, slot}, e.stored, nil
	}
	if found { // dropped again in between
		return SlotRow{nid, slot}, true, nil
	}
	nid = s.db.NextNID()
	s.put(slot, slotEntry{nid: nid})
	return SlotRow{nid, slot}, false, nil
}

// InternAll is Intern for many slots with few reads. fresh are those the caller has to store.
func (s *Slots) InternAll(ctx context.Context, slots []id.Slot) (nids map[id.Slot]int64, fresh []SlotRow, err error) {
	nids = make(map[id.Slot]int64, len(slots))
	var unknown []id.Slot
	s.mu.Lock()
	for _, slot := range slots {
		if e, ok := s.nid[slot]; !ok {
			unknown = append(unknown, slot)
		} else {
			nids[slot] = e.nid
			if !e.stored {
				fresh = append(fresh, SlotRow{e.nid, slot})
			}
		}
	}
	s.mu.Unlock()
	if len(unknown) == 0 {
		return nids, fresh, nil
	}
	if err := s.load(ctx, unknown); err != nil {
		return nil, nil, err
	}
	for _, slot := range unknown {
		if _, done := nids[slot]; done {
			continue // named twice
		}
		row, stored, err := s.Intern(ctx, slot)
		if err != nil {
			return nil, nil, err
		}
		nids[slot] = row.NID
		if !stored {
			fresh = append(fresh, row)
		}
	}
	return nids, fresh, nil
}

// load reads slots by type, many state keys at once, and gives those that are not stored a number right away, so that Intern finds
// all of them in memory.
func (s *Slots) load(ctx context.Context, slots []id.Slot) error {
	byType := map[string][]string{}
	for _, slot := range slots {
		byType[slot.Type] = append(byType[slot.Type], safeText(slot.StateKey))
	}
	var rows []SlotRow
	err := s.db.Read(ctx, func(tx *Tx) error {
		for typ, keys := range byType {
			found, err := tx.slotsOfType(ctx, typ, keys)
			if err != nil {
				return err
			}
			rows = append(rows, found...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range rows {
		if _, ok := s.nid[r.Slot]; !ok {
			s.put(r.Slot, slotEntry{r.NID, true})
		}
	}
	for _, slot := range slots {
		// The read began after the caller found the slot unknown, and a slot that somebody stores meanwhile stands in the map
		// until the commit marks it: what is in neither is new.
		if _, ok := s.nid[slot]; !ok {
			s.put(slot, slotEntry{nid: s.db.NextNID()})
		}
	}
	return nil
}

// Keys gives the slots of numbers.
func (s *Slots) Keys(ctx context.Context, nids []int64) (map[int64]id.Slot, error) {
	keys := make(map[int64]id.Slot, len(nids))
	var unknown []int64
	s.mu.Lock()
	for _, nid := range nids {
		if slot, ok := s.key[nid]; ok {
			keys[nid] = slot
		} else {
			unknown = append(unknown, nid)
		}
	}
	s.mu.Unlock()
	if len(unknown) == 0 {
		return keys, nil
	}
	var rows []SlotRow
	err := s.db.ReadOne(ctx, func(tx *Tx) (err error) {
		rows, err = tx.slotsByNID(ctx, unknown)
		return err
	})
	for _, r := range rows {
		keys[r.NID] = r.Slot
		s.remember(r)
	}
	return keys, err
}

// Stored says that slots are committed.
func (s *Slots) Stored(rows []SlotRow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range rows {
		s.put(r.Slot, slotEntry{r.NID, true})
	}
}

func (s *Slots) remember(r SlotRow) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.nid[r.Slot]; ok {
		return e.nid
	}
	s.put(r.Slot, slotEntry{r.NID, true})
	return r.NID
}

// put needs mu.
func (s *Slots) put(slot id.Slot, e slotEntry) {
	if s.stored >= maxSlots {
		s.shrink()
	}
	if old := s.nid[slot]; e.stored && !old.stored {
		s.stored++
	}
	s.nid[slot] = e
	s.key[e.nid] = slot
}

// shrink drops a quarter of the stored entries, any ones: Go's map order is as good as chance. Needs mu.
func (s *Slots) shrink() {
	for slot, e := range s.nid {
		if s.stored <= maxSlots*3/4 {
			return
		}
		if e.stored {
			delete(s.nid, slot)
			delete(s.key, e.nid)
			s.stored--
		}
	}
}

// InsertSlot stores a slot; it may be there already, with the same number.
func (tx *Tx) InsertSlot(ctx context.Context, r SlotRow) error {
	return tx.Queue(ctx, `
		INSERT INTO slot (domain_id, slot_nid, type, state_key) VALUES ($0, $1, $2, $3)
		ON CONFLICT (domain_id, slot_nid) DO NOTHING`, r.NID, safeText(r.Slot.Type), safeText(r.Slot.StateKey))
}

func (tx *Tx) slotNID(ctx context.Context, slot id.Slot) (int64, error) {
	return db.Get[int64](ctx, tx, `SELECT slot_nid FROM slot WHERE domain_id = $0 AND type = $1 AND state_key = $2`,
		safeText(slot.Type), safeText(slot.StateKey))
}

func (tx *Tx) slotsOfType(ctx context.Context, typ string, safeKeys []string) ([]SlotRow, error) {
	return tx.slotRows(ctx, `SELECT slot_nid, type, state_key FROM slot WHERE domain_id = $0 AND type = $1 AND state_key in($2)`,
		safeText(typ), safeKeys)
}

func (tx *Tx) slotsByNID(ctx context.Context, nids []int64) ([]SlotRow, error) {
	return tx.slotRows(ctx, `SELECT slot_nid, type, state_key FROM slot WHERE domain_id = $0 AND slot_nid in($1)`, nids)
}

func (tx *Tx) slotRows(ctx context.Context, q string, args ...any) ([]SlotRow, error) {
	var rows []SlotRow
	err := db.Each(ctx, tx, q, args, func(row *db.Row) error {
		var r SlotRow
		if err := row.Scan(&r.NID, &r.Slot.Type, &r.Slot.StateKey); err != nil {
			return err
		}
		r.Slot = id.Slot{Type: plainText(r.Slot.Type), StateKey: plainText(r.Slot.StateKey)}
		rows = append(rows, r)
		return nil
	})
	return rows, err
}
