// Package user has tests of package sample.
package user
