package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"konsil/matrix/id"
	"konsil/matrix/sign"
)

// devices measures what end-to-end encryption asks of a server.
func (b *bench) devices() error {
	s, err := b.serve()
	if err != nil {
		return err
	}
	const group = 100
	people, err := b.people(s, "e", group+1)
	if err != nil {
		return err
	}
	anna, others := people[group], people[:group]
	// They share a room, as people who ask for each other's keys do.
	room, err := anna.createRoom("Encrypted")
	if err != nil {
		return err
	}
	if err := parallel(8, group, func(_, i int) error {
		if err := others[i].join(room); err != nil {
			return err
		}
		keys, err := others[i].deviceKeys()
		if err != nil {
			return err
		}
		_, err = others[i].call("POST", v3("keys", "upload"), map[string]any{"device_keys": keys})
		return err
	}); err != nil {
		return err
	}
	query, claim := map[string][]string{}, map[string]map[string]string{}
	for _, u := range others {
		query[u.id] = []string{}
		claim[u.id] = map[string]string{u.device: "signed_curve25519"}
	}
	uploads := make([]int, group)
	upload := func(_, i int) error {
		i %= group
		uploads[i]++
		keys, err := others[i].oneTimeKeys(50, uploads[i])
		if err != nil {
			return err
		}
		_, err = others[i].call("POST", v3("keys", "upload"), map[string]any{"one_time_keys": keys})
		return err
	}
	for i := range 3 * group { // enough to claim
		if err := upload(0, i); err != nil {
			return err
		}
	}
	return errors.Join(
		b.cost(s, load{name: "keys, query 100", ops: b.scale(40), op: func(_, _ int) error {
			_, err := anna.call("POST", v3("keys", "query"), map[string]any{"device_keys": query})
			return err
		}}),
		b.cost(s, load{name: "keys, claim 100", ops: b.scale(20), op: func(_, _ int) error {
			_, err := anna.call("POST", v3("keys", "claim"), map[string]any{"one_time_keys": claim})
			return err
		}}),
		b.cost(s, load{name: "keys, upload 50", ops: b.scale(60), op: upload}),
		b.cost(s, load{name: "to-device to 100", ops: b.scale(20), op: func(_, i int) error {
			_, err := anna.call("PUT", v3("sendToDevice", "m.room.encrypted", fmt.Sprint("device", i)), toDevice(others))
			return err
		}}),
	)
}

// secret is as many random bytes as a key or ciphertext has, in the base64 of the specification.
func secret(n int) string {
	raw := make([]byte, n)
	_, _ = rand.Read(raw) // never fails
	return base64.RawStdEncoding.EncodeToString(raw)
}

// deviceKey is the key a device signs its other keys with.
func (u *user) deviceKey() sign.Key {
	seed := sha256.Sum256([]byte(u.id))
	return sign.Key{ID: id.KeyID("ed25519:" + u.device), Private: ed25519.NewKeyFromSeed(seed[:])}
}

// signed is a JSON object with the device's signature, which the server checks.
func (u *user) signed(object map[string]any) (json.RawMessage, error) {
	raw, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	return sign.JSON(raw, u.id, u.deviceKey())
}

// deviceKeys are those of a client. CS v1.16 #post_matrixclientv3keysupload
func (u *user) deviceKeys() (json.RawMessage, error) {
	public := base64.RawStdEncoding.EncodeToString(u.deviceKey().Private.Public().(ed25519.PublicKey))
	return u.signed(map[string]any{"user_id": u.id, "device_id": u.device, "algorithms": []string{"m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"},
		"keys": map[string]string{"curve25519:" + u.device: secret(32), "ed25519:" + u.device: public}})
}

func (u *user) oneTimeKeys(n, batch int) (map[string]any, error) {
	keys := map[string]any{}
	for i := range n {
		key, err := u.signed(map[string]any{"key": secret(32)})
		if err != nil {
			return nil, err
		}
		keys[fmt.Sprintf("signed_curve25519:B%dK%d", batch, i)] = key
	}
	return keys, nil
}

// toDevice is a message to each, as long as a room key wrapped by Olm.
func toDevice(to []*user) map[string]any {
	messages := map[string]any{}
	for _, u := range to {
		messages[u.id] = map[string]any{u.device: map[string]any{"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": secret(32),
			"ciphertext": map[string]any{secret(32): map[string]any{"type": 0, "body": secret(600)}}}}
	}
	return map[string]any{"messages": messages}
}
