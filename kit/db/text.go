package db

import (
	"fmt"
	"strconv"
	"strings"
)

// dialect is what a statement's text depends on.
type dialect int

const (
	sqlite dialect = iota
	postgres
)

// text is a statement made ready for one engine.
type text struct {
	sql    string
	args   int    // how many arguments the caller gives
	domain bool   // an extra last parameter takes the domain
	lists  []bool // by argument: it is the slice of an in($n)
	reads  bool   // a SELECT: it changes nothing
}

// rewrite translates the house's SQL for one engine: $0 becomes a parameter behind the caller's, in($n) and not in($n) the
// engine's way to compare with a list. Text inside quotes and comments stays as it is. Its input is written by us, but a slip
// in it must become an error, not another statement.
func rewrite(q string, d dialect) (*text, error) {
	params, err := scanParams(q)
	if err != nil {
		return nil, err
	}
	t := &text{reads: strings.HasPrefix(strings.ToUpper(strings.TrimSpace(q)), "SELECT")}
	for _, p := range params {
		t.args = max(t.args, p.n)
		t.domain = t.domain || p.n == 0
	}
	t.lists = make([]bool, t.args)
	seen := make([]bool, t.args)
	var out strings.Builder
	at := 0
	for _, p := range params {
		out.WriteString(q[at:p.start])
		at = p.end
		n := p.n
		if n == 0 {
			n = t.args + 1
		} else {
			if seen[n-1] && t.lists[n-1] != p.list {
				return nil, fmt.Errorf("$%d is a list and a single value", n)
			}
			seen[n-1], t.lists[n-1] = true, p.list
		}
		out.WriteString(d.param(n, p))
	}
	out.WriteString(q[at:])
	for i, ok := range seen {
		if !ok {
			return nil, fmt.Errorf("$%d is not used", i+1)
		}
	}
	t.sql = out.String()
	return t, nil
}

// param writes the parameter n as d wants it.
func (d dialect) param(n int, p param) string {
	num := strconv.Itoa(n)
	switch {
	case d == sqlite && p.list && p.not:
		return "NOT IN (SELECT value FROM json_each(?" + num + "))"
	case d == sqlite && p.list:
		return "IN (SELECT value FROM json_each(?" + num + "))"
	case d == sqlite:
		return "?" + num
	case p.list && p.not:
		return "<> ALL($" + num + ")"
	case p.list:
		return "= ANY($" + num + ")"
	}
	return "$" + num
}

// param is one place in a statement: $n, or the whole of in($n) and not in($n).
type param struct {
	start, end int
	n          int
	list, not  bool
}

const maxArgs = 999

func scanParams(q string) ([]param, error) {
	var params []param
	for i := 0; i < len(q); {
		switch c := q[i]; {
		case c == '\'' || c == '"':
			end := strings.IndexByte(q[i+1:], c) // a doubled quote ends one text and begins the next
			if end < 0 {
				return nil, fmt.Errorf("quote %c is not closed", c)
			}
			i += end + 2
		case strings.HasPrefix(q[i:], "--"):
			end := strings.IndexByte(q[i:], '\n')
			if end < 0 {
				end = len(q) - i
			}
			i += end
		case strings.HasPrefix(q[i:], "/*"):
			end := strings.Index(q[i+2:], "*/")
			if end < 0 {
				return nil, fmt.Errorf("comment is not closed")
			}
			i += end + 4
		case c == '?':
			return nil, fmt.Errorf("parameters are written $1, not ?")
		case c == '$':
			p, err := scanParam(q, i)
			if err != nil {
				return nil, err
			}
			params = append(params, p)
			i = p.end
		default:
			i++
		}
	}
	return params, nil
}

// scanParam reads the parameter whose $ stands at i, and looks around it for the list form.
func scanParam(q string, i int) (param, error) {
	p := param{start: i, end: i + 1}
	for p.end < len(q) && q[p.end] >= '0' && q[p.end] <= '9' && p.end < i+5 {
		p.end++
	}
	n, err := strconv.Atoi(q[i+1 : p.end])
	if err != nil || n > maxArgs || p.end < len(q) && isWord(q[p.end]) {
		return p, fmt.Errorf("bad parameter at %.10q", q[i:])
	}
	p.n = n
	open := strings.TrimRight(q[:i], " \n\t")
	if !strings.HasSuffix(open, "(") {
		return p, nil
	}
	closing := len(q) - len(strings.TrimLeft(q[p.end:], " \n\t"))
	if closing >= len(q) || q[closing] != ')' {
		return p, nil
	}
	before := strings.TrimRight(open[:len(open)-1], " \n\t")
	start, ok := cutWord(before, "in")
	if !ok {
		return p, nil
	}
	if n == 0 {
		return p, fmt.Errorf("$0 is no list")
	}
	p.list, p.start, p.end = true, start, closing+1
	if start, ok := cutWord(strings.TrimRight(before[:p.start], " \n\t"), "not"); ok {
		p.not, p.start = true, start
	}
	return p, nil
}

// cutWord says where word begins, when s ends with it, in any case, as a word of its own.
func cutWord(s, word string) (int, bool) {
	start := len(s) - len(word)
	if start < 0 || !strings.EqualFold(s[start:], word) || start > 0 && isWord(s[start-1]) {
		return 0, false
	}
	return start, true
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
