package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// paceCollector lets the garbage collector run about once a second under load,
// instead of whenever the heap has grown by a share of what is live. Little is
// live here, and a token leaves several kilobytes behind: by the usual rule the
// collector would run all the time, and each run delays everything that is under
// way by some milliseconds. Between requests memory stays as small as by the
// rule. An operator's GOGC is left alone, and GOMEMLIMIT holds in any case.
func paceCollector() {
	if os.Getenv("GOGC") != "" {
		return
	}
	debug.SetGCPercent(leastGrowth)
	p := &pace{percent: leastGrowth, room: roomPerProcessor * uint64(runtime.GOMAXPROCS(0)), at: time.Now()}
	afterCollection(p.next)
}

const (
	// leastGrowth is by how many percent of what is live the heap may always
	// grow.
	leastGrowth = 60
	// mostGrowth keeps the heap from growing far beyond its room when much more
	// is live than at the last collection: while the cache fills.
	mostGrowth = 200
	// roomPerProcessor is up to how many bytes of garbage may lie about, because
	// each processor adds as much to the rate at which it is made.
	roomPerProcessor = 10 << 20
	// between is how far apart collections are to be, if the room suffices.
	between = time.Second
)

// pace is the state of pacing as of the last collection.
type pace struct {
	percent int
	room    uint64
	at      time.Time
	made    uint64 // bytes, since the start
}

// afterCollection calls do after the coming collection: then an object is
// cleaned up that nothing refers to.
func afterCollection(do func()) {
	type object struct{ _ *object } // with a pointer, so that it shares no memory
	runtime.AddCleanup(new(object), func(do func()) { do() }, do)
}

// next sets how far the heap may grow from here, and so on.
func (p *pace) next() {
	defer afterCollection(p.next)
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	live, made, now := samples[0].Value.Uint64(), samples[1].Value.Uint64(), time.Now()
	percent := growth(live, made-p.made, now.Sub(p.at), p.room)
	p.made, p.at = made, now
	// Setting it stops the program for a moment, so small steps are left out.
	if percent < p.percent*9/10 || percent > p.percent*11/10 {
		debug.SetGCPercent(percent)
		p.percent = percent
	}
}

// growth returns by how many percent of live the heap is to grow until the next
// collection, when made bytes were allocated in the time since the last one.
func growth(live, made uint64, since time.Duration, room uint64) int {
	if live == 0 || since <= 0 {
		return leastGrowth
	}
	wanted := min(float64(made)/since.Seconds()*between.Seconds(), float64(room))
	return max(leastGrowth, min(mostGrowth, int(100*wanted/float64(live))))
}
