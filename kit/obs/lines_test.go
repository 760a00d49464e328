package obs_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"konsil/kit/obs"
)

// calls counts the calls of a writer.
type calls struct {
	mu   sync.Mutex
	n    int
	text strings.Builder
}

func (c *calls) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.text.Write(b)
}

func (c *calls) seen() (int, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n, c.text.String()
}

func TestLinesThatComeTogetherAreWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out calls
		lines := obs.NewLines(&out)
		want := ""
		for i := range 100 {
			line := fmt.Sprintf("line %d\n", i)
			want += line
			if n, err := lines.Write([]byte(line)); n != len(line) || err != nil {
				t.Fatal(n, err)
			}
			if i == 0 {
				if _, text := out.seen(); text != line {
					t.Error("a line on its own waits")
				}
			}
		}
		time.Sleep(time.Second)
		if n, text := out.seen(); n != 2 || text != want {
			t.Errorf("%d writes of %q", n, text)
		}
		_, _ = lines.Write([]byte("later\n"))
		if _, text := out.seen(); !strings.HasSuffix(text, "later\n") {
			t.Error("a later line waits")
		}
		_, _ = lines.Write([]byte("last\n"))
		lines.Flush()
		if _, text := out.seen(); !strings.HasSuffix(text, "later\nlast\n") {
			t.Error("what is held is not flushed")
		}
		time.Sleep(time.Second) // the timer ends
	})
}

func TestLinesHoldNoMoreThanTheirBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out calls
		lines := obs.NewLines(&out)
		line := []byte(strings.Repeat("x", 1023) + "\n")
		for range 200 {
			_, _ = lines.Write(line)
		}
		if _, text := out.seen(); len(text) < 100<<10 {
			t.Errorf("only %d bytes are written", len(text))
		}
		lines.Flush()
		if _, text := out.seen(); len(text) != 200<<10 {
			t.Errorf("%d bytes are written", len(text))
		}
		time.Sleep(time.Second)
	})
}
