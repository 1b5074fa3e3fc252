package client

import (
	"context"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"deputy/internal/api"
)

// All yields every item of the list at path, page after page, in the order of
// the list. query narrows it; a limit is that of each page. An error ends it.
// The list may page by cursor in either of the API's ways, or not at all.
func All[V any](ctx context.Context, c *Client, path string, query url.Values) iter.Seq2[V, error] {
	return func(yield func(V, error) bool) {
		query := maps.Clone(query)
		if query == nil {
			query = url.Values{}
		}
		for {
			page, err := getPage[V](ctx, c, path, query)
			if err != nil {
				var none V
				yield(none, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			next := page.next()
			if next == "" {
				return
			}
			query.Set("after", next)
		}
	}
}

// page is what the lists have in common.
type page[V any] struct {
	Items      []V             `json:"items"`
	Pagination *api.Pagination `json:"pagination"`
	PageInfo   struct {
		HasNextPage bool   `json:"has_next_page"`
		EndCursor   string `json:"end_cursor"`
	} `json:"page_info"`
}

// next returns the cursor of the next page; empty at the end.
func (p *page[V]) next() string {
	switch {
	case p.Pagination != nil && p.Pagination.AfterCursor != nil:
		return *p.Pagination.AfterCursor
	case p.Pagination == nil && p.PageInfo.HasNextPage:
		return p.PageInfo.EndCursor
	}
	return ""
}

// getPage gets a page; a bare array is one with nothing behind it.
func getPage[V any](ctx context.Context, c *Client, path string, query url.Values) (*page[V], error) {
	var raw jsontext.Value
	if err := c.Do(ctx, http.MethodGet, strings.TrimSuffix(path+"?"+query.Encode(), "?"), nil, &raw); err != nil {
		return nil, err
	}
	p := &page[V]{}
	if raw.Kind() == '[' {
		return p, json.Unmarshal(raw, &p.Items)
	}
	return p, json.Unmarshal(raw, p)
}
