package inspect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// writeTable prints the report for a person: one line a value, named by its path
// in the JSON, so that what one reads here can be found there.
func writeTable(w io.Writer, r *report) error {
	object := *r
	object.Verification = nil
	b, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if err := table(t, d, ""); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	for _, c := range r.Verification {
		result := c.Result
		if c.Reason != "" {
			result += " (" + c.Reason + ")"
		}
		if err := tableLine(t, "verification."+c.Check, result); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// table prints the next value of d. Lists of numbers stand on one line.
func table(w io.Writer, d *json.Decoder, path string) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return err
			}
			if err := table(w, d, strings.TrimPrefix(fmt.Sprintf("%s.%v", path, name), ".")); err != nil {
				return err
			}
		}
		_, err = d.Token()
		return err
	case json.Delim('['):
		return tableList(w, d, path)
	}
	return tableLine(w, path, token)
}

func tableList(w io.Writer, d *json.Decoder, path string) error {
	var items []json.RawMessage
	for d.More() {
		var item json.RawMessage
		if err := d.Decode(&item); err != nil {
			return err
		}
		items = append(items, item)
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	if len(items) == 0 || items[0][0] != '{' && items[0][0] != '"' {
		values := make([]string, len(items))
		for i, item := range items {
			values[i] = string(item)
		}
		return tableLine(w, path, strings.Join(values, " "))
	}
	for i, item := range items {
		sub := json.NewDecoder(bytes.NewReader(item))
		sub.UseNumber()
		if err := table(w, sub, path+"["+strconv.Itoa(i)+"]"); err != nil {
			return err
		}
	}
	return nil
}

// tableLine quotes what a terminal might take for a command: an identity is anyone's text.
func tableLine(w io.Writer, path string, value json.Token) error {
	text := fmt.Sprint(value)
	if quoted := strconv.Quote(text); quoted != `"`+text+`"` {
		text = quoted
	}
	if text == "" {
		text = "-"
	}
	_, err := fmt.Fprintf(w, "%s\t%s\n", path, text)
	return err
}
