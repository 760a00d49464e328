package client_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"testing"

	"maunium.net/go/mautrix/id"

	"konsil/test/harness"
)

// account is a person as the scripts in other languages are told of them.
type account struct {
	ID       string `json:"id"`
	Password string `json:"password"`
	Base     string `json:"base"`
}

func accounts(t *testing.T, up *harness.Up, users ...string) []account {
	t.Helper()
	var all []account
	for _, user := range users {
		c := up.Client(t, user)
		all = append(all, account{user, up.Account(t, user).Password, c.Base})
	}
	return all
}

// step is a line that a script prints when it has passed one.
type step struct {
	Name   string       `json:"step"`
	Room   id.RoomID    `json:"room"`
	Events []id.EventID `json:"events"`
}

// runScript gives a script its work on standard input and answers the steps that it has passed.
func runScript(t *testing.T, work any, program string, args ...string) map[string]step {
	t.Helper()
	input, err := json.Marshal(work)
	check(t, err, "write the script's work")
	cmd := exec.CommandContext(t.Context(), program, args...)
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &complaints
	err = cmd.Run()
	steps := map[string]step{}
	for line := range bytes.Lines(out.Bytes()) {
		var s step
		if json.Unmarshal(line, &s) != nil || s.Name == "" {
			t.Errorf("the script prints %q", line)
		}
		steps[s.Name] = s
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s\npassed were:\n%s", program, err, complaints.String(), out.String())
	}
	return steps
}

// TestNio is the consultation with matrix-nio, a client from Debian that still speaks /r0: verification, Megolm messages and
// encrypted files both ways.
func TestNio(t *testing.T) {
	t.Parallel()
	const python = "/usr/bin/python3"
	if out, err := exec.CommandContext(t.Context(), python, "-c", "import nio, olm").CombinedOutput(); err != nil {
		t.Skipf("no matrix-nio here: install python3-matrix-nio and python3-olm (%v: %s)", err, bytes.TrimSpace(out))
	}
	up := harness.StartUp(t)
	work := map[string]any{"store": t.TempDir(), "people": accounts(t, up, boris, david)}
	steps := runScript(t, work, python, "nio/consult.py")
	for _, name := range []string{"met", "verified", "talked", "file", "done"} {
		if _, ok := steps[name]; !ok {
			t.Errorf("the script did not come to %q", name)
		}
	}
	if len(steps["talked"].Events) != 2 {
		t.Fatalf("the script sent %v", steps["talked"].Events)
	}
	for _, ev := range steps["talked"].Events {
		wireIsEncrypted(t, up, boris, steps["met"].Room, ev)
	}
}
