// A Service B in Go. Run: BROKERS=127.0.0.1:9092 TOPIC=orders go run .
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

func work(record *kgo.Record) {
	fmt.Println("working on", string(record.Value))
}

func main() {
	ctx := context.Background()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(os.Getenv("BROKERS"), ",")...),
		kgo.ConsumerGroup("service-b-go"),
		kgo.ConsumeTopics(os.Getenv("TOPIC")),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(ctx)
		fetches.EachError(func(topic string, partition int32, err error) {
			log.Printf("%s/%d: %v", topic, partition, err)
		})
		fetches.EachRecord(func(record *kgo.Record) {
			work(record)
			position := fmt.Sprintf("%s/%d/%d", record.Topic, record.Partition, record.Offset)
			client.Produce(ctx, &kgo.Record{Topic: record.Topic + "-acks", Key: []byte(position)}, nil)
		})
	}
}
