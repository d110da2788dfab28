package observe

import (
	"errors"
	"io/fs"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// collected counts the entries that left the table unasked, by those DESTROY events that nobody has asked for.
type collected struct {
	count   uint64
	pending []nf.Entry // of fate replacedOr
	table   *nfnl.Conn
}

// maxPending bounds what waits to be settled.
const maxPending = 1024

// add judges a DESTROY event.
func (c *collected) add(msg []byte) error {
	body, at := nfnl.EventBody(msg)
	end, err := nfnl.DecodeEnd(body, at)
	if err != nil || end.Zone == ours.FillerZone {
		return err
	}
	switch fateOf(end) {
	case unasked:
		c.count++
	case replacedOr:
		gone, err := nfnl.DecodeEntry(body, at)
		if err != nil {
			return err
		}
		c.pending = append(c.pending, gone)
		if len(c.pending) > maxPending {
			return c.settle()
		}
	}
	return nil
}

// settle decides about entries of which the event alone does not tell. It is for when the packets are through: the
// entry that replaces another is in the table only when its packet was confirmed, a while after the event.
func (c *collected) settle() error {
	for _, gone := range c.pending {
		replaced, err := c.replaced(gone)
		if err != nil {
			return err
		}
		if !replaced {
			c.count++
		}
	}
	c.pending = c.pending[:0]
	return nil
}

// replaced reports whether another entry has one of the tuples of the one that is gone.
func (c *collected) replaced(gone nf.Entry) (bool, error) {
	for dir, tuple := range map[nf.Direction]nf.Tuple{nf.Original: gone.Orig, nf.Reply: gone.Reply} {
		_, err := c.table.Get(tuple, gone.ZoneOf(dir))
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return false, nil
}
