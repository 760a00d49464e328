package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"konsil/client/ssclient"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
	"konsil/matrix/sign"
)

// peer is another homeserver, as far as the measured one can tell: a key, a TLS port, answers. It does as little as it can.
type peer struct {
	b      *bench
	name   id.ServerName
	key    sign.Key
	client *ssclient.Client
	socket *http.Server
	got    atomic.Int64  // messages received
	news   chan struct{} // holds one entry when got has grown

	mu    sync.Mutex
	rooms map[id.RoomID]*resident // guarded by mu
}

func (b *bench) newPeer() (*peer, error) {
	key, err := sign.NewKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	cert, err := b.ca.Issue(time.Now(), "localhost", "127.0.0.1")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &peer{b: b, key: key, news: make(chan struct{}, 1), rooms: map[id.RoomID]*resident{}}
	p.name = id.ServerName(fmt.Sprint("localhost:", l.Addr().(*net.TCPAddr).Port))
	network := ssclient.NewNetwork(ssclient.NetworkConfig{Roots: b.ca.Pool(), AllowPrivate: true})
	p.client = ssclient.New(ssclient.Config{Server: p.name, Key: key, Network: network})
	p.socket = &http.Server{Handler: http.HandlerFunc(p.serve), ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}}
	go func() { _ = p.socket.ServeTLS(l, "", "") }() // ends with close
	return p, nil
}

func (p *peer) close() { _ = p.socket.Close() }

func (p *peer) serve(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/_matrix/"), "/") // federation, v1, send, TXN
	var answer []byte
	switch {
	case parts[0] == "key":
		doc, err := sign.BuildServerKeys(p.name, []sign.Key{p.key}, nil, time.Now().Add(24*time.Hour))
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		answer = doc.JSON
	case len(parts) == 4 && parts[2] == "send":
		body, _ := io.ReadAll(r.Body) // a body cut short counts nothing
		p.received(body)
		answer = []byte(`{"pdus":{}}`)
	case len(parts) == 5 && parts[2] == "make_join":
		answer = p.room(parts[3]).template(id.UserID(parts[4]))
	case len(parts) == 5 && parts[2] == "send_join":
		answer = p.room(parts[3]).answer
	}
	if len(answer) == 0 {
		w.WriteHeader(http.StatusNotFound)
		answer = []byte(`{"errcode":"M_UNRECOGNIZED","error":"A generator of load knows little"}`)
	}
	_, _ = w.Write(answer) // who is gone needs none
}

// received counts the messages of a transaction.
func (p *peer) received(transaction []byte) {
	if n := bytes.Count(transaction, []byte(`"type":"m.room.message"`)); n > 0 {
		p.got.Add(int64(n))
		select {
		case p.news <- struct{}{}:
		default:
		}
	}
}

// awaits waits until so many messages have come.
func (p *peer) awaits(ctx context.Context, n int64) error {
	for p.got.Load() < n {
		select {
		case <-p.news:
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Second):
			return fmt.Errorf("%s has got %d messages of %d", p.name, p.got.Load(), n)
		}
	}
	return nil
}

func (p *peer) room(name string) *resident {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.rooms[id.RoomID(name)]; r != nil {
		return r
	}
	return &resident{}
}

// guest is a user of a peer in a room of the measured server.
type guest struct {
	*peer
	room    id.RoomID
	me      id.UserID
	version *roomver.Version
	auth    []id.EventID // of messages
	tip     *event.PDU
	state   int // events that came with the join
}

// joins lets a user of the peer into a room. SS v1.16 #joining-rooms
func (p *peer) joins(s *server, room, name string) (*guest, error) {
	g := &guest{peer: p, room: id.RoomID(room), me: id.UserID("@" + name + ":" + string(p.name))}
	template, err := p.client.MakeJoin(p.b.ctx, id.ServerName(s.name), g.room, g.me, roomver.Names())
	if err != nil {
		return nil, err
	}
	g.version, _ = roomver.Get(template.Version)
	proposed, err := event.ParseTemplate(template.Event, g.version)
	if err != nil {
		return nil, err
	}
	proposed.OriginServerTS = time.Now().UnixMilli()
	if g.tip, err = event.Build(g.version, proposed, p.name, p.key); err != nil {
		return nil, err
	}
	if _, err := p.client.SendJoin(p.b.ctx, id.ServerName(s.name), g.room, g.tip.ID, g.tip.JSON, 0, g); err != nil {
		return nil, err
	}
	g.auth = append(g.auth, g.tip.ID)
	return g, nil
}

// State implements ssclient.JoinSink. It keeps what messages are authorised by.
func (g *guest) State(raw []byte) error {
	g.state++
	typ, _ := canonical.GetString(raw, "type")
	if typ != event.TypeCreate && typ != event.TypePowerLevels {
		return nil
	}
	ev, err := event.Parse(raw, g.version)
	if err == nil {
		g.auth = append(g.auth, ev.ID)
	}
	return err
}

// AuthChain implements ssclient.JoinSink.
func (g *guest) AuthChain([]byte) error { return nil }

// transaction is n messages, one after the other.
func (g *guest) transaction(n int) ([]byte, error) {
	out := []byte(`{"origin":"` + string(g.name) + `","origin_server_ts":1,"edus":[],"pdus":[`)
	for i := range n {
		content, err := json.Marshal(map[string]string{"msgtype": "m.text", "body": fmt.Sprint("Good morning, the findings of ward 7 are in: ", i)})
		if err != nil {
			return nil, err
		}
		g.tip, err = event.Build(g.version, event.Template{RoomID: g.room, Sender: g.me, Type: "m.room.message", Content: content,
			PrevEvents: []id.EventID{g.tip.ID}, AuthEvents: g.auth, Depth: g.tip.Depth + 1, OriginServerTS: time.Now().UnixMilli()}, g.name, g.key)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, g.tip.JSON...)
	}
	return append(out, ']', '}'), nil
}

// resident is a room of the peer, with everything that a server is told that joins it.
type resident struct {
	id     id.RoomID
	auth   []id.EventID // of a join
	last   *event.PDU
	answer []byte // to send_join
}

// newRoom makes a room with so many members, all of this server.
func (p *peer) newRoom(name string, members int) (*resident, error) {
	v, _ := roomver.Get("11")
	r := &resident{id: id.RoomID("!" + name + ":" + string(p.name))}
	creator := id.UserID("@creator:" + string(p.name))
	var state []*event.PDU
	add := func(typ string, key, sender id.UserID, content string, auth ...id.EventID) (id.EventID, error) {
		stateKey := string(key)
		t := event.Template{RoomID: r.id, Sender: sender, Type: typ, StateKey: &stateKey, Content: []byte(content), AuthEvents: auth,
			Depth: int64(len(state) + 1), OriginServerTS: time.Now().UnixMilli()}
		if r.last != nil {
			t.PrevEvents = []id.EventID{r.last.ID}
		}
		ev, err := event.Build(v, t, p.name, p.key)
		if err != nil {
			return "", err
		}
		r.last = ev
		state = append(state, ev)
		return ev.ID, nil
	}
	create, err := add(event.TypeCreate, "", creator, `{"room_version":"11"}`)
	if err != nil {
		return nil, err
	}
	me, err := add(event.TypeMember, creator, creator, `{"membership":"join"}`, create)
	if err != nil {
		return nil, err
	}
	levels, err := add(event.TypePowerLevels, "", creator, fmt.Sprintf(`{"users":{%q:100}}`, creator), create, me)
	if err != nil {
		return nil, err
	}
	rules, err := add(event.TypeJoinRules, "", creator, `{"join_rule":"public"}`, create, me, levels)
	if err != nil {
		return nil, err
	}
	chain := len(state)
	for i := range members - 1 {
		who := id.UserID(fmt.Sprintf("@member%d:%s", i, p.name))
		content := fmt.Sprintf(`{"membership":"join","displayname":"Member number %d","avatar_url":"mxc://%s/abcdefghijklmnopqrst"}`, i, p.name)
		if _, err := add(event.TypeMember, who, who, content, create, levels, rules); err != nil {
			return nil, err
		}
	}
	r.auth = []id.EventID{create, levels, rules}
	r.answer = []byte(`{"origin":"` + string(p.name) + `","state":[` + list(state) + `],"auth_chain":[` + list(state[:chain]) + `]}`)
	p.mu.Lock()
	p.rooms[r.id] = r
	p.mu.Unlock()
	return r, nil
}

func list(events []*event.PDU) string {
	var out strings.Builder
	for i, ev := range events {
		if i > 0 {
			out.WriteByte(',')
		}
		out.Write(ev.JSON)
	}
	return out.String()
}

// template answers make_join.
func (r *resident) template(user id.UserID) []byte {
	if r.last == nil {
		return nil
	}
	raw, err := json.Marshal(map[string]any{"room_version": "11", "event": map[string]any{"type": event.TypeMember, "room_id": r.id, "sender": user, "state_key": user,
		"content": map[string]string{"membership": "join"}, "prev_events": []id.EventID{r.last.ID}, "auth_events": r.auth, "depth": r.last.Depth + 1, "origin_server_ts": 1}})
	if err != nil {
		return nil
	}
	return raw
}
