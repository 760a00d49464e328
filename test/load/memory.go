package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"konsil/homeserver"
	"konsil/matrix/id"
)

// diskAndStarts measures what messages take on disk, and how soon a server with a past serves again.
func (b *bench) diskAndStarts() error {
	s, err := b.serve()
	if err != nil {
		return err
	}
	people, err := b.people(s, "d", 9)
	if err != nil {
		return err
	}
	rooms := make([]string, 8)
	for i := range rooms {
		if rooms[i], err = people[i].createRoom(fmt.Sprint("Ward ", i)); err != nil {
			return err
		}
		if err := people[8].join(rooms[i]); err != nil {
			return err
		}
	}
	n := b.scale(10000)
	say := func(from int) error {
		return parallel(8, n, func(w, i int) error {
			_, err := people[w].say(rooms[w], fmt.Sprint("disk", from+i))
			return err
		})
	}
	// A tenth beforehand, so that no table is empty.
	if err := say(-n); err != nil {
		return err
	}
	s.stop()
	before, err := s.diskBytes()
	if err != nil {
		return err
	}
	if err := s.restart(b); err != nil {
		return err
	}
	if err := say(0); err != nil {
		return err
	}
	s.stop()
	after, err := s.diskBytes()
	if err != nil {
		return err
	}
	b.add("disk per message", float64(after-before)/float64(n)/1024, nil, fmt.Sprintf("%d messages", n))
	return b.starts(s, people[8], rooms[0])
}

// starts starts the server again and again.
func (b *bench) starts(s *server, reader *user, room string) error {
	var up, used []float64
	for i := range 5 {
		reader.http = connections()
		if err := s.restart(b); err != nil {
			return err
		}
		up = append(up, time.Since(s.began).Seconds())
		if _, _, err := reader.sync("", 0); err != nil {
			return err
		}
		if _, err := reader.say(room, fmt.Sprint("again", i)); err != nil {
			return err
		}
		used = append(used, time.Since(s.began).Seconds())
		s.stop()
	}
	b.add("start", slices.Min(up), up, "until /versions answers")
	b.add("start, first sync and send", slices.Min(used), used, "20,000 events stored")
	return nil
}

// memory measures what it takes to be there.
func (b *bench) memory() error {
	return errors.Join(b.memoryUp(), b.memoryWaiting(), b.memoryDomains())
}

// memoryUp is `konsil up` when it has just started: all houses, nobody there.
func (b *bench) memoryUp() error {
	if !b.wants([]string{"memory, up"}) {
		return nil
	}
	dir, err := os.MkdirTemp(b.dir, "up-")
	if err != nil {
		return err
	}
	s := &server{dir: filepath.Join(dir, "data"), args: []string{"up", "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0"}}
	if err := s.start(b); err != nil {
		return err
	}
	for range 1000 {
		var state struct {
			Ready bool `json:"ready"`
		}
		raw, err := os.ReadFile(filepath.Join(s.dir, "up.json"))
		if err == nil && json.Unmarshal(raw, &state) == nil && state.Ready {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := b.quiet(s); err != nil {
		return err
	}
	resident, err := residentBytes(s.pid())
	if err != nil {
		return err
	}
	s.stop()
	b.add("memory, up", float64(resident)/(1<<20), nil, "resident, just started")
	return nil
}

// memoryWaiting is a thousand users who wait for news, each on a connection of their own.
func (b *bench) memoryWaiting() error {
	if !b.wants([]string{"memory per waiting client"}) {
		return nil
	}
	s, err := b.serve()
	if err != nil {
		return err
	}
	n := b.scale(1000)
	people, err := b.people(s, "w", n)
	if err != nil {
		return err
	}
	since := make([]string, n)
	sync1 := func(_, i int) (err error) {
		for range 2 {
			if _, since[i], err = people[i].sync(since[i], 0); err != nil {
				return err
			}
		}
		return nil
	}
	if err := parallel(16, n, sync1); err != nil {
		return err
	}
	people[0].http.CloseIdleConnections()
	before, err := s.memory(b.ctx)
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { _, _, _ = people[i].sync(since[i], time.Minute) }) // they end with the server
	}
	time.Sleep(time.Second) // until all wait
	if err := b.quiet(s); err != nil {
		return err
	}
	after, err := s.memory(b.ctx)
	s.end()
	all.Wait()
	if err != nil {
		return err
	}
	b.add("memory per waiting client", float64(after.resident-before.resident)/1024/float64(n), nil,
		fmt.Sprintf("resident, %d clients; heap in use %.1f KiB each", n, float64(after.heap-before.heap)/1024/float64(n)))
	return nil
}

// memoryDomains is a server with ten thousand domains, of which a hundred are awake.
func (b *bench) memoryDomains() error {
	if !b.wants([]string{"memory per awake domain", "memory per sleeping domain", "start, 10000 domains"}) {
		return nil
	}
	s, err := b.serve() // with one domain, to compare with
	if err != nil {
		return err
	}
	alone, err := s.memory(b.ctx)
	if err != nil {
		return err
	}
	s.stop()
	sleeping, awake := b.scale(10000), b.scale(100)
	if err := b.addDomains(s, sleeping); err != nil {
		return err
	}
	if err := s.restart(b); err != nil {
		return err
	}
	took := time.Since(s.began)
	asleep, err := s.memory(b.ctx)
	if err != nil {
		return err
	}
	h := connections()
	err = parallel(4, awake, func(_, i int) error {
		req, err := http.NewRequestWithContext(b.ctx, http.MethodGet, s.client+"/_matrix/client/v3/login", nil)
		if err != nil {
			return err
		}
		req.Host = domainName(i)
		resp, err := h.Do(req)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			err = errors.New(resp.Status)
		}
		return errors.Join(err, resp.Body.Close())
	})
	if err != nil {
		return err
	}
	up, err := s.memory(b.ctx)
	if err != nil {
		return err
	}
	b.add("memory per sleeping domain", max(0.001, float64(asleep.resident-alone.resident)/1024/float64(sleeping)), nil, fmt.Sprintf("resident, %d domains", sleeping))
	b.add("memory per awake domain", float64(up.resident-asleep.resident)/1024/float64(awake), nil,
		fmt.Sprintf("resident, %d domains; heap in use %.0f KiB each", awake, float64(up.heap-asleep.heap)/1024/float64(awake)))
	b.add("start, 10000 domains", took.Seconds(), nil, fmt.Sprintf("%d domains", sleeping))
	return nil
}

func domainName(i int) string { return fmt.Sprintf("praxis%d.example", i) }

// addDomains registers domains in a stopped server's registry.
func (b *bench) addDomains(s *server, n int) error {
	cfg := homeserver.Config{DataDir: s.dir}
	if s.pg != nil {
		cfg.Database = s.pg.URL
	}
	host, err := homeserver.Open(b.ctx, cfg)
	if err != nil {
		return err
	}
	err = parallel(64, n, func(_, i int) error {
		return host.Add(b.ctx, id.ServerName(domainName(i)), homeserver.Ordinary, true)
	})
	return errors.Join(err, host.Close())
}
