package deputy

import "time"

// SinkHead is a log that goes on behind what was delivered of it elsewhere.
type SinkHead struct {
	Organization OrganizationID
	Delivered    int64     // the sequence number of the last event that was
	Last         int64     // of the log
	Since        time.Time // when the first event that was not delivered was committed
}
