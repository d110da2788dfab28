package main

import (
	"fmt"
	"io"
	"sync"
)

// statusLine is a line on a terminal that is written again and again. A nil statusLine shows nothing.
type statusLine struct {
	mu    sync.Mutex
	w     io.Writer
	shown bool
}

// show writes text over what is there; "" takes it away.
func (s *statusLine) show(text string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if text == "" && !s.shown {
		return
	}
	const most = 79 // a line that wraps could not be written over
	if r := []rune(text); len(r) > most {
		text = string(r[:most-1]) + "…"
	}
	fmt.Fprintf(s.w, "\r\x1b[K%s", text)
	s.shown = text != ""
}
