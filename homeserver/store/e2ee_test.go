package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"konsil/homeserver/store"
	"konsil/matrix/id"
)

const alice, bob = id.UserID("@alice:here.test"), id.UserID("@bob:there.test")

func write(t *testing.T, d *store.DB, fn func(ctx context.Context, tx *store.Tx) error) {
	t.Helper()
	if err := d.Write(t.Context(), func(tx *store.Tx) error { return fn(t.Context(), tx) }); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, d *store.DB, fn func(ctx context.Context, tx *store.Tx) error) {
	t.Helper()
	if err := d.Read(t.Context(), func(tx *store.Tx) error { return fn(t.Context(), tx) }); err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func keys(from, to int) []store.OneTimeKey {
	var all []store.OneTimeKey
	for i := from; i < to; i++ {
		all = append(all, store.OneTimeKey{ID: fmt.Sprint("K", i), JSON: []byte(fmt.Sprintf(`{"key":"%d"}`, i))})
	}
	return all
}

func TestOneTimeKeysAreGivenOutOldestFirst(t *testing.T) {
	eachStore(t, func(t *testing.T, d *store.DB) {
		owner := store.OwnerOf(alice, "DEV")
		other := store.OwnerOf(alice, "OTHER")
		write(t, d, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(
				tx.AddOneTimeKeys(ctx, owner, "a", keys(30, 60)),
				tx.AddOneTimeKeys(ctx, owner, "a", keys(0, 5)),
				tx.AddOneTimeKeys(ctx, owner, "b", keys(0, 1)),
				tx.AddOneTimeKeys(ctx, other, "a", keys(0, 2)))
		})
		var counts map[string]int64
		read(t, d, func(ctx context.Context, tx *store.Tx) (err error) {
			counts, err = tx.OneTimeKeyCounts(ctx, owner)
			return err
		})
		check(t, counts, map[string]int64{"a": 35, "b": 1})

		var order, ofOther []string
		for range 36 {
			var got map[store.Owner]store.OneTimeKey
			write(t, d, func(ctx context.Context, tx *store.Tx) (err error) {
				got, err = tx.ClaimOneTimeKeys(ctx, "a", []store.Owner{owner, other})
				return err
			})
			if key, ok := got[owner]; ok {
				order = append(order, key.ID)
			}
			if key, ok := got[other]; ok {
				ofOther = append(ofOther, key.ID)
			}
		}
		var want []string
		for _, key := range append(keys(30, 60), keys(0, 5)...) {
			want = append(want, key.ID)
		}
		check(t, order, want)
		check(t, ofOther, []string{"K0", "K1"})
		var left map[string]map[string][]byte
		read(t, d, func(ctx context.Context, tx *store.Tx) (err error) {
			left, err = tx.OneTimeKeys(ctx, owner)
			return err
		})
		check(t, left, map[string]map[string][]byte{"b": {"K0": []byte(`{"key":"0"}`)}})
	})
}

// Many claim at the same time, and none gets what another has got.
func TestA27ConcurrentClaims(t *testing.T) {
	eachStore(t, func(t *testing.T, d *store.DB) {
		owner := store.OwnerOf(alice, "DEV")
		write(t, d, func(ctx context.Context, tx *store.Tx) error { return tx.AddOneTimeKeys(ctx, owner, "a", keys(0, 40)) })
		var mu sync.Mutex
		var given []string
		var group sync.WaitGroup
		for range 60 {
			group.Go(func() {
				var got map[store.Owner]store.OneTimeKey
				err := d.Write(context.Background(), func(tx *store.Tx) (err error) {
					got, err = tx.ClaimOneTimeKeys(context.Background(), "a", []store.Owner{owner})
					return err
				})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if key, ok := got[owner]; ok {
					given = append(given, key.ID)
				}
			})
		}
		group.Wait()
		slices.Sort(given)
		if len(given) != 40 || len(slices.Compact(given)) != 40 {
			t.Errorf("%d keys given out of 40, some twice: %v", len(given), given)
		}
	})
}

func TestFallbackKeys(t *testing.T) {
	eachStore(t, func(t *testing.T, d *store.DB) {
		owner := store.OwnerOf(alice, "DEV")
		set := func(key store.OneTimeKey) {
			write(t, d, func(ctx context.Context, tx *store.Tx) error { return tx.SetFallbackKey(ctx, owner, "a", key) })
		}
		use := func() (got map[store.Owner]store.OneTimeKey) {
			write(t, d, func(ctx context.Context, tx *store.Tx) (err error) {
				got, err = tx.UseFallbackKeys(ctx, "a", []store.Owner{owner, "@nobody:here.test X"})
				return err
			})
			return got
		}
		unused := func() (got []string) {
			read(t, d, func(ctx context.Context, tx *store.Tx) (err error) {
				got, err = tx.UnusedFallbackKeys(ctx, owner)
				return err
			})
			return got
		}
		first, second := keys(1, 2)[0], keys(2, 3)[0]
		set(first)
		check(t, unused(), []string{"a"})
		check(t, use(), map[store.Owner]store.OneTimeKey{owner: first})
		check(t, use(), map[store.Owner]store.OneTimeKey{owner: first}) // again and again
		check(t, len(unused()), 0)
		set(first)
		check(t, len(unused()), 0) // the same key again is still used
		set(second)
		check(t, unused(), []string{"a"})
	})
}

func TestToDeviceQueue(t *testing.T) {
	eachStore(t, func(t *testing.T, d *store.DB) {
		a, b := store.OwnerOf(alice, "DEV"), store.OwnerOf(alice, `odd " \ ☃ device`)
		strange := []byte(`{"content":{"zero":"\u0000","lone":"\ud800","html":"<&>","e":1e3,"snow":"☃"}}`)
		var first, second int64
		write(t, d, func(ctx context.Context, tx *store.Tx) (err error) {
			first, err = tx.AddToDevice(ctx, map[store.Owner][]byte{a: []byte(`{"n":1}`), b: []byte(`{"s":"\" \\ ☃ \u00e9"}`)})
			return err
		})
		write(t, d, func(ctx context.Context, tx *store.Tx) (err error) {
			second, err = tx.AddToDevice(ctx, map[store.Owner][]byte{a: strange})
			return err
		})
		list := func(owner store.Owner, after, upTo int64) (got []string) {
			read(t, d, func(ctx context.Context, tx *store.Tx) error {
				messages, err := tx.ToDevice(ctx, owner, after, upTo, 10)
				for _, m := range messages {
					got = append(got, string(m.Event))
				}
				return err
			})
			return got
		}
		check(t, list(a, 0, second), []string{`{"n":1}`, string(strange)})
		check(t, list(a, 0, first), []string{`{"n":1}`})
		check(t, list(a, first, second), []string{string(strange)})
		check(t, list(b, 0, second), []string{`{"s":"\" \\ ☃ \u00e9"}`})
		write(t, d, func(ctx context.Context, tx *store.Tx) error { return tx.DropToDevice(ctx, a, first) })
		check(t, list(a, 0, second), []string{string(strange)})
		check(t, len(list(b, 0, second)), 1)
	})
}

func TestToDeviceSeenOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, d *store.DB) {
		seen := func(source, txn string) (isNew bool) {
			write(t, d, func(ctx context.Context, tx *store.Tx) (err error) {
				isNew, err = tx.SeenToDevice(ctx, source, txn, 1000)
				return err
			})
			return isNew
		}
		check(t, []bool{seen("s", "1"), seen("s", "1"), seen("s", "2"), seen("other", "1"), seen("s", "\x00")},
			[]bool{true, false, true, true, true})
		write(t, d, func(ctx context.Context, tx *store.Tx) error { return tx.ForgetSeenToDevice(ctx, 1001) })
		check(t, seen("s", "1"), true)
	})
}

func TestDeviceUpdatesReferToEachOther(t *testing.T) {
	eachStore(t, func(t *testing.T, d *store.DB) {
		var last int64
		change := func(devices ...id.DeviceID) {
			write(t, d, func(ctx context.Context, tx *store.Tx) (err error) {
				last, err = tx.DeviceListChanged(ctx, alice, devices...)
				return err
			})
		}
		change("A")
		change("B", "C")
		change() // cross-signing keys
		change("A")
		var updates []store.DeviceUpdate
		var stream int64
		read(t, d, func(ctx context.Context, tx *store.Tx) (err error) {
			if updates, err = tx.DeviceUpdates(ctx, 0, last, 100); err != nil {
				return err
			}
			stream, err = tx.DeviceStreamID(ctx, alice)
			return err
		})
		if len(updates) != 5 {
			t.Fatalf("%d updates", len(updates))
		}
		prev := int64(0)
		for _, u := range updates {
			if u.Device == "" {
				continue
			}
			if u.Prev != prev {
				t.Errorf("update %d of %s follows %d, want %d", u.Pos, u.Device, u.Prev, prev)
			}
			prev = u.Pos
		}
		check(t, stream, prev)
		for range 100 {
			change("A")
		}
		read(t, d, func(ctx context.Context, tx *store.Tx) (err error) {
			updates, err = tx.DeviceUpdates(ctx, 0, last, 1000)
			return err
		})
		check(t, len(updates), 64)
	})
}

func TestKeyBackupVersions(t *testing.T) {
	eachStore(t, func(t *testing.T, d *store.DB) {
		var first, second int64
		write(t, d, func(ctx context.Context, tx *store.Tx) (err error) {
			if first, err = tx.AddKeyBackup(ctx, alice, "x", []byte(`{}`)); err != nil {
				return err
			}
			second, err = tx.AddKeyBackup(ctx, alice, "y", []byte(`{}`))
			return err
		})
		session := store.BackupSession{Room: "!r:x", Session: "s", FirstMessageIndex: 1, Verified: true, Data: []byte(`{}`)}
		write(t, d, func(ctx context.Context, tx *store.Tx) error {
			other := session
			other.Session = "t"
			return errors.Join(tx.SetBackupSession(ctx, alice, second, session), tx.SetBackupSession(ctx, alice, second, other),
				tx.SetBackupSession(ctx, alice, first, session))
		})
		read(t, d, func(ctx context.Context, tx *store.Tx) error {
			b, err := tx.KeyBackup(ctx, alice, 0)
			check(t, b, store.KeyBackup{Version: second, Algorithm: "y", AuthData: []byte(`{}`)})
			if _, err := tx.KeyBackup(ctx, bob, 0); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("a backup nobody made: %v", err)
			}
			got, err2 := tx.BackupSessions(ctx, alice, second, store.BackupSession{Room: "!r:x", Session: "s"}, "", 10)
			if len(got) != 1 || got[0].Session != "t" {
				t.Errorf("the page after s: %v", got)
			}
			one, err3 := tx.BackupSession(ctx, alice, second, "!r:x", "s")
			check(t, one, session)
			return errors.Join(err, err2, err3)
		})
		write(t, d, func(ctx context.Context, tx *store.Tx) error { return tx.DropKeyBackup(ctx, alice, second) })
		write(t, d, func(ctx context.Context, tx *store.Tx) error {
			b, err := tx.KeyBackup(ctx, alice, 0)
			check(t, b.Version, first)
			third, err2 := tx.AddKeyBackup(ctx, alice, "z", []byte(`{}`))
			check(t, third, second+1) // a number is not used again
			return errors.Join(err, err2)
		})
	})
}

func TestReceiptsReplaceEachOther(t *testing.T) {
	eachStore(t, func(t *testing.T, d *store.DB) {
		r := store.Receipt{Room: "!r:x", User: alice, Kind: "m.read", Event: "$1", TS: 7}
		private, thread, next := r, r, r
		private.Kind, thread.Thread, next.Event = "m.read.private", "main", "$2"
		var pos int64
		for _, receipt := range []store.Receipt{r, private, thread, next} {
			write(t, d, func(ctx context.Context, tx *store.Tx) (err error) {
				pos, err = tx.SetReceipt(ctx, receipt, true)
				return err
			})
		}
		list := func(user id.UserID) (got []string) {
			read(t, d, func(ctx context.Context, tx *store.Tx) error {
				all, err := tx.Receipts(ctx, user, []id.RoomID{"!r:x", "!s:x"}, 0, pos)
				for _, r := range all {
					got = append(got, r.Kind+" "+r.Thread+" "+string(r.Event))
				}
				return err
			})
			return got
		}
		check(t, list(alice), []string{"m.read main $1", "m.read.private  $1", "m.read  $2"})
		check(t, list(bob), []string{"m.read main $1", "m.read  $2"})
		read(t, d, func(ctx context.Context, tx *store.Tx) error {
			out, err := tx.OutgoingReceipts(ctx, 0, pos, 10)
			check(t, len(out), 2)
			rooms, err2 := tx.RoomsWithReceipts(ctx, pos-1, pos)
			check(t, rooms, []id.RoomID{"!r:x"})
			return errors.Join(err, err2)
		})
	})
}

func TestPresenceIsKept(t *testing.T) {
	eachStore(t, func(t *testing.T, d *store.DB) {
		busy := "busy"
		p := store.Presence{User: alice, State: "online", StatusMsg: &busy, LastActive: 5, Active: true}
		write(t, d, func(ctx context.Context, tx *store.Tx) (err error) {
			p.Pos, err = tx.SetPresence(ctx, p)
			return err
		})
		read(t, d, func(ctx context.Context, tx *store.Tx) error {
			got, err := tx.Presence(ctx, alice)
			check(t, got, p)
			own, err2 := tx.Presences(ctx, alice, 0, p.Pos)
			check(t, own, []store.Presence{p})
			others, err3 := tx.Presences(ctx, bob, 0, p.Pos)
			check(t, len(others), 0) // they share no room
			return errors.Join(err, err2, err3)
		})
	})
}
