// Command notesd serves a notebook that everybody may read, and whoever has the token may write.
//
//	NOTES_TOKEN=secret notesd -listen localhost:8080
package main

import (
	"crypto/subtle"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"mls-server/lexrt"
	"mls-server/lexrt/lexhttp"
	"mls-server/tools/lexgen/examples/notes/api"
	"mls-server/tools/lexgen/examples/notes/handlers"
	"mls-server/tools/lexgen/examples/notes/notebook"
)

func main() {
	address := flag.String("listen", "localhost:8080", "`address` to serve on")
	flag.Parse()
	token := os.Getenv("NOTES_TOKEN")
	if token == "" {
		log.Fatal("notesd: NOTES_TOKEN must be set: who has the token may write")
	}
	mux := lexhttp.New(lexhttp.Options{Authenticate: bearer(token)})
	api.Mount(mux, &handlers.Handlers{Notebook: notebook.New()})
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("notesd: serving on http://%s", listener.Addr())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.Serve(listener))
}

// bearer lets in whoever has the token. Methods that policy.json opens do not ask.
func bearer(token string) func(*http.Request, *lexrt.Method) (lexrt.Caller, error) {
	return func(r *http.Request, _ *lexrt.Method) (lexrt.Caller, error) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+token)) != 1 {
			return lexrt.Caller{}, lexrt.ErrAuthMissing.WithMessage("writing takes the notebook's token")
		}
		return lexrt.Caller{}, nil
	}
}
