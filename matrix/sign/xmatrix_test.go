package sign_test

import (
	"errors"
	"strings"
	"testing"

	"konsil/matrix/id"
	"konsil/matrix/sign"
)

func TestParseXMatrix(t *testing.T) {
	want := sign.XMatrix{Origin: "origin.hs.example.com", Destination: "[2001:db8::1]:8448", Key: "ed25519:key1", Sig: "ABC/def+1"}
	for _, header := range []string{
		want.String(),
		`X-Matrix origin="origin.hs.example.com",destination="[2001:db8::1]:8448",key="ed25519:key1",sig="ABC/def+1"`,
		`x-matrix   ORIGIN=origin.hs.example.com , Destination="[2001:db8::1]:8448"	,	key=ed25519:key1,sig="ABC/def+1"`,
		`X-MATRIX sig="ABC/def+1",unknown="\"\\,=",key="ed\25519:key1",,origin = "origin.hs.example.com",destination="[2001:db8::1]\:8448",`,
	} {
		got, err := sign.ParseXMatrix(header)
		if err != nil || got != want {
			t.Errorf("%s\n%+v, %v", header, got, err)
		}
	}
	if got, err := sign.ParseXMatrix(`X-Matrix origin=a,key="ed25519:1",sig=x`); err != nil || got.Destination != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

// What is no proper header is refused, and two are as bad as none. A8
func TestA08Headers(t *testing.T) {
	good := `X-Matrix origin="a",destination="b",key="ed25519:1",sig="x"`
	for _, headers := range [][]string{
		nil, {""}, {good, good}, {"Bearer abc"}, {"X-Matrix"}, {"X-Matrix "}, {"X-Matrix\t" + good[9:]}, {" " + good}, {"X-Matrix: " + good[9:]},
		{good + `,origin="c"`}, {good + `,ORIGIN="a"`}, {good + `,sig=y`}, {good + ` X-Matrix origin="c"`}, {good + "; a=b"}, {good + `,"`}, {good + `,a="`},
		{`X-Matrix destination="b",key="ed25519:1",sig="x"`}, {`X-Matrix origin="a",destination="b",sig="x"`}, {`X-Matrix origin="a",destination="b",key="ed25519:1"`},
		{`X-Matrix origin="",destination="b",key="ed25519:1",sig="x"`}, {`X-Matrix origin="a b",destination="b",key="ed25519:1",sig="x"`},
		{`X-Matrix origin=a/b,destination="b",key="ed25519:1",sig="x"`}, {`X-Matrix origin="a",destination="b c",key="ed25519:1",sig="x"`},
		{`X-Matrix origin="a",destination="b",key="rsa:1",sig="x"`}, {`X-Matrix origin="a",destination="b",key="ed25519",sig="x"`},
		{`X-Matrix origin="a\",destination="b",key="ed25519:1",sig="x"`}, {"X-Matrix origin=\"a\x00\",destination=\"b\",key=\"ed25519:1\",sig=\"x\""},
		{`X-Matrix origin`}, {`X-Matrix origin=`}, {`X-Matrix =a`}, {`X-Matrix origin="a" key="ed25519:1" sig="x"`},
		{good + ",a=" + strings.Repeat("x", 5000)},
	} {
		if x, err := sign.ParseXMatrix(headers...); !errors.Is(err, sign.ErrXMatrix) {
			t.Errorf("%.200q: %+v, %v", headers, x, err)
		}
	}
}

// A signed request stands for its method, target, body, origin and destination, and for nothing else. A8
func TestA08Requests(t *testing.T) {
	key, other := specKey(t), newKey(t, 1)
	const uri = "/_matrix/federation/v1/send/1?a=%20b"
	body := []byte(`{"pdus":[{"b":1.5,"a":"ü"}]}`)
	header, err := sign.SignRequest("PUT", uri, "origin.example", "dest.example", body, key)
	if err != nil {
		t.Fatal(err)
	}
	x, err := sign.ParseXMatrix(header)
	if err != nil {
		t.Fatal(err)
	}
	type request struct {
		x                 sign.XMatrix
		method, uri, body string
		self              string
		key               sign.Key
	}
	good := request{x, "PUT", uri, string(body), "dest.example", key}
	verify := func(r request) error {
		var content []byte
		if r.body != "" {
			content = []byte(r.body)
		}
		return sign.VerifyRequest(r.x, r.method, r.uri, content, id.ServerName(r.self), r.key.Public())
	}
	if err := verify(good); err != nil {
		t.Fatal(err)
	}
	spelled := good
	spelled.body = ` { "pdus" : [ { "a" : "\u00fc", "b" : 1.50 } ] } `
	if err := verify(spelled); err != nil {
		t.Errorf("another spelling of the same body: %v", err)
	}
	for name, change := range map[string]func(*request){
		"method":               func(r *request) { r.method = "POST" },
		"uri":                  func(r *request) { r.uri = "/_matrix/federation/v1/send/2?a=%20b" },
		"query":                func(r *request) { r.uri = "/_matrix/federation/v1/send/1" },
		"body":                 func(r *request) { r.body = `{"pdus":[]}` },
		"no body":              func(r *request) { r.body = "" },
		"broken body":          func(r *request) { r.body = `{"pdus":` },
		"other key":            func(r *request) { r.key = other },
		"other self":           func(r *request) { r.self = "third.example" },
		"case of self":         func(r *request) { r.self = "Dest.example" },
		"other origin":         func(r *request) { r.x.Origin = "third.example" },
		"no destination":       func(r *request) { r.x.Destination = "" },
		"other destination":    func(r *request) { r.x.Destination = "third.example"; r.self = "third.example" },
		"short signature":      func(r *request) { r.x.Sig = r.x.Sig[:80] },
		"signature not base64": func(r *request) { r.x.Sig = "%" + r.x.Sig[1:] },
		"changed signature":    func(r *request) { r.x.Sig = "AAAA" + r.x.Sig[4:] },
	} {
		r := good
		change(&r)
		if err := verify(r); !errors.Is(err, sign.ErrXMatrix) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Without a body.
	header, err = sign.SignRequest("GET", uri, "origin.example", "dest.example", nil, key)
	if err != nil {
		t.Fatal(err)
	}
	x, _ = sign.ParseXMatrix(header)
	if err := verify(request{x, "GET", uri, "", "dest.example", key}); err != nil {
		t.Error(err)
	}
	if err := verify(request{x, "GET", uri, "{}", "dest.example", key}); !errors.Is(err, sign.ErrXMatrix) {
		t.Errorf("a body that was not signed: %v", err)
	}
	if _, err := sign.SignRequest("PUT", uri, "a", "b", []byte("{"), key); err == nil {
		t.Error("signed a body that is no JSON")
	}
}

// Whatever the header, what is understood is written so that it is understood again.
func FuzzXMatrix(f *testing.F) {
	f.Add(`X-Matrix origin="a",destination="b",key="ed25519:1",sig="x"`)
	f.Add(`x-matrix ORIGIN=a:1 ,	key=ed25519:k_1,sig=x,,`)
	f.Add(`X-Matrix origin="\a",destination="[::1]",key="ed25519:\"",sig="\\"`)
	f.Fuzz(func(t *testing.T, header string) {
		x, err := sign.ParseXMatrix(header)
		if err != nil {
			if !errors.Is(err, sign.ErrXMatrix) {
				t.Fatal(err)
			}
			return
		}
		if strings.ContainsAny(string(x.Key)+x.Sig, "\"\\") || x.Destination == "" {
			return // nothing we would write
		}
		if again, err := sign.ParseXMatrix(x.String()); err != nil || again != x {
			t.Fatalf("%+v, %+v, %v", x, again, err)
		}
	})
}
