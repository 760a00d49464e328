package account

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
)

// While all slots are taken, the next one waits, and may give up.
func TestHashingLeavesCoresFree(t *testing.T) {
	h := NewHasher(CheapCost)
	for range cap(h.slots) {
		h.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Hash(ctx, rand.Reader, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("hash beside full slots: %v", err)
	}
	<-h.slots
	if _, err := h.Hash(t.Context(), rand.Reader, "x"); err != nil {
		t.Errorf("hash with a free slot: %v", err)
	}
	if len(h.slots) != cap(h.slots)-1 {
		t.Errorf("%d slots taken, want %d", len(h.slots), cap(h.slots)-1)
	}
}
