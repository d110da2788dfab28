// Package faulttest makes what experiments need of the system fail, and tests that nothing of them is left then.
package faulttest
