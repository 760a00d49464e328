package event_test

import (
	"fmt"
	"strings"
	"testing"

	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

// encrypted is a message of 1.2 KB as rooms with end-to-end encryption carry it.
func encrypted(v *roomver.Version) event.Template {
	return event.Template{
		RoomID: "!QtykxKocfZaZOUrTwp:klinik.example", Sender: "@anna.berg:klinik.example", Type: event.TypeEncrypted,
		Content: []byte(`{"algorithm":"m.megolm.v1.aes-sha2","device_id":"RJYKSTBOIE","sender_key":"IlRMeOPX2e0MurIyfWEucYBRVOEEUMrOHqn/8mLqMjA",` +
			`"session_id":"X3lUlvLELLYxeTx4yOVu6UDpasGEVO0Jbu+QFnm0cKQ","ciphertext":"` + strings.Repeat("AwgAEnACgAkLmt6q", 22) + `"}`),
		PrevEvents: []id.EventID{"$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg"},
		AuthEvents: []id.EventID{"$CD66HAED5npg6074c6pDtLKalHjVfYb2q4Q3LZgrW6o", "$acR1l0raoZnm60CBwAVgqbZqoO-mYU81xysh1u7XcJk", "$NyVKWRHEEUOBDSyDCnjPLcMJUc8PyOvUMULM3qlT4N8"},
		Depth:      4711, OriginServerTS: 1763712000123,
	}
}

func powerLevels(users int) []byte {
	var b strings.Builder
	b.WriteString(`{"users_default":0,"state_default":50,"users":{`)
	for i := range users {
		fmt.Fprintf(&b, `"@user%d:klinik.example":%d,`, (i*7919)%users, i%100)
	}
	b.WriteString(`"@anna.berg:klinik.example":100},"events":{}}`)
	return []byte(b.String())
}

func BenchmarkEvent(b *testing.B) {
	v, key := version(b, "11"), specKey(b)
	p, err := event.Build(v, encrypted(v), "klinik.example", key)
	if err != nil {
		b.Fatal(err)
	}
	raw := set(p.JSON, "unsigned", `{"age":5}`)
	big := encrypted(v)
	big.Type, big.StateKey, big.Content = event.TypePowerLevels, ptr(""), powerLevels(1000)
	bigPDU, err := event.Build(v, big, "klinik.example", key)
	if err != nil {
		b.Fatal(err)
	}
	run := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	receive := func(raw []byte) func() error {
		return func() error {
			p, err := event.Parse(raw, v)
			if err == nil && !p.HashMatches() {
				return event.ErrMalformed
			}
			return err
		}
	}
	run("receive_1.2KB", receive(raw))
	run("receive_32KB", receive(bigPDU.JSON))
	run("receive_verify_1.2KB", func() error {
		p, err := event.Parse(raw, v)
		if err != nil {
			return err
		}
		return p.Verify("klinik.example", key.ID, key.Public())
	})
	run("stored_1.2KB", func() error { _, err := event.Stored(p.JSON, v, p.ID); return err })
	run("build_1.2KB", func() error { _, err := event.Build(v, encrypted(v), "klinik.example", key); return err })
	run("redact_1.2KB", func() error { p.Redact(); return nil })
	dst := make([]byte, 0, 4096)
	run("client_1.2KB", func() error {
		p.AppendClient(dst, event.ClientFormat{RoomID: true, Unsigned: []byte(`{"age":1}`)})
		return nil
	})
}
