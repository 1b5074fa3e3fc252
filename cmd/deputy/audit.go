package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"deputy/internal/client"
	"deputy/internal/evidence"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"
)

func newAudit() *cobra.Command {
	c := &cobra.Command{
		Use:     "audit",
		Short:   "Read the log of evidence, and check it",
		Example: "  deputy audit verify events.jsonl",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newAuditExport(), newAuditVerify())
	return c
}

func newAuditExport() *cobra.Command {
	var organization, zone, since string
	c := &cobra.Command{
		Use:   "export FILE",
		Short: "Write the log to a file, one JSON event a line, oldest first",
		Long: "Write the log of an organization, one JSON event a line, oldest first, and its signed checkpoint.\n" +
			"Events that --zone or --since leave out are there by their hash, so that the whole can be verified.\n" +
			"What an event knows of a person is sealed: the file may outlive what is remembered of people.",
		Example: "  deputy audit export --since 2026-11-01T00:00:00Z events.jsonl",
		Args:    cobra.ExactArgs(1),
	}
	c.Flags().StringVar(&organization, "organization", "", "id or label (default: the account's own)")
	c.Flags().StringVar(&zone, "zone", "", "id of a zone: its events alone")
	c.Flags().StringVar(&since, "since", "", "a time as RFC 3339: later events alone")
	from := remoteFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		account, err := from.account(from.bootstrap())
		if err != nil {
			return err
		}
		path := "/zones/" + url.PathEscape(zone)
		if zone == "" {
			if organization == "" {
				organization = account.OrganizationID
			}
			if organization == "" {
				return &usageError{fmt.Errorf("--organization or --zone must say whose log")}
			}
			path = "/organizations/" + url.PathEscape(organization)
		}
		if since != "" {
			if _, err := time.Parse(time.RFC3339, since); err != nil {
				return &usageError{fmt.Errorf("--since must be a time such as 2026-11-01T00:00:00Z")}
			}
		}
		return exportTo(args[0], func(out *bufio.Writer) (int64, error) {
			return export(c.Context(), account.Open(), path, since, out)
		})
	}
	return c
}

// exportTo writes a file with write; it appears only when it is complete.
func exportTo(path string, write func(*bufio.Writer) (int64, error)) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".export-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	out := bufio.NewWriter(f)
	n, err := write(out)
	if err := errors.Join(err, out.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "exported %d events\n", n)
	return nil
}

// entriesPerCall is how much of the log is asked for at once.
const entriesPerCall = 1000

// export writes the log at path as it is now, and returns how many of its
// events are shown.
func export(ctx context.Context, manage *client.Client, path, since string, out *bufio.Writer) (shown int64, err error) {
	var end struct {
		evidence.Signed
		Size int64 `json:"tree_size"`
	}
	if err := manage.Do(ctx, "GET", path+"/audit-checkpoint", nil, &end); err != nil {
		return 0, err
	}
	var line []byte
	for next := int64(1); next <= end.Size; {
		var page struct {
			Items []struct {
				Seq    int64  `json:"seq"`
				Leaf   []byte `json:"leaf_hash"`
				Record string `json:"record"`
			} `json:"items"`
		}
		query := url.Values{"from": {strconv.FormatInt(next, 10)}, "limit": {strconv.FormatInt(min(entriesPerCall, end.Size-next+1), 10)}}
		if since != "" {
			query.Set("since", since)
		}
		if err := manage.Do(ctx, "GET", path+"/audit-entries?"+query.Encode(), nil, &page); err != nil {
			return shown, err
		}
		if len(page.Items) == 0 {
			return shown, fmt.Errorf("the log ends before event %d of %d", next, end.Size)
		}
		for _, item := range page.Items {
			e := evidence.Entry{Seq: item.Seq}
			if copy(e.Leaf[:], item.Leaf) != len(e.Leaf) {
				return shown, fmt.Errorf("event %d has no hash", item.Seq)
			}
			if item.Record != "" {
				e.Record = []byte(item.Record)
				shown++
			}
			line = e.Append(line[:0])
			if _, err := out.Write(line); err != nil {
				return shown, err
			}
			next = item.Seq + 1
		}
	}
	_, err = out.Write(end.Signed.Append(nil))
	return shown, err
}

func newAuditVerify() *cobra.Command {
	var key, checkpoint string
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check that an export is what the server signed, without a server",
		Long: "Check an export line by line against the checkpoint at its end. It exits with 0, or names the first\n" +
			"bad line and exits with 1. Without --key it believes the key in the file and says unanchored: compare\n" +
			"the fingerprint with one that you know. An earlier checkpoint proves that nothing was cut since.",
		Example: "  deputy audit verify --key jwks.json --checkpoint last-month.jsonl events.jsonl",
		Args:    cobra.ExactArgs(1),
	}
	c.Flags().StringVar(&key, "key", "", "a JWKS file with the platform's keys")
	c.Flags().StringVar(&checkpoint, "checkpoint", "", "an earlier checkpoint, or an earlier export, which ends with one")
	c.RunE = func(c *cobra.Command, args []string) error {
		var jwks []byte
		var earlier *evidence.Signed
		var err error
		if key != "" {
			if jwks, err = os.ReadFile(key); err != nil {
				return err
			}
		}
		if checkpoint != "" {
			if earlier, err = readCheckpoint(checkpoint); err != nil {
				return err
			}
		}
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		v, err := evidence.Verify(f, jwks, earlier)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "verified %d events\n", v.Size)
		if v.Shown < v.Size {
			fmt.Fprintf(c.OutOrStdout(), "%d of them are there by their hash alone\n", v.Size-v.Shown)
		}
		anchored := ""
		if !v.Anchored {
			anchored = " (unanchored: it is the one in the file)"
		}
		fmt.Fprintf(c.OutOrStdout(), "organization %s at %s, key %s%s\n", v.Organization, v.Time.Format(time.RFC3339), v.Fingerprint, anchored)
		return nil
	}
	return c
}

// readCheckpoint reads the checkpoint that a file is, as the API gives it, or
// ends with.
func readCheckpoint(path string) (*evidence.Signed, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const most = 64 << 10 // more than any checkpoint
	if end, err := f.Seek(0, io.SeekEnd); err == nil && end > most {
		_, err = f.Seek(-most, io.SeekEnd)
		if err != nil {
			return nil, err
		}
	} else if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	s := &evidence.Signed{}
	raw = bytes.TrimSpace(raw)
	if json.Unmarshal(raw, s) == nil && s.Checkpoint != "" {
		return s, nil
	}
	if err := json.Unmarshal(raw[bytes.LastIndexByte(raw, '\n')+1:], s); err != nil || s.Checkpoint == "" {
		return nil, fmt.Errorf("%s does not end with a checkpoint", path)
	}
	return s, nil
}
