package main

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"konsil/matrix/id"
)

// federation measures traffic with other servers, over real TLS. They are played by the generator, so that what is counted is
// one server's part.
func (b *bench) federation() error {
	s, err := b.serve()
	if err != nil {
		return err
	}
	people, err := b.people(s, "f", 2001)
	if err != nil {
		return err
	}
	f := outside{bench: b, s: s, people: people}
	for range 10 {
		p, err := b.newPeer()
		if err != nil {
			return err
		}
		defer p.close()
		f.peers = append(f.peers, p)
	}
	return errors.Join(f.receive(), f.send(1), f.send(10), f.joinRemote(), f.serveJoin())
}

type outside struct {
	*bench
	s      *server
	people []*user
	peers  []*peer
}

// room makes a room of ours with users of n peers in it.
func (f *outside) room(n int) (string, []*guest, error) {
	room, err := f.people[0].createRoom("Outside")
	if err != nil {
		return "", nil, err
	}
	var guests []*guest
	for _, p := range f.peers[:n] {
		g, err := p.joins(f.s, room, "guest")
		if err != nil {
			return "", nil, err
		}
		guests = append(guests, g)
	}
	return room, guests, nil
}

// receive takes transactions of 50 messages.
func (f *outside) receive() error {
	if !f.wants([]string{"PDU received", "PDUs received"}) {
		return nil
	}
	_, guests, err := f.room(1)
	if err != nil {
		return err
	}
	g := guests[0]
	const pdus = 50
	// Built before the clock starts: the sender's work is not ours.
	var ready [][]byte
	for range 6 * f.scale(10) {
		txn, err := g.transaction(pdus)
		if err != nil {
			return err
		}
		ready = append(ready, txn)
	}
	profile := f.profile
	f.profile = "" // the transactions are used up
	err = f.cost(f.s, load{name: "PDU received", rate: "PDUs received", ops: f.scale(10), per: pdus, op: func(_, i int) error {
		_, err := g.client.SendTransaction(f.ctx, id.ServerName(f.s.name), fmt.Sprint("txn", i), ready[i])
		return err
	}})
	f.profile = profile
	if err != nil || profile == "" {
		return err
	}
	return f.profiled(f.s, load{name: "PDU received", ops: 5, workers: 1, op: func(_, i int) error {
		txn, err := g.transaction(pdus)
		if err != nil {
			return err
		}
		_, err = g.client.SendTransaction(f.ctx, id.ServerName(f.s.name), fmt.Sprint("more", i), txn)
		return err
	}}, 0)
}

// send sends to n servers; an operation ends when all have the message.
func (f *outside) send(n int) error {
	l := load{name: "message, 1 server", ops: f.scale(100), latency: "message, 1 server", per: n}
	if n > 1 {
		l = load{name: fmt.Sprint("message, per server of ", n), ops: f.scale(60), per: n}
	}
	if !f.wants([]string{l.name}) {
		return nil
	}
	room, _, err := f.room(n)
	if err != nil {
		return err
	}
	counts := make([]int64, n)
	l.op = func(_, i int) error {
		for k, p := range f.peers[:n] {
			counts[k] = p.got.Load()
		}
		if _, err := f.people[0].say(room, fmt.Sprint("out", n, ".", i)); err != nil {
			return err
		}
		for k, p := range f.peers[:n] {
			if err := p.awaits(f.ctx, counts[k]+1); err != nil {
				return err
			}
		}
		return nil
	}
	return f.cost(f.s, l)
}

// joinRemote joins a room of 2,000 members on another server.
func (f *outside) joinRemote() error {
	if !f.wants([]string{"remote join, 2000 members", "remote join, 2000 members, usable"}) {
		return nil
	}
	var usable []float64
	p := f.peers[0]
	err := f.cost(f.s, load{name: "remote join, 2000 members", rounds: 3, ops: 1, op: func(_, i int) error {
		room, err := p.newRoom(fmt.Sprint("large", i), f.scale(2000))
		if err != nil {
			return err
		}
		began := time.Now()
		if _, err = f.people[1].call("POST", v3("join", string(room.id))+"?server_name="+url.QueryEscape(string(p.name)), []byte("{}")); err != nil {
			return err
		}
		if _, err = f.people[1].say(string(room.id), "hello"); err != nil {
			return err
		}
		usable = append(usable, time.Since(began).Seconds())
		return nil
	}})
	if err == nil {
		f.add("remote join, 2000 members, usable", slices.Min(usable), nil, "joined and a message sent")
	}
	return err
}

// serveJoin lets other servers join a room of ours with 2,000 state events.
func (f *outside) serveJoin() error {
	if !f.wants([]string{"served join, 2000 events"}) {
		return nil
	}
	room, err := f.people[0].createRoom("Large")
	if err != nil {
		return err
	}
	if err := parallel(16, f.scale(2000), func(_, i int) error { return f.people[i+1].join(room) }); err != nil {
		return err
	}
	return f.cost(f.s, load{name: "served join, 2000 events", rounds: 4, ops: 2, op: func(_, i int) error {
		g, err := f.peers[i%len(f.peers)].joins(f.s, room, fmt.Sprint("guest", i))
		if err == nil && g.state < f.scale(2000) {
			err = fmt.Errorf("the join brought %d state events", g.state)
		}
		return err
	}})
}
