package main

import (
	"fmt"
	"os"
	"path/filepath"

	"deputy/internal/client"

	"github.com/spf13/cobra"
)

// remote says which server a command talks to, and as whom.
type remote struct{ url, data string }

// remoteFlags gives c the flags of a command that talks to a server.
func remoteFlags(c *cobra.Command) *remote {
	r := &remote{}
	c.Flags().StringVar(&r.url, "url", os.Getenv("DEPUTY_URL"), "address of the server; the account is then DEPUTY_CLIENT_ID with DEPUTY_CLIENT_SECRET [DEPUTY_URL]")
	c.Flags().Lookup("url").DefValue = ""
	data := os.Getenv("DEPUTY_DATA_DIR")
	if data == "" {
		data = "./deputy-data"
	}
	c.Flags().StringVar(&r.data, "data-dir", data, "folder whose bootstrap.json says where the server is and who we are, unless the environment does [DEPUTY_DATA_DIR]")
	c.Flags().Lookup("data-dir").DefValue = "./deputy-data"
	return r
}

// account returns the server's address and our credential: from the
// environment, else from the file.
func (r *remote) account(file string) (client.Account, error) {
	account := client.Account{BaseURL: r.url, ClientID: os.Getenv("DEPUTY_CLIENT_ID"), ClientSecret: os.Getenv("DEPUTY_CLIENT_SECRET")}
	if (account.ClientID == "") != (account.ClientSecret == "") {
		return account, &usageError{fmt.Errorf("set both DEPUTY_CLIENT_ID and DEPUTY_CLIENT_SECRET, or neither")}
	}
	if account.ClientID != "" && r.url != "" {
		return account, nil
	}
	known, err := client.ReadAccount(file)
	if err != nil {
		return account, fmt.Errorf("%w; run the command where the server's data folder is, or set DEPUTY_URL, DEPUTY_CLIENT_ID and DEPUTY_CLIENT_SECRET", err)
	}
	if account.ClientID != "" {
		known.ClientID, known.ClientSecret = account.ClientID, account.ClientSecret
	}
	if r.url != "" {
		known.BaseURL = r.url
	}
	return known, nil
}

// bootstrap returns the account file of the data folder.
func (r *remote) bootstrap() string { return filepath.Join(r.data, "bootstrap.json") }
