//go:build !linux

package ctexp

import (
	"context"

	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// rulesetTexts lists nothing.
func (l *Lab) rulesetTexts(context.Context, []observe.Rule) ([]rulesetText, []error) { return nil, nil }
