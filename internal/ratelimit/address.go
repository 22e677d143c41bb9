package ratelimit

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// maxHops bounds how much of X-Forwarded-For is read.
const maxHops = 32

// ClientIP returns the address of the client behind a connection from
// remoteAddr (host:port, as net/http has it). When that is a trusted proxy,
// forwarded, the values of X-Forwarded-For in order, is read from its end: each
// trusted hop vouches for the entry before it, and the first address that is
// not trusted is the client. What a client writes into the header itself lies
// further left and is never reached. The result is not valid when remoteAddr
// holds no address, as on a unix socket.
func ClientIP(remoteAddr string, forwarded []string, trusted []netip.Prefix) netip.Addr {
	addr := parseAddr(remoteAddr)
	if !isTrusted(addr, trusted) {
		return addr
	}
	hops := 0
	for _, rest := range slices.Backward(forwarded) {
		for more := true; more; hops++ {
			var entry string
			entry, rest, more = cutLast(rest)
			next := parseAddr(strings.TrimSpace(entry))
			if !next.IsValid() || hops == maxHops {
				return addr
			}
			addr = next
			if !isTrusted(addr, trusted) {
				return addr
			}
		}
	}
	return addr
}

// cutLast cuts a list at its last comma.
func cutLast(list string) (last, rest string, more bool) {
	i := strings.LastIndexByte(list, ',')
	if i < 0 {
		return list, "", false
	}
	return list[i+1:], list[:i], true
}

// parseAddr reads an address, with or without a port.
func parseAddr(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

func isTrusted(addr netip.Addr, trusted []netip.Prefix) bool {
	for _, p := range trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// customerBits is how much of an IPv6 address names the customer of a provider:
// RFC 6177 has /56 as what one household is given, and /64 would give it 256
// buckets.
const customerBits = 56

// AddressSubject is the subject that an address is counted under: an IPv4
// address by itself, an IPv6 address with the rest of its /56. An invalid address
// is "unknown".
func AddressSubject(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return "unknown"
	}
	if addr.Is4() {
		return addr.String()
	}
	p, err := addr.Prefix(customerBits)
	if err != nil {
		return "unknown"
	}
	return p.Masked().String()
}

// RequestSubject returns a function that derives the subject of a request
// without an authenticated caller.
func RequestSubject(trusted []netip.Prefix) func(*http.Request) string {
	return func(r *http.Request) string {
		return AddressSubject(ClientIP(r.RemoteAddr, r.Header.Values("X-Forwarded-For"), trusted))
	}
}
