package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"deputy/internal/client"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func newCatalogInstall() *cobra.Command {
	k := &catalogCommand{}
	var given []string
	var version int
	c := &cobra.Command{
		Use:   "install PACKAGE",
		Short: "Install a package in a zone",
		Long: "Install a package in a zone. What it asks for is given as --input name=value, or as --input name=@file to keep a secret\n" +
			"out of the process list. At a terminal, what is missing is asked for; secrets do not show.",
		Example: "  deputy catalog install github --zone k3v9q0m2x7b1c8d4e5f6g7h8j9 --input client_id=Iv1.1234 --input client_secret=@secret",
		Args:    cobra.ExactArgs(1),
	}
	c.Flags().StringArrayVar(&given, "input", nil, "name=value or name=@file; repeat it")
	c.Flags().IntVar(&version, "version", 0, "version of the package (default: the newest)")
	k.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		manage, base, err := k.open(c.Context())
		if err != nil {
			return err
		}
		p, err := getPackage(c.Context(), manage, base, args[0])
		if err != nil {
			return err
		}
		inputs, err := collectInputs(c, questions(p), given)
		if err != nil {
			return err
		}
		body := map[string]any{"package_id": p.ID, "inputs": inputs}
		if version != 0 {
			body["version"] = version
		}
		var task taskView
		if err := manage.Do(c.Context(), http.MethodPost, base+"/installs", body, &task); err != nil {
			return err
		}
		return follow(c, manage, base, &task)
	}
	return c
}

// collectInputs returns the inputs of an install: those given, and at a
// terminal the answers to what is missing.
func collectInputs(c *cobra.Command, asked []question, given []string) (map[string]any, error) {
	inputs := map[string]any{}
	kinds := map[string]string{}
	for _, q := range asked {
		kinds[q.name] = q.Type
	}
	for _, pair := range given {
		name, text, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, &usageError{fmt.Errorf("--input must be name=value or name=@file")}
		}
		if file, isFile := strings.CutPrefix(text, "@"); isFile {
			raw, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			text = strings.TrimRight(string(raw), "\r\n")
		}
		inputs[name] = inputValue(text, kinds[name])
	}
	var missing []string
	for _, q := range asked {
		if _, there := inputs[q.name]; there || !q.required {
			continue
		}
		answer, err := ask(c, &q)
		if err != nil {
			return nil, err
		}
		if answer == "" {
			missing = append(missing, q.name)
			continue
		}
		inputs[q.name] = inputValue(answer, q.Type)
	}
	if len(missing) > 0 {
		return nil, &usageError{fmt.Errorf("the package asks for %s: give --input %s=…", strings.Join(missing, ", "), missing[0])}
	}
	return inputs, nil
}

// inputValue reads a text as a value of the type: texts as they are, all else
// as JSON, lists also with commas between their items.
func inputValue(text, kind string) any {
	if kind == "string" {
		return text
	}
	var v any
	if json.Unmarshal([]byte(text), &v) == nil {
		return v
	}
	if kind == "array" {
		return strings.Split(text, ",")
	}
	return text
}

// ask asks for an input at the terminal; without one the answer is empty.
func ask(c *cobra.Command, q *question) (string, error) {
	in, ok := c.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return "", nil
	}
	fmt.Fprint(c.ErrOrStderr(), q.Title)
	if q.WriteOnly {
		fmt.Fprint(c.ErrOrStderr(), " (does not show): ")
		secret, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(c.ErrOrStderr())
		return string(secret), err
	}
	fmt.Fprint(c.ErrOrStderr(), ": ")
	var line []byte
	for one := make([]byte, 1); ; {
		if _, err := in.Read(one); err != nil || one[0] == '\n' {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return strings.TrimSpace(string(line)), err
		}
		line = append(line, one[0])
	}
}

// taskView is what the commands need of a task. A task that is completed
// answers as the install that it made, which has no operation.
type taskView struct {
	ID           string                    `json:"id"`
	Operation    string                    `json:"operation"`
	Status       string                    `json:"status"`
	InstallID    string                    `json:"install_id"`
	ErrorMessage string                    `json:"error_message"`
	Links        []linkView                `json:"links"`
	Warnings     []warningView             `json:"warnings"`
	Outputs      map[string]jsontext.Value `json:"outputs"`
}

type warningView struct {
	Message string `json:"message"`
	Path    string `json:"path"`
	Details []struct {
		Field string `json:"field"`
	} `json:"details"`
}

// follow waits until a task has ended, and says what it does meanwhile.
func follow(c *cobra.Command, manage *client.Client, base string, task *taskView) error {
	path, told := base+"/catalog_tasks/"+url.PathEscape(task.ID), map[linkView]bool{}
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		var now taskView
		if err := manage.Do(c.Context(), http.MethodGet, path, nil, &now); err != nil {
			return err
		}
		if now.Status == "failed" && now.Operation != "" {
			return fmt.Errorf("install %s: %s", task.InstallID, now.ErrorMessage)
		}
		tell(c.OutOrStdout(), &now, told)
		if now.Operation == "" {
			fmt.Fprintf(c.OutOrStdout(), "install %s: %s\n", task.InstallID, now.Status)
			return warn(c, manage, base, task)
		}
		select {
		case <-c.Context().Done():
			return c.Context().Err()
		case <-time.After(wait):
		}
	}
}

// tell prints each entity of an install that it has not told of, and the
// outputs once they are there. A removal has nothing to tell of.
func tell(out io.Writer, now *taskView, told map[linkView]bool) {
	if now.Operation == "delete" {
		return
	}
	for _, l := range now.Links {
		if l.Rel != "install" && !told[l] {
			told[l] = true
			fmt.Fprintf(out, "%s %s\n", l.Rel, l.Href)
		}
	}
	if now.Status == "active" {
		for _, name := range slices.Sorted(maps.Keys(now.Outputs)) {
			fmt.Fprintf(out, "%s: %s\n", name, now.Outputs[name])
		}
	}
}

// warn prints what there is to know of a task that is completed. Its own
// address leads to the install by now.
func warn(c *cobra.Command, manage *client.Client, base string, task *taskView) error {
	for t, err := range client.All[taskView](c.Context(), manage, base+"/catalog_tasks", url.Values{"filter[install_id]": {task.InstallID}}) {
		if err != nil {
			return err
		}
		if t.ID != task.ID {
			continue
		}
		for _, w := range t.Warnings {
			fmt.Fprintf(c.ErrOrStderr(), "warning: %s (%s)\n", w.Message, w.Path)
			for _, d := range w.Details {
				fmt.Fprintf(c.ErrOrStderr(), "  %s\n", d.Field)
			}
		}
	}
	return nil
}
