package cases

import (
	"bytes"
	"encoding/json"

	"github.com/ctexp/go-ctexp/internal/plain"
)

// document is a Result as JSON.
type document struct {
	Suite  string    `json:"suite"`
	Cases  int       `json:"cases"`
	Failed int       `json:"failed"`
	All    []gotJSON `json:"results"`
}

type gotJSON struct {
	File    string     `json:"file"`
	Line    int        `json:"line"`
	Case    string     `json:"case"`
	Want    string     `json:"want,omitempty"`
	Verdict string     `json:"verdict"`
	Differs string     `json:"differs,omitempty"`
	Hooks   []string   `json:"hooks"`
	Class   string     `json:"class,omitempty"`
	Rules   []ruleJSON `json:"rules,omitempty"`
	Reasons []string   `json:"reasons,omitempty"`
	Cause   string     `json:"cause,omitempty"`
	Out     []sentJSON `json:"out,omitempty"`
	Entry   string     `json:"entry,omitempty"`
}

type ruleJSON struct {
	Family  string `json:"family"`
	Table   string `json:"table"`
	Chain   string `json:"chain"`
	Kind    string `json:"kind"` // "rule", "return" or "policy"
	Rule    string `json:"rule,omitempty"`
	Verdict string `json:"verdict"`
}

type sentJSON struct {
	Link   string `json:"link"`
	Packet string `json:"packet"`
	Passed bool   `json:"passed"` // it is the packet that came in; else the host has created it
}

// JSON returns the result as an indented JSON object for other programs. Its "results" are in the order of the file. The fields
// "rules", "class", "reasons" and "entry" are those of cases that are explained.
func (r Result) JSON() ([]byte, error) {
	d := document{Suite: r.Suite, Failed: len(r.Failures()), All: []gotJSON{}}
	for _, g := range r.All() {
		d.Cases++
		j := gotJSON{
			File: r.Suite, Line: g.Case.Line, Case: g.Case.Text, Want: g.Case.Want.Text,
			Verdict: g.Outcome.Verdict().String(), Differs: g.Differs, Hooks: []string{}, Entry: g.Outcome.Entry,
		}
		for _, h := range g.Outcome.Hooks {
			j.Hooks = append(j.Hooks, h.String())
		}
		if class := g.Outcome.Fate.Frame.Class; class != 0 {
			j.Class = class.String()
		}
		for _, s := range g.Outcome.Fate.Steps {
			j.Rules = append(j.Rules, ruleJSON{s.Family, s.Table, s.Chain, string(s.Kind), s.Rule, s.Verdict})
		}
		for _, reason := range g.Outcome.Fate.Reasons {
			j.Reasons = append(j.Reasons, reason.Text)
		}
		if g.Outcome.Verdict() != 0 {
			text, packet := ending(g.Outcome)
			j.Cause = text + packet
		}
		for _, s := range g.Outcome.Out {
			j.Out = append(j.Out, sentJSON{s.Link, s.Packet.String(), s.Passed})
		}
		d.All = append(d.All, j)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false) // packets have a ">"
	e.SetIndent("", "  ")
	err := e.Encode(d)
	return plain.JSON(bytes.TrimSpace(out.Bytes())), err
}
