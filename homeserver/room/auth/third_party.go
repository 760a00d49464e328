package auth

import (
	"crypto/ed25519"

	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/sign"
)

// ThirdPartyInvite is what the rules read of an m.room.third_party_invite event. CS v1.16 #mroomthird_party_invite
type ThirdPartyInvite struct {
	Sender id.UserID
	Keys   []ed25519.PublicKey // that may sign who the invited person is
}

// maxInviteKeys caps the keys of an invite, maxInviteChecks the signatures tried: an event has room for thousands of
// both, and each pair costs a verification. Identity servers give two keys and one signature.
const (
	maxInviteKeys   = 32
	maxInviteChecks = 128
)

// ParseThirdPartyInvite reads an m.room.third_party_invite event. It never fails: keys that can not be read sign nothing.
// RV 11 rule 4.4.1.7
func ParseThirdPartyInvite(ev *event.PDU) *ThirdPartyInvite {
	invite := &ThirdPartyInvite{Sender: ev.Sender}
	add := func(b64 string) {
		if key, err := sign.ParsePublic(b64); err == nil && len(invite.Keys) < maxInviteKeys {
			invite.Keys = append(invite.Keys, key)
		}
	}
	if key, ok := canonical.GetString(ev.Content, "public_key"); ok {
		add(key)
	}
	if list, found := canonical.Get(ev.Content, "public_keys"); found {
		_ = canonical.Array(list, func(value []byte) error {
			if key, ok := canonical.GetString(value, "public_key"); ok {
				add(key)
			}
			return nil
		})
	}
	return invite
}

// InviteToken is the token of an invite that answers a third-party invite: content.third_party_invite.signed.token.
func InviteToken(thirdParty []byte) (token string, ok bool) {
	return canonical.GetString(thirdParty, "signed", "token")
}

// thirdPartyInvite: RV 1 rule 5.3.1, RV 6 rule 4.3.1, RV 8 to 11 rule 4.4.1, RV 12 rule 5.4.1
func thirdPartyInvite(ev *event.PDU, target id.UserID, m *Member, st State) *Refusal {
	rule := numbersOf(ev.Version).invite + ".1"
	if st.Membership(target) == Banned {
		return refuse(rule+".1", "the user is banned")
	}
	signed, found := canonical.Get(m.ThirdParty, "signed")
	if !found {
		return refuse(rule+".2", "nothing signed")
	}
	mxid, hasUser := canonical.GetString(signed, "mxid")
	token, hasToken := canonical.GetString(signed, "token")
	if !hasUser || !hasToken {
		return refuse(rule+".3", "no mxid or no token")
	}
	if mxid != string(target) {
		return refuse(rule+".4", "mxid is not the invited user")
	}
	invite := st.ThirdPartyInvite(token)
	if invite == nil {
		return refuse(rule+".5", "no third-party invite with this token")
	}
	if invite.Sender != ev.Sender {
		return refuse(rule+".6", "the third-party invite is of another sender")
	}
	if !signedByAny(signed, invite.Keys) {
		return refuse(rule+".8", "no signature by a key of the third-party invite")
	}
	return nil
}

// signedByAny tries each signature of an object with each key, whoever it claims to be from.
func signedByAny(signed []byte, keys []ed25519.PublicKey) bool {
	signatures, found := canonical.Get(signed, "signatures")
	if !found {
		return false
	}
	left, valid := maxInviteChecks, false
	_ = canonical.Object(signatures, func(entity string, byKey []byte) error {
		return canonical.Object(byKey, func(keyID string, _ []byte) error {
			for _, key := range keys {
				if left--; left < 0 {
					return errStop
				}
				if sign.VerifyJSON(signed, entity, id.KeyID(keyID), key) == nil {
					valid = true
					return errStop
				}
			}
			return nil
		})
	})
	return valid
}
