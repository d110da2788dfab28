// Package report shows what happened in an experiment: one self-contained page to look at, the same content as
// result.json to compute with, and the text files beside them.
//
// Data is the content, plain and versioned; it knows nothing of how it was measured. Data.WriteHTML draws it, with the
// loss first; Page draws many claims at once, each with its verdict. WriteFiles writes everything into a folder.
//
// The page needs no script, no network and no second file; it fits a telephone and a sheet of paper, by day and by
// night. Whatever stands in Data is text: markup in the name of a test, a rule or a link is shown, never obeyed.
package report
