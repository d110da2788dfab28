// Package firewall is how the author of a firewall tests the rules that he generates: they are loaded as they are, every
// case is a packet and its fate, and the cases share nothing.
package firewall
