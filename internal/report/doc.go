// Package report writes what happened in an experiment: as a self-contained HTML page, with the same content as
// result.json, and as text files.
//
// Data is the content of one experiment, plain and versioned; it does not depend on how it was measured.
// Data.WriteHTML draws it with the failure first, then the losses, and WriteFiles writes all files into a folder. Page draws many
// claims, each with its verdict.
//
// The page needs no script, no network and no second file. It fits phones and paper, in light and dark. All strings
// in Data are shown as text: markup in the name of a test, a rule or a link has no effect.
package report
