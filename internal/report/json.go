package report

import (
	"encoding/json"
	"fmt"
	"io"
)

// WriteJSON writes d as result.json, indented, with a line feed at the end. It fails only if w does.
func (d Data) WriteJSON(w io.Writer) error {
	d.Version = Version
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // an arrow in a law is no markup
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		return fmt.Errorf("write result.json: %w", err)
	}
	return nil
}

// ReadJSON reads what WriteJSON wrote. A version other than Version is an error; fields that it does not know are not.
func ReadJSON(r io.Reader) (Data, error) {
	var d Data
	if err := json.NewDecoder(r).Decode(&d); err != nil {
		return Data{}, fmt.Errorf("read result.json: %w", err)
	}
	if d.Version != Version {
		return Data{}, fmt.Errorf("read result.json: it is of version %d, and version %d is known here", d.Version, Version)
	}
	return d, nil
}
