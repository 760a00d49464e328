package dial_test

import (
	"errors"
	"net/netip"
	"testing"

	"konsil/kit/dial"
)

func TestA30PublicAddresses(t *testing.T) {
	for text, want := range map[string]bool{
		"1.1.1.1": true, "8.8.8.8": true, "2606:4700::1111": true, "::ffff:1.1.1.1": true, "64:ff9b::101:101": true, "2002:808:808::1": true, "2a01:4f8::1": true,
		"127.0.0.1": false, "127.1.2.3": false, "10.0.0.1": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false,
		"0.0.0.0": false, "0.1.2.3": false, "100.64.0.1": false, "192.0.0.8": false, "198.18.0.1": false, "224.0.0.1": false,
		"240.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fec0::1": false, "2001::1": false, "ff02::1": false, "2001:db8::1": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::7f00:1": false, // IPv4 in disguise
		"64:ff9b::7f00:1": false, "64:ff9b::a9fe:a9fe": false, "2002:7f00:1::": false, "2002:a00:1::": false,
	} {
		if got := dial.Public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is public: %v", text, got)
		}
	}
	if dial.Public(netip.Addr{}) {
		t.Error("no address is public")
	}
}

func TestRefusePrivate(t *testing.T) {
	if err := dial.RefusePrivate("tcp", "1.1.1.1:443", nil); err != nil {
		t.Error(err)
	}
	for _, address := range []string{"127.0.0.1:80", "[::1]:80", "[::ffff:10.0.0.1]:80", "localhost:80", "", "1.1.1.1"} {
		if err := dial.RefusePrivate("tcp", address, nil); !errors.Is(err, dial.ErrPrivate) {
			t.Errorf("%q: %v", address, err)
		}
	}
}
