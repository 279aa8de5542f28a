//! The store: a view of the topics that makes restarts quick. One port, two adapters (sled, memory).
