package main

import (
	"encoding/json"
	"io"
	"os"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// outside is what was begun before the program entered a user namespace of its own, and what is not possible from
// there: the kernel's log, and children that play a role. It goes to the entered process as open files.
type outside struct {
	names  []string
	opened map[string]*os.File
	lacks  map[string]string // why one could not be had
}

// The names of what is prepared.
const (
	logFile      = "kmsg"
	roleOrdinary = "unprivileged" // an ordinary user asks the row of this name
	roleXDP      = "xdp"          // the host's root asks for XDP
	roleLimits   = "limit-edges"  // the host's root changes the limit of a virtual machine
)

// The environment variables: of the entered process, what was handed to it; of a child, what its role is.
const (
	handedVariable = "CTEXP_TALES_HANDED"
	roleVariable   = "CTEXP_TALES_ROLE"
)

// handed is the value of handedVariable: the names of the files in their order.
type handed struct {
	Names []string          `json:"names"`
	Lacks map[string]string `json:"lacks"`
}

func (o *outside) files() []*os.File {
	var files []*os.File
	for _, name := range o.names {
		files = append(files, o.opened[name])
	}
	return files
}

func (o *outside) add(name string, f *os.File) {
	o.names = append(o.names, name)
	o.opened[name] = f
}

// lack returns why something was not prepared, as far as it is known.
func (o *outside) lack(name, need, hint string) error {
	err := &nf.UnsupportedError{Need: need, Hint: hint}
	if why := o.lacks[name]; why != "" {
		err.Err = &plainError{why}
	}
	return err
}

// plainError is the text of an error that another process had.
type plainError struct{ text string }

func (e *plainError) Error() string { return e.text }

// report is what a child writes to its standard output: what it measured, or what it lacks, or what went wrong.
type report struct {
	Got   fields `json:"got"`
	Need  string `json:"need,omitempty"`
	Hint  string `json:"hint,omitempty"`
	Error string `json:"error,omitempty"`
}

// hear waits for the report of the child that plays a role. ok is false if there is no such child.
func (b *bench) hear(role string) (r report, ok bool) {
	f := b.before.opened[role]
	if f == nil {
		return r, false
	}
	type heard struct {
		text []byte
		err  error
	}
	done := make(chan heard, 1)
	go func() {
		text, err := io.ReadAll(f)
		done <- heard{text, err}
	}()
	select {
	case <-b.ctx.Done():
		b.must(b.ctx.Err())
	case h := <-done:
		b.must(h.err)
		if len(h.text) == 0 {
			b.must(&plainError{"the child that plays " + role + " said nothing"})
		}
		b.must(json.Unmarshal(h.text, &r))
	}
	return r, true
}

// err is what the report says of its failure: nil, an nf.UnsupportedError or something else.
func (r report) err() error {
	switch {
	case r.Need != "":
		err := &nf.UnsupportedError{Need: r.Need, Hint: r.Hint}
		if r.Error != "" {
			err.Err = &plainError{r.Error}
		}
		return err
	case r.Error != "":
		return &plainError{r.Error}
	}
	return nil
}
