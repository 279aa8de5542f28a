//! `ackwarden demo`: everything at once on an embedded broker.
