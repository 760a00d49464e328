package ssclient

import (
	"bytes"
	"io"
)

// What follows opens the inside to the tests of package ssclient_test.

var (
	ParseWellKnown = parseWellKnown
	Target         = target
)

// SetWellKnownPort lets well-known files come from a port that tests may bind.
func (n *Network) SetWellKnownPort(port string) { n.resolver.port = port }

// SplitArray runs the stream over one object and collects the elements of field.
func SplitArray(data []byte, field string) ([][]byte, error) {
	s := newJSONStream(bytes.NewReader(data))
	var found [][]byte
	for {
		key, ok, err := s.field()
		if err != nil || !ok {
			return found, err
		}
		if key == field {
			err = s.elements(func(raw []byte) error {
				found = append(found, bytes.Clone(raw))
				return nil
			})
		} else {
			err = s.skip()
		}
		if err != nil {
			return found, err
		}
	}
}

// FilePart reads the file of a multipart media answer.
func FilePart(data []byte, boundary string) ([]byte, error) {
	part, err := filePart(bytes.NewReader(data), boundary)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(part)
}
