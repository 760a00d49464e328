package resolve_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"konsil/homeserver/room/resolve"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// The files of testdata draw rooms. The first line that is no comment names the room version (or several: the file is
// played for each). Then each line is an event:
//
//	NAME verb args [by USER] [at TIME] [after NAME…] [auth NAME…|auth -] [rejected]
//
// Verbs: create USER [user=…: further creators], join/leave/knock USER, invite/kick/ban USER, rule WORD,
// power user=level… key=level…, topic WORD, set TYPE KEY. Without "by" it is the user themselves, else the creator.
// "at" defaults to the number of the line, "after" to the line before, "auth" to the selection from the state before.
//
//	NAME state OF [with NAME…] [free SLOT…]
//
// is no event but a state: that after OF, changed; so a server that tells a wrong state is drawn. After the line
// "-- resolve NAME… --" stand the slots of the resolved state: "USER membership NAME", "power|rule|topic NAME" or
// "type/key NAME"; "-" instead of a name is an empty slot. After that the room may go on.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := string(raw)
		for _, version := range versionsOf(text) {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/v"+version, func(t *testing.T) {
				(&script{t: t, world: newWorld(version), names: make(map[string][]resolve.Entry)}).play(text)
			})
		}
	}
}

func versionsOf(text string) (versions []string) {
	for line := range strings.Lines(text) {
		if words := fields(line); len(words) > 0 {
			for _, w := range words {
				versions = append(versions, strings.TrimPrefix(w, "v"))
			}
			return versions
		}
	}
	return nil
}

// fields are the words of a line, without its comment.
func fields(line string) []string {
	line, _, _ = strings.Cut(line, "#")
	return strings.Fields(line)
}

type script struct {
	t *testing.T
	*world
	names   map[string][]resolve.Entry // states by the name of the event before them, or their own
	creator string
	last    int64
	result  []resolve.Entry
	line    int
}

func (s *script) play(text string) {
	lines := bufio.NewScanner(strings.NewReader(text))
	started, resolving := false, false
	for lines.Scan() {
		s.line++
		words := fields(lines.Text())
		switch {
		case len(words) == 0:
		case !started:
			started = true
		case words[0] == "--":
			s.resolve(words[2 : len(words)-1])
			resolving = true
		case words[0][0] >= 'a': // users and slots are small, events and states are capitals
			s.expect(words)
		case words[1] == "state":
			s.state(words)
		default:
			s.event(words)
		}
	}
	if !resolving {
		s.t.Fatal("nothing is resolved")
	}
}

func (s *script) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("line %d: %s", s.line, fmt.Sprintf(format, args...))
}

func (s *script) number(name string) int64 {
	for _, full := range []string{"$" + name, "$" + name + ":t"} {
		if num := s.byID[id.EventID(full)]; num != 0 {
			return num
		}
	}
	s.fail("no event %s", name)
	return 0
}

// clauses splits a line into its arguments and what follows each of the words given.
func clauses(words []string, heads ...string) (args []string, after map[string][]string) {
	after = make(map[string][]string)
	head := ""
	for _, w := range words {
		if slices.Contains(heads, w) {
			head = w
			after[head] = []string{}
		} else if head == "" {
			args = append(args, w)
		} else {
			after[head] = append(after[head], w)
		}
	}
	return args, after
}

func (s *script) event(words []string) {
	args, c := clauses(words, "by", "at", "after", "auth", "rejected")
	d := draft{name: args[0], ts: int64(s.line)}
	s.verb(&d, args[1], args[2:])
	if by := c["by"]; by != nil {
		d.sender = by[0]
	}
	if at := c["at"]; at != nil {
		d.ts, _ = strconv.ParseInt(at[0], 10, 64)
	}
	if after, given := c["after"]; given {
		for _, name := range after {
			d.prev = append(d.prev, s.number(name))
		}
	} else if s.last != 0 {
		d.prev = []int64{s.last}
	}
	if names, given := c["auth"]; given {
		d.auth = []int64{}
		for _, name := range names {
			if name != "-" {
				d.auth = append(d.auth, s.number(name))
			}
		}
	}
	_, d.rejected = c["rejected"]
	s.last = s.add(d)
	s.names[d.name] = s.after[s.last]
}

// verb fills a draft with what its line is about.
func (s *script) verb(d *draft, verb string, args []string) {
	empty := ""
	d.sender, d.key = s.creator, &empty
	member := func(word string) {
		key := user(args[0])
		d.kind, d.key, d.content = event.TypeMember, &key, fmt.Sprintf(`{"membership":%q}`, word)
	}
	switch verb {
	case "create":
		s.creator = args[0]
		d.kind, d.sender, d.content = event.TypeCreate, args[0], fmt.Sprintf(`{"creator":%q,"room_version":%q}`, user(args[0]), s.version.ID)
		if len(args) > 1 {
			d.content = fmt.Sprintf(`{"additional_creators":[%q],"room_version":%q}`, user(args[1]), s.version.ID)
		}
	case "join", "leave", "knock":
		d.sender = args[0]
		member(verb)
	case "invite", "ban":
		member(verb)
	case "kick":
		member("leave")
	case "rule":
		d.kind, d.content = event.TypeJoinRules, fmt.Sprintf(`{"join_rule":%q}`, args[0])
	case "power":
		d.kind, d.content = event.TypePowerLevels, levels(args)
	case "topic":
		d.kind, d.content = event.TypeTopic, fmt.Sprintf(`{"topic":%q}`, args[0])
	case "set":
		d.kind, d.content = args[0], `{}`
		if len(args) > 1 {
			d.key = &args[1]
		}
	default:
		s.fail("no verb %s", verb)
	}
}

func levels(args []string) string {
	var users, named []string
	for _, arg := range args {
		key, level, _ := strings.Cut(arg, "=")
		switch key {
		case "ban", "kick", "invite", "redact", "users_default", "state_default", "events_default":
			named = append(named, fmt.Sprintf("%q:%s", key, level))
		default:
			users = append(users, fmt.Sprintf("%q:%s", user(key), level))
		}
	}
	named = append(named, `"users":{`+strings.Join(users, ",")+"}")
	return "{" + strings.Join(named, ",") + "}"
}

func (s *script) state(words []string) {
	args, c := clauses(words, "with", "free")
	st := s.named(args[2])
	for _, name := range c["with"] {
		num := s.number(name)
		st = with(st, resolve.Entry{Slot: s.nodes[num-1].Slot, Event: num})
	}
	for _, word := range c["free"] {
		st = without(st, s.slots[slotNamed(word)])
	}
	s.names[args[0]] = st
}

func (s *script) named(name string) []resolve.Entry {
	st, found := s.names[name]
	if !found {
		s.fail("no state %s", name)
	}
	return st
}

// resolve merges states in every order; the result must be the same.
func (s *script) resolve(names []string) {
	var states [][]resolve.Entry
	for _, name := range names {
		states = append(states, s.named(name))
	}
	first := true
	permute(states, func(states [][]resolve.Entry) {
		result, err := resolve.Resolve(s.create, states, s)
		if err != nil {
			s.fail("%v", err)
		}
		if !first && !slices.Equal(result, s.result) {
			s.fail("the order of the states matters:\n%s\n%s", s.show(s.result), s.show(result))
		}
		s.result, first = result, false
	})
	if s.version.ID != "1" {
		if want := reference(s.world, states); !slices.Equal(want, s.result) {
			s.fail("the specification says:\n%s\ngot:\n%s", s.show(want), s.show(s.result))
		}
	}
}

func permute[T any](list []T, f func([]T)) {
	if len(list) > 4 {
		f(list)
		return
	}
	var walk func(n int)
	walk = func(n int) {
		if n == len(list) {
			f(list)
			return
		}
		for i := n; i < len(list); i++ {
			list[n], list[i] = list[i], list[n]
			walk(n + 1)
			list[n], list[i] = list[i], list[n]
		}
	}
	walk(0)
}

func slotNamed(word string) id.Slot {
	switch word {
	case "power":
		return id.Slot{Type: event.TypePowerLevels}
	case "rule":
		return id.Slot{Type: event.TypeJoinRules}
	case "topic":
		return id.Slot{Type: event.TypeTopic}
	}
	if kind, key, found := strings.Cut(word, "/"); found {
		return id.Slot{Type: kind, StateKey: key}
	}
	return id.Slot{Type: event.TypeMember, StateKey: user(word)}
}

func (s *script) expect(words []string) {
	num := held(s.result, s.slots[slotNamed(words[0])])
	want := words[len(words)-1]
	switch {
	case num == 0:
		if want != "-" {
			s.fail("%s is empty, not %s; resolved:\n%s", words[0], want, s.show(s.result))
		}
	case s.name(num) != want:
		s.fail("%s is %s, not %s; resolved:\n%s", words[0], s.name(num), want, s.show(s.result))
	case len(words) == 3 && s.events[num-1].Membership() != words[1]:
		s.fail("%s is %q, not %q", words[0], s.events[num-1].Membership(), words[1])
	}
}
