package scenario_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"konsil/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// TestStories runs every script of this folder over the real binary. Their language is in verbs_test.go.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(file, ".txt"), func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tell(t, file, string(raw))
		})
	}
}

// versionStory happens in a room of every version, between two servers that know each other by TLS alone.
const versionStory = `
house serve west ; house serve east
user wanda wanda@west
user erik  erik@east
user elsa  elsa@east
wanda create VERSION version VERSION invite erik
erik  sees invite VERSION
erik  join VERSION
wanda send VERSION one
erik  sees VERSION one
erik  send VERSION two
wanda sees VERSION two
wanda invite elsa VERSION
elsa  sees invite VERSION
elsa  join VERSION
elsa  sees VERSION two
wanda redact VERSION one
erik  topic VERSION mine ; refused 403 M_FORBIDDEN
wanda topic VERSION ours
elsa  sees topic VERSION ours
wanda kick erik VERSION
erik  sees removal VERSION
wanda ban elsa VERSION
elsa  sees removal VERSION
elsa  join VERSION ; refused 403 M_FORBIDDEN
wanda send VERSION alone
wanda members VERSION wanda
wanda reads VERSION two alone
`

// TestStoryInEveryRoomVersion tells it.
func TestStoryInEveryRoomVersion(t *testing.T) {
	t.Parallel()
	var script strings.Builder
	for version := 1; version <= 12; version++ {
		lines := versionStory
		if version > 1 { // houses and people are there
			lines = lines[strings.Index(lines, "wanda create"):]
		}
		script.WriteString(strings.ReplaceAll(lines, "VERSION", strconv.Itoa(version)))
	}
	tell(t, "version story", script.String())
}

// tell runs a script.
func tell(t *testing.T, file, script string) {
	t.Helper()
	lines, err := parse(script)
	if err != nil {
		t.Fatalf("%s:%v", file, err)
	}
	s := newStory(t)
	for _, l := range lines {
		if err := s.run(l); err != nil {
			t.Fatalf("%s:%d: %s\n%v", file, l.number, l.text, err)
		}
	}
	s.checkSyncs()
}

// line is one line of a script: commands and, after "; refused", how the last of them shall be refused.
type line struct {
	number   int
	text     string
	commands [][]string
	refused  []string // status and error code; nil: everything shall succeed
}

func parse(script string) ([]line, error) {
	var lines []line
	for i, text := range strings.Split(script, "\n") {
		l := line{number: i + 1, text: strings.TrimSpace(text)}
		words, err := split(text)
		if err != nil {
			return nil, fmt.Errorf("%d: %w", l.number, err)
		}
		for _, command := range words {
			if command[0] != "refused" {
				l.commands = append(l.commands, command)
				continue
			}
			if len(command) != 3 || len(l.commands) == 0 {
				return nil, fmt.Errorf("%d: write: COMMAND ; refused STATUS CODE", l.number)
			}
			l.refused = command[1:]
		}
		if len(l.commands) > 0 {
			lines = append(lines, l)
		}
	}
	return lines, nil
}

// split cuts a line into commands at ";" and each into words at blanks. Words in double quotes may hold both; "#" begins a
// comment.
func split(text string) (commands [][]string, err error) {
	var words []string
	var word strings.Builder
	quoted, started := false, false
	endWord := func() {
		if started {
			words = append(words, word.String())
		}
		word.Reset()
		started = false
	}
	endCommand := func() {
		endWord()
		if len(words) > 0 {
			commands = append(commands, words)
		}
		words = nil
	}
	for _, r := range text {
		switch {
		case r == '"':
			quoted, started = !quoted, true
		case quoted:
			word.WriteRune(r)
		case r == '#' && !started:
			endCommand()
			return commands, nil
		case r == ';':
			endCommand()
		case r == ' ' || r == '\t':
			endWord()
		default:
			word.WriteRune(r)
			started = true
		}
	}
	if quoted {
		return nil, errors.New("a quotation mark is missing")
	}
	endCommand()
	return commands, nil
}

// house is a running program of a story.
type house struct {
	process func() *harness.Process
	start   func()
	base    func(server string) string        // client API of a domain of it
	account func(user string) harness.Account // of a user of `up`
}

// story is a script under way.
type story struct {
	t       *testing.T
	ctx     context.Context
	network *harness.Network
	houses  map[string]*house
	people  map[string]*resident
	rooms   map[string]string // by the name that the script gives it
	aliases map[string]string
	files   map[string][]byte
	events  map[string]string // of messages sent, by their text
	txn     int
}

// resident is a person and where they live.
type resident struct {
	*harness.Person
	name, house, server, password string
}

func newStory(t *testing.T) *story {
	return &story{t: t, ctx: t.Context(), network: harness.NewNetwork(t), houses: map[string]*house{}, people: map[string]*resident{},
		rooms: map[string]string{}, aliases: map[string]string{}, files: map[string][]byte{}, events: map[string]string{}}
}

// run carries out one line.
func (s *story) run(l line) error {
	for i, command := range l.commands {
		err := s.command(command)
		if i < len(l.commands)-1 || l.refused == nil {
			if err != nil {
				return err
			}
			continue
		}
		refusal, ok := harness.AsRefusal(err)
		if !ok {
			return fmt.Errorf("shall be refused with %s, but: %v", strings.Join(l.refused, " "), err)
		}
		if fmt.Sprint(refusal.Status) != l.refused[0] || refusal.Code != l.refused[1] {
			return fmt.Errorf("shall be refused with %s, but: %w", strings.Join(l.refused, " "), err)
		}
	}
	return nil
}

// command carries out one command: a verb of the story itself or of a person.
func (s *story) command(words []string) error {
	if v, ok := storyVerbs[words[0]]; ok {
		return v.call(words[0], words[1:], func(args []string) error { return v.do(s, args) })
	}
	p, ok := s.people[words[0]]
	if !ok || len(words) < 2 {
		return fmt.Errorf("nobody here is called %q, and it is no verb", words[0])
	}
	v, ok := personVerbs[words[1]]
	if !ok {
		return fmt.Errorf("nobody can %q", words[1])
	}
	return v.call(words[1], words[2:], func(args []string) error { return v.do(s, p, args) })
}

// checkSyncs looks once more at everybody's sync: nothing may have come twice.
func (s *story) checkSyncs() {
	for name, p := range s.people {
		if twice := p.Twice(); len(twice) > 0 {
			s.t.Errorf("%s's sync gave events twice: %v", name, twice)
		}
	}
}
