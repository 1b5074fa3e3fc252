package policy_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"deputy/internal/policy"
	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	exptypes "github.com/cedar-policy/cedar-go/x/exp/types"
	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// corpusShare is the share of the corpus that runs: every so many-th case.
// DEPUTY_CORPUS=all runs all 7,750 of them.
const corpusShare = 25

// corpusCase is one case of Cedar's integration corpus, which the engine's
// module carries as data.
type corpusCase struct {
	Schema   string `json:"schema"`
	Policies string `json:"policies"`
	Entities string `json:"entities"`
	Requests []struct {
		Principal types.EntityUID  `json:"principal"`
		Action    types.EntityUID  `json:"action"`
		Resource  types.EntityUID  `json:"resource"`
		Context   types.Record     `json:"context"`
		Decision  types.Decision   `json:"decision"`
		Reasons   []types.PolicyID `json:"reason"`
		Errors    []types.PolicyID `json:"errors"`
	} `json:"requests"`
}

// corpus reads the archive out of the module.
func corpus(t *testing.T) map[string][]byte {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cedar-policy/cedar-go").Output()
	if err != nil {
		t.Fatalf("find the engine's module: %v", err)
	}
	packed, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "corpus-tests.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	zip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for archive := tar.NewReader(zip); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

// Cedar's own corpus is decided as Cedar decides it: each policy read as a
// document, all of them asked through the index.
func TestCorpus(t *testing.T) {
	files := corpus(t)
	var cases []string
	for name := range files {
		if strings.HasSuffix(name, ".json") && !strings.HasSuffix(name, ".entities.json") {
			cases = append(cases, name)
		}
	}
	slices.Sort(cases)
	share := corpusShare
	if os.Getenv("DEPUTY_CORPUS") == "all" {
		share = 1
	}
	policies, refused, requests := 0, 0, 0
	for i := 0; i < len(cases); i += share {
		var c corpusCase
		if err := json.Unmarshal(files[cases[i]], &c); err != nil {
			t.Fatal(err)
		}
		list, err := cedar.NewPolicyListFromBytes("", files[c.Policies])
		if err != nil {
			t.Fatal(err)
		}
		var ids []types.PolicyID
		for j, p := range list {
			d, err := policy.ParseText(string(p.MarshalCedar()))
			policies++
			if err == nil {
				list[j] = policy.Compiled(d)
			} else if refused++; !strings.Contains(explain(err), "canonical JSON would round") {
				t.Errorf("%s: policy %d: %s", cases[i], j, explain(err))
			}
			ids = append(ids, types.PolicyID(fmt.Sprintf("policy%d", j)))
		}
		index := policy.NewIndex(ids, list)
		entities := corpusEntities(t, files[c.Schema], files[c.Entities])
		for _, r := range c.Requests {
			requests++
			decision, d, _ := index.Authorize(entities, types.Request{Principal: r.Principal, Action: r.Action, Resource: r.Resource, Context: r.Context})
			got, want := map[string][]types.PolicyID{}, map[string][]types.PolicyID{}
			for _, reason := range d.Reasons {
				got["reasons"] = append(got["reasons"], reason.PolicyID)
			}
			for _, e := range d.Errors {
				got["errors"] = append(got["errors"], e.PolicyID)
			}
			maps.Copy(want, map[string][]types.PolicyID{"reasons": r.Reasons, "errors": r.Errors})
			maps.DeleteFunc(want, func(_ string, ids []types.PolicyID) bool { return len(ids) == 0 })
			byID := cmpopts.SortSlices(func(a, b types.PolicyID) bool { return a < b })
			if diff := cmp.Diff(want, got, byID); diff != "" || decision != r.Decision {
				t.Errorf("%s: decision %s, want %s\n%s", cases[i], decision, r.Decision, diff)
			}
		}
	}
	t.Logf("%d requests, %d policies, %d of them over the limits", requests, policies, refused)
	if requests < 2000 || refused*20 > policies {
		t.Errorf("%d requests, %d of %d policies refused: not the corpus", requests, refused, policies)
	}
}

func corpusEntities(t *testing.T, schemaText, entities []byte) types.EntityMap {
	t.Helper()
	var s schema.Schema
	if err := s.UnmarshalCedar(schemaText); err != nil {
		t.Fatal(err)
	}
	resolved, err := s.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	var all exptypes.EntityMap
	if err := all.UnmarshalJSONWithSchema(entities, resolved); err != nil {
		t.Fatal(err)
	}
	return types.EntityMap(all)
}
