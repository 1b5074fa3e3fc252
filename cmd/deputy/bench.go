package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"deputy/internal/bench"
	"deputy/internal/client"

	"github.com/spf13/cobra"
)

// benchmark is one call of `deputy bench`.
type benchmark struct {
	size        bench.Size
	remote      *remote
	connections int
	warmup      time.Duration
	duration    time.Duration
	turns       int
	floor       bool
	beside      string // a token endpoint instead of the floor
	asJSON      bool
	folder      string

	server *bench.Process // nil when --url names one
	manage *client.Client
	base   string
	zone   *bench.Zone
	people *bench.People  // once they have signed up
	peer   *bench.Process // the floor
	// peerSigns is the algorithm that the floor runs with, unsigned says that the
	// scenario signs nothing.
	peerSigns string
	unsigned  bool
}

// scenarios lists what can be measured, in the order of a run that names none.
var scenarios = []struct {
	name, help string
	run        func(*benchmark, context.Context) error
}{
	{"client-credentials", "tokens for applications as themselves, picked uniformly", (*benchmark).clientCredentials},
	{"exchange", "token exchange, each subject token seen for the first time", (*benchmark).exchange},
	{"exchange-remembered", "token exchange of subject tokens seen before", (*benchmark).exchangeRemembered},
	{"exchange-vaulted", "exchange-remembered for a secret in the vault; its floor signs nothing either", (*benchmark).exchangeVaulted},
	{"code-flow", "authorization code flows of people who are signed in, without a browser", (*benchmark).codeFlow},
	{"refresh", "refresh tokens, each replaced by its use", (*benchmark).refresh},
	{"introspection", "introspection of access tokens by the resource server", (*benchmark).introspection},
	{"exchange-beside-sign-ins", "exchange-remembered, alone and while people sign in with passwords as fast as they can", (*benchmark).exchangeBesideSignIns},
	{"exchange-brokered", "exchange-vaulted for fresh tokens of an outside provider, of people; in the same zone none can sign up afterwards", (*benchmark).exchangeBrokered},
	{"jwks", "the keys of the zone; its floor answers hello", (*benchmark).jwks},
	{"discovery", "the metadata of the zone; its floor answers hello", (*benchmark).discovery},
	{"list", "a page of 50 applications of the management API, newest first", (*benchmark).list},
	{"cold-start", "from the start of the process to the first 200 of /readyz, with an empty data folder and with the zone", (*benchmark).coldStart},
}

func newBench() *cobra.Command {
	b := &benchmark{}
	names := make([]string, len(scenarios))
	var long strings.Builder
	long.WriteString("Prepare a realistic zone and load a server: one of its own, on one processor with\nthe generator on another, or the one at --url. Scenarios:\n\n")
	for i, s := range scenarios {
		names[i] = s.name
		fmt.Fprintf(&long, "  %-24s %s\n", s.name, s.help)
	}
	long.WriteString("\nWith --floor each run is paired with one against the least server that could\nhonestly answer a token request, so that the ratio carries to other machines.")
	c := &cobra.Command{
		Use:     "bench [SCENARIO...]",
		Short:   "Measure a server under load",
		Long:    long.String(),
		Example: "  deputy bench client-credentials --algorithm ES256 --floor",
		Args:    cobra.OnlyValidArgs,
		RunE:    func(c *cobra.Command, args []string) error { return b.run(c.Context(), args) },
	}
	c.ValidArgs = names
	b.remote = remoteFlags(c)
	f := c.Flags()
	f.StringVar(&b.size.Algorithm, "algorithm", "ES256", "signs the zone's tokens: ES256 or RS256")
	f.IntVar(&b.size.Applications, "applications", bench.MaxClients, "applications in the zone; 10,000 of them take part in the load")
	f.IntVar(&b.size.Resources, "resources", 1000, "resources in the zone")
	f.IntVar(&b.size.Policies, "policies", 100, "policies in the active set, of which five apply")
	f.IntVar(&b.connections, "connections", 64, "connections")
	f.DurationVar(&b.duration, "duration", 5*time.Second, "measured time of one run")
	f.DurationVar(&b.warmup, "warmup", 2*time.Second, "load before the measured time")
	f.IntVar(&b.turns, "turns", 5, "runs of each scenario; with --floor, pairs of runs")
	f.BoolVar(&b.floor, "floor", false, "pair each run with one against the floor server")
	f.StringVar(&b.beside, "beside", "", "another token endpoint in the floor's place, which knows the client \"floor\" by the secret "+bench.FloorSecret)
	f.BoolVar(&b.asJSON, "json", false, "print one JSON object a run")
	f.StringVar(&b.folder, "folder", "", "where the server of its own keeps its data (default: the system's temporary folder)")
	return c
}

func (b *benchmark) run(ctx context.Context, names []string) error {
	if b.size.Algorithm != "ES256" && b.size.Algorithm != "RS256" {
		return &usageError{fmt.Errorf("--algorithm must be ES256 or RS256")}
	}
	folder, err := os.MkdirTemp(b.folder, "deputy-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	b.folder = folder
	defer b.stop()
	for _, s := range scenarios {
		if len(names) > 0 && !slices.Contains(names, s.name) {
			continue
		}
		if err := s.run(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// prepare starts the server and the floor and makes the zone, once.
func (b *benchmark) prepare(ctx context.Context) error {
	if b.zone != nil {
		return nil
	}
	file := b.remote.bootstrap()
	if b.remote.url == "" {
		if err := b.startServer(ctx); err != nil {
			return err
		}
		file = filepath.Join(b.folder, "data", "bootstrap.json")
	}
	account, err := b.remote.account(file)
	if err != nil {
		return err
	}
	b.manage, b.base = account.Open(), account.BaseURL
	fmt.Fprintf(os.Stderr, "preparing a zone with %d resources, %d applications and %d policies\n", b.size.Resources, b.size.Applications, b.size.Policies)
	b.zone, err = bench.Prepare(ctx, b.manage.Do, b.size)
	return err
}

// startServer runs this program's own `serve`, on processor 0, and moves the
// generator to processor 1, where the machine has two.
func (b *benchmark) startServer(ctx context.Context) (err error) {
	if b.server, err = b.serve(ctx, filepath.Join(b.folder, "data")); err != nil {
		return err
	}
	if bench.CanPin() && runtime.NumCPU() > 1 {
		return bench.PinSelf(ctx, 1)
	}
	return nil
}

func (b *benchmark) serve(ctx context.Context, data string) (*bench.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return bench.Start(ctx, bench.Command{
		Path: self, Args: []string{"serve", "--listen", "127.0.0.1:0", "--data-dir", data, "--dev"}, Log: os.Stderr, Core: 0,
	})
}

func (b *benchmark) stop() {
	for _, p := range []*bench.Process{b.server, b.peer} {
		if p != nil {
			p.Stop()
		}
	}
}

// load returns what all scenarios have in common.
func (b *benchmark) load(scenario, url string) bench.Load {
	l := bench.Load{
		Scenario: scenario, URL: url, Connections: b.connections, Warmup: b.warmup, Duration: b.duration, Now: time.Now,
		AllowRemote: b.remote.url != "", Header: http.Header{},
	}
	if b.server != nil {
		l.PID = b.server.PID
	}
	return l
}

func tokenLoad(l bench.Load, body func(int, uint64) []byte) bench.Load {
	l.Method, l.Body = http.MethodPost, body
	l.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return l
}

func (b *benchmark) clientCredentials(ctx context.Context) error {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	l := tokenLoad(b.load("client-credentials", b.zone.TokenURL(b.base)), b.zone.ClientCredentials())
	return b.measure(ctx, func(context.Context) (bench.Load, error) { return l, nil })
}

// perSecond bounds the rate of exchanges that new subject tokens are made for.
const perSecond = 12_000

func (b *benchmark) exchange(ctx context.Context) error {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	return b.measure(ctx, func(ctx context.Context) (bench.Load, error) {
		enough := int((b.warmup + b.duration).Seconds() * perSecond)
		return b.exchangeOf(ctx, "exchange", b.zone.Target, enough)
	})
}

func (b *benchmark) exchangeRemembered(ctx context.Context) error {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	l, err := b.exchangeOf(ctx, "exchange-remembered", b.zone.Target, 1000)
	if err != nil {
		return err
	}
	return b.measure(ctx, func(context.Context) (bench.Load, error) { return l, nil })
}

func (b *benchmark) exchangeVaulted(ctx context.Context) error {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	l, err := b.exchangeOf(ctx, "exchange-vaulted", b.zone.Vaulted, 1000)
	if err != nil {
		return err
	}
	b.unsigned = true
	defer func() { b.unsigned = false }()
	return b.measure(ctx, func(context.Context) (bench.Load, error) { return l, nil })
}

func (b *benchmark) exchangeOf(ctx context.Context, scenario, target string, subjects int) (bench.Load, error) {
	base := tokenLoad(b.load("", b.base), nil)
	tokens, err := b.zone.Subjects(ctx, base, subjects)
	if err != nil {
		return bench.Load{}, err
	}
	l := tokenLoad(b.load(scenario, b.zone.TokenURL(b.base)), b.zone.Exchange(tokens, target))
	l.Requests = 0
	if scenario == "exchange" {
		l.Requests = uint64(subjects) // none is used twice
	}
	return l, nil
}

func (b *benchmark) list(ctx context.Context) error {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	bearer, err := b.manage.Bearer(ctx)
	if err != nil {
		return err
	}
	l := b.load("list", b.base+"/zones/"+b.zone.ID+"/applications?limit=50")
	l.Header.Set("Authorization", "Bearer "+bearer)
	l.Connections = 1
	return b.turnsOf(ctx, l)
}

// measure runs a load of tokens for all turns, paired with the floor if asked.
// next gives the load of each turn.
func (b *benchmark) measure(ctx context.Context, next func(context.Context) (bench.Load, error)) error {
	return b.measureBeside(ctx, b.floorLoad, next)
}

// measureBeside is measure with another load of the floor.
func (b *benchmark) measureBeside(ctx context.Context, beside, next func(context.Context) (bench.Load, error)) error {
	if !b.floor && b.beside == "" {
		for turn := range b.turns {
			l, err := next(ctx)
			if err != nil {
				return err
			}
			if err := b.one(ctx, l, turn+1); err != nil {
				return err
			}
		}
		return nil
	}
	floor, err := beside(ctx)
	if err != nil {
		return err
	}
	var all bench.Comparison
	for range b.turns {
		l, err := next(ctx)
		if err != nil {
			return err
		}
		pair, err := bench.Compare(ctx, l, floor, 1)
		if err != nil {
			return err
		}
		all.Add(pair)
	}
	if b.asJSON {
		return printJSON(all.Results()...)
	}
	return all.WriteText(os.Stdout)
}

func (b *benchmark) turnsOf(ctx context.Context, l bench.Load) error {
	for turn := range b.turns {
		if err := b.one(ctx, l, turn+1); err != nil {
			return err
		}
	}
	return nil
}

// result returns what one run measures.
func (b *benchmark) result(ctx context.Context, l bench.Load, turn int) (bench.Result, error) {
	r, err := bench.Run(ctx, l)
	if r.Run = turn; err == nil && r.OK == 0 {
		status, body, err := bench.Once(ctx, l)
		switch {
		case err != nil:
			return r, fmt.Errorf("no request succeeded: %w", err)
		case status < 300: // the body may be a credential
			return r, fmt.Errorf("no request was answered within %v; try a longer --duration", l.Duration)
		}
		return r, fmt.Errorf("no request succeeded: %d %s", status, strings.TrimSpace(string(body)))
	}
	return r, err
}

func (b *benchmark) one(ctx context.Context, l bench.Load, turn int) error {
	r, err := b.result(ctx, l, turn)
	if err != nil {
		return err
	}
	if b.asJSON {
		return printJSON(r)
	}
	return bench.WriteText(os.Stdout, r)
}

func printJSON(results ...bench.Result) error {
	out := json.NewEncoder(os.Stdout)
	for _, r := range results {
		if err := out.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// floorLoad starts the floor on the server's processor and returns a load that
// its honest answers are limited by alone.
func (b *benchmark) floorLoad(ctx context.Context) (bench.Load, error) {
	if b.beside != "" {
		return b.floorsToken(b.beside), nil
	}
	algorithm := b.size.Algorithm
	if b.unsigned {
		algorithm = "none"
	}
	if b.peer != nil && b.peerSigns != algorithm {
		if err := b.peer.Stop(); err != nil {
			return bench.Load{}, err
		}
		b.peer = nil
	}
	if b.peer == nil {
		b.peerSigns = algorithm
		self, err := os.Executable()
		if err != nil {
			return bench.Load{}, err
		}
		b.peer, err = bench.Start(ctx, bench.Command{
			Path: self, Args: []string{"floor", "--algorithm", algorithm, "--audit", filepath.Join(b.folder, "floor.audit")}, Log: os.Stderr, Core: 0,
		})
		if err != nil {
			return bench.Load{}, err
		}
	}
	l := b.floorsToken(b.peer.URL + "/token")
	l.PID = b.peer.PID
	return l, nil
}

// floorsToken is a load of tokens for the client that the floor knows.
func (b *benchmark) floorsToken(endpoint string) bench.Load {
	return tokenLoad(b.load("floor", endpoint), func(int, uint64) []byte {
		return []byte("grant_type=client_credentials&client_id=floor&scope=documents%3Aread&client_secret=" + bench.FloorSecret)
	})
}

// helloLoad is a load of what the floor answers without any work.
func (b *benchmark) helloLoad(ctx context.Context) (bench.Load, error) {
	l, err := b.floorLoad(ctx)
	if err != nil {
		return l, err
	}
	l.URL, l.Method, l.Body, l.Header = b.peer.URL+"/hello", http.MethodGet, nil, nil
	return l, nil
}

// coldStart starts servers on empty folders, and then on the data of the zone
// that the other scenarios load.
func (b *benchmark) coldStart(ctx context.Context) error {
	if b.remote.url != "" {
		return &usageError{fmt.Errorf("cold-start starts servers of its own; leave --url out")}
	}
	for turn := range b.turns {
		if err := b.coldStartOf(ctx, "empty", filepath.Join(b.folder, fmt.Sprintf("cold-%d", turn)), turn+1); err != nil {
			return err
		}
	}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	if err := b.server.Stop(); err != nil {
		return err
	}
	b.server, b.zone = nil, nil
	for turn := range b.turns {
		if err := b.coldStartOf(ctx, "existing", filepath.Join(b.folder, "data"), turn+1); err != nil {
			return err
		}
	}
	return nil
}

// coldStartOf times one start, from before the process exists.
func (b *benchmark) coldStartOf(ctx context.Context, label, data string, turn int) error {
	begun := time.Now()
	p, err := b.serve(ctx, data)
	if err != nil {
		return err
	}
	if err := ready(ctx, p.URL); err != nil {
		return err
	}
	took := time.Since(begun)
	time.Sleep(time.Second) // what a start leaves for later is done then, and the server idle
	memory := p.ResidentKB()
	if err := p.Stop(); err != nil {
		return err
	}
	us := float64(took.Microseconds())
	r := bench.Result{
		Scenario: "cold-start", Label: label, Run: turn, Concurrency: 1, Seconds: took.Seconds(), Requests: 1, OK: 1, PerSec: 1 / took.Seconds(),
		Statuses: map[string]int{"200": 1}, MeanUS: us, P50US: us, P90US: us, P99US: us, P999US: us, MaxUS: us, RSSPeakKB: memory,
	}
	if b.asJSON {
		return printJSON(r)
	}
	_, err = fmt.Printf("cold-start %-8s %5.0f ms, then %d MB resident\n", label, took.Seconds()*1000, memory/1024)
	return err
}

// ready asks /readyz until it answers 200.
func ready(ctx context.Context, base string) error {
	l := bench.Load{URL: base + "/readyz", Now: time.Now, AllowRemote: true}
	for range 1000 {
		if status, _, err := bench.Once(ctx, l); err == nil && status == 200 {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("%s/readyz does not answer 200", base)
}

// newFloor is the hidden command that runs the floor in a process of its own.
func newFloor() *cobra.Command {
	f := bench.Floor{Now: time.Now}
	c := &cobra.Command{
		Use:     "floor",
		Short:   "Run the least server that could honestly answer a token request",
		Example: "  deputy floor --algorithm ES256 --audit /tmp/floor.audit",
		Hidden:  true,
		Args:    cobra.NoArgs,
	}
	c.Flags().StringVar(&f.Algorithm, "algorithm", "ES256", "ES256, RS256 or none")
	c.Flags().StringVar(&f.AuditFile, "audit", "", "file for records, synced before each answer (default: none)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		fmt.Printf("listening on http://%s\n", l.Addr())
		return f.Serve(c.Context(), l)
	}
	return c
}
