package store

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"deputy/internal/deputy"
)

// A cursor names the item that a page begins or ends with by the values that
// it was sorted by and its id, so that it still works once the item is gone.
// It is authenticated together with everything that made up the list: a cursor
// of another list, filter or order is refused like one that was made up.
//
// Its bytes are the tag, the number of sort values, each value, the id.
type cursor struct {
	keys []any // string or int64, one for each sort field
	id   string
	// shortened says that a key is only the beginning of the text sorted by.
	shortened bool
}

// compare says which of two items comes first in a direction of travel.
func (c *cursor) compare(other cursor, orders []order, backward bool) int {
	for i, o := range orders {
		var n int
		if i == len(c.keys) {
			n = strings.Compare(c.id, other.id)
		} else if number, ok := c.keys[i].(int64); ok {
			n = cmp.Compare(number, other.keys[i].(int64))
		} else {
			n = strings.Compare(c.keys[i].(string), other.keys[i].(string))
		}
		if o.descending != backward {
			n = -n
		}
		if n != 0 {
			return n
		}
	}
	return 0
}

const (
	cursorTag = 16  // bytes of the authentication tag
	cursorMax = 255 // characters of a cursor
	// keyRoom is what 255 characters leave for sort keys beside tag, id and
	// lengths.
	keyRoom = cursorMax*3/4 - cursorTag - 40
)

// What stands before a sort key.
const (
	numberKey    = 'n'
	textKey      = 't'
	shortenedKey = 's'
)

// encodeCursor returns the cursor as a client sees it.
func (s *Store) encodeCursor(c cursor, list ...any) string {
	b := make([]byte, cursorTag, cursorMax)
	b = append(b, byte(len(c.keys)))
	for _, k := range c.keys {
		switch k := k.(type) {
		case int64:
			b = binary.BigEndian.AppendUint64(append(b, numberKey), uint64(k))
		case string:
			kind, short := byte(textKey), cut(k, keyRoom/len(c.keys)-2)
			if short != k {
				kind = shortenedKey
			}
			b = append(append(b, kind, byte(len(short))), short...)
		}
	}
	b = append(b, c.id...)
	copy(b, s.tag(b[cursorTag:], list))
	return base64.RawURLEncoding.EncodeToString(b)
}

// decodeCursor returns the cursor that text stands for, or Invalid naming the
// parameter when it is not of this list.
func (s *Store) decodeCursor(parameter, text string, list ...any) (cursor, error) {
	refused := deputy.Bad(parameter, "is not a cursor of this list")
	if len(text) > cursorMax {
		return cursor{}, refused
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < cursorTag+1 {
		return cursor{}, refused
	}
	if !hmac.Equal(b[:cursorTag], s.tag(b[cursorTag:], list)) {
		return cursor{}, refused
	}
	c, ok := parseCursor(b[cursorTag:])
	if !ok {
		return cursor{}, refused
	}
	return c, nil
}

func parseCursor(b []byte) (c cursor, ok bool) {
	n := int(b[0])
	b = b[1:]
	for range n {
		switch {
		case len(b) >= 9 && b[0] == numberKey:
			c.keys = append(c.keys, int64(binary.BigEndian.Uint64(b[1:])))
			b = b[9:]
		case len(b) >= 2 && (b[0] == textKey || b[0] == shortenedKey) && len(b) >= 2+int(b[1]):
			end := 2 + int(b[1])
			c.keys = append(c.keys, string(b[2:end]))
			c.shortened = c.shortened || b[0] == shortenedKey
			b = b[end:]
		default:
			return cursor{}, false
		}
	}
	c.id = string(b)
	return c, true
}

// tag authenticates a cursor's content as part of one list.
func (s *Store) tag(content []byte, list []any) []byte {
	mac := hmac.New(sha256.New, s.cursorKey)
	fmt.Fprintf(mac, "%#v", list)
	mac.Write([]byte{0})
	mac.Write(content)
	return mac.Sum(nil)[:cursorTag]
}
