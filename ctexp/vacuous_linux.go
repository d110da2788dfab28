package ctexp

import (
	"context"
	"fmt"

	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// ruleset reads the user's rules.
func (l *Lab) ruleset(ctx context.Context) (s ruleset.Ruleset, err error) {
	var conn *nfnl.Conn
	err = l.Env.Do(func() (err error) {
		conn, err = nfnl.Dial()
		return err
	})
	if err == nil {
		defer conn.Close()
		s, err = ruleset.Read(ctx, l.Env, conn)
	}
	if err != nil {
		return s, fmt.Errorf("rules: %w", err)
	}
	return s, nil
}

// places returns the user's rules by where they are reached.
func (l *Lab) places(ctx context.Context) ([]ruleset.Place, error) {
	s, err := l.ruleset(ctx)
	return s.Places(), err
}

// isQueued returns an error if no rule sends packets to the queue of that number.
func (l *Lab) isQueued(ctx context.Context, number uint16) error {
	if l.Observer.VacuousAllowed() {
		return nil
	}
	s, err := l.ruleset(ctx)
	if err == nil && !s.Queues(number) {
		err = fmt.Errorf("there is nothing, but no rule sends packets to queue %d; if that is meant, call x.AllowVacuous", number)
	}
	return err
}
