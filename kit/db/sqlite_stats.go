package db

import (
	"context"
	"strconv"
	"strings"
)

// SQLite chooses its plans by how many rows it expects behind each column of an index. Without figures it takes any first column
// for selective, and ours is domain_id, which has one value in the whole file: it would rather read all rows of a domain than
// the few of a room. So every index is given figures, the same in every file and never measured: a plan changes with the
// program and not with the data, and a test can look at it.
const expectedRows = 1_000_000

// writeStats stores the figures of all indexes. It belongs to the transaction of the migration that may have made some.
func writeStats(ctx context.Context, tx *Tx, script func(string) error) error {
	if err := script(`ANALYZE schema_version; DELETE FROM sqlite_stat1`); err != nil { // this makes the table
		return err
	}
	type index struct{ table, name, stat string }
	var all []index
	err := Each(ctx, tx, `
		SELECT t.name, i.name, i."unique", (SELECT COUNT(*) FROM pragma_index_info(i.name))
		FROM sqlite_schema AS t JOIN pragma_index_list(t.name) AS i
		WHERE t.type = 'table' AND (SELECT c.name FROM pragma_index_info(i.name) AS c WHERE c.seqno = 0) = 'domain_id'`, nil,
		func(row *Row) error {
			var i index
			var unique, columns int64
			err := row.Scan(&i.table, &i.name, &unique, &columns)
			i.stat = indexStat(unique == 1, int(columns))
			all = append(all, i)
			return err
		})
	if err != nil {
		return err
	}
	for _, i := range all {
		if _, err := tx.Exec(ctx, `INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ($1, $2, $3)`, i.table, i.name, i.stat); err != nil {
			return err
		}
	}
	return script(`ANALYZE sqlite_schema`) // this reads it again
}

// expectedShare is how many rows have the same first column, the same first two, and so on. It is the same for all indexes:
// of two that begin with the same columns, neither may look better for having fewer of them.
var expectedShare = [...]int{expectedRows, 1000, 50, 10, 5, 3, 2}

// indexStat says of an index that begins with the domain how many rows it has, then how many have the same first columns.
// noskipscan keeps from trying every room or user.
func indexStat(unique bool, columns int) string {
	stat := []string{strconv.Itoa(expectedRows)}
	for c := 1; c <= columns; c++ {
		share := expectedShare[min(c, len(expectedShare))-1]
		if unique && c == columns {
			share = 1
		}
		stat = append(stat, strconv.Itoa(share))
	}
	return strings.Join(append(stat, "noskipscan"), " ")
}
