package homeserver_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"konsil/homeserver"
	"konsil/matrix/id"
)

// journal is a log that tests can read while others write.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// TestLogsHoldNothingPrivate has two domains converse, agree and quarrel with all logs on, and then looks for what they talked about and
// who they are. The handler is a plain one: what reaches it is what the code hands to its logs, before kit/obs looks it over.
func TestLogsHoldNothingPrivate(t *testing.T) {
	var log journal
	r := newLoggedRig(t, "sqlite:", slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = r.host.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })

	anna, other := homeserver.UserID("anna", klinik), homeserver.UserID("anna", praxis)
	private := []string{"@anna", "anna:", "KONSILUP", "Visite", "aspirin", r.token[anna], r.token[other]}
	note := func(answer map[string]any, keys ...string) string {
		t.Helper()
		value, _ := answer[keys[0]].(string)
		if value == "" {
			t.Fatalf("no %s in %v", keys[0], answer)
		}
		private = append(private, value[1:min(len(value), 12)]) // also where a log cuts it
		return value
	}
	ask := func(user id.UserID, method, path string, body any, want int) map[string]any {
		t.Helper()
		status, answer := r.call(string(user.Server()), user, method, "/_matrix/client/v3"+path, body)
		if status != want {
			t.Fatalf("%s %s: %d %v, want %d", method, path, status, answer, want)
		}
		return answer
	}
	type object = map[string]any

	room := note(ask(anna, "POST", "/createRoom", object{"name": "Visite", "invite": []id.UserID{other}, "room_alias_name": "visite"}, 200), "room_id")
	ask(other, "POST", "/join/"+room, object{}, 200)
	sent := note(ask(other, "PUT", "/rooms/"+room+"/send/m.room.message/1", object{"msgtype": "m.text", "body": "aspirin"}, 200), "event_id")
	r.eventually(func() bool {
		code, _ := r.call(string(klinik), anna, "GET", "/_matrix/client/v3/rooms/"+room+"/event/"+sent, nil)
		return code == 200
	})
	ask(anna, "GET", "/sync", nil, 200)
	ask(anna, "PUT", "/rooms/"+room+"/typing/"+string(anna), object{"typing": true, "timeout": 1000}, 200)
	ask(anna, "POST", "/rooms/"+room+"/receipt/m.read/"+sent, object{}, 200)
	ask(anna, "POST", "/keys/query", object{"device_keys": object{string(other): []string{}}}, 200)
	ask(anna, "POST", "/search", object{"search_categories": object{"room_events": object{"search_term": "aspirin"}}}, 200)
	ask(anna, "POST", "/user_directory/search", object{"search_term": "anna"}, 200)
	ask(anna, "PUT", "/sendToDevice/m.test/1", object{"messages": object{string(other): object{"*": object{"secret": "aspirin"}}}}, 200)

	// What goes wrong is what gets logged.
	ask(other, "POST", "/rooms/"+room+"/invite", object{"user_id": "@anna:nowhere.invalid"}, 502)
	ask(anna, "POST", "/join/!anna:nowhere.invalid?via=nowhere.invalid", object{}, 502)
	ask(anna, "POST", "/login", object{"type": "m.login.password", "identifier": object{"type": "m.id.user", "user": "anna"}, "password": "aspirin"}, 403)
	ask(anna, "POST", "/createRoom", object{"invite": []string{"@anna:nowhere.invalid"}}, 200)
	ask(anna, "POST", "/rooms/"+room+"/ban", object{"user_id": other, "reason": "aspirin"}, 200)
	r.eventually(func() bool {
		code, _ := r.call(string(praxis), other, "PUT", "/_matrix/client/v3/rooms/"+room+"/send/m.room.message/2", object{"body": "aspirin"})
		return code == http.StatusForbidden
	})
	if err := r.host.Close(); err != nil {
		t.Fatal(err)
	}

	text := log.String()
	if !strings.Contains(text, "route=") {
		t.Fatalf("nothing was logged: %q", text)
	}
	for _, line := range strings.Split(text, "\n") {
		for _, secret := range private {
			if strings.Contains(line, secret) {
				t.Errorf("%q stands in the log: %s", secret, line)
			}
		}
	}
}
