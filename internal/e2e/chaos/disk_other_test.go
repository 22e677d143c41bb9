//go:build !linux

package chaos_test

import "errors"

func mountDisk(string) error { return errors.ErrUnsupported }

func unmountDisk(string) error { return nil }
