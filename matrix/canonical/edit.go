package canonical

import "bytes"

// The editors below take objects in canonical form and keep that form.

// AppendSet appends the object obj with one member set: in place of the one of that name, or at its place in the order.
// value must be canonical as well.
func AppendSet(dst, obj []byte, key string, value []byte) []byte {
	dst = append(dst, '{')
	from := len(dst)
	placed := false
	place := func() {
		placed = true
		dst = comma(dst, from)
		dst = AppendString(dst, key)
		dst = append(dst, ':')
		dst = append(dst, value...)
	}
	members := Members(obj)
	for raw, old, ok := members.Next(); ok; raw, old, ok = members.Next() {
		order := compareKey(raw, key)
		if order >= 0 && !placed {
			place()
		}
		if order != 0 {
			dst = comma(dst, from)
			dst = appendMember(dst, raw, old)
		}
	}
	if !placed {
		place()
	}
	return append(dst, '}')
}

// AppendWithout appends the object obj without the members of these names.
func AppendWithout(dst, obj []byte, keys ...string) []byte {
	dst = append(dst, '{')
	from := len(dst)
	members := Members(obj)
next:
	for raw, value, ok := members.Next(); ok; raw, value, ok = members.Next() {
		for _, key := range keys {
			if KeyIs(raw, key) {
				continue next
			}
		}
		dst = comma(dst, from)
		dst = appendMember(dst, raw, value)
	}
	return append(dst, '}')
}

// comma separates from what was appended since from.
func comma(dst []byte, from int) []byte {
	if len(dst) > from {
		dst = append(dst, ',')
	}
	return dst
}

func appendMember(dst, raw, value []byte) []byte {
	dst = append(dst, '"')
	dst = append(dst, raw...)
	dst = append(dst, '"', ':')
	return append(dst, value...)
}

// compareKey orders a raw key and a text by code points.
func compareKey(raw []byte, s string) int {
	if bytes.IndexByte(raw, '\\') >= 0 {
		raw = []byte(text(raw))
	}
	switch {
	case string(raw) < s:
		return -1
	case string(raw) > s:
		return 1
	}
	return 0
}
