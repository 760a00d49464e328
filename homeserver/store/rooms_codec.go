package store

import (
	"encoding/binary"
	"errors"
	"strings"
)

var errCodec = errors.New("damaged number list")

// encodeInts writes numbers as varints, each but the first as the difference to the one before. It is never nil.
func encodeInts(list []int64) []byte {
	b := make([]byte, 0, len(list)*4)
	last := int64(0)
	for _, n := range list {
		b = binary.AppendVarint(b, n-last)
		last = n
	}
	return b
}

func decodeInts(b []byte) ([]int64, error) {
	if len(b) == 0 {
		return nil, nil
	}
	list := make([]int64, 0, len(b)/3+1)
	last := int64(0)
	for len(b) > 0 {
		d, n := binary.Varint(b)
		if n <= 0 {
			return nil, errCodec
		}
		last += d
		list = append(list, last)
		b = b[n:]
	}
	return list, nil
}

// PostgreSQL's TEXT holds no NUL, a type or state key may. U+E000 takes its place, and a doubled one stands for itself.
const (
	stand    = "\uE000"
	standNUL = stand + "0"
	standOwn = stand + "1"
)

// safeText makes foreign text storable; plainText is its inverse.
func safeText(s string) string {
	if !strings.ContainsAny(s, "\x00"+stand) {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, stand, standOwn), "\x00", standNUL)
}

func plainText(s string) string {
	if !strings.Contains(s, stand) {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, standNUL, "\x00"), standOwn, stand)
}
