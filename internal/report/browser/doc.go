// Package browser only has a test. It checks the pages of package report in Chromium, at the width of a screen and of
// a phone, in light and dark mode. It is a separate module so that only this test needs a browser.
package browser
