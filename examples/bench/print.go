//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
)

// printer prints results as they come: a line of a table each, or an object.
type printer struct {
	json           bool
	stdout, stderr io.Writer
	head           bool // the head of the table was printed
}

func newPrinter(json bool, stdout, stderr io.Writer) *printer {
	return &printer{json: json, stdout: stdout, stderr: stderr}
}

// progress says what is measured.
func (p *printer) progress(i, of int, id string) {
	fmt.Fprintf(p.stderr, "\r\x1b[K[%d/%d] %s ", i, of, id)
}

// line is one result in JSON.
type line struct {
	ID        string     `json:"id"`
	Ours      float64    `json:"ours,omitempty"`
	Peer      float64    `json:"peer,omitempty"`
	PeerName  string     `json:"peer_name"`
	Unit      unit       `json:"unit"`
	Ratio     float64    `json:"ratio,omitempty"` // of the time that has passed
	Quartiles [2]float64 `json:"quartiles"`
	CPURatio  float64    `json:"cpu_ratio,omitempty"`
	CPU       [2]float64 `json:"cpu_quartiles"`
	Rounds    int        `json:"rounds"`
	Goal      float64    `json:"goal"`
	Met       bool       `json:"met"`
	LeftOut   string     `json:"left_out,omitempty"` // why it was not measured
	Error     string     `json:"error,omitempty"`
}

func (p *printer) print(r result) {
	fmt.Fprint(p.stderr, "\r\x1b[K")
	if p.json {
		l := line{
			ID: r.row.id, Ours: r.ours, Peer: r.peer, PeerName: r.row.peer, Unit: r.row.unit, Ratio: r.wall.median,
			Quartiles: [2]float64{r.wall.low, r.wall.high}, CPURatio: r.cpu.median, CPU: [2]float64{r.cpu.low, r.cpu.high},
			Rounds: r.rounds, Goal: r.row.goal, Met: r.rounds > 0 && r.met(), LeftOut: r.left,
		}
		if r.err != nil {
			l.Error = r.err.Error()
		}
		_ = json.NewEncoder(p.stdout).Encode(l) // of numbers and texts
		return
	}
	if !p.head {
		fmt.Fprintf(p.stdout, "%-20s %10s %10s %-5s %7s %-16s %7s %6s\n", "", "ours", "peer", "", "ratio", "quartiles", "CPU", "goal")
		p.head = true
	}
	switch {
	case r.err != nil:
		fmt.Fprintf(p.stdout, "%-20s failed: %v\n", r.row.id, r.err)
	case r.left != "":
		fmt.Fprintf(p.stdout, "%-20s left out: %s\n", r.row.id, r.left)
	default:
		verdict := "met"
		if !r.met() {
			verdict = "missed"
		}
		fmt.Fprintf(p.stdout, "%-20s %10s %10s %-5s %7s %-16v %7s %6s %-6s %s\n", r.row.id, digits(r.ours), digits(r.peer), r.row.unit,
			digits(r.wall.median), r.wall, digits(r.cpu.median), digits(r.row.goal), verdict, r.row.peer)
	}
}

func (p *printer) end() { fmt.Fprint(p.stderr, "\r\x1b[K") }

// digits prints a number with three digits, or all before the point.
func digits(x float64) string {
	if x == 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		return strconv.FormatFloat(x, 'g', 3, 64)
	}
	before := int(math.Floor(math.Log10(math.Abs(x)))) + 1
	return strconv.FormatFloat(x, 'f', max(0, min(3, 3-before)), 64)
}
