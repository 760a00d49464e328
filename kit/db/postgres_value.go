package db

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// The types of PostgreSQL that statements of ours meet.
const (
	oidBool   = 16
	oidBytea  = 17
	oidName   = 19
	oidInt8   = 20
	oidInt2   = 21
	oidInt4   = 23
	oidText   = 25
	oidJSON   = 114 // what json_each takes
	oidFloat8 = 701
	oidInt8s  = 1016
	oidTexts  = 1009
	oidInt4s  = 1007
	oidVar    = 1043
)

// formatOf asks for a column in binary where we know its form, and as text otherwise.
func formatOf(oid uint32) int16 {
	switch oid {
	case oidBool, oidBytea, oidInt8, oidInt2, oidInt4, oidText, oidVar, oidFloat8:
		return 1
	}
	return 0
}

// pgParams encodes the arguments of one statement into one buffer.
type pgParams struct {
	buf     []byte
	values  [][]byte
	formats []int16
	size    int // of all values
}

// keepParams is the most that a connection keeps for its next arguments.
const keepParams = 64 << 10

func (p *pgParams) encode(stmt *pgStmt, t *text, args []any, domain int64) error {
	if cap(p.buf) > keepParams {
		p.buf = nil
	}
	n := len(stmt.params)
	p.buf, p.size = p.buf[:0], 0
	p.values = slices.Grow(p.values[:0], n)[:n]
	p.formats = slices.Grow(p.formats[:0], n)[:n]
	for i, oid := range stmt.params {
		v := value{kind: integer, i: domain}
		if i < len(args) {
			var err error
			if v, err = valueOf(args[i]); err != nil {
				return fmt.Errorf("argument $%d: %w", i+1, err)
			}
			if v.isList() != t.lists[i] {
				return fmt.Errorf("argument $%d: %T where the text says otherwise", i+1, args[i])
			}
		}
		if err := p.add(i, oid, &v); err != nil {
			return fmt.Errorf("argument $%d: %w", i+1, err)
		}
		p.size += len(p.values[i])
	}
	return nil
}

// add encodes one value. buf may move when it grows; the slices given out before keep the memory they point to.
func (p *pgParams) add(i int, oid uint32, v *value) error {
	start := len(p.buf)
	p.formats[i] = 1
	switch v.kind {
	case null:
		p.values[i] = nil
		return nil
	case textual:
		p.formats[i] = 0
		if oid == oidText || oid == oidVar || oid == oidName || oid == oidJSON {
			p.buf = append(p.buf, v.s...)
			break
		}
		if oid != oidBytea {
			return fmt.Errorf("a string for the type %d", oid)
		}
		p.formats[i] = 1
		p.buf = append(p.buf, v.s...)
	case blob:
		if oid != oidBytea && oid != oidText && oid != oidVar {
			return fmt.Errorf("bytes for the type %d", oid)
		}
		p.values[i] = v.b
		return nil
	case integer:
		if err := p.addInt(i, oid, v.i); err != nil {
			return err
		}
	case float:
		if oid != oidFloat8 {
			return fmt.Errorf("a float for the type %d", oid)
		}
		p.buf = binary.BigEndian.AppendUint64(p.buf, math.Float64bits(v.f))
	case texts, integers:
		if err := p.addList(oid, v); err != nil {
			return err
		}
	}
	p.values[i] = p.buf[start:len(p.buf):len(p.buf)]
	return nil
}

func (p *pgParams) addInt(i int, oid uint32, n int64) error {
	switch oid {
	case oidInt8:
		p.buf = binary.BigEndian.AppendUint64(p.buf, uint64(n))
	case oidInt4:
		if n != int64(int32(n)) {
			return fmt.Errorf("%d is more than INTEGER holds", n)
		}
		p.buf = binary.BigEndian.AppendUint32(p.buf, uint32(n))
	case oidInt2:
		if n != int64(int16(n)) {
			return fmt.Errorf("%d is more than SMALLINT holds", n)
		}
		p.buf = binary.BigEndian.AppendUint16(p.buf, uint16(n))
	case oidBool:
		p.buf = append(p.buf, byte(n&1))
	case oidFloat8:
		p.buf = binary.BigEndian.AppendUint64(p.buf, math.Float64bits(float64(n)))
	case oidText, oidVar, oidBytea:
		return fmt.Errorf("an integer for the type %d", oid)
	default: // numeric and the like
		p.formats[i] = 0
		p.buf = strconv.AppendInt(p.buf, n, 10)
	}
	return nil
}

// addList writes an array in the binary form: dimensions, nulls, element type, length, lower bound, elements.
func (p *pgParams) addList(oid uint32, v *value) error {
	elem, n := uint32(oidText), len(v.ss)
	if v.kind == integers {
		elem, n = oidInt8, len(v.is)
		if oid == oidInt4s {
			elem = oidInt4
		}
	}
	if (elem == oidText) != (oid == oidTexts) || elem != oidText && oid != oidInt8s && oid != oidInt4s {
		return fmt.Errorf("a list for the type %d", oid)
	}
	put := func(n int) { p.buf = binary.BigEndian.AppendUint32(p.buf, uint32(n)) }
	if n == 0 {
		put(0)
		put(0)
		put(int(elem))
		return nil
	}
	put(1)
	put(0)
	put(int(elem))
	put(n)
	put(1)
	for _, s := range v.ss {
		put(len(s))
		p.buf = append(p.buf, s...)
	}
	for _, i := range v.is {
		if elem == oidInt4 {
			put(4)
			put(int(int32(i)))
			continue
		}
		put(8)
		p.buf = binary.BigEndian.AppendUint64(p.buf, uint64(i))
	}
	return nil
}

// pgRows is a whole result: the values of all rows one after the other, and where each begins. It is read before anybody
// looks at it, so that the connection is free for the next statement.
type pgRows struct {
	fields []uint32
	buf    []byte
	ends   []int32 // by row and column: the end in buf; below 0 for NULL, then ^end
	row    int     // the current one is row-1
	owner  *pgConn // takes the room back
}

// keepRows is the most that a connection keeps for its next result.
const keepRows = 256 << 10

// rows gives room for a result.
func (c *pgConn) rows(fields []uint32) *pgRows {
	r := c.spare
	if r == nil {
		r = &pgRows{owner: c}
	}
	c.spare = nil // a result inside the walk over this one gets its own
	r.fields, r.buf, r.ends, r.row = fields, r.buf[:0], r.ends[:0], 0
	return r
}

func (r *pgRows) close() error {
	if cap(r.buf) <= keepRows {
		r.owner.spare = r
	}
	return nil
}

func (r *pgRows) add(values [][]byte) {
	for _, v := range values {
		r.buf = append(r.buf, v...)
		end := int32(len(r.buf))
		if v == nil {
			end = ^end
		}
		r.ends = append(r.ends, end)
	}
}

func (r *pgRows) columns() int { return len(r.fields) }

func (r *pgRows) next() (bool, error) {
	r.row++
	return r.row*len(r.fields) <= len(r.ends) && len(r.ends) > 0, nil
}

func (r *pgRows) cell(i int) []byte {
	at := (r.row-1)*len(r.fields) + i
	start := int32(0)
	if at > 0 {
		if start = r.ends[at-1]; start < 0 {
			start = ^start
		}
	}
	return r.buf[start:r.ends[at]]
}

func (r *pgRows) isNull(i int) bool { return r.ends[(r.row-1)*len(r.fields)+i] < 0 }

func (r *pgRows) bytes(i int) ([]byte, error) {
	switch r.fields[i] {
	case oidText, oidVar, oidBytea, oidName:
		return r.cell(i), nil
	}
	return nil, errNoBytes
}

func (r *pgRows) int(i int) (int64, error) {
	b := r.cell(i)
	switch r.fields[i] {
	case oidInt8:
		return int64(binary.BigEndian.Uint64(b)), nil
	case oidInt4:
		return int64(int32(binary.BigEndian.Uint32(b))), nil
	case oidInt2:
		return int64(int16(binary.BigEndian.Uint16(b))), nil
	case oidBool:
		return int64(b[0]), nil
	case oidText, oidVar, oidBytea, oidName:
		return 0, errNoInteger
	case oidFloat8:
		f := math.Float64frombits(binary.BigEndian.Uint64(b))
		if f != math.Trunc(f) || math.Abs(f) >= 1<<53 {
			return 0, errNoInteger
		}
		return int64(f), nil
	}
	n, err := strconv.ParseInt(string(b), 10, 64) // the numeric that SUM gives
	if err != nil {
		return 0, errNoInteger
	}
	return n, nil
}

func (r *pgRows) float(i int) (float64, error) {
	if r.fields[i] == oidFloat8 {
		return math.Float64frombits(binary.BigEndian.Uint64(r.cell(i))), nil
	}
	if n, err := r.int(i); err == nil {
		return float64(n), nil
	}
	if formatOf(r.fields[i]) == 0 {
		if f, err := strconv.ParseFloat(string(r.cell(i)), 64); err == nil {
			return f, nil
		}
	}
	return 0, errNoNumber
}
