package sign_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/sign"
)

var now = time.UnixMilli(1763712000000)

func document(t testing.TB, keys ...sign.Key) *sign.ServerKeys {
	t.Helper()
	old := newKey(t, 99)
	doc, err := sign.BuildServerKeys("domain", keys, map[id.KeyID]sign.OldKey{old.ID: {Public: old.Public(), Expired: 1000}}, now.Add(24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestServerKeys(t *testing.T) {
	key, second, old := specKey(t), newKey(t, 2), newKey(t, 99)
	doc := document(t, key, second)
	parsed, err := sign.ParseServerKeys(doc.JSON)
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Server != "domain" || len(parsed.Verify) != 2 || !parsed.Verify[key.ID].Equal(key.Public()) || parsed.ValidUntil != now.Add(24*time.Hour).UnixMilli() ||
		!parsed.Old[old.ID].Public.Equal(old.Public()) || parsed.Old[old.ID].Expired != 1000 || string(parsed.JSON) != string(doc.JSON) {
		t.Errorf("%+v", parsed)
	}
	notary := newKey(t, 3)
	signed, err := parsed.CoSign("notary", notary)
	if err != nil {
		t.Fatal(err)
	}
	if err := sign.VerifyJSON(signed, "notary", notary.ID, notary.Public()); err != nil {
		t.Error(err)
	}
	if _, err := sign.ParseServerKeys(signed); err != nil {
		t.Errorf("with the notary's signature: %v", err)
	}
	golden := `{"old_verify_keys":{},"server_name":"domain","signatures":{"domain":{"ed25519:1":"`
	plain, err := sign.BuildServerKeys("domain", []sign.Key{key}, nil, now)
	if err != nil || !strings.HasPrefix(string(plain.JSON), golden) ||
		!strings.HasSuffix(string(plain.JSON), `"}},"valid_until_ts":1763712000000,"verify_keys":{"ed25519:1":{"key":"XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI"}}}`) {
		t.Errorf("%s, %v", plain.JSON, err)
	}
}

// A document counts only with the server's own signature, and with none that is wrong. A7
func TestA07ServerKeysRefused(t *testing.T) {
	key, second, stranger := specKey(t), newKey(t, 2), newKey(t, 3)
	doc := document(t, key, second).JSON
	resign := func(raw string, by ...sign.Key) string {
		out := canonical.AppendWithout(nil, []byte(raw), "signatures")
		for _, k := range by {
			var err error
			if out, err = sign.JSON(out, "domain", k); err != nil {
				t.Fatal(err)
			}
		}
		return string(out)
	}
	set := func(name, value string) string {
		return resign(string(canonical.AppendSet(nil, doc, name, []byte(value))), key, second)
	}
	many := "{"
	for i := range 65 {
		many += fmt.Sprintf(`"ed25519:%d":{"key":"x"},`, i)
	}
	many = strings.TrimSuffix(many, ",") + "}"
	for name, c := range map[string]struct {
		doc  string
		want error
	}{
		"no JSON":                   {"{", sign.ErrServerKeys},
		"no object":                 {"[]", sign.ErrServerKeys},
		"no name":                   {set("server_name", "1"), sign.ErrServerKeys},
		"bad name":                  {set("server_name", `"a b"`), sign.ErrServerKeys},
		"no end":                    {set("valid_until_ts", `"1"`), sign.ErrServerKeys},
		"keys no object":            {set("verify_keys", "[]"), sign.ErrServerKeys},
		"too many keys":             {set("verify_keys", many), sign.ErrServerKeys},
		"unsigned":                  {resign(string(doc)), sign.ErrUnsigned},
		"signed by a stranger":      {resign(string(doc), stranger), sign.ErrUnsigned},
		"signed for another":        {set("server_name", `"other"`), sign.ErrUnsigned},
		"changed":                   {strings.Replace(string(doc), "176", "177", 1), sign.ErrForged},
		"one good, one bad":         {tamper(t, doc, second), sign.ErrForged},
		"key of small order listed": {set("verify_keys", `{"ed25519:1":{"key":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}`), sign.ErrUnsigned},
	} {
		if k, err := sign.ParseServerKeys([]byte(c.doc)); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v, want %v", name, k, err, c.want)
		}
	}
	// Keys we can not use do not spoil the others.
	odd := set("verify_keys", `{"ed25519:1":{"key":"`+sign.EncodeBase64(key.Public())+`"},"rsa:1":{"key":"x"},"ed25519:bad":{"key":"x"},"odd":1,"ed25519:none":{}}`)
	if k, err := sign.ParseServerKeys([]byte(odd)); err != nil || len(k.Verify) != 1 {
		t.Errorf("%+v, %v", k, err)
	}
}

// tamper replaces a key's signature by one over something else.
func tamper(t *testing.T, doc []byte, key sign.Key) string {
	t.Helper()
	other, err := sign.JSON([]byte(`{}`), "domain", key)
	if err != nil {
		t.Fatal(err)
	}
	wrong, _ := sign.Signature(other, "domain", key.ID)
	signatures, _ := canonical.Get(doc, "signatures")
	return string(canonical.AppendSet(nil, doc, "signatures", sign.AppendSignature(nil, signatures, "domain", key.ID, wrong)))
}

func TestA06Validity(t *testing.T) {
	key, old := specKey(t), newKey(t, 99)
	short := document(t, key)
	long, err := sign.BuildServerKeys("domain", []sign.Key{key}, nil, now.Add(1000*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	day := int64(24 * 60 * 60 * 1000)
	ms := now.UnixMilli()
	for _, c := range []struct {
		name    string
		keys    *sign.ServerKeys
		key     id.KeyID
		at      int64
		enforce bool
		want    bool
	}{
		{"valid", short, key.ID, ms, true, true},
		{"long ago", short, key.ID, 0, true, true},
		{"last moment", short, key.ID, ms + day, true, true},
		{"too late", short, key.ID, ms + day + 1, true, false},
		{"too late, old version", short, key.ID, ms + day + 1, false, true},
		{"claims years, gets a week", long, key.ID, ms + 7*day, true, true},
		{"after the week", long, key.ID, ms + 7*day + 1, true, false},
		{"old key, before its end", short, old.ID, 1000, true, true},
		{"old key, after its end", short, old.ID, 1001, true, false},
		{"old key, after its end, old version", short, old.ID, 1001, false, false},
		{"unknown", short, "ed25519:x", ms, false, false},
	} {
		if _, ok := c.keys.ForEvent(c.key, c.at, now, c.enforce); ok != c.want {
			t.Errorf("%s: %v", c.name, ok)
		}
	}
	for _, c := range []struct {
		name string
		key  id.KeyID
		now  time.Time
		want bool
	}{
		{"now", key.ID, now, true}, {"last moment", key.ID, now.Add(24 * time.Hour), true}, {"too late", key.ID, now.Add(24*time.Hour + time.Millisecond), false},
		{"old key", old.ID, now, false}, {"unknown", "ed25519:x", now, false},
	} {
		if _, ok := short.ForRequest(c.key, c.now, now); ok != c.want {
			t.Errorf("request, %s: %v", c.name, ok)
		}
	}
}

func FuzzServerKeys(f *testing.F) {
	f.Add(document(f, specKey(f)).JSON)
	f.Add([]byte(`{"server_name":"a","valid_until_ts":1,"verify_keys":{"ed25519:1":{"key":1}},"signatures":{"a":{"ed25519:1":"x"}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		k, err := sign.ParseServerKeys(raw)
		if err != nil {
			return
		}
		if again, err := sign.ParseServerKeys(k.JSON); err != nil || again.Server != k.Server || len(again.Verify) != len(k.Verify) {
			t.Fatalf("%+v, %v", again, err)
		}
	})
}
