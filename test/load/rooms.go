package main

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// rooms measures large rooms, many rooms and syncs.
func (b *bench) rooms() error {
	s, err := b.serve()
	if err != nil {
		return err
	}
	t := town{bench: b, s: s, many: b.scale(5000)}
	if t.people, err = b.people(s, "p", t.many+200); err != nil {
		return err
	}
	return errors.Join(t.manyRooms(), t.created(), t.syncs(), t.largeRooms(), t.history())
}

// town is what the operations of this part have in common.
type town struct {
	*bench
	s      *server
	many   int     // members of the largest room
	people []*user // as many, and newcomers
	rooms  []string
}

// manyRooms makes 1,000 rooms of 10 members; the first person is in 200 of them, with 20 messages in each.
func (t *town) manyRooms() error {
	if !t.wants([]string{"memory, 1000 rooms x 10", "initial sync, 200 rooms", "sync, nothing new", "send and sync", "send and sync, p50"}) {
		return nil
	}
	n := t.scale(1000)
	t.rooms = make([]string, n)
	err := parallel(16, n, func(_, i int) (err error) {
		owner := t.people[i%100+1]
		if t.rooms[i], err = owner.createRoom(fmt.Sprint("Ward ", i)); err != nil {
			return err
		}
		for k := range 9 {
			guest := t.people[(i+k*7)%100+101]
			if k == 0 && i < t.mine() {
				guest = t.people[0]
			}
			if err := guest.join(t.rooms[i]); err != nil {
				return err
			}
		}
		if i < t.mine() {
			for k := range 20 {
				if _, err := owner.say(t.rooms[i], fmt.Sprint("old", k)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := t.quiet(t.s); err != nil {
		return err
	}
	m, err := t.s.memory(t.ctx)
	if err != nil {
		return err
	}
	t.add("memory, 1000 rooms x 10", float64(m.resident)/(1<<20), nil, fmt.Sprintf("heap in use %.1f MiB; %d accounts", float64(m.heap)/(1<<20), len(t.people)))
	return nil
}

// mine is how many rooms the first person is in.
func (t *town) mine() int { return t.scale(200) }

func (t *town) created() error {
	return t.cost(t.s, load{name: "room created", ops: t.scale(60), op: func(_, i int) error {
		_, err := t.people[1].createRoom(fmt.Sprint("New room ", i))
		return err
	}})
}

func (t *town) syncs() error {
	if len(t.rooms) == 0 {
		return nil
	}
	anna := t.people[0]
	_, since, err := anna.sync("", 0)
	if err != nil {
		return err
	}
	writer := t.people[1] // made room 0
	return errors.Join(
		t.cost(t.s, load{name: "sync, nothing new", ops: t.scale(500), op: func(_, _ int) error {
			_, _, err := anna.sync(since, 0)
			return err
		}}),
		t.cost(t.s, load{name: "initial sync, 200 rooms", ops: t.scale(10), op: func(_, _ int) error {
			_, _, err := anna.sync("", 0)
			return err
		}}),
		t.sendAndSync(anna, writer, since),
	)
}

// sendAndSync is a message to somebody who waits for it. The latency is from the answer to the sender until it is there.
func (t *town) sendAndSync(reader, writer *user, since string) error {
	if !t.wants([]string{"send and sync", "send and sync, p50"}) {
		return nil
	}
	var after []time.Duration
	_, since, err := reader.sync("", 0)
	if err != nil {
		return err
	}
	err = t.cost(t.s, load{name: "send and sync", ops: t.scale(100), op: func(_, i int) error {
		type seen struct {
			next string
			at   time.Time
			err  error
		}
		got := make(chan seen, 1)
		txn := fmt.Sprint("sync", i)
		go func() {
			next, _, err := reader.until(since, "findings of ward 7 are in: "+txn+`"`)
			got <- seen{next, time.Now(), err}
		}()
		time.Sleep(3 * time.Millisecond) // until it waits
		if _, err := writer.say(t.rooms[0], txn); err != nil {
			return err
		}
		sent := time.Now()
		s := <-got
		since = s.next
		after = append(after, s.at.Sub(sent))
		return s.err
	}})
	if err != nil {
		return err
	}
	slices.Sort(after)
	t.add("send and sync, p50", ms(max(after[len(after)/2], 10*time.Microsecond)), nil, "after the answer to the sender")
	return nil
}

// largeRooms measures a room that grows from 100 to 300 to 5,000 members.
func (t *town) largeRooms() error {
	if !t.wants([]string{"message, 300 members", "delivery to 100", "delivery to 100, last", "delivery to 100, answers", "join, 300 members", "join, 5000 members"}) {
		return nil
	}
	owner := t.people[0]
	room, err := owner.createRoom("Everybody")
	if err != nil {
		return err
	}
	in := 1
	grow := func(to int) error {
		from := in
		in = max(in, to)
		return parallel(16, in-from, func(_, i int) error { return t.people[from+i].join(room) })
	}
	join := func(_, _ int) error {
		in++
		newcomer := t.people[(in-1)%len(t.people)]
		if in > len(t.people) { // only while a profile is taken: somebody comes back
			if _, err := newcomer.call("POST", v3("rooms", room, "leave"), []byte("{}")); err != nil {
				return err
			}
		}
		return newcomer.join(room)
	}
	if err := grow(100); err != nil {
		return err
	}
	if err := t.fanOut(room, t.people[:100]); err != nil {
		return err
	}
	if err := grow(280); err != nil {
		return err
	}
	if err := t.cost(t.s, load{name: "join, 300 members", rounds: 2, ops: t.scale(40), op: join}); err != nil {
		return err
	}
	if err := t.cost(t.s, load{name: "message, 300 members", ops: t.scale(200), op: func(_, i int) error {
		_, err := owner.say(room, fmt.Sprint("large", i))
		return err
	}}); err != nil {
		return err
	}
	if !t.wants([]string{"join, 5000 members"}) {
		return nil
	}
	if err := grow(t.many); err != nil {
		return err
	}
	return t.cost(t.s, load{name: "join, 5000 members", rounds: 2, ops: t.scale(40), op: join})
}

// fanOut sends a message to a room in which everybody waits. Each delivery is one answer and the next request.
func (t *town) fanOut(room string, people []*user) error {
	if !t.wants([]string{"delivery to 100", "delivery to 100, last", "delivery to 100, answers"}) {
		return nil
	}
	since := make([]string, len(people))
	err := parallel(8, len(people), func(_, i int) (err error) {
		_, since[i], err = people[i].sync("", 0)
		return err
	})
	if err != nil {
		return err
	}
	// The first sync has told of device lists and presence; one more, and nothing is left to tell.
	for range 2 {
		err := parallel(8, len(people), func(_, i int) (err error) {
			_, since[i], err = people[i].sync(since[i], 0)
			return err
		})
		if err != nil {
			return err
		}
	}
	var last []time.Duration
	answers := 0
	err = t.cost(t.s, load{name: "delivery to 100", ops: t.scale(10), per: len(people), op: func(_, i int) error {
		txn := fmt.Sprint("fan", i)
		text := "findings of ward 7 are in: " + txn + `"`
		at, counts := make([]time.Time, len(people)), make([]int, len(people))
		var sent time.Time
		err := parallel(len(people)+1, len(people)+1, func(_, k int) (err error) {
			if k < len(people) {
				since[k], counts[k], err = people[k].until(since[k], text)
				at[k] = time.Now()
				return err
			}
			time.Sleep(25 * time.Millisecond) // until all wait
			sent = time.Now()
			_, err = people[0].say(room, txn)
			return err
		})
		last = append(last, slices.MaxFunc(at, time.Time.Compare).Sub(sent))
		answers = max(answers, slices.Max(counts))
		return err
	}})
	if err != nil {
		return err
	}
	slices.Sort(last)
	t.add("delivery to 100, last", ms(last[len(last)/2]), nil, "from the send, median")
	t.add("delivery to 100, answers", float64(answers), nil, "the most that one client got for one message")
	return nil
}

// history reads a room of 1,000 messages backwards, in pages of 100 as clients do.
func (t *town) history() error {
	if !t.wants([]string{"history of 1000"}) {
		return nil
	}
	anna := t.people[3]
	room, err := anna.createRoom("Long")
	if err != nil {
		return err
	}
	if err := parallel(16, 1000, func(_, i int) error {
		_, err := anna.say(room, fmt.Sprint("long", i))
		return err
	}); err != nil {
		return err
	}
	return t.cost(t.s, load{name: "history of 1000", ops: t.scale(10), op: func(_, _ int) error {
		for from, page := "", 0; page < 10; page++ {
			query := url.Values{"dir": {"b"}, "limit": {"100"}}
			if from != "" {
				query.Set("from", from)
			}
			var err error
			if from, err = anna.field("end", "GET", v3("rooms", room, "messages")+"?"+query.Encode(), nil); err != nil {
				return err
			}
		}
		return nil
	}})
}
