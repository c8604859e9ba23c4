// The cells of the stream matrix (test/support/stream-cells.ts) by grpc-go: messages are bytes, nothing is generated.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

type cell struct {
	Method     string   `json:"method"`
	Kind       string   `json:"kind"`
	Sent       []string `json:"sent"`
	PauseMs    int      `json:"pauseMs"`
	DeadlineMs int      `json:"deadlineMs"`
}

type ended struct {
	Code     int      `json:"code"`
	Text     string   `json:"text,omitempty"`
	Messages []string `json:"messages"`
}

// A codec of messages with one field of text, number 1.
type codec struct{}

func (codec) Name() string { return "proto" }
func (codec) Marshal(v any) ([]byte, error) {
	text := v.(string)
	return append([]byte{0x0a, byte(len(text))}, text...), nil
}
func (codec) Unmarshal(data []byte, v any) error {
	*v.(*string) = string(data[2:])
	return nil
}

func call(connection *grpc.ClientConn, c cell) (messages []string, err error) {
	messages = []string{}
	deadline := time.Duration(c.DeadlineMs) * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	path := "/streams.v1.Streams/" + c.Method
	pause := func() { time.Sleep(time.Duration(c.PauseMs) * time.Millisecond) }
	if c.Kind == "unary" {
		pause()
		var message string
		if err = connection.Invoke(ctx, path, c.Sent[0], &message); err == nil {
			messages = append(messages, message)
		}
		return messages, err
	}
	streams := grpc.StreamDesc{
		ClientStreams: c.Kind == "client" || c.Kind == "bidi",
		ServerStreams: c.Kind == "server" || c.Kind == "bidi",
	}
	stream, err := connection.NewStream(ctx, &streams, path)
	if err != nil {
		return messages, err
	}
	go func() {
		for _, text := range c.Sent {
			pause()
			if stream.SendMsg(text) != nil {
				return // why is what RecvMsg says
			}
		}
		stream.CloseSend()
	}()
	for {
		var message string
		if err = stream.RecvMsg(&message); err == io.EOF {
			return messages, nil
		} else if err != nil {
			return messages, err
		}
		messages = append(messages, message)
		if !streams.ServerStreams {
			return messages, nil // RecvMsg has seen the end of a call that has one answer
		}
	}
}

func main() {
	trusted := insecure.NewCredentials()
	if len(os.Args) > 2 {
		read, err := credentials.NewClientTLSFromFile(os.Args[2], "")
		if err != nil {
			log.Fatal(err)
		}
		trusted = read
	}
	connection, err := grpc.NewClient(os.Args[1],
		grpc.WithTransportCredentials(trusted), grpc.WithDefaultCallOptions(grpc.ForceCodec(codec{})))
	if err != nil {
		log.Fatal(err)
	}
	var cells []cell
	if err := json.NewDecoder(os.Stdin).Decode(&cells); err != nil {
		log.Fatal(err)
	}
	for _, each := range cells {
		messages, err := call(connection, each)
		said := status.Convert(err)
		line, err := json.Marshal(ended{int(said.Code()), said.Message(), messages})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(line))
	}
}
