package federation_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"konsil/homeserver/federation"
	"konsil/kit/clock"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
	"konsil/matrix/sign"
)

// signedBy makes an event of a room nobody has, which is all that signatures are about.
func signedBy(t *testing.T, version string, server id.ServerName, key sign.Key, at time.Time) *event.PDU {
	t.Helper()
	v, _ := roomver.Get(version)
	tmpl := event.Template{RoomID: "!room:anywhere.test", Sender: id.UserID("@u:" + string(server)), Type: "m.room.message",
		Content: []byte(`{"body":"x"}`), PrevEvents: []id.EventID{"$prev:anywhere.test"}, AuthEvents: []id.EventID{"$auth:anywhere.test"},
		Depth: 5, OriginServerTS: at.UnixMilli()}
	if !v.HashedEventIDs() {
		tmpl.ID = id.EventID("$made:" + string(server))
	}
	ev, err := event.Build(v, tmpl, server, key)
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

// fakeTime replaces the world's clock, before servers are made.
func fakeTime(w *world) *clock.Fake {
	c := clock.NewFake(time.Now())
	w.clock = c
	return c
}

// A05: an unknown key is asked for once, then not for a while; a storm of forgeries causes no storm of requests.
func TestA05ForgedSignaturesCauseNoRequestStorm(t *testing.T) {
	w := newWorld(t)
	now := fakeTime(w)
	us, other := w.server("us"), w.stranger("other")
	forger, err := sign.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forger.ID = "ed25519:unknown"
	for range 20 {
		var evs []*event.PDU
		for i := range 50 {
			evs = append(evs, signedBy(t, "11", other.name, forger, now.Now().Add(time.Duration(i)*time.Millisecond)))
		}
		for _, err := range us.fed.Keys.VerifyPDUs(ctx, evs) {
			if err == nil {
				t.Fatal("a forged event passed")
			}
		}
	}
	if n := other.requests("key"); n != 1 {
		t.Errorf("%d key requests for 1,000 forged events, want 1", n)
	}
	// A good signature still passes, by the key that came with that one request.
	if err := us.fed.Keys.VerifyPDU(ctx, signedBy(t, "11", other.name, other.key, now.Now())); err != nil {
		t.Errorf("a good event after forged ones: %v", err)
	}
	// Signed with the right key ID, but by somebody else.
	forger.ID = other.key.ID
	if us.fed.Keys.VerifyPDU(ctx, signedBy(t, "11", other.name, forger, now.Now())) == nil {
		t.Error("a wrong signature passed")
	}
}

func TestA05ServersWithoutKeysAreAskedLessAndLess(t *testing.T) {
	w := newWorld(t)
	now := fakeTime(w)
	us, other := w.server("us"), w.stranger("other")
	other.handle("key", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNotFound) })
	for range 24 * 6 { // a day, every ten minutes
		if us.fed.Keys.VerifyPDU(ctx, signedBy(t, "11", other.name, other.key, now.Now())) == nil {
			t.Fatal("verified without a key")
		}
		now.Advance(10 * time.Minute)
	}
	if n := other.requests("key"); n < 5 || n > 35 {
		t.Errorf("asked %d times in a day, want about once per hour", n)
	}
}

// A06: from room version 5 on a key counts for events within its validity only, cut to seven days after we got it; older
// versions do not look at times at all.
func TestA06KeyValidityByRoomVersion(t *testing.T) {
	for _, c := range []struct {
		version string
		until   time.Duration // valid_until after now
		at      time.Duration // of the event, after now
		good    bool
	}{
		{"11", 24 * time.Hour, 0, true},
		{"11", 24 * time.Hour, -365 * 24 * time.Hour, true},
		{"11", 24 * time.Hour, 25 * time.Hour, false},
		{"11", 30 * 24 * time.Hour, 8 * 24 * time.Hour, false}, // no more than seven days
		{"11", 30 * 24 * time.Hour, 6 * 24 * time.Hour, true},
		{"11", -time.Hour, -2 * time.Hour, true},
		{"11", -time.Hour, 0, false},
		{"4", -time.Hour, 0, true},
		{"4", 24 * time.Hour, 30 * 24 * time.Hour, true},
		{"1", -time.Hour, 0, true},
	} {
		t.Run(fmt.Sprintf("v%s until %v event %v", c.version, c.until, c.at), func(t *testing.T) {
			w := newWorld(t)
			now := fakeTime(w)
			us, other := w.server("us"), w.stranger("other")
			other.handle("key", func(rw http.ResponseWriter, _ *http.Request) {
				_, _ = rw.Write(other.document(other.name, now.Now().Add(c.until)))
			})
			err := us.fed.Keys.VerifyPDU(ctx, signedBy(t, c.version, other.name, other.key, now.Now().Add(c.at)))
			if (err == nil) != c.good {
				t.Errorf("verified: %v, want good %v", err, c.good)
			}
		})
	}
}

// A07: an answer with another server's keys, or signed by nobody, teaches nothing; a notary's answer needs both signatures.
func TestA07ForeignKeysInAnAnswerAreIgnored(t *testing.T) {
	t.Run("a server answers with another's keys", func(t *testing.T) {
		w := newWorld(t)
		us, liar, victim := w.server("us"), w.stranger("liar"), w.stranger("victim")
		liar.handle("key", func(rw http.ResponseWriter, _ *http.Request) {
			_, _ = rw.Write(liar.document(victim.name, time.Now().Add(time.Hour)))
		})
		if us.fed.Keys.VerifyPDU(ctx, signedBy(t, "11", liar.name, liar.key, time.Now())) == nil {
			t.Error("keys for another name counted")
		}
		if us.fed.Keys.VerifyPDU(ctx, signedBy(t, "11", victim.name, liar.key, time.Now())) == nil {
			t.Error("the liar's key became the victim's")
		}
	})
	for name, answer := range map[string]func(notary, other, victim *stranger) []byte{
		"with keys of another server": func(notary, _, victim *stranger) []byte {
			return cosign(notary, victim.document(victim.name, time.Now().Add(time.Hour)))
		},
		"not signed by the notary": func(_, other, _ *stranger) []byte {
			return other.document(other.name, time.Now().Add(time.Hour))
		},
		"not signed by the server": func(notary, other, _ *stranger) []byte {
			return cosign(notary, []byte(strings.Replace(string(other.document(other.name, time.Now().Add(time.Hour))), `"signatures":{"`+string(other.name), `"signatures":{"x`, 1)))
		},
	} {
		t.Run("a notary answers "+name, func(t *testing.T) {
			w := newWorld(t)
			notary, other, victim := w.stranger("notary"), w.stranger("other"), w.stranger("victim")
			us := w.server("us", func(cfg *federation.Config) { cfg.Notaries = []id.ServerName{notary.name} })
			serveNotary(notary, func() []byte { return answer(notary, other, victim) })
			other.handle("key", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })
			if us.fed.Keys.VerifyPDU(ctx, signedBy(t, "11", other.name, other.key, time.Now())) == nil {
				t.Error("the answer counted")
			}
		})
	}
}

func TestNotariesKnowKeysOfServersThatAreAway(t *testing.T) {
	w := newWorld(t)
	notary, other := w.stranger("notary"), w.stranger("other")
	us := w.server("us", func(cfg *federation.Config) { cfg.Notaries = []id.ServerName{notary.name} })
	serveNotary(notary, func() []byte { return cosign(notary, other.document(other.name, time.Now().Add(time.Hour))) })
	other.handle("key", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })
	if err := us.fed.Keys.VerifyPDU(ctx, signedBy(t, "11", other.name, other.key, time.Now())); err != nil {
		t.Error(err)
	}
}

func cosign(notary *stranger, document []byte) []byte {
	signed, err := sign.JSON(document, string(notary.name), notary.key)
	if err != nil {
		notary.t.Error(err)
	}
	return signed
}

func serveNotary(notary *stranger, answer func() []byte) {
	notary.handle("key", func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			fmt.Fprintf(rw, `{"server_keys":[%s]}`, answer())
			return
		}
		_, _ = rw.Write(notary.document(notary.name, time.Now().Add(time.Hour)))
	})
}

// Keys outlive a restart, and a rotation: events signed with the old key stay verifiable.
func TestKeysAreKept(t *testing.T) {
	w := newWorld(t)
	us, other := w.server("us"), w.stranger("other")
	old := signedBy(t, "11", other.name, other.key, time.Now())
	if err := us.fed.Keys.VerifyPDU(ctx, old); err != nil {
		t.Fatal(err)
	}
	us.restart()
	if err := us.fed.Keys.VerifyPDU(ctx, old); err != nil || other.requests("key") != 1 {
		t.Errorf("after a restart: %v, %d requests", err, other.requests("key"))
	}
	key, err := sign.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other.key = key
	if err := us.fed.Keys.VerifyPDU(ctx, signedBy(t, "11", other.name, other.key, time.Now())); err != nil {
		t.Errorf("a new key: %v", err)
	}
	us.restart()
	if err := us.fed.Keys.VerifyPDU(ctx, old); err != nil {
		t.Errorf("the old key was forgotten: %v", err)
	}
}

// A08: a request that is not signed for us by its origin, to the letter, is 401.
func TestA08RequestsThatAreNotProperlySigned(t *testing.T) {
	w := newWorld(t)
	us, other, third := w.server("us"), w.stranger("other"), w.stranger("third")
	const uri = "/_matrix/federation/v1/send/1"
	body := transaction(other.name, nil)
	header := func(change func(*sign.XMatrix)) []string {
		text, err := sign.SignRequest("PUT", uri, other.name, us.name, body, other.key)
		if err != nil {
			t.Fatal(err)
		}
		x, err := sign.ParseXMatrix(text)
		if err != nil {
			t.Fatal(err)
		}
		change(&x)
		return []string{x.String()}
	}
	good := header(func(*sign.XMatrix) {})
	forThird, err := sign.SignRequest("PUT", uri, other.name, third.name, body, other.key)
	if err != nil {
		t.Fatal(err)
	}
	byThird, err := sign.SignRequest("PUT", uri, other.name, us.name, body, third.key)
	if err != nil {
		t.Fatal(err)
	}
	withoutDestination, err := sign.SignRequest("PUT", uri, other.name, "", body, other.key)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		headers []string
		uri     string
		body    []byte
		status  int
	}{
		"good":                      {good, uri, body, 200},
		"scheme in another case":    {[]string{strings.Replace(good[0], "X-Matrix", "x-matrix", 1)}, uri, body, 200},
		"no header":                 {nil, uri, body, 401},
		"two headers":               {append(good, good...), uri, body, 401},
		"another scheme":            {[]string{"Bearer abc"}, uri, body, 401},
		"for another server":        {[]string{forThird}, uri, body, 401},
		"destination changed":       {[]string{strings.Replace(forThird, string(third.name), string(us.name), 1)}, uri, body, 401},
		"destination in upper case": {header(func(x *sign.XMatrix) { x.Destination = id.ServerName(strings.ToUpper(string(x.Destination))) }), uri, body, 401},
		"no destination":            {[]string{withoutDestination}, uri, body, 401},
		"destination left out":      {header(func(x *sign.XMatrix) { x.Destination = "" }), uri, body, 401},
		"key of another origin":     {[]string{byThird}, uri, body, 401},
		"another origin":            {header(func(x *sign.XMatrix) { x.Origin = third.name }), uri, body, 401},
		"ourselves as origin":       {header(func(x *sign.XMatrix) { x.Origin = us.name }), uri, body, 401},
		"unknown key":               {header(func(x *sign.XMatrix) { x.Key = "ed25519:nope" }), uri, body, 401},
		"signature cut":             {header(func(x *sign.XMatrix) { x.Sig = x.Sig[:10] }), uri, body, 401},
		"body changed":              {good, uri, transaction(third.name, nil), 401},
		"body missing":              {good, uri, nil, 401},
		"another path":              {good, uri + "2", body, 401},
		"query added":               {good, uri + "?a=b", body, 401},
	} {
		t.Run(name, func(t *testing.T) {
			if status, answer := other.raw(us.name, "PUT", c.uri, c.headers, c.body); status != c.status {
				t.Errorf("status %d, want %d: %s", status, c.status, answer)
			}
		})
	}
}

// raw sends a request as it is given.
func (s *stranger) raw(server id.ServerName, method, uri string, headers []string, body []byte) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "https://"+string(server)+uri, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range headers {
		req.Header.Add("Authorization", h)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer)
}

// signedRaw signs and sends a request.
func (s *stranger) signedRaw(server id.ServerName, method, uri string, body []byte) (int, string) {
	s.t.Helper()
	header, err := sign.SignRequest(method, uri, s.name, server, body, s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.raw(server, method, uri, []string{header}, body)
}

func TestKeysAndVersionAreServed(t *testing.T) {
	w := newWorld(t)
	us, other := w.server("us"), w.stranger("other")
	raw, err := other.client.ServerKeys(ctx, us.name)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := sign.ParseServerKeys(raw)
	if err != nil || keys.Server != us.name || !us.key.Public().Equal(keys.Verify[us.key.ID]) {
		t.Errorf("keys document: %v, %v", keys, err)
	}
	if left := time.Until(time.UnixMilli(keys.ValidUntil)); left < time.Hour {
		t.Errorf("valid for %v only", left)
	}
	// As a notary: the other server's keys with our signature; our own; nothing for who does not answer.
	third := w.stranger("third")
	for _, c := range []struct {
		server id.ServerName
		want   int
	}{{third.name, 1}, {us.name, 1}, {"nobody.localhost:1", 0}} {
		status, body := other.raw(us.name, "GET", "/_matrix/key/v2/query/"+string(c.server), nil, nil)
		var answer struct {
			Keys []json.RawMessage `json:"server_keys"`
		}
		if err := json.Unmarshal([]byte(body), &answer); status != 200 || err != nil || len(answer.Keys) != c.want {
			t.Fatalf("query for %s: %d %s", c.server, status, body)
		}
		for _, raw := range answer.Keys {
			if err := sign.VerifyJSON(raw, string(us.name), us.key.ID, us.key.Public()); err != nil {
				t.Errorf("not signed by the notary: %v", err)
			}
			if doc, err := sign.ParseServerKeys(raw); err != nil || doc.Server != c.server {
				t.Errorf("not the server's document: %v", err)
			}
		}
	}
	if _, _, err := other.client.Version(ctx, us.name); err != nil {
		t.Error(err)
	}
}

func TestUnknownEndpoints(t *testing.T) {
	w := newWorld(t)
	us, other := w.server("us"), w.stranger("other")
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/_matrix/federation/v1/nothing", 404}, {"GET", "/_matrix/federation/unknown", 404}, {"GET", "/_matrix/key/unknown", 404},
		{"POST", "/_matrix/federation/v1/version", 405}, {"DELETE", "/_matrix/federation/v1/send/1", 405}, {"PUT", "/_matrix/key/v2/query", 405},
		{"GET", "/_matrix/federation/v1//version", 404}, {"GET", "/_matrix/federation/v1/../v1/version", 404},
	} {
		status, body := other.raw(us.name, c.method, c.path, nil, nil)
		if status != c.status || !strings.Contains(body, `"M_UNRECOGNIZED"`) {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, status, body, c.status)
		}
	}
}
