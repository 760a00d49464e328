package sign

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"

	"konsil/matrix/canonical"
	"konsil/matrix/id"
)

// XMatrix is the Authorization header of a federation request. SS v1.16 #request-authentication
type XMatrix struct {
	Origin      id.ServerName
	Destination id.ServerName // "" from servers older than spec 1.3
	Key         id.KeyID
	Sig         string // base64
}

// ErrXMatrix is wrapped by all reasons to answer a federation request with 401.
var ErrXMatrix = errors.New("X-Matrix authorization")

// maxHeader bounds the header: three names of 255 bytes, a signature, and room for quoting.
const maxHeader = 4096

func refuse(why string) error { return fmt.Errorf("%w: %s", ErrXMatrix, why) }

// ParseXMatrix reads the Authorization header of a request. All values of the header are handed in, for there may be
// only one: of two, two programs might each look at another. A8
func ParseXMatrix(headers ...string) (XMatrix, error) {
	switch {
	case len(headers) == 0:
		return XMatrix{}, refuse("missing")
	case len(headers) > 1:
		return XMatrix{}, refuse("more than one header")
	case len(headers[0]) > maxHeader:
		return XMatrix{}, refuse("too long")
	}
	scheme, rest, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "X-Matrix") {
		return XMatrix{}, refuse("another scheme")
	}
	var x XMatrix
	seen := map[string]bool{}
	err := authParams(rest, func(name, value string) error {
		name = strings.ToLower(name)
		if seen[name] {
			return refuse("parameter given twice")
		}
		seen[name] = true
		var err error
		switch name {
		case "origin":
			x.Origin, err = id.ParseServerName(value)
		case "destination":
			x.Destination, err = id.ParseServerName(value)
		case "key":
			x.Key, err = id.ParseKeyID(value)
		case "sig":
			x.Sig = value
		}
		return err
	})
	switch {
	case errors.Is(err, ErrXMatrix):
		return XMatrix{}, err
	case err != nil:
		return XMatrix{}, fmt.Errorf("%w: %w", ErrXMatrix, err)
	case x.Origin == "" || x.Key == "" || x.Sig == "":
		return XMatrix{}, refuse("parameter missing")
	case x.Key.Algorithm() != Algorithm:
		return XMatrix{}, refuse("unknown algorithm")
	}
	return x, nil
}

// authParams walks the name=value pairs after a scheme. RFC 9110 11.2, 5.6.1.2 (empty list elements are skipped)
func authParams(s string, f func(name, value string) error) error {
	for {
		s = strings.TrimLeft(s, " \t,")
		if s == "" {
			return nil
		}
		n := tokenLen(s, false)
		name := s[:n]
		s = strings.TrimLeft(s[n:], " \t")
		if n == 0 || s == "" || s[0] != '=' {
			return refuse("bad parameter name")
		}
		value, rest, ok := authValue(strings.TrimLeft(s[1:], " \t"))
		if !ok {
			return refuse("bad parameter value")
		}
		s = strings.TrimLeft(rest, " \t")
		if s != "" && s[0] != ',' {
			return refuse("no comma after a parameter")
		}
		if err := f(name, value); err != nil {
			return err
		}
	}
}

// authValue reads a token, in which old servers may have put colons, or a quoted string. RFC 9110 5.6.4
func authValue(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		n := tokenLen(s, true)
		return s[:n], s[n:], n > 0
	}
	var unquoted []byte
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return string(unquoted), s[i+1:], true
		case c == '\\' && i+1 < len(s):
			i++
			unquoted = append(unquoted, s[i])
		case c < 0x20 && c != '\t' || c == 0x7f:
			return "", "", false
		default:
			unquoted = append(unquoted, c)
		}
	}
	return "", "", false
}

// tokenLen counts the characters of a token at the start of s. RFC 9110 5.6.2
func tokenLen(s string, colon bool) int {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == ':' && colon:
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return i
		}
	}
	return len(s)
}

// String writes the header in the form that old servers understand as well: one space, lower case, all quoted. None of
// the values can hold a quote or a backslash.
func (x XMatrix) String() string {
	return `X-Matrix origin="` + string(x.Origin) + `",destination="` + string(x.Destination) +
		`",key="` + string(x.Key) + `",sig="` + x.Sig + `"`
}

// SignRequest makes the Authorization header of a request. The uri is path and query as sent; content is the JSON body,
// nil when there is none.
func SignRequest(method, uri string, origin, destination id.ServerName, content []byte, key Key) (string, error) {
	signed, err := appendRequest(nil, method, uri, origin, destination, content)
	if err != nil {
		return "", fmt.Errorf("sign request: %w", err)
	}
	x := XMatrix{Origin: origin, Destination: destination, Key: key.ID, Sig: EncodeBase64(ed25519.Sign(key.Private, signed))}
	return x.String(), nil
}

// For refuses a request that is meant for another server, or for none: such a one could be passed on. A8
func (x XMatrix) For(self id.ServerName) error {
	if x.Destination != self {
		return refuse("for another destination")
	}
	return nil
}

// VerifyRequest checks the header of a request to self against a key of its origin. The method, uri and content are
// those received. Who reads content afterwards takes the last of duplicate keys, as the check does. SS v1.16 #request-authentication
func VerifyRequest(x XMatrix, method, uri string, content []byte, self id.ServerName, pub ed25519.PublicKey) error {
	if err := x.For(self); err != nil {
		return err
	}
	sig, err := DecodeBase64(x.Sig)
	if err != nil || len(sig) != ed25519.SignatureSize {
		return refuse("signature is not 64 bytes in base64")
	}
	signed, err := appendRequest(nil, method, uri, x.Origin, x.Destination, content)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrXMatrix, err)
	}
	if !Verify(pub, signed, sig) {
		return fmt.Errorf("%w: %w", ErrXMatrix, ErrForged)
	}
	return nil
}

// appendRequest appends the object that stands for a request, in canonical form.
func appendRequest(dst []byte, method, uri string, origin, destination id.ServerName, content []byte) ([]byte, error) {
	dst = append(dst, '{')
	if content != nil {
		dst = append(dst, `"content":`...)
		var err error
		if dst, err = canonical.Append(dst, content, canonical.Lenient); err != nil {
			return nil, err
		}
		dst = append(dst, ',')
	}
	dst = append(dst, `"destination":`...)
	dst = canonical.AppendString(dst, destination)
	dst = append(dst, `,"method":`...)
	dst = canonical.AppendString(dst, method)
	dst = append(dst, `,"origin":`...)
	dst = canonical.AppendString(dst, origin)
	dst = append(dst, `,"uri":`...)
	dst = canonical.AppendString(dst, uri)
	return append(dst, '}'), nil
}
