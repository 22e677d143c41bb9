package e2e_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"mls-server/lexrt/lexcbor"
)

// shape is a definition of a lexicon as a released client knows it, reduced to what its decoder
// looks at. testdata/released has the methods of two generations of one client, by the month of
// their release, as far as this server has them too.
type shape struct {
	Type       string           `json:"type"`
	Ref        string           `json:"ref"`
	Refs       []string         `json:"refs"`
	Required   []string         `json:"required"`
	Properties map[string]shape `json:"properties"`
	Items      *shape           `json:"items"`
	Enum       []string         `json:"enum"`
	Format     string           `json:"format"`
	Schema     *shape           `json:"schema"`

	Parameters *shape `json:"parameters"`
	Input      *shape `json:"input"`
	Output     *shape `json:"output"`
	Message    *shape `json:"message"`
}

// generation is what one release of a client knows: definitions by NSID and name.
type generation struct {
	name string
	defs map[string]map[string]shape
}

// generations are the releases. The later one took over what it does not define anew.
func generations(t *testing.T) []generation {
	t.Helper()
	var list []generation
	for _, name := range []string{"2025-11", "2026-02"} {
		text, err := os.ReadFile(filepath.Join("testdata", "released", name+".json"))
		require.NoError(t, err)
		g := generation{name, map[string]map[string]shape{}}
		if n := len(list); n > 0 {
			maps.Copy(g.defs, list[n-1].defs)
		}
		require.NoError(t, json.Unmarshal(text, &g.defs))
		list = append(list, g)
	}
	return list
}

// main is a method, nil where the generation does not know it.
func (g *generation) main(nsid string) *shape {
	if m, ok := g.defs[nsid]["main"]; ok {
		return &m
	}
	return nil
}

// decode returns what keeps the client's decoder from reading a value, each fault once.
func (g *generation) decode(nsid string, body []byte) ([]string, error) {
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		return nil, fmt.Errorf("decode the answer: %w", err)
	}
	d := decoder{g: g, faults: map[string]bool{}}
	d.value(nsid, g.main(nsid).Output.Schema, value, "")
	return slices.Sorted(maps.Keys(d.faults)), nil
}

// decodeMessage is decode for a message of a subscription, whose type is not in its body.
func (g *generation) decodeMessage(nsid string, f lexcbor.Frame) ([]string, error) {
	var value map[string]any
	if err := json.Unmarshal(f.Body, &value); err != nil {
		return nil, fmt.Errorf("decode the message: %w", err)
	}
	value["$type"] = f.Type
	d := decoder{g: g, faults: map[string]bool{}, binary: true}
	d.value(nsid, g.main(nsid).Message.Schema, value, "")
	return slices.Sorted(maps.Keys(d.faults)), nil
}

type decoder struct {
	g      *generation
	faults map[string]bool
	// binary says that bytes came as such, and not as base64.
	binary bool
}

func (d *decoder) fault(path, format string, args ...any) {
	d.faults[path+": "+fmt.Sprintf(format, args...)] = true
}

// find is the definition that a reference names, and the lexicon that it is in.
func (d *decoder) find(nsid, ref string) (string, *shape) {
	other, name, _ := strings.Cut(ref, "#")
	if other == "" {
		other = nsid
	}
	if name == "" {
		name = "main"
	}
	s := d.g.defs[other][name]
	return other, &s
}

// value reads a value as the generated code of the client does: what is required has to be there,
// what is there has to be of its type, and one fault loses the whole answer.
func (d *decoder) value(nsid string, s *shape, v any, path string) {
	switch s.Type {
	case "ref":
		other, def := d.find(nsid, s.Ref)
		d.value(other, def, v, path)
	case "union":
		d.union(nsid, s, v, path)
	case "object":
		d.object(nsid, s, v, path)
	case "array":
		list, ok := v.([]any)
		if !ok {
			d.fault(path, "is no array")
		}
		for _, item := range list {
			d.value(nsid, s.Items, item, path+"/-")
		}
	case "string":
		d.text(s, v, path)
	case "integer":
		if n, ok := v.(float64); !ok || n != float64(int64(n)) {
			d.fault(path, "is no integer")
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			d.fault(path, "is no boolean")
		}
	case "bytes":
		object, _ := v.(map[string]any)
		if text, ok := object["$bytes"].(string); !ok || !d.binary && !foundation(text) {
			d.fault(path, "is not padded base64 under $bytes")
		}
	default:
		d.fault(path, "is of the unknown type %q", s.Type)
	}
}

func (d *decoder) object(nsid string, s *shape, v any, path string) {
	object, ok := v.(map[string]any)
	if !ok {
		d.fault(path, "is no object")
		return
	}
	for _, name := range s.Required {
		if object[name] == nil {
			d.fault(path+"/"+name, "is required")
		}
	}
	for name, property := range s.Properties {
		if object[name] != nil {
			d.value(nsid, &property, object[name], path+"/"+name)
		}
	}
}

// union reads a member of a union. One that the client does not know is kept as it came.
func (d *decoder) union(nsid string, s *shape, v any, path string) {
	object, _ := v.(map[string]any)
	typ, _ := object["$type"].(string)
	if typ == "" {
		d.fault(path, "has no $type")
	}
	for _, ref := range s.Refs {
		if strings.HasPrefix(ref, "#") && nsid+ref == typ || ref == typ {
			other, def := d.find(nsid, ref)
			d.value(other, def, v, path)
		}
	}
}

// textBase64 are the texts that the client decodes as base64.
var textBase64 = regexp.MustCompile(`/(welcome|keyPackage|groupInfo)$`)

var swiftDate = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)$`)

func (d *decoder) text(s *shape, v any, path string) {
	text, ok := v.(string)
	switch {
	case !ok:
		d.fault(path, "is no string")
	case s.Format == "did" && !regexp.MustCompile(`^did:[a-z]+:.+`).MatchString(text):
		d.fault(path, "is no DID")
	case s.Format == "datetime" && !swiftDate.MatchString(text):
		d.fault(path, "is no date")
	case textBase64.MatchString(path) && !foundation(text):
		d.fault(path, "is not standard base64 with padding")
	case len(s.Enum) > 0 && !slices.Contains(s.Enum, text) && !openEnums[path]:
		d.fault(path, "is none of the values that the client knows")
	}
}

// openEnums are closed sets of a generation's lexicons whose values its program reads as text: it
// looks at the framing of what it is given, and passes over what it cannot decrypt.
var openEnums = map[string]bool{"/messages/-/messageType": true, "/event/message/messageType": true}

// foundation reports whether Swift's Data(base64Encoded:) reads a text: the standard alphabet,
// padded, nothing else.
func foundation(text string) bool {
	_, err := base64.StdEncoding.Strict().DecodeString(text)
	return err == nil && !strings.ContainsAny(text, "\r\n")
}
