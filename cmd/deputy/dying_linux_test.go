package main_test

import "syscall"

// dieWithUs ends a server when the tests end without having stopped it.
var dieWithUs = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
