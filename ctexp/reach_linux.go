package ctexp

import (
	"context"
	"fmt"

	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// withRules calls f with the user's rules and the connection by which they were read.
func (l *Lab) withRules(ctx context.Context, f func(ruleset.Ruleset, ruleset.Conn) error) error {
	var conn *nfnl.Conn
	err := l.Env.Do(func() (err error) {
		conn, err = nfnl.Dial()
		return err
	})
	if err == nil {
		defer conn.Close()
		var s ruleset.Ruleset
		if s, err = ruleset.Read(ctx, l.Env, conn); err == nil {
			return f(s, conn)
		}
	}
	return fmt.Errorf("rules: %w", err)
}

// places returns the user's rules by where they are reached.
func (l *Lab) places(ctx context.Context) (all []ruleset.Place, err error) {
	err = l.withRules(ctx, func(s ruleset.Ruleset, conn ruleset.Conn) error {
		all, err = s.Places(ctx, l.Env, conn)
		return err
	})
	return all, err
}

// isQueued returns an error if no rule sends packets to the queue of that number.
func (l *Lab) isQueued(ctx context.Context, number uint16) error {
	if l.Observer.VacuousAllowed() {
		return nil
	}
	return l.withRules(ctx, func(s ruleset.Ruleset, _ ruleset.Conn) error {
		if !s.Queues(number) {
			return fmt.Errorf("there is nothing, but no rule sends packets to queue %d; if that is meant, call x.AllowVacuous", number)
		}
		return nil
	})
}
