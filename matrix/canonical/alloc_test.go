//go:build !race

package canonical_test

import (
	"testing"

	"konsil/matrix/canonical"
)

// The race detector has pools lose what they keep, so this holds without it only.
func TestAppendAllocatesNothing(t *testing.T) {
	dst := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := canonical.Append(dst, pdu, canonical.Strict); err != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
