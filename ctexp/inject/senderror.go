package inject

import "fmt"

// SendError is what became of a packet or frame that could not be sent. What was before it in its sequence was sent.
type SendError struct {
	What   string // "packet" or "frame"
	Number int    // in its sequence, counted from 1
	Link   string // name of the link
	Err    error
}

// Error returns "send packet 3 to tun0: …".
func (e *SendError) Error() string {
	return fmt.Sprintf("send %s %d to %s: %v", e.What, e.Number, e.Link, e.Err)
}

// Unwrap returns why.
func (e *SendError) Unwrap() error { return e.Err }
