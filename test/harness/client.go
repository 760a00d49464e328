package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Client speaks the Client-Server API for one user, as little of it as scenarios need.
type Client struct {
	Base   string // of the homeserver, http://127.0.0.1:41001
	User   string // Matrix id
	Token  string
	Device string // known after Register, Login, WhoAmI

	http *http.Client
}

// NewClient makes a client with connections of its own.
func NewClient(base, user, token string) *Client {
	return &Client{Base: base, User: user, Token: token, http: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 32}, Timeout: 2 * patience,
	}}
}

// Refusal is an answer of the server that says no. CS v1.16 #standard-error-response
type Refusal struct {
	Status  int
	Code    string `json:"errcode"`
	Message string `json:"error"`
}

// Error says what was refused and why.
func (r *Refusal) Error() string { return fmt.Sprintf("%d %s: %s", r.Status, r.Code, r.Message) }

// AsRefusal finds the refusal in an error.
func AsRefusal(err error) (*Refusal, bool) {
	var r *Refusal
	ok := errors.As(err, &r)
	return r, ok
}

// Call sends in as JSON (nil: no body) and reads the answer into out (nil: whatever it is).
func (c *Client) Call(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	raw, _, err := c.Raw(ctx, method, path, "application/json", body)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%s %s answered no JSON: %w", method, path, err)
	}
	return nil
}

// Raw sends bytes and answers bytes.
func (c *Client) Raw(ctx context.Context, method, path, contentType string, body []byte) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", contentType)
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if res.StatusCode < 300 {
		return raw, res.Header, nil
	}
	refusal := &Refusal{Status: res.StatusCode}
	if json.Unmarshal(raw, refusal) != nil {
		refusal.Message = string(raw)
	}
	return nil, nil, fmt.Errorf("%s %s: %w", method, path, refusal)
}

// path glues segments, escaped, to the prefix of the API.
func path(segments ...string) string {
	var b strings.Builder
	b.WriteString("/_matrix/client/v3")
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	return b.String()
}

// session is what login and register answer.
type session struct {
	User   string `json:"user_id"`
	Token  string `json:"access_token"`
	Device string `json:"device_id"`
}

// Register makes an account on a server with open registration and speaks for it from now on.
func (c *Client) Register(ctx context.Context, localpart, password string) error {
	var s session
	err := c.Call(ctx, "POST", path("register"), map[string]any{
		"username": localpart, "password": password, "auth": map[string]string{"type": "m.login.dummy"}}, &s)
	c.User, c.Token, c.Device = s.User, s.Token, s.Device
	return err
}

// Login opens a new session by password.
func (c *Client) Login(ctx context.Context, user, password string) error {
	var s session
	err := c.Call(ctx, "POST", path("login"), map[string]any{
		"type": "m.login.password", "identifier": map[string]string{"type": "m.id.user", "user": user}, "password": password}, &s)
	c.User, c.Token, c.Device = s.User, s.Token, s.Device
	return err
}

// WhoAmI says who the server takes us for.
func (c *Client) WhoAmI(ctx context.Context) (string, error) {
	var s session
	err := c.Call(ctx, "GET", path("account", "whoami"), nil, &s)
	c.Device = s.Device
	return s.User, err
}

// CreateRoom makes a room; body holds the fields of createRoom.
func (c *Client) CreateRoom(ctx context.Context, body map[string]any) (string, error) {
	var answer struct {
		Room string `json:"room_id"`
	}
	err := c.Call(ctx, "POST", path("createRoom"), body, &answer)
	return answer.Room, err
}

// Join joins a room by its id or alias.
func (c *Client) Join(ctx context.Context, room string, via ...string) error {
	query := url.Values{"via": via, "server_name": via}.Encode()
	return c.Call(ctx, "POST", path("join", room)+"?"+query, struct{}{}, nil)
}

// Membership does invite, kick, ban, unban with another user.
func (c *Client) Membership(ctx context.Context, verb, room, user string) error {
	return c.Call(ctx, "POST", path("rooms", room, verb), map[string]string{"user_id": user}, nil)
}

// Knock asks to be let in.
func (c *Client) Knock(ctx context.Context, room string, via ...string) error {
	query := url.Values{"via": via, "server_name": via}.Encode()
	return c.Call(ctx, "POST", path("knock", room)+"?"+query, struct{}{}, nil)
}

// Alias gives a room a name that others can join it by.
func (c *Client) Alias(ctx context.Context, room, alias string) error {
	return c.Call(ctx, "PUT", path("directory", "room", alias), map[string]string{"room_id": room}, nil)
}

// Upgrade replaces a room by one of another version.
func (c *Client) Upgrade(ctx context.Context, room, version string) (string, error) {
	var answer struct {
		Room string `json:"replacement_room"`
	}
	err := c.Call(ctx, "POST", path("rooms", room, "upgrade"), map[string]string{"new_version": version}, &answer)
	return answer.Room, err
}

// Read says that we have read up to an event.
func (c *Client) Read(ctx context.Context, room, event string) error {
	return c.Call(ctx, "POST", path("rooms", room, "receipt", "m.read", event), struct{}{}, nil)
}

// Type says that we are writing.
func (c *Client) Type(ctx context.Context, room string) error {
	return c.Call(ctx, "PUT", path("rooms", room, "typing", c.User), map[string]any{"typing": true, "timeout": 30000}, nil)
}

// SendToDevice sends something to a device of somebody. The same transaction id sends it once.
func (c *Client) SendToDevice(ctx context.Context, eventType, txn, user, device string, content any) error {
	return c.Call(ctx, "PUT", path("sendToDevice", eventType, txn), map[string]any{
		"messages": map[string]any{user: map[string]any{device: content}}}, nil)
}

// Leave leaves a room or declines an invitation.
func (c *Client) Leave(ctx context.Context, room string) error {
	return c.Call(ctx, "POST", path("rooms", room, "leave"), struct{}{}, nil)
}

// Send sends an event. The same transaction id sends it once.
func (c *Client) Send(ctx context.Context, room, eventType, txn string, content any) (string, error) {
	return c.put(ctx, path("rooms", room, "send", eventType, txn), content)
}

// SetState changes a piece of a room's state.
func (c *Client) SetState(ctx context.Context, room, eventType, stateKey string, content any) (string, error) {
	return c.put(ctx, path("rooms", room, "state", eventType, stateKey), content)
}

// Redact removes an event's content.
func (c *Client) Redact(ctx context.Context, room, event, txn string) (string, error) {
	return c.put(ctx, path("rooms", room, "redact", event, txn), struct{}{})
}

func (c *Client) put(ctx context.Context, path string, content any) (string, error) {
	var answer struct {
		Event string `json:"event_id"`
	}
	err := c.Call(ctx, "PUT", path, content, &answer)
	return answer.Event, err
}

// Upload stores a file and answers its mxc:// URI.
func (c *Client) Upload(ctx context.Context, name, contentType string, data []byte) (string, error) {
	raw, _, err := c.Raw(ctx, "POST", "/_matrix/media/v3/upload?filename="+url.QueryEscape(name), contentType, data)
	if err != nil {
		return "", err
	}
	var answer struct {
		URI string `json:"content_uri"`
	}
	err = json.Unmarshal(raw, &answer)
	return answer.URI, err
}

// Download fetches a file over the authenticated endpoint. CS v1.16 #get_matrixclientv1mediadownloadservernamemediaid
func (c *Client) Download(ctx context.Context, uri string) ([]byte, http.Header, error) {
	file, ok := strings.CutPrefix(uri, "mxc://")
	if !ok {
		return nil, nil, fmt.Errorf("%q is no mxc:// URI", uri)
	}
	return c.Raw(ctx, "GET", "/_matrix/client/v1/media/download/"+file, "", nil)
}

// Event is an event as clients get it.
type Event struct {
	ID       string          `json:"event_id"`
	Room     string          `json:"room_id"`
	Type     string          `json:"type"`
	Sender   string          `json:"sender"`
	StateKey *string         `json:"state_key"`
	Content  json.RawMessage `json:"content"`
	Unsigned struct {
		Txn string `json:"transaction_id"`
	} `json:"unsigned"`
}

// Message is what the content of an m.room.message says.
type Message struct {
	Type string `json:"msgtype"`
	Body string `json:"body"`
	URL  string `json:"url"`
}

// Message reads the content; the zero value if the event is no message.
func (e Event) Message() Message {
	var m Message
	if e.Type == "m.room.message" && json.Unmarshal(e.Content, &m) != nil {
		return Message{}
	}
	return m
}

// page is an answer of /messages.
type page struct {
	Chunk []Event `json:"chunk"`
	End   string  `json:"end"`
}

// back reads one page of older events, the newest first.
func (c *Client) back(ctx context.Context, room, from string) (page, error) {
	query := url.Values{"dir": {"b"}, "limit": {"100"}}
	if from != "" {
		query.Set("from", from)
	}
	var p page
	err := c.Call(ctx, "GET", path("rooms", room, "messages")+"?"+query.Encode(), nil, &p)
	return p, err
}

// History reads the whole room by /messages, the oldest event first.
func (c *Client) History(ctx context.Context, room string) ([]Event, error) {
	var newestFirst []Event
	for from := ""; ; {
		p, err := c.back(ctx, room, from)
		if err != nil {
			return nil, err
		}
		newestFirst = append(newestFirst, p.Chunk...)
		if p.End == "" || p.End == from {
			return reversed(newestFirst), nil
		}
		from = p.End
	}
}

func reversed(events []Event) []Event {
	for i, j := 0, len(events)-1; i < j; i, j = i+1, j-1 {
		events[i], events[j] = events[j], events[i]
	}
	return events
}

// Members lists who has a membership in a room, by user id.
func (c *Client) Members(ctx context.Context, room string) (map[string]string, error) {
	var answer struct {
		Chunk []Event `json:"chunk"`
	}
	if err := c.Call(ctx, "GET", path("rooms", room, "members"), nil, &answer); err != nil {
		return nil, err
	}
	members := map[string]string{}
	for _, ev := range answer.Chunk {
		var m struct {
			Membership string `json:"membership"`
		}
		if ev.StateKey == nil || json.Unmarshal(ev.Content, &m) != nil {
			return nil, fmt.Errorf("member event %s is malformed", ev.ID)
		}
		members[*ev.StateKey] = m.Membership
	}
	return members, nil
}
