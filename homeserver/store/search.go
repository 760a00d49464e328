package store

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// SearchField says what of an event is searched.
type SearchField int64

// The fields. CS v1.16 #search-categories
const (
	SearchBody  SearchField = 1
	SearchName  SearchField = 2
	SearchTopic SearchField = 3
)

// SearchDoc is an event as the search index holds it. Words are letters and digits only, in the order of the text.
type SearchDoc struct {
	Event, Room int64
	Pos         int64
	Field       SearchField
	Sender      id.UserID
	Words       []string
}

// SearchCursor is how far the index goes: a position, and the number of an event for history.
type SearchCursor struct{ Pos, History int64 }

// SearchCursor reads the cursor; the zero value while nothing is indexed.
func (tx *Tx) SearchCursor(ctx context.Context) (c SearchCursor, err error) {
	err = db.One(ctx, tx, `SELECT pos, history FROM search_cursor WHERE domain_id = $0`, nil, &c.Pos, &c.History)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return c, err
}

// SetSearchCursor stores the cursor.
func (tx *Tx) SetSearchCursor(ctx context.Context, c SearchCursor) error {
	return tx.Queue(ctx, `
		INSERT INTO search_cursor (domain_id, pos, history) VALUES ($0, $1, $2)
		ON CONFLICT (domain_id) DO UPDATE SET pos = excluded.pos, history = excluded.history`, c.Pos, c.History)
}

// AddSearchDoc puts an event into the index, in place of what was there of it.
func (tx *Tx) AddSearchDoc(ctx context.Context, d SearchDoc) error {
	if tx.OnPostgres() {
		return tx.Queue(ctx, `
			INSERT INTO search_doc (domain_id, event_nid, room_nid, pos, field, sender, words)
			VALUES ($0, $1, $2, $3, $4, $5, CAST(CAST($6 AS TEXT) AS TSVECTOR))
			ON CONFLICT (domain_id, event_nid) DO UPDATE SET field = excluded.field, words = excluded.words`,
			d.Event, d.Room, d.Pos, int64(d.Field), d.Sender, vector(d.Words))
	}
	if err := tx.RemoveSearchDoc(ctx, d.Event); err != nil {
		return err
	}
	if err := tx.Queue(ctx, `
		INSERT INTO search_doc (domain_id, event_nid, room_nid, pos, field, sender) VALUES ($0, $1, $2, $3, $4, $5)`,
		d.Event, d.Room, d.Pos, int64(d.Field), d.Sender); err != nil {
		return err
	}
	return tx.Queue(ctx, `INSERT INTO search_words (rowid, words) VALUES ($1, $2)`, d.Event, strings.Join(d.Words, " "))
}

// vector writes words as PostgreSQL's type: each with its place, so that ranks count how often and how near.
func vector(words []string) string {
	const maxPlace = 16383 // PostgreSQL knows no later ones
	var out strings.Builder
	for i, w := range words {
		out.WriteByte('\'')
		out.WriteString(w)
		out.WriteString("':")
		out.WriteString(strconv.Itoa(min(i+1, maxPlace)))
		out.WriteByte(' ')
	}
	return out.String()
}

// RemoveSearchDoc takes an event out of the index.
func (tx *Tx) RemoveSearchDoc(ctx context.Context, event int64) error {
	n, err := tx.Exec(ctx, `DELETE FROM search_doc WHERE domain_id = $0 AND event_nid = $1`, event)
	if err != nil || n == 0 || tx.OnPostgres() {
		return err
	}
	return tx.Queue(ctx, `DELETE FROM search_words WHERE rowid = $1`, event)
}

// RemoveSearchRoom takes all of a room out of the index.
func (tx *Tx) RemoveSearchRoom(ctx context.Context, room int64) error {
	if !tx.OnPostgres() {
		if err := tx.Queue(ctx, `
			DELETE FROM search_words WHERE rowid IN (SELECT event_nid FROM search_doc WHERE domain_id = $0 AND room_nid = $1)`, room); err != nil {
			return err
		}
	}
	return tx.Queue(ctx, `DELETE FROM search_doc WHERE domain_id = $0 AND room_nid = $1`, room)
}

// HistoryBetween lists the numbers of events of the past that were stored after one number, up to another, in order.
func (tx *Tx) HistoryBetween(ctx context.Context, after, upTo int64, limit int) ([]int64, error) {
	return db.List[int64](ctx, tx, `
		SELECT event_nid FROM event
		WHERE domain_id = $0 AND pos < 0 AND event_nid > $1 AND event_nid <= $2 ORDER BY event_nid LIMIT $3 + 0`, after, upTo, limit)
}

// SearchQuery asks the index. A document matches that has all the words.
type SearchQuery struct {
	Words      []string
	Prefixes   []bool // by word: it may go on
	Rooms      []int64
	Fields     []int64
	Senders    []id.UserID // nil means any
	NotSenders []id.UserID

	Recent bool  // newest first, those before Before; else by rank, those after the first Skip
	Before int64 // a position
	Skip   int
	Limit  int
}

// SearchHit is a document that matches. A higher rank is a better one.
type SearchHit struct {
	Event, Pos int64
	Rank       float64
}

// Each engine's own part is the same in all its statements: how a document is matched, and what its rank is. Rooms that are
// encrypted by now are left out with all they ever said.
const (
	searchWhere = ` AND d.room_nid in($2) AND d.field in($3) AND ($4 = 0 OR d.sender in($5)) AND d.sender not in($6)
		AND NOT EXISTS (SELECT 1 FROM current_state AS c WHERE c.domain_id = $0 AND c.room_nid = d.room_nid
			AND c.type = 'm.room.encryption' AND c.state_key = '') `
	searchSQLite = ` FROM search_words AS w JOIN search_doc AS d ON d.domain_id = $0 AND d.event_nid = w.rowid
		WHERE search_words MATCH $1` + searchWhere
	searchPostgres = ` FROM search_doc AS d WHERE d.domain_id = $0 AND d.words @@ CAST(CAST($1 AS TEXT) AS TSQUERY)` + searchWhere
	rankSQLite     = `SELECT d.event_nid, d.pos, -bm25(search_words)`
	rankPostgres   = `SELECT d.event_nid, d.pos, CAST(ts_rank(d.words, CAST(CAST($1 AS TEXT) AS TSQUERY)) AS DOUBLE PRECISION)`
	searchRecent   = ` AND d.pos < $7 ORDER BY d.pos DESC LIMIT $8 + 0`
	searchRank     = ` ORDER BY 3 DESC, d.event_nid DESC LIMIT $7 + 0 OFFSET $8 + 0`
)

// SearchEvents lists hits in the order asked for.
func (tx *Tx) SearchEvents(ctx context.Context, q SearchQuery) ([]SearchHit, error) {
	args := q.args(tx.OnPostgres())
	statement := rankSQLite + searchSQLite + searchRank
	switch {
	case tx.OnPostgres() && q.Recent:
		statement = rankPostgres + searchPostgres + searchRecent
	case tx.OnPostgres():
		statement = rankPostgres + searchPostgres + searchRank
	case q.Recent:
		statement = rankSQLite + searchSQLite + searchRecent
	}
	if q.Recent {
		args = append(args, q.Before, q.Limit)
	} else {
		args = append(args, q.Limit, q.Skip)
	}
	var hits []SearchHit
	err := db.Each(ctx, tx, statement, args, func(row *db.Row) error {
		var h SearchHit
		if err := row.Scan(&h.Event, &h.Pos, &h.Rank); err != nil {
			return err
		}
		hits = append(hits, h)
		return nil
	})
	return hits, err
}

// CountSearch counts all hits.
func (tx *Tx) CountSearch(ctx context.Context, q SearchQuery) (int64, error) {
	if tx.OnPostgres() {
		return db.Get[int64](ctx, tx, `SELECT COUNT(*)`+searchPostgres, q.args(true)...)
	}
	return db.Get[int64](ctx, tx, `SELECT COUNT(*)`+searchSQLite, q.args(false)...)
}

func (q SearchQuery) args(postgres bool) []any {
	senders, notSenders := q.Senders, q.NotSenders
	if senders == nil {
		senders = []id.UserID{}
	}
	if notSenders == nil {
		notSenders = []id.UserID{}
	}
	return []any{q.match(postgres), q.Rooms, q.Fields, bit(q.Senders != nil), senders, notSenders}
}

// match writes the words in the engine's query language. Words hold letters and digits only, so nothing has to be escaped.
func (q SearchQuery) match(postgres bool) string {
	var out strings.Builder
	for i, w := range q.Words {
		switch {
		case postgres && i > 0:
			out.WriteString(" & ")
		case i > 0:
			out.WriteString(" AND ")
		}
		quote, more := `"`, ` *`
		if postgres {
			quote, more = `'`, `:*`
		}
		out.WriteString(quote + w + quote)
		if q.Prefixes[i] {
			out.WriteString(more)
		}
	}
	return out.String()
}

// LastNID is the last number given to a room, event, slot or snapshot. What has it may not be stored yet.
func (d *DB) LastNID() int64 { return d.nid.Load() }
