// Package guides has the files and the code of the guides in docs, so that they are compiled and run.
package guides
