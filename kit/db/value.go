package db

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// kind is what a value is on both engines.
type kind uint8

const (
	null kind = iota
	integer
	float
	textual
	blob
	texts    // []string, or a slice of such a kind
	integers // []int64, or a slice of such a kind
)

// value is an argument in one of the few forms that both engines take alike. A struct and not an any, so that nothing is
// allocated on the way.
type value struct {
	kind kind
	i    int64
	f    float64
	s    string
	b    []byte
	ss   []string
	is   []int64
}

// valueOf brings an argument into its form. Named types count as what they are made of: an id.RoomID is a TEXT.
func valueOf(arg any) (value, error) {
	switch a := arg.(type) {
	case nil:
		return value{}, nil
	case string:
		return value{kind: textual, s: a}, nil
	case int64:
		return value{kind: integer, i: a}, nil
	case int:
		return value{kind: integer, i: int64(a)}, nil
	case bool:
		return boolValue(a), nil
	case []byte:
		if a == nil {
			return value{}, nil
		}
		return value{kind: blob, b: a}, nil
	case []string:
		return value{kind: texts, ss: a}, nil
	case []int64:
		return value{kind: integers, is: a}, nil
	}
	return reflectValue(reflect.ValueOf(arg))
}

func boolValue(b bool) value {
	if b {
		return value{kind: integer, i: 1}
	}
	return value{kind: integer}
}

func reflectValue(v reflect.Value) (value, error) {
	switch v.Kind() {
	case reflect.String:
		return value{kind: textual, s: v.String()}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return value{kind: integer, i: v.Int()}, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if v.Uint() > 1<<63-1 {
			return value{}, fmt.Errorf("%d is more than a BIGINT holds", v.Uint())
		}
		return value{kind: integer, i: int64(v.Uint())}, nil
	case reflect.Float32, reflect.Float64:
		return value{kind: float, f: v.Float()}, nil
	case reflect.Bool:
		return boolValue(v.Bool()), nil
	case reflect.Pointer:
		if v.IsNil() {
			return value{}, nil
		}
		return valueOf(v.Elem().Interface())
	case reflect.Slice:
		return sliceValue(v)
	case reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 { // a hash
			b := make([]byte, v.Len())
			reflect.Copy(reflect.ValueOf(b), v)
			return value{kind: blob, b: b}, nil
		}
	}
	return value{}, fmt.Errorf("%s is no argument", v.Type())
}

func sliceValue(v reflect.Value) (value, error) {
	switch v.Type().Elem().Kind() {
	case reflect.Uint8:
		if v.IsNil() {
			return value{}, nil
		}
		return value{kind: blob, b: v.Bytes()}, nil
	case reflect.String:
		ss := make([]string, v.Len())
		for i := range ss {
			ss[i] = v.Index(i).String()
		}
		return value{kind: texts, ss: ss}, nil
	case reflect.Int, reflect.Int32, reflect.Int64:
		is := make([]int64, v.Len())
		for i := range is {
			is[i] = v.Index(i).Int()
		}
		return value{kind: integers, is: is}, nil
	}
	return value{}, fmt.Errorf("%s is no argument", v.Type())
}

// isList says whether the value belongs into an in($n).
func (v *value) isList() bool { return v.kind == texts || v.kind == integers }

// jsonList is the list as json_each takes it.
func (v *value) jsonList() (value, error) {
	var list any = v.ss
	if v.kind == integers {
		list = v.is
	}
	if len(v.ss)+len(v.is) == 0 {
		return value{kind: textual, s: "[]"}, nil // not null
	}
	raw, err := json.Marshal(list)
	return value{kind: textual, s: string(raw)}, err
}

// column reads the current row of a result. Bytes are borrowed until the next row.
type column interface {
	isNull(i int) bool
	int(i int) (int64, error)
	float(i int) (float64, error)
	bytes(i int) ([]byte, error)
}

// assign copies column i into dest. NULL is an error for what cannot be nil: a query says COALESCE or reads into a **T.
func assign(c column, i int, dest any) error {
	switch d := dest.(type) {
	case *[]byte:
		*d = nil
		if c.isNull(i) {
			return nil
		}
		b, err := c.bytes(i)
		*d = append(make([]byte, 0, len(b)), b...)
		return err
	case *int64:
		return assignInt(c, i, d)
	case *string:
		if c.isNull(i) {
			return errNull
		}
		b, err := c.bytes(i)
		*d = string(b)
		return err
	case *bool:
		var n int64
		err := assignInt(c, i, &n)
		*d = n != 0
		return err
	case *int:
		var n int64
		err := assignInt(c, i, &n)
		*d = int(n)
		return err
	}
	v := reflect.ValueOf(dest)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return fmt.Errorf("%T is no destination", dest)
	}
	return reflectAssign(c, i, v.Elem())
}

func assignInt(c column, i int, d *int64) error {
	if c.isNull(i) {
		return errNull
	}
	n, err := c.int(i)
	*d = n
	return err
}

func reflectAssign(c column, i int, v reflect.Value) error {
	if v.Kind() == reflect.Pointer {
		if c.isNull(i) {
			v.SetZero()
			return nil
		}
		v.Set(reflect.New(v.Type().Elem()))
		return assign(c, i, v.Interface())
	}
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
		var b []byte
		err := assign(c, i, &b)
		v.SetBytes(b)
		return err
	}
	if c.isNull(i) {
		return errNull
	}
	switch v.Kind() {
	case reflect.String:
		b, err := c.bytes(i)
		v.SetString(string(b))
		return err
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := c.int(i)
		if err == nil && v.OverflowInt(n) {
			return fmt.Errorf("%d is more than %s holds", n, v.Type())
		}
		v.SetInt(n)
		return err
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := c.int(i)
		if err == nil && (n < 0 || v.OverflowUint(uint64(n))) {
			return fmt.Errorf("%s does not hold %d", v.Type(), n)
		}
		v.SetUint(uint64(n))
		return err
	case reflect.Bool:
		n, err := c.int(i)
		v.SetBool(n != 0)
		return err
	case reflect.Float32, reflect.Float64:
		f, err := c.float(i)
		v.SetFloat(f)
		return err
	case reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			b, err := c.bytes(i)
			if err == nil && len(b) != v.Len() {
				return fmt.Errorf("%d bytes for %s", len(b), v.Type())
			}
			reflect.Copy(v, reflect.ValueOf(b))
			return err
		}
	}
	return fmt.Errorf("*%s is no destination", v.Type())
}
