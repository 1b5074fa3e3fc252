package api

import (
	"deputy/internal/deputy"
)

// Pagination are the cursors of the neighbouring pages. Both are always there.
type Pagination struct {
	AfterCursor  *string `json:"after_cursor" doc:"Cursor of the next page; null at the end."`
	BeforeCursor *string `json:"before_cursor" doc:"Cursor of the page before; null at the start."`
	TotalCount   *int    `json:"total_count,omitzero" doc:"How many match, whatever the page; with expand total_count."`
}

// PageInfo describes a page.
type PageInfo struct {
	HasNextPage     bool    `json:"has_next_page"`
	HasPreviousPage bool    `json:"has_previous_page"`
	StartCursor     *string `json:"start_cursor,omitzero" doc:"Cursor of the first item."`
	EndCursor       *string `json:"end_cursor,omitzero" doc:"Cursor of the last item."`
}

// List is a page with its neighbours' cursors and its description.
type List[V any] struct {
	Items      []V        `json:"items"`
	PageInfo   PageInfo   `json:"page_info"`
	Pagination Pagination `json:"pagination"`
}

// ShortList is a page with its neighbours' cursors.
type ShortList[V any] struct {
	Items      []V        `json:"items"`
	Pagination Pagination `json:"pagination"`
}

// OwnedPageInfo describes a page of what an organization has, or of
// organizations: clients do not agree on a spelling.
type OwnedPageInfo struct {
	HasNextPage     bool    `json:"has_next_page"`
	HasPrevPage     bool    `json:"has_prev_page"`
	HasPreviousPage bool    `json:"has_previous_page" doc:"The same as has_prev_page."`
	StartCursor     *string `json:"start_cursor,omitzero"`
	EndCursor       *string `json:"end_cursor,omitzero"`
}

// OwnedList is a page of what an organization has, or of organizations.
type OwnedList[V any] struct {
	Items       []V           `json:"items"`
	PageInfo    OwnedPageInfo `json:"page_info"`
	Permissions Permissions   `json:"permissions,omitzero" doc:"What the caller may do with such items; with expand permissions."`
}

// newOwnedList returns a page in the form of organizations.
func newOwnedList[V any](page *List[V], allowed Permissions) OwnedList[V] {
	return OwnedList[V]{page.Items, ownedPageInfo(page.PageInfo), allowed}
}

func ownedPageInfo(p PageInfo) OwnedPageInfo {
	return OwnedPageInfo{
		HasNextPage: p.HasNextPage, HasPrevPage: p.HasPreviousPage, HasPreviousPage: p.HasPreviousPage,
		StartCursor: p.StartCursor, EndCursor: p.EndCursor,
	}
}

// newList returns a page of the store as clients see it.
func newList[D, V any](page *deputy.Page[D], view func(*D) V) *List[V] {
	out := &List[V]{Items: make([]V, 0, len(page.Items))}
	for _, d := range page.Items {
		out.Items = append(out.Items, view(d))
	}
	out.PageInfo = PageInfo{
		HasNextPage: page.HasNext, HasPreviousPage: page.HasPrevious,
		StartCursor: pointer(page.First), EndCursor: pointer(page.Last),
	}
	out.Pagination.TotalCount = page.Total
	if page.HasNext {
		out.Pagination.AfterCursor = pointer(page.Last)
	}
	if page.HasPrevious {
		out.Pagination.BeforeCursor = pointer(page.First)
	}
	return out
}
