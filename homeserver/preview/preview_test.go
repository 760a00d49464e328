package preview_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"image"
	"image/png"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"konsil/homeserver/media"
	"konsil/homeserver/preview"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/kit/db/dbtest"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

const server = id.ServerName("here.test")

// rig is a previewer that reaches 127.0.0.1 and nothing else, a web server there, and one on an address it must not reach.
type rig struct {
	*preview.Previewer
	t       *testing.T
	clock   *clock.Fake
	media   *media.Repository
	web     *httptest.Server
	inside  *httptest.Server
	reached atomic.Int32 // requests that came to the inside
	asked   atomic.Int32 // requests that came to the web
	pages   map[string]http.HandlerFunc
}

func newRig(t *testing.T) *rig {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{URL: dbtest.SQLite(t), Domain: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	r := &rig{t: t, clock: clock.NewFake(time.Time{}), pages: map[string]http.HandlerFunc{}}
	r.media = media.New(media.Config{Server: server, Store: db, Dir: t.TempDir(), Clock: r.clock})
	r.Previewer = preview.New(preview.Config{Server: server, Media: r.media, Clock: r.clock,
		Reachable: func(a netip.Addr) bool { return a == netip.MustParseAddr("127.0.0.1") }})
	r.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.asked.Add(1)
		page := r.pages[req.URL.Path]
		if page == nil {
			http.NotFound(w, req)
			return
		}
		page(w, req)
	}))
	t.Cleanup(r.web.Close)
	r.inside = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		r.reached.Add(1)
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<title>secret</title>")
	}))
	if r.inside.Listener, err = net.Listen("tcp", "127.0.0.2:0"); err != nil {
		t.Skip("no second loopback address:", err)
	}
	r.inside.Start()
	t.Cleanup(r.inside.Close)
	return r
}

// page serves a text of a type.
func (r *rig) page(path, contentType, body string) string {
	r.pages[path] = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		fmt.Fprint(w, body)
	}
	return r.web.URL + path
}

func (r *rig) look(address string) preview.Preview {
	r.t.Helper()
	got, err := r.Preview(r.t.Context(), address)
	if err != nil {
		r.t.Fatalf("%s: %v", address, err)
	}
	return got
}

func (r *rig) refused(address string, status int) {
	r.t.Helper()
	_, err := r.Preview(r.t.Context(), address)
	if e, ok := mxerr.As(err); !ok || e.Status != status {
		r.t.Errorf("%s: %v, want status %d", address, err, status)
	}
	if e, ok := mxerr.As(err); ok && strings.Contains(e.Message, "127.0.0") {
		r.t.Errorf("%s: the refusal tells %q", address, e.Message)
	}
}

func picture(t *testing.T, width, height int) string {
	t.Helper()
	var out bytes.Buffer
	if err := png.Encode(&out, image.NewGray(image.Rect(0, 0, width, height))); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestPreview(t *testing.T) {
	r := newRig(t)
	pic := picture(t, 30, 20)
	r.page("/img/a.png", "image/png", pic)
	got := r.look(r.page("/dir/page", "text/html; charset=utf-8", `<title>Title</title><meta name=description content="About">
		<meta property=og:site_name content=Site><meta property=og:image content="../img/a.png"><meta property=og:image:width content=9999>`))
	for key, want := range map[string]any{"og:title": "Title", "og:description": "About", "og:site_name": "Site", "og:image:type": "image/png",
		"og:image:width": 30, "og:image:height": 20, "matrix:image:size": len(pic)} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
	uri, _ := got["og:image"].(string)
	mediaID, ok := strings.CutPrefix(uri, "mxc://here.test/")
	if !ok {
		t.Fatalf("picture %q", uri)
	}
	file, err := r.media.Open(t.Context(), server, mediaID, 0)
	if err != nil || file.Size != int64(len(pic)) {
		t.Errorf("the picture is not kept: %v", err)
	}
	if err == nil {
		_ = file.Close()
	}
}

func TestPreviewOfOtherThings(t *testing.T) {
	r := newRig(t)
	if got := r.look(r.page("/a.png", "image/png", picture(t, 3, 2))); got["og:image:width"] != 3 || got["og:title"] != "a.png" {
		t.Errorf("a picture: %v", got)
	}
	if got := r.look(r.page("/a.pdf", "application/pdf", "<title>x</title>")); len(got) != 0 {
		t.Errorf("a file: %v", got)
	}
	for name, img := range map[string]string{"missing": "/nowhere.png", "no picture": "/text", "of another scheme": "file:///etc/passwd", "nonsense": "http://%zz"} {
		r.page("/text", "image/png", "no picture")
		got := r.look(r.page("/"+strings.ReplaceAll(name, " ", "-"), "text/html", `<title>x</title><meta property=og:image content="`+img+`">`))
		if got["og:title"] != "x" || got["og:image"] != nil {
			t.Errorf("picture %s: %v", name, got)
		}
	}
	r.refused(r.web.URL+"/gone", 502)
	r.pages["/untyped"] = func(w http.ResponseWriter, _ *http.Request) { w.Header()["Content-Type"] = nil }
	r.refused(r.web.URL+"/untyped", 502)
}

// A30 and B4: no URL, redirect or picture leads into our own network.
func TestB04PreviewsStayOutside(t *testing.T) {
	r := newRig(t)
	r.refused(r.inside.URL, 502)
	r.pages["/away"] = func(w http.ResponseWriter, req *http.Request) { http.Redirect(w, req, r.inside.URL, http.StatusFound) }
	r.refused(r.web.URL+"/away", 502)
	got := r.look(r.page("/hop", "text/html", `<title>x</title><meta property=og:image content="`+r.inside.URL+`/a.png">`))
	if got["og:image"] != nil {
		t.Errorf("a picture from inside: %v", got)
	}
	r.pages["/loop"] = func(w http.ResponseWriter, req *http.Request) { http.Redirect(w, req, "/loop", http.StatusFound) }
	r.refused(r.web.URL+"/loop", 502)
	if n := r.reached.Load(); n != 0 {
		t.Errorf("%d requests reached the inside", n)
	}
	for _, address := range []string{"", "x", "file:///etc/passwd", "ftp://127.0.0.1/", "http://", "http://user:password@127.0.0.1/", "http://127.0.0.1:22/",
		"http://127.0.0.1:25/", "//127.0.0.1/", "http://127.0.0.1:99999/", "javascript:alert(1)", "http://x/" + strings.Repeat("a", 5000)} {
		r.refused(address, 400)
	}
	r.pages["/to-mail"] = func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, "http://127.0.0.1:25/", http.StatusFound)
	}
	r.refused(r.web.URL+"/to-mail", 502)

	outside := preview.New(preview.Config{Server: server, Media: r.media, Clock: r.clock}) // as in production
	if _, err := outside.Preview(t.Context(), r.web.URL); err == nil {
		t.Error("loopback is reached")
	}
}

// B4: what never ends is cut off, and what is packed counts as it comes out.
func TestB04EndlessPages(t *testing.T) {
	r := newRig(t)
	gone := make(chan struct{})
	r.pages["/endless"] = func(w http.ResponseWriter, req *http.Request) {
		defer close(gone)
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<title>begins</title>")
		for req.Context().Err() == nil {
			if _, err := w.Write(bytes.Repeat([]byte("<p>"), 10_000)); err != nil {
				return
			}
		}
	}
	if got := r.look(r.web.URL + "/endless"); got["og:title"] != "begins" {
		t.Errorf("%v", got)
	}
	<-gone
	r.pages["/bomb"] = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write([]byte(picture(t, 1, 1)))
		for range 20 {
			if _, err := z.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
		_ = z.Close()
	}
	if got := r.look(r.web.URL + "/bomb"); got["og:image"] != nil {
		t.Errorf("a picture of 20 MiB: %v", got)
	}
}

func TestPreviewsAreKeptForAWhile(t *testing.T) {
	r := newRig(t)
	address := r.page("/page", "text/html", "<title>first</title>")
	r.look(address)
	r.page("/page", "text/html", "<title>second</title>")
	if got := r.look(address + "#part"); got["og:title"] != "first" || r.asked.Load() != 1 {
		t.Errorf("asked %d times, %v", r.asked.Load(), got)
	}
	r.clock.Advance(2 * time.Hour)
	if got := r.look(address); got["og:title"] != "second" {
		t.Errorf("%v", got)
	}
}

// Many who ask at once cost one request, and the answer does not depend on who asked first.
func TestPreviewsAtOnce(t *testing.T) {
	r := newRig(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	r.pages["/slow"] = func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<title>slow</title>")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := r.Preview(ctx, r.web.URL+"/slow"); err == nil {
			t.Error("who gave up got an answer")
		}
	})
	<-arrived
	cancel()
	all.Wait()
	all.Go(func() {
		if got := r.look(r.web.URL + "/slow"); got["og:title"] != "slow" {
			t.Errorf("%v", got)
		}
	})
	close(release)
	all.Wait()
	if n := r.asked.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
}
