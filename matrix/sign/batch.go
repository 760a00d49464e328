package sign

import (
	"crypto/ed25519"

	"github.com/hdevalence/ed25519consensus"
)

// batchSize is how many signatures are checked in one equation. More are not cheaper each, and a bad one makes its
// whole group be checked singly.
const batchSize = 64

// Batch checks many signatures together, each for about half the price of a single check, by the same rule. One
// goroutine fills and verifies it; who has several cores splits the work into several batches.
type Batch struct{ entries []entry }

type entry struct {
	pub          ed25519.PublicKey
	message, sig []byte
}

// Add puts a signature into the batch and returns its number. The slices must not change until Verify.
func (b *Batch) Add(pub ed25519.PublicKey, message, sig []byte) int {
	b.entries = append(b.entries, entry{pub, message, sig})
	return len(b.entries) - 1
}

// Len is how many signatures have been added.
func (b *Batch) Len() int { return len(b.entries) }

// Verify reports for each signature added, by its number, whether it is good.
func (b *Batch) Verify() []bool {
	good := make([]bool, len(b.entries))
	for from := 0; from < len(b.entries); from += batchSize {
		to := min(from+batchSize, len(b.entries))
		verifyGroup(b.entries[from:to], good[from:to])
	}
	return good
}

func verifyGroup(group []entry, good []bool) {
	batch := ed25519consensus.NewPreallocatedBatchVerifier(len(group))
	for _, e := range group {
		batch.Add(e.pub, e.message, e.sig)
	}
	all := len(group) > 1 && batch.Verify()
	for i, e := range group {
		good[i] = all || Verify(e.pub, e.message, e.sig)
	}
}
