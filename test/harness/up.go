package harness

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Up is a running `konsil up`.
type Up struct {
	*Process
	Dir       string        // its data folder
	State     State         // what up.json says
	Readiness time.Duration // from the start until up.json said ready

	args []string
}

// State is up.json, the contract between `konsil up` and scripts.
type State struct {
	PID     int      `json:"pid"`
	Ready   bool     `json:"ready"`
	Domains []Domain `json:"domains"`
	CA      string   `json:"ca_certificate"`
}

// Domain is one Matrix domain in up.json.
type Domain struct {
	Name          string    `json:"name"`
	Flavour       string    `json:"flavour"`
	Federated     bool      `json:"federated"`
	Web           string    `json:"web"`
	ClientAPI     string    `json:"client_api"`
	FederationAPI string    `json:"federation_api"`
	Users         []Account `json:"users"`
}

// Account is a user in up.json.
type Account struct {
	ID          string `json:"id"`
	Password    string `json:"password"`
	AccessToken string `json:"access_token"`
	DisplayName string `json:"display_name"`
	Role        string `json:"role"`
}

// StartUp starts `konsil up` in a folder of the test and waits until it is ready. More arguments may follow.
func StartUp(tb testing.TB, args ...string) *Up {
	tb.Helper()
	return StartUpIn(tb, filepath.Join(tb.TempDir(), "data"), args...)
}

// StartUpIn starts `konsil up` in the folder given, which may hold the data of an earlier run.
func StartUpIn(tb testing.TB, dir string, args ...string) *Up {
	tb.Helper()
	u := &Up{Dir: dir, args: args}
	u.start(tb)
	return u
}

// RunUp starts `konsil up` without waiting for anything: for starts that shall fail.
func RunUp(tb testing.TB, dir string, args ...string) *Process {
	tb.Helper()
	return start(tb, nil, append([]string{"up", "--data", dir, "--listen", "127.0.0.1:0"}, args...)...)
}

func (u *Up) start(tb testing.TB) {
	tb.Helper()
	u.Process = RunUp(tb, u.Dir, u.args...)
	err := u.until("ready", func() bool {
		var state State
		raw, err := os.ReadFile(u.StateFile())
		// A file of the run before is gone or names another process.
		if err != nil || json.Unmarshal(raw, &state) != nil || state.PID != u.PID() || !state.Ready {
			return false
		}
		u.State = state
		return true
	})
	if err != nil {
		tb.Fatal(err)
	}
	u.Readiness = time.Since(u.began)
}

// StateFile is the path of up.json.
func (u *Up) StateFile() string { return filepath.Join(u.Dir, "up.json") }

// Restart starts the program again on the same folder; it must have ended before. Ports change.
func (u *Up) Restart(tb testing.TB) {
	tb.Helper()
	select {
	case <-u.done:
	default:
		tb.Fatal("restart of a program that still runs: stop or kill it first")
	}
	u.start(tb)
}

// Domain finds a domain by its name.
func (u *Up) Domain(tb testing.TB, name string) Domain {
	tb.Helper()
	for _, d := range u.State.Domains {
		if d.Name == name {
			return d
		}
	}
	tb.Fatalf("konsil up has no domain %s", name)
	return Domain{}
}

// Account finds a user by their Matrix id.
func (u *Up) Account(tb testing.TB, user string) Account {
	tb.Helper()
	_, server, _ := strings.Cut(user, ":")
	for _, a := range u.Domain(tb, server).Users {
		if a.ID == user {
			return a
		}
	}
	tb.Fatalf("konsil up has no user %s", user)
	return Account{}
}

// Client speaks for a user of `konsil up` with the token of their development device.
func (u *Up) Client(tb testing.TB, user string) *Client {
	tb.Helper()
	account := u.Account(tb, user)
	_, server, _ := strings.Cut(user, ":")
	return NewClient(u.Domain(tb, server).ClientAPI, account.ID, account.AccessToken)
}
