package e2ee

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Limits of key backups.
const (
	maxAuthData    = 64 << 10
	maxSessionData = 64 << 10
	maxSessionName = 255
)

// BackupVersion is what clients are told of a backup. CS v1.16 #get_matrixclientv3room_keysversion
type BackupVersion struct {
	Algorithm string          `json:"algorithm"`
	AuthData  json.RawMessage `json:"auth_data"`
	Count     int64           `json:"count"`
	ETag      string          `json:"etag"`
	Version   string          `json:"version"`
}

// BackupState is what every change of the stored keys answers: a client that sees an etag it did not expect knows that
// another device was here.
type BackupState struct {
	Count int64  `json:"count"`
	ETag  string `json:"etag"`
}

func stateOf(b store.KeyBackup) BackupState {
	return BackupState{Count: b.Sessions, ETag: strconv.FormatInt(b.ETag, 10)}
}

var (
	errNoBackup  error = mxerr.NotFound("Unknown backup version")
	errNoSession error = mxerr.NotFound("No room keys found")
)

// backupNumber reads a version as clients name it; "" is the current one.
func backupNumber(version string) (int64, error) {
	if version == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil || n < 1 {
		return 0, errNoBackup
	}
	return n, nil
}

func checkAuthData(algorithm string, authData []byte) error {
	switch {
	case algorithm == "":
		return mxerr.MissingParam("algorithm is missing")
	case len(algorithm) > maxSessionName || !storable(algorithm):
		return mxerr.InvalidParam("algorithm is no algorithm's name")
	case len(authData) > maxAuthData:
		return mxerr.TooLarge("auth_data is larger than %d bytes", maxAuthData)
	case !canonical.IsObject(authData):
		return mxerr.BadJSON("auth_data is no JSON object")
	}
	return nil
}

// CreateBackup starts a new version of a user's backup. CS v1.16 #post_matrixclientv3room_keysversion
func (k *Keeper) CreateBackup(ctx context.Context, user id.UserID, algorithm string, authData json.RawMessage) (string, error) {
	if err := checkAuthData(algorithm, authData); err != nil {
		return "", err
	}
	var version int64
	err := k.Store.Write(ctx, func(tx *store.Tx) (err error) {
		version, err = tx.AddKeyBackup(ctx, user, algorithm, authData)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("create key backup: %w", err)
	}
	return strconv.FormatInt(version, 10), nil
}

// Backup describes a version, or the current one for "".
func (k *Keeper) Backup(ctx context.Context, user id.UserID, version string) (BackupVersion, error) {
	n, err := backupNumber(version)
	if err != nil {
		return BackupVersion{}, err
	}
	var b store.KeyBackup
	err = k.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		b, err = tx.KeyBackup(ctx, user, n)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return BackupVersion{}, errNoBackup
	}
	if err != nil {
		return BackupVersion{}, fmt.Errorf("read key backup: %w", err)
	}
	return BackupVersion{Algorithm: b.Algorithm, AuthData: b.AuthData, Count: b.Sessions,
		ETag: strconv.FormatInt(b.ETag, 10), Version: strconv.FormatInt(b.Version, 10)}, nil
}

// UpdateBackup replaces the auth_data of a version; the algorithm stays. named is the version in the body, which may be "".
// CS v1.16 #put_matrixclientv3room_keysversionversion
func (k *Keeper) UpdateBackup(ctx context.Context, user id.UserID, version, named, algorithm string, authData json.RawMessage) error {
	if err := checkAuthData(algorithm, authData); err != nil {
		return err
	}
	if named != "" && named != version {
		return mxerr.InvalidParam("The version in the body is not the one in the path")
	}
	return k.changeBackup(ctx, user, version, func(tx *store.Tx, b store.KeyBackup) error {
		if b.Algorithm != algorithm {
			return mxerr.InvalidParam("The algorithm of a backup does not change")
		}
		return tx.SetKeyBackupAuth(ctx, user, b.Version, authData)
	})
}

// DeleteBackup deletes a version with all its keys.
func (k *Keeper) DeleteBackup(ctx context.Context, user id.UserID, version string) error {
	return k.changeBackup(ctx, user, version, func(tx *store.Tx, b store.KeyBackup) error {
		return tx.DropKeyBackup(ctx, user, b.Version)
	})
}

// changeBackup runs change on an existing version.
func (k *Keeper) changeBackup(ctx context.Context, user id.UserID, version string, change func(*store.Tx, store.KeyBackup) error) error {
	n, err := backupNumber(version)
	if err != nil || n == 0 {
		return errNoBackup
	}
	err = k.Store.Write(ctx, func(tx *store.Tx) error {
		b, err := tx.KeyBackup(ctx, user, n)
		if errors.Is(err, store.ErrNotFound) {
			return errNoBackup
		}
		if err != nil {
			return err
		}
		return change(tx, b)
	})
	if err != nil {
		return fmt.Errorf("change key backup: %w", err)
	}
	return nil
}

// SessionJSON is one session on the wire. CS v1.16 #put_matrixclientv3room_keyskeysroomidsessionid
type SessionJSON struct {
	FirstMessageIndex *int64          `json:"first_message_index"`
	ForwardedCount    *int64          `json:"forwarded_count"`
	IsVerified        *bool           `json:"is_verified"`
	SessionData       json.RawMessage `json:"session_data"`
}

// RoomSessions are sessions by room and session ID.
type RoomSessions map[id.RoomID]map[string]SessionJSON

func (s SessionJSON) parse(room id.RoomID, session string) (store.BackupSession, error) {
	switch {
	case s.FirstMessageIndex == nil || s.ForwardedCount == nil || s.IsVerified == nil:
		return store.BackupSession{}, mxerr.BadJSON("first_message_index, forwarded_count or is_verified is missing")
	case *s.FirstMessageIndex < 0 || *s.ForwardedCount < 0:
		return store.BackupSession{}, mxerr.BadJSON("first_message_index or forwarded_count is negative")
	case !canonical.IsObject(s.SessionData) || len(s.SessionData) > maxSessionData:
		return store.BackupSession{}, mxerr.BadJSON("session_data is no JSON object, or larger than %d bytes", maxSessionData)
	case session == "" || len(session) > maxSessionName || !storable(session):
		return store.BackupSession{}, mxerr.InvalidParam("A session's name is empty, too long or no text")
	}
	return store.BackupSession{Room: string(room), Session: session, FirstMessageIndex: *s.FirstMessageIndex,
		ForwardedCount: *s.ForwardedCount, Verified: *s.IsVerified, Data: s.SessionData}, nil
}

// better decides whether a session replaces the one that is stored. CS v1.16 #put_matrixclientv3room_keyskeysroomidsessionid
func better(newer, older store.BackupSession) bool {
	switch {
	case newer.Verified != older.Verified:
		return newer.Verified
	case newer.FirstMessageIndex != older.FirstMessageIndex:
		return newer.FirstMessageIndex < older.FirstMessageIndex
	default:
		return newer.ForwardedCount < older.ForwardedCount
	}
}

// PutSessions adds sessions to the current version; another one is refused, naming the current.
func (k *Keeper) PutSessions(ctx context.Context, user id.UserID, version string, byRoom RoomSessions) (BackupState, error) {
	var sessions []store.BackupSession
	var rooms, names []string
	for room, bySession := range byRoom {
		rooms = append(rooms, string(room))
		for name, s := range bySession {
			session, err := s.parse(room, name)
			if err != nil {
				return BackupState{}, err
			}
			sessions, names = append(sessions, session), append(names, name)
		}
	}
	var state BackupState
	err := k.changeCurrent(ctx, user, version, func(tx *store.Tx, b store.KeyBackup) error {
		stored, err := tx.BackupSessionsNamed(ctx, user, b.Version, rooms, names)
		if err != nil {
			return err
		}
		type key struct{ room, session string }
		existing := make(map[key]store.BackupSession, len(stored))
		for _, s := range stored {
			existing[key{s.Room, s.Session}] = s
		}
		changed := false
		for _, s := range sessions {
			older, there := existing[key{s.Room, s.Session}]
			if there && !better(s, older) {
				continue
			}
			if err := tx.SetBackupSession(ctx, user, b.Version, s); err != nil {
				return err
			}
			changed = true
			if !there {
				b.Sessions++
			}
		}
		if changed {
			b.ETag++
		}
		state = stateOf(b)
		if !changed {
			return nil
		}
		return tx.SetKeyBackupCount(ctx, user, b.Version, b.ETag, b.Sessions)
	})
	return state, err
}

// changeCurrent runs change if version is the current one.
func (k *Keeper) changeCurrent(ctx context.Context, user id.UserID, version string, change func(*store.Tx, store.KeyBackup) error) error {
	n, err := backupNumber(version)
	if err != nil {
		return err
	}
	err = k.Store.Write(ctx, func(tx *store.Tx) error {
		b, err := tx.KeyBackup(ctx, user, 0)
		if errors.Is(err, store.ErrNotFound) {
			return errNoBackup
		}
		if err != nil {
			return err
		}
		if b.Version != n {
			return mxerr.WrongRoomKeysVersion(strconv.FormatInt(b.Version, 10))
		}
		return change(tx, b)
	})
	if err != nil {
		return fmt.Errorf("change keys of a backup: %w", err)
	}
	return nil
}

// DropSessions deletes one session of a version, or all of a room, or all: an empty session or room stands for all.
func (k *Keeper) DropSessions(ctx context.Context, user id.UserID, version string, room id.RoomID, session string) (BackupState, error) {
	var state BackupState
	if !storable(session) {
		return state, errNoSession
	}
	err := k.changeBackup(ctx, user, version, func(tx *store.Tx, b store.KeyBackup) error {
		n, err := tx.DropBackupSessions(ctx, user, b.Version, string(room), session)
		if err != nil {
			return err
		}
		if n > 0 {
			b.Sessions, b.ETag = b.Sessions-n, b.ETag+1
			err = tx.SetKeyBackupCount(ctx, user, b.Version, b.ETag, b.Sessions)
		}
		state = stateOf(b)
		return err
	})
	return state, err
}

// Session reads one session as JSON.
func (k *Keeper) Session(ctx context.Context, user id.UserID, version string, room id.RoomID, session string) ([]byte, error) {
	if !storable(session) {
		return nil, errNoSession
	}
	b, err := k.Backup(ctx, user, version)
	if err != nil {
		return nil, err
	}
	n, err := backupNumber(b.Version)
	if err != nil {
		return nil, err
	}
	var s store.BackupSession
	err = k.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		s, err = tx.BackupSession(ctx, user, n, string(room), session)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, errNoSession
	}
	if err != nil {
		return nil, fmt.Errorf("read a session of a backup: %w", err)
	}
	return appendSession(nil, s), nil
}

func appendSession(b []byte, s store.BackupSession) []byte {
	b = strconv.AppendInt(append(b, `{"first_message_index":`...), s.FirstMessageIndex, 10)
	b = strconv.AppendInt(append(b, `,"forwarded_count":`...), s.ForwardedCount, 10)
	b = strconv.AppendBool(append(b, `,"is_verified":`...), s.Verified)
	b = append(append(b, `,"session_data":`...), s.Data...)
	return append(b, '}')
}

// Sessions reads all sessions of a version, or of one room of it, as JSON in the form of the room or the whole. A backup may
// hold a million (B14), so the reader fetches them in pages as they are written.
func (k *Keeper) Sessions(ctx context.Context, user id.UserID, version string, room id.RoomID) (io.Reader, error) {
	b, err := k.Backup(ctx, user, version)
	if err != nil {
		return nil, err
	}
	n, err := backupNumber(b.Version)
	if err != nil {
		return nil, err
	}
	r := &sessionReader{ctx: ctx, keeper: k, user: user, version: n, only: room}
	if room == "" {
		r.buf = []byte(`{"rooms":{`)
	} else {
		r.buf = []byte(`{"sessions":{`)
	}
	return r, nil
}

const sessionPage = 500

// sessionReader writes sessions page by page. It lives as long as the request whose context it holds.
type sessionReader struct {
	ctx     context.Context
	keeper  *Keeper
	user    id.UserID
	version int64
	only    id.RoomID
	last    store.BackupSession // the last one written
	buf     []byte
	done    bool
}

func (r *sessionReader) Read(p []byte) (int, error) {
	for len(r.buf) == 0 {
		if r.done {
			return 0, io.EOF
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.buf)
	r.buf = r.buf[n:]
	return n, nil
}

func (r *sessionReader) fill() error {
	var page []store.BackupSession
	err := r.keeper.Store.ReadOne(r.ctx, func(tx *store.Tx) (err error) {
		page, err = tx.BackupSessions(r.ctx, r.user, r.version, r.last, string(r.only), sessionPage)
		return err
	})
	if err != nil {
		return fmt.Errorf("read sessions of a backup: %w", err)
	}
	b := r.buf[:0]
	for _, s := range page {
		switch {
		case r.only != "":
			if r.last.Session != "" {
				b = append(b, ',')
			}
		case s.Room != r.last.Room:
			if r.last.Room != "" {
				b = append(b, `}},`...)
			}
			b = append(canonical.AppendString(b, s.Room), `:{"sessions":{`...)
		default:
			b = append(b, ',')
		}
		b = append(canonical.AppendString(b, s.Session), ':')
		b = appendSession(b, s)
		r.last = s
	}
	if len(page) < sessionPage {
		r.done = true
		if r.only == "" && r.last.Room != "" {
			b = append(b, `}}`...)
		}
		b = append(b, `}}`...)
	}
	r.buf = b
	return nil
}
