package pull

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
)

// list is a flag that may be repeated.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

// Run is the command "lexgen pull". It returns 0 when the folder and the lock file are up to date,
// 1 when something was refused or could not be fetched, and 2 for a wrong command line.
func Run(args []string, stdout, stderr io.Writer) int {
	fset := flag.NewFlagSet("lexgen pull", flag.ContinueOnError)
	fset.SetOutput(stderr)
	p := &Puller{Tell: func(nsid string, r Resolution) { fmt.Fprintln(stdout, nsid, r.CID, r.URI) }}
	fset.StringVar(&p.Dir, "in", "lexicons", "`DIR` with the lexicons")
	fset.StringVar(&p.Lock, "lock", "lexicons.json", "lock `FILE`")
	fset.BoolVar(&p.Update, "update", false, "fetch what is locked, too, and lock it as it is now")
	plc := fset.String("plc", "https://plc.directory", "`URL` of the directory of did:plc")
	dns := fset.String("dns", "", "`HOST:PORT` of the DNS server to ask (default: the system's)")
	var allow list
	fset.Var(&allow, "allow", "`HOST:PORT` that may be private and without TLS, for tests (may be repeated)")
	fset.Usage = func() {
		fmt.Fprint(stderr, "usage: lexgen pull [flags] [NSID…]\n\nFetches published lexicons, what they refer to, and what lexicons.json names.\n\n")
		fset.PrintDefaults()
	}
	nsids, err := parse(fset, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	p.Source = &Network{DNS: resolver(*dns), Web: NewWeb(allow), PLC: *plc}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := p.Pull(ctx, nsids); err != nil {
		fmt.Fprintln(stderr, "lexgen pull: "+err.Error())
		return 1
	}
	return 0
}

// parse takes flags before, between and behind the NSIDs.
func parse(fset *flag.FlagSet, args []string) (nsids []string, err error) {
	for len(args) > 0 {
		if err := fset.Parse(args); err != nil {
			return nil, err
		}
		if args = fset.Args(); len(args) > 0 {
			nsids, args = append(nsids, args[0]), args[1:]
		}
	}
	return nsids, nil
}

// resolver asks one DNS server, or those of the system.
func resolver(server string) *net.Resolver {
	if server == "" {
		return net.DefaultResolver
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server)
	}}
}
