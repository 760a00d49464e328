package id_test

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"konsil/matrix/id"
)

// Appendices v1.16 #server-name
func TestServerName(t *testing.T) {
	for s, want := range map[string]struct {
		host, port string
		ip         bool
	}{
		"matrix.org": {"matrix.org", "", false}, "matrix.org:8888": {"matrix.org", "8888", false}, "1.2.3.4": {"1.2.3.4", "", true},
		"1.2.3.4:1234": {"1.2.3.4", "1234", true}, "[1234:5678::abcd]": {"[1234:5678::abcd]", "", true}, "[1234:5678::abcd]:5678": {"[1234:5678::abcd]", "5678", true},
		"[::ffff:1.2.3.4]": {"[::ffff:1.2.3.4]", "", true}, "localhost": {"localhost", "", false}, "KLINIK.localhost:1": {"KLINIK.localhost", "1", false},
		"256.1.1.1": {"256.1.1.1", "", false}, "a-b.c--d": {"a-b.c--d", "", false}, strings.Repeat("a", 255): {strings.Repeat("a", 255), "", false},
	} {
		n, err := id.ParseServerName(s)
		if err != nil || n.Host() != want.host || n.Port() != want.port {
			t.Errorf("%s: %q %q, %v", s, n.Host(), n.Port(), err)
		}
		if _, ip := n.IP(); ip != want.ip {
			t.Errorf("%s: IP %v", s, ip)
		}
	}
	for _, s := range []string{"", ":", ":80", "a:", "a:b", "a:123456", "a:-1", "a:1:2", "a_b", "a b", "a/b", "ä.de", "a\x00", "[", "[]", "[::1", "::1", "[::1]x", "[::1]:",
		"[1.2.3.4]", "[::1%eth0]", "[12345::]", "a@b", "https://a", strings.Repeat("a", 256)} {
		if n, err := id.ParseServerName(s); !errors.Is(err, id.ErrInvalid) {
			t.Errorf("%q: %q, %v", s, n, err)
		}
	}
}

// Appendices v1.16 #common-identifier-format
func TestParse(t *testing.T) {
	parsers := map[string]func(string) error{
		"user":  func(s string) error { _, err := id.ParseUserID(s); return err },
		"room":  func(s string) error { _, err := id.ParseRoomID(s); return err },
		"event": func(s string) error { _, err := id.ParseEventID(s); return err },
		"alias": func(s string) error { _, err := id.ParseRoomAlias(s); return err },
		"key":   func(s string) error { _, err := id.ParseKeyID(s); return err },
	}
	long := func(prefix, suffix string, n int) string {
		return prefix + strings.Repeat("x", n-len(prefix)-len(suffix)) + suffix
	}
	for kind, c := range map[string]struct{ good, bad []string }{
		"user": {
			[]string{"@anna:klinik.example", "@a.b_c=d-e/f+0:x:1", "@:x", "@Großbuchstabe 😀\n:x", "@a:[::1]", long("@", ":x", 255)},
			[]string{"", "@", "anna:x", "@anna", "@anna:", "@a\x00b:x", "@a\xffb:x", "@a:b:c", "@a:x y", " @a:x", "!a:x", long("@", ":x", 256)},
		},
		"room": {
			[]string{"!QtykxKocfZaZOUrTwp:klinik.example", "!Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ", "!:x", "!a b:x", long("!", ":x", 255)},
			[]string{"", "!", "!a:", "!a\x00:x", "room", "#a:x", "!a:b c", "!\xff", long("!", ":x", 256)},
		},
		"event": {
			[]string{"$a:klinik.example", "$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg", "$acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk", "$x", long("$", "", 255)},
			[]string{"", "$", "a", "$a\x00", "$\xff", long("$", "", 256)},
		},
		"alias": {
			[]string{"#raum:klinik.example", "#:x", "#ä ö:x", long("#", ":x", 255)},
			[]string{"", "#", "#raum", "#raum:", "#ra\x00um:x", "raum:x", long("#", ":x", 256)},
		},
		"key": {
			[]string{"ed25519:a_1", "ed25519:JLAFKJWSCS", "signed_curve25519:AAAAHg", "curve25519:x:y", "m.megolm_backup.v1:x", "ed25519:base64/+="},
			[]string{"", ":", "ed25519", "ed25519:", ":x", "ED25519:x", "ed 25519:x", "ed25519:\x00", "ed25519:\xff", long("ed25519:", "", 256)},
		},
	} {
		for _, s := range c.good {
			if err := parsers[kind](s); err != nil {
				t.Errorf("%s %q: %v", kind, s, err)
			}
		}
		for _, s := range c.bad {
			if err := parsers[kind](s); !errors.Is(err, id.ErrInvalid) {
				t.Errorf("%s %q: %v", kind, s, err)
			}
		}
	}
}

func TestParts(t *testing.T) {
	u := id.UserID("@anna:klinik.example:8448")
	if u.Localpart() != "anna" || u.Server() != "klinik.example:8448" {
		t.Errorf("%q %q", u.Localpart(), u.Server())
	}
	if r := id.RoomID("!abc:x"); r.Server() != "x" {
		t.Error(r.Server())
	}
	if r := id.RoomID("!abc"); r.Server() != "" || r.Create() != "$abc" {
		t.Error(r.Server(), r.Create())
	}
	if a := id.RoomAlias("#raum:x"); a.Localpart() != "raum" || a.Server() != "x" {
		t.Error(a.Localpart(), a.Server())
	}
	if k := id.KeyID("ed25519:a:1"); k.Algorithm() != "ed25519" || k.Identifier() != "a:1" {
		t.Error(k.Algorithm(), k.Identifier())
	}
	for _, zero := range []string{id.UserID("").Localpart(), string(id.UserID("").Server()), string(id.RoomID("").Create()), id.RoomAlias("").Localpart(),
		id.KeyID("").Identifier(), string(id.EventID("").Server()), id.ServerName("").Host()} {
		if zero != "" {
			t.Errorf("%q from nothing", zero)
		}
	}
	for user, want := range map[id.UserID]bool{"@anna:x": true, "@ANNA!~:x": true, "@:x": false, "@an na:x": false, "@ännä:x": false, "@a\x7f:x": false} {
		if user.Compliant() != want {
			t.Errorf("%q compliant: %v", user, !want)
		}
	}
}

// Values check themselves when they are decoded, also as keys of objects; empty device IDs stand for none.
func TestText(t *testing.T) {
	var doc struct {
		Server id.ServerName
		User   id.UserID
		Room   id.RoomID
		Event  id.EventID
		Alias  id.RoomAlias
		Device id.DeviceID
		Key    id.KeyID
		Users  map[id.UserID]int
	}
	good := `{"Server":"x","User":"@a:x","Room":"!r:x","Event":"$e","Alias":"#a:x","Device":"D","Key":"ed25519:1","Users":{"@b:x":1}}`
	if err := json.Unmarshal([]byte(good), &doc); err != nil {
		t.Fatal(err)
	}
	if out, err := json.Marshal(doc); err != nil || string(out) != good {
		t.Errorf("%s, %v", out, err)
	}
	for _, bad := range []string{`{"Server":""}`, `{"User":"a"}`, `{"Room":"!"}`, `{"Event":"e"}`, `{"Alias":"#a"}`, `{"Device":"\u0007"}`, `{"Key":"1"}`, `{"Users":{"b":1}}`,
		`{"Device":"` + strings.Repeat("x", 256) + `"}`} {
		if err := json.Unmarshal([]byte(bad), &doc); !errors.Is(err, id.ErrInvalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if err := json.Unmarshal([]byte(`{"Device":""}`), &doc); err != nil || doc.Device != "" {
		t.Error(err)
	}
	if doc.User != "@a:x" {
		t.Errorf("a refused value left %q", doc.User)
	}
}

func TestNew(t *testing.T) {
	chance := rand.NewChaCha8([32]byte{1})
	seen := map[string]bool{}
	for range 1000 {
		room, err := id.NewRoomID(chance, "x:1")
		if err != nil {
			t.Fatal(err)
		}
		event, err := id.NewEventID(chance, "x:1")
		if err != nil {
			t.Fatal(err)
		}
		device, err := id.NewDeviceID(chance)
		if err != nil {
			t.Fatal(err)
		}
		_, roomErr := id.ParseRoomID(string(room))
		_, eventErr := id.ParseEventID(string(event))
		_, deviceErr := id.ParseDeviceID(string(device))
		if roomErr != nil || eventErr != nil || deviceErr != nil || room.Server() != "x:1" || event.Server() != "x:1" || len(room) != 23 || len(device) != 10 {
			t.Fatal(room, event, device)
		}
		for _, s := range []string{string(room), string(event), string(device)} {
			if seen[s] {
				t.Fatalf("%s twice", s)
			}
			seen[s] = true
		}
	}
	if _, err := id.NewRoomID(strings.NewReader("few"), "x"); err == nil {
		t.Error("an ID from too little chance")
	}
	if u, err := id.NewUserID("anna.berg", "x"); err != nil || u != "@anna.berg:x" {
		t.Error(u, err)
	}
	for _, localpart := range []string{"", "Anna", "anna berg", "ännä", "a:b", "a\x00", strings.Repeat("a", 254)} {
		if u, err := id.NewUserID(localpart, "x"); !errors.Is(err, id.ErrInvalid) {
			t.Errorf("%q: %q, %v", localpart, u, err)
		}
	}
}

// What is accepted keeps to the limits, has the parts it was made of, and reads as itself again.
func FuzzIDs(f *testing.F) {
	for _, s := range []string{"@anna:klinik.example", "!abc", "$e:x", "#r:[::1]:8448", "ed25519:a_1", "1.2.3.4:5", "@:x", "[::1%a]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		accepted := false
		if u, err := id.ParseUserID(s); err == nil {
			accepted = true
			if "@"+u.Localpart()+":"+string(u.Server()) != s {
				t.Fatal(s)
			}
		}
		if a, err := id.ParseRoomAlias(s); err == nil {
			accepted = true
			if "#"+a.Localpart()+":"+string(a.Server()) != s {
				t.Fatal(s)
			}
		}
		if k, err := id.ParseKeyID(s); err == nil {
			accepted = true
			if k.Algorithm()+":"+k.Identifier() != s {
				t.Fatal(s)
			}
		}
		if n, err := id.ParseServerName(s); err == nil {
			accepted = true
			if n.Port() != "" && n.Host()+":"+n.Port() != s || n.Port() == "" && n.Host() != s {
				t.Fatal(s)
			}
		}
		_, roomErr := id.ParseRoomID(s)
		_, eventErr := id.ParseEventID(s)
		if accepted = accepted || roomErr == nil || eventErr == nil; accepted && (len(s) > id.MaxLength || !utf8.ValidString(s) || strings.ContainsRune(s, 0)) {
			t.Fatalf("%q", s)
		}
	})
}
