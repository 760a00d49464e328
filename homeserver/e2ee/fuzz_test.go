package e2ee

import (
	"bytes"
	"encoding/json"
	"testing"

	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
)

const fuzzUser, fuzzDevice = id.UserID("@bob:there.test"), id.DeviceID("D")

// valid fails unless b is JSON in canonical form, ready to be stored and copied into answers.
func valid(t *testing.T, b []byte) {
	t.Helper()
	again, err := canonical.Append(nil, b, canonical.Lenient)
	if err != nil || !bytes.Equal(again, b) {
		t.Errorf("not canonical: %q: %v", b, err)
	}
}

func FuzzDeviceKeys(f *testing.F) {
	f.Add([]byte(`{"user_id":"@bob:there.test","device_id":"D","algorithms":["a"],"keys":{"ed25519:D":"k"},"signatures":{"@bob:there.test":{"ed25519:D":"s"}},"unsigned":{"x":1}}`))
	f.Add([]byte(`{"algorithms":[],"device_id":"D","keys":{},"signatures":{},"user_id":"@bob:there.test","\u0075nsigned":{},"x":1e2}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		keys, err := parseDeviceKeys(raw, fuzzUser, fuzzDevice)
		if err != nil {
			return
		}
		valid(t, keys)
		if _, ok := canonical.Get(keys, "unsigned"); ok {
			t.Error("unsigned was kept")
		}
		// What was stored and comes again changes nothing.
		again, err := parseDeviceKeys(keys, fuzzUser, fuzzDevice)
		if err != nil || !bytes.Equal(again, keys) {
			t.Errorf("%q became %q: %v", keys, again, err)
		}
		merged, differs, err := merge(keys, keys)
		if err != nil || differs || !bytes.Equal(merged, keys) {
			t.Errorf("merged with itself: %q, %v, %v", merged, differs, err)
		}
		if b := appendWithName(nil, store.DeviceKeys{Keys: keys, DisplayName: `"x`}, false); !json.Valid(b) {
			t.Errorf("no JSON: %s", b)
		}
	})
}

func FuzzOneTimeKeys(f *testing.F) {
	f.Add([]byte(`{"signed_curve25519:A":{"key":"k","signatures":{"u":{"d":"s"}}},"curve25519:B":"x"}`))
	f.Add([]byte(`{"a:\u0000":"x"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		all, err := parseOneTimeKeys(raw)
		if err != nil {
			return
		}
		for _, of := range all {
			for _, key := range of.keys {
				valid(t, key.JSON)
				if of.algorithm == "" || key.ID == "" {
					t.Error("a key without a name")
				}
			}
		}
	})
}

func FuzzRemoteAnswers(f *testing.F) {
	f.Add([]byte(`{"user_id":"@bob:there.test","stream_id":5,"devices":[{"device_id":"D","keys":{"user_id":"@bob:there.test","device_id":"D","algorithms":[],"keys":{},"signatures":{}}}],
		"master_key":{"user_id":"@bob:there.test","usage":["master"],"keys":{"ed25519:AAAA":"AAAA"}}}`))
	f.Add([]byte(`{"device_keys":{"@bob:there.test":{"D":{}}},"one_time_keys":{"@bob:there.test":{"D":{"a:1":"x"}}}}`))
	f.Add([]byte(`{"user_id":"@bob:there.test","device_id":"D","stream_id":5,"prev_id":[4],"deleted":true,"keys":{}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, _ := parseUserDevices(raw, fuzzUser)
		lists, err := parseQueryAnswer(raw, []id.UserID{fuzzUser})
		if err == nil {
			list.devices = append(list.devices, lists[fuzzUser].devices...)
			list.keys = append(list.keys, lists[fuzzUser].keys...)
		}
		if u, ok := parseDeviceListUpdate(raw, "there.test"); ok && u.keys != nil {
			list.devices = append(list.devices, store.DeviceKeys{User: u.user, Device: u.device, Keys: u.keys})
		}
		for _, d := range list.devices {
			if d.Keys != nil {
				valid(t, d.Keys)
			}
		}
		for _, key := range list.keys {
			valid(t, key.JSON)
		}
		got, err := claimAnswer(raw, ClaimWanted{fuzzUser: {fuzzDevice: "a"}})
		if err == nil && !json.Valid(claimJSON(got, nil)) {
			t.Error("no JSON")
		}
		a := answer{wanted: Wanted{fuzzUser: nil}, keys: list.keys}
		for _, d := range list.devices {
			if d.Keys != nil {
				a.devices = append(a.devices, d)
			}
		}
		if b := a.json(); !json.Valid(b) {
			t.Errorf("no JSON: %s", b)
		}
	})
}

func FuzzBackupSession(f *testing.F) {
	f.Add([]byte(`{"first_message_index":1,"forwarded_count":0,"is_verified":true,"session_data":{"a":"b"}}`), "s")
	f.Add([]byte(`{"first_message_index":-1,"forwarded_count":1e3,"is_verified":1,"session_data":[]}`), "")
	f.Fuzz(func(t *testing.T, raw []byte, name string) {
		var session SessionJSON
		if json.Unmarshal(raw, &session) != nil {
			return
		}
		s, err := session.parse("!r:x", name)
		if err != nil {
			return
		}
		if s.FirstMessageIndex < 0 || s.ForwardedCount < 0 || !json.Valid(appendSession(nil, s)) {
			t.Errorf("taken: %+v", s)
		}
		if better(s, s) {
			t.Error("a session is better than itself")
		}
	})
}
