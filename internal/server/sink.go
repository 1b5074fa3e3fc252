package server

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/sink"
)

const (
	// fileEvents bounds what a file or object holds, messageEvents what goes into
	// one request or write.
	fileEvents    = 5000
	messageEvents = 500
)

// checkEvents refuses settings of event sinks that cannot work.
func (c *Config) checkEvents() error {
	if _, err := sink.FormatNamed(cmp.Or(c.EventsFormat, "jsonl")); err != nil {
		return fmt.Errorf("--events-format %w", err)
	}
	if d, err := time.ParseDuration(cmp.Or(c.EventsInterval, "1m")); err != nil || d < 0 {
		return fmt.Errorf("--events-interval must be a duration, such as 1m")
	}
	if c.EventsS3 != "" {
		if _, err := sink.ParseS3(c.EventsS3); err != nil {
			return fmt.Errorf("--events-s3 %w", err)
		}
		if c.AWSAccessKeyID == "" || c.AWSSecretAccessKey == "" {
			return fmt.Errorf("--events-s3 needs DEPUTY_EVENTS_S3_ACCESS_KEY_ID and DEPUTY_EVENTS_S3_SECRET_ACCESS_KEY")
		}
	}
	if c.EventsSyslog != "" {
		if _, err := sink.ParseSyslog(c.EventsSyslog); err != nil {
			return fmt.Errorf("--events-syslog %w", err)
		}
	}
	if (c.EventsWebhook == "") != (c.EventsWebhookSecret == "") {
		return fmt.Errorf("set both --events-webhook and DEPUTY_EVENTS_WEBHOOK_SECRET, or neither")
	}
	if c.EventsWebhook != "" {
		if len(c.EventsWebhookSecret) < 32 {
			return fmt.Errorf("DEPUTY_EVENTS_WEBHOOK_SECRET must have at least 32 characters")
		}
		u, err := url.Parse(c.EventsWebhook)
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && !(c.Dev && u.Scheme == "http") {
			return fmt.Errorf("--events-webhook must be an https URL")
		}
	}
	return nil
}

// newSinks returns a worker for each destination of the settings, which have
// been checked.
func (s *Server) newSinks() (workers []*sink.Worker, err error) {
	c := s.cfg
	format, err := sink.FormatNamed(cmp.Or(c.EventsFormat, "jsonl"))
	if err != nil {
		return nil, err
	}
	interval, err := time.ParseDuration(cmp.Or(c.EventsInterval, "1m"))
	if err != nil {
		return nil, err
	}
	// A cursor belongs to a destination: another one begins with the first event.
	add := func(kind, where string, to sink.Destination, most int, hold time.Duration) {
		digest := sha256.Sum256([]byte(where))
		w := &sink.Worker{
			Name: kind + ":" + hex.EncodeToString(digest[:4]), To: to, Log: s.store, Now: c.now, Most: most, Hold: hold,
			Version: c.Version, Logger: s.log, Ended: s.meters.delivered(kind),
		}
		if c.EventsPersonal {
			w.Sealing = s.sealing
		}
		workers = append(workers, w)
	}
	if c.EventsFolder != "" {
		where, err := filepath.Abs(c.EventsFolder)
		if err != nil {
			return nil, err
		}
		add("folder", where+format.Extension, &sink.Folder{Dir: where, Format: format}, fileEvents, interval)
	}
	if c.EventsS3 != "" {
		to, err := sink.ParseS3(c.EventsS3)
		if err != nil {
			return nil, err
		}
		to.Format, to.Client, to.Now = format, s.fetcher.Operator(), time.Now // a signature is of the real time
		to.ID, to.Secret, to.Token = c.AWSAccessKeyID, deputy.Conceal(c.AWSSecretAccessKey), deputy.Conceal(c.AWSSessionToken)
		add("s3", c.EventsS3+format.Extension, to, fileEvents, interval)
	}
	if c.EventsSyslog != "" {
		to, err := sink.ParseSyslog(c.EventsSyslog)
		if err != nil {
			return nil, err
		}
		add("syslog", c.EventsSyslog, to, messageEvents, 0)
	}
	if c.EventsWebhook != "" {
		add("webhook", c.EventsWebhook, &sink.Webhook{
			URL: c.EventsWebhook, Secret: deputy.Conceal(c.EventsWebhookSecret), Client: s.fetcher.Operator(), Now: time.Now,
		}, messageEvents, 0)
	}
	return workers, nil
}

// startSinks starts what streams the log elsewhere.
func (s *Server) startSinks(ctx context.Context, running *sync.WaitGroup) {
	for _, w := range s.sinks {
		running.Go(func() { w.Run(ctx) })
	}
}
