package main

import pages "github.com/ctexp/go-ctexp/internal/report"

// says is the name of the field with the words of the article.
const says = "says"

// row is one claim of the article and the experiment that puts it to the kernel.
type row struct {
	id string
	// claim and why may have {N}, {M} and {N-M} in them, which stand for the size of the experiment.
	claim   string
	article fields  // what the author saw: numbers under the names of the measured ones, and his words as "says"
	verdict verdict // what it is when the kernel does what is expected here
	why     string

	// full says that the experiment has a full table: such rows are asked one after the other.
	full bool
	// early is asked before any row overflows a table, and hands its result to ask.
	early func(*bench) fields
	ask   func(*bench) fields
	// expect returns what a kernel of today measures. More may be measured than is expected.
	expect func(question) expectations
}

// verdict is the word for what became of a claim.
type verdict string

const (
	confirmed   verdict = "confirmed"
	changed     verdict = "changed"
	refined     verdict = "refined"
	refuted     verdict = "refuted"
	unsupported verdict = "unsupported"
)

// verdicts are all of them in the order of the summary.
var verdicts = []verdict{confirmed, changed, refined, refuted, unsupported}

// rows returns all claims, in the order in which they are printed.
func rows() []row {
	var all []row
	for _, group := range [][]row{tableRows, ruleRows, modeRows, dropRows, errnoRows, floodRows, adviceRows, reverseRows, edgeRows} {
		all = append(all, group...)
	}
	return all
}

// result is the answer to a row, and a line of JSON.
type result struct {
	ID      string  `json:"id"`
	Claim   string  `json:"claim"`
	Article fields  `json:"article"`
	Got     fields  `json:"got"`
	Verdict verdict `json:"verdict,omitempty"`
	Why     string  `json:"why"`
	Kernel  string  `json:"kernel"`
	Backend backend `json:"backend"`
	// Error says what kept the row from an answer: a fault of this program, no finding about the kernel.
	Error string `json:"error,omitempty"`
	// Runs are its experiments, for the page to draw.
	Runs []pages.Data `json:"-"`
}
