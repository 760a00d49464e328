package e2ee_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"konsil/homeserver/e2ee"
	"konsil/homeserver/store"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func TestUploadAndQuery(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		anna, kurt := w.user("anna", "PHONE"), w.user("kurt", "DESK")
		check(t, anna.upload(0, 50), map[string]int64{"signed_curve25519": 50})
		answer := w.query(kurt.User, anna.User, kurt.User, "@nobody:here.test")
		keys := at(answer, "device_keys", string(anna.User), "PHONE")
		check(t, keys["unsigned"], any(map[string]any{"device_display_name": "Handy von PHONE"}))
		var uploaded map[string]any
		must(t, json.Unmarshal(anna.deviceKeys(), &uploaded))
		check(t, keys["signatures"], uploaded["signatures"])
		check(t, keys["keys"], uploaded["keys"])
		// Who has no keys and who does not exist look the same (B10).
		check(t, at(answer, "device_keys", string(kurt.User)), map[string]any{})
		check(t, at(answer, "device_keys", "@nobody:here.test"), map[string]any{})

		only := w.tree(w.Query(t.Context(), kurt.User, e2ee.Wanted{anna.User: {"OTHER"}}, 0))
		check(t, at(only, "device_keys", string(anna.User)), map[string]any{})
	})
}

func TestUploadAgainChangesNothing(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		anna := w.user("anna", "PHONE")
		anna.upload(0, 3)
		before := w.Store.Position()
		check(t, anna.upload(1, 3), map[string]int64{"signed_curve25519": 4})
		must(t, w.Store.Read(t.Context(), func(tx *store.Tx) error {
			users, err := tx.DeviceListChanges(t.Context(), anna.User, before, w.Store.Position())
			check(t, len(users), 0)
			return err
		}))
		_, err := w.Upload(t.Context(), anna.User, anna.Device, e2ee.Upload{OneTimeKeys: json.RawMessage(`{"signed_curve25519:K001":{"key":"other"}}`)})
		wantCode(t, err, mxerr.CodeUnknown)
	})
}

func TestKeyCountsForSync(t *testing.T) {
	w := newWorld(t, "sqlite:"+t.TempDir()+"/x.db")
	anna := w.user("anna", "PHONE")
	counts := func() e2ee.KeyCounts {
		c, err := w.KeyCounts(t.Context(), anna.User, anna.Device)
		must(t, err)
		return c
	}
	check(t, counts(), e2ee.KeyCounts{OneTime: map[string]int64{"signed_curve25519": 0}, UnusedFallback: []string{}})
	anna.upload(0, 2)
	_, err := w.Upload(t.Context(), anna.User, anna.Device, e2ee.Upload{FallbackKeys: json.RawMessage(`{"signed_curve25519:F":{"key":"f","fallback":true}}`)})
	must(t, err)
	check(t, counts(), e2ee.KeyCounts{OneTime: map[string]int64{"signed_curve25519": 2}, UnusedFallback: []string{"signed_curve25519"}})
	var given []string
	for range 4 {
		given = append(given, w.claimedKey(anna.User, anna.Device))
	}
	check(t, given, []string{"signed_curve25519:K000", "signed_curve25519:K001", "signed_curve25519:F", "signed_curve25519:F"})
	check(t, counts(), e2ee.KeyCounts{OneTime: map[string]int64{"signed_curve25519": 0}, UnusedFallback: []string{}})
}

// A26: keys that are not what they should be are refused, whatever is wrong with them.
func TestA26MalformedKeys(t *testing.T) {
	w := newWorld(t, "sqlite:"+t.TempDir()+"/x.db")
	anna := w.user("anna", "PHONE")
	good := string(anna.deviceKeys())
	for name, c := range map[string]struct {
		keys, oneTime, code string
	}{
		"no object":             {keys: `[]`, code: mxerr.CodeBadJSON},
		"nothing in it":         {keys: `{"user_id":"@anna:here.test","device_id":"PHONE"}`, code: mxerr.CodeBadJSON},
		"another user":          {keys: `{"user_id":"@kurt:here.test","device_id":"PHONE"}`, code: mxerr.CodeInvalidParam},
		"another device":        {keys: `{"user_id":"@anna:here.test","device_id":"DESK"}`, code: mxerr.CodeInvalidParam},
		"algorithms of objects": {keys: strings.Replace(good, `["m.olm`, `[{},"m.olm`, 1), code: mxerr.CodeBadJSON},
		"algorithms a string":   {keys: strings.Replace(good, `["m.olm.v1.curve25519-aes-sha2"]`, `"m.olm"`, 1), code: mxerr.CodeBadJSON},
		"keys of numbers":       {keys: strings.Replace(good, `"abc"`, `7`, 1), code: mxerr.CodeBadJSON},
		"signatures a list":     {keys: `{"user_id":"@anna:here.test","device_id":"PHONE","algorithms":[],"keys":{},"signatures":[]}`, code: mxerr.CodeBadJSON},
		"changed after signing": {keys: strings.Replace(good, `"abc"`, `"abd"`, 1), code: mxerr.CodeInvalidSignature},
		"1 MB":                  {keys: strings.Replace(good, `"abc"`, `"`+strings.Repeat("a", 1<<20)+`"`, 1), code: mxerr.CodeBadJSON},
		"duplicate one-time":    {oneTime: `{"a:1":"x","a:1":"y"}`, code: mxerr.CodeBadJSON},
		"number as one-time":    {oneTime: `{"a:1":1}`, code: mxerr.CodeBadJSON},
		"no algorithm":          {oneTime: `{"1":"x"}`, code: mxerr.CodeBadJSON},
		"no key":                {oneTime: `{"a:1":{}}`, code: mxerr.CodeBadJSON},
		"one-time a list":       {oneTime: `["x"]`, code: mxerr.CodeBadJSON},
		"large one-time":        {oneTime: `{"a:1":"` + strings.Repeat("x", 5000) + `"}`, code: mxerr.CodeBadJSON},
		"too many":              {oneTime: string(oneTimeKeys(0, 501)), code: mxerr.CodeBadJSON},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.Upload(t.Context(), anna.User, anna.Device, e2ee.Upload{
				DeviceKeys: json.RawMessage(c.keys), OneTimeKeys: json.RawMessage(c.oneTime)})
			wantCode(t, err, c.code)
		})
	}
	// Some clients of test suites sign nothing.
	_, err := w.Upload(t.Context(), anna.User, anna.Device, e2ee.Upload{DeviceKeys: json.RawMessage(
		`{"user_id":"@anna:here.test","device_id":"PHONE","algorithms":["x"],"keys":{"ed25519:PHONE":"k"},"signatures":{}}`)})
	must(t, err)
}

// A27: claimers at the same time, a restart between, and no key is given out twice.
func TestA27KeysAreGivenOutOnce(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		anna := w.user("anna", "PHONE")
		anna.upload(0, 60)
		var mu sync.Mutex
		var given []string
		claimAll := func(n int) {
			var group sync.WaitGroup
			for range n {
				group.Go(func() {
					raw, err := w.Claim(context.Background(), e2ee.ClaimWanted{anna.User: {"PHONE": "signed_curve25519"}}, 0)
					if err != nil {
						t.Error(err)
						return
					}
					var answer map[string]any
					if err := json.Unmarshal(raw, &answer); err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					for key := range at(answer, "one_time_keys", string(anna.User), "PHONE") {
						given = append(given, key)
					}
				})
			}
			group.Wait()
		}
		claimAll(25)
		w.restart()
		claimAll(45)
		check(t, len(given), 60)
		slices.Sort(given)
		check(t, len(slices.Compact(given)), 60)
		check(t, at(w.claim(anna.User, "PHONE"), "one_time_keys"), map[string]any{})
	})
}

func TestDeletedDeviceTakesItsKeysAlong(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		anna := w.user("anna", "PHONE")
		anna.upload(0, 2)
		must(t, w.SendToDevice(t.Context(), anna.User, "PHONE", "1", "x", e2ee.Messages{anna.User: {"PHONE": json.RawMessage(`{}`)}}))
		must(t, w.accounts.DeleteDevices(t.Context(), anna.User, []id.DeviceID{"PHONE"}))
		check(t, at(w.query(anna.User, anna.User), "device_keys", string(anna.User)), map[string]any{})
		check(t, w.claimedKey(anna.User, "PHONE"), "")
		waiting, err := w.ToDevice(t.Context(), anna.User, "PHONE", 0, w.Store.Position(), 10)
		must(t, err)
		check(t, len(waiting), 0)
	})
}

func BenchmarkUpload50(b *testing.B) {
	w := newWorld(b, "sqlite:"+b.TempDir()+"/x.db")
	anna := w.user("anna", "PHONE")
	keys := anna.deviceKeys()
	n := 0
	for b.Loop() {
		device := id.DeviceID(fmt.Sprint("D", n))
		n++
		_, err := w.Upload(b.Context(), anna.User, device, e2ee.Upload{OneTimeKeys: oneTimeKeys(0, 50)})
		must(b, err)
	}
	_ = keys
}

func BenchmarkQuery100AndClaim100(b *testing.B) {
	w := newWorld(b, "sqlite:"+b.TempDir()+"/x.db")
	wanted, claims := e2ee.Wanted{}, e2ee.ClaimWanted{}
	var clients []*client
	for i := range 100 {
		c := w.user(fmt.Sprint("user", i), "PHONE")
		c.upload(0, 50)
		wanted[c.User], claims[c.User] = nil, map[id.DeviceID]string{"PHONE": "signed_curve25519"}
		clients = append(clients, c)
	}
	b.Run("query", func(b *testing.B) {
		for b.Loop() {
			_, err := w.Query(b.Context(), clients[0].User, wanted, 0)
			must(b, err)
		}
	})
	first := 50
	left := 50
	b.Run("claim", func(b *testing.B) {
		for b.Loop() {
			if left == 0 {
				b.StopTimer()
				for _, c := range clients {
					_, err := w.Upload(b.Context(), c.User, c.Device, e2ee.Upload{OneTimeKeys: oneTimeKeys(first, 50)})
					must(b, err)
				}
				first, left = first+50, 50
				b.StartTimer()
			}
			left--
			_, err := w.Claim(b.Context(), claims, 0)
			must(b, err)
		}
	})
	messages := e2ee.Messages{}
	for _, c := range clients {
		messages[c.User] = map[id.DeviceID]json.RawMessage{"PHONE": json.RawMessage(`{"ciphertext":"` + strings.Repeat("a", 800) + `"}`)}
	}
	n := 0
	b.Run("to-device", func(b *testing.B) {
		for b.Loop() {
			n++
			must(b, w.SendToDevice(b.Context(), clients[0].User, "PHONE", fmt.Sprint(n), "m.room.encrypted", messages))
		}
	})
}
