// A function in Go, on the unmodified aws-lambda-go library.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type Event struct {
	Do   string          `json:"do"`
	Echo json.RawMessage `json:"echo"`
}

func handle(ctx context.Context, event Event) (any, error) {
	switch event.Do {
	case "fail":
		return nil, errors.New("as asked")
	case "exit":
		os.Exit(3)
	case "panic":
		panic("as asked")
	}
	lc, _ := lambdacontext.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	fmt.Println("handling", lc.AwsRequestID)
	return map[string]any{
		"echo": event.Echo, "requestId": lc.AwsRequestID, "arn": lc.InvokedFunctionArn, "deadline": deadline.UnixMilli(),
		"name": lambdacontext.FunctionName, "client": lc.ClientContext.Custom, "execution": os.Getenv("AWS_EXECUTION_ENV"),
	}, nil
}

func main() { lambda.Start(handle) }
