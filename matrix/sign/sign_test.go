package sign_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/sign"
)

// specKey is the key of the specification's vectors. Appendices v1.16 #signing-key
func specKey(t testing.TB) sign.Key {
	t.Helper()
	key, err := sign.ParseKey([]byte("ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1\n"))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newKey(t testing.TB, seed byte) sign.Key {
	t.Helper()
	key, err := sign.NewKey(rand.NewChaCha8([32]byte{seed}))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Appendices v1.16 #json-signing
func TestSpecificationVectors(t *testing.T) {
	for in, want := range map[string]string{
		`{}`:                      `{"signatures":{"domain":{"ed25519:1":"K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"}}}`,
		`{"two":"Two", "one": 1}`: `{"one":1,"signatures":{"domain":{"ed25519:1":"KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw"}},"two":"Two"}`,
	} {
		got, err := sign.JSON([]byte(in), "domain", specKey(t))
		if err != nil || string(got) != want {
			t.Errorf("%s\n%s, %v", want, got, err)
		}
		if err := sign.VerifyJSON(got, "domain", "ed25519:1", specKey(t).Public()); err != nil {
			t.Error(err)
		}
	}
}

func TestJSON(t *testing.T) {
	key, other := specKey(t), newKey(t, 1)
	once, err := sign.JSON([]byte(`{"b":1.50,"a":{"y":2,"x":1},"unsigned":{"age":1},"signatures":{"zoe":{"ed25519:0":"kept"},"odd":1}}`), "domain", key)
	if err != nil {
		t.Fatal(err)
	}
	twice, err := sign.JSON(once, "@anna:domain", other)
	if err != nil {
		t.Fatal(err)
	}
	if got := sign.Entities(twice); !slices.Equal(got, []string{"@anna:domain", "domain", "zoe"}) {
		t.Errorf("%v in %s", got, twice)
	}
	if got := sign.KeyIDs(twice, "domain"); !slices.Equal(got, []id.KeyID{"ed25519:1"}) {
		t.Error(got)
	}
	if age, _ := canonical.GetInt(twice, "unsigned", "age"); age != 1 {
		t.Errorf("unsigned is lost: %s", twice)
	}
	unsignedChanged := strings.Replace(string(twice), `"age":1`, `"age":2`, 1)
	for _, c := range []struct {
		name, doc, entity string
		keyID             id.KeyID
		pub               ed25519.PublicKey
		want              error
	}{
		{"first", string(twice), "domain", key.ID, key.Public(), nil},
		{"second", string(twice), "@anna:domain", other.ID, other.Public(), nil},
		{"unsigned changed", unsignedChanged, "domain", key.ID, key.Public(), nil},
		{"spaced", "\n" + strings.ReplaceAll(string(twice), ",", " , "), "domain", key.ID, key.Public(), nil},
		{"content changed", strings.Replace(string(twice), `"x":1`, `"x":3`, 1), "domain", key.ID, key.Public(), sign.ErrForged},
		{"other key", string(twice), "domain", key.ID, other.Public(), sign.ErrForged},
		{"other name", string(twice), "zoe", key.ID, key.Public(), sign.ErrUnsigned},
		{"other ID", string(twice), "domain", other.ID, other.Public(), sign.ErrUnsigned},
		{"other algorithm", string(twice), "domain", "rsa:1", key.Public(), sign.ErrUnsigned},
		{"short key", string(twice), "domain", key.ID, key.Public()[:31], sign.ErrForged},
		{"no signatures", `{}`, "domain", key.ID, key.Public(), sign.ErrUnsigned},
		{"odd signatures", `{"signatures":{"domain":"x"}}`, "domain", key.ID, key.Public(), sign.ErrUnsigned},
		{"short signature", `{"signatures":{"domain":{"ed25519:1":"AAAA"}}}`, "domain", key.ID, key.Public(), sign.ErrUnsigned},
		{"no object", `[]`, "domain", key.ID, key.Public(), canonical.ErrSyntax},
		{"no JSON", `{`, "domain", key.ID, key.Public(), canonical.ErrSyntax},
	} {
		if err := sign.VerifyJSON([]byte(c.doc), c.entity, c.keyID, c.pub); !errors.Is(err, c.want) || err != nil && c.want == nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := sign.JSON([]byte(`1`), "domain", key); !errors.Is(err, canonical.ErrSyntax) {
		t.Error(err)
	}
}

func TestAppendSignature(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var signatures []byte
		want := map[string]string{}
		for range rapid.IntRange(1, 10).Draw(t, "n") {
			entity := rapid.StringN(0, 3, -1).Draw(t, "entity")
			keyID := id.KeyID("ed25519:" + rapid.StringN(1, 2, -1).Draw(t, "key"))
			sig := rapid.SliceOfN(rapid.Byte(), 64, 64).Draw(t, "sig")
			signatures = sign.AppendSignature(nil, signatures, entity, keyID, sig)
			want[fmt.Sprintf("%q %q", entity, keyID)] = string(sig)
			got, ok := sign.Signature([]byte(`{"signatures":`+string(signatures)+`}`), entity, keyID)
			if !ok || string(got) != string(sig) {
				t.Fatalf("%s", signatures)
			}
		}
		count := 0
		_ = canonical.Object(signatures, func(_ string, of []byte) error {
			return canonical.Object(of, func(string, []byte) error { count++; return nil })
		})
		if form, err := canonical.Append(nil, signatures, canonical.Strict); err != nil || string(form) != string(signatures) || count != len(want) {
			t.Fatalf("%s: %d signatures of %d, %v", signatures, count, len(want), err)
		}
	})
}

func TestKeyFile(t *testing.T) {
	key := newKey(t, 7)
	if !strings.HasPrefix(string(key.ID), "ed25519:k_") || key.ID == newKey(t, 8).ID {
		t.Errorf("key ID %s", key.ID)
	}
	back, err := sign.ParseKey(key.Format())
	if err != nil || back.ID != key.ID || !back.Private.Equal(key.Private) {
		t.Errorf("%v, %v", back, err)
	}
	for _, file := range []string{"", "\n", "ed25519 1", "ed25519 1 AAAA", "rsa 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1", "ed25519 a:b YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1",
		"ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1 more", "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1\ned25519 2 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1",
		"ed25519 1 %JDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"} {
		if _, err := sign.ParseKey([]byte(file)); !errors.Is(err, sign.ErrKey) {
			t.Errorf("%q: %v", file, err)
		}
	}
	if _, err := sign.NewKey(strings.NewReader("short")); err == nil {
		t.Error("a key from too little chance")
	}
	seed := sign.EncodeBase64(key.Private.Seed())
	for _, text := range []string{fmt.Sprint(key), fmt.Sprintf("%v %+v %#v %s", key, key, key, key)} {
		if strings.Contains(text, seed) || strings.Contains(text, "PrivateKey") || strings.Contains(text, " ") && strings.Contains(text, "[") {
			t.Errorf("private half shown: %s", text)
		}
	}
}

// Keys for which anybody can make signatures are refused. A7
func TestA07WeakKeys(t *testing.T) {
	if _, err := sign.ParsePublic(sign.EncodeBase64(specKey(t).Public())); err != nil {
		t.Error(err)
	}
	if _, err := sign.ParsePublic(sign.EncodeBase64(specKey(t).Public()) + "="); err != nil {
		t.Errorf("padded: %v", err)
	}
	zero, one, minusOne, order8 := make([]byte, 32), make([]byte, 32), make([]byte, 32), []byte{
		0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05}
	one[0] = 1
	for i := range minusOne {
		minusOne[i] = 0xff
	}
	minusOne[0], minusOne[31] = 0xec, 0x7f
	for name, weak := range map[string][]byte{"order 4": zero, "neutral": one, "order 2": minusOne, "order 8": order8} {
		if _, err := sign.ParsePublic(sign.EncodeBase64(weak)); !errors.Is(err, sign.ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, b64 := range []string{"", "AAAA", "%", strings.Repeat("A", 44), "YJDBA9Xnr2sVqXD9Vj7XVUn\nmFZcZrlw8Md7kMW+3XA1"} {
		if _, err := sign.ParsePublic(b64); !errors.Is(err, sign.ErrKey) {
			t.Errorf("%q: %v", b64, err)
		}
	}
}

// Batch and single check agree on each signature, wherever the bad ones are.
func TestBatch(t *testing.T) {
	if got := new(sign.Batch).Verify(); len(got) != 0 {
		t.Error(got)
	}
	keys := []sign.Key{newKey(t, 1), newKey(t, 2), newKey(t, 3)}
	for _, bad := range [][]int{nil, {0}, {63, 64}, {5, 70, 129}} {
		batch := new(sign.Batch)
		for i := range 130 {
			key := keys[i%3]
			message := fmt.Appendf(nil, "message %d", i)
			sig := ed25519.Sign(key.Private, message)
			if slices.Contains(bad, i) {
				switch i % 3 {
				case 0:
					sig = sig[:63]
				case 1:
					sig[3] ^= 1
				default:
					message = append(message, '!')
				}
			}
			if n := batch.Add(key.Public(), message, sig); n != i || batch.Len() != i+1 {
				t.Fatalf("number %d", n)
			}
		}
		for i, good := range batch.Verify() {
			if good == slices.Contains(bad, i) {
				t.Errorf("bad %v: %d is %v", bad, i, good)
			}
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	key := specKey(b)
	message := make([]byte, 600)
	sig := ed25519.Sign(key.Private, message)
	b.Run("single", func(b *testing.B) {
		for b.Loop() {
			sign.Verify(key.Public(), message, sig)
		}
	})
	b.Run("batch_64", func(b *testing.B) {
		for b.Loop() {
			batch := new(sign.Batch)
			for range 64 {
				batch.Add(key.Public(), message, sig)
			}
			batch.Verify()
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/signature")
	})
}
