package ir

import (
	"fmt"
	"strings"
)

// initialisms are written in capitals. The list is fixed: adding one renames things.
var initialisms = map[string]string{
	"cid": "CID", "cids": "CIDs", "did": "DID", "dids": "DIDs", "id": "ID", "ids": "IDs", "mls": "MLS", "ok": "OK",
	"uri": "URI", "uris": "URIs", "url": "URL", "urls": "URLs",
}

// GoName turns any text into an exported Go identifier: words are found by case
// and by separators, what is not an ASCII letter or digit separates, and other
// letters are written as their code point. It is a pure function of its argument.
func GoName(s string) string {
	var b strings.Builder
	for _, w := range words(s) {
		if up, ok := initialisms[strings.ToLower(w)]; ok {
			b.WriteString(up)
			continue
		}
		b.WriteString(strings.ToUpper(w[:1]) + w[1:])
	}
	name := b.String()
	if name == "" {
		return "X"
	}
	if name[0] >= '0' && name[0] <= '9' {
		return "N" + name
	}
	return name
}

func words(s string) []string {
	var out []string
	var cur []byte
	flush := func() {
		if len(cur) > 0 {
			out = append(out, string(cur))
			cur = nil
		}
	}
	runes := []rune(s)
	for i, r := range runes {
		switch {
		case r >= 0x80:
			flush()
			out = append(out, fmt.Sprintf("U%04X", r))
		case isUpper(r):
			// A capital starts a word unless it continues a run of capitals; the last
			// capital of a run belongs to the word that follows it.
			if i > 0 && (!isUpper(runes[i-1]) || i+1 < len(runes) && isLower(runes[i+1]) && !pluralAt(runes, i)) {
				flush()
			}
			cur = append(cur, byte(r))
		case isLower(r), r >= '0' && r <= '9':
			cur = append(cur, byte(r))
		default:
			flush()
		}
	}
	flush()
	return out
}

// pluralAt reports whether a run of capitals ends in a plural s: the D of "DIDs".
func pluralAt(r []rune, i int) bool {
	return r[i+1] == 's' && (i+2 == len(r) || !isLower(r[i+2]))
}

func isUpper(r rune) bool { return r >= 'A' && r <= 'Z' }
func isLower(r rune) bool { return r >= 'a' && r <= 'z' }

// Base is the Go name of a lexicon: its NSID without the prefix.
func Base(nsid, prefix string) string {
	rest := nsid
	if prefix != "" {
		if cut, ok := strings.CutPrefix(nsid, prefix+"."); ok {
			rest = cut
		}
	}
	var b strings.Builder
	for part := range strings.SplitSeq(rest, ".") {
		b.WriteString(GoName(part))
	}
	return b.String()
}

// owner is who has a name.
type owner struct {
	// place names it in messages, and in the policy's names.
	place string
	// lexicon is the id of its lexicon, "" for what every package has.
	lexicon string
	// long is the name that it gets when its own lexicon has the short one already.
	long string
}

// apart reports whether two owners may come into one folder independently of each other.
func (o owner) apart(other owner) bool {
	return o.lexicon != other.lexicon && o.lexicon != "" && other.lexicon != ""
}

// names gives out the package's exported identifiers.
type names struct {
	taken   map[string]owner
	renames map[string]string
	clash   func(name string, first, second owner, got string)
}

// take returns want, or the long name when want is taken already.
func (n *names) take(want string, o owner) string {
	if to, ok := n.renames[o.place]; ok {
		want = to
	}
	first, clash := n.taken[want]
	if !clash {
		n.taken[want] = o
		return want
	}
	got := o.long
	for {
		if _, again := n.taken[got]; !again {
			break
		}
		got += "_"
	}
	n.taken[got] = o
	n.clash(want, first, o, got)
	return got
}

// longName joins the parts of a place with underscores, which no short name has.
func longName(nsid, prefix string, parts ...string) string {
	rest := nsid
	if cut, ok := strings.CutPrefix(nsid, prefix+"."); ok && prefix != "" {
		rest = cut
	}
	all := []string{}
	for part := range strings.SplitSeq(rest, ".") {
		all = append(all, GoName(part))
	}
	for _, p := range parts {
		if p != "" {
			all = append(all, GoName(p))
		}
	}
	if len(all) == 1 {
		return all[0] + "_"
	}
	return strings.Join(all, "_")
}

// local gives out names within one struct or one enum.
type local map[string]bool

func (l local) take(want string) string {
	for l[want] {
		want += "_"
	}
	l[want] = true
	return want
}
