//go:build !mlsdev

package main

// devCommands has a body in development builds only.
func devCommands() []*command { return nil }
