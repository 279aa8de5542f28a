//! What goes wrong, and how often: drawn anew for each seed, so that some runs are calm and some are not (swarm testing).

use crate::rng::Rng;

/// Rates in a thousand.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    pub b_crashes: u64,
    pub b_nacks: u64,
    pub b_rejects: u64,
    pub b_acks_twice: u64,
    pub b_acks_late: u64,
    pub coordinator_crashes: u64,
    pub store_lost: u64,
    pub ambiguous: u64,
    pub refused: u64,
    pub reader_stalls: u64,
    pub markers: u64,
    pub by_id: u64,
    pub more: More,
    pub kafka: KafkaFaults,
    pub host: HostFaults,
    pub client: ClientFaults,
    pub answers: AnswerFaults,
    pub growth: GrowthFaults,
}

/// What was added later: drawn from a stream of its own, so that the seeds of before still make the worlds of before.
#[derive(Debug, Clone, Default)]
pub struct More {
    /// The next message has the id of the one before.
    pub shared_ids: u64,
    /// Somebody sends a record with the headers of one of our copies.
    pub forged: u64,
    /// What was not flushed is gone: the store has the checkpoint before.
    pub store_old: u64,
    /// At a restart, the wall clock has moved by up to an hour.
    pub clock_jumps: u64,
    pub b_extends: u64,
    /// B says nack, then something else, of one delivery.
    pub b_wavers: u64,
    pub operators: u64,
    /// ACKs that name nothing that is there.
    pub garbage: u64,
    /// Answers to the core's questions take long.
    pub slow_answers: u64,
    /// What is published lands, and is reported, late.
    pub slow_publish: u64,
    /// A reader stands still for seconds.
    pub long_stalls: u64,
    /// A partition is taken from us, and comes back.
    pub rebalances: u64,
    /// A sends a message now and then only: what is seldom seen in a crowd is seen then.
    pub sparse: bool,
}

/// What Kafka does with its logs, and when it does not answer. From a third stream.
#[derive(Debug, Clone, Default)]
pub struct KafkaFaults {
    /// Retention: what lies below the committed offsets goes. Nobody may miss it.
    pub retention: u64,
    /// DeleteRecords, or retention that is too short: what was not settled, or not read, goes too.
    pub deletions: u64,
    /// Compaction of the source: a record in the middle of the log goes.
    pub compaction: u64,
    /// A transaction is open for a while: what stands behind its first record is hidden. Then it commits or aborts.
    pub transactions: u64,
    /// Questions and fetches that get no answer: a leader has moved, a broker is gone.
    pub no_answer: u64,
    /// Messages whose copies do not fit.
    pub too_large: u64,
    /// What is on the ACK topic and not for us: another group's settlements, records that name nothing.
    pub strangers: u64,
    /// What `on_lost_range` says: go on, or stop until somebody decides.
    pub go_on: bool,
}

/// What Kafka's client does. From a fourth stream.
#[derive(Debug, Clone, Default)]
pub struct ClientFaults {
    /// A record is sent again under a new epoch, and so written twice.
    pub twice: u64,
}

impl ClientFaults {
    fn draw(rng: &mut Rng) -> Self {
        let twice = rng.rate(500, 400);
        Self { twice }
    }
}

/// What the broker says of what is no copy. From a seventh stream.
#[derive(Debug, Clone, Default)]
pub struct AnswerFaults {
    /// The report of a dead letter, settlement or decision is unclear, and it is in no log.
    pub lost: u64,
    /// That of a settlement or decision is unclear, and it lands later.
    pub late: u64,
    /// A commit is not taken, or taken and not said to be.
    pub commits_fail: u64,
    /// It is answered late.
    pub commits_late: u64,
    /// A broker that knows only part of a topic answers, or one that knows ends of before.
    pub partial: u64,
    /// While a fence is asked for, something is sent and acknowledged. From an eighth stream.
    pub between: u64,
    /// The process dies with half of what it decided done.
    pub dies_between: u64,
}

impl AnswerFaults {
    pub fn draw(rng: &mut Rng) -> Self {
        let mut rate = |max: u64| rng.rate(500, max);
        Self {
            lost: rate(200),
            late: rate(200),
            commits_fail: rate(300),
            commits_late: rate(300),
            dies_between: rate(4),
            partial: rate(300),
            between: 0,
        }
    }
}

/// Partitions that topics get. From a ninth stream.
#[derive(Debug, Clone, Default)]
pub struct GrowthFaults {
    pub sources: u64,
    pub acks: u64,
    /// Minutes may pass until all have heard of one.
    pub slow: bool,
}

impl GrowthFaults {
    pub fn draw(rng: &mut Rng) -> Self {
        let slow = rng.chance(100);
        let mut rate = |max: u64| rng.rate(250, if slow { max / 4 } else { max });
        Self {
            sources: rate(60),
            acks: rate(60),
            slow,
        }
    }

    pub fn any(&self) -> bool {
        self.sources + self.acks > 0
    }
}

/// What the machine does to a coordinator, and its operators.
#[derive(Debug, Clone, Default)]
pub struct HostFaults {
    /// At a restart, the store is torn, or has a flipped bit.
    pub store_damaged: u64,
    /// The wall clock steps by up to an hour.
    pub clock_steps: u64,
    /// The monotonic clock of each life goes too fast or too slow by up to so many thousandths.
    pub drift: u64,
    /// Timeouts are changed, topics paused and resumed.
    pub changes: u64,
    /// The dead-letter topic is taken away, and given back. From a fifth stream.
    pub dead_letter_changes: u64,
    /// The limits are changed: attempts, rate, delays. From a sixth stream.
    pub limit_changes: u64,
    /// Retries are limited to so many a second.
    pub retry_rate: u32,
    /// A short run with few messages.
    pub short: bool,
}

impl KafkaFaults {
    fn draw(rng: &mut Rng) -> Self {
        if rng.chance(400) {
            return Self::default();
        }
        let mut rate = |max: u64| rng.rate(600, max);
        Self {
            retention: rate(40),
            deletions: rate(6),
            compaction: rate(10),
            transactions: rate(20),
            no_answer: rate(400),
            too_large: rate(100),
            strangers: rate(40),
            go_on: rate(2) == 0,
        }
    }

    /// Records go that somebody needed.
    pub fn may_lose(&self) -> bool {
        self.deletions + self.compaction > 0
    }
}

impl HostFaults {
    fn draw(rng: &mut Rng) -> Self {
        let short = rng.chance(850);
        if rng.chance(400) {
            return Self {
                short,
                ..Self::default()
            };
        }
        let mut rate = |max: u64| rng.rate(600, max);
        Self {
            store_damaged: rate(1000),
            clock_steps: rate(5),
            drift: rate(20),
            changes: rate(8),
            retry_rate: rate(60) as u32,
            short,
            dead_letter_changes: 0,
            limit_changes: 0,
        }
    }
}

impl Faults {
    /// As the first seeds had them.
    pub fn draw_first(rng: &mut Rng) -> Self {
        let mut rate = |max: u64| rng.rate(400, max);
        Self {
            b_crashes: rate(200),
            b_nacks: rate(100),
            b_rejects: rate(40),
            b_acks_twice: rate(200),
            b_acks_late: rate(200),
            coordinator_crashes: rate(15),
            store_lost: rate(1000),
            ambiguous: rate(200),
            refused: rate(100),
            reader_stalls: rate(300),
            markers: rate(200),
            by_id: rate(1000),
            more: More::default(),
            kafka: KafkaFaults::default(),
            host: HostFaults::default(),
            client: ClientFaults::default(),
            answers: AnswerFaults::default(),
            growth: GrowthFaults::default(),
        }
    }

    /// All of them.
    pub fn draw(rng: &mut Rng, later: &mut Rng, latest: &mut Rng, client: &mut Rng) -> Self {
        let mut faults = Self {
            client: ClientFaults::draw(client),
            kafka: KafkaFaults::draw(latest),
            host: HostFaults::draw(latest),
            ..Self::draw_second(rng, later)
        };
        // What comes of partitions that come and go takes its time.
        faults.host.short &= faults.more.rebalances < 5;
        if faults.kafka.may_lose() {
            // What pretends to be a copy of what is gone cannot be told from it.
            faults.more.forged = 0;
        }
        faults
    }

    /// As the second seeds had them; in some those together that make the rare moments.
    pub fn draw_second(rng: &mut Rng, later: &mut Rng) -> Self {
        let mut first = Self::draw_first(rng);
        let theme = later.below(6);
        let absent = if theme == 0 { 100 } else { 700 };
        let mut rate = |max: u64| {
            if later.chance(absent) {
                0
            } else {
                later.below(max)
            }
        };
        let mut more = More {
            shared_ids: rate(300),
            forged: rate(30),
            store_old: rate(1000),
            clock_jumps: rate(1000),
            b_extends: rate(100),
            b_wavers: rate(100),
            operators: rate(10),
            garbage: rate(50),
            slow_answers: rate(500),
            slow_publish: rate(500),
            long_stalls: rate(20),
            rebalances: rate(10),
            sparse: false,
        };
        match theme {
            // Partitions that come and go while everything is slow.
            1 => {
                more.rebalances = 5 + later.below(20);
                more.slow_answers = 300;
                more.slow_publish = 300;
                more.long_stalls = 10;
            }
            // Copies that are long on their way, ACKs of older deliveries, crashes.
            2 => {
                more.slow_publish = 700;
                more.long_stalls = 5 + later.below(20);
                more.shared_ids = 0;
                first.b_acks_late = 400;
                first.coordinator_crashes = 5;
                first.ambiguous = 0;
                first.by_id = 0;
            }
            // Records that pretend to be copies.
            3 => {
                more.forged = 30 + later.below(100);
                more.slow_publish = 700;
                more.rebalances = 0;
                first.b_crashes = 300;
                first.ambiguous = 0;
                first.coordinator_crashes = 0;
            }
            // Few messages; B speaks late, and what it says is read late.
            4 => {
                more.sparse = true;
                more.slow_publish = 800;
                more.slow_answers = 0;
                more.long_stalls = 20 + later.below(40);
                more.shared_ids = 0;
                first.b_acks_late = 300 + later.below(500);
                first.ambiguous = if later.chance(500) { 0 } else { 500 };
                first.by_id = 0;
                first.reader_stalls = 0;
                first.coordinator_crashes = first.coordinator_crashes.min(4);
            }
            _ => {}
        }
        // A copy in flight, or of a life before, and a record that pretends to be it, cannot be told apart by anybody
        // (docs/guarantees.md).
        if first.coordinator_crashes + first.ambiguous + more.rebalances > 0 {
            more.forged = 0;
        }
        Self { more, ..first }
    }

    pub fn stop(&mut self) {
        *self = Self {
            by_id: self.by_id,
            ..Self::default()
        };
    }
}
