package e2ee_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"konsil/homeserver/e2ee"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/sign"
)

// identity are the three cross-signing keys of a user.
type identity struct {
	user                id.UserID
	master, self, users sign.Key
}

func newIdentity(t *testing.T, user id.UserID) identity {
	t.Helper()
	draw := func() sign.Key {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		must(t, err)
		key := sign.Key{Private: private}
		key.ID = id.KeyID("ed25519:" + sign.EncodeBase64(key.Public()))
		return key
	}
	return identity{user, draw(), draw(), draw()}
}

func public(key sign.Key) string { return sign.EncodeBase64(key.Public()) }

// key writes one of the keys, signed by signers.
func (i identity) key(t *testing.T, key sign.Key, usage string, signers ...sign.Key) json.RawMessage {
	t.Helper()
	obj := []byte(fmt.Sprintf(`{"user_id":%q,"usage":[%q],"keys":{%q:%q}}`, i.user, usage, key.ID, public(key)))
	for _, signer := range signers {
		var err error
		obj, err = sign.JSON(obj, string(i.user), signer)
		must(t, err)
	}
	return obj
}

func (i identity) upload(t *testing.T) e2ee.CrossSigningUpload {
	return e2ee.CrossSigningUpload{
		Master:      i.key(t, i.master, "master"),
		SelfSigning: i.key(t, i.self, "self_signing", i.master),
		UserSigning: i.key(t, i.users, "user_signing", i.master),
	}
}

func (w *world) cross(user id.UserID, up e2ee.CrossSigningUpload) (needsProof bool) {
	w.t.Helper()
	change, err := w.CheckCrossSigning(w.t.Context(), user, up)
	must(w.t, err)
	must(w.t, w.SetCrossSigning(w.t.Context(), user, change))
	return change.NeedsProof
}

// MSC3967: the first keys and the same keys again need no proof, others do.
func TestCrossSigningNeedsProofToBeReplaced(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		anna := w.user("anna", "PHONE")
		first, second := newIdentity(t, anna.User), newIdentity(t, anna.User)
		onlyMaster := e2ee.CrossSigningUpload{Master: first.key(t, first.master, "master")}
		check(t, w.cross(anna.User, onlyMaster), false)
		check(t, w.cross(anna.User, onlyMaster), false)
		check(t, w.cross(anna.User, first.upload(t)), true) // adds two
		check(t, w.cross(anna.User, first.upload(t)), false)
		check(t, w.cross(anna.User, second.upload(t)), true)
	})
}

// Two uploads that were both found to need no proof: only one of them counts.
func TestCrossSigningUploadsDoNotRace(t *testing.T) {
	w := newWorld(t, "sqlite:"+t.TempDir()+"/x.db")
	anna := w.user("anna", "PHONE")
	one, err := w.CheckCrossSigning(t.Context(), anna.User, newIdentity(t, anna.User).upload(t))
	must(t, err)
	two, err := w.CheckCrossSigning(t.Context(), anna.User, newIdentity(t, anna.User).upload(t))
	must(t, err)
	check(t, []bool{one.NeedsProof, two.NeedsProof}, []bool{false, false})
	must(t, w.SetCrossSigning(t.Context(), anna.User, one))
	wantCode(t, w.SetCrossSigning(t.Context(), anna.User, two), mxerr.CodeUnknown)
}

func TestCrossSigningVisibility(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		anna, kurt := w.user("anna", "PHONE"), w.user("kurt", "DESK")
		ids := newIdentity(t, anna.User)
		w.cross(anna.User, ids.upload(t))
		for _, asker := range []id.UserID{anna.User, kurt.User} {
			answer := w.query(asker, anna.User)
			for _, field := range []string{"master_keys", "self_signing_keys"} {
				if at(answer, field, string(anna.User)) == nil {
					t.Errorf("%s does not see %s", asker, field)
				}
			}
			if seen := at(answer, "user_signing_keys", string(anna.User)) != nil; seen != (asker == anna.User) {
				t.Errorf("%s sees the user-signing key: %v", asker, seen)
			}
		}
		remote := w.tree(w.QueryFor(t.Context(), e2ee.Wanted{anna.User: nil}))
		if _, ok := remote["user_signing_keys"]; ok {
			t.Error("another server sees user-signing keys")
		}
		if at(remote, "master_keys", string(anna.User)) == nil {
			t.Error("another server does not see the master key")
		}
	})
}

func TestSignaturesOfOwnDevicesAreForAll(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		anna, kurt := w.user("anna", "PHONE"), w.user("kurt", "DESK")
		anna.upload(0, 0)
		ids := newIdentity(t, anna.User)
		w.cross(anna.User, ids.upload(t))
		signed, err := sign.JSON(anna.deviceKeys(), string(anna.User), ids.self)
		must(t, err)
		master, err := sign.JSON(ids.key(t, ids.master, "master"), string(anna.User), anna.key)
		must(t, err)
		failures, err := w.UploadSignatures(t.Context(), anna.User, e2ee.Signed{anna.User: {"PHONE": signed, public(ids.master): master}})
		must(t, err)
		check(t, failures, e2ee.Failures{})
		answer := w.query(kurt.User, anna.User)
		sigs := at(answer, "device_keys", string(anna.User), "PHONE", "signatures", string(anna.User))
		if sigs[string(ids.self.ID)] == nil || sigs["ed25519:PHONE"] == nil {
			t.Errorf("signatures of the device: %v", sigs)
		}
		if at(answer, "master_keys", string(anna.User), "signatures", string(anna.User))["ed25519:PHONE"] == nil {
			t.Error("the device's signature of the master key is not there")
		}
		// The same upload once more keeps what was signed since.
		anna.upload(0, 0)
		sigs = at(w.query(kurt.User, anna.User), "device_keys", string(anna.User), "PHONE", "signatures", string(anna.User))
		if sigs[string(ids.self.ID)] == nil {
			t.Error("a repeated upload dropped the cross-signature")
		}
	})
}

func TestSignaturesOfOthersAreForTheSignerOnly(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		anna, kurt := w.user("anna", "PHONE"), w.user("kurt", "DESK")
		of := map[id.UserID]identity{anna.User: newIdentity(t, anna.User), kurt.User: newIdentity(t, kurt.User)}
		for user, ids := range of {
			w.cross(user, ids.upload(t))
		}
		master := of[kurt.User].key(t, of[kurt.User].master, "master")
		signed, err := sign.JSON(master, string(anna.User), of[anna.User].users)
		must(t, err)
		before := w.Store.Position()
		failures, err := w.UploadSignatures(t.Context(), anna.User, e2ee.Signed{kurt.User: {public(of[kurt.User].master): signed}})
		must(t, err)
		check(t, failures, e2ee.Failures{})
		sigs := func(asker id.UserID) map[string]any {
			return at(w.query(asker, kurt.User), "master_keys", string(kurt.User), "signatures", string(anna.User))
		}
		if sigs(anna.User)[string(of[anna.User].users.ID)] == nil {
			t.Error("the signer does not see the signature")
		}
		check(t, len(sigs(kurt.User)), 0)
		// The signer's other devices are told to look.
		changes, err := w.Changes(t.Context(), anna.User, before, w.Store.Position())
		must(t, err)
		check(t, changes, e2ee.Changes{Changed: []id.UserID{kurt.User}, Left: []id.UserID{}})
	})
}

// B13: what is forged, foreign or unknown is refused one by one, and keeps nothing else out.
func TestB13ForgedSignatures(t *testing.T) {
	w := newWorld(t, "sqlite:"+t.TempDir()+"/x.db")
	anna, kurt := w.user("anna", "PHONE"), w.user("kurt", "DESK")
	anna.upload(0, 0)
	kurt.upload(0, 0)
	annas, kurts, strangers := newIdentity(t, anna.User), newIdentity(t, kurt.User), newIdentity(t, anna.User)
	w.cross(anna.User, annas.upload(t))
	w.cross(kurt.User, kurts.upload(t))
	signed := func(obj json.RawMessage, by sign.Key) json.RawMessage {
		out, err := sign.JSON(obj, string(anna.User), by)
		must(t, err)
		return out
	}
	forged := json.RawMessage(strings.Replace(string(signed(anna.deviceKeys(), annas.self)), `"abc"`, `"abd"`, 1))
	failures, err := w.UploadSignatures(t.Context(), anna.User, e2ee.Signed{
		anna.User: {
			"PHONE":                signed(anna.deviceKeys(), annas.self), // good
			"GONE":                 signed(anna.deviceKeys(), annas.self),
			public(annas.master):   annas.key(t, annas.master, "master", kurt.key),
			public(strangers.self): strangers.key(t, strangers.self, "self_signing", strangers.master),
		},
		kurt.User: {
			public(kurts.master):     signed(kurts.key(t, kurts.master, "master"), annas.self), // the wrong one of the signer's keys
			"DESK":                   signed(kurt.deviceKeys(), annas.users),                   // not the signer's to sign
			public(strangers.master): json.RawMessage(`"no object"`),
		},
	})
	must(t, err)
	got := map[string]string{}
	for user, byKey := range failures {
		for key, refused := range byKey {
			got[string(user)+" "+key] = refused.Code
		}
	}
	check(t, got, map[string]string{
		"@anna:here.test GONE":                        mxerr.CodeNotFound,
		"@anna:here.test " + public(annas.master):     mxerr.CodeInvalidSignature,
		"@anna:here.test " + public(strangers.self):   mxerr.CodeNotFound,
		"@kurt:here.test " + public(kurts.master):     mxerr.CodeInvalidSignature,
		"@kurt:here.test DESK":                        mxerr.CodeNotFound,
		"@kurt:here.test " + public(strangers.master): mxerr.CodeBadJSON,
	})
	failures, err = w.UploadSignatures(t.Context(), anna.User, e2ee.Signed{anna.User: {"PHONE": forged}})
	must(t, err)
	check(t, failures[anna.User]["PHONE"].Code, mxerr.CodeBadJSON) // other keys than those published
	stranger := signed(anna.deviceKeys(), strangers.self)
	failures, err = w.UploadSignatures(t.Context(), anna.User, e2ee.Signed{anna.User: {"PHONE": stranger}})
	must(t, err)
	check(t, failures[anna.User]["PHONE"].Code, mxerr.CodeInvalidSignature)
	sigs := at(w.query(kurt.User, anna.User), "device_keys", string(anna.User), "PHONE", "signatures", string(anna.User))
	check(t, sigs[string(annas.self.ID)] != nil && sigs[string(strangers.self.ID)] == nil, true)

	for name, up := range map[string]struct {
		e2ee.CrossSigningUpload
		code string
	}{
		"signed by a stranger": {e2ee.CrossSigningUpload{SelfSigning: strangers.key(t, strangers.self, "self_signing", strangers.master)}, mxerr.CodeInvalidSignature},
		"not signed":           {e2ee.CrossSigningUpload{UserSigning: strangers.key(t, strangers.users, "user_signing")}, mxerr.CodeInvalidSignature},
		"another usage":        {e2ee.CrossSigningUpload{Master: strangers.key(t, strangers.self, "self_signing")}, mxerr.CodeInvalidParam},
		"another user":         {e2ee.CrossSigningUpload{Master: kurts.key(t, kurts.master, "master")}, mxerr.CodeInvalidParam},
		"two keys": {e2ee.CrossSigningUpload{Master: json.RawMessage(fmt.Sprintf(`{"user_id":%q,"usage":["master"],"keys":{%q:%q,%q:%q}}`,
			anna.User, annas.master.ID, public(annas.master), annas.self.ID, public(annas.self)))}, mxerr.CodeInvalidParam},
		"nothing": {e2ee.CrossSigningUpload{}, mxerr.CodeMissingParam},
	} {
		_, err := w.CheckCrossSigning(t.Context(), anna.User, up.CrossSigningUpload)
		if e, ok := mxerr.As(err); !ok || e.Code != up.code {
			t.Errorf("%s: %v, want %s", name, err, up.code)
		}
	}
}
