package account_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"konsil/homeserver/account"
)

func TestPasswordHashes(t *testing.T) {
	h := account.NewHasher(account.CheapCost)
	for _, password := range []string{"hunter2", "übers3kr1t", strings.Repeat("long", 200), "a b\tc"} {
		hash, err := h.Hash(t.Context(), rand.Reader, password)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(hash, "$argon2id$v=19$m=8,t=1,p=1$") {
			t.Errorf("hash is not in PHC form: %s", hash)
		}
		for given, want := range map[string]bool{password: true, password + "x": false, "": false} {
			if got, err := h.Verify(t.Context(), hash, given); err != nil || got != want {
				t.Errorf("Verify(%q) for %q = %v, %v", given, password, got, err)
			}
		}
	}
}

// A hash made at one cost is checked at that cost, whatever the setting is now.
func TestVerifyKeepsTheCostOfTheHash(t *testing.T) {
	hash, err := account.NewHasher(account.CheapCost).Hash(t.Context(), rand.Reader, "hunter2")
	if err != nil {
		t.Fatal(err)
	}
	ok, err := account.NewHasher(account.Cost{Time: 2, Memory: 64}).Verify(t.Context(), hash, "hunter2")
	if err != nil || !ok {
		t.Errorf("Verify = %v, %v", ok, err)
	}
}

func TestVerifyRefusesWhatIsNoHash(t *testing.T) {
	h := account.NewHasher(account.CheapCost)
	for _, hash := range []string{"plain", "$2b$12$abc", "$argon2id$v=18$m=8,t=1,p=1$AA$AA", "$argon2id$v=19$m=x$AA$AA", "$argon2id$v=19$m=8,t=1,p=1$?$AA"} {
		if ok, err := h.Verify(t.Context(), hash, "plain"); ok || err == nil {
			t.Errorf("Verify with %q = %v, %v", hash, ok, err)
		}
	}
	if ok, err := h.Verify(t.Context(), "", ""); ok || err != nil {
		t.Errorf("Verify without a hash = %v, %v: want a plain no", ok, err)
	}
}
