package deputytest

import (
	"os"
	"testing"
)

// Times returns how often, or how large, a test does what it repeats: everyday,
// for whoever waits for it, in a run with -short too; ci where the environment
// variable CI is set, which is as often as promised; and soak where DEPUTY_SOAK
// is, as scripts/soak has it.
func Times(everyday, ci, soak int) int {
	switch {
	case os.Getenv("DEPUTY_SOAK") != "":
		return soak
	case os.Getenv("CI") != "" && !testing.Short():
		return ci
	}
	return everyday
}
