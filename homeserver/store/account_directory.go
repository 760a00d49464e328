package store

import (
	"context"
	"strings"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// UserSearch says whom to look for in the user directory.
type UserSearch struct {
	Searcher id.UserID
	Server   id.ServerName // the domain's own
	Words    []string      // lower case, one to four; all have to be found
	All      bool          // find all users of the domain, not only those the searcher may know of
	Limit    int
}

// FoundUser is a user the directory found.
type FoundUser struct {
	User        id.UserID
	DisplayName string
	AvatarURL   string
}

// SearchUsers finds users of this domain by their profile, and users of other servers by their name in a room. The
// searcher may know of who shares a room with them and of who is in a published room.
func (tx *Tx) SearchUsers(ctx context.Context, s UserSearch) ([]FoundUser, error) {
	var words [4]string
	for i := range words {
		words[i] = "%" // finds all
		if i < len(s.Words) {
			words[i] = "%" + escapeLike(s.Words[i]) + "%"
		}
	}
	found, err := tx.foundUsers(ctx, `
		SELECT p.user_id, p.displayname, p.avatar_url FROM profile p
		WHERE p.domain_id = $0 AND p.user_id <> $1
			AND p.search LIKE $2 ESCAPE '\' AND p.search LIKE $3 ESCAPE '\'
			AND p.search LIKE $4 ESCAPE '\' AND p.search LIKE $5 ESCAPE '\'
			AND ($6 = 1 OR EXISTS (
				SELECT 1 FROM membership m JOIN room r ON r.domain_id = m.domain_id AND r.room_nid = m.room_nid
				WHERE m.domain_id = $0 AND m.user_id = p.user_id AND m.membership = 1
					AND (r.published = 1 OR EXISTS (
						SELECT 1 FROM user_room mine
						WHERE mine.domain_id = $0 AND mine.user_id = $1 AND mine.room_nid = m.room_nid AND mine.membership = 1))))
		ORDER BY p.displayname, p.user_id LIMIT $7`,
		string(s.Searcher), words[0], words[1], words[2], words[3], bit(s.All), int64(s.Limit))
	if err != nil || len(found) >= s.Limit {
		return found, err
	}
	remote, err := tx.foundUsers(ctx, `
		SELECT m.user_id, COALESCE(MAX(m.display_name), ''), COALESCE(MAX(m.avatar_url), '') FROM membership m
		WHERE m.domain_id = $0 AND m.server <> $1 AND m.membership = 1
			AND m.room_nid IN (
				SELECT room_nid FROM user_room WHERE domain_id = $0 AND user_id = $2 AND membership = 1
				UNION SELECT room_nid FROM room WHERE domain_id = $0 AND published = 1)
			AND LOWER(COALESCE(m.display_name, '') || ' ' || m.user_id) LIKE $3 ESCAPE '\'
			AND LOWER(COALESCE(m.display_name, '') || ' ' || m.user_id) LIKE $4 ESCAPE '\'
			AND LOWER(COALESCE(m.display_name, '') || ' ' || m.user_id) LIKE $5 ESCAPE '\'
			AND LOWER(COALESCE(m.display_name, '') || ' ' || m.user_id) LIKE $6 ESCAPE '\'
		GROUP BY m.user_id ORDER BY 2, 1 LIMIT $7`,
		string(s.Server), string(s.Searcher), words[0], words[1], words[2], words[3], int64(s.Limit-len(found)))
	return append(found, remote...), err
}

func (tx *Tx) foundUsers(ctx context.Context, query string, args ...any) ([]FoundUser, error) {
	var found []FoundUser
	err := db.Each(ctx, tx, query, args, func(row *db.Row) error {
		var u FoundUser
		if err := row.Scan(&u.User, &u.DisplayName, &u.AvatarURL); err != nil {
			return err
		}
		found = append(found, u)
		return nil
	})
	return found, err
}

// escapeLike makes a text stand for itself in a LIKE pattern.
func escapeLike(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}
