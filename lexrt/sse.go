package lexrt

import "strings"

// AppendFrame appends one Server-Sent Event to dst. An empty id or name leaves
// its field out, nil data leaves out the data: clients take such a frame as no
// event, but keep its id as the position to resume after.
//
// The data is one line, since encoded JSON has no raw line break. Characters of
// id and name that would end a field are dropped.
func AppendFrame(dst []byte, id, name string, data Response) []byte {
	dst = appendField(dst, "id: ", id)
	dst = appendField(dst, "event: ", name)
	if data != nil {
		dst = append(data.AppendJSON(append(dst, "data: "...)), '\n')
	}
	return append(dst, '\n')
}

func appendField(dst []byte, field, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(dst, field...)
	if strings.ContainsAny(value, "\r\n\x00") {
		value = strings.Map(func(r rune) rune {
			if r == '\r' || r == '\n' || r == 0 {
				return -1
			}
			return r
		}, value)
	}
	return append(append(dst, value...), '\n')
}
