// Package docs holds the pages that the server shows in development.
package docs

import _ "embed"

// Reference is the reference of the API, one HTML page that loads nothing.
//
//go:embed api/index.html
var Reference []byte
