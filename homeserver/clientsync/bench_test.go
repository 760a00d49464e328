package clientsync_test

import (
	"context"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"konsil/homeserver/clientsync"
	"konsil/homeserver/room"
	"konsil/matrix/id"
)

// cpu is the processor time this program has used, which other programs on the machine do not change.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportCPU reports the processor time of a benchmark, per operation.
func reportCPU(b *testing.B, start time.Duration, operations int) {
	b.ReportMetric(float64((cpu()-start).Microseconds())/float64(operations), "cpu-µs/op")
}

// wards makes a user with rooms, each with some members and messages, without going through HTTP.
func wards(b *testing.B, d *domain, rooms, members, messages int) (*client, []id.RoomID) {
	b.Helper()
	ctx := context.Background()
	alice := d.user("alice")
	var all []id.RoomID
	for i := range rooms {
		made, err := d.rooms.Create(ctx, room.CreateRequest{Creator: alice.user, Preset: "public_chat", Name: fmt.Sprintf("Ward %d", i)})
		if err != nil {
			b.Fatal(err)
		}
		for m := range members - 1 {
			user := id.UserID(fmt.Sprintf("@member%d:here.test", m))
			if _, err := d.rooms.Join(ctx, room.MembershipChange{Room: made.Room, Sender: user, Target: user}); err != nil {
				b.Fatal(err)
			}
		}
		for m := range messages {
			say(b, d, made.Room, alice.user, fmt.Sprintf("message %d", m))
		}
		all = append(all, made.Room)
	}
	return alice, all
}

func say(b *testing.B, d *domain, in id.RoomID, sender id.UserID, text string) {
	b.Helper()
	d.txn++
	_, err := d.rooms.Send(context.Background(), room.Draft{Room: in, Sender: sender, Type: "m.room.message",
		Content: []byte(fmt.Sprintf(`{"msgtype":"m.text","body":%q}`, text)), Device: "X", TxnScope: "send", TxnID: fmt.Sprint(d.txn)})
	if err != nil {
		b.Fatal(err)
	}
}

func (c *client) request(since string) clientsync.Request {
	return clientsync.Request{User: c.user, Device: c.device, Since: since, Presence: "offline"}
}

func position(d *domain) string { return fmt.Sprintf("s%d", d.store.Position()) }

func mustSync(b *testing.B, d *domain, req clientsync.Request) []byte {
	b.Helper()
	body, err := d.sync.Sync(context.Background(), req)
	if err != nil {
		b.Fatal(err)
	}
	return body
}

// BenchmarkNothingNew: budget 0.1 ms, whatever the number of rooms. "elsewhere" is a busy domain, where the position moves on.
func BenchmarkNothingNew(b *testing.B) {
	for _, rooms := range []int{2, 200} {
		d := newDomain(b)
		alice, _ := wards(b, d, rooms, 1, 1)
		other, elsewhere := d.user("other"), id.RoomID("")
		made, err := d.rooms.Create(context.Background(), room.CreateRequest{Creator: other.user, Preset: "public_chat"})
		if err != nil {
			b.Fatal(err)
		}
		elsewhere = made.Room
		mustSync(b, d, alice.request(""))
		b.Run(fmt.Sprintf("%d rooms/idle", rooms), func(b *testing.B) {
			since, start := position(d), cpu()
			for b.Loop() {
				mustSync(b, d, alice.request(since))
			}
			reportCPU(b, start, b.N)
		})
		b.Run(fmt.Sprintf("%d rooms/elsewhere", rooms), func(b *testing.B) {
			since := position(d)
			for range 20 {
				say(b, d, elsewhere, other.user, "x")
			}
			start := cpu()
			for b.Loop() {
				mustSync(b, d, alice.request(since))
			}
			reportCPU(b, start, b.N)
		})
	}
}

// BenchmarkInitialSync of 200 rooms: budget 50 ms.
func BenchmarkInitialSync(b *testing.B) {
	d := newDomain(b)
	alice, _ := wards(b, d, 200, 5, 20)
	for name, filter := range map[string]string{
		"all members": "", "lazy": `{"room":{"timeline":{"limit":20},"state":{"lazy_load_members":true}}}`,
	} {
		b.Run(name, func(b *testing.B) {
			req := alice.request("")
			req.Filter = filter
			mustSync(b, d, req)
			start := cpu()
			var size int
			for b.Loop() {
				size = len(mustSync(b, d, req))
			}
			reportCPU(b, start, b.N)
			b.ReportMetric(float64(size)/1024, "KiB")
		})
	}
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			d.restart()
			b.StartTimer()
			start := cpu()
			mustSync(b, d, alice.request(""))
			reportCPU(b, start, 1)
		}
	})
}

// BenchmarkFanOut: a message to 100 waiting members; budget 0.2 ms per delivery.
func BenchmarkFanOut(b *testing.B) {
	const waiters = 100
	d := newDomain(b)
	alice, rooms := wards(b, d, 1, 1, 1)
	in := rooms[0]
	var members []*client
	for i := range waiters {
		c := d.user(fmt.Sprintf("waiter%d", i))
		if _, err := d.rooms.Join(context.Background(), room.MembershipChange{Room: in, Sender: c.user, Target: c.user}); err != nil {
			b.Fatal(err)
		}
		mustSync(b, d, c.request(""))
		members = append(members, c)
	}
	var took, sent time.Duration
	rounds := 0
	for b.Loop() {
		since := position(d)
		answers := make(chan int, waiters)
		ready := make(chan bool, waiters)
		for _, c := range members {
			go func() {
				req := c.request(since)
				req.Timeout = time.Minute
				ready <- true
				body, err := d.sync.Sync(context.Background(), req)
				if err != nil {
					b.Error(err)
				}
				answers <- len(body)
			}()
		}
		for range members {
			<-ready
		}
		time.Sleep(5 * time.Millisecond) // all of them are waiting now
		start := cpu()
		say(b, d, in, alice.user, "to everybody")
		sent += cpu() - start
		for range members {
			<-answers
		}
		took += cpu() - start
		rounds++
	}
	b.ReportMetric(float64(took.Microseconds())/float64(rounds*waiters), "cpu-µs/delivery")
	b.ReportMetric(float64(sent.Microseconds())/float64(rounds), "cpu-µs/send")
}

// BenchmarkWaiter measures what a waiting client holds in memory, without its connection: budget 20 KiB.
func BenchmarkWaiter(b *testing.B) {
	d := newDomain(b)
	alice, _ := wards(b, d, 200, 1, 1)
	mustSync(b, d, alice.request(""))
	for b.Loop() {
		const waiters = 1000
		ctx, cancel := context.WithCancel(context.Background())
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		done := make(chan bool, waiters)
		for range waiters {
			go func() {
				req := alice.request(position(d))
				req.Timeout = time.Minute
				_, _ = d.sync.Sync(ctx, req)
				done <- true
			}()
		}
		time.Sleep(time.Second)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse)/waiters/1024, "KiB/waiter")
		cancel()
		for range waiters {
			<-done
		}
	}
}
