// Package search finds events by words: messages, names and topics of the rooms a user may look into. It follows the domain's
// order with a durable cursor and keeps the index up to date behind everybody's back; who searches waits until the index has
// seen what they have seen. Rooms with encryption have nothing in it, and what was redacted leaves it.
//
// What a word is and what belongs into the index is decided here; how the engines look it up, in store. An Index is safe for
// concurrent use; one goroutine at a time writes. CS v1.16 #server-side-search
package search

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"konsil/homeserver/notify"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
)

// Config is what an Index stands on.
type Config struct {
	Store  *store.DB
	Rooms  *room.Engine
	Notify *notify.Notifier
	Clock  clock.Clock  // nil means the system's
	Log    *slog.Logger // nil means slog.Default()
}

// Index is the search index of one domain.
type Index struct {
	cfg Config

	// turn is held by who writes the index: a queue, not a lock.
	turn    chan struct{}
	cursor  store.SearchCursor // what is indexed, under turn
	stored  store.SearchCursor // what the store knows of it, under turn
	started bool               // the cursor was read, under turn
	pos     atomic.Int64       // of the cursor, for those who only look
	opened  int64              // the last number when the index was made: all up to it was stored
}

// New assembles an Index. Run must be running for it to grow before somebody searches.
func New(cfg Config) *Index {
	if cfg.Clock == nil {
		cfg.Clock = clock.System()
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Index{cfg: cfg, turn: make(chan struct{}, 1), opened: cfg.Store.LastNID()}
}

const (
	lag   = 2 * time.Second // after something happened: many events make one transaction
	batch = 500
	// A cursor that moves over events of no interest is stored now and then only; a crash looks at these again.
	unstored = 5000
)

// Run indexes what happens until the context ends.
func (x *Index) Run(ctx context.Context) error {
	wake := x.cfg.Notify.Follow("search", notify.Events)
	seen := x.opened
	for {
		if err := x.Advance(ctx, x.cfg.Store.Position()); err != nil && ctx.Err() == nil {
			return err
		}
		// Numbers are given out before their events are stored. Those of the last round are stored by now.
		if err := x.history(ctx, seen); err != nil && ctx.Err() == nil {
			return err
		}
		seen = x.cfg.Store.LastNID()
		select {
		case <-wake:
		case <-ctx.Done():
			return x.save(context.WithoutCancel(ctx))
		}
		select {
		case <-x.cfg.Clock.After(lag):
		case <-ctx.Done():
			return x.save(context.WithoutCancel(ctx))
		}
	}
}

// save stores the cursor.
func (x *Index) save(ctx context.Context) error {
	return x.write(ctx, func() error {
		if x.cursor == x.stored {
			return nil
		}
		return x.store(ctx, changes{}, x.cursor)
	})
}

// Advance indexes everything that happened up to a position.
func (x *Index) Advance(ctx context.Context, upTo int64) error {
	if x.pos.Load() >= upTo {
		return nil
	}
	return x.write(ctx, func() error {
		for x.cursor.Pos < upTo {
			if err := x.step(ctx, upTo); err != nil {
				return err
			}
		}
		return nil
	})
}

// history indexes what other servers gave us of the past, up to the number of an event.
func (x *Index) history(ctx context.Context, upTo int64) error {
	return x.write(ctx, func() error {
		for x.cursor.History < upTo {
			if err := x.stepBack(ctx, upTo); err != nil {
				return err
			}
		}
		return nil
	})
}

// write runs fn in turn.
func (x *Index) write(ctx context.Context, fn func() error) error {
	select {
	case x.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-x.turn }()
	if !x.started {
		err := x.cfg.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
			x.stored, err = tx.SearchCursor(ctx)
			return err
		})
		if err != nil {
			return fmt.Errorf("read cursor of the search index: %w", err)
		}
		x.cursor = x.stored
		x.started = true
		x.pos.Store(x.cursor.Pos)
	}
	return fn()
}

// step indexes one batch. It needs the turn.
func (x *Index) step(ctx context.Context, upTo int64) error {
	next := store.SearchCursor{Pos: min(upTo, x.cursor.Pos+batch), History: x.cursor.History}
	var nids []int64
	err := x.cfg.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		nids, err = tx.EventsBetween(ctx, x.cursor.Pos, next.Pos)
		return err
	})
	if err != nil {
		return fmt.Errorf("list events to index: %w", err)
	}
	evs, err := x.cfg.Rooms.EventsByNID(ctx, nids)
	if err != nil {
		return fmt.Errorf("read events to index: %w", err)
	}
	return x.add(ctx, evs, next)
}

// stepBack is step for history.
func (x *Index) stepBack(ctx context.Context, upTo int64) error {
	var nids []int64
	err := x.cfg.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		nids, err = tx.HistoryBetween(ctx, x.cursor.History, upTo, batch)
		return err
	})
	if err != nil {
		return fmt.Errorf("list history to index: %w", err)
	}
	evs, err := x.cfg.Rooms.EventsByNID(ctx, nids)
	if err != nil {
		return fmt.Errorf("read history to index: %w", err)
	}
	next := store.SearchCursor{Pos: x.cursor.Pos, History: upTo}
	if len(nids) == batch {
		next.History = nids[len(nids)-1]
	}
	return x.add(ctx, evs, next)
}

// changes is what a batch of events does to the index.
type changes struct {
	docs  []store.SearchDoc
	gone  []int64 // redacted events
	rooms []int64 // encrypted from now on
}

// add indexes events and moves the cursor.
func (x *Index) add(ctx context.Context, evs []*room.Event, next store.SearchCursor) error {
	var c changes
	for _, ev := range evs {
		if err := x.consider(ctx, ev, &c); err != nil {
			return err
		}
	}
	far := next.Pos-x.stored.Pos > unstored || next.History-x.stored.History > unstored
	if len(c.docs)+len(c.gone)+len(c.rooms) > 0 || far {
		return x.store(ctx, c, next)
	}
	x.cursor = next
	x.pos.Store(next.Pos)
	return nil
}

// store writes changes together with the cursor. It needs the turn.
func (x *Index) store(ctx context.Context, c changes, next store.SearchCursor) error {
	err := x.cfg.Store.Write(ctx, func(tx *store.Tx) error {
		for _, d := range c.docs {
			if err := tx.AddSearchDoc(ctx, d); err != nil {
				return err
			}
		}
		for _, nid := range c.gone {
			if err := tx.RemoveSearchDoc(ctx, nid); err != nil {
				return err
			}
		}
		for _, nid := range c.rooms {
			if err := tx.RemoveSearchRoom(ctx, nid); err != nil {
				return err
			}
		}
		return tx.SetSearchCursor(ctx, next)
	})
	if err != nil {
		return fmt.Errorf("write the search index: %w", err)
	}
	x.cursor, x.stored = next, next
	x.pos.Store(next.Pos)
	return nil
}

// consider says what one event does to the index.
func (x *Index) consider(ctx context.Context, ev *room.Event, c *changes) error {
	switch ev.Type {
	case event.TypeRedaction:
		target, err := x.cfg.Rooms.Event(ctx, ev.Redacts)
		if err == nil && target.Redacted() && target.RoomNID == ev.RoomNID {
			c.gone = append(c.gone, target.NID)
		}
		return ignoreUnknown(err)
	case event.TypeEncryption:
		if ev.IsState() && *ev.StateKey == "" {
			c.rooms = append(c.rooms, ev.RoomNID)
		}
		return nil
	}
	field, text := searchable(ev.PDU)
	if text == "" || ev.Redacted() {
		return nil
	}
	secret, err := x.cfg.Rooms.StateEvent(ctx, ev.RoomID, event.TypeEncryption, "")
	if err != nil || secret != nil {
		return ignoreUnknown(err)
	}
	if found := words(text, maxWords); len(found) > 0 {
		c.docs = append(c.docs, store.SearchDoc{Event: ev.NID, Room: ev.RoomNID, Pos: ev.Pos, Field: field, Sender: ev.Sender, Words: found})
	}
	return nil
}

// searchable gives what of an event can be found, "" for nothing. CS v1.16 #search-categories
func searchable(ev *event.PDU) (store.SearchField, string) {
	switch {
	case ev.Type == event.TypeMessage:
		text, _ := canonical.GetString(ev.Content, "body")
		return store.SearchBody, text
	case ev.Type == event.TypeName && ev.IsState():
		text, _ := canonical.GetString(ev.Content, "name")
		return store.SearchName, text
	case ev.Type == event.TypeTopic && ev.IsState():
		text, given := canonical.GetString(ev.Content, "topic")
		if !given {
			text = plainTopic(ev.Content)
		}
		return store.SearchTopic, text
	}
	return 0, ""
}

// plainTopic is the text/plain representation of a topic. CS v1.16 #mroomtopic
func plainTopic(content []byte) string {
	var c struct {
		Topic struct {
			Text []struct {
				Body     string `json:"body"`
				MimeType string `json:"mimetype"`
			} `json:"m.text"`
		} `json:"m.topic"`
	}
	if json.Unmarshal(content, &c) != nil {
		return "" // somebody's nonsense; it has no text
	}
	for _, t := range c.Topic.Text {
		if t.MimeType == "" || t.MimeType == "text/plain" {
			return t.Body
		}
	}
	return ""
}

// ignoreUnknown passes over what is not here: a redaction may come before its target, which then is never indexed.
func ignoreUnknown(err error) error {
	if errors.Is(err, room.ErrUnknownEvent) || errors.Is(err, room.ErrUnknownRoom) {
		return nil
	}
	return err
}
