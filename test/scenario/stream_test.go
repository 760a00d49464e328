package scenario_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"konsil/test/harness"
)

// stream is people who send as fast as they can until the server is gone, and note what was acknowledged.
type stream struct {
	ctx   context.Context
	acks  chan struct{} // one per acknowledged message
	ended sync.WaitGroup

	mu  sync.Mutex
	log journal // guarded by mu
}

// journal is what became of messages: those acknowledged have an event ID, of the others nobody knows.
type journal struct {
	acknowledged map[string]string  // event ID by text
	unknown      map[string]attempt // by text
}

// attempt is what it takes to send a message again, so that it comes once.
type attempt struct {
	sender    *harness.Client
	room, txn string
}

// perSender bounds what one sender sends. It is below the rate limit of people, which begins at 500.
const perSender = 300

// startStream lets senders write "label N/M" into the room, each message after the last was acknowledged.
func startStream(t *testing.T, sender *harness.Client, room, label string, senders int) *stream {
	t.Helper()
	s := &stream{ctx: t.Context(), acks: make(chan struct{}, senders*perSender),
		log: journal{acknowledged: map[string]string{}, unknown: map[string]attempt{}}}
	for n := range senders {
		s.ended.Go(func() { s.send(t, sender, room, fmt.Sprintf("%s %d", label, n)) })
	}
	return s
}

// send ends when the server is gone, or slows the sender down.
func (s *stream) send(t *testing.T, sender *harness.Client, room, label string) {
	for m := range perSender / 3 {
		text := fmt.Sprintf("%s/%d", label, m)
		event, err := sender.Send(s.ctx, room, "m.room.message", text, map[string]string{"msgtype": "m.text", "body": text})
		s.mu.Lock()
		if err != nil {
			s.log.unknown[text] = attempt{sender, room, text}
		} else {
			s.log.acknowledged[text] = event
		}
		s.mu.Unlock()
		if err == nil {
			s.acks <- struct{}{}
			continue
		}
		if r, refused := harness.AsRefusal(err); refused && r.Status != http.StatusTooManyRequests {
			t.Errorf("%q: %v", text, err)
		}
		return
	}
}

// acknowledged waits until so many messages more were acknowledged.
func (s *stream) acknowledged(t *testing.T, n int) {
	t.Helper()
	late := time.After(time.Minute)
	for range n {
		select {
		case <-s.acks:
		case <-late:
			t.Fatalf("no %d messages were acknowledged within a minute", n)
		}
	}
}

// end waits for the senders, whose server is gone.
func (s *stream) end() journal {
	s.ended.Wait()
	return s.log
}

// add takes over what another journal says.
func (j *journal) add(other journal) {
	for text, event := range other.acknowledged {
		j.acknowledged[text] = event
		delete(j.unknown, text)
	}
	for text, a := range other.unknown {
		j.unknown[text] = a
	}
}

// retry sends what nobody knows of again under its old transaction ID, as clients do. base is where the server is now.
func (j *journal) retry(ctx context.Context, base string) error {
	for text, a := range j.unknown {
		a.sender.Base = base
		event, err := a.sender.Send(ctx, a.room, "m.room.message", a.txn, map[string]string{"msgtype": "m.text", "body": text})
		if err != nil {
			return fmt.Errorf("send %q again: %w", text, err)
		}
		j.acknowledged[text] = event
		delete(j.unknown, text)
	}
	return nil
}

// check reads the room: what was acknowledged is there, once, as the event that was named; of the rest each at most once.
func (j *journal) check(t *testing.T, reader *harness.Client, room string) {
	t.Helper()
	history, err := reader.History(t.Context(), room)
	if err != nil {
		t.Errorf("%s reads the room: %v", reader.User, err)
		return
	}
	j.compare(t, reader.User+"'s /messages", history)
}

func (j *journal) compare(t *testing.T, where string, events []harness.Event) {
	t.Helper()
	found := map[string][]string{} // event IDs by text
	for _, ev := range events {
		if body := ev.Message().Body; body != "" {
			found[body] = append(found[body], ev.ID)
		}
	}
	var lost, doubled, others []string
	for text, event := range j.acknowledged {
		switch ids := found[text]; {
		case len(ids) == 0:
			lost = append(lost, text)
		case len(ids) > 1:
			doubled = append(doubled, text)
		case ids[0] != event:
			others = append(others, text)
		}
	}
	for text := range j.unknown {
		if len(found[text]) > 1 {
			doubled = append(doubled, text)
		}
	}
	for what, texts := range map[string][]string{"lost": lost, "there twice": doubled, "there under another ID": others} {
		if slices.Sort(texts); len(texts) > 0 {
			t.Errorf("%s: of %d acknowledged messages %d are %s: %q", where, len(j.acknowledged), len(texts), what, texts[:min(len(texts), 10)])
		}
	}
}
