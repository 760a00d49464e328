package canonical_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"konsil/matrix/canonical"
)

// pdu is an encrypted message as it comes over federation, 1.2 KB, its keys out of order.
var pdu = []byte(`{"type":"m.room.encrypted","sender":"@anna.berg:klinik.example","room_id":"!QtykxKocfZaZOUrTwp:klinik.example","origin_server_ts":1763712000123,"depth":4711,"prev_events":["$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg"],"auth_events":["$CD66HAED5npg6074c6pDtLKalHjVfYb2q4Q3LZgrW6o","$acR1l0raoZnm60CBwAVgqbZqoO-mYU81xysh1u7XcJk","$NyVKWRHEEUOBDSyDCnjPLcMJUc8PyOvUMULM3qlT4N8"],"hashes":{"sha256":"5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos"},"content":{"sender_key":"IlRMeOPX2e0MurIyfWEucYBRVOEEUMrOHqn/8mLqMjA","algorithm":"m.megolm.v1.aes-sha2","device_id":"RJYKSTBOIE","session_id":"X3lUlvLELLYxeTx4yOVu6UDpasGEVO0Jbu+QFnm0cKQ","ciphertext":"` +
	strings.Repeat("AwgAEnACgAkLmt6qF84IK++J7UDH2Za1YVchHyprqTqsg2yyOwAtHaZTwyNg37afzg8f3r9IsN9r4RNFg7", 4) +
	`"},"signatures":{"klinik.example":{"ed25519:a_1":"KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg"}},"unsigned":{"age_ts":1000000}}`)

func BenchmarkAppend(b *testing.B) {
	sorted, err := canonical.Append(nil, pdu, canonical.Strict)
	if err != nil {
		b.Fatal(err)
	}
	var many bytes.Buffer
	for i := range 1000 {
		fmt.Fprintf(&many, `,"@user%d:klinik.example":%d`, (i*7919)%1000, i)
	}
	for _, c := range []struct {
		name string
		in   []byte
	}{
		{"unsorted_1.2KB", pdu},
		{"canonical_1.2KB", sorted},
		{"string_32KB", []byte(`"` + strings.Repeat("0123456789abcdef", 2048) + `"`)},
		{"keys_1000", []byte("{" + many.String()[1:] + "}")},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.in)))
			b.ReportAllocs()
			var dst []byte
			for b.Loop() {
				if dst, err = canonical.Append(dst[:0], c.in, canonical.Strict); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The price of 1 MiB of what an attacker would send. A10: less than 10 ms.
func BenchmarkA10Hostile(b *testing.B) {
	const size = 1 << 20
	for name, in := range map[string]string{
		"deep":       strings.Repeat("[", size),
		"nested":     strings.Repeat(strings.Repeat(`{"b":0,"a":`, 1000), size/11000),
		"duplicates": "{" + strings.Repeat(`"a":1,`, size/6) + `"a":1}`,
		"escapes":    `"` + strings.Repeat(`\u0061`, size/6) + `"`,
		"floats":     "[" + strings.Repeat(`1.5e3,`, size/6) + "1]",
		"shuffled":   shuffled(size),
		"space":      strings.Repeat(" ", size) + "x",
		"cjk":        `"` + strings.Repeat("日本語", size/9) + `"`,
		"backslash":  `{"` + strings.Repeat(`\\`, size/2) + `":1}`,
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			src := []byte(in)
			var dst []byte
			for b.Loop() {
				dst, _ = canonical.Append(dst[:0], src, canonical.Lenient)
			}
		})
	}
}

// shuffled is an object of small members in no order.
func shuffled(size int) string {
	var out strings.Builder
	out.WriteByte('{')
	for i := 0; out.Len() < size; i++ {
		fmt.Fprintf(&out, `"%x":0,`, uint32(i)*2654435761)
	}
	out.WriteString(`"x":0}`)
	return out.String()
}
