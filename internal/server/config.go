package server

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Config is what an operator can set. The zero value of a field means the
// default of its Setting.
type Config struct {
	Listen         string
	PublicURL      string
	ZoneDomain     string
	DataDir        string
	DatabaseURL    string
	RootKeyFile    string
	SMTPURL        string
	OutgoingAllow  string
	TrustedProxies string
	RateLimit      string
	StrictAudience bool
	// RepeatTokens is a duration as text; empty: none.
	RepeatTokens  string
	Dev           bool
	MetricsListen string
	// Where traces go: see trace.go.
	OTLPEndpoint, OTLPSample, OTLPHeaders string
	// EvaluationRetention is a duration as text.
	EvaluationRetention string
	AWSKMS              bool
	// ArchiveFolder and ArchiveRetention are where and for how long what brings
	// a SQLite database back to any moment is kept; the second is a duration.
	ArchiveFolder, ArchiveRetention string
	// Where events are streamed to: see sink.go.
	EventsFolder, EventsS3, EventsSyslog, EventsWebhook string
	EventsWebhookSecret                                 string
	EventsFormat, EventsInterval                        string
	EventsPersonal                                      bool
	AWSAccessKeyID, AWSSecretAccessKey, AWSSessionToken string
	LogFormat                                           string
	LogLevel                                            string
	Migrate                                             string
	// Version is the program's, for the API's document.
	Version string
	// Now is the clock; nil means the system's.
	Now func() time.Time
	// The pair of the first service account, for infrastructure as code; both or
	// neither.
	BootstrapClientID, BootstrapClientSecret string
}

// Setting is one setting of the program: a flag, its environment variable, its
// default and what it means. The flags, the environment and docs/settings.md
// all come from this list.
type Setting struct {
	Flag, Env, Default, Help string
	// Text points at the field that holds a text setting, Switch at one that is
	// on or off; one of them is set. A setting without Flag is read from the
	// environment only, because process lists show flags.
	Text   func(*Config) *string
	Switch func(*Config) *bool
}

// Settings lists every setting.
var Settings = []Setting{
	{Flag: "listen", Env: "DEPUTY_LISTEN", Default: "127.0.0.1:8080", Help: "address to listen on; :0 picks a port",
		Text: func(c *Config) *string { return &c.Listen }},
	{Flag: "public-url", Env: "DEPUTY_PUBLIC_URL", Help: "base of every issuer and link, without a trailing slash (default: the listen address)",
		Text: func(c *Config) *string { return &c.PublicURL }},
	{Flag: "zone-domain", Env: "DEPUTY_ZONE_DOMAIN", Help: "serve zones at {zone_id}.DOMAIN too, and give new zones such issuers",
		Text: func(c *Config) *string { return &c.ZoneDomain }},
	{Flag: "data-dir", Env: "DEPUTY_DATA_DIR", Default: "./deputy-data", Help: "SQLite file, root key, bootstrap.json and mail outbox; created 0700",
		Text: func(c *Config) *string { return &c.DataDir }},
	{Flag: "database-url", Env: "DEPUTY_DATABASE_URL", Help: "postgres://… for several nodes on one database (default: SQLite in the data folder)",
		Text: func(c *Config) *string { return &c.DatabaseURL }},
	{Flag: "root-key-file", Env: "DEPUTY_ROOT_KEY_FILE", Help: "root key, 64 hex digits, readable by its owner only (default: root.key in the data folder, made with an empty database)",
		Text: func(c *Config) *string { return &c.RootKeyFile }},
	{Flag: "smtp-url", Env: "DEPUTY_SMTP_URL", Help: "smtp://USER:PASSWORD@HOST:PORT?from=ADDRESS or smtps://…, the relay that takes mails (default: files in the outbox of the data folder)",
		Text: func(c *Config) *string { return &c.SMTPURL }},
	{Flag: "outgoing-allow", Env: "DEPUTY_OUTGOING_ALLOW", Help: "CIDR[:ports],… that tenants' URLs may reach beside the public internet",
		Text: func(c *Config) *string { return &c.OutgoingAllow }},
	{Flag: "trusted-proxies", Env: "DEPUTY_TRUSTED_PROXIES", Help: "CIDR,… whose X-Forwarded-For is believed, for limits and events",
		Text: func(c *Config) *string { return &c.TrustedProxies }},
	{Flag: "rate-limit", Env: "DEPUTY_RATE_LIMIT", Help: "requests a second that a node answers each principal of the management API and each client of a token endpoint (default: no limit)",
		Text: func(c *Config) *string { return &c.RateLimit }},
	{Flag: "strict-audience", Env: "DEPUTY_STRICT_AUDIENCE", Help: "refuse client assertions that are addressed to the client itself, as one official SDK writes them",
		Switch: func(c *Config) *bool { return &c.StrictAudience }},
	{Flag: "repeat-tokens", Env: "DEPUTY_REPEAT_TOKENS", Help: "how long a client that asks for the same token gets the same one, for half of its life at most; each request is decided and recorded all the same (default: each gets a token of its own)",
		Text: func(c *Config) *string { return &c.RepeatTokens }},
	{Flag: "dev", Env: "DEPUTY_DEV", Help: "let outgoing requests reach private addresses and plain http; not for production",
		Switch: func(c *Config) *bool { return &c.Dev }},
	{Flag: "metrics-listen", Env: "DEPUTY_METRICS_LISTEN", Help: "address for /metrics and /debug/pprof (default: off)",
		Text: func(c *Config) *string { return &c.MetricsListen }},
	{Flag: "otlp-endpoint", Env: "DEPUTY_OTLP_ENDPOINT", Help: "URL of an OpenTelemetry collector that traces and the log are posted to, below it at /v1/traces and /v1/logs (default: off)",
		Text: func(c *Config) *string { return &c.OTLPEndpoint }},
	{Flag: "otlp-sample", Env: "DEPUTY_OTLP_SAMPLE", Default: "0.01", Help: "share of requests and background tasks that are traced, above 0 and up to 1",
		Text: func(c *Config) *string { return &c.OTLPSample }},
	{Env: "DEPUTY_OTLP_HEADERS", Help: "NAME=VALUE,… that is sent to the collector, such as an API key; values are percent-encoded",
		Text: func(c *Config) *string { return &c.OTLPHeaders }},
	{Flag: "evaluation-retention", Env: "DEPUTY_EVALUATION_RETENTION", Default: "720h", Help: "how long decisions of policy can be listed and replayed, at least 1h; the log keeps that they were made",
		Text: func(c *Config) *string { return &c.EvaluationRetention }},
	{Flag: "aws-kms", Env: "DEPUTY_AWS_KMS", Help: "let zones have an encryption_key of AWS KMS, which is used with the credentials of AWS's environment variables, a container's or an instance's",
		Switch: func(c *Config) *bool { return &c.AWSKMS }},
	{Flag: "archive-folder", Env: "DEPUTY_ARCHIVE_FOLDER", Help: "folder, on another disk, that gets what brings the SQLite database back to any moment (default: off)",
		Text: func(c *Config) *string { return &c.ArchiveFolder }},
	{Flag: "archive-retention", Env: "DEPUTY_ARCHIVE_RETENTION", Default: "168h", Help: "how far back that goes, at least 24h",
		Text: func(c *Config) *string { return &c.ArchiveRetention }},
	{Flag: "events-folder", Env: "DEPUTY_EVENTS_FOLDER", Help: "folder that the log is streamed to, as files of OCSF events (default: off)",
		Text: func(c *Config) *string { return &c.EventsFolder }},
	{Flag: "events-s3", Env: "DEPUTY_EVENTS_S3", Help: "s3://BUCKET/PREFIX?region=REGION&endpoint=URL that the log is streamed to, as objects; without an endpoint it is Amazon's (default: off)",
		Text: func(c *Config) *string { return &c.EventsS3 }},
	{Flag: "events-format", Env: "DEPUTY_EVENTS_FORMAT", Default: "jsonl", Help: "jsonl or parquet, of those files and objects",
		Text: func(c *Config) *string { return &c.EventsFormat }},
	{Flag: "events-interval", Env: "DEPUTY_EVENTS_INTERVAL", Default: "1m", Help: "how long events are gathered for a file or object, unless there are many",
		Text: func(c *Config) *string { return &c.EventsInterval }},
	{Flag: "events-syslog", Env: "DEPUTY_EVENTS_SYSLOG", Help: "tls://HOST:6514 or tcp://HOST:601, the collector that the log is streamed to (default: off)",
		Text: func(c *Config) *string { return &c.EventsSyslog }},
	{Flag: "events-webhook", Env: "DEPUTY_EVENTS_WEBHOOK", Help: "https URL that the log is posted to, signed with the secret (default: off)",
		Text: func(c *Config) *string { return &c.EventsWebhook }},
	{Env: "DEPUTY_EVENTS_WEBHOOK_SECRET", Help: "what the webhook is signed with, at least 32 characters",
		Text: func(c *Config) *string { return &c.EventsWebhookSecret }},
	{Flag: "events-personal", Env: "DEPUTY_EVENTS_PERSONAL", Help: "stream what events know of people too: addresses, programs, identifiers; whoever receives it must forget them too",
		Switch: func(c *Config) *bool { return &c.EventsPersonal }},
	{Env: "DEPUTY_EVENTS_S3_ACCESS_KEY_ID", Help: "access key of the object store",
		Text: func(c *Config) *string { return &c.AWSAccessKeyID }},
	{Env: "DEPUTY_EVENTS_S3_SECRET_ACCESS_KEY", Help: "its secret",
		Text: func(c *Config) *string { return &c.AWSSecretAccessKey }},
	{Env: "DEPUTY_EVENTS_S3_SESSION_TOKEN", Help: "its token, for temporary keys",
		Text: func(c *Config) *string { return &c.AWSSessionToken }},
	{Flag: "log-format", Env: "DEPUTY_LOG_FORMAT", Default: "text", Help: "text or json, on stderr",
		Text: func(c *Config) *string { return &c.LogFormat }},
	{Flag: "log-level", Env: "DEPUTY_LOG_LEVEL", Default: "info", Help: "debug, info, warn or error",
		Text: func(c *Config) *string { return &c.LogLevel }},
	{Flag: "migrate", Env: "DEPUTY_MIGRATE", Default: "auto", Help: "auto applies database migrations at start, off refuses to start without them",
		Text: func(c *Config) *string { return &c.Migrate }},
	{Env: "DEPUTY_BOOTSTRAP_CLIENT_ID", Help: "client id of the first service account, for infrastructure as code",
		Text: func(c *Config) *string { return &c.BootstrapClientID }},
	{Env: "DEPUTY_BOOTSTRAP_CLIENT_SECRET", Help: "its secret, at least 32 characters",
		Text: func(c *Config) *string { return &c.BootstrapClientSecret }},
}

// Apply fills c from lookup, which gives the value of a setting's environment
// variable, wherever given does not report that its flag was used; then from
// the defaults.
func (c *Config) Apply(given func(flag string) bool, lookup func(env string) (string, bool)) error {
	for _, s := range Settings {
		if s.Flag != "" && given(s.Flag) {
			continue
		}
		value, ok := lookup(s.Env)
		switch {
		case s.Switch != nil && ok:
			on, err := strconv.ParseBool(value)
			if err != nil {
				return fmt.Errorf("%s must be true or false", s.Env)
			}
			*s.Switch(c) = on
		case s.Text != nil && ok:
			*s.Text(c) = value
		case s.Text != nil && *s.Text(c) == "":
			*s.Text(c) = s.Default
		}
	}
	return nil
}

// check refuses settings that contradict each other: a half-set security
// setting is a refusal to start, never a skipped check.
func (c *Config) check() error {
	if c.Listen == ":0" { // any port, for trying things out: not a wildcard
		c.Listen = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("--listen %q is not HOST:PORT", c.Listen)
	}
	wildcard := host == ""
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		wildcard = true
	}
	if wildcard && c.PublicURL == "" {
		return fmt.Errorf("--listen %s answers on every address, so --public-url must say which one issuers and links carry", c.Listen)
	}
	if c.DatabaseURL != "" && c.RootKeyFile == "" {
		return fmt.Errorf("--database-url needs --root-key-file: every node must have the same root key; make one with: openssl rand -hex 32")
	}
	if (c.BootstrapClientID == "") != (c.BootstrapClientSecret == "") {
		return fmt.Errorf("set both DEPUTY_BOOTSTRAP_CLIENT_ID and DEPUTY_BOOTSTRAP_CLIENT_SECRET, or neither")
	}
	if c.BootstrapClientSecret != "" && len(c.BootstrapClientSecret) < 32 {
		return fmt.Errorf("DEPUTY_BOOTSTRAP_CLIENT_SECRET must have at least 32 characters")
	}
	if c.Migrate != "auto" && c.Migrate != "off" {
		return fmt.Errorf("--migrate must be auto or off")
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		return fmt.Errorf("--log-format must be text or json")
	}
	if err := c.checkEvents(); err != nil {
		return err
	}
	if c.ArchiveFolder != "" && c.DatabaseURL != "" {
		return fmt.Errorf("--archive-folder is for SQLite: PostgreSQL archives its own log, with archive_mode and archive_command")
	}
	if c.archiveRetention() < 24*time.Hour {
		return fmt.Errorf("--archive-retention must be a duration of at least 24h, such as 168h")
	}
	if err := c.checkCollector(); err != nil {
		return err
	}
	if c.retention() < time.Hour {
		return fmt.Errorf("--evaluation-retention must be a duration of at least 1h, such as 720h")
	}
	if c.RepeatTokens != "" && c.repeatTokens() <= 0 {
		return fmt.Errorf("--repeat-tokens must be a duration, such as 5m")
	}
	return nil
}

// repeatTokens returns for how long tokens are handed out again; 0 when that is
// no duration.
func (c *Config) repeatTokens() time.Duration {
	d, _ := time.ParseDuration(c.RepeatTokens)
	return d
}

// retention returns how long decisions of policy are kept; 0 when that is no
// duration.
func (c *Config) retention() time.Duration {
	d, _ := time.ParseDuration(cmp.Or(c.EvaluationRetention, "720h"))
	return d
}

// archiveRetention returns for how long the archive is kept; 0 when that is no
// duration.
func (c *Config) archiveRetention() time.Duration {
	d, _ := time.ParseDuration(cmp.Or(c.ArchiveRetention, "168h"))
	return d
}

// now returns the time.
func (c *Config) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// baseURL returns the public URL as far as the settings tell it.
func (c *Config) baseURL() string {
	if c.PublicURL != "" {
		return c.PublicURL
	}
	return "http://" + c.Listen
}

// rootKeyFile returns where the root key is kept.
func (c *Config) rootKeyFile() string {
	if c.RootKeyFile != "" {
		return c.RootKeyFile
	}
	return filepath.Join(c.DataDir, "root.key")
}

// parsePrefixes reads "CIDR,…"; a bare address stands for itself alone.
func parsePrefixes(list string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		if p, err := netip.ParsePrefix(item); err == nil {
			out = append(out, p.Masked())
		} else if a, err := netip.ParseAddr(item); err == nil {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		} else {
			return nil, fmt.Errorf("%q is neither an address nor a CIDR", item)
		}
	}
	return out, nil
}
