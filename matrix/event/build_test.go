package event_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
	"konsil/matrix/sign"
)

// Whatever we build, we accept, and it says what the template said.
func TestBuildParse(t *testing.T) {
	key := specKey(t)
	rapid.Check(t, func(rt *rapid.T) {
		v := rapid.SampledFrom(roomver.All()).Draw(rt, "version")
		tmpl := drawTemplate(rt, v)
		p, err := event.Build(v, tmpl, "domain", key)
		if err != nil {
			rt.Fatal(err)
		}
		parsed, err := event.Parse(p.JSON, v)
		if err != nil {
			rt.Fatalf("%s: %v", p.JSON, err)
		}
		stored, err := event.Stored(p.JSON, v, p.ID)
		if err != nil {
			rt.Fatal(err)
		}
		if !reflect.DeepEqual(p, parsed) || !reflect.DeepEqual(p, stored) {
			rt.Fatalf("built  %+v\nparsed %+v\nstored %+v", p, parsed, stored)
		}
		if !parsed.HashMatches() || parsed.Verify("domain", key.ID, key.Public()) != nil {
			rt.Fatalf("%s: hash or signature", p.JSON)
		}
		if form, err := canonical.Append(nil, p.JSON, canonical.Lenient); err != nil || !bytes.Equal(form, p.JSON) {
			rt.Fatalf("not canonical: %s", p.JSON)
		}
	})
}

func drawTemplate(t *rapid.T, v *roomver.Version) event.Template {
	tmpl := message(v)
	tmpl.Type = rapid.SampledFrom([]string{"m.room.message", "m.room.member", "m.room.redaction", "ü\"\\", ""}).Draw(t, "type")
	if rapid.Bool().Draw(t, "state") {
		tmpl.StateKey = ptr(rapid.StringOf(rapid.RuneFrom([]rune("aü\"\\\n@:😀"))).Filter(func(s string) bool { return len(s) < 200 }).Draw(t, "state key"))
	}
	content, err := json.Marshal(rapid.MapOf(rapid.SampledFrom([]string{"a", "b", "membership", "redacts", "ü", "\""}),
		rapid.OneOf(rapid.Just[any](nil), rapid.Map(rapid.String(), func(s string) any { return s }), rapid.Map(rapid.Int32(), func(n int32) any { return n }))).Draw(t, "content"))
	if err != nil {
		t.Fatal(err)
	}
	tmpl.Content = content
	tmpl.Depth = rapid.Int64().Draw(t, "depth")
	tmpl.OriginServerTS = rapid.Int64Range(0, canonical.MaxInt).Draw(t, "ts")
	if tmpl.Type == event.TypeRedaction {
		tmpl.Redacts = "$target"
	}
	return tmpl
}

// In versions 1 and 2 references are pairs of ID and hash.
func TestPairs(t *testing.T) {
	v := version(t, "2")
	first := build(t, v, message(v))
	tmpl := message(v)
	tmpl.ID, tmpl.PrevEvents, tmpl.AuthEvents = "$second:domain", []id.EventID{first.ID}, []id.EventID{"$unknown:domain"}
	tmpl.Hashes = map[id.EventID]string{first.ID: first.ReferenceHash()}
	p := build(t, v, tmpl)
	want := `[["$chosen:domain",{"sha256":"` + first.ReferenceHash() + `"}]]`
	if got, _ := canonical.Get(p.JSON, "prev_events"); string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, _ := canonical.Get(p.JSON, "auth_events"); string(got) != `[["$unknown:domain",{}]]` {
		t.Errorf("%s", got)
	}
	if len(first.ReferenceHash()) != 43 || !slices.Equal(p.PrevEvents, []id.EventID{first.ID}) {
		t.Errorf("%s, %v", first.ReferenceHash(), p.PrevEvents)
	}
}

func TestBuildRefuses(t *testing.T) {
	v11, v1 := version(t, "11"), version(t, "1")
	for name, c := range map[string]struct {
		v      *roomver.Version
		change func(*event.Template)
	}{
		"no content":       {v11, func(t *event.Template) { t.Content = nil }},
		"content array":    {v11, func(t *event.Template) { t.Content = []byte("[]") }},
		"float":            {v11, func(t *event.Template) { t.Content = []byte(`{"a":1.5}`) }},
		"two keys":         {v11, func(t *event.Template) { t.Content = []byte(`{"a":1,"a":2}`) }},
		"chosen ID":        {v11, func(t *event.Template) { t.ID = "$x:domain" }},
		"no ID":            {v1, func(t *event.Template) { t.ID = "" }},
		"bad ID":           {v1, func(t *event.Template) { t.ID = "$x" }},
		"no room":          {v11, func(t *event.Template) { t.RoomID = "" }},
		"bad sender":       {v11, func(t *event.Template) { t.Sender = "anna" }},
		"NUL in type":      {v11, func(t *event.Template) { t.Type = "a\x00" }},
		"NUL in state key": {v11, func(t *event.Template) { t.StateKey = ptr("a\x00") }},
		"bad reference":    {v11, func(t *event.Template) { t.PrevEvents = []id.EventID{"x"} }},
	} {
		tmpl := message(c.v)
		c.change(&tmpl)
		if p, err := event.Build(c.v, tmpl, "domain", specKey(t)); !errors.Is(err, event.ErrMalformed) {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
	tmpl := message(v11)
	tmpl.PrevEvents = make([]id.EventID, 21)
	if _, err := event.Build(v11, tmpl, "domain", specKey(t)); !errors.Is(err, event.ErrTooLarge) {
		t.Error(err)
	}
	tmpl = message(version(t, "5"))
	tmpl.Content = []byte(`{"a":1.5}`)
	build(t, version(t, "5"), tmpl)
}

func TestSignatures(t *testing.T) {
	key := specKey(t)
	other, err := sign.NewKey(rand.NewChaCha8([32]byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range roomver.All() {
		p := build(t, v, message(v))
		twice := p.Sign("other", other).Sign("domain", other)
		if twice.ID != p.ID || string(twice.Content) != string(p.Content) || !twice.HashMatches() {
			t.Errorf("version %s: %s", v.ID, twice.JSON)
		}
		if got := twice.Signers(); !slices.Equal(got, []id.ServerName{"domain", "other"}) {
			t.Error(got)
		}
		if got := twice.SignatureKeys("domain"); !slices.Equal(got, []id.KeyID{key.ID, other.ID}) {
			t.Error(got)
		}
		for _, c := range []struct {
			server id.ServerName
			key    id.KeyID
			pub    ed25519.PublicKey
			want   error
		}{
			{"domain", key.ID, key.Public(), nil}, {"domain", other.ID, other.Public(), nil}, {"other", other.ID, other.Public(), nil},
			{"other", key.ID, key.Public(), sign.ErrUnsigned}, {"third", key.ID, key.Public(), sign.ErrUnsigned},
			{"domain", key.ID, other.Public(), sign.ErrForged}, {"domain", "rsa:1", key.Public(), sign.ErrUnsigned},
		} {
			if err := twice.Verify(c.server, c.key, c.pub); !errors.Is(err, c.want) || err == nil && c.want != nil {
				t.Errorf("version %s, %s %s: %v, want %v", v.ID, c.server, c.key, err, c.want)
			}
		}
		if merged := p.WithSignatures(twice); string(merged.JSON) != string(twice.JSON) {
			t.Errorf("%s\n%s", merged.JSON, twice.JSON)
		}
		batch := new(sign.Batch)
		sig, _ := twice.Signature("other", other.ID)
		batch.Add(other.Public(), twice.AppendSigned(nil), sig)
		batch.Add(key.Public(), twice.AppendSigned(nil), sig)
		if got := batch.Verify(); !slices.Equal(got, []bool{true, false}) {
			t.Error(got)
		}
		// What signatures do not cover may change, what they cover may not.
		changed, err := event.Parse(set(p.JSON, "content", `{"body":"other"}`), v)
		if err != nil || changed.Verify("domain", key.ID, key.Public()) != nil || changed.HashMatches() {
			t.Errorf("version %s: content: %v", v.ID, err)
		}
		changed, err = event.Parse(set(p.JSON, "depth", `8`), v)
		if err != nil || !errors.Is(changed.Verify("domain", key.ID, key.Public()), sign.ErrForged) {
			t.Errorf("version %s: depth: %v", v.ID, err)
		}
	}
}

// Signatures that are no objects, or none at all, are no signatures.
func TestOddSignatures(t *testing.T) {
	v, key := version(t, "11"), specKey(t)
	json := build(t, v, message(v)).JSON
	for _, odd := range []string{`1`, `[]`, `{"domain":1}`, `{"domain":{"ed25519:1":1}}`, `{"domain":{"ed25519:1":"%"}}`, `{"domain":{"ed25519:1":"AAAA"}}`, `{"domain":[]}`} {
		p, err := event.Parse(set(json, "signatures", odd), v)
		if err != nil {
			t.Errorf("%s: %v", odd, err)
			continue
		}
		if err := p.Verify("domain", key.ID, key.Public()); !errors.Is(err, sign.ErrUnsigned) {
			t.Errorf("%s: %v", odd, err)
		}
		if signed := p.Sign("domain", key); signed.Verify("domain", key.ID, key.Public()) != nil || signed.ID != p.ID {
			t.Errorf("%s: signed again %s", odd, signed.JSON)
		}
	}
	p, err := event.Parse(canonical.AppendWithout(nil, json, "signatures", "hashes"), v)
	if err != nil || p.HashMatches() || p.Sign("domain", key).Verify("domain", key.ID, key.Public()) != nil {
		t.Errorf("%v", err)
	}
}

func TestTemplate(t *testing.T) {
	for _, v := range roomver.All() {
		want := message(v)
		want.Type, want.StateKey, want.Content = event.TypeMember, ptr("@anna:domain"), []byte(`{"membership":"join"}`)
		if !v.HashedEventIDs() {
			want.ID = ""
			want.Hashes = map[id.EventID]string{"$a:domain": "hash"}
		}
		json, err := want.JSON(v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := event.ParseTemplate(json, v)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("version %s:\n got %+v\nwant %+v, %v", v.ID, got, want, err)
		}
		if got, err := event.ParseTemplate(canonical.AppendWithout(nil, json, "origin_server_ts"), v); err != nil || got.OriginServerTS != 0 {
			t.Errorf("version %s: %v", v.ID, err)
		}
		for _, key := range []string{"type", "content", "sender", "depth", "prev_events", "auth_events"} {
			if _, err := event.ParseTemplate(set(json, key, "null"), v); !errors.Is(err, event.ErrMalformed) {
				t.Errorf("version %s without %s: %v", v.ID, key, err)
			}
		}
		many := "[" + string(bytes.Repeat([]byte(`["$x"],`), 20)) + `["$x"]]`
		if v.HashedEventIDs() {
			many = "[" + string(bytes.Repeat([]byte(`"$x",`), 20)) + `"$x"]`
		}
		if _, err := event.ParseTemplate(set(json, "prev_events", many), v); !errors.Is(err, event.ErrTooLarge) {
			t.Errorf("version %s, 21 prev_events: %v", v.ID, err)
		}
	}
}
