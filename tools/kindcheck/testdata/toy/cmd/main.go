// Command cmd puts the handlers together.
package main

import (
	"context"
	"os"

	"toy/handlers"
)

func main() {
	h := &handlers.Handlers{Finder: handlers.Names{"x": 1}, Queue_: handlers.NewQueue()}
	if err := h.Direct(context.Background()); err != nil {
		os.Exit(1)
	}
}
