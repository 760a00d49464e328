package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// user is somebody with an account and a token. Answers are read as bytes: decoding is no work of the server's.
type user struct {
	id, token, device string
	base              string
	http              *http.Client
	ctx               context.Context
}

// connections are shared by all users of a server: as many as speak at once. They accept compressed answers, as every
// client does.
func connections() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4096}, Timeout: 2 * time.Minute}
}

// call does a request. in is nil, bytes or anything that becomes JSON.
func (u *user) call(method, path string, in any) ([]byte, error) {
	var body []byte
	switch in := in.(type) {
	case nil:
	case []byte:
		body = in
	default:
		var err error
		if body, err = json.Marshal(in); err != nil {
			return nil, err
		}
	}
	return u.send(method, path, "application/json", body)
}

// send is call with a body of any type.
func (u *user) send(method, path, contentType string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(u.ctx, method, u.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	if u.token != "" {
		req.Header.Set("Authorization", "Bearer "+u.token)
	}
	resp, err := u.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	return answer, nil
}

// field is call with a string field of the answer.
func (u *user) field(name, method, path string, in any) (string, error) {
	answer, err := u.call(method, path, in)
	if err != nil {
		return "", err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(answer, &fields); err != nil {
		return "", err
	}
	var value string
	err = json.Unmarshal(fields[name], &value)
	return value, err
}

func v3(segments ...string) string {
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return "/_matrix/client/v3/" + strings.Join(segments, "/")
}

// register makes an account with a device.
func (b *bench) register(s *server, h *http.Client, name string) (*user, error) {
	u := &user{base: s.client, http: h, ctx: b.ctx}
	answer, err := u.call("POST", v3("register"), map[string]any{"username": name, "password": "wonderland-" + name, "device_id": "DEVICE",
		"auth": map[string]string{"type": "m.login.dummy"}})
	if err != nil {
		return nil, err
	}
	var session struct {
		User   string `json:"user_id"`
		Token  string `json:"access_token"`
		Device string `json:"device_id"`
	}
	err = json.Unmarshal(answer, &session)
	u.id, u.token, u.device = session.User, session.Token, session.Device
	return u, err
}

// people registers n users.
func (b *bench) people(s *server, prefix string, n int) ([]*user, error) {
	h := connections()
	all := make([]*user, n)
	err := parallel(min(n, 32), n, func(_, i int) (err error) {
		all[i], err = b.register(s, h, fmt.Sprint(prefix, i))
		return err
	})
	return all, err
}

func (u *user) createRoom(name string) (string, error) {
	return u.field("room_id", "POST", v3("createRoom"), map[string]any{"preset": "public_chat", "name": name})
}

func (u *user) join(room string) error {
	_, err := u.call("POST", v3("join", room), []byte("{}"))
	return err
}

// say sends a message of ordinary length.
func (u *user) say(room, txn string) (string, error) {
	return u.field("event_id", "PUT", v3("rooms", room, "send", "m.room.message", txn),
		[]byte(`{"msgtype":"m.text","body":"Good morning, the findings of ward 7 are in: `+txn+`"}`))
}

// sync syncs once. since "" is an initial sync; it answers where to go on.
func (u *user) sync(since string, timeout time.Duration) (answer []byte, next string, err error) {
	query := fmt.Sprintf("?timeout=%d", timeout.Milliseconds())
	if since != "" {
		query += "&since=" + url.QueryEscape(since)
	}
	if answer, err = u.call("GET", v3("sync")+query, nil); err != nil {
		return nil, "", err
	}
	return answer, nextBatch(answer), nil
}

// nextBatch finds the token without decoding the rest: it is the client's time, but a client that is slow to ask again
// changes what the server does.
func nextBatch(answer []byte) string {
	const key = `"next_batch":"`
	_, rest, _ := bytes.Cut(answer, []byte(key))
	token, _, _ := bytes.Cut(rest, []byte{'"'})
	return string(token)
}

// until syncs until an answer holds the text.
func (u *user) until(since, text string) (next string, answers int, err error) {
	for range 100 {
		answer, next, err := u.sync(since, 20*time.Second)
		if err != nil {
			return "", answers, err
		}
		since = next
		answers++
		if bytes.Contains(answer, []byte(text)) {
			return next, answers, nil
		}
	}
	return "", answers, fmt.Errorf("%s never saw %s", u.id, text)
}
