package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"mls-server/internal/ratelimit"
)

type (
	did        = syntax.DID
	dids       = []syntax.DID
	prefixList = []netip.Prefix
)

// limits are the smallest and the largest value of a number, both permitted.
type limits struct{ low, high int }

// faultError is one variable that cannot be used.
type faultError struct{ name, problem string }

func (e faultError) Error() string { return e.name + " " + e.problem }

// reader collects faults, so that an operator sees all of them at once.
type reader struct {
	lookup func(string) (string, bool)
	faults []faultError
	// warnings are about what was passed over.
	warnings []string
}

// fault notes what is wrong with a variable, once: what follows from a value that
// was refused is no news.
func (r *reader) fault(name, problem string) {
	if !slices.ContainsFunc(r.faults, func(f faultError) bool { return f.name == name }) {
		r.faults = append(r.faults, faultError{name, problem})
	}
}

// err is nil without faults, and else lists them, one a line.
func (r *reader) err() error {
	switch len(r.faults) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("configuration: %w", r.faults[0])
	}
	errs := make([]error, len(r.faults))
	for i, f := range r.faults {
		errs[i] = f
	}
	return fmt.Errorf("configuration:\n%w", errors.Join(errs...))
}

// integer parses value within lim and reports a fault otherwise.
func (r *reader) integer(name, value string, lim limits) int {
	n, err := strconv.Atoi(value)
	if err != nil || n < lim.low || n > lim.high {
		r.fault(name, fmt.Sprintf("must be a number from %d to %d", lim.low, lim.high))
		return lim.low
	}
	return n
}

func text(name, def, help string, field func(*Config) *string) Variable {
	return Variable{
		Name: name, Default: def, Help: help,
		set: func(c *Config, _ *reader, _, value string) { *field(c) = value },
		get: func(c *Config) any { return *field(c) },
	}
}

func secret(name, help string, field func(*Config) *Secret) Variable {
	return Variable{
		Name: name, Help: help, Secret: true,
		set: func(c *Config, _ *reader, _, value string) { *field(c) = Secret(value) },
		get: func(c *Config) any { return *field(c) },
	}
}

func secretURL(name, help string, field func(*Config) *Secret, schemes ...string) Variable {
	v := secret(name, help, field)
	v.set = func(c *Config, r *reader, name, value string) {
		u, err := url.Parse(value)
		if value != "" && (err != nil || !slices.Contains(schemes, u.Scheme)) {
			r.fault(name, "must be a URL that starts with "+schemes[0]+"://")
			return
		}
		*field(c) = Secret(value)
	}
	return v
}

func httpURL(name, def, help string, field func(*Config) *string) Variable {
	v := text(name, def, help, field)
	v.set = func(c *Config, r *reader, name, value string) {
		if value == "" || value == "none" {
			return
		}
		u, err := url.Parse(value)
		if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
			r.fault(name, "must be an https:// URL")
			return
		}
		*field(c) = strings.TrimRight(value, "/")
	}
	return v
}

func socketURL(name, help string, field func(*Config) *string) Variable {
	v := text(name, "", help, field)
	v.set = func(c *Config, r *reader, name, value string) {
		u, err := url.Parse(value)
		if value != "" && (err != nil || (u.Scheme != "wss" && u.Scheme != "ws") || u.Host == "") {
			r.fault(name, "must be a wss:// URL")
			return
		}
		*field(c) = value
	}
	return v
}

func boolean(name string, def bool, help string, field func(*Config) *bool) Variable {
	return Variable{
		Name: name, Default: strconv.FormatBool(def), Help: help,
		set: func(c *Config, r *reader, name, value string) {
			switch strings.ToLower(value) {
			case "1", "true", "yes", "on":
				*field(c) = true
			case "0", "false", "no", "off":
				*field(c) = false
			default:
				r.fault(name, "must be true or false")
			}
		},
		get: func(c *Config) any { return *field(c) },
	}
}

func number(name string, def int, lim limits, help string, field func(*Config) *int) Variable {
	return Variable{
		Name: name, Default: strconv.Itoa(def), Help: help,
		set: func(c *Config, r *reader, name, value string) { *field(c) = r.integer(name, value, lim) },
		get: func(c *Config) any { return *field(c) },
	}
}

func duration(name string, def int, lim limits, unit time.Duration, help string, field func(*Config) *time.Duration) Variable {
	return Variable{
		Name: name, Default: strconv.Itoa(def), Help: help,
		set: func(c *Config, r *reader, name, value string) {
			*field(c) = time.Duration(r.integer(name, value, lim)) * unit
		},
		get: func(c *Config) any { return int64(*field(c) / unit) },
	}
}

func megabytes(name string, def int, lim limits, help string, field func(*Config) *int64) Variable {
	return Variable{
		Name: name, Default: strconv.Itoa(def), Help: help,
		set: func(c *Config, r *reader, name, value string) { *field(c) = int64(r.integer(name, value, lim)) << 20 },
		get: func(c *Config) any { return *field(c) >> 20 },
	}
}

func oneOf[T ~string](name, def, help string, field func(*Config) *T, allowed ...T) Variable {
	return Variable{
		Name: name, Default: def, Help: help,
		set: func(c *Config, r *reader, name, value string) {
			if !slices.Contains(allowed, T(value)) {
				r.fault(name, fmt.Sprintf("must be one of %v", allowed))
				return
			}
			*field(c) = T(value)
		},
		get: func(c *Config) any { return *field(c) },
	}
}

func setLogLevel(c *Config, r *reader, name, value string) {
	if value == "" {
		value = "warn"
		if c.Mode == Development {
			value = "info"
		}
	}
	value = strings.ToLower(value)
	switch {
	case slices.Contains(levels, value):
		c.LogLevel = value
	case name == "LOG_LEVEL":
		r.fault(name, "must be debug, info, warn or error")
	default:
		c.LogLevel = levelOfFilter(value)
		if c.LogLevel == "" {
			setLogLevel(c, r, name, "")
		}
		r.warnings = append(r.warnings, name+" is a filter, which this server does not have: its first plain level counts, here "+
			c.LogLevel+"; set LOG_LEVEL to choose another")
	}
}

var levels = []string{"debug", "info", "warn", "error"}

// levelOfFilter is the first plain level of a filter as other programs take it
// from RUST_LOG, such as info,hyper=warn; "" when there is none.
func levelOfFilter(filter string) string {
	for _, part := range split(filter) {
		switch {
		case slices.Contains(levels, part):
			return part
		case part == "trace":
			return "debug"
		}
	}
	return ""
}

// split cuts a comma-separated list and drops empty parts.
func split(value string) []string {
	out := []string{}
	for part := range strings.SplitSeq(value, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func list(name, help string, field func(*Config) *[]string) Variable {
	return Variable{
		Name: name, Help: help,
		set: func(c *Config, _ *reader, _, value string) { *field(c) = split(value) },
		get: func(c *Config) any { return *field(c) },
	}
}

// links is a list of http and https URLs.
func links(name, help string, field func(*Config) *[]string) Variable {
	v := list(name, help, field)
	v.set = func(c *Config, r *reader, name, value string) {
		for _, part := range split(value) {
			if u, err := url.Parse(part); err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
				r.fault(name, "must be a comma-separated list of https:// URLs")
				return
			}
		}
		*field(c) = split(value)
	}
	return v
}

// parsed is a list whose parts are parsed by parse and printed by their String method.
func parsed[T fmt.Stringer](name, help, want string, parse func(string) (T, error), field func(*Config) *[]T) Variable {
	return Variable{
		Name: name, Help: help,
		set: func(c *Config, r *reader, name, value string) {
			for _, part := range split(value) {
				item, err := parse(part)
				if err != nil {
					r.fault(name, "must be a comma-separated list of "+want)
					return
				}
				*field(c) = append(*field(c), item)
			}
		},
		get: func(c *Config) any {
			out := make([]string, 0, len(*field(c)))
			for _, item := range *field(c) {
				out = append(out, item.String())
			}
			return out
		},
	}
}

func didList(name, help string, field func(*Config) *dids) Variable {
	return parsed(name, help, "DIDs", syntax.ParseDID, field)
}

func prefixes(name, help string, field func(*Config) *prefixList) Variable {
	return parsed(name, help, "networks, such as 10.0.0.0/8", netip.ParsePrefix, field)
}

func didValue(name, help string, field func(*Config) *did) Variable {
	return Variable{
		Name: name, Help: help,
		set: func(c *Config, r *reader, name, value string) {
			if value == "" {
				return
			}
			d, err := syntax.ParseDID(value)
			if err != nil {
				r.fault(name, "must be a DID, such as did:web:mls.example.org")
				return
			}
			*field(c) = d
		},
		get: func(c *Config) any { return *field(c) },
	}
}

// rate reads "N" or "N/burst": N requests a minute, burst at once (N when left out).
func rate(name, class string, def ratelimit.Rate) Variable {
	return Variable{
		Name: name, Default: fmt.Sprintf("%d/%d", def.PerMinute, def.Burst),
		Help: "Requests a minute of the class " + class + ", and after a slash how many at once.",
		set: func(c *Config, r *reader, name, value string) {
			n, burst, found := strings.Cut(value, "/")
			if !found {
				burst = n
			}
			perMinute, err := strconv.Atoi(n)
			atOnce, burstErr := strconv.Atoi(burst)
			read := ratelimit.Rate{PerMinute: perMinute, Burst: atOnce}
			if err != nil || burstErr != nil || !read.Valid() {
				r.fault(name, fmt.Sprintf(
					"must be requests a minute, and after a slash how many at once, such as 60/30: numbers from 1 to %d", ratelimit.MaxRate))
				return
			}
			c.Rates[class] = read
		},
		get: func(c *Config) any { return fmt.Sprintf("%d/%d", c.Rates[class].PerMinute, c.Rates[class].Burst) },
	}
}

// explained is a variable that needs more words than others of its kind.
func explained(v Variable, help string) Variable {
	v.Help = help
	return v
}

// addressRate is the rate of both classes that count by address.
func addressRate(name string, def ratelimit.Rate) Variable {
	v := rate(name, ratelimit.ClassIP, def)
	v.Help = "Requests a minute and address that have no authenticated caller, and after a slash how many at once: " +
		"once for tokens that took work to refuse, and once for everything else."
	set := v.set
	v.set = func(c *Config, r *reader, name, value string) {
		set(c, r, name, value)
		c.Rates[ratelimit.ClassRefused] = c.Rates[ratelimit.ClassIP]
	}
	return v
}
