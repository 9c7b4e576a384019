// Does what the event's `do` says, on the unmodified aws-lambda-go library; every runtime of the tests has a
// function that does the same.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Do      string          `json:"do"`
	Value   json.RawMessage `json:"value"`
	Seconds float64         `json:"seconds"`
	Status  int             `json:"status"`
	Size    int             `json:"size"`
}

var count int

func handle(ctx context.Context, event event) (any, error) {
	switch event.Do {
	case "echo":
		return event.Value, nil
	case "fail":
		return nil, errors.New("no luck")
	case "panic":
		panic("no luck")
	case "sleep":
		time.Sleep(time.Duration(event.Seconds * float64(time.Second)))
		return "slept", nil
	case "exit":
		os.Exit(event.Status)
	case "eat":
		var hoard [][]byte
		for {
			block := make([]byte, 8<<20)
			for at := 0; at < len(block); at += 512 {
				block[at] = 1
			}
			hoard = append(hoard, block)
		}
	case "big":
		return strings.Repeat("x", event.Size), nil
	case "length":
		var text string
		err := json.Unmarshal(event.Value, &text)
		return len(text), err
	case "environment":
		return environment()
	case "context":
		return fields(ctx), nil
	case "print":
		fmt.Println("to stdout")
		fmt.Fprintln(os.Stderr, "to stderr")
		fmt.Print("no line end")
		return "printed", nil
	case "count":
		count++
		return count, nil
	case "stream":
		return stream(event.Size), nil
	}
	return nil, errors.New("unknown: " + event.Do)
}

// What is read from it is streamed.
func stream(size int) io.Reader {
	reader, writer := io.Pipe()
	go func() {
		piece := bytes.Repeat([]byte("x"), 1<<16)
		_, err := writer.Write([]byte("first "))
		for ; size > 0 && err == nil; size -= len(piece) {
			_, err = writer.Write(piece)
		}
		writer.CloseWithError(err)
	}()
	return reader
}

func environment() (any, error) {
	all := map[string]string{}
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		all[name] = value
	}
	directory, err := os.Getwd()
	all["cwd"] = directory
	return all, err
}

func fields(ctx context.Context) any {
	lc, _ := lambdacontext.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	var tenant, title any
	if lc.TenantID != "" {
		tenant = lc.TenantID
	}
	if lc.ClientContext.Client.AppTitle != "" {
		title = lc.ClientContext.Client.AppTitle
	}
	return map[string]any{
		"id": lc.AwsRequestID, "arn": lc.InvokedFunctionArn, "left": time.Until(deadline).Milliseconds(),
		"name": lambdacontext.FunctionName, "version": lambdacontext.FunctionVersion,
		"memory": strconv.Itoa(lambdacontext.MemoryLimitInMB), "group": lambdacontext.LogGroupName,
		"stream": lambdacontext.LogStreamName, "tenant": tenant, "custom": lc.ClientContext.Custom, "title": title,
	}
}

func main() { lambda.Start(handle) }
