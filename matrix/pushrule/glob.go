package pushrule

import (
	"strings"
	"unicode/utf8"
)

// A glob is a pattern with * (any run of characters, also none) and ? (exactly one). Appendices #glob-style-matching.
// It is compiled once and matches in time linear in the text whatever the pattern: literal pieces are found by
// strings.Index, which rejects nearly everything, and what is left is run through a bit-parallel automaton that holds
// all positions of a piece at once. There is no backtracking to provoke (B5).
//
// Pattern and text are compared in lower case; the caller lowers the text, once for all patterns.
type glob struct {
	pieces []piece // what stands between the stars; first and last may be empty
	exact  string  // the whole pattern where it has neither * nor ?
	plain  bool    // exact is to be used
}

// A piece is a run of characters without a star.
type piece struct {
	runes   []rune // anyRune stands for ?
	literal string // the runes as text where there is no ?
	hasAny  bool   // there is a ?
}

const anyRune = -1

// compileGlob never fails: each text is a pattern.
func compileGlob(pattern string) glob {
	pattern = strings.ToLower(pattern)
	if !strings.ContainsAny(pattern, "*?") {
		return glob{exact: pattern, plain: true, pieces: []piece{compilePiece(pattern)}}
	}
	var g glob
	for i, text := range strings.Split(pattern, "*") {
		// Of a run of stars one is enough; the empty pieces at both ends say "starts, ends with a star".
		if text == "" && i > 0 && len(g.pieces) > 1 && g.pieces[len(g.pieces)-1].empty() {
			continue
		}
		g.pieces = append(g.pieces, compilePiece(text))
	}
	return g
}

func compilePiece(text string) piece {
	p := piece{literal: text}
	for _, r := range text {
		if r == '?' {
			r, p.hasAny = anyRune, true
		}
		p.runes = append(p.runes, r)
	}
	return p
}

func (p *piece) empty() bool { return len(p.runes) == 0 }

// match says whether the glob matches all of text, which must be in lower case.
func (g *glob) match(text string) bool {
	if g.plain {
		return text == g.exact
	}
	first, last := &g.pieces[0], &g.pieces[len(g.pieces)-1]
	start, ok := first.prefix(text)
	if !ok {
		return false
	}
	if len(g.pieces) == 1 {
		return start == len(text)
	}
	for i := 1; i < len(g.pieces)-1; i++ {
		end := g.pieces[i].find(text, start, nil)
		if end < 0 {
			return false
		}
		start = end
	}
	return last.suffix(text[start:])
}

// matchWords says whether the glob matches some part of text that starts and ends at word boundaries.
// CS v1.16 #conditions-1 event_match, the special case of content.body
func (g *glob) matchWords(text string) bool {
	first := &g.pieces[0]
	if len(g.pieces) == 1 {
		return first.find(text, 0, func(start, end int) bool {
			return boundaryBefore(text, start) && boundaryAfter(text, end)
		}) >= 0
	}
	start := 0
	if !first.empty() {
		// The leftmost place is the best one: whatever follows a later one also follows it.
		start = first.find(text, 0, func(start, _ int) bool { return boundaryBefore(text, start) })
		if start < 0 {
			return false
		}
	}
	for i := 1; i < len(g.pieces)-1; i++ {
		if start = g.pieces[i].find(text, start, nil); start < 0 {
			return false
		}
	}
	last := &g.pieces[len(g.pieces)-1]
	if last.empty() {
		return true // the star reaches to the end, which is a boundary
	}
	return last.find(text, start, func(_, end int) bool { return boundaryAfter(text, end) }) >= 0
}

// prefix says whether text starts with the piece, and where the piece ends.
func (p *piece) prefix(text string) (int, bool) {
	if !p.hasAny {
		return len(p.literal), strings.HasPrefix(text, p.literal)
	}
	at := 0
	for _, want := range p.runes {
		r, size := utf8.DecodeRuneInString(text[at:])
		if size == 0 || want != anyRune && want != r {
			return 0, false
		}
		at += size
	}
	return at, true
}

// suffix says whether text ends with the piece.
func (p *piece) suffix(text string) bool {
	if !p.hasAny {
		return strings.HasSuffix(text, p.literal)
	}
	for i := len(p.runes) - 1; i >= 0; i-- {
		r, size := utf8.DecodeLastRuneInString(text)
		if size == 0 || p.runes[i] != anyRune && p.runes[i] != r {
			return false
		}
		text = text[:len(text)-size]
	}
	return true
}

// find gives the end of the first occurrence at or after from that accept (nil: any) agrees with, -1 if there is none.
func (p *piece) find(text string, from int, accept func(start, end int) bool) int {
	if !p.hasAny {
		at := strings.Index(text[from:], p.literal)
		if at < 0 {
			return -1
		}
		start, end := from+at, from+at+len(p.literal)
		if accept == nil || accept(start, end) {
			return end
		}
		if p.empty() {
			return p.findEmpty(text, from, accept)
		}
		from = start
	}
	return p.scan(text, from, accept)
}

// findEmpty finds the first position that accept agrees with.
func (p *piece) findEmpty(text string, from int, accept func(start, end int) bool) int {
	for at := from; at <= len(text); at++ {
		if accept(at, at) {
			return at
		}
	}
	return -1
}

// scan is Shift-And over as many words as the piece needs: bit i of the state is set when the last i+1 characters of
// the text match the first i+1 of the piece.
func (p *piece) scan(text string, from int, accept func(start, end int) bool) int {
	n := len(p.runes)
	words := (n + 63) / 64
	masks := make(map[rune][]uint64, n)
	anything := make([]uint64, words)
	for i, r := range p.runes {
		if r == anyRune {
			anything[i/64] |= 1 << (i % 64)
			continue
		}
		if masks[r] == nil {
			masks[r] = make([]uint64, words)
		}
		masks[r][i/64] |= 1 << (i % 64)
	}
	for _, mask := range masks {
		for w := range mask {
			mask[w] |= anything[w]
		}
	}
	state := make([]uint64, words)
	starts := make([]int, n) // where the last n characters began, as a ring
	for i, count := from, 0; i < len(text); count++ {
		r, size := utf8.DecodeRuneInString(text[i:])
		starts[count%n] = i
		i += size
		mask := masks[r]
		if mask == nil {
			mask = anything
		}
		carry := uint64(1)
		for w := range state {
			shifted := state[w]<<1 | carry
			carry = state[w] >> 63
			state[w] = shifted & mask[w]
		}
		if state[(n-1)/64]&(1<<((n-1)%64)) == 0 {
			continue
		}
		if start := starts[(count+1)%n]; accept == nil || accept(start, i) {
			return i
		}
	}
	return -1
}

// boundaryBefore and boundaryAfter: the start or end of the text, or a neighbour outside [A-Za-z0-9_].
func boundaryBefore(text string, at int) bool { return at == 0 || !wordByte(text[at-1]) }

func boundaryAfter(text string, at int) bool { return at == len(text) || !wordByte(text[at]) }

func wordByte(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '_'
}
