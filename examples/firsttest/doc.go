// Package firsttest has the first test of the README.
package firsttest
