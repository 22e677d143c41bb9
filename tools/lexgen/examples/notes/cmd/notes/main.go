// Command notes reads and writes the notebook of a notesd.
//
//	notes [-url URL] list
//	notes [-url URL] add TEXT       (NOTES_TOKEN has the token)
//	notes [-url URL] delete KEY
//	notes [-url URL] follow
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"mls-server/lexrt"
	"mls-server/tools/lexgen/examples/notes/client"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "notes:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("say list, add TEXT, delete KEY or follow")

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("notes", flag.ContinueOnError)
	url := flags.String("url", "http://localhost:8080", "`URL` of the notebook")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, err := client.New(*url, client.Options{Token: token})
	if err != nil {
		return err
	}
	switch what, argument := flags.Arg(0), flags.Arg(1); {
	case what == "list" && flags.NArg() == 1:
		return list(ctx, c, out)
	case what == "add" && flags.NArg() == 2:
		view, err := c.PutNote(ctx, &client.PutNoteInput{Note: client.Note{Text: argument, CreatedAt: syntax.DatetimeNow()}})
		if err != nil {
			return err
		}
		fmt.Fprintln(out, view.Key, view.CID)
		return nil
	case what == "delete" && flags.NArg() == 2:
		_, err := c.DeleteNote(ctx, &client.DeleteNoteInput{Key: lexrt.TID(argument)})
		return err
	case what == "follow" && flags.NArg() == 1:
		return follow(ctx, c, out)
	}
	return errUsage
}

// token gives the methods that ask for one the token of the environment.
func token(context.Context, string) (string, error) { return os.Getenv("NOTES_TOKEN"), nil }

// list prints all notes, page by page.
func list(ctx context.Context, c *client.Client, out io.Writer) error {
	params := &client.ListNotesParams{Limit: 100}
	for {
		page, err := c.ListNotes(ctx, params)
		if err != nil {
			return err
		}
		for _, view := range page.Notes {
			fmt.Fprintln(out, view.Key, view.Note.Text)
		}
		if page.Cursor == nil {
			return nil
		}
		params.Cursor = page.Cursor
	}
}

// follow prints what happens, until it is interrupted. It goes on where it was when the connection
// breaks.
func follow(ctx context.Context, c *client.Client, out io.Writer) error {
	sub := c.SubscribeNotes(nil)
	defer sub.Close()
	for message, err := range sub.All(ctx) {
		if err != nil {
			return err
		}
		switch event := message.Data.(type) {
		case *client.SubscribeNotesPut:
			fmt.Fprintln(out, "put", event.View.Key, event.View.Note.Text)
		case *client.SubscribeNotesDeleted:
			fmt.Fprintln(out, "deleted", event.Key)
		}
	}
	return nil
}
