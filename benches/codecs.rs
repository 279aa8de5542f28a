//! The decoders of source records and ACKs, and the stored blocks: bytes to the core's terms and back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is the report"
)]

mod records;
mod workload;

use std::hint::black_box;

use ackwarden::wire::stored::{decode_block, encode_block};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use records::Records;

fn decoders(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for ids in [false, true] {
        let mut records = Records::new(ids);
        group.throughput(Throughput::Elements(records.len() as u64));
        let name = if ids { "36-character ids" } else { "positions" };
        group.bench_function(format!("source records of 200 B, {name}"), |b| {
            b.iter(|| records.decode_sources());
        });
        group.bench_function(format!("ACKs, {name}"), |b| {
            b.iter(|| records.decode_acks());
        });
    }
    group.finish();
}

fn stored(c: &mut Criterion) {
    let mut group = c.benchmark_group("stored block");
    group.throughput(Throughput::Elements(1_024));
    for ids in [false, true] {
        let name = if ids { "36-character ids" } else { "positions" };
        let block = records::block(ids);
        let bytes = encode_block(&block);
        group.bench_function(format!("encode, {name}"), |b| {
            b.iter(|| black_box(encode_block(black_box(&block))));
        });
        group.bench_function(format!("decode, {name}"), |b| {
            b.iter(|| black_box(decode_block(black_box(&bytes))).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, decoders, stored);
criterion_main!(benches);
