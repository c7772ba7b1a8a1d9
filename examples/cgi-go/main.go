// CSV in, JSON out: the first row names the columns, every further row becomes an object. The
// delimiter is a comma unless the query says otherwise (?delimiter=;).
//
// This is plain CGI: the request is in the environment and on standard input, the answer goes to
// standard output. An existing http.Handler works, too, through net/http/cgi; it makes the module
// half as large again, and the deploy slower.
package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"unicode/utf8"
)

func main() {
	rows, err := convert(os.Stdin, os.Getenv("QUERY_STRING"))
	if err != nil {
		answer("400 Bad Request", map[string]string{"error": err.Error()})
		return
	}
	answer("200 OK", rows)
}

func convert(body io.Reader, query string) ([]map[string]string, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	reader := csv.NewReader(bufio.NewReader(body))
	if delimiter := values.Get("delimiter"); delimiter != "" {
		reader.Comma, _ = utf8.DecodeRuneInString(delimiter)
	}

	columns, err := reader.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("send CSV with a header row as the body of a POST")
	}
	if err != nil {
		return nil, err
	}
	rows := []map[string]string{}
	for {
		// A row that is longer or shorter than the first one is an error of the reader.
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, err
		}
		row := make(map[string]string, len(columns))
		for i, column := range columns {
			row[column] = record[i]
		}
		rows = append(rows, row)
	}
}

func answer(status string, value any) {
	fmt.Printf("Status: %s\r\nContent-Type: application/json\r\n\r\n", status)
	if err := json.NewEncoder(os.Stdout).Encode(value); err != nil {
		fmt.Fprintln(os.Stderr, "answer:", err)
		os.Exit(1)
	}
}
