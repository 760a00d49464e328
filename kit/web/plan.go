package web

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// plan is what Bind does for one type, found out once.
type plan struct {
	path, query []field
	required    []field
	raw         *field  // takes the whole body
	json        bool    // some field is of the body
	others      [][]int // fields that are not: encoding/json would fill them by their Go names
}

// field is where a value goes.
type field struct {
	name    string
	index   []int
	element func(at reflect.Value, s string) error // of a slice: appends
	scalar  func(at reflect.Value, s string) error
}

func (f *field) set(v reflect.Value, s string) error {
	at := v.FieldByIndex(f.index)
	if f.element != nil {
		return f.element(at, s)
	}
	return f.scalar(at, s)
}

// plans caches by type. It only ever grows by what follows from the types of the program.
var plans sync.Map // reflect.Type → *plan or error

func planOf(t reflect.Type) (*plan, error) {
	if known, ok := plans.Load(t); ok {
		if p, ok := known.(*plan); ok {
			return p, nil
		}
		return nil, known.(error)
	}
	p := &plan{}
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("kit/web: %s is no struct", t)
	}
	if err := p.compile(t, nil); err != nil {
		err = fmt.Errorf("kit/web: %s: %w", t, err)
		plans.Store(t, err)
		return nil, err
	}
	if !p.json {
		p.others = nil
	}
	if len(p.query) > 64 {
		return nil, fmt.Errorf("kit/web: %s has more than 64 query fields", t)
	}
	plans.Store(t, p)
	return p, nil
}

func (p *plan) compile(t reflect.Type, above []int) error {
	for i := range t.NumField() {
		sf := t.Field(i)
		index := append(above[:len(above):len(above)], i)
		_, isJSON := sf.Tag.Lookup("json")
		if sf.Anonymous && sf.Type.Kind() == reflect.Struct && !isJSON {
			if err := p.compile(sf.Type, index); err != nil {
				return err
			}
			continue
		}
		if !sf.IsExported() {
			continue
		}
		if err := p.field(sf, index); err != nil {
			return fmt.Errorf("%s: %w", sf.Name, err)
		}
	}
	return nil
}

func (p *plan) field(sf reflect.StructField, index []int) error {
	f := field{index: index}
	jsonTag, isJSON := sf.Tag.Lookup("json")
	switch {
	case sf.Tag.Get("path") != "":
		f.name = sf.Tag.Get("path")
		if err := f.compile(sf.Type); err != nil {
			return err
		}
		p.path = append(p.path, f)
		p.others = append(p.others, index)
	case sf.Tag.Get("query") != "":
		f.name = sf.Tag.Get("query")
		if err := f.compile(sf.Type); err != nil {
			return err
		}
		p.query = append(p.query, f)
		p.others = append(p.others, index)
	case sf.Tag.Get("body") == "raw":
		if sf.Type.Kind() != reflect.Slice || sf.Type.Elem().Kind() != reflect.Uint8 {
			return fmt.Errorf("the raw body needs a json.RawMessage")
		}
		p.raw = &f
		p.others = append(p.others, index)
	case isJSON && jsonTag != "-":
		f.name, _, _ = strings.Cut(jsonTag, ",")
		p.json = true
	default:
		p.others = append(p.others, index)
		return nil
	}
	if sf.Tag.Get("bind") == "required" {
		p.required = append(p.required, f)
	}
	return nil
}

// compile finds how a text becomes a value of t.
func (f *field) compile(t reflect.Type) error {
	if t.Kind() == reflect.Slice && !reflect.PointerTo(t).Implements(textUnmarshaler) {
		set, err := scalarOf(t.Elem())
		if err != nil {
			return err
		}
		f.element = func(at reflect.Value, s string) error {
			one := reflect.New(t.Elem()).Elem()
			if err := set(one, s); err != nil {
				return err
			}
			at.Set(reflect.Append(at, one))
			return nil
		}
		return nil
	}
	var err error
	f.scalar, err = scalarOf(t)
	return err
}

func scalarOf(t reflect.Type) (func(at reflect.Value, s string) error, error) {
	if reflect.PointerTo(t).Implements(textUnmarshaler) {
		return func(at reflect.Value, s string) error {
			if s == "" {
				return nil // not given; whoever needs it says required
			}
			return at.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s))
		}, nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		set, err := scalarOf(t.Elem())
		return func(at reflect.Value, s string) error {
			one := reflect.New(t.Elem())
			if err := set(one.Elem(), s); err != nil {
				return err
			}
			at.Set(one)
			return nil
		}, err
	case reflect.String:
		return func(at reflect.Value, s string) error { at.SetString(s); return nil }, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return setInt, nil
	case reflect.Bool:
		return setBool, nil
	}
	return nil, fmt.Errorf("no text becomes a %s", t)
}

func setInt(at reflect.Value, s string) error {
	if s == "" {
		return nil
	}
	n, err := strconv.ParseInt(s, 10, at.Type().Bits())
	if err != nil {
		return err
	}
	at.SetInt(n)
	return nil
}

func setBool(at reflect.Value, s string) error {
	switch s {
	case "true":
		at.SetBool(true)
	case "false", "":
		at.SetBool(false)
	default:
		return fmt.Errorf("%q is neither true nor false", s)
	}
	return nil
}
