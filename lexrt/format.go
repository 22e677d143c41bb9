package lexrt

// The usual form of a format's values is recognised here, without the regular
// expressions of package syntax. What is not recognised is theirs to judge.

// usualDatetime recognises times in UTC with a Z, on days that every month has:
// 2006-01-02T15:04:05Z with a fraction of up to nine digits or none.
func usualDatetime(s string) bool {
	const form = "2006-01-02T15:04:05Z"
	if len(s) < len(form) || len(s) > len(form)+10 || s[len(s)-1] != 'Z' {
		return false
	}
	if s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' || s[0] == '0' {
		return false
	}
	month, day := number(s[5:7]), number(s[8:10])
	if number(s[:2]) > 99 || number(s[2:4]) > 99 || month-1 > 11 || day-1 > 27 || number(s[11:13]) > 23 || number(s[14:16]) > 59 || number(s[17:19]) > 59 {
		return false
	}
	fraction := s[len(form)-1 : len(s)-1]
	if fraction == "" {
		return true
	}
	for _, c := range []byte(fraction[1:]) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return fraction[0] == '.' && len(fraction) > 1
}

// number reads two digits; anything else is a large number.
func number(s string) uint {
	tens, units := uint(s[0])-'0', uint(s[1])-'0'
	if tens > 9 || units > 9 {
		return 1000
	}
	return 10*tens + units
}

// usualDID recognises DIDs of atproto's two methods, of letters, digits, dots and hyphens.
func usualDID(s string) bool {
	if len(s) < len("did:plc:a") || len(s) > 256 || s[:8] != "did:plc:" && s[:8] != "did:web:" {
		return false
	}
	return alphanumeric(s[8:], ".-")
}

// usualTID recognises all TIDs.
func usualTID(s string) bool {
	if len(s) != 13 || s[0] > 'j' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// usualKey recognises record keys of letters, digits, hyphens and underscores.
func usualKey(s string) bool { return s != "" && len(s) <= 512 && alphanumeric(s, "-_") }

func alphanumeric(s, more string) bool {
	for i := range len(s) {
		c := s[i]
		if lower := c | 0x20; (lower < 'a' || lower > 'z') && (c < '0' || c > '9') && c != more[0] && c != more[1] {
			return false
		}
	}
	return true
}
