//go:build !linux

package main

// releaseImage does nothing where it is not known how.
func releaseImage() {}
