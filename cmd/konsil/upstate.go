package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"konsil/matrix/id"
)

// upState is DIR/up.json: all that a script needs to use what `konsil up` has started. Its owner alone can read it.
type upState struct {
	PID     int        `json:"pid"`
	Ready   bool       `json:"ready"`
	Domains []upDomain `json:"domains"`
	CA      string     `json:"ca_certificate"` // a path
}

type upDomain struct {
	Name          string   `json:"name"`
	What          string   `json:"-"`
	Flavour       string   `json:"flavour"`
	Federated     bool     `json:"federated"` // on the federation list
	Web           string   `json:"web"`
	ClientAPI     string   `json:"client_api"`
	FederationAPI string   `json:"federation_api"`
	Users         []upUser `json:"users"`
}

type upUser struct {
	ID          id.UserID `json:"id"`
	Password    string    `json:"password"`
	AccessToken string    `json:"access_token"`
	DisplayName string    `json:"display_name"`
	Role        string    `json:"role"`
}

// credentials are kept beside the databases, for these hold hashes only and the next start prints them again.
type credentials map[id.UserID]credential

type credential struct {
	Password    string `json:"password"`
	AccessToken string `json:"access_token"`
}

func credentialsFile(dir string) string { return filepath.Join(dir, "credentials.json") }

func readCredentials(dir string) (credentials, error) {
	c := credentials{}
	raw, err := os.ReadFile(credentialsFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", credentialsFile(dir), err)
	}
	return c, nil
}

// writePrivate writes JSON that only its owner can read. Readers see the old file or the new one, never half of it.
func writePrivate(file string, value any) error {
	raw, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	next := file + ".next"
	if err := os.WriteFile(next, append(raw, '\n'), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	if err := os.Rename(next, file); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

const lockName = "lock"

// lockFolder keeps a second konsil out of the folder. The lock ends with the process, however it ends.
func lockFolder(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("another konsil uses %s: stop it first, or name another folder with --data", dir)
	}
	return func() { _ = f.Close() }, nil
}

// printWelcome says what to open and who to log in as.
func printWelcome(w io.Writer, s upState, dir string) {
	fmt.Fprintf(w, "\nKonsil is up: %d Matrix domains that federate with each other, all on this machine.\n", len(s.Domains))
	for _, d := range s.Domains {
		fmt.Fprintf(w, "\n  %s (%s, %s)\n", d.Name, d.What, d.Flavour)
		fmt.Fprintf(w, "    homeserver for clients   %s   or   %s\n", d.Web, d.ClientAPI)
		for _, u := range d.Users {
			fmt.Fprintf(w, "    %-34s password  %s\n", u.ID, u.Password)
		}
	}
	first := s.Domains[0]
	fmt.Fprintf(w, "\nLog in with any Matrix client: choose the homeserver's address above, then a name and its password.\n")
	fmt.Fprintf(w, "Or look without one:\n  curl -H 'Authorization: Bearer %s' \\\n    %s/_matrix/client/v3/account/whoami\n",
		first.Users[0].AccessToken, first.ClientAPI)
	fmt.Fprintf(w, "\nFor scripts all of this stands in %s. Ctrl-C stops; the next start goes on where this one ended.\n\n",
		strings.TrimPrefix(filepath.Join(dir, "up.json"), "./"))
}
