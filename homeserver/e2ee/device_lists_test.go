package e2ee_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"konsil/homeserver/e2ee"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
	"konsil/matrix/sign"
)

const bob = id.UserID("@bob:there.test")

// room makes a public room.
func (w *world) room(creator id.UserID) id.RoomID {
	w.t.Helper()
	made, err := w.rooms.Create(w.t.Context(), room.CreateRequest{Creator: creator, Preset: "public_chat"})
	must(w.t, err)
	return made.Room
}

func (w *world) join(roomID id.RoomID, user id.UserID) {
	w.t.Helper()
	_, err := w.rooms.Join(w.t.Context(), room.MembershipChange{Room: roomID, Sender: user, Target: user})
	must(w.t, err)
}

func (w *world) leave(roomID id.RoomID, user id.UserID) {
	w.t.Helper()
	_, err := w.rooms.Leave(w.t.Context(), room.MembershipChange{Room: roomID, Sender: user, Target: user})
	must(w.t, err)
}

// remote is another server: what it answers, and how often it was asked.
type remote struct {
	w        *world
	key      sign.Key
	server   id.ServerName
	streamID int64
	devices  string // JSON of the list
	down     atomic.Bool
	asked    atomic.Int64
}

func (w *world) server(name id.ServerName) *remote {
	w.t.Helper()
	key, err := sign.NewKey(rand.Reader)
	must(w.t, err)
	r := &remote{w: w, key: key, server: name, devices: `[` + remoteDevice("D1") + `]`, streamID: 10}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_matrix/federation/v1/user/devices/{user}", r.userDevices)
	mux.HandleFunc("POST /_matrix/federation/v1/user/keys/query", r.queryKeys)
	mux.HandleFunc("POST /_matrix/federation/v1/user/keys/claim", r.claimKeys)
	w.remote[name] = mux
	return r
}

func remoteKeys(device string) string {
	return fmt.Sprintf(`{"user_id":"@bob:there.test","device_id":%q,"algorithms":["x"],"keys":{"ed25519:%s":"k"},"signatures":{}}`, device, device)
}

func remoteDevice(device string) string {
	return fmt.Sprintf(`{"device_id":%q,"device_display_name":"of bob","keys":%s}`, device, remoteKeys(device))
}

func (r *remote) answer(rw http.ResponseWriter, body string) {
	r.asked.Add(1)
	if r.down.Load() {
		rw.WriteHeader(http.StatusBadGateway)
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	_, _ = rw.Write([]byte(body))
}

func (r *remote) userDevices(rw http.ResponseWriter, req *http.Request) {
	r.answer(rw, fmt.Sprintf(`{"user_id":%q,"stream_id":%d,"devices":%s}`, req.PathValue("user"), r.streamID, r.devices))
}

func (r *remote) queryKeys(rw http.ResponseWriter, _ *http.Request) {
	r.answer(rw, `{"device_keys":{"@bob:there.test":{"Q1":`+remoteKeys("Q1")+`},"@anna:here.test":{"X":{}}}}`)
}

func (r *remote) claimKeys(rw http.ResponseWriter, _ *http.Request) {
	r.answer(rw, `{"one_time_keys":{"@bob:there.test":{"D1":{"signed_curve25519:A":{"key":"a"},"other:B":{"key":"b"}},"D2":{"signed_curve25519:A":{"key":"a"}}},
		"@anna:here.test":{"PHONE":{"signed_curve25519:A":{"key":"a"}}}}}`)
}

// join lets bob into a room, through make_join and send_join.
func (r *remote) join(roomID id.RoomID) {
	r.w.t.Helper()
	template, err := r.w.rooms.MakeJoin(r.w.t.Context(), r.server, roomID, bob, []string{"10", "11"})
	must(r.w.t, err)
	_, err = r.w.rooms.SendJoin(r.w.t.Context(), r.server, roomID, r.build(template))
	must(r.w.t, err)
}

func (r *remote) leave(roomID id.RoomID) {
	r.w.t.Helper()
	template, err := r.w.rooms.MakeLeave(r.w.t.Context(), r.server, roomID, bob)
	must(r.w.t, err)
	must(r.w.t, r.w.rooms.SendLeave(r.w.t.Context(), r.server, roomID, r.build(template)))
}

func (r *remote) build(template room.Template) *event.PDU {
	r.w.t.Helper()
	version, _ := roomver.Get(template.Version)
	draft, err := event.ParseTemplate(template.Event, version)
	must(r.w.t, err)
	draft.OriginServerTS = clock.Millis(r.w.clock)
	pdu, err := event.Build(version, draft, r.server, r.key)
	must(r.w.t, err)
	return pdu
}

// update sends an m.device_list_update of bob's.
func (r *remote) update(streamID int64, prev, device, more string) {
	r.w.t.Helper()
	must(r.w.t, r.w.ReceiveDeviceList(r.w.t.Context(), r.server, []byte(fmt.Sprintf(
		`{"user_id":"@bob:there.test","device_id":%q,"stream_id":%d,"prev_id":[%s]%s}`, device, streamID, prev, more))))
}

// bobs lists bob's devices as anna gets them.
func (w *world) bobs(asker id.UserID) string {
	w.t.Helper()
	answer := w.query(asker, bob)
	var names []string
	for _, device := range []string{"D1", "D2", "D3", "Q1"} {
		if at(answer, "device_keys", string(bob), device) != nil {
			names = append(names, device)
		}
	}
	if len(at(answer, "failures")) > 0 {
		names = append(names, "failure")
	}
	return strings.Join(names, " ")
}

func TestRemoteListsAreFetchedOnceAndKeptUpToDate(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		r := w.server(there)
		anna := w.user("anna", "PHONE").User
		// Who shares no room is asked for each time: nobody would tell us of changes.
		check(t, []string{w.bobs(anna), w.bobs(anna)}, []string{"Q1", "Q1"})
		check(t, r.asked.Load(), int64(2))

		roomID := w.room(anna)
		r.join(roomID)
		before := w.Store.Position()
		check(t, []string{w.bobs(anna), w.bobs(anna)}, []string{"D1", "D1"})
		check(t, r.asked.Load(), int64(3))
		name := at(w.query(anna, bob), "device_keys", string(bob), "D1", "unsigned")["device_display_name"]
		check(t, name, any("of bob"))

		// An update that follows is taken as it is.
		r.update(11, "10", "D2", `,"keys":`+remoteKeys("D2"))
		check(t, w.bobs(anna), "D1 D2")
		r.update(12, "11", "D1", `,"deleted":true`)
		check(t, w.bobs(anna), "D2")
		r.update(12, "11", "D1", `,"keys":`+remoteKeys("D1")) // told again
		check(t, w.bobs(anna), "D2")
		check(t, r.asked.Load(), int64(3))
		changes, err := w.Changes(t.Context(), anna, before, w.Store.Position())
		must(t, err)
		check(t, changes, e2ee.Changes{Changed: []id.UserID{bob}, Left: []id.UserID{}})

		w.restart()
		check(t, w.bobs(anna), "D2")
		check(t, r.asked.Load(), int64(3))
	})
}

// A25: gaps, loops and floods of updates lead to one request for the list, when somebody wants it.
func TestA25DeviceListGaps(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		r := w.server(there)
		anna := w.user("anna", "PHONE").User
		roomID := w.room(anna)
		r.join(roomID)
		check(t, w.bobs(anna), "D1")
		for i, prev := range []string{"12", "14", "999999", `16,"x",{}`, "-1", ""} {
			r.update(int64(13+2*i), prev, "D3", `,"keys":`+remoteKeys("D3"))
		}
		r.update(5, "4", "D3", "") // backwards
		check(t, r.asked.Load(), int64(1))
		r.devices, r.streamID = `[`+remoteDevice("D2")+`]`, 30
		check(t, []string{w.bobs(anna), w.bobs(anna)}, []string{"D2", "D2"})
		check(t, r.asked.Load(), int64(2))

		// A server that does not answer is left alone for a while; what we knew is better than nothing.
		r.down.Store(true)
		r.update(40, "39", "D3", "")
		check(t, []string{w.bobs(anna), w.bobs(anna)}, []string{"D2 failure", "D2 failure"})
		check(t, r.asked.Load(), int64(3))
		w.clock.Advance(time.Minute)
		r.down.Store(false)
		check(t, w.bobs(anna), "D2")
		check(t, r.asked.Load(), int64(4))

		// Another server says nothing about bob; and nobody asks about who shares no room (A24).
		position := w.Store.Position()
		must(t, w.ReceiveDeviceList(t.Context(), "third.test", []byte(`{"user_id":"@bob:there.test","device_id":"D","stream_id":1}`)))
		must(t, w.ReceiveDeviceList(t.Context(), there, []byte(`{"user_id":"@eve:there.test","device_id":"D","stream_id":1}`)))
		check(t, w.Store.Position(), position)
	})
}

// A26: what is broken in another server's answer is left out, the rest counts.
func TestA26RemoteKeys(t *testing.T) {
	w := newWorld(t, "sqlite:"+t.TempDir()+"/x.db")
	r := w.server(there)
	anna := w.user("anna", "PHONE").User
	r.join(w.room(anna))
	r.devices = `[7,{},{"device_id":7},{"device_id":"D1","keys":[]},{"device_id":"D2","keys":{"user_id":"@anna:here.test"}},` + remoteDevice("D3") + `]`
	check(t, w.bobs(anna), "D3")
	r.update(11, "10", "D2", `,"keys":{"algorithms":7}`)
	r.devices = `"nonsense"`
	check(t, w.bobs(anna), "D3 failure")
}

// Who left and came back may have changed devices in between: nobody told us.
func TestListsOfWhoLeftAreNotTrusted(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		r := w.server(there)
		anna, kurt := w.user("anna", "PHONE").User, w.user("kurt", "DESK").User
		roomID := w.room(anna)
		r.join(roomID)
		check(t, w.bobs(anna), "D1")
		r.leave(roomID)
		check(t, w.bobs(anna), "Q1")
		r.devices = `[` + remoteDevice("D2") + `]`
		r.join(roomID)
		check(t, w.bobs(anna), "D2")
		// The same when it was us who were away.
		w.leave(roomID, anna)
		check(t, w.bobs(anna), "Q1")
		asked := r.asked.Load()
		other := w.room(kurt)
		r.join(other)
		check(t, w.bobs(anna), "D2")
		check(t, w.bobs(anna), "D2")
		check(t, r.asked.Load(), asked+1)
	})
}

// B15: a query that names many dead servers answers in time, and the next one does not wait for them again.
func TestB15DeadServers(t *testing.T) {
	w := newWorld(t, "sqlite:"+t.TempDir()+"/x.db")
	anna := w.user("anna", "PHONE")
	anna.upload(0, 0)
	wanted := e2ee.Wanted{anna.User: nil}
	for i := range 50 {
		wanted[id.UserID(fmt.Sprintf("@x:dead%d.test", i))] = nil
	}
	silent := make(chan struct{})
	t.Cleanup(func() { close(silent) })
	for i := range 50 {
		w.remote[id.ServerName(fmt.Sprintf("dead%d.test", i))] = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-silent:
			case <-r.Context().Done():
			}
		})
	}
	answer := w.tree(w.Query(t.Context(), anna.User, wanted, 200*time.Millisecond))
	check(t, len(at(answer, "failures")), 50)
	check(t, at(answer, "device_keys", string(anna.User), "PHONE") != nil, true)
	// None is asked again: with the timeout of an hour, the answer is still there at once.
	answer = w.tree(w.Query(t.Context(), anna.User, wanted, time.Hour))
	check(t, len(at(answer, "failures")), 50)
}

func TestRemoteClaims(t *testing.T) {
	w := newWorld(t, "sqlite:"+t.TempDir()+"/x.db")
	r := w.server(there)
	claims := e2ee.ClaimWanted{bob: {"D1": "signed_curve25519"}, "@x:dead.test": {"D": "signed_curve25519"}}
	answer := w.tree(w.Claim(t.Context(), claims, time.Second))
	check(t, at(answer, "one_time_keys"), map[string]any{string(bob): map[string]any{"D1": map[string]any{
		"signed_curve25519:A": map[string]any{"key": "a"}}}}) // nothing that was not asked for
	check(t, at(answer, "failures"), map[string]any{"dead.test": map[string]any{}})
	check(t, r.asked.Load(), int64(1))
}

func TestChangesFollowRooms(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		anna, kurt, eve := w.user("anna", "PHONE"), w.user("kurt", "DESK"), w.user("eve", "EVE")
		var since int64
		changes := func(user id.UserID) (changed, left string) {
			t.Helper()
			c, err := w.Changes(t.Context(), user, since, w.Store.Position())
			must(t, err)
			return fmt.Sprint(c.Changed), fmt.Sprint(c.Left)
		}
		expect := func(user id.UserID, wantChanged, wantLeft string) {
			t.Helper()
			changed, left := changes(user)
			check(t, changed+" "+left, wantChanged+" "+wantLeft)
		}
		step := func() { since = w.Store.Position() }
		step()
		eve.upload(0, 0)
		expect(anna.User, "[]", "[]")
		expect(eve.User, "[@eve:here.test]", "[]")
		step()
		roomID := w.room(anna.User)
		w.join(roomID, kurt.User)
		expect(anna.User, "[@anna:here.test @kurt:here.test]", "[]")
		expect(kurt.User, "[@anna:here.test @kurt:here.test]", "[]")
		step()
		_, err := w.rooms.Send(t.Context(), room.Draft{Room: roomID, Sender: kurt.User, Type: event.TypeMember, StateKey: ptr(string(kurt.User)),
			Content: json.RawMessage(`{"membership":"join","displayname":"K."}`)})
		must(t, err)
		expect(anna.User, "[]", "[]") // a new name is none
		step()
		kurt.upload(0, 0)
		expect(anna.User, "[@kurt:here.test]", "[]")
		expect(eve.User, "[]", "[]")
		step()
		w.leave(roomID, kurt.User)
		expect(anna.User, "[]", "[@kurt:here.test]")
		expect(kurt.User, "[]", "[@anna:here.test]")
		step()
		kurt.upload(1, 1)
		kurt.w.login(kurt.User, "LAPTOP")
		expect(anna.User, "[]", "[]")
		step()
		w.join(roomID, kurt.User)
		w.leave(roomID, kurt.User)
		w.join(roomID, kurt.User)
		expect(anna.User, "[@kurt:here.test]", "[]")
	})
}

func ptr[T any](v T) *T { return &v }

// What other servers hear of a device is what they need to follow it.
func TestOutgoingDeviceUpdates(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		anna := w.user("anna", "PHONE")
		anna.upload(0, 0)
		w.cross(anna.User, newIdentity(t, anna.User).upload(t))
		w.login(anna.User, "DESK")
		must(t, w.accounts.DeleteDevices(t.Context(), anna.User, []id.DeviceID{"PHONE"}))
		edus, complete, err := w.Outgoing(t.Context(), 0, w.Store.Position(), 100)
		must(t, err)
		check(t, complete, true)
		var got []string
		prev := int64(0)
		for _, edu := range edus {
			var c struct {
				User     id.UserID   `json:"user_id"`
				Device   id.DeviceID `json:"device_id"`
				StreamID int64       `json:"stream_id"`
				Prev     []int64     `json:"prev_id"`
				Deleted  bool
				Name     string `json:"device_display_name"`
				Master   any    `json:"master_key"`
				Users    any    `json:"user_signing_key"`
			}
			must(t, json.Unmarshal(edu.Content, &c))
			got = append(got, fmt.Sprint(edu.Type, " ", c.Device, " ", c.Deleted, " ", c.Name))
			if edu.Type == e2ee.EDUSigningKey {
				check(t, c.Master != nil && c.Users == nil, true)
				continue
			}
			if prev != 0 {
				check(t, c.Prev, []int64{prev})
			}
			prev = c.StreamID
			check(t, c.StreamID, edu.Pos)
		}
		check(t, got, []string{
			"m.device_list_update PHONE true ", // as it is now: gone
			"m.device_list_update PHONE true ",
			"m.signing_key_update  false ",
			"m.device_list_update DESK false Handy von DESK",
			"m.device_list_update PHONE true ",
		})
		list := w.tree(w.DevicesFor(t.Context(), anna.User))
		check(t, list["stream_id"], any(float64(prev)))
		check(t, list["master_key"] != nil && list["user_signing_key"] == nil, true)
	})
}

// A server introduces the devices of a user who joined a room of ours. The join has told everybody already.
func TestIntroductionsAreNoNews(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		r := w.server(there)
		anna := w.user("anna", "PHONE").User
		r.join(w.room(anna))
		since := w.Store.Position()
		changed := func() bool {
			t.Helper()
			c, err := w.Changes(t.Context(), anna, since, w.Store.Position())
			must(t, err)
			since = w.Store.Position()
			return len(c.Changed) > 0
		}
		r.update(10, "", "D1", `,"keys":`+remoteKeys("D1"))
		check(t, changed(), false)
		r.update(11, "10", "D1", `,"keys":`+remoteKeys("D1"))
		check(t, changed(), true)
		check(t, w.bobs(anna), "D1")
		r.update(12, "", "D1", `,"keys":`+remoteKeys("D1"))
		check(t, changed(), true)
	})
}

func TestReceiveSigningKeys(t *testing.T) {
	w := newWorld(t, "sqlite:"+t.TempDir()+"/x.db")
	r := w.server(there)
	anna := w.user("anna", "PHONE").User
	ids := newIdentity(t, bob)
	edu := []byte(fmt.Sprintf(`{"user_id":%q,"master_key":%s,"self_signing_key":%s}`, bob, ids.key(t, ids.master, "master"), ids.key(t, ids.self, "self_signing", ids.master)))
	must(t, w.ReceiveSigningKeys(t.Context(), there, edu))
	roomID := w.room(anna)
	r.join(roomID)
	check(t, w.bobs(anna), "D1")
	check(t, at(w.query(anna, bob), "master_keys"), map[string]any{})
	must(t, w.ReceiveSigningKeys(t.Context(), "third.test", edu))
	check(t, at(w.query(anna, bob), "master_keys"), map[string]any{})
	before := w.Store.Position()
	must(t, w.ReceiveSigningKeys(t.Context(), there, edu))
	answer := w.query(anna, bob)
	check(t, at(answer, "master_keys", string(bob)) != nil && at(answer, "self_signing_keys", string(bob)) != nil, true)
	must(t, w.Store.Read(t.Context(), func(tx *store.Tx) error {
		users, err := tx.DeviceListChanges(t.Context(), anna, before, w.Store.Position())
		check(t, users, []id.UserID{bob})
		return err
	}))
}
