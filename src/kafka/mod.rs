//! Kafka: the member, the readers, the publisher, payload fetch, admin look-ups.
