//go:build !linux

package server

// releaseImage does nothing where it is not known how.
func releaseImage() {}
