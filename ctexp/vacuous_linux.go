package ctexp

import (
	"context"
	"fmt"

	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// places returns the user's rules by where they are reached.
func (l *Lab) places(ctx context.Context) ([]ruleset.Place, error) {
	var conn *nfnl.Conn
	err := l.Env.Do(func() (err error) {
		conn, err = nfnl.Dial()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	defer conn.Close()
	s, err := ruleset.Read(ctx, l.Env, conn)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	return s.Places(), nil
}
