package canonical

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sync"
)

// kind says how a node is written.
type kind uint8

const (
	kindVerbatim kind = iota // its bytes are canonical as they stand
	kindString               // has escapes that are not the shortest
	kindNumber               // is not a plain integer (Lenient)
	kindArray                // something inside is not canonical
	kindObject               // its order, or something inside, is not canonical
)

// node is a value found by the scan, 20 bytes, so that an object of a million keys costs little more than its text.
type node struct {
	start, end   uint32 // in src
	first, count uint32 // in members, for arrays and objects
	kind         kind
}

// member is an entry of an object or, with no key, of an array.
type member struct {
	keyStart, keyEnd uint32 // without quotes; in arena if decoded, else in src
	decoded          bool   // the key had escapes
	value            node
}

// scanner reads one document. Open objects keep their members on the stack; a closed one that must be rewritten moves
// them to members, a canonical one forgets them.
type scanner struct {
	src     []byte
	pos     int
	mode    Mode
	stack   []member
	members []member
	arena   []byte   // decoded keys
	ranks   []uint64 // of the object being sorted
	order   []member // its members as they came
}

// scanners saves the scratch space of the last documents. What one giant document needed is not kept.
var scanners = sync.Pool{New: func() any { return new(scanner) }}

const keepScratch = 1 << 15 // members, a megabyte

func (s *scanner) release() {
	if cap(s.stack)+cap(s.members)+cap(s.order) > keepScratch || cap(s.arena) > 32*keepScratch {
		*s = scanner{}
	}
	s.src = nil
	scanners.Put(s)
}

func (s *scanner) scan(src []byte, mode Mode) (node, error) {
	if uint64(len(src)) > math.MaxInt32 {
		return node{}, fmt.Errorf("document of %d bytes: %w", len(src), ErrSyntax)
	}
	s.src, s.pos, s.mode = src, 0, mode
	s.stack, s.members, s.arena = s.stack[:0], s.members[:0], s.arena[:0]
	s.space()
	root, err := s.value(0)
	if err != nil {
		return node{}, err
	}
	s.space()
	if s.pos != len(src) {
		return node{}, s.syntax("something after the value")
	}
	return root, nil
}

func (s *scanner) syntax(what string) error {
	return fmt.Errorf("%s at byte %d: %w", what, s.pos, ErrSyntax)
}

func (s *scanner) notCanonical(what string) error {
	return fmt.Errorf("%s before byte %d: %w", what, s.pos, ErrValue)
}

// space skips whitespace and reports whether there was any.
func (s *scanner) space() bool {
	start := s.pos
	for s.pos < len(s.src) {
		switch s.src[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return s.pos > start
		}
	}
	return s.pos > start
}

// next is the byte to come, 0 at the end; a NUL in the document fits nowhere either.
func (s *scanner) next() byte {
	if s.pos < len(s.src) {
		return s.src[s.pos]
	}
	return 0
}

func (s *scanner) value(depth int) (node, error) {
	switch c := s.next(); {
	case c == '"':
		start := s.pos
		_, shortest, err := s.str()
		n := node{start: uint32(start), end: uint32(s.pos)}
		if !shortest {
			n.kind = kindString
		}
		return n, err
	case c == '{':
		if depth == MaxDepth {
			return node{}, s.syntax("too deep")
		}
		return s.object(depth)
	case c == '[':
		if depth == MaxDepth {
			return node{}, s.syntax("too deep")
		}
		return s.array(depth)
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	default:
		return node{}, s.syntax("no value")
	}
}

func (s *scanner) literal(word string) (node, error) {
	start := s.pos
	if len(s.src)-start < len(word) || string(s.src[start:start+len(word)]) != word {
		return node{}, s.syntax("no value")
	}
	s.pos += len(word)
	return node{start: uint32(start), end: uint32(s.pos)}, nil
}

func (s *scanner) array(depth int) (node, error) {
	start, base := s.pos, len(s.stack)
	s.pos++
	rewrite := s.space()
	if s.next() == ']' {
		s.pos++
		return s.closed(kindArray, start, base, rewrite), nil
	}
	for {
		v, err := s.value(depth + 1)
		if err != nil {
			return node{}, err
		}
		rewrite = rewrite || v.kind != kindVerbatim
		s.stack = append(s.stack, member{value: v})
		rewrite = s.space() || rewrite
		switch s.next() {
		case ',':
			s.pos++
			rewrite = s.space() || rewrite
		case ']':
			s.pos++
			return s.closed(kindArray, start, base, rewrite), nil
		default:
			return node{}, s.syntax("no , or ]")
		}
	}
}

func (s *scanner) object(depth int) (node, error) {
	start, base := s.pos, len(s.stack)
	s.pos++
	rewrite := s.space()
	if s.next() == '}' {
		s.pos++
		return s.closed(kindObject, start, base, rewrite), nil
	}
	sorted := true
	for {
		m, shortest, err := s.member(depth)
		if err != nil {
			return node{}, err
		}
		rewrite = rewrite || !shortest || m.value.kind != kindVerbatim
		if sorted && len(s.stack) > base {
			order := bytes.Compare(s.key(s.stack[len(s.stack)-1]), s.key(m))
			if order == 0 {
				if s.mode == Strict {
					return node{}, s.notCanonical("duplicate key")
				}
				s.stack = s.stack[:len(s.stack)-1]
				rewrite = true
			}
			sorted = order <= 0
		}
		s.stack = append(s.stack, m)
		rewrite = s.space() || rewrite
		switch s.next() {
		case ',':
			s.pos++
			rewrite = s.space() || rewrite
		case '}':
			s.pos++
			if !sorted {
				rewrite = true
				if err := s.sort(base); err != nil {
					return node{}, err
				}
			}
			return s.closed(kindObject, start, base, rewrite), nil
		default:
			return node{}, s.syntax("no , or }")
		}
	}
}

// member reads key, colon and value; shortest is false if any of it, the value's inside aside, must be written anew.
func (s *scanner) member(depth int) (m member, shortest bool, err error) {
	if s.next() != '"' {
		return m, false, s.syntax("no key")
	}
	start := s.pos + 1
	escaped, shortest, err := s.str()
	if err != nil {
		return m, false, err
	}
	m.keyStart, m.keyEnd = uint32(start), uint32(s.pos-1)
	if escaped { // order and equality are those of the text, not of its spelling
		from := len(s.arena)
		s.arena = appendUnescaped(s.arena, s.src[start:s.pos-1], false)
		m.keyStart, m.keyEnd, m.decoded = uint32(from), uint32(len(s.arena)), true
	}
	if s.space() {
		shortest = false
	}
	if s.next() != ':' {
		return m, false, s.syntax("no :")
	}
	s.pos++
	if s.space() {
		shortest = false
	}
	m.value, err = s.value(depth + 1)
	return m, shortest, err
}

func (s *scanner) key(m member) []byte {
	if m.decoded {
		return s.arena[m.keyStart:m.keyEnd]
	}
	return s.src[m.keyStart:m.keyEnd]
}

// closed ends an array or object whose entries are on the stack from base on.
func (s *scanner) closed(k kind, start, base int, rewrite bool) node {
	n := node{start: uint32(start), end: uint32(s.pos)}
	if rewrite {
		n.kind = k
		n.first, n.count = uint32(len(s.members)), uint32(len(s.stack)-base)
		s.members = append(s.members, s.stack[base:]...)
	}
	s.stack = s.stack[:base]
	return n
}

// sort orders the members of the object on top of the stack by their keys' code points, which is the order of their
// UTF-8 bytes, and deals with duplicates: in Lenient mode the last one stays, as in other servers' parsers. MSC4458
func (s *scanner) sort(base int) error {
	open := s.stack[base:]
	if len(open) <= 16 { // insertion sort: most objects are small and nearly sorted
		for i := 1; i < len(open); i++ {
			m, key := open[i], s.key(open[i])
			j := i
			for ; j > 0 && bytes.Compare(s.key(open[j-1]), key) > 0; j-- {
				open[j] = open[j-1]
			}
			open[j] = m
		}
	} else {
		s.sortLarge(open)
	}
	kept := open[:1]
	for _, m := range open[1:] {
		if !bytes.Equal(s.key(kept[len(kept)-1]), s.key(m)) {
			kept = append(kept, m)
			continue
		}
		if s.mode == Strict {
			return s.notCanonical("duplicate key")
		}
		kept[len(kept)-1] = m
	}
	s.stack = s.stack[:base+len(kept)]
	return nil
}

// sortLarge sorts many members by numbers that stand for them: the bytes of the key that follow what all keys have in
// common, as many as fit, and below them the place in open. Those few whose bytes are the same are then compared in full.
func (s *scanner) sortLarge(open []member) {
	common := s.key(open[0])
	for _, m := range open[1:] {
		key := s.key(m)
		n := min(len(common), len(key))
		for n > 0 && !bytes.Equal(common[:n], key[:n]) {
			n--
		}
		common = common[:n]
	}
	place := uint64(1)<<bits.Len(uint(len(open)-1)) - 1
	s.ranks = s.ranks[:0]
	for i, m := range open {
		var head [8]byte
		copy(head[:], s.key(m)[len(common):])
		s.ranks = append(s.ranks, binary.BigEndian.Uint64(head[:])&^place|uint64(i))
	}
	slices.Sort(s.ranks)
	s.order = append(s.order[:0], open...)
	for i, rank := range s.ranks {
		open[i] = s.order[rank&place]
	}
	for from, to := 0, 1; from < len(open); from, to = to, to+1 {
		for to < len(open) && s.ranks[from]&^place == s.ranks[to]&^place {
			to++
		}
		if to-from > 1 {
			slices.SortFunc(open[from:to], s.compare)
		}
	}
}

// compare orders members by key, and duplicates as they came.
func (s *scanner) compare(a, b member) int {
	if c := bytes.Compare(s.key(a), s.key(b)); c != 0 {
		return c
	}
	return cmp.Compare(a.value.start, b.value.start)
}
