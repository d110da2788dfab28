package report

import "fmt"

// Page is many claims, each with its verdict and, if there is one, the report of its experiment.
type Page struct {
	Title string `json:"title"`
	Intro string `json:"intro,omitempty"` // a sentence below it: kernel, backend, sizes
	Said  string `json:"said,omitempty"`  // whose numbers Row.Said has: "article"; empty: "said"
	Rows  []Row  `json:"rows,omitempty"`
}

// Row is a claim that an experiment put to the kernel.
type Row struct {
	ID      string `json:"id"`
	Claim   string `json:"claim"`
	Verdict string `json:"verdict"` // "confirmed", "changed", "refined", "refuted", "unsupported"; others are shown in grey
	// Said is what the author of the claim saw, Got what was measured here: pairs have the same name.
	Said  []Field `json:"said,omitempty"`
	Got   []Field `json:"got,omitempty"`
	Quote string  `json:"quote,omitempty"` // in the author's own words
	Why   string  `json:"why,omitempty"`
	Error string  `json:"error,omitempty"` // what kept the row from an answer
	// Reports are those of the experiments behind the row, folded away below it; usually none or one.
	Reports []Data `json:"reports,omitempty"`
	// Runs are experiments of which only the path is drawn, with the rules that it led through: in one fold, which is closed
	// where the claim is confirmed.
	Runs []Data `json:"runs,omitempty"`
}

// Field is something measured, under its name.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// pair is a field of a Row as said and as measured.
type pair struct {
	Name, Said, Got string
	Differ          bool // both are there, and not the same
}

// pairs returns what was said and measured side by side, in the order of what was measured.
func (r Row) pairs() []pair {
	said := map[string]string{}
	for _, f := range r.Said {
		said[f.Name] = f.Value
	}
	var out []pair
	for _, f := range r.Got {
		s, ok := said[f.Name]
		delete(said, f.Name)
		out = append(out, pair{f.Name, s, f.Value, ok && s != f.Value})
	}
	for _, f := range r.Said {
		if _, ok := said[f.Name]; ok {
			out = append(out, pair{Name: f.Name, Said: f.Value})
		}
	}
	return out
}

// Walk is what the runs of a row are folded under: "Where the packets went: 10 came in, 3 lost; 7 of the host's own; 7 lost on
// the way out".
func (r rowView) Walk() string {
	var arrived, lost, own, ownLost uint64
	for _, v := range r.Runs {
		busy, _ := v.Data.Path.lanes()
		for _, l := range busy {
			switch l.hook {
			case "prerouting":
				arrived += l.first()
			case "output":
				own += l.first()
			}
			if l.hook == "output" || l.hook == "postrouting" {
				ownLost += lossTotal(l)
			} else {
				lost += lossTotal(l)
			}
		}
	}
	s := fmt.Sprintf("Where the packets went: %s came in, %s lost", thousands(arrived), thousands(lost))
	if own > 0 {
		s += fmt.Sprintf("; %s of the host's own", thousands(own))
	}
	if ownLost > 0 {
		s += fmt.Sprintf("; %s lost on the way out", thousands(ownLost))
	}
	if n := len(r.Runs); n > 1 {
		s += fmt.Sprintf(" (%d pictures)", n)
	}
	return s
}

// share is how many rows have a verdict.
type share struct {
	Verdict string
	N       int
}

// noAnswer is the verdict of a row that has an Error.
const noAnswer = "no answer"

// word returns the verdict that is shown.
func (r Row) word() string {
	if r.Error != "" || r.Verdict == "" {
		return noAnswer
	}
	return r.Verdict
}

// shares counts the verdicts, the known ones first and in their order.
func (p Page) shares() []share {
	count := map[string]int{}
	order := []string{"confirmed", "changed", "refined", "refuted", "unsupported", noAnswer}
	for _, r := range p.Rows {
		if count[r.word()]++; count[r.word()] == 1 {
			order = append(order, r.word())
		}
	}
	var out []share
	for _, v := range order {
		if n := count[v]; n > 0 {
			out = append(out, share{v, n})
			delete(count, v)
		}
	}
	return out
}
