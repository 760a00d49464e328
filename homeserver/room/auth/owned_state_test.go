package auth_test

import (
	"strings"
	"testing"

	"konsil/homeserver/room/auth"
	"konsil/matrix/id"
)

// TestOwnedState: rule 8 as MSC3757 changes it. In the usual room of rules.txt alice has 100, bob and mona 50, carol 0.
func TestOwnedState(t *testing.T) {
	for _, c := range []struct{ sender, key, want, before string }{
		{"bob", "@bob:t", "ok", "ok"},
		{"bob", "@bob:t_device", "ok", "8"},
		{"bob", "@bob:t_", "ok", "8"},
		{"bob", "@bob:t_:!@#$_", "ok", "8"},
		{"alice", "@bob:t", "ok", "8"},
		{"alice", "@bob:t_device", "ok", "8"},
		{"alice", "@nobody:elsewhere:8448_x", "ok", "8"},
		{"bob", "@mona:t", "8", "8"}, // as much power is not more
		{"bob", "@alice:t_device", "8", "8"},
		{"bob", "@x_@bob:t_device", "ok", "8"}, // a historical user ID, of somebody without power
		{"carol", "@carol:t_device", "7", "7"}, // the type needs 50
		{"alice", "@alice", "8", "8"},
		{"alice", "@alice:", "8", "8"},
		{"alice", "@alice:t@x", "8", "8"},
		{"bob", "bob:t", "ok", "ok"},
	} {
		for version, want := range map[string]string{"org.matrix.msc3757.10": c.want, "org.matrix.msc3757.11": c.want, "10": c.before} {
			r := newRoom(t, version, nil)
			if got := ruleOf(auth.Authorize(r.parse(strings.Fields("state "+c.sender+" com.example "+c.key+" {}")), r)); got != want {
				t.Errorf("%s: %s sets %s: %s, want %s", version, c.sender, c.key, got, want)
			}
		}
	}
}

func FuzzStateKeyOwner(f *testing.F) {
	for _, seed := range []string{"@a:b", "@a:b_c", "@a_b:c:1_d_e", "@:", "", "@a:[::1]_x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		owner := auth.StateKeyOwner(key)
		if owner == "" {
			return
		}
		if _, err := id.ParseUserID(string(owner)); err != nil || key != string(owner) && !strings.HasPrefix(key, string(owner)+"_") {
			t.Errorf("%q belongs to %q", key, owner)
		}
	})
}
