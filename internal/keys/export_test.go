package keys

// Ready returns how many keys are ready.
func (p *Pool) Ready() int { return len(p.ready) }
