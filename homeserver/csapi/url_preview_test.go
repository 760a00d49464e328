package csapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"

	"konsil/homeserver/account"
	"konsil/homeserver/csapi"
	"konsil/homeserver/preview"
	"konsil/matrix/mxerr"
)

func TestURLPreview(t *testing.T) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<title>Praxis</title>")
	}))
	defer site.Close()
	r := newRig(t, func(_ *account.Config, c *csapi.Config) {
		c.Previews = preview.New(preview.Config{Server: server, Clock: c.Clock, Reachable: func(netip.Addr) bool { return true }})
	})
	anna := r.register("anna")
	query := "?url=" + url.QueryEscape(site.URL)
	for _, path := range []string{"/_matrix/client/v1/media/preview_url", "/_matrix/media/v3/preview_url"} {
		if a := r.must("GET", path+query, anna.token, nil); a.body != `{"og:title":"Praxis"}` {
			t.Errorf("%s: %s", path, a.body)
		}
		r.refused(401, mxerr.CodeMissingToken, "GET", path+query, "", nil)
		r.refused(400, mxerr.CodeMissingParam, "GET", path, anna.token, nil)
	}
	off := newRig(t)
	bob := off.register("bob")
	off.refused(404, mxerr.CodeUnrecognized, "GET", "/_matrix/client/v1/media/preview_url"+query, bob.token, nil)
}
