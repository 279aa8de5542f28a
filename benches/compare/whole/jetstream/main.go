// Service A and Service B on NATS JetStream: A publishes, B does nothing with a message and acknowledges each.
// Says "ready", waits for a file, then says "done".
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	address, name := os.Args[1], os.Args[2]
	records := number(os.Args[3])
	size := number(os.Args[4])
	ctx := context.Background()
	a, b := connected(address), connected(address)
	stream, err := b.CreateStream(ctx, jetstream.StreamConfig{
		Name: name, Subjects: []string{name}, Storage: jetstream.FileStorage,
	})
	check(err)
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: "service-b", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Hour, MaxAckPending: -1,
	})
	check(err)
	fmt.Println("ready")
	for _, err := os.Stat(os.Args[5]); err != nil; _, err = os.Stat(os.Args[5]) {
		time.Sleep(time.Millisecond)
	}
	running, err := consumer.Consume(func(message jetstream.Msg) { check(message.Ack()) },
		jetstream.PullMaxMessages(10_000))
	check(err)
	payload := make([]byte, size)
	for range records {
		_, err := a.PublishAsync(name, payload)
		check(err)
	}
	<-a.PublishAsyncComplete()
	for {
		info, err := consumer.Info(ctx)
		check(err)
		if info.AckFloor.Stream >= uint64(records) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println("done")
	running.Stop()
}

func connected(address string) jetstream.JetStream {
	connection, err := nats.Connect(address)
	check(err)
	stream, err := jetstream.New(connection, jetstream.WithPublishAsyncMaxPending(20_000))
	check(err)
	return stream
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	check(err)
	return n
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
