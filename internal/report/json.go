package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/ctexp/go-ctexp/internal/plain"
)

// WriteJSON writes d as result.json, indented and with a final newline. It fails only if w does. Lists are encoded item by
// item, so that it takes no memory for a long one.
func (d Data) WriteJSON(w io.Writer) error {
	d.Version = Version
	j := jsonWriter{w: bufio.NewWriter(w)}
	j.encode = json.NewEncoder(&j.item)
	j.encode.SetEscapeHTML(false) // laws contain ≤, tuples →
	separator := "{"
	v := reflect.ValueOf(d)
	for i := range v.NumField() {
		name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		field := v.Field(i)
		isList := field.Kind() == reflect.Slice
		isZero := field.IsZero()
		if z, ok := field.Interface().(interface{ IsZero() bool }); ok {
			isZero = z.IsZero()
		}
		if options != "" && (isZero || isList && field.Len() == 0) { // omitempty or omitzero
			continue
		}
		j.text(fmt.Sprintf("%s\n  %q: ", separator, name))
		if separator = ","; isList {
			j.list(field)
		} else {
			j.value(field, "  ")
		}
	}
	j.text("\n}\n")
	if j.err == nil {
		j.err = j.w.Flush()
	}
	if j.err != nil {
		return fmt.Errorf("write result.json: %w", j.err)
	}
	return nil
}

// jsonWriter writes the parts of a JSON text until one fails.
type jsonWriter struct {
	w      *bufio.Writer
	item   bytes.Buffer
	encode *json.Encoder // to item
	err    error
}

func (j *jsonWriter) text(s string) {
	if j.err == nil {
		_, j.err = j.w.WriteString(s)
	}
}

// value writes a value whose further lines begin with a prefix.
func (j *jsonWriter) value(v reflect.Value, prefix string) {
	if j.err != nil {
		return
	}
	j.item.Reset()
	j.encode.SetIndent(prefix, "  ")
	if j.err = j.encode.Encode(v.Interface()); j.err == nil {
		_, j.err = j.w.Write(plain.JSON(bytes.TrimSuffix(j.item.Bytes(), []byte("\n"))))
	}
}

func (j *jsonWriter) list(v reflect.Value) {
	separator := "["
	for i := range v.Len() {
		j.text(separator + "\n    ")
		j.value(v.Index(i), "    ")
		separator = ","
	}
	j.text("\n  ]")
}
