package event

import (
	"crypto/ed25519"

	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/sign"
)

// AppendSigned appends the bytes that signatures are made over: the redacted event without signatures. With Signature it
// feeds a sign.Batch. SS v1.16 #signing-events
func (p *PDU) AppendSigned(dst []byte) []byte {
	return appendRedacted(dst, p.JSON, p.Type, p.Version, false)
}

// Signature finds the bytes of a signature.
func (p *PDU) Signature(server id.ServerName, keyID id.KeyID) ([]byte, bool) {
	return sign.Signature(p.JSON, string(server), keyID)
}

// SignatureKeys lists the keys with which a server has signed, as far as their algorithm is known.
func (p *PDU) SignatureKeys(server id.ServerName) []id.KeyID {
	return sign.KeyIDs(p.JSON, string(server))
}

// Signers lists the servers that have signed, rightly or not.
func (p *PDU) Signers() []id.ServerName {
	var servers []id.ServerName
	for _, name := range sign.Entities(p.JSON) {
		if server, err := id.ParseServerName(name); err == nil {
			servers = append(servers, server)
		}
	}
	return servers
}

// Verify checks one signature.
func (p *PDU) Verify(server id.ServerName, keyID id.KeyID, pub ed25519.PublicKey) error {
	sig, ok := p.Signature(server, keyID)
	if !ok {
		return sign.ErrUnsigned
	}
	good := false
	withScratch(func(buf []byte) []byte {
		buf = p.AppendSigned(buf)
		good = sign.Verify(pub, buf, sig)
		return buf
	})
	if !good {
		return sign.ErrForged
	}
	return nil
}

// Sign returns the event with one more signature, as who is invited adds theirs.
func (p *PDU) Sign(server id.ServerName, key sign.Key) *PDU {
	signatures, _ := canonical.Get(p.JSON, "signatures")
	sig := ed25519.Sign(key.Private, p.AppendSigned(nil))
	s := *p
	s.JSON = canonical.AppendSet(nil, p.JSON, "signatures", sign.AppendSignature(nil, signatures, string(server), key.ID, sig))
	s.refresh()
	return &s
}

// WithSignatures returns the event with the signatures of another copy of it added, as a resident server returns ours
// with its own. Signatures p has already stay as they are. Nothing is checked. SS v1.16 #joining-rooms
func (p *PDU) WithSignatures(of *PDU) *PDU {
	signatures, _ := canonical.Get(p.JSON, "signatures")
	for _, server := range of.Signers() {
		for _, keyID := range of.SignatureKeys(server) {
			if _, known := p.Signature(server, keyID); known {
				continue
			}
			if sig, ok := of.Signature(server, keyID); ok {
				signatures = sign.AppendSignature(nil, signatures, string(server), keyID, sig)
			}
		}
	}
	if len(signatures) == 0 {
		return p
	}
	s := *p
	s.JSON = canonical.AppendSet(nil, p.JSON, "signatures", signatures)
	s.refresh()
	return &s
}
