package scenario_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"konsil/kit/db/dbtest"
	"konsil/test/harness"
)

// TestC08KillLosesNothingAcknowledged kills the program again and again while people write, on a domain that federates with
// another of the same process. What was acknowledged is there afterwards, on both sides, once; what was not is sent again
// under its transaction ID and then is there once as well; and who follows /sync over all of it sees each once.
func TestC08KillLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	const rounds, senders, most = 6, 4, 150
	chance := newChance(t)
	up := harness.StartUp(t)
	anna := up.Client(t, "@anna.berg:klinik.localhost")
	clara := harness.NewPerson(up.Client(t, "@clara.ernst:praxis.localhost"))
	room := sharedRoom(t, anna, clara)

	sent := journal{acknowledged: map[string]string{}, unknown: map[string]attempt{}}
	for round := range rounds {
		stream := startStream(t, anna, room, fmt.Sprintf("round %d", round), senders)
		stream.acknowledged(t, 1+chance.IntN(most))
		up.Kill()
		sent.add(stream.end())
		up.Restart(t)
		anna.Base, clara.Base = up.Domain(t, "klinik.localhost").ClientAPI, up.Domain(t, "praxis.localhost").ClientAPI
		if round%2 == 0 { // sometimes the next kill comes before the client has tried again
			if err := sent.retry(t.Context(), anna.Base); err != nil {
				t.Fatal(err)
			}
		}
		if err := clara.Sync(t.Context(), 0); err != nil { // in the middle of catching up
			t.Fatal(err)
		}
	}
	if err := sent.retry(t.Context(), anna.Base); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d messages acknowledged over %d kills", len(sent.acknowledged), rounds)
	arrived(t, clara, room, sent)
	sent.check(t, anna, room)
	sent.check(t, clara.Client, room)
	sent.compare(t, "clara's /sync", clara.Timelines[room])
	if twice := clara.Twice(); len(twice) > 0 {
		t.Errorf("clara's /sync gave events twice: %v", twice)
	}
}

// TestC08KillOneSideOfAFederation kills two servers in turn that speak over real TLS while one writes to the other: what is on its
// way outlives its sender, its receiver and both. Once both keep their data in SQLite, once one of them in PostgreSQL.
func TestC08KillOneSideOfAFederation(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		killOneSide(t)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		killOneSide(t, "--database", dbtest.Postgres(t))
	})
}

// killOneSide takes arguments for the server that sends.
func killOneSide(t *testing.T, args ...string) {
	const rounds, senders, most = 6, 3, 60
	chance := newChance(t)
	network := harness.NewNetwork(t)
	west, east := network.Serve(t, args...), network.Serve(t)
	wanda, err := west.Register(t.Context(), "wanda", "a long enough password")
	if err != nil {
		t.Fatal(err)
	}
	client, err := east.Register(t.Context(), "erik", "a long enough password")
	if err != nil {
		t.Fatal(err)
	}
	erik := harness.NewPerson(client)
	room := sharedRoom(t, wanda, erik)

	sent := journal{acknowledged: map[string]string{}, unknown: map[string]attempt{}}
	for round := range rounds {
		stream := startStream(t, wanda, room, fmt.Sprintf("round %d", round), senders)
		stream.acknowledged(t, 1+chance.IntN(most))
		if round%3 != 0 { // the receiver, in the middle of a transaction
			east.Kill()
			stream.acknowledged(t, 1+chance.IntN(most))
		}
		if round%3 != 1 { // the sender, with a full queue
			west.Kill()
			sent.add(stream.end())
			west.Restart(t)
		} else {
			sent.add(stream.end())
		}
		if round%3 != 0 {
			east.Restart(t)
		}
		if err := sent.retry(t.Context(), west.ClientAPI); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d messages acknowledged over %d rounds", len(sent.acknowledged), rounds)
	arrived(t, erik, room, sent)
	sent.check(t, wanda, room)
	sent.check(t, erik.Client, room)
	sent.compare(t, "erik's /sync", erik.Timelines[room])
	if twice := erik.Twice(); len(twice) > 0 {
		t.Errorf("erik's /sync gave events twice: %v", twice)
	}
}

// newChance draws the moments of this run. The seed is printed when the test fails.
func newChance(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// sharedRoom makes a room of two people.
func sharedRoom(t *testing.T, host *harness.Client, guest *harness.Person) string {
	t.Helper()
	room, err := host.CreateRoom(t.Context(), map[string]any{"preset": "private_chat", "invite": []string{guest.User}})
	if err != nil {
		t.Fatal(err)
	}
	if err := guest.Until(t.Context(), "the invitation", func() bool { return guest.Invites[room] }); err != nil {
		t.Fatal(err)
	}
	if err := guest.Join(t.Context(), room); err != nil {
		t.Fatal(err)
	}
	return room
}

// arrived waits until the person has seen everything.
func arrived(t *testing.T, p *harness.Person, room string, sent journal) {
	t.Helper()
	missing := len(sent.acknowledged)
	err := p.Until(t.Context(), "all messages", func() bool {
		missing = len(sent.acknowledged)
		for _, ev := range p.Timelines[room] {
			if _, ok := sent.acknowledged[ev.Message().Body]; ok {
				missing--
			}
		}
		return missing <= 0
	})
	if err != nil {
		var texts []string
		for text := range sent.acknowledged {
			if _, ok := p.Find(room, text); !ok {
				texts = append(texts, text)
			}
		}
		slices.Sort(texts)
		t.Errorf("%v: %d are missing: %q", err, len(texts), texts[:min(len(texts), 10)])
	}
}
