package canonical

// Append appends the canonical form of the JSON value src to dst. It reads src once, keeps nothing of it and allocates
// only to grow dst. On error dst comes back as it was.
//
// How: the scan notes for every value whether its bytes are canonical already. Such a value, with all inside it, is
// copied; only objects out of order, and strings, numbers and whitespace in another spelling are written anew.
func Append(dst, src []byte, mode Mode) ([]byte, error) {
	s := scanners.Get().(*scanner)
	defer s.release()
	root, err := s.scan(src, mode)
	if err != nil {
		return dst, err
	}
	return s.emit(dst, root), nil
}

// Check reports whether Append would succeed, without writing anything.
func Check(src []byte, mode Mode) error {
	s := scanners.Get().(*scanner)
	defer s.release()
	_, err := s.scan(src, mode)
	return err
}

// emit writes a node. Its recursion is as deep as the scan's, which MaxDepth bounds.
func (s *scanner) emit(dst []byte, n node) []byte {
	switch n.kind {
	case kindString:
		dst = append(dst, '"')
		dst = appendUnescaped(dst, s.src[n.start+1:n.end-1], true)
		return append(dst, '"')
	case kindNumber:
		return appendNumber(dst, s.src[n.start:n.end])
	case kindArray:
		dst = append(dst, '[')
		for i, m := range s.members[n.first : n.first+n.count] {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = s.emit(dst, m.value)
		}
		return append(dst, ']')
	case kindObject:
		dst = append(dst, '{')
		for i, m := range s.members[n.first : n.first+n.count] {
			if i > 0 {
				dst = append(dst, ',')
			}
			if m.decoded {
				dst = AppendString(dst, s.key(m))
			} else {
				dst = append(dst, s.src[m.keyStart-1:m.keyEnd+1]...) // with its quotes
			}
			dst = append(dst, ':')
			dst = s.emit(dst, m.value)
		}
		return append(dst, '}')
	default:
		return append(dst, s.src[n.start:n.end]...)
	}
}
