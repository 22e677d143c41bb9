// Package instruments tests what operators look at: each panel of the dashboard and each rule, on a
// real Prometheus that scrapes a real server. The tests need the tag instruments (make
// instruments).
package instruments
