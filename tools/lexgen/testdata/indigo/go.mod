module mls-server/tools/lexgen/testdata/indigo

go 1.26.0

tool github.com/bluesky-social/indigo/cmd/lexgen

require (
	github.com/bluesky-social/indigo v0.0.0-20260605210604-af2fec94f34c // indirect
	github.com/cpuguy83/go-md2man/v2 v2.0.3 // indirect
	github.com/russross/blackfriday/v2 v2.1.0 // indirect
	github.com/urfave/cli/v2 v2.25.7 // indirect
	github.com/xrash/smetrics v0.0.0-20201216005158-039620a65673 // indirect
	golang.org/x/mod v0.14.0 // indirect
	golang.org/x/sys v0.22.0 // indirect
	golang.org/x/tools v0.15.0 // indirect
)
