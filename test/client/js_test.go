package client_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"konsil/test/harness"
)

// TestJS is the consultation with matrix-js-sdk and its Rust crypto, on which Element Web and our own client stand: cross-signing,
// emoji verification in the room, Megolm messages, encrypted files, and a second device that restores the key backup.
func TestJS(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node here: install Node.js 20 or newer")
	}
	if _, err := os.Stat(filepath.Join("js", "node_modules", "matrix-js-sdk")); err != nil {
		t.Skip("matrix-js-sdk is not installed: run npm ci in test/client/js")
	}
	up := harness.StartUp(t)
	steps := runScript(t, map[string]any{"people": accounts(t, up, anna, clara)}, node, "js/consult.mjs")
	for _, name := range []string{"bootstrapped", "met", "verified", "talked", "file", "restored", "done"} {
		if _, ok := steps[name]; !ok {
			t.Errorf("the script did not come to %q", name)
		}
	}
	if len(steps["talked"].Events) != 2 {
		t.Fatalf("the script sent %v", steps["talked"].Events)
	}
	for _, ev := range steps["talked"].Events {
		wireIsEncrypted(t, up, anna, steps["met"].Room, ev)
	}
}
