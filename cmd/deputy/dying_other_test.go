//go:build !linux

package main_test

import "syscall"

// dieWithUs is left to the tests' own cleanup here.
var dieWithUs *syscall.SysProcAttr
