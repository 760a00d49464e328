package main

import (
	"errors"
	"fmt"
)

// messages measures sending, by few and by many, and the smallest requests there are.
func (b *bench) messages() error {
	s, err := b.serve()
	if err != nil {
		return err
	}
	const most = 64
	people, err := b.people(s, "sender", most)
	if err != nil {
		return err
	}
	own := make([]string, most)
	if err := parallel(8, most, func(_, i int) (err error) {
		own[i], err = people[i].createRoom(fmt.Sprint("Room of ", i))
		return err
	}); err != nil {
		return err
	}
	alone := func(worker, i int) error {
		_, err := people[worker].say(own[worker], fmt.Sprint("alone", worker, ".", i))
		return err
	}
	for _, u := range people[1:8] {
		if err := u.join(own[0]); err != nil {
			return err
		}
	}
	together := func(worker, i int) error {
		_, err := people[worker].say(own[0], fmt.Sprint("together", worker, ".", i))
		return err
	}
	anna := people[0]
	return errors.Join(
		b.cost(s, load{name: "message", latency: "message", rate: "messages, 1 sender", ops: b.scale(400), op: alone}),
		b.cost(s, load{name: "message, 8 rooms", rate: "messages, 8 senders", ops: b.scale(800), workers: 8, op: alone}),
		b.cost(s, load{name: "message, 64 rooms", rate: "messages, 64 senders", ops: b.scale(1600), workers: 64, op: alone}),
		b.cost(s, load{name: "message, 8 in a room", rate: "messages, 8 in a room", ops: b.scale(800), workers: 8, op: together}),
		b.cost(s, load{name: "whoami", ops: b.scale(2000), op: func(_, _ int) error {
			_, err := anna.call("GET", v3("account", "whoami"), nil)
			return err
		}}),
		b.cost(s, load{name: "login", ops: b.scale(100), note: "hash made cheap", op: func(_, i int) error {
			_, err := anna.call("POST", v3("login"), map[string]any{"type": "m.login.password", "device_id": fmt.Sprint("D", i%3),
				"identifier": map[string]string{"type": "m.id.user", "user": "sender0"}, "password": "wonderland-sender0"})
			return err
		}}),
	)
}
