package e2ee_test

import (
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"konsil/homeserver/e2ee"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

const room1, room2 = id.RoomID("!one:here.test"), id.RoomID("!two:here.test")

func session(first, forwarded int64, verified bool, data string) e2ee.SessionJSON {
	return e2ee.SessionJSON{FirstMessageIndex: &first, ForwardedCount: &forwarded, IsVerified: &verified,
		SessionData: json.RawMessage(fmt.Sprintf(`{"d":%q}`, data))}
}

func (w *world) sessions(user id.UserID, version string, room id.RoomID) map[string]any {
	w.t.Helper()
	r, err := w.Sessions(w.t.Context(), user, version, room)
	must(w.t, err)
	return w.tree(io.ReadAll(r))
}

func newBackup(t *testing.T, w *world, user id.UserID) string {
	t.Helper()
	version, err := w.CreateBackup(t.Context(), user, "m.megolm_backup.v1.curve25519-aes-sha2", json.RawMessage(`{"public_key":"x"}`))
	must(t, err)
	return version
}

// CS v1.16 #put_matrixclientv3room_keyskeysroomidsessionid: verified, then the lower index, then fewer forwards.
func TestBetterSessionsReplaceWorse(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		anna := w.user("anna", "PHONE").User
		version := newBackup(t, w, anna)
		for i, c := range []struct {
			older, newer e2ee.SessionJSON
			replaced     bool
		}{
			{session(10, 5, false, "old"), session(11, 5, false, "new"), false},
			{session(10, 5, false, "old"), session(10, 6, false, "new"), false},
			{session(10, 5, false, "old"), session(10, 5, false, "new"), false},
			{session(10, 5, true, "old"), session(1, 1, false, "new"), false},
			{session(10, 5, false, "old"), session(9, 9, false, "new"), true},
			{session(10, 5, false, "old"), session(10, 4, false, "new"), true},
			{session(1, 1, false, "old"), session(10, 5, true, "new"), true},
		} {
			name := fmt.Sprint("s", i)
			before, err := w.PutSessions(t.Context(), anna, version, e2ee.RoomSessions{room1: {name: c.older}})
			must(t, err)
			after, err := w.PutSessions(t.Context(), anna, version, e2ee.RoomSessions{room1: {name: c.newer}})
			must(t, err)
			got := w.tree(w.Session(t.Context(), anna, version, room1, name))
			want := map[bool]string{false: "old", true: "new"}[c.replaced]
			if at(got, "session_data")["d"] != want || (before.ETag != after.ETag) != c.replaced || before.Count != after.Count {
				t.Errorf("case %d: %v, state %v then %v", i, got, before, after)
			}
		}
	})
}

// B14: keys go to the current version only, counts and etags follow what is stored, and a large backup is read in pages.
func TestB14KeyBackup(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		anna, kurt := w.user("anna", "PHONE").User, w.user("kurt", "DESK").User
		old := newBackup(t, w, anna)
		version := newBackup(t, w, anna)
		_, err := w.PutSessions(ctx, anna, old, e2ee.RoomSessions{room1: {"s": session(1, 1, true, "x")}})
		wantCode(t, err, mxerr.CodeWrongRoomKeysVersion)
		if e, _ := mxerr.As(err); e.Extra["current_version"] != version {
			t.Errorf("current_version: %v", e.Extra)
		}
		_, err = w.PutSessions(ctx, kurt, version, e2ee.RoomSessions{room1: {"s": session(1, 1, true, "x")}})
		wantCode(t, err, mxerr.CodeNotFound)

		many := map[string]e2ee.SessionJSON{}
		for i := range 1203 { // three pages
			many[fmt.Sprintf("s%04d", i)] = session(int64(i), 0, true, "x")
		}
		state, err := w.PutSessions(ctx, anna, version, e2ee.RoomSessions{room1: many, room2: {"s": session(0, 0, true, "y")}})
		must(t, err)
		check(t, state, e2ee.BackupState{Count: 1204, ETag: "1"})
		again, err := w.PutSessions(ctx, anna, version, e2ee.RoomSessions{room1: many})
		must(t, err)
		check(t, again, state)
		all := w.sessions(anna, version, "")
		check(t, len(at(all, "rooms", string(room1), "sessions")), 1203)
		check(t, len(at(all, "rooms", string(room2), "sessions")), 1)
		check(t, len(at(w.sessions(anna, version, room1), "sessions")), 1203)
		check(t, w.sessions(anna, version, "!none:here.test"), map[string]any{"sessions": map[string]any{}})
		check(t, w.sessions(anna, old, ""), map[string]any{"rooms": map[string]any{}})

		state, err = w.DropSessions(ctx, anna, version, room1, "s0000")
		must(t, err)
		check(t, state, e2ee.BackupState{Count: 1203, ETag: "2"})
		state, err = w.DropSessions(ctx, anna, version, room1, "")
		must(t, err)
		check(t, state, e2ee.BackupState{Count: 1, ETag: "3"})
		state, err = w.DropSessions(ctx, anna, version, "", "")
		must(t, err)
		check(t, state, e2ee.BackupState{Count: 0, ETag: "4"})
		_, err = w.Session(ctx, anna, version, room1, "s0001")
		wantCode(t, err, mxerr.CodeNotFound)
	})
}

func TestBackupVersions(t *testing.T) {
	w := newWorld(t, "sqlite:"+t.TempDir()+"/x.db")
	ctx := t.Context()
	anna := w.user("anna", "PHONE").User
	_, err := w.Backup(ctx, anna, "")
	wantCode(t, err, mxerr.CodeNotFound)
	version := newBackup(t, w, anna)
	const algorithm = "m.megolm_backup.v1.curve25519-aes-sha2"
	must(t, w.UpdateBackup(ctx, anna, version, version, algorithm, json.RawMessage(`{"new":1}`)))
	got, err := w.Backup(ctx, anna, "")
	must(t, err)
	check(t, got, e2ee.BackupVersion{Algorithm: algorithm, AuthData: json.RawMessage(`{"new":1}`), ETag: "0", Version: version})
	wantCode(t, w.UpdateBackup(ctx, anna, version, "7", algorithm, json.RawMessage(`{}`)), mxerr.CodeInvalidParam)
	wantCode(t, w.UpdateBackup(ctx, anna, version, "", "other", json.RawMessage(`{}`)), mxerr.CodeInvalidParam)
	wantCode(t, w.UpdateBackup(ctx, anna, version, "", algorithm, json.RawMessage(`[]`)), mxerr.CodeBadJSON)
	wantCode(t, w.UpdateBackup(ctx, anna, "99", "", algorithm, json.RawMessage(`{}`)), mxerr.CodeNotFound)
	must(t, w.DeleteBackup(ctx, anna, version))
	for _, v := range []string{"", version, "-1", "0", "x"} {
		_, err = w.Backup(ctx, anna, v)
		wantCode(t, err, mxerr.CodeNotFound)
	}
	if next := newBackup(t, w, anna); next == version {
		t.Error("a version number was used again")
	}
}
