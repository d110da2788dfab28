package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// fields are what was measured or seen, in the order in which one reads them. In JSON they are one flat object.
type fields []field

type field struct {
	name  string
	value any // int, bool, string or []int
}

// get returns a field's value, nil if there is none.
func (f fields) get(name string) any {
	for _, x := range f {
		if x.name == name {
			return x.value
		}
	}
	return nil
}

// number returns a field that is a number, 0 if there is none.
func (f fields) number(name string) int {
	n, _ := f.get(name).(int)
	return n
}

// String prints the fields as text: "captured 10, raw 10, mangle 7". The space between a name and its value is one at
// which lines do not break.
func (f fields) String() string {
	var s []string
	for _, x := range f {
		s = append(s, x.name+noBreak+show(x.value))
	}
	return strings.Join(s, ", ")
}

const noBreak = "\u00a0"

func show(v any) string {
	if n, ok := v.([]int); ok {
		return strings.ReplaceAll(strings.Trim(fmt.Sprint(n), "[]"), " ", "/")
	}
	return fmt.Sprint(v)
}

// MarshalJSON writes an object whose members have the order of the fields.
func (f fields) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	sep := byte('{')
	for _, x := range f {
		name, err := json.Marshal(x.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(x.value)
		if err != nil {
			return nil, err
		}
		b.WriteByte(sep)
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
		sep = ','
	}
	if len(f) == 0 {
		b.WriteByte(sep)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON reads what MarshalJSON wrote, the order included.
func (f *fields) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if _, err := d.Token(); err != nil { // the brace
		return err
	}
	*f = nil
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		value, err := scalar(raw)
		if err != nil {
			return err
		}
		*f = append(*f, field{fmt.Sprint(name), value})
	}
	return nil
}

// scalar reads one of the types that a field's value may have.
func scalar(raw json.RawMessage) (any, error) {
	var n int
	if json.Unmarshal(raw, &n) == nil {
		return n, nil
	}
	var list []int
	if json.Unmarshal(raw, &list) == nil {
		return list, nil
	}
	var other any
	err := json.Unmarshal(raw, &other)
	return other, err
}
