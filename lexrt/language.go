package lexrt

import "strings"

// maxLanguage is the length in bytes up to which tags are read.
const maxLanguage = 128

// validLanguage reports whether s is a language tag of BCP 47 (RFC 5646) as the official files of
// atproto judge them: well-formed by section 2.1, without a variant or a singleton that is repeated
// (section 2.2.9), and with a language of two or three lower-case letters. Behind that any case
// will do.
func validLanguage(s string) bool {
	first, _, _ := strings.Cut(s, "-")
	return wellFormedLanguage(s) && (len(first) == 1 || letters(first, 2, 3))
}

// wellFormedLanguage is validLanguage for languages of up to eight letters in any case.
func wellFormedLanguage(s string) bool {
	if s == "" || len(s) > maxLanguage {
		return false
	}
	s = strings.ToLower(s)
	if strings.Contains(grandfathered, " "+s+" ") {
		return !strings.Contains(s, " ")
	}
	t := tag(strings.Split(s, "-"))
	for _, part := range t {
		if len(part) == 0 || len(part) > 8 || !alphanumeric(part, "09") {
			return false
		}
	}
	if t[0] == "x" {
		return len(t) > 1
	}
	return t.language() && t.variants() && t.extensions() && (len(t) == 0 || len(t) > 1)
}

// grandfathered are the tags that are valid although they do not follow the syntax
// (RFC 5646, section 2.2.8); the others of that list follow it.
const grandfathered = " en-gb-oed i-ami i-bnn i-default i-enochian i-hak i-klingon i-lux i-mingo i-navajo i-pwn i-tao i-tay i-tsu sgn-be-fr sgn-be-nl sgn-ch-de "

// tag is what is left of a tag, in lower case.
type tag []string

// next takes a subtag that fits.
func (t *tag) next(fits func(part string) bool) (string, bool) {
	if len(*t) == 0 || !fits((*t)[0]) {
		return "", false
	}
	part := (*t)[0]
	*t = (*t)[1:]
	return part, true
}

func letters(part string, shortest, longest int) bool {
	return len(part) >= shortest && len(part) <= longest && strings.Trim(part, "abcdefghijklmnopqrstuvwxyz") == ""
}

func digits(part string) bool { return strings.Trim(part, "0123456789") == "" }

// language takes the language with up to three extended ones, the script and the region.
func (t *tag) language() bool {
	first, ok := t.next(func(part string) bool { return letters(part, 2, 8) })
	for range 3 {
		if len(first) <= 3 {
			t.next(func(part string) bool { return letters(part, 3, 3) })
		}
	}
	t.next(func(part string) bool { return letters(part, 4, 4) })
	t.next(func(part string) bool { return letters(part, 2, 2) || len(part) == 3 && digits(part) })
	return ok
}

func (t *tag) variants() bool {
	seen := map[string]bool{}
	for {
		part, ok := t.next(func(part string) bool { return len(part) >= 5 || len(part) == 4 && digits(part[:1]) })
		if !ok {
			return true
		}
		if seen[part] {
			return false
		}
		seen[part] = true
	}
}

// extensions takes all extensions, and leaves what is for private use, with its x.
func (t *tag) extensions() bool {
	seen := map[string]bool{}
	for {
		singleton, ok := t.next(func(part string) bool { return len(part) == 1 && part != "x" })
		if !ok {
			return len(*t) == 0 || (*t)[0] == "x"
		}
		n := 0
		for ok {
			if _, ok = t.next(func(part string) bool { return len(part) > 1 }); ok {
				n++
			}
		}
		if seen[singleton] || n == 0 {
			return false
		}
		seen[singleton] = true
	}
}
