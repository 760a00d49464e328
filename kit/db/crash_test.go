package db_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"konsil/kit/db"
	"konsil/kit/db/dbtest"
)

const crashEnv = "KONSIL_CRASH_URL"

// TestMain also is the child of TestKillLosesNothingAcknowledged.
func TestMain(m *testing.M) {
	if url := os.Getenv(crashEnv); url != "" {
		crashChild(url)
		return
	}
	os.Exit(m.Run())
}

// crashChild writes from several goroutines and prints the number of each row after Write has answered, until it is killed.
func crashChild(url string) {
	ctx := context.Background()
	d, err := db.Open(ctx, db.Config{URL: url, Domain: 1})
	if err != nil {
		fmt.Println("open:", err)
		return
	}
	acked := make(chan int64)
	for w := range int64(8) {
		go func() {
			for i := int64(0); ; i++ {
				id := i*8 + w
				err := d.Write(ctx, func(tx *db.Tx) error {
					_, err := tx.Exec(ctx, `INSERT INTO item (domain_id, id, pos) VALUES ($0, $1, $2)`, id, tx.NextPosition())
					return err
				})
				if err != nil {
					fmt.Println("write:", err)
					os.Exit(1)
				}
				acked <- id
			}
		}()
	}
	for id := range acked {
		fmt.Println(id) // unbuffered: it is out before the next one
	}
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		d := open(t, db.Config{URL: url, Domain: 1})
		_ = d.Close()
		seen := map[int64]bool{}
		for round := range 3 {
			if round > 0 {
				clearItems(t, url)
				clear(seen)
			}
			cmd := exec.Command(os.Args[0], "-test.run=^$")
			cmd.Env = append(os.Environ(), crashEnv+"="+url)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				id, err := strconv.ParseInt(strings.TrimSpace(lines.Text()), 10, 64)
				if err != nil {
					t.Fatalf("child says %s", lines.Text())
				}
				seen[id] = true
				if len(seen) == 100*(round+1) {
					_ = cmd.Process.Kill() // SIGKILL; what is in the pipe was acknowledged as well
				}
			}
			_ = cmd.Wait()
			if len(seen) < 100 {
				t.Fatalf("the child wrote %d rows only", len(seen))
			}
			again := open(t, db.Config{URL: url, Domain: 1})
			there := map[int64]bool{}
			for _, id := range ids(t, again) {
				there[id] = true
			}
			for id := range seen {
				if !there[id] {
					t.Errorf("row %d was acknowledged and is lost", id)
				}
			}
			if again.Position() < int64(len(there)) {
				t.Errorf("position %d for %d rows", again.Position(), len(there))
			}
			_ = again.Close()
		}
	})
}

func clearItems(t *testing.T, url string) {
	t.Helper()
	d := open(t, db.Config{URL: url, Domain: 1})
	err := d.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), `DELETE FROM item WHERE domain_id = $0`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = d.Close()
}
