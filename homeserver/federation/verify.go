package federation

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"konsil/homeserver/room/auth"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/sign"
)

// ErrSignature says that an event lacks a signature it needs.
var ErrSignature = errors.New("event is not properly signed")

// maxSignatures is how many keys of one server are tried on one event.
const maxSignatures = 4

// forEvent finds the key for one signature of an event. RV 5 #signing-key-validity-period
func (k *Keyring) forEvent(ctx context.Context, ev *event.PDU, server id.ServerName, key id.KeyID) (ed25519.PublicKey, error) {
	return k.find(ctx, server, func(d document) (ed25519.PublicKey, bool) {
		return d.ForEvent(key, ev.OriginServerTS, d.fetched, ev.Version.EnforceKeyValidity)
	})
}

// VerifyPDU checks the signatures of one event.
func (k *Keyring) VerifyPDU(ctx context.Context, ev *event.PDU) error {
	return k.VerifyPDUs(ctx, []*event.PDU{ev})[0]
}

// VerifyOffered checks the signatures of an event that a server offers for us to admit: a join that we are to vouch for is
// not signed by us yet.
func (k *Keyring) VerifyOffered(ctx context.Context, ev *event.PDU) error {
	var batch sign.Batch
	var checks []check
	if err := k.addOf(ctx, &batch, &checks, 0, ev, slices.DeleteFunc(auth.RequiredSigners(ev), func(s id.ServerName) bool { return s == k.server })); err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	for _, good := range batch.Verify() {
		if !good {
			return ErrSignature
		}
	}
	if len(checks) == 0 {
		return ErrSignature
	}
	return nil
}

// check is one signature in a batch.
type check struct {
	pdu    int // index of its event
	server id.ServerName
	key    id.KeyID
	number int // in the batch
}

// VerifyPDUs checks the signatures of many events together; the errors stand at their events' places. Keys are fetched in
// parallel, signatures are verified in one batch: call it from several goroutines to use several cores.
func (k *Keyring) VerifyPDUs(ctx context.Context, evs []*event.PDU) []error {
	errs := make([]error, len(evs))
	k.prefetch(ctx, evs)
	var (
		batch  sign.Batch
		checks []check
	)
	for i, ev := range evs {
		if errs[i] = k.add(ctx, &batch, &checks, i, ev); errs[i] != nil {
			errs[i] = fmt.Errorf("%w: %w", ErrSignature, errs[i])
		}
	}
	if len(checks) == 0 {
		return errs
	}
	good := batch.Verify()
	for _, c := range checks {
		if !good[c.number] && errs[c.pdu] == nil {
			errs[c.pdu] = ErrSignature
		}
	}
	return errs
}

// add puts all known signatures of the servers that must have signed into the batch; each server needs at least one.
func (k *Keyring) add(ctx context.Context, batch *sign.Batch, checks *[]check, i int, ev *event.PDU) error {
	return k.addOf(ctx, batch, checks, i, ev, auth.RequiredSigners(ev))
}

func (k *Keyring) addOf(ctx context.Context, batch *sign.Batch, checks *[]check, i int, ev *event.PDU, needed []id.ServerName) error {
	var message []byte
	for _, server := range needed {
		found := false
		var last error = sign.ErrUnsigned
		keys := ev.SignatureKeys(server)
		for _, key := range keys[:min(len(keys), maxSignatures)] {
			sig, ok := ev.Signature(server, key)
			if !ok {
				continue
			}
			pub, err := k.forEvent(ctx, ev, server, key)
			if err != nil {
				last = err // unknown and expired keys are skipped
				continue
			}
			if message == nil {
				message = ev.AppendSigned(nil)
			}
			*checks = append(*checks, check{i, server, key, batch.Add(pub, message, sig)})
			found = true
		}
		if !found {
			return last
		}
	}
	return nil
}

// prefetch fetches what keys are missing for the events, in parallel, so that add finds them in memory.
func (k *Keyring) prefetch(ctx context.Context, evs []*event.PDU) {
	type need struct {
		server id.ServerName
		key    id.KeyID
	}
	seen := map[need]bool{}
	var g errgroup.Group
	g.SetLimit(fetchSlots)
	for _, ev := range evs {
		for _, server := range auth.RequiredSigners(ev) {
			keys := ev.SignatureKeys(server)
			for _, key := range keys[:min(len(keys), maxSignatures)] {
				if seen[need{server, key}] || server == k.server {
					continue
				}
				seen[need{server, key}] = true
				k.mu.Lock()
				known := k.servers[server]
				k.mu.Unlock()
				if known != nil && pickable(known.documents, ev, key) {
					continue
				}
				g.Go(func() error {
					_, _ = k.forEvent(ctx, ev, server, key) // add meets the same error again
					return nil
				})
			}
		}
	}
	_ = g.Wait()
}

func pickable(documents []document, ev *event.PDU, key id.KeyID) bool {
	_, ok := pickFrom(documents, func(d document) (ed25519.PublicKey, bool) {
		return d.ForEvent(key, ev.OriginServerTS, d.fetched, ev.Version.EnforceKeyValidity)
	})
	return ok
}

// batchSize is how many events are verified together: enough that a batch is cheaper, few enough that cores share work.
const batchSize = 128

// verifyAll verifies many events on all cores and drops those that fail. An event whose content hash does not fit is
// redacted. SS v1.16 #checks-performed-on-receipt-of-a-pdu steps 2 and 3
func (f *Federation) verifyAll(ctx context.Context, evs []*event.PDU, patience time.Duration) []*event.PDU {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	good := make([]*event.PDU, len(evs))
	g, ctx := errgroup.WithContext(ctx)
	for start := 0; start < len(evs); start += batchSize {
		end := min(start+batchSize, len(evs))
		g.Go(func() error {
			f.Keys.prefetch(ctx, evs[start:end]) // before a core is taken: this waits for the network
			f.verify <- struct{}{}
			defer func() { <-f.verify }()
			for i, err := range f.Keys.VerifyPDUs(ctx, evs[start:end]) {
				if err == nil {
					good[start+i] = asHashed(evs[start+i])
				}
			}
			return nil
		})
	}
	_ = g.Wait()
	kept := good[:0]
	for _, ev := range good {
		if ev != nil {
			kept = append(kept, ev)
		}
	}
	return kept
}

// asHashed is the event, or its redacted copy where the content hash does not fit.
func asHashed(ev *event.PDU) *event.PDU {
	if ev.HashMatches() {
		return ev
	}
	return ev.Redact()
}
