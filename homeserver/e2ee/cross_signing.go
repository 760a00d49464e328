package e2ee

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/sign"
)

// CrossSigningUpload is the body of /keys/device_signing/upload. CS v1.16 #post_matrixclientv3keysdevice_signingupload
type CrossSigningUpload struct {
	Master      json.RawMessage `json:"master_key"`
	SelfSigning json.RawMessage `json:"self_signing_key"`
	UserSigning json.RawMessage `json:"user_signing_key"`
}

// CrossSigningChange is an upload that was found good.
type CrossSigningChange struct {
	// NeedsProof: the user must prove that it is them. Not for the first keys, and not for those that are there already.
	// CS v1.16 #post_matrixclientv3keysdevice_signingupload
	NeedsProof bool

	keys []store.CrossSigningKey // none: nothing to do
	seen map[string]string       // usage → public key, as it was when the upload was checked
}

// CheckCrossSigning judges an upload of cross-signing keys without storing anything.
func (k *Keeper) CheckCrossSigning(ctx context.Context, user id.UserID, up CrossSigningUpload) (*CrossSigningChange, error) {
	var stored []store.CrossSigningKey
	var devices []store.DeviceKeys
	err := k.Store.Read(ctx, func(tx *store.Tx) (err error) {
		if stored, err = tx.CrossSigningKeys(ctx, []id.UserID{user}); err == nil {
			devices, err = tx.LocalDevices(ctx, user)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read cross-signing keys: %w", err)
	}
	change := &CrossSigningChange{seen: map[string]string{}}
	master := ""
	for _, key := range stored {
		change.seen[key.Usage] = key.Public
		if key.Usage == store.UsageMaster {
			master = key.Public
		}
	}
	unchanged := true
	for _, given := range []struct {
		usage string
		raw   json.RawMessage
	}{{store.UsageMaster, up.Master}, {store.UsageSelfSigning, up.SelfSigning}, {store.UsageUserSigning, up.UserSigning}} {
		if absent(given.raw) {
			continue
		}
		key, err := parseCrossSigningKey(given.raw, user, given.usage)
		if err != nil {
			return nil, err
		}
		if given.usage == store.UsageMaster {
			master = key.Public
		}
		if err := checkNewKey(&key, master, devices); err != nil {
			return nil, err
		}
		unchanged = unchanged && change.seen[key.Usage] == key.Public
		change.keys = append(change.keys, key)
	}
	if len(change.keys) == 0 {
		return nil, mxerr.MissingParam("No keys given")
	}
	if unchanged {
		change.keys = nil
		return change, nil
	}
	change.NeedsProof = change.seen[store.UsageMaster] != ""
	return change, nil
}

// parseCrossSigningKey checks the form of a cross-signing key. CS v1.16 #cross-signing
func parseCrossSigningKey(raw []byte, user id.UserID, usage string) (store.CrossSigningKey, error) {
	key := store.CrossSigningKey{User: user, Usage: usage}
	if len(raw) > maxDeviceKeys {
		return key, mxerr.BadJSON("a key is larger than %d bytes", maxDeviceKeys)
	}
	obj, err := canonicalObject(raw)
	if err != nil {
		return key, mxerr.BadJSON("%s_key is no JSON object", usage)
	}
	if who, ok := canonical.GetString(obj, "user_id"); !ok || id.UserID(who) != user {
		return key, mxerr.InvalidParam("%s_key names another user", usage)
	}
	if !hasUsage(obj, usage) {
		return key, mxerr.InvalidParam("%s_key is not for this usage", usage)
	}
	n := 0
	public, _ := canonical.Get(obj, "keys")
	err = canonical.Object(public, func(name string, value []byte) error {
		n++
		b64, ok := canonical.String(value)
		if !ok || name != "ed25519:"+b64 {
			return canonical.ErrValue
		}
		_, err := sign.ParsePublic(b64)
		key.Public = b64
		return err
	})
	if err != nil || n != 1 {
		return key, mxerr.InvalidParam("%s_key does not hold just one Ed25519 key under its own name", usage)
	}
	if _, err := parseSignatures(obj, false); err != nil {
		return key, err
	}
	key.JSON = without(obj, "unsigned")
	return key, nil
}

func hasUsage(obj []byte, usage string) bool {
	found := false
	list, _ := canonical.Get(obj, "usage")
	_ = canonical.Array(list, func(value []byte) error {
		s, ok := canonical.String(value)
		found = found || ok && s == usage
		return nil
	})
	return found
}

// checkNewKey checks the signatures of a key: master must have signed the other two, and what devices have signed of the
// master key must be right. Signatures nobody can check are left out.
func checkNewKey(key *store.CrossSigningKey, master string, devices []store.DeviceKeys) error {
	if slices.ContainsFunc(devices, func(d store.DeviceKeys) bool { return string(d.Device) == key.Public }) {
		return mxerr.Forbidden("A device of this user has the same name as the key")
	}
	user := string(key.User)
	kept := signatures{user: {}}
	sigs, err := parseSignatures(key.JSON, false)
	if err != nil {
		return err
	}
	if key.Usage != store.UsageMaster {
		if master == "" {
			return mxerr.MissingParam("No master key is there to have signed %s_key", key.Usage)
		}
		keyID := id.KeyID("ed25519:" + master)
		public, err := sign.ParsePublic(master)
		if err != nil || sign.VerifyJSON(key.JSON, user, keyID, public) != nil {
			return mxerr.InvalidSignature("The master key's signature of %s_key is missing or wrong", key.Usage)
		}
		kept[user][string(keyID)] = sigs[user][string(keyID)]
	} else {
		for _, d := range devices {
			keyID := "ed25519:" + string(d.Device)
			sig, signed := sigs[user][keyID]
			if !signed || d.Keys == nil {
				continue
			}
			_, public, ok := deviceEd25519(d.Keys, d.Device)
			if !ok || sign.VerifyJSON(key.JSON, user, id.KeyID(keyID), public) != nil {
				return mxerr.InvalidSignature("A device's signature of the master key is wrong")
			}
			kept[user][keyID] = sig
		}
	}
	if len(kept[user]) == 0 {
		key.JSON = without(key.JSON, "signatures")
	} else {
		key.JSON = withSignatures(key.JSON, kept)
	}
	return nil
}

// SetCrossSigning stores what CheckCrossSigning found good, after the user has proved whatever had to be.
func (k *Keeper) SetCrossSigning(ctx context.Context, user id.UserID, change *CrossSigningChange) error {
	if len(change.keys) == 0 {
		return nil
	}
	var pos int64
	err := k.Store.Write(ctx, func(tx *store.Tx) error {
		// Whether a proof was needed was decided on the keys of a moment ago.
		now, err := tx.CrossSigningKeys(ctx, []id.UserID{user})
		if err != nil {
			return err
		}
		if len(now) != len(change.seen) {
			return errKeysRaced
		}
		for _, key := range now {
			if change.seen[key.Usage] != key.Public {
				return errKeysRaced
			}
		}
		for _, key := range change.keys {
			if err := tx.SetCrossSigningKey(ctx, key); err != nil {
				return err
			}
		}
		pos, err = tx.DeviceListChanged(ctx, user)
		return err
	})
	if err != nil {
		return fmt.Errorf("store cross-signing keys: %w", err)
	}
	return k.wakeDevices(ctx, user, pos)
}

var errKeysRaced error = mxerr.Unknown("The keys were changed by another request at the same time")

// Signed is the body of /keys/signatures/upload: user → device or public key → the signed object.
type Signed map[id.UserID]map[string]json.RawMessage

// Failures say what was not stored: user → device or public key → why.
type Failures map[id.UserID]map[string]*mxerr.Error

func (f Failures) add(user id.UserID, key string, err *mxerr.Error) {
	if f[user] == nil {
		f[user] = map[string]*mxerr.Error{}
	}
	f[user][key] = err
}

const maxSigned = 1000 // objects in one request

// UploadSignatures stores signatures that a user's cross-signing keys or devices have made. Each is judged by itself: one that
// is wrong keeps none of the others out (B13). CS v1.16 #post_matrixclientv3keyssignaturesupload
func (k *Keeper) UploadSignatures(ctx context.Context, signer id.UserID, signed Signed) (Failures, error) {
	n := 0
	var users, remote []id.UserID
	for user, objects := range signed {
		n += len(objects)
		users = append(users, user)
		if !k.local(user) {
			remote = append(remote, user)
		}
	}
	if n > maxSigned {
		return nil, mxerr.TooLarge("More than %d signed objects", maxSigned)
	}
	var fetched fetchedKeys
	if len(remote) > 0 {
		var err error
		if fetched, err = k.fetchMissing(ctx, remote, defaultTimeout); err != nil {
			return nil, err
		}
	}
	s := signing{signer: signer, failures: Failures{}}
	err := k.Store.Read(ctx, func(tx *store.Tx) (err error) {
		if s.keys, err = tx.CrossSigningKeys(ctx, append(users, signer)); err == nil {
			s.devices, err = tx.LocalDevices(ctx, signer)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read signed keys: %w", err)
	}
	s.keys = append(s.keys, fetched.keys...)
	for user, objects := range signed {
		for name, raw := range objects {
			if err := s.judge(user, name, raw); err != nil {
				s.failures.add(user, name, err)
			}
		}
	}
	return s.failures, k.storeSignatures(ctx, &s)
}

// signing is what UploadSignatures knows, and what it found good.
type signing struct {
	signer  id.UserID
	keys    []store.CrossSigningKey // of all users concerned
	devices []store.DeviceKeys      // the signer's

	failures  Failures
	ofDevices map[id.DeviceID]goodSignature // by the self-signing key
	ofMaster  *goodSignature                // by devices
	ofOthers  []store.UserSignature         // by the user-signing key
}

// goodSignature is what was signed, without signatures, and the signatures.
type goodSignature struct {
	body []byte
	sigs signatures
}

func (s *signing) key(user id.UserID, usage string) (store.CrossSigningKey, bool) {
	i := slices.IndexFunc(s.keys, func(key store.CrossSigningKey) bool { return key.User == user && key.Usage == usage })
	if i < 0 {
		return store.CrossSigningKey{}, false
	}
	return s.keys[i], true
}

// judge takes one signed object. name says what it is: a device of the signer's own, or a public key.
func (s *signing) judge(user id.UserID, name string, raw []byte) *mxerr.Error {
	if len(raw) > maxDeviceKeys {
		return mxerr.BadJSON("too large")
	}
	obj, err := canonicalObject(raw)
	if err != nil {
		return mxerr.BadJSON("no JSON object")
	}
	sigs, err := parseSignatures(obj, true)
	if err != nil {
		return mxerr.BadJSON("no signatures")
	}
	master, hasMaster := s.key(user, store.UsageMaster)
	switch {
	case user != s.signer:
		if !hasMaster || master.Public != name {
			return mxerr.NotFound("Unknown master key")
		}
		return s.judgeOther(obj, master, sigs)
	case hasMaster && master.Public == name:
		return s.judgeMaster(obj, master, sigs)
	}
	i := slices.IndexFunc(s.devices, func(d store.DeviceKeys) bool { return string(d.Device) == name && d.Keys != nil })
	if i < 0 {
		return mxerr.NotFound("Unknown device")
	}
	return s.judgeDevice(obj, s.devices[i], sigs)
}

func sameBody(a, b []byte) bool {
	return bytes.Equal(without(a, "signatures", "unsigned"), without(b, "signatures", "unsigned"))
}

// verify picks the signature of one of the signer's cross-signing keys and checks it.
func (s *signing) verify(obj []byte, usage string, sigs signatures) (id.KeyID, string, *mxerr.Error) {
	key, ok := s.key(s.signer, usage)
	if !ok {
		return "", "", mxerr.NotFound("No %s key", usage)
	}
	keyID := id.KeyID("ed25519:" + key.Public)
	sig, ok := sigs[string(s.signer)][string(keyID)]
	public, err := sign.ParsePublic(key.Public)
	if !ok || err != nil || sign.VerifyJSON(obj, string(s.signer), keyID, public) != nil {
		return "", "", mxerr.InvalidSignature("The signature of the %s key is missing or wrong", usage)
	}
	return keyID, sig, nil
}

func (s *signing) judgeOther(obj []byte, master store.CrossSigningKey, sigs signatures) *mxerr.Error {
	if !sameBody(obj, master.JSON) {
		return mxerr.BadJSON("not the master key that is published")
	}
	keyID, sig, refused := s.verify(obj, store.UsageUserSigning, sigs)
	if refused != nil {
		return refused
	}
	s.ofOthers = append(s.ofOthers, store.UserSignature{Target: master.User, Public: master.Public, KeyID: keyID, Signature: sig})
	return nil
}

func (s *signing) judgeDevice(obj []byte, device store.DeviceKeys, sigs signatures) *mxerr.Error {
	if !sameBody(obj, device.Keys) {
		return mxerr.BadJSON("not the device's keys as published")
	}
	keyID, sig, refused := s.verify(obj, store.UsageSelfSigning, sigs)
	if refused != nil {
		return refused
	}
	if s.ofDevices == nil {
		s.ofDevices = map[id.DeviceID]goodSignature{}
	}
	s.ofDevices[device.Device] = goodSignature{without(obj, "signatures", "unsigned"),
		signatures{string(s.signer): {string(keyID): sig}}}
	return nil
}

// judgeMaster takes signatures of the signer's own master key by devices.
func (s *signing) judgeMaster(obj []byte, master store.CrossSigningKey, sigs signatures) *mxerr.Error {
	if !sameBody(obj, master.JSON) {
		return mxerr.BadJSON("not the master key that is published")
	}
	good := map[string]string{}
	for keyID, sig := range sigs[string(s.signer)] {
		i := slices.IndexFunc(s.devices, func(d store.DeviceKeys) bool { return "ed25519:"+string(d.Device) == keyID })
		if i < 0 || s.devices[i].Keys == nil {
			continue
		}
		_, public, ok := deviceEd25519(s.devices[i].Keys, s.devices[i].Device)
		if !ok || sign.VerifyJSON(obj, string(s.signer), id.KeyID(keyID), public) != nil {
			return mxerr.InvalidSignature("A device's signature of the master key is wrong")
		}
		good[keyID] = sig
	}
	if len(good) == 0 {
		return mxerr.InvalidSignature("No device of yours has signed the master key")
	}
	s.ofMaster = &goodSignature{without(obj, "signatures", "unsigned"), signatures{string(s.signer): good}}
	return nil
}

// storeSignatures adds the good signatures to what they sign, as long as that is still the same.
func (k *Keeper) storeSignatures(ctx context.Context, s *signing) error {
	if len(s.ofDevices) == 0 && s.ofMaster == nil && len(s.ofOthers) == 0 {
		return nil
	}
	var pos int64 // of a change that others see
	err := k.Store.Write(ctx, func(tx *store.Tx) (err error) {
		pos = 0
		var devices []id.DeviceID
		for device, good := range s.ofDevices {
			keys, err := tx.DeviceKey(ctx, s.signer, device)
			if err != nil {
				return err
			}
			if signed, ok := addSignatures(keys, good); ok {
				if err := tx.SetDeviceKey(ctx, s.signer, device, signed, ""); err != nil {
					return err
				}
				devices = append(devices, device)
			}
		}
		if len(devices) > 0 {
			if pos, err = tx.DeviceListChanged(ctx, s.signer, devices...); err != nil {
				return err
			}
		}
		if s.ofMaster != nil {
			if pos, err = signMaster(ctx, tx, s.signer, *s.ofMaster, pos); err != nil {
				return err
			}
		}
		for _, sig := range s.ofOthers {
			if err := tx.AddUserSignature(ctx, s.signer, sig); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("store signatures: %w", err)
	}
	if pos > 0 {
		return k.wakeDevices(ctx, s.signer, pos)
	}
	// Nobody but the signer's other devices sees what the user-signing key has signed.
	k.wakeSelf(s.signer)
	return nil
}

func signMaster(ctx context.Context, tx *store.Tx, user id.UserID, good goodSignature, pos int64) (int64, error) {
	keys, err := tx.CrossSigningKeys(ctx, []id.UserID{user})
	if err != nil {
		return 0, err
	}
	for _, key := range keys {
		if key.Usage != store.UsageMaster {
			continue
		}
		signed, ok := addSignatures(key.JSON, good)
		if !ok {
			continue
		}
		key.JSON = signed
		if err := tx.SetCrossSigningKey(ctx, key); err != nil {
			return 0, err
		}
		return tx.DeviceListChanged(ctx, user)
	}
	return pos, nil
}

// addSignatures adds signatures to keys if these are what was signed and something is new about it.
func addSignatures(keys []byte, good goodSignature) ([]byte, bool) {
	if !bytes.Equal(without(keys, "signatures", "unsigned"), good.body) {
		return nil, false
	}
	sigs, err := parseSignatures(keys, false)
	if err != nil {
		return nil, false
	}
	sigs.add(good.sigs)
	signed := withSignatures(keys, sigs)
	return signed, !bytes.Equal(signed, keys)
}
