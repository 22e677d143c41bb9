module mls-server/tools/devdb

go 1.26.0

replace mls-server => ../..

require (
	github.com/fergusstrange/embedded-postgres v1.34.0
	golang.org/x/sys v0.50.0
	mls-server v0.0.0-00010101000000-000000000000
)

require (
	github.com/lib/pq v1.10.9 // indirect
	github.com/xi2/xz v0.0.0-20171230120015-48954b6210f8 // indirect
)
