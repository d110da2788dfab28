// Package browser has only a test: it looks at the pages of package report in Chromium, as wide as a screen and as
// narrow as a telephone, by day and by night. It is a module of its own so that nobody else needs a browser.
package browser
