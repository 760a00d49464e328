package store_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"konsil/homeserver/store"
	"konsil/matrix/id"
)

func TestServerKeys(t *testing.T) {
	ctx := context.Background()
	eachStore(t, func(t *testing.T, s *store.DB) {
		set := func(server id.ServerName, fetched int64, document string, keys ...id.KeyID) {
			t.Helper()
			err := s.Write(ctx, func(tx *store.Tx) error {
				return tx.SetServerKeys(ctx, server, keys, store.ServerKeyDocument{Fetched: fetched, ValidUntil: fetched + 100, Document: []byte(document)})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		set("a.test", 1, "first", "ed25519:old", "ed25519:both")
		set("a.test", 3, "third", "ed25519:both", "ed25519:new")
		set("a.test", 2, "second", "ed25519:both") // came late
		set("b.test", 9, "other", "ed25519:both")
		var got []string
		err := s.Read(ctx, func(tx *store.Tx) error {
			got = nil
			documents, err := tx.ServerKeyDocuments(ctx, "a.test")
			for _, d := range documents {
				got = append(got, string(d.Document))
			}
			return err
		})
		if err != nil || !slices.Equal(got, []string{"third", "first"}) {
			t.Errorf("%v, %v; want the newest for each key, newest first", got, err)
		}
	})
}

func TestFederationQueue(t *testing.T) {
	ctx := context.Background()
	eachStore(t, func(t *testing.T, s *store.DB) {
		write := func(fn func(tx *store.Tx) error) {
			t.Helper()
			if err := s.Write(ctx, fn); err != nil {
				t.Fatal(err)
			}
		}
		head := func(server id.ServerName) (pdus []store.QueuedPDU, edus []store.QueuedEDU) {
			t.Helper()
			err := s.Read(ctx, func(tx *store.Tx) (err error) {
				pdus, edus, err = tx.Queued(ctx, server, 4, 2)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return pdus, edus
		}
		queue := []store.QueuedPDU{{Pos: 1, RoomNID: 7, EventNID: 11}, {Pos: 2, RoomNID: 8, EventNID: 12}, {Pos: 3, RoomNID: 7, EventNID: 13},
			{Pos: 4, RoomNID: 7, EventNID: 14}, {Pos: 5, RoomNID: 9, EventNID: 15}}
		edus := []store.QueuedEDU{{Pos: 1, Key: "a", EDU: []byte("1a")}, {Pos: 1, Key: "b", EDU: []byte("1b")}, {Pos: 2, Key: "a", EDU: []byte("2a")}}
		write(func(tx *store.Tx) error { return tx.Enqueue(ctx, "a.test", queue, edus) })
		write(func(tx *store.Tx) error { return tx.Enqueue(ctx, "a.test", queue[:2], edus[:1]) }) // told again
		write(func(tx *store.Tx) error { return tx.Enqueue(ctx, "b.test", queue[:1], nil) })

		gotPDUs, gotEDUs := head("a.test")
		if !slices.Equal(gotPDUs, queue[:4]) || len(gotEDUs) != 2 || string(gotEDUs[1].EDU) != "1b" {
			t.Errorf("head %v %v", gotPDUs, gotEDUs)
		}
		write(func(tx *store.Tx) error { return tx.Dequeue(ctx, "a.test", gotPDUs[:1], gotEDUs) })
		if gotPDUs, gotEDUs = head("a.test"); !slices.Equal(gotPDUs, queue[1:]) || len(gotEDUs) != 1 || gotEDUs[0].Pos != 2 {
			t.Errorf("after dequeuing: %v %v", gotPDUs, gotEDUs)
		}
		write(func(tx *store.Tx) error {
			n, err := tx.ThinQueue(ctx, "a.test")
			if err == nil && n != 1 {
				t.Errorf("thinning dropped %d", n)
			}
			return err
		})
		if gotPDUs, _ = head("a.test"); !slices.Equal(gotPDUs, []store.QueuedPDU{queue[1], queue[3], queue[4]}) {
			t.Errorf("thinned to %v", gotPDUs)
		}
		if gotPDUs, _ = head("b.test"); len(gotPDUs) != 1 {
			t.Errorf("another server's queue is %v", gotPDUs)
		}
		err := s.Read(ctx, func(tx *store.Tx) error {
			servers, err := tx.QueuedServers(ctx)
			slices.Sort(servers)
			if err == nil && !slices.Equal(servers, []id.ServerName{"a.test", "b.test"}) {
				t.Errorf("queued servers %v", servers)
			}
			if n, err := tx.QueueLength(ctx, "a.test", 2); err != nil || n != 2 {
				t.Errorf("length %d, %v; want it counted up to the limit", n, err)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestFailingDestinations(t *testing.T) {
	ctx := context.Background()
	eachStore(t, func(t *testing.T, s *store.DB) {
		err := s.Write(ctx, func(tx *store.Tx) error {
			for _, d := range []store.Destination{{Server: "a.test", FailingSince: 1, RetryAt: 2, Failures: 1}, {Server: "b.test", FailingSince: 1, RetryAt: 2, Failures: 1},
				{Server: "a.test", FailingSince: 1, RetryAt: 5, Failures: 2}} {
				if err := tx.SetFailing(ctx, d); err != nil {
					return err
				}
			}
			return tx.SetReachable(ctx, "b.test")
		})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Read(ctx, func(tx *store.Tx) error {
			all, err := tx.FailingDestinations(ctx)
			if err == nil && !slices.Equal(all, []store.Destination{{Server: "a.test", FailingSince: 1, RetryAt: 5, Failures: 2}}) {
				t.Errorf("failing %v", all)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// The cursor never goes back, and takes along what lies behind it.
func TestFederationCursor(t *testing.T) {
	ctx := context.Background()
	eachStore(t, func(t *testing.T, s *store.DB) {
		var first, second int64
		err := s.Write(ctx, func(tx *store.Tx) (err error) {
			if first, err = tx.AddToDeviceOut(ctx, []store.ToDeviceOut{{Destination: "a.test", Content: []byte("{}")}}); err != nil {
				return err
			}
			if second, err = tx.AddToDeviceOut(ctx, []store.ToDeviceOut{{Destination: "a.test", Content: []byte("{}")}}); err != nil {
				return err
			}
			if err := tx.AddRelay(ctx, "$one"); err != nil {
				return err
			}
			if err := tx.AddRelay(ctx, "$two"); err != nil {
				return err
			}
			if err := tx.SetFederationCursor(ctx, first, []id.EventID{"$one"}); err != nil {
				return err
			}
			return tx.SetFederationCursor(ctx, first-1, nil)
		})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Read(ctx, func(tx *store.Tx) error {
			cursor, err := tx.FederationCursor(ctx)
			if err != nil || cursor != first {
				t.Errorf("cursor %d, %v, want %d", cursor, err, first)
			}
			relays, err := tx.Relays(ctx)
			if err != nil || !slices.Equal(relays, []id.EventID{"$two"}) {
				t.Errorf("relays %v, %v", relays, err)
			}
			left, err := tx.ToDeviceOut(ctx, 0, second, 10)
			if err != nil || len(left) != 1 || left[0].Pos != second {
				t.Errorf("messages left %v, %v", left, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// A transaction ID is any bytes the origin likes, NUL among them.
func TestTransactionAnswers(t *testing.T) {
	ctx := context.Background()
	eachStore(t, func(t *testing.T, s *store.DB) {
		answer := func(origin id.ServerName, txn string) (found []byte, err error) {
			err = s.ReadOne(ctx, func(tx *store.Tx) (err error) {
				found, err = tx.TransactionAnswer(ctx, origin, txn)
				return err
			})
			return found, err
		}
		err := s.Write(ctx, func(tx *store.Tx) error {
			if err := tx.AddTransactionAnswer(ctx, "a.test", "x\x00\xff", []byte("first"), 10); err != nil {
				return err
			}
			if err := tx.AddTransactionAnswer(ctx, "a.test", "x\x00\xff", []byte("again"), 20); err != nil {
				return err
			}
			return tx.AddTransactionAnswer(ctx, "a.test", "later", []byte("later"), 30)
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := answer("a.test", "x\x00\xff"); err != nil || string(got) != "first" {
			t.Errorf("%s, %v", got, err)
		}
		if _, err := answer("b.test", "x\x00\xff"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("another origin: %v", err)
		}
		if err := s.Write(ctx, func(tx *store.Tx) error { return tx.ForgetTransactions(ctx, 30) }); err != nil {
			t.Fatal(err)
		}
		if _, err := answer("a.test", "x\x00\xff"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("an old one: %v", err)
		}
		if got, err := answer("a.test", "later"); err != nil || string(got) != "later" {
			t.Errorf("%s, %v", got, err)
		}
	})
}
