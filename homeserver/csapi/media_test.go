package csapi_test

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"net/http/httptest"
	"strings"
	"testing"
)

// upload sends a file as it is.
func (r *rig) upload(method, path, token, contentType string, body []byte) answer {
	r.t.Helper()
	req := httptest.NewRequest(method, path, bytes.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", contentType)
	return r.send(req)
}

func picture(t *testing.T, width, height int) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := png.Encode(&out, image.NewGray(image.Rect(0, 0, width, height))); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestMediaOverHTTP(t *testing.T) {
	r := newRig(t)
	anna := r.register("anna")
	for _, path := range []string{"/_matrix/client/v1/media/config", "/_matrix/media/v3/config"} {
		if got := r.must("GET", path, anna.token, nil); got.field("m.upload.size") != "1.048576e+06" {
			t.Errorf("%s: %s", path, got.body)
		}
	}
	up := r.upload("POST", "/_matrix/media/v3/upload?filename=Befund+%C3%BC.txt", anna.token, "text/plain", []byte("no finding"))
	uri := strings.TrimPrefix(up.field("content_uri"), "mxc://")
	if up.status != 200 || !strings.HasPrefix(uri, string(server)+"/") {
		t.Fatalf("%d %s", up.status, up.body)
	}
	for path, name := range map[string]string{
		"/_matrix/client/v1/media/download/" + uri:                "utf-8''Befund%20%C3%BC.txt",
		"/_matrix/media/v3/download/" + uri:                       "utf-8''Befund%20%C3%BC.txt",
		"/_matrix/client/v1/media/download/" + uri + "/other.txt": "other.txt",
	} {
		got := r.must("GET", path, anna.token, nil)
		if got.body != "no finding" || got.header.Get("Content-Type") != "text/plain" || !strings.Contains(got.header.Get("Content-Disposition"), name) {
			t.Errorf("%s: %q %v", path, got.body, got.header)
		}
		if csp := got.header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "sandbox;") || got.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s could act in the name of this site: %v", path, got.header)
		}
	}
	r.refused(401, "M_MISSING_TOKEN", "GET", "/_matrix/client/v1/media/download/"+uri, "", nil)
	r.refused(404, "M_NOT_FOUND", "GET", "/_matrix/client/v1/media/download/"+string(server)+"/none", anna.token, nil)
	r.refused(404, "M_NOT_FOUND", "GET", "/_matrix/client/v1/media/download/praxis.test/x?allow_remote=false", anna.token, nil)
	if got := r.upload("POST", "/_matrix/media/v3/upload", anna.token, "text/plain", make([]byte, 1<<20+1)); got.status != 413 || got.field("errcode") != "M_TOO_LARGE" {
		t.Errorf("a file too large: %d %s", got.status, got.body)
	}
}

// What a browser would run is handed out as a download, whatever its uploader called it. B2
func TestB02HostileTypesAreNotShown(t *testing.T) {
	r := newRig(t)
	anna := r.register("anna")
	for _, kind := range []string{"text/html", "TEXT/HTML; charset=utf-8", "image/svg+xml", "application/xhtml+xml", "text/javascript", "text/plain\r\nX-Evil: 1", "nonsense", ""} {
		up := r.upload("POST", "/_matrix/media/v3/upload?filename="+`..%2F..%2Fevil%22%0D%0A.html`, anna.token, kind, []byte("<script>alert(1)</script>"))
		if up.status != 200 {
			t.Fatalf("%s: %d %s", kind, up.status, up.body)
		}
		got := r.must("GET", "/_matrix/media/v3/download/"+strings.TrimPrefix(up.field("content_uri"), "mxc://"), "", nil)
		if disposition := got.header.Get("Content-Disposition"); !strings.HasPrefix(disposition, "attachment") || strings.ContainsAny(disposition, "\r\n/") {
			t.Errorf("%q: %q", kind, disposition)
		}
		if typ := got.header.Get("Content-Type"); strings.ContainsAny(typ, "\r\n") || got.header.Get("X-Evil") != "" {
			t.Errorf("%q: %v", kind, got.header)
		}
	}
}

func TestThumbnailsOverHTTP(t *testing.T) {
	r := newRig(t)
	anna := r.register("anna")
	up := r.upload("POST", "/_matrix/media/v3/upload", anna.token, "image/png", picture(t, 400, 200))
	path := "/_matrix/client/v1/media/thumbnail/" + strings.TrimPrefix(up.field("content_uri"), "mxc://")
	for query, want := range map[string]string{"width=96&height=96&method=crop": "96x96", "width=320&height=240": "320x160"} {
		got := r.must("GET", path+"?"+query, anna.token, nil)
		config, _, err := image.DecodeConfig(strings.NewReader(got.body))
		if size := fmt.Sprintf("%dx%d", config.Width, config.Height); err != nil || size != want {
			t.Errorf("%s: %s, %v; want %s", query, size, err, want)
		}
	}
	r.must("GET", "/_matrix/media/v3/thumbnail/"+strings.TrimPrefix(up.field("content_uri"), "mxc://")+"?width=32&height=32", "", nil)
	for query, code := range map[string]string{"height=1": "M_MISSING_PARAM", "width=1": "M_MISSING_PARAM", "width=0&height=1": "M_INVALID_PARAM", "width=1&height=1&method=stretch": "M_INVALID_PARAM"} {
		r.refused(400, code, "GET", path+"?"+query, anna.token, nil)
	}
}

// CS v1.16 #post_matrixmediav1create
func TestAnnouncedFilesOverHTTP(t *testing.T) {
	r := newRig(t)
	anna, boris := r.register("anna"), r.register("boris")
	made := r.must("POST", "/_matrix/media/v1/create", anna.token, object{})
	uri := strings.TrimPrefix(made.field("content_uri"), "mxc://")
	if made.at("unused_expires_at") == nil {
		t.Errorf("%s", made.body)
	}
	r.refused(504, "M_NOT_YET_UPLOADED", "GET", "/_matrix/client/v1/media/download/"+uri+"?timeout_ms=0", anna.token, nil)
	if got := r.upload("PUT", "/_matrix/media/v3/upload/"+uri, boris.token, "text/plain", []byte("his")); got.status != 403 {
		t.Errorf("somebody else's file: %d %s", got.status, got.body)
	}
	if got := r.upload("PUT", "/_matrix/media/v3/upload/"+uri, anna.token, "text/plain", []byte("hers")); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if got := r.upload("PUT", "/_matrix/media/v3/upload/"+uri, anna.token, "text/plain", []byte("again")); got.status != 409 || got.field("errcode") != "M_CANNOT_OVERWRITE_MEDIA" {
		t.Errorf("twice: %d %s", got.status, got.body)
	}
	if got := r.must("GET", "/_matrix/client/v1/media/download/"+uri, boris.token, nil); got.body != "hers" {
		t.Errorf("%q", got.body)
	}
}
