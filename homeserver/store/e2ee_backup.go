package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// KeyBackup is one version of a user's key backup.
type KeyBackup struct {
	Version   int64
	Algorithm string
	AuthData  []byte // JSON object
	ETag      int64
	Sessions  int64
}

// BackupSession is the backup of one Megolm session.
type BackupSession struct {
	Room              string
	Session           string
	FirstMessageIndex int64
	ForwardedCount    int64
	Verified          bool
	Data              []byte // JSON object, encrypted for the user
}

// AddKeyBackup starts a new version and gives its number; numbers are never used again.
func (tx *Tx) AddKeyBackup(ctx context.Context, user id.UserID, algorithm string, authData []byte) (int64, error) {
	last, err := db.Get[int64](ctx, tx, `
		SELECT COALESCE(MAX(version), 0) FROM key_backup WHERE domain_id = $0 AND user_id = $1`, user)
	if err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO key_backup (domain_id, user_id, version, algorithm, auth_data, etag, sessions, deleted)
		VALUES ($0, $1, $2, $3, $4, 0, 0, 0)`, user, last+1, algorithm, authData)
	return last + 1, err
}

// KeyBackup reads a version, or the current one for version 0. ErrNotFound when there is none.
func (tx *Tx) KeyBackup(ctx context.Context, user id.UserID, version int64) (KeyBackup, error) {
	var b KeyBackup
	err := db.One(ctx, tx, `
		SELECT version, algorithm, auth_data, etag, sessions FROM key_backup
		WHERE domain_id = $0 AND user_id = $1 AND deleted = 0 AND ($2 = 0 OR version = $2)
		ORDER BY version DESC LIMIT 1`, []any{user, version}, &b.Version, &b.Algorithm, &b.AuthData, &b.ETag, &b.Sessions)
	return b, err
}

// SetKeyBackupAuth replaces the auth_data of a version.
func (tx *Tx) SetKeyBackupAuth(ctx context.Context, user id.UserID, version int64, authData []byte) error {
	_, err := tx.Exec(ctx, `
		UPDATE key_backup SET auth_data = $3 WHERE domain_id = $0 AND user_id = $1 AND version = $2`, user, version, authData)
	return err
}

// SetKeyBackupCount stores what a change of the sessions made of a version.
func (tx *Tx) SetKeyBackupCount(ctx context.Context, user id.UserID, version, etag, sessions int64) error {
	_, err := tx.Exec(ctx, `
		UPDATE key_backup SET etag = $3, sessions = $4 WHERE domain_id = $0 AND user_id = $1 AND version = $2`,
		user, version, etag, sessions)
	return err
}

// DropKeyBackup deletes a version with its sessions.
func (tx *Tx) DropKeyBackup(ctx context.Context, user id.UserID, version int64) error {
	_, err := tx.Exec(ctx, `
		UPDATE key_backup SET deleted = 1, sessions = 0 WHERE domain_id = $0 AND user_id = $1 AND version = $2`, user, version)
	if err != nil {
		return err
	}
	_, err = tx.DropBackupSessions(ctx, user, version, "", "")
	return err
}

// BackupSessions lists the sessions of a version from a room and session on (exclusively), in that order. With only, they are
// those of the one room.
func (tx *Tx) BackupSessions(ctx context.Context, user id.UserID, version int64, from BackupSession, only string, limit int) ([]BackupSession, error) {
	return tx.backupSessions(ctx, `
		SELECT room_id, session_id, first_message_index, forwarded_count, is_verified, session_data FROM key_backup_session
		WHERE domain_id = $0 AND user_id = $1 AND version = $2 AND ($3 = '' OR room_id = $3) AND (room_id, session_id) > ($4, $5)
		ORDER BY room_id, session_id LIMIT $6`, user, version, only, from.Room, from.Session, limit)
}

// BackupSession reads one session. ErrNotFound when it is not there.
func (tx *Tx) BackupSession(ctx context.Context, user id.UserID, version int64, room, session string) (BackupSession, error) {
	all, err := tx.backupSessions(ctx, `
		SELECT room_id, session_id, first_message_index, forwarded_count, is_verified, session_data FROM key_backup_session
		WHERE domain_id = $0 AND user_id = $1 AND version = $2 AND room_id = $3 AND session_id = $4`,
		user, version, room, session)
	if err == nil && len(all) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return BackupSession{}, err
	}
	return all[0], nil
}

// BackupSessionsNamed reads those sessions of the rooms that have one of the names; a session of another room that shares a
// name may be among them.
func (tx *Tx) BackupSessionsNamed(ctx context.Context, user id.UserID, version int64, rooms, sessions []string) ([]BackupSession, error) {
	return tx.backupSessions(ctx, `
		SELECT room_id, session_id, first_message_index, forwarded_count, is_verified, session_data FROM key_backup_session
		WHERE domain_id = $0 AND user_id = $1 AND version = $2 AND room_id in($3) AND session_id in($4)`,
		user, version, rooms, sessions)
}

func (tx *Tx) backupSessions(ctx context.Context, q string, args ...any) ([]BackupSession, error) {
	var all []BackupSession
	err := db.Each(ctx, tx, q, args, func(row *db.Row) error {
		var s BackupSession
		var verified int64
		if err := row.Scan(&s.Room, &s.Session, &s.FirstMessageIndex, &s.ForwardedCount, &verified, &s.Data); err != nil {
			return err
		}
		s.Verified = verified != 0
		all = append(all, s)
		return nil
	})
	return all, err
}

// SetBackupSession stores a session, in the place of the one it replaces.
func (tx *Tx) SetBackupSession(ctx context.Context, user id.UserID, version int64, s BackupSession) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO key_backup_session (domain_id, user_id, version, room_id, session_id,
			first_message_index, forwarded_count, is_verified, session_data)
		VALUES ($0, $1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (domain_id, user_id, version, room_id, session_id) DO UPDATE SET
			first_message_index = excluded.first_message_index, forwarded_count = excluded.forwarded_count,
			is_verified = excluded.is_verified, session_data = excluded.session_data`,
		user, version, s.Room, s.Session, s.FirstMessageIndex, s.ForwardedCount, bit(s.Verified), s.Data)
	return err
}

// DropBackupSessions deletes a session, or all of a room when session is "", or all when room is "", and says how many.
func (tx *Tx) DropBackupSessions(ctx context.Context, user id.UserID, version int64, room, session string) (int64, error) {
	return tx.Exec(ctx, `
		DELETE FROM key_backup_session WHERE domain_id = $0 AND user_id = $1 AND version = $2
			AND ($3 = '' OR room_id = $3) AND ($4 = '' OR session_id = $4)`, user, version, room, session)
}
