package scenario_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"konsil/test/harness"
)

// onLoopback resolves every name to 127.0.0.1, as a resolver that knows *.localhost does.
func onLoopback(t *testing.T) *http.Client {
	t.Helper()
	return client(t, &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		var d net.Dialer
		return d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	}})
}

// TestC01HostNamesPickOneDomain plays with the names by which domains of one process are told apart: none of it may lead to
// another domain than the one named, and a name of nobody leads to nobody.
func TestC01HostNamesPickOneDomain(t *testing.T) {
	t.Parallel()
	up := harness.StartUp(t)
	klinik, praxis := up.Domain(t, "klinik.localhost"), up.Domain(t, "praxis.localhost")
	shared, err := url.Parse(klinik.Web)
	if err != nil {
		t.Fatal(err)
	}
	port := shared.Port()
	c := onLoopback(t)
	anna := up.Account(t, "@anna.berg:klinik.localhost")
	const whoami = "/_matrix/client/v3/account/whoami"

	t.Run("on the shared port the host name decides", func(t *testing.T) {
		for _, host := range []string{"klinik.localhost:" + port, "klinik.localhost", "KLINIK.localhost:" + port, "klinik.localhost:1"} {
			if got := signingServer(t, c, klinik.Web, "Host", host); got != klinik.Name {
				t.Errorf("Host %s: %s", host, got)
			}
		}
		for _, host := range []string{"praxis.localhost", "praxis.localhost:" + port} {
			if got := signingServer(t, c, klinik.Web, "Host", host); got != praxis.Name {
				t.Errorf("Host %s: %s", host, got)
			}
		}
	})
	t.Run("a name of nobody leads to nobody", func(t *testing.T) {
		for _, host := range []string{"127.0.0.1:" + port, "localhost", "localhost:" + port, "nobody.localhost", "klinik.localhost.", "klinik.localhost.evil.example",
			"evil-klinik.localhost", "praxis.localhost,klinik.localhost", "klinik.localhost@praxis.localhost", "*.localhost"} {
			status, body := get(t, c, klinik.Web+whoami, "Host", host, "Authorization", "Bearer "+anna.AccessToken)
			if status == http.StatusOK || strings.Contains(string(body), "anna.berg") {
				t.Errorf("Host %s: %d %s", host, status, body)
			}
		}
	})
	t.Run("other headers change nothing", func(t *testing.T) {
		for _, header := range []string{"X-Forwarded-Host", "X-Host", "X-Original-Host", "X-Forwarded-Server", "X-HTTP-Host-Override", "Forwarded"} {
			value := klinik.Name
			if header == "Forwarded" {
				value = "host=" + klinik.Name
			}
			if got := signingServer(t, c, praxis.Web, header, value); got != praxis.Name {
				t.Errorf("%s: %s", header, got)
			}
		}
	})
	t.Run("a token is good on its own domain only", func(t *testing.T) {
		for _, d := range up.State.Domains {
			status, body := get(t, c, d.ClientAPI+whoami, "Authorization", "Bearer "+anna.AccessToken)
			if d.Name == klinik.Name && status != http.StatusOK {
				t.Errorf("on %s: %d %s", d.Name, status, body)
			}
			if d.Name != klinik.Name && status != http.StatusUnauthorized {
				t.Errorf("on %s: %d %s", d.Name, status, body)
			}
		}
	})
	t.Run("a domain's own ports are its own whatever the host name", func(t *testing.T) {
		status, body := get(t, c, praxis.ClientAPI+whoami, "Host", klinik.Name, "Authorization", "Bearer "+anna.AccessToken)
		if status != http.StatusUnauthorized {
			t.Errorf("client port: %d %s", status, body)
		}
		if got := signingServer(t, federationClient(t, up, praxis.Name), praxis.FederationAPI, "Host", klinik.Name); got != praxis.Name {
			t.Errorf("federation port: %s", got)
		}
	})
	t.Run("two host names are refused", func(t *testing.T) {
		for _, request := range []string{
			"GET " + whoami + " HTTP/1.1\r\nHost: praxis.localhost\r\nHost: klinik.localhost\r\nConnection: close\r\n\r\n",
			"GET " + whoami + " HTTP/1.1\r\nHost: praxis.localhost klinik.localhost\r\nConnection: close\r\n\r\n",
			"GET " + whoami + " HTTP/1.1\r\nConnection: close\r\n\r\n",
		} {
			if status := rawStatus(t, "127.0.0.1:"+port, request); status != http.StatusBadRequest {
				t.Errorf("%d for\n%s", status, request)
			}
		}
	})
	t.Run("an absolute address counts, not the header beside it", func(t *testing.T) { // RFC 9112 3.2.2
		request := "GET http://nobody.localhost" + whoami + " HTTP/1.1\r\nHost: klinik.localhost\r\nAuthorization: Bearer " + anna.AccessToken +
			"\r\nConnection: close\r\n\r\n"
		if status := rawStatus(t, "127.0.0.1:"+port, request); status != http.StatusNotFound {
			t.Errorf("%d", status)
		}
	})
	t.Run("a domain of nobody looks like any server that has no such path", func(t *testing.T) {
		status, body := get(t, c, klinik.Web+"/_matrix/client/versions", "Host", "nobody.localhost")
		other, elsewhere := get(t, c, klinik.Web+"/_matrix/client/nonsense")
		if status != other || string(body) != string(elsewhere) {
			t.Errorf("%d %s, but for a path of nobody %d %s", status, body, other, elsewhere)
		}
	})
}

// rawStatus sends bytes as they are and reads the status of the answer.
func rawStatus(t *testing.T, address, request string) int {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	return res.StatusCode
}
