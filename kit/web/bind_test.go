package web_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"konsil/kit/limit"
	"konsil/kit/web"
)

// roomID stands for the types of an API that check themselves.
type roomID string

func (id *roomID) UnmarshalText(b []byte) error {
	if len(b) == 0 || b[0] != '!' {
		return fmt.Errorf("%q is no room id", b)
	}
	*id = roomID(b)
	return nil
}

type page struct {
	From  string `query:"from"`
	Limit int    `query:"limit"`
}

type request struct {
	page
	Room    roomID          `path:"room"`
	Via     []string        `query:"via"`
	Rooms   []roomID        `query:"room"`
	Dir     *string         `query:"dir"`
	At      *int64          `query:"at"`
	Full    bool            `query:"full"`
	Name    string          `json:"name"`
	Other   *roomID         `json:"other"`
	Content json.RawMessage `json:"content"`
	Raw     json.RawMessage `body:"raw"`
	Caller  string          // not of the wire
}

func newRequest(method, query, body string) *http.Request {
	r := httptest.NewRequest(method, "/x?"+query, strings.NewReader(body))
	r.SetPathValue("room", "!r:x")
	return r
}

func TestBind(t *testing.T) {
	forward, at, other := "f", int64(17), roomID("!o:x")
	for _, c := range []struct {
		query, body string
		want        request
	}{
		{"", "", request{Raw: json.RawMessage("{}")}},
		{"", " \n", request{Raw: json.RawMessage("{}")}},
		{"from=s1&limit=20&dir=f&at=17&full=true", "{}",
			request{page: page{"s1", 20}, Dir: &forward, At: &at, Full: true, Raw: json.RawMessage("{}")}},
		{"via=a&via=b%26&room=%21a&ro%6Fm=!b", "{}", request{Via: []string{"a", "b&"}, Rooms: []roomID{"!a", "!b"}, Raw: json.RawMessage("{}")}},
		{"limit=0&limit=5&from=&from=x&unknown=%zz", "{}", request{Raw: json.RawMessage("{}")}},
		{"", `{"name":"Visite","other":"!o:x","content":{"a":[1]},"more":1}`, request{Name: "Visite", Other: &other,
			Content: json.RawMessage(`{"a":[1]}`), Raw: json.RawMessage(`{"name":"Visite","other":"!o:x","content":{"a":[1]},"more":1}`)}},
		{"", `{"Caller":"@admin","Room":"!evil","From":"x","Raw":"eA==","Dir":"b","page":{"From":"y"}}`, // a body fills its own fields only
			request{Raw: json.RawMessage(`{"Caller":"@admin","Room":"!evil","From":"x","Raw":"eA==","Dir":"b","page":{"From":"y"}}`)}},
	} {
		got, err := web.Bind[request](newRequest("POST", c.query, c.body), 1000)
		c.want.Room = "!r:x"
		if err != nil {
			t.Errorf("%s %s: %v", c.query, c.body, err)
		} else if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(request{}, page{})); diff != "" {
			t.Errorf("%s %s:\n%s", c.query, c.body, diff)
		}
	}
}

func TestBindRefuses(t *testing.T) {
	type required struct {
		Name string  `json:"name" bind:"required"`
		From *string `query:"from" bind:"required"`
	}
	for _, c := range []struct {
		query, body string
		kind        web.BindKind
		field       string
	}{
		{"from=1", `{"name":`, web.NotJSON, ""},
		{"from=1", `{"name":"x"} x`, web.NotJSON, ""},
		{"from=1", `nul`, web.NotJSON, ""},
		{"from=1", "\ufeff{}", web.NotJSON, ""},
		{"from=1", "{\"name\":\"\xff\"}", web.NotJSON, ""},
		{"from=1", "{\"name\":\"\x00\"}", web.NotJSON, ""},
		{"from=1", `[]`, web.BadJSON, ""},
		{"from=1", `"x"`, web.BadJSON, ""},
		{"from=1", `null`, web.BadJSON, ""},
		{"from=1", `{"name":7}`, web.BadJSON, "name"},
		{"from=1", `{}`, web.MissingParam, "name"},
		{"", `{"name":"x"}`, web.MissingParam, "from"},
		{"from=%zz", `{"name":"x"}`, web.InvalidParam, "from"},
		{"from=1", `{"name":"` + strings.Repeat("x", 1000) + `"}`, web.TooLarge, ""},
	} {
		_, err := web.Bind[required](newRequest("POST", c.query, c.body), 1000)
		var bad *web.BindError
		if !errors.As(err, &bad) || bad.Kind != c.kind || bad.Field != c.field {
			t.Errorf("%s %.40s: got %v, want kind %d of %q", c.query, c.body, err, c.kind, c.field)
		}
	}
	for _, query := range []string{"limit=x", "limit=99999999999999999999", "at=1.5", "full=yes", "room=r"} {
		_, err := web.Bind[request](newRequest("GET", query, ""), 1000)
		var bad *web.BindError
		if !errors.As(err, &bad) || bad.Kind != web.InvalidParam || !strings.HasPrefix(query, bad.Field+"=") {
			t.Errorf("%s: got %v", query, err)
		}
	}
	r := newRequest("GET", "", "")
	r.SetPathValue("room", "r")
	var bad *web.BindError
	if _, err := web.Bind[request](r, 1000); !errors.As(err, &bad) || bad.Kind != web.InvalidParam || bad.Field != "room" {
		t.Errorf("a bad path: %v", err)
	}
	if _, err := web.Bind[request](newRequest("POST", "", `{"other":"o"}`), 1000); !errors.As(err, &bad) || bad.Kind != web.InvalidParam {
		t.Errorf("a bad text in the body: %v", err)
	}
}

// unread fails the test when somebody reads the body.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) { u.t.Error("the body was read"); return 0, io.EOF }

func TestB03FormsAreRefusedUnread(t *testing.T) {
	for _, ct := range []string{"multipart/form-data; boundary=x", "MULTIPART/Form-Data; boundary=x", "multipart/mixed"} {
		r := httptest.NewRequest("POST", "/x", unread{t})
		r.SetPathValue("room", "!r:x")
		r.Header.Set("Content-Type", ct)
		var bad *web.BindError
		if _, err := web.Bind[request](r, 1000); !errors.As(err, &bad) || bad.Kind != web.NotJSON {
			t.Errorf("%s: %v", ct, err)
		}
	}
	r := httptest.NewRequest("POST", "/x", unread{t}) // one that says it is too large is not read either
	r.SetPathValue("room", "!r:x")
	r.ContentLength = 1001
	var bad *web.BindError
	if _, err := web.Bind[request](r, 1000); !errors.As(err, &bad) || bad.Kind != web.TooLarge {
		t.Errorf("declared size: %v", err)
	}
}

func TestA10DeepNesting(t *testing.T) {
	deep := func(n int) string { return `{"x":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}` }
	for n, want := range map[int]web.BindKind{limit.JSONDepth: 0, limit.JSONDepth + 1: web.BadJSON, 1_000_000: web.BadJSON} {
		_, err := web.Bind[request](newRequest("POST", "", deep(n)), 10<<20)
		var bad *web.BindError
		if errors.As(err, &bad) != (want != 0) || want != 0 && bad.Kind != want {
			t.Errorf("depth %d: %v", n, err)
		}
	}
	if _, err := web.Bind[request](newRequest("POST", "", `{"name":"`+strings.Repeat(`[{\"`, 1000)+`"}`), 10<<20); err != nil {
		t.Errorf("brackets in a string: %v", err)
	}
}

func TestBindOfBadTypes(t *testing.T) {
	type channel struct {
		C chan int `query:"c"`
	}
	type rawString struct {
		B string `body:"raw"`
	}
	if _, err := web.Bind[channel](newRequest("GET", "", ""), 10); err == nil {
		t.Error("a channel is taken")
	}
	if _, err := web.Bind[rawString](newRequest("GET", "", ""), 10); err == nil {
		t.Error("a string for the raw body is taken")
	}
	if _, err := web.Bind[int](newRequest("GET", "", ""), 10); err == nil {
		t.Error("an int is taken")
	}
	var bad *web.BindError
	if _, err := web.Bind[channel](newRequest("GET", "", ""), 10); errors.As(err, &bad) {
		t.Error("a mistake of ours is told to the client")
	}
}

func TestBindLeavesOtherBodiesAlone(t *testing.T) {
	r := newRequest("POST", "from=1", "not JSON")
	if _, err := web.Bind[page](r, 1); err != nil {
		t.Fatal(err)
	}
	if rest, _ := io.ReadAll(r.Body); string(rest) != "not JSON" {
		t.Errorf("left %q", rest)
	}
}

func FuzzBind(f *testing.F) {
	f.Add("from=s1&limit=20&via=a&via=b", `{"name":"x","other":"!o","content":{"a":1}}`)
	f.Add("limit=-1&full=true&dir=b&at=5", ``)
	f.Add("%=%&&=&limit", `[[[[{"a":"\"]"}]]]]`)
	f.Fuzz(func(t *testing.T, query, body string) {
		r := newRequest("POST", "", body)
		r.URL.RawQuery = query
		got, err := web.Bind[request](r, 1<<16)
		if err != nil {
			var bad *web.BindError
			if !errors.As(err, &bad) {
				t.Errorf("%v is not the client's mistake", err)
			}
			return
		}
		if got.Caller != "" || got.Room != "!r:x" || !json.Valid(got.Raw) {
			t.Errorf("%+v", got)
		}
		if got.Other != nil && (*got.Other == "" || (*got.Other)[0] != '!') {
			t.Errorf("an unchecked id: %q", *got.Other)
		}
	})
}

func BenchmarkBind(b *testing.B) {
	type send struct {
		Room    roomID          `path:"roomId"`
		Type    string          `path:"eventType"`
		Txn     string          `path:"txnId"`
		TS      *int64          `query:"ts"`
		Content json.RawMessage `body:"raw"`
	}
	body := `{"msgtype":"m.text","body":"` + strings.Repeat("Guten Tag ", 20) + `"}`
	r := httptest.NewRequest("PUT", "/x", nil)
	r.SetPathValue("roomId", "!r:x")
	r.SetPathValue("eventType", "m.room.message")
	r.SetPathValue("txnId", "17")
	r.ContentLength = int64(len(body))
	b.ReportAllocs()
	for b.Loop() {
		r.Body = io.NopCloser(strings.NewReader(body))
		if _, err := web.Bind[send](r, 1<<16); err != nil {
			b.Fatal(err)
		}
	}
}
