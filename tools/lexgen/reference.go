package main

import (
	"flag"
	"fmt"
	"go/token"
	"strings"
)

// referenceConfig is the part of the command line of gen and check that is about
// the outputs beside the server. Empty paths leave an output out.
type referenceConfig struct {
	docs, openapi, client, clientPackage, clientRuntime, title string
}

func (r *referenceConfig) flags(fl *flag.FlagSet) {
	fl.StringVar(&r.docs, "docs", "", "`DIR` of the reference pages (optional)")
	fl.StringVar(&r.openapi, "openapi", "", "`FILE` with the OpenAPI document (optional)")
	fl.StringVar(&r.client, "client", "", "`DIR` of the package with the typed client (optional)")
	fl.StringVar(&r.clientPackage, "client-package", "client", "`NAME` of the package with the typed client")
	fl.StringVar(&r.clientRuntime, "client-runtime", "", "import `PATH` of the client's runtime (default: lexclient below --runtime)")
	fl.StringVar(&r.title, "title", "", "name of the service in reference pages (default: the prefix)")
}

func (r *referenceConfig) check() error {
	switch {
	case r.client != "" && (!token.IsIdentifier(r.clientPackage) || r.clientPackage == "_"):
		return &usageError{fmt.Sprintf("--client-package %q is not a package name", r.clientPackage)}
	case strings.ContainsAny(r.clientRuntime, "\"`\\ \t\r\n"):
		return &usageError{"an import path must not have quotes, backslashes or spaces"}
	}
	return nil
}
