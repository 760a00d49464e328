package scenario_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"konsil/test/harness"
)

// TestC08KillLosesNoToDeviceMessage kills the program while somebody sends to a device in another organisation, which is how
// keys travel: what was acknowledged comes, once.
func TestC08KillLosesNoToDeviceMessage(t *testing.T) {
	t.Parallel()
	const rounds, most, kind = 5, 80, "org.example.key"
	chance := newChance(t)
	up := harness.StartUp(t)
	anna := up.Client(t, "@anna.berg:klinik.localhost")
	clara := harness.NewPerson(up.Client(t, "@clara.ernst:praxis.localhost"))
	if _, err := clara.WhoAmI(t.Context()); err != nil { // learns the name of the device
		t.Fatal(err)
	}
	sent := map[string]bool{} // by text: whether it was acknowledged
	send := func(text string) error {
		return anna.SendToDevice(t.Context(), kind, text, clara.User, clara.Device, map[string]string{"text": text})
	}
	for round := range rounds {
		enough := make(chan struct{}, 1)
		var sender sync.WaitGroup
		after := 1 + chance.IntN(most)
		sender.Go(func() {
			for n := range perSender {
				text := fmt.Sprintf("%d/%d", round, n)
				err := send(text)
				if sent[text] = err == nil; err != nil {
					break
				}
				if n == after {
					enough <- struct{}{}
				}
			}
		})
		<-enough
		up.Kill()
		sender.Wait()
		up.Restart(t)
		anna.Base, clara.Base = up.Domain(t, "klinik.localhost").ClientAPI, up.Domain(t, "praxis.localhost").ClientAPI
		for text, acknowledged := range sent {
			if !acknowledged {
				if err := send(text); err != nil {
					t.Fatal(err)
				}
				sent[text] = true
			}
		}
		if err := clara.Sync(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	count := func() map[string]int {
		got := map[string]int{}
		for _, ev := range clara.ToDevice {
			if ev.Type == kind {
				got[string(ev.Content)]++
			}
		}
		return got
	}
	if err := clara.Until(t.Context(), "all of them", func() bool { return len(count()) >= len(sent) }); err != nil {
		t.Error(err)
	}
	got := count()
	t.Logf("%d messages over %d kills", len(sent), rounds)
	for text := range sent {
		if n := got[fmt.Sprintf(`{"text":%q}`, text)]; n != 1 {
			t.Errorf("%s came %d times", text, n)
		}
	}
}

// TestC08KillGivesNoKeyTwice kills the program while people of two organisations claim one-time keys of a device: none is handed out
// twice, before or after. A27
func TestC08KillGivesNoKeyTwice(t *testing.T) {
	t.Parallel()
	const rounds, keys, most = 4, 200, 25
	chance := newChance(t)
	up := harness.StartUp(t)
	owner := up.Client(t, "@clara.ernst:praxis.localhost")
	if _, err := owner.WhoAmI(t.Context()); err != nil {
		t.Fatal(err)
	}
	uploadOneTimeKeys(t, owner, keys)
	claimers := []*harness.Client{up.Client(t, "@david.fink:praxis.localhost"), up.Client(t, "@anna.berg:klinik.localhost")}
	domains := []string{"praxis.localhost", "klinik.localhost"}

	var claimed []string
	for range rounds {
		acks := make(chan string, 2*keys)
		var all sync.WaitGroup
		for _, c := range claimers {
			all.Go(func() {
				for range keys / rounds {
					key, err := claim(t.Context(), c, owner)
					if r, refused := harness.AsRefusal(err); refused && r.Status != http.StatusTooManyRequests {
						t.Errorf("%s claims: %v", c.User, err)
					}
					if err != nil {
						return
					}
					acks <- key
				}
			})
		}
		for range 1 + chance.IntN(most) {
			claimed = append(claimed, <-acks)
		}
		up.Kill()
		all.Wait()
		close(acks)
		for key := range acks {
			claimed = append(claimed, key)
		}
		up.Restart(t)
		for i, c := range claimers {
			c.Base = up.Domain(t, domains[i]).ClientAPI
		}
	}
	claimed = slices.DeleteFunc(claimed, func(key string) bool { return key == "" }) // another server that was gone answers nothing
	t.Logf("%d keys over %d kills", len(claimed), rounds)
	slices.Sort(claimed)
	if len(claimed) < rounds || len(slices.Compact(slices.Clone(claimed))) != len(claimed) {
		t.Errorf("keys were given twice: %q", claimed)
	}
}

// uploadOneTimeKeys gives the owner's device keys to be claimed. Nobody checks what they are.
func uploadOneTimeKeys(t *testing.T, owner *harness.Client, n int) {
	t.Helper()
	for first := 0; first < n; first += 50 {
		batch := map[string]any{}
		for i := first; i < min(first+50, n); i++ {
			batch[fmt.Sprintf("signed_curve25519:k%d", i)] = map[string]any{"key": fmt.Sprintf("key%d", i)}
		}
		if err := owner.Call(t.Context(), "POST", "/_matrix/client/v3/keys/upload", map[string]any{"one_time_keys": batch}, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// claim takes one key; "" if there was none to be had.
func claim(ctx context.Context, c, owner *harness.Client) (string, error) {
	var answer struct {
		Keys map[string]map[string]map[string]any `json:"one_time_keys"` // user, device, key
	}
	err := c.Call(ctx, "POST", "/_matrix/client/v3/keys/claim", map[string]any{
		"one_time_keys": map[string]any{owner.User: map[string]string{owner.Device: "signed_curve25519"}}}, &answer)
	for key := range answer.Keys[owner.User][owner.Device] {
		return key, err
	}
	return "", err
}
