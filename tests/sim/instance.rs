//! One instance of the coordinator: its process, its readers, its store, and what it was told.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use ackwarden::core::image::PartitionImage;
use ackwarden::core::{AckBatch, Coordinator, Event};

pub struct Instance {
    pub number: usize,
    pub core: Coordinator,
    pub up: bool,
    /// It died in the middle of what it did: nothing of the rest is done.
    pub dying: bool,
    pub restart_at: u64,
    /// SIGSTOP, until then.
    pub frozen_until: u64,
    /// Reading, by partition.
    pub source_reader: BTreeMap<i32, i64>,
    pub ack_reader: BTreeMap<i32, i64>,
    pub ack_generation: u64,
    /// Read from their beginning, and nothing was told of it yet: that there is nothing is told, too.
    pub acks_begun: BTreeSet<i32>,
    /// The short-lived reader of what is rebuilt beside others.
    pub rebuild_reader: BTreeMap<i32, i64>,
    pub rebuild_generation: u64,
    pub rebuild_begun: BTreeSet<i32>,
    pub paused: BTreeSet<i32>,
    pub store: HashMap<i32, PartitionImage>,
    /// As it was at the checkpoint before.
    pub store_before: HashMap<i32, PartitionImage>,
    /// Which store it is: one that was lost comes back as another.
    pub store_number: u64,
    pub inbox: Vec<(u64, Event)>,
    /// Batches of ACKs that were read and not handed over.
    pub ack_batches: VecDeque<AckBatch>,
    /// Up to where ACKs were handed over, by order.
    pub acks_applied: BTreeMap<i32, i64>,
    pub acks_held_until: u64,
    pub source_held_until: u64,
    /// When each partition became its own last.
    pub assigned_ms: BTreeMap<i32, u64>,
    /// Until when what the owner before submitted may land.
    pub former_until: BTreeMap<i32, u64>,
    /// Partitions that are not its own for now, and until when.
    pub away: BTreeMap<i32, u64>,
    /// The least and the most attempts that it was told of lately.
    pub attempts_told: (u32, u32),
    /// And last.
    pub attempts_now: u32,
    pub was_ready: bool,
    /// With as much outstanding as may be, something was read all the same.
    pub read_though_full: bool,
    pub started_ms: u64,
    /// Its monotonic clock goes too fast by so many thousandths.
    pub drift: i64,
    pub incarnation: u64,
    /// The group counts it among its members.
    pub joined: bool,
    pub heard_ms: u64,
    /// Taken from it while it stood still: it hears of it once it goes on.
    pub lost: Vec<i32>,
    /// When it looks next which partitions there are.
    pub looks_at: u64,
    /// ACK partitions that anything told it of.
    pub acks_heard_of: BTreeSet<i32>,
    /// Those that it had not heard of when its barrier was answered without them, and when that was last.
    pub missed: BTreeMap<i32, u64>,
}

impl Instance {
    pub fn new(number: usize, core: Coordinator) -> Self {
        Self {
            number,
            core,
            up: false,
            dying: false,
            restart_at: 0,
            frozen_until: 0,
            source_reader: BTreeMap::new(),
            ack_reader: BTreeMap::new(),
            ack_generation: 0,
            acks_begun: BTreeSet::new(),
            rebuild_reader: BTreeMap::new(),
            rebuild_generation: 0,
            rebuild_begun: BTreeSet::new(),
            paused: BTreeSet::new(),
            store: HashMap::new(),
            store_before: HashMap::new(),
            store_number: number as u64,
            inbox: Vec::new(),
            ack_batches: VecDeque::new(),
            acks_applied: BTreeMap::new(),
            acks_held_until: 0,
            source_held_until: 0,
            assigned_ms: BTreeMap::new(),
            former_until: BTreeMap::new(),
            away: BTreeMap::new(),
            attempts_told: (0, 0),
            attempts_now: 0,
            was_ready: false,
            read_though_full: false,
            started_ms: 0,
            drift: 0,
            incarnation: 0,
            joined: false,
            heard_ms: 0,
            lost: Vec::new(),
            looks_at: 0,
            acks_heard_of: BTreeSet::new(),
            missed: BTreeMap::new(),
        }
    }

    /// What its monotonic clock shows then.
    pub fn clock_ms(&self, world_ms: u64) -> u64 {
        world_ms * (1_000_i64 + self.drift).unsigned_abs() / 1_000
    }

    /// The group took it from it, and its engine has not heard so.
    pub fn is_to_lose(&self, partition: i32) -> bool {
        self.inbox.iter().any(|(_, event)| {
            matches!(event, Event::Revoked { partitions, .. } if partitions.contains(&partition))
        })
    }

    /// What a process has in its memory is gone.
    pub fn forget(&mut self) {
        self.inbox.clear();
        self.source_reader.clear();
        self.ack_reader.clear();
        self.rebuild_reader.clear();
        self.acks_begun.clear();
        self.rebuild_begun.clear();
        self.ack_batches.clear();
        self.acks_applied.clear();
        self.paused.clear();
        self.lost.clear();
        self.looks_at = 0;
        self.acks_heard_of.clear();
        self.missed.clear();
        self.frozen_until = 0;
        self.dying = false;
    }
}
