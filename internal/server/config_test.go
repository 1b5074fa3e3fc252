package server_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"deputy/internal/server"
)

var update = flag.Bool("update", false, "write golden files anew")

func TestEverySettingIsWhole(t *testing.T) {
	flags, variables, fields := map[string]bool{}, map[string]bool{}, map[any]bool{}
	var c server.Config
	for _, s := range server.Settings {
		name := s.Flag + "/" + s.Env
		if !strings.HasPrefix(s.Env, "DEPUTY_") || s.Help == "" || strings.HasSuffix(s.Help, ".") {
			t.Errorf("%s: its variable is %q, its help %q", name, s.Env, s.Help)
		}
		if derived := "DEPUTY_" + strings.ToUpper(strings.ReplaceAll(s.Flag, "-", "_")); s.Flag != "" && s.Env != derived {
			t.Errorf("%s: the variable of such a flag is %s", name, derived)
		}
		var field any
		switch {
		case (s.Text == nil) == (s.Switch == nil):
			t.Errorf("%s must be either text or a switch", name)
			continue
		case s.Text != nil:
			field = s.Text(&c)
		default:
			field = s.Switch(&c)
		}
		if fields[field] || variables[s.Env] || s.Flag != "" && flags[s.Flag] {
			t.Errorf("%s: its field, variable or flag is another's too", name)
		}
		fields[field], variables[s.Env], flags[s.Flag] = true, true, true
	}
}

// apply returns what the settings are when the flags of given were used, with
// the values that c has, and the environment is env.
func apply(c server.Config, given string, env map[string]string) (server.Config, error) {
	err := c.Apply(func(flag string) bool { return flag == given }, func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	})
	return c, err
}

func TestFlagsWinOverTheEnvironmentOverDefaults(t *testing.T) {
	for _, s := range server.Settings {
		if s.Text == nil {
			continue
		}
		c, err := apply(server.Config{}, "", nil)
		if got := *s.Text(&c); err != nil || got != s.Default {
			t.Errorf("%s by default: %q, %v", s.Env, got, err)
		}
		env := map[string]string{s.Env: "environment"}
		c, err = apply(server.Config{}, "", env)
		if got := *s.Text(&c); err != nil || got != "environment" {
			t.Errorf("%s from the environment: %q, %v", s.Env, got, err)
		}
		if s.Flag == "" {
			continue
		}
		c = server.Config{}
		*s.Text(&c) = "flag"
		c, err = apply(c, s.Flag, env)
		if got := *s.Text(&c); err != nil || got != "flag" {
			t.Errorf("--%s beside the environment: %q, %v", s.Flag, got, err)
		}
	}
	for value, want := range map[string]bool{"true": true, "1": true, "false": false, "0": false} {
		if c, err := apply(server.Config{}, "", map[string]string{"DEPUTY_DEV": value}); err != nil || c.Dev != want {
			t.Errorf("DEPUTY_DEV=%s: %t, %v", value, c.Dev, err)
		}
	}
	if c, err := apply(server.Config{Dev: false}, "dev", map[string]string{"DEPUTY_DEV": "true"}); err != nil || c.Dev {
		t.Errorf("--dev=false beside DEPUTY_DEV=true: %t, %v", c.Dev, err)
	}
	if _, err := apply(server.Config{}, "", map[string]string{"DEPUTY_DEV": "perhaps"}); err == nil || !strings.Contains(err.Error(), "DEPUTY_DEV") {
		t.Errorf("DEPUTY_DEV=perhaps: %v", err)
	}
}

// A half-set security setting is a refusal to start, never a skipped check.
func TestSettingsThatContradictEachOther(t *testing.T) {
	secret := strings.Repeat("s", 32)
	for name, c := range map[string]struct {
		env  map[string]string
		says string // empty: accepted
	}{
		"nothing set":               {nil, ""},
		"any port":                  {map[string]string{"DEPUTY_LISTEN": ":0"}, ""},
		"a name":                    {map[string]string{"DEPUTY_LISTEN": "localhost:8080"}, ""},
		"no port":                   {map[string]string{"DEPUTY_LISTEN": "127.0.0.1"}, "HOST:PORT"},
		"IPv4 wildcard":             {map[string]string{"DEPUTY_LISTEN": "0.0.0.0:8080"}, "--public-url"},
		"IPv6 wildcard":             {map[string]string{"DEPUTY_LISTEN": "[::]:8080"}, "--public-url"},
		"long IPv6 wildcard":        {map[string]string{"DEPUTY_LISTEN": "[0:0:0:0:0:0:0:0]:8080"}, "--public-url"},
		"no host":                   {map[string]string{"DEPUTY_LISTEN": ":8080"}, "--public-url"},
		"wildcard, public URL":      {map[string]string{"DEPUTY_LISTEN": "0.0.0.0:8080", "DEPUTY_PUBLIC_URL": "https://id.example.com"}, ""},
		"PostgreSQL, no root key":   {map[string]string{"DEPUTY_DATABASE_URL": "postgres://x"}, "--root-key-file"},
		"PostgreSQL and a root key": {map[string]string{"DEPUTY_DATABASE_URL": "postgres://x", "DEPUTY_ROOT_KEY_FILE": "key"}, ""},
		"an archive of PostgreSQL":  {map[string]string{"DEPUTY_DATABASE_URL": "postgres://x", "DEPUTY_ROOT_KEY_FILE": "key", "DEPUTY_ARCHIVE_FOLDER": "a"}, "archive_command"},
		"an archive of an hour":     {map[string]string{"DEPUTY_ARCHIVE_RETENTION": "1h"}, "--archive-retention"},
		"events as CSV":             {map[string]string{"DEPUTY_EVENTS_FORMAT": "csv"}, "jsonl or parquet"},
		"events never":              {map[string]string{"DEPUTY_EVENTS_INTERVAL": "never"}, "--events-interval"},
		"a bucket without a key":    {map[string]string{"DEPUTY_EVENTS_S3": "s3://bucket?region=r"}, "DEPUTY_EVENTS_S3_ACCESS_KEY_ID"},
		"no bucket":                 {map[string]string{"DEPUTY_EVENTS_S3": "https://bucket"}, "--events-s3"},
		"syslog over UDP":           {map[string]string{"DEPUTY_EVENTS_SYSLOG": "udp://x:514"}, "--events-syslog"},
		"an unsigned webhook":       {map[string]string{"DEPUTY_EVENTS_WEBHOOK": "https://x"}, "or neither"},
		"a webhook of no URL":       {map[string]string{"DEPUTY_EVENTS_WEBHOOK_SECRET": secret}, "or neither"},
		"a webhook's short secret":  {map[string]string{"DEPUTY_EVENTS_WEBHOOK": "https://x", "DEPUTY_EVENTS_WEBHOOK_SECRET": "short"}, "32 characters"},
		"a webhook in the open":     {map[string]string{"DEPUTY_EVENTS_WEBHOOK": "http://x", "DEPUTY_EVENTS_WEBHOOK_SECRET": secret}, "https"},
		"a client id alone":         {map[string]string{"DEPUTY_BOOTSTRAP_CLIENT_ID": "x"}, "or neither"},
		"a secret alone":            {map[string]string{"DEPUTY_BOOTSTRAP_CLIENT_SECRET": secret}, "or neither"},
		"a short secret":            {map[string]string{"DEPUTY_BOOTSTRAP_CLIENT_ID": "x", "DEPUTY_BOOTSTRAP_CLIENT_SECRET": secret[1:]}, "32 characters"},
		"a pair":                    {map[string]string{"DEPUTY_BOOTSTRAP_CLIENT_ID": "x", "DEPUTY_BOOTSTRAP_CLIENT_SECRET": secret}, ""},
		"migrations at times":       {map[string]string{"DEPUTY_MIGRATE": "sometimes"}, "--migrate"},
		"tokens again at times":     {map[string]string{"DEPUTY_REPEAT_TOKENS": "sometimes"}, "--repeat-tokens"},
		"tokens never again":        {map[string]string{"DEPUTY_REPEAT_TOKENS": "0s"}, "--repeat-tokens"},
		"tokens again":              {map[string]string{"DEPUTY_REPEAT_TOKENS": "5m"}, ""},
		"another log format":        {map[string]string{"DEPUTY_LOG_FORMAT": "xml"}, "--log-format"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := apply(server.Config{}, "", c.env)
			if err != nil {
				t.Fatal(err)
			}
			err = cfg.Check()
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want it to say %q", err, c.says)
			}
			if err != nil && strings.Contains(err.Error(), secret[1:]) {
				t.Errorf("the refusal tells the secret: %v", err)
			}
		})
	}
}

// docs/settings.md is written from the settings: run with -update.
func TestTheSettingsPage(t *testing.T) {
	var page strings.Builder
	page.WriteString("# Settings\n\n" +
		"Each setting is a flag of `deputy serve` and an environment variable; the flag wins. The server works with none of them set.\n\n" +
		"The commands that work on the database or the data folder themselves (`migrate`, `organization create`, `keys`, `backup`, `restore`, `doctor`) take the same ones.\n\n" +
		"| Flag | Variable | Default | Meaning |\n|---|---|---|---|\n")
	for _, s := range server.Settings {
		name, value := "", ""
		if s.Flag != "" {
			name = "`--" + s.Flag + "`"
		}
		if s.Default != "" {
			value = "`" + s.Default + "`"
		} else if s.Switch != nil {
			value = "off"
		}
		fmt.Fprintf(&page, "| %s | `%s` | %s | %s |\n", name, s.Env, value, s.Help)
	}
	page.WriteString("\nSettings that contradict each other, or a security setting that is half set, are a refusal to start.\n\n" +
		"A setting without a flag is secret, and process lists show flags.\n")
	golden := filepath.Join("..", "..", "docs", "settings.md")
	if *update {
		if err := os.WriteFile(golden, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if written, err := os.ReadFile(golden); err != nil || string(written) != page.String() {
		t.Errorf("docs/settings.md is not what the settings say: run the test with -update (%v)", err)
	}
}
