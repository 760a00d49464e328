package ssclient_test

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"konsil/client/ssclient"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/sign"
)

// other is a server named other.test with a handler.
func (r *rig) other(handler http.HandlerFunc) id.ServerName {
	r.dns.hosts["other.test"] = "127.0.0.1"
	return onPort("other.test", r.serve(handler, "other.test"))
}

func TestRequestsAreSigned(t *testing.T) {
	r := newRig(t)
	key, err := sign.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	client := ssclient.New(ssclient.Config{Server: "us.test", Key: key, Network: r.network})
	var checked error
	var server id.ServerName
	server = r.other(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		x, err := sign.ParseXMatrix(req.Header.Values("Authorization")...)
		if err == nil {
			err = sign.VerifyRequest(x, req.Method, req.RequestURI, body, server, key.Public())
		}
		checked = err
		fmt.Fprint(w, `{"pdus":{"$a":{},"$b":{"error":"no"}}}`)
	})
	// An ID with characters that paths escape: what is signed has to be what is sent.
	got, err := client.SendTransaction(ctx, server, "a/b c%25", []byte(`{"pdus":[],"origin":"us.test"}`))
	if err != nil {
		t.Fatal(err)
	}
	if checked != nil {
		t.Errorf("signature: %v", checked)
	}
	if got.PDUs["$b"].Error != "no" || got.PDUs["$a"].Error != "" {
		t.Errorf("results %+v", got.PDUs)
	}
}

// A29: what a remote server answers never becomes our own refusal.
func TestA29RemoteErrorsStayRemote(t *testing.T) {
	bomb := gzipped(t, 64<<20)
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		status  int // what our client is told
	}{
		"401 M_UNKNOWN_TOKEN": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"errcode":"M_UNKNOWN_TOKEN","error":"log out","soft_logout":false}`)
		}, 502},
		"HTML": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, "<html>go away</html>")
		}, 502},
		"HTML with 200": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, 502},
		"redirect": {func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, "https://127.0.0.1:1/", http.StatusFound)
		}, 502},
		"100 MB": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.CopyN(w, endless{}, 100<<20)
		}, 502},
		"gzip bomb": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb)
		}, 502},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{"displayname":`)
		}, 502},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			server := r.other(c.handler)
			_, err := r.client.Profile(ctx, id.UserID("@u:"+string(server)), "")
			if err == nil {
				t.Fatal("no error")
			}
			told, ok := mxerr.As(ssclient.Gateway(err))
			if !ok || told.Status != c.status || told.Code == mxerr.CodeUnknownToken || strings.Contains(told.Message, "html") {
				t.Errorf("our client is told %v (cause %v)", told, err)
			}
			if relayed, _ := mxerr.As(ssclient.Relay(err, mxerr.CodeUnknownToken)); relayed.Status == http.StatusUnauthorized {
				t.Error("a remote 401 was relayed")
			}
		})
	}
}

func gzipped(t *testing.T, n int64) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := io.CopyN(w, endless{}, n); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '['
	}
	return len(p), nil
}

func TestRefusalsAreRelayedByCode(t *testing.T) {
	r := newRig(t)
	server := r.other(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"errcode":"M_FORBIDDEN","error":"You are not invited"}`)
	})
	_, err := r.client.MakeJoin(ctx, server, "!r:x.test", "@u:us.test", []string{"11"})
	told, ok := mxerr.As(ssclient.Relay(err, mxerr.CodeForbidden))
	if !ok || told.Status != 403 || told.Code != "M_FORBIDDEN" || told.Message != "You are not invited" {
		t.Errorf("told %v", told)
	}
	if told, _ := mxerr.As(ssclient.Relay(err, mxerr.CodeNotFound)); told.Status != 502 {
		t.Errorf("a code nobody asked for was relayed: %v", told)
	}
}

type collect struct{ state, auth int }

func (c *collect) State([]byte) error     { c.state++; return nil }
func (c *collect) AuthChain([]byte) error { c.auth++; return nil }

// A19: the answer to send_join is read as a stream, within a limit, and nonsense ends it.
func TestA19SendJoinAnswersAreBounded(t *testing.T) {
	event := `{"type":"m.room.member","content":{"a":"}]\"{["}}`
	big := func(n int) string {
		return `{"origin":"o","state":[` + strings.TrimSuffix(strings.Repeat(event+",", n), ",") + `],"auth_chain":[` + event + `],"event":{"x":1},"members_omitted":false,"servers_in_room":["a.test","b c","d.test:8"]}`
	}
	for name, c := range map[string]struct {
		body  string
		limit int64
		good  bool
		state int
	}{
		"a large room":     {big(10_000), 0, true, 10_000},
		"past the limit":   {big(10_000), 100 << 10, false, 0},
		"cut off":          {big(100)[:2000], 0, false, 0},
		"no auth chain":    {`{"state":[]}`, 0, false, 0},
		"state no array":   {`{"state":{},"auth_chain":[]}`, 0, false, 0},
		"an endless event": {`{"state":[{"a":"` + strings.Repeat("x", 3<<20) + `"}],"auth_chain":[]}`, 0, false, 0},
		"HTML":             {`<html>`, 0, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			server := r.other(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, c.body) })
			var sink collect
			joined, err := r.client.SendJoin(ctx, server, "!r:x.test", "$e", []byte(`{}`), c.limit, &sink)
			if (err == nil) != c.good {
				t.Fatalf("error %v", err)
			}
			if !c.good {
				if !isMalformed(err) && !unreachable(err) {
					t.Errorf("untyped error %v", err)
				}
				return
			}
			if sink.state != c.state || sink.auth != 1 || string(joined.Event) != `{"x":1}` || len(joined.Servers) != 2 {
				t.Errorf("%d state, %d auth, %s, %v", sink.state, sink.auth, joined.Event, joined.Servers)
			}
		})
	}
}

func TestSendJoinFallsBackToV1(t *testing.T) {
	r := newRig(t)
	server := r.other(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasPrefix(req.URL.Path, "/_matrix/federation/v2/") {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"errcode":"M_UNRECOGNIZED","error":"?"}`)
			return
		}
		fmt.Fprint(w, `[200, {"state":[{}],"auth_chain":[{},{}]}]`)
	})
	var sink collect
	if _, err := r.client.SendJoin(ctx, server, "!r:x.test", "$e", []byte(`{}`), 0, &sink); err != nil {
		t.Fatal(err)
	}
	if sink.state != 1 || sink.auth != 2 {
		t.Errorf("%+v", sink)
	}
}

// A domain of the same process is reached in memory, by the same request and the same answer.
func TestLocalTransport(t *testing.T) {
	key, err := sign.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		x, err := sign.ParseXMatrix(req.Header.Values("Authorization")...)
		if err == nil {
			err = sign.VerifyRequest(x, req.Method, req.RequestURI, nil, "here.test", key.Public())
		}
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if req.URL.Query().Get("event_id") == "$panic" {
			panic("bug")
		}
		// Written in pieces: the answer streams.
		for _, piece := range []string{`{"pdu_ids":["$a"`, `,"$b"],`, `"auth_chain_ids":[]}`} {
			fmt.Fprint(w, piece)
		}
	})
	network := ssclient.NewNetwork(ssclient.NetworkConfig{DNS: newDNS(), Local: func(name id.ServerName) http.Handler {
		if name == "here.test" {
			return handler
		}
		return nil
	}})
	client := ssclient.New(ssclient.Config{Server: "us.test", Key: key, Network: network})
	state, _, err := client.StateIDs(ctx, "here.test", "!r:here.test", "$x")
	if err != nil || len(state) != 2 {
		t.Fatalf("%v, %v", state, err)
	}
	if _, _, err := client.StateIDs(ctx, "here.test", "!r:here.test", "$panic"); !unreachable(err) {
		t.Errorf("a panic of the handler: %v", err)
	}
}

func TestMediaOverMultipart(t *testing.T) {
	r := newRig(t)
	r.dns.hosts["cdn.test"] = "127.0.0.1"
	cdn := r.serve(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "" {
			t.Error("a signature went to the CDN")
		}
		w.Header().Set("Content-Type", "image/png")
		fmt.Fprint(w, "from the cdn")
	}), "cdn.test")
	server := r.other(func(w http.ResponseWriter, req *http.Request) {
		part := func(header, body string) {
			w.Header().Set("Content-Type", `multipart/mixed; boundary="b b"`)
			fmt.Fprintf(w, "--b b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b b\r\n%s\r\n\r\n%s\r\n--b b--\r\n", header, body)
		}
		switch req.URL.Path {
		case "/_matrix/federation/v1/media/download/plain":
			part("Content-Type: text/plain\r\nContent-Disposition: inline; filename=x.txt", "hello\r\n--b")
		case "/_matrix/federation/v1/media/download/moved":
			part("Location: https://"+string(onPort("cdn.test", cdn))+"/f", "")
		case "/_matrix/federation/v1/media/download/http":
			part("Location: http://cdn.test/f", "")
		case "/_matrix/federation/v1/media/download/html":
			fmt.Fprint(w, "<html>")
		case "/_matrix/federation/v1/media/thumbnail/plain":
			part("Content-Type: image/png", req.URL.RawQuery)
		default:
			if strings.HasPrefix(req.URL.Path, "/_matrix/media/v3/download/") && req.URL.Query().Get("allow_remote") == "false" {
				w.Header().Set("Content-Type", "text/old")
				fmt.Fprint(w, "old way")
				return
			}
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"errcode":"M_UNRECOGNIZED","error":"?"}`)
		}
	})
	get := func(req ssclient.MediaRequest) (string, *ssclient.Media, error) {
		t.Helper()
		req.Server = server
		m, err := r.client.Download(ctx, req)
		if err != nil {
			return "", nil, err
		}
		defer m.Body.Close()
		body, err := io.ReadAll(m.Body)
		return string(body), m, err
	}
	body, m, err := get(ssclient.MediaRequest{MediaID: "plain"})
	if err != nil || body != "hello\r\n--b" || m.ContentType != "text/plain" || m.Disposition != "inline; filename=x.txt" {
		t.Errorf("plain: %q %+v %v", body, m, err)
	}
	if body, m, err := get(ssclient.MediaRequest{MediaID: "moved"}); err != nil || body != "from the cdn" || m.ContentType != "image/png" {
		t.Errorf("moved: %q %v", body, err)
	}
	if _, _, err := get(ssclient.MediaRequest{MediaID: "http"}); !isMalformed(err) {
		t.Errorf("a redirect to http was followed: %v", err)
	}
	if _, _, err := get(ssclient.MediaRequest{MediaID: "html"}); !isMalformed(err) {
		t.Errorf("html: %v", err)
	}
	if body, m, err := get(ssclient.MediaRequest{MediaID: "ancient"}); err != nil || body != "old way" || m.ContentType != "text/old" {
		t.Errorf("old endpoint: %q %v", body, err)
	}
	body, _, err = get(ssclient.MediaRequest{MediaID: "plain", Timeout: time.Second, Thumbnail: &ssclient.Thumbnail{Width: 32, Height: 16, Method: "crop"}})
	if err != nil || body != "height=16&method=crop&timeout_ms=1000&width=32" {
		t.Errorf("thumbnail: %q %v", body, err)
	}
	if _, _, err := get(ssclient.MediaRequest{MediaID: "moved", MaxSize: 3}); err != nil {
		t.Errorf("a frame's size counted as the file's: %v", err)
	}
}

func FuzzJSONStream(f *testing.F) {
	f.Add([]byte(`{"a":[{"b":"}\\"},"x",1,[2]],"state":[{},{"c":[]}],"z":null}`))
	f.Add([]byte(`{"state": null , "x":{"state":[1]}}`))
	f.Add([]byte(`{"state":[1,2`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var want struct {
			State []json.RawMessage `json:"-"`
		}
		got, err := ssclient.SplitArray(data, "state")
		var fields map[string]json.RawMessage
		if json.Unmarshal(data, &fields) != nil || bytes.Count(data, []byte(`state`)) != 1 {
			return // not valid, or the key is there twice: anything but a crash is fine
		}
		raw, ok := fields["state"]
		if !ok || json.Unmarshal(raw, &want.State) != nil {
			return
		}
		if err != nil || len(got) != len(want.State) {
			t.Fatalf("%d elements and %v, want %d", len(got), err, len(want.State))
		}
		for i := range got {
			if !bytes.Equal(got[i], want.State[i]) {
				t.Errorf("element %d: %s, want %s", i, got[i], want.State[i])
			}
		}
	})
}

func FuzzMultipartMedia(f *testing.F) {
	f.Add([]byte("--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b--\r\n"), "b")
	f.Add([]byte("--b\r\n\r\n"), "b")
	f.Fuzz(func(t *testing.T, data []byte, boundary string) {
		if boundary == "" || len(boundary) > 70 {
			return
		}
		file, err := ssclient.FilePart(data, boundary)
		if err == nil && len(file) > len(data) {
			t.Error("more came out than went in")
		}
	})
}
