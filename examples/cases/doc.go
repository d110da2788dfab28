// Package cases has a firewall of three zones, and its test as a file of cases: firewall.nft and firewall.cases. The same runs
// without Go: ctexp try -cases firewall.cases.
package cases
