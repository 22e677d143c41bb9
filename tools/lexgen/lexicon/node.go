package lexicon

import (
	"bytes"
	"errors"
	"io"
	"sort"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Node is a JSON value with its place in a file.
type Node struct {
	// Kind is one of n, t, f, ", 0, { and [, as in jsontext.
	Kind jsontext.Kind
	// Pos is the byte offset of the value's first byte.
	Pos int
	// Text is the string's value or the number's literal.
	Text string
	// Members holds an object's members, Items an array's items, in the file's order.
	Members []Member
	Items   []*Node

	parent *Node
	key    string
	index  int
}

// Member is one member of an object.
type Member struct {
	Name string
	// NamePos is the byte offset of the name.
	NamePos int
	Value   *Node
}

// Get returns the member's value or nil.
func (n *Node) Get(name string) *Node {
	if n == nil {
		return nil
	}
	for i := range n.Members {
		if n.Members[i].Name == name {
			return n.Members[i].Value
		}
	}
	return nil
}

// Pointer returns the RFC 6901 JSON pointer of the node within its file.
func (n *Node) Pointer() string {
	if n == nil || n.parent == nil {
		return ""
	}
	token := strconv.Itoa(n.index)
	if n.parent.Kind == '{' {
		token = strings.ReplaceAll(strings.ReplaceAll(n.key, "~", "~0"), "/", "~1")
	}
	return n.parent.Pointer() + "/" + token
}

func (n *Node) describe() string {
	switch n.Kind {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{':
		return "an object"
	case '[':
		return "an array"
	default:
		return "nothing"
	}
}

// source finds lines and columns.
type source struct {
	lines []int
}

func newSource(data []byte) *source {
	s := &source{lines: []int{0}}
	for i, c := range data {
		if c == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

func (s *source) place(pos int) (line, col int) {
	i := sort.SearchInts(s.lines, pos+1) - 1
	return i + 1, pos - s.lines[i] + 1
}

type syntaxError struct {
	pos     int
	problem string
}

func (e *syntaxError) Error() string { return e.problem }

// maxDepth bounds the nesting of a lexicon file.
const maxDepth = 200

// parseJSON reads data strictly: no duplicate names, no invalid UTF-8, nothing after the value.
func parseJSON(data []byte) (*Node, error) {
	if bytes.HasPrefix(data, []byte("\ufeff")) {
		return nil, &syntaxError{0, "the file begins with a byte order mark, which JSON does not have; save it without"}
	}
	p := &jsonParser{data: data, dec: jsontext.NewDecoder(bytes.NewBuffer(data))}
	n, err := p.value(0)
	if err != nil {
		return nil, p.explain(err)
	}
	if _, err := p.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, &syntaxError{p.skipSpace(int(p.dec.InputOffset())), "the file goes on after the end of its JSON value"}
	}
	return n, nil
}

type jsonParser struct {
	data []byte
	dec  *jsontext.Decoder
}

func (p *jsonParser) explain(err error) error {
	if own, ok := errors.AsType[*syntaxError](err); ok {
		return own
	}
	pos := int(p.dec.InputOffset())
	var syn *jsontext.SyntacticError
	if errors.As(err, &syn) {
		pos = int(syn.ByteOffset)
	}
	pos = min(pos, len(p.data))
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return &syntaxError{p.skipSpace(pos), "the same member name is used twice in one object"}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &syntaxError{pos, "the file ends before its JSON is complete"}
	case syn != nil && syn.Err != nil:
		return &syntaxError{pos, "the file is not valid JSON: " + syn.Err.Error()}
	}
	return &syntaxError{pos, "the file is not valid JSON"}
}

// skipSpace moves over white space and the separators before a token.
func (p *jsonParser) skipSpace(pos int) int {
	for pos < len(p.data) && strings.IndexByte(" \t\r\n,:", p.data[pos]) >= 0 {
		pos++
	}
	return pos
}

func (p *jsonParser) value(depth int) (*Node, error) {
	if depth > maxDepth {
		return nil, &syntaxError{int(p.dec.InputOffset()), "the JSON is nested too deeply"}
	}
	n := &Node{Kind: p.dec.PeekKind(), index: -1}
	n.Pos = p.skipSpace(int(p.dec.InputOffset()))
	tok, err := p.dec.ReadToken()
	if err != nil {
		return nil, err
	}
	switch n.Kind {
	case '"', '0':
		n.Text = tok.String()
	case '{':
		err = p.object(n, depth)
	case '[':
		err = p.array(n, depth)
	default:
	}
	return n, err
}

func (p *jsonParser) object(n *Node, depth int) error {
	for p.dec.PeekKind() != '}' {
		pos := p.skipSpace(int(p.dec.InputOffset()))
		tok, err := p.dec.ReadToken()
		if err != nil {
			return err
		}
		name := tok.String()
		v, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		v.parent, v.key = n, name
		n.Members = append(n.Members, Member{name, pos, v})
	}
	_, err := p.dec.ReadToken()
	return err
}

func (p *jsonParser) array(n *Node, depth int) error {
	for p.dec.PeekKind() != ']' {
		v, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		v.parent, v.index = n, len(n.Items)
		n.Items = append(n.Items, v)
	}
	_, err := p.dec.ReadToken()
	return err
}
