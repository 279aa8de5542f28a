//! Real samples of everything that is decoded: what a fuzzer begins with.

use ackwarden::core::image::{
    BlockEntry, BlockImage, DeliveryImage, DetailImage, DetailState, PartitionHeader, VerdictImage,
};
use ackwarden::core::record::{Cause, CauseKind, Verdict};
use ackwarden::core::types::{LogPosition, TopicIx};
use ackwarden::core::view::Cursor;
use ackwarden::http::cursor;
use ackwarden::ports::StoreIdentity;
use ackwarden::wire::commit::{self, CommitMeta};
use ackwarden::wire::stored;

use crate::targets::{ACK_TOPICS, NEXT, NULL, SOURCES};

type Seeds = Vec<Vec<u8>>;

/// By target.
pub fn all() -> [(&'static str, Seeds); 10] {
    [
        ("source_record", source_records()),
        ("ack_record", ack_records()),
        ("json_pointer", pointers()),
        ("commit_metadata", commits()),
        ("stored_bytes", stored_values()),
        ("state_record", state_records()),
        ("configuration", configurations()),
        ("environment", environments()),
        ("policy_patch", policy_patches()),
        ("page_cursor", cursors()),
    ]
}

fn record(topic: usize, key: &[u8], value: &[u8], headers: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(topic).unwrap()];
    bytes.extend_from_slice(key);
    for field in std::iter::once(value).chain(
        headers
            .iter()
            .flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]),
    ) {
        bytes.push(NEXT);
        bytes.extend_from_slice(field);
    }
    bytes
}

fn source_records() -> Seeds {
    let order = br#"{"customer":"c-1","order":{"id":"A-7","cents":100}}"#;
    let event = [("ce_source", "/shop"), ("ce_id", "e-1"), ("ce_type", "t")];
    let mut seeds: Seeds = (0..SOURCES.len())
        .map(|topic| record(topic, b"k-1", order, &event))
        .collect();
    let copy = |group| {
        [
            ("message-id", "m-1"),
            ("ackwarden-message-id", "m-1"),
            ("ackwarden-attempt", "3"),
            ("ackwarden-origin", "header/3/1000"),
            ("ackwarden-origin-timestamp", "1700000000000"),
            ("ackwarden-deliveries", "header/3/1010,header/3/1020"),
            ("ackwarden-cause", "nack header-acks/2/881"),
            ("ackwarden-group", group),
        ]
    };
    seeds.extend([
        record(0, b"k", b"v", &[("message-id", "m-1")]),
        record(0, b"k", b"v", &[("message-id", "")]),
        record(0, b"k", b"v", &copy("c1/ackwarden")),
        record(0, b"k", b"v", &copy("c1/other")),
        record(0, NULL, NULL, &[("ackwarden-timeout", "1m 30s")]),
        record(0, NULL, NULL, &[("ackwarden-timeout", "soon")]),
        record(4, b"k", b"v", &[("a\0b", "1")]),
        record(5, b"k", br#"[{"/":42}]"#, &[]),
        record(2, b"k", br#"{"order":{"id":1.5}}"#, &[]),
    ]);
    seeds
}

fn ack_records() -> Seeds {
    let mut seeds: Seeds = (0..ACK_TOPICS.len())
        .map(|topic| {
            let event = [("ce_source", "/shop"), ("ce_id", "e-1")];
            record(topic, b"A-7", br#"{"order_id":"A-7","ok":true}"#, &event)
        })
        .collect();
    for verdict in Verdict::ALL {
        let headers = [
            ("ackwarden-verdict", verdict.as_str()),
            ("ackwarden-attempt", "2"),
            ("ackwarden-group", "c1/ackwarden"),
        ];
        seeds.push(record(0, b"header/3/1042", b"", &headers));
    }
    seeds.extend([
        record(
            3,
            b"p-1",
            b"",
            &[("ackwarden-topic", "position"), ("ackwarden-by", "billing")],
        ),
        record(
            3,
            b"x",
            b"",
            &[("ackwarden-origin", "all/0/7"), ("ackwarden-topic", "all")],
        ),
        record(
            3,
            b"key/0/7",
            b"",
            &[
                ("ackwarden-verdict", "nack"),
                ("ackwarden-delay", "10s"),
                ("ackwarden-reason", "no stock"),
            ],
        ),
        record(0, b"m", b"", &[("ackwarden-verdict", "perhaps")]),
        record(0, b"m", b"", &[("ackwarden-delay", "-1s")]),
        record(0, NULL, NULL, &[("ackwarden-message-id", "m-1")]),
        record(0, NULL, NULL, &[]),
    ]);
    seeds
}

fn pointers() -> Seeds {
    [
        ("/order/id", r#"{"order":{"id":"A-7"},"z":{}}"#),
        ("/1/id", r#"[{"id":"x"},{"id":-5},3.5,1e3]"#),
        ("/a~1b/~0/", r#"{"a/b":{"~":{"":"deep"}}}"#),
        ("", r#""A-7""#),
        ("/n", r#"{"n":18446744073709551615,"n":null}"#),
        ("/caf\u{e9}", r#"{"caf\u00e9":"\u00fc\ud83d\ude00"}"#),
        ("/0/0/0", "[[[true,false]]]"),
    ]
    .map(|(pointer, document)| {
        let fields = [pointer.as_bytes(), document.as_bytes()];
        fields.join(&[NEXT][..])
    })
    .to_vec()
}

fn commits() -> Seeds {
    let texts = [
        include_str!("../wire/v1/commit-empty.txt"),
        include_str!("../wire/v1/commit-plain.txt"),
        include_str!("../wire/v1/commit-gaps.txt"),
        include_str!("../wire/v2/commit-empty.txt"),
        include_str!("../wire/v2/commit-owned.txt"),
    ];
    let mut seeds: Seeds = texts.map(|t| t.trim_end().as_bytes().to_vec()).to_vec();
    // The bodies too, which a fuzzer can change without spoiling a checksum.
    for acks in [
        vec![],
        vec![(0, 1_042), (1, 881), (2, 123_456_789_012)],
        vec![(1, 7), (5, 7), (900, 7)],
        (0..200).map(|p| (p, 5 + (i64::from(p) << 20))).collect(),
    ] {
        let meta = CommitMeta {
            acks,
            cluster_id: "c1".into(),
            source_topic_id: "s".into(),
            ack_topic_id: "a".into(),
            owner: "ackwarden-00c0ffee00c0ffee".into(),
        };
        seeds.push(body_of(&commit::encode(&meta)));
    }
    seeds
}

fn body_of(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    let encoded = text.split_once(':').unwrap().1;
    let mut body = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(encoded)
        .unwrap();
    body.truncate(body.len() - 4);
    body
}

fn stored_values() -> Seeds {
    let entry = |slot| BlockEntry {
        slot,
        seen_wall_ms: 1_700_000_000_000 + i64::from(slot),
        len: 120,
        digest: 0x0123_4567_89ab_cdef,
    };
    let block = BlockImage {
        base: 1_024,
        entries: (3..9).chain([40, 1_023]).map(entry).collect(),
        ids: [(4, "m-4".into()), (1_023, "m-1023".into())]
            .into_iter()
            .collect(),
    };
    let delivery = |attempt, offset, cause| DeliveryImage {
        attempt,
        offset,
        at_wall_ms: 1_700_000_000_000,
        cause,
    };
    let at = LogPosition::new(2, 881);
    let nack = Cause {
        kind: CauseKind::Nack,
        record: Some(at),
    };
    let detail = |origin, state, verdict| DetailImage {
        origin,
        origin_timestamp_ms: 1_700_000_000_000,
        id: Some("m-1".into()),
        seen_wall_ms: 1_700_000_000_000,
        len: 120,
        digest: 7,
        attempt: 2,
        deliveries: vec![
            delivery(1, origin, None),
            delivery(2, origin + 5, Some(nack)),
        ],
        unaccounted: 1,
        pending_attempt: 3,
        due_in_ms: Some(-5),
        extended_ms: 1_000,
        timeout_ms: Some(3_000),
        state,
        verdict,
        unfaithful: false,
    };
    let verdict = VerdictImage {
        verdict: Verdict::Nack,
        at,
        delay_ms: Some(10),
        reason: Some("no stock".into()),
    };
    let details = [
        detail(7, DetailState::Outstanding, None),
        detail(9, DetailState::Acked, Some(verdict)),
        detail(11, DetailState::Parked, None),
    ];
    let root = stored::PartitionRoot {
        topic: "orders".into(),
        partition: 3,
        topic_id: "tQcH1bDwRN2ZnM0Rk3mUsA".into(),
        whole: true,
        records: 4,
        digest_sum: 99,
        header: PartitionHeader {
            source_applied: 1_100,
            acks_applied: vec![(0, 881), (2, 7)],
            low: 1_042,
            low_acks: vec![(0, 800), (2, 7)],
            taken_wall_ms: 1_700_000_000_000,
            timeouts: vec![(0, 30_000), (1_050, 45_000)],
        },
    };
    let identity = StoreIdentity {
        instance_id: "ackwarden-00c0ffee00c0ffee".into(),
        cluster_id: "c1".into(),
    };
    vec![
        stored::encode_block(&block),
        stored::encode_block(&BlockImage::default()),
        stored::encode_details(details.iter()),
        stored::encode_partition(&root),
        stored::encode_identity(&identity),
        stored::seal(b"address", &stored::encode_block(&block)),
    ]
}

fn state_records() -> Seeds {
    let mut seeds: Seeds = [
        ("birth/orders", include_str!("../wire/v1/birth.json")),
        ("policy/orders", include_str!("../wire/v1/policy.json")),
        ("pause/orders", include_str!("../wire/v1/pause.json")),
        ("job/7f3a", include_str!("../wire/v1/job.json")),
        ("birth/orders", r#"{"v":2}"#),
    ]
    .map(|(key, value)| [key.as_bytes(), value.trim_end().as_bytes()].join(&[NEXT][..]))
    .to_vec();
    seeds.push(b"pause/orders".to_vec());
    seeds
}

fn configurations() -> Seeds {
    let small = [
        "[kafka]\nbrokers = \"127.0.0.1:9092\"\n[topics.orders]\ntimeout = \"1m 30s\"\n",
        "[kafka.properties]\n\"security.protocol\" = \"SASL_SSL\"\nsasl.mechanism = \"PLAIN\"\n[topics.\"orders.*\"]\n",
        "[topics.a]\nstart = \"2026-01-01T00:00:00Z\"\nid = [\"json:/a/b\", \"cloudevents\", \"position\"]\nbackoff = 0.5\n",
        "[http]\nlisten = \"0.0.0.0:80\"\n[[http.tokens]]\nname = \"ops\"\n",
        "[limits]\nmax_outstanding = 10_000_000\n[topics.a]\nretry_topic = \"b\"\ndead_letter = \"\"\n[topics.b]\n",
        "[topics.a]\ntimeuot = \"1s\"\n",
    ];
    let mut seeds: Seeds = small.map(|text| text.as_bytes().to_vec()).to_vec();
    seeds.push(ackwarden::config::EXAMPLE.as_bytes().to_vec());
    seeds
}

fn environments() -> Seeds {
    [
        &["DEFAULTS__TIMEOUT", "45s"][..],
        &[
            "HTTP__LISTEN",
            "127.0.0.1:2",
            "LIMITS__MAX_OUTSTANDING",
            "5_000",
        ],
        &[
            "DEFAULTS__ID",
            "cloudevents, json:/id",
            "DEFAULTS__OBSERVE_ONLY",
            "TRUE",
        ],
        &[
            "TOPICS__HEADER__DEAD_LETTER",
            "",
            "topics__all__max_attempts",
            "7",
        ],
        &["KAFKA__PROPERTIES__SASL_MECHANISM", "PLAIN"],
        &["KAFKA__CONSUMER__SESSION__TIMEOUT__MS", "10000"],
        &[
            "DEFAULTS__START",
            "2026-01-31T08:00:00Z",
            "DEFAULTS__BACKOFF",
            "3",
        ],
        &[
            "DEFAULTS__TIME_OUT",
            "10s",
            "HTPP__LISTEN",
            "x",
            "TOPICS__INVOICES__TIMEOUT",
            "10",
        ],
    ]
    .map(|fields| {
        let fields: Vec<&[u8]> = fields.iter().map(|f| f.as_bytes()).collect();
        fields.join(&[NEXT][..])
    })
    .to_vec()
}

fn policy_patches() -> Seeds {
    [
        r#"{"timeout":"45s","backoff":1.5,"timeout_max":"8m","jitter":0.1}"#,
        r#"{"max_attempts":0,"nack_delay":"1s","delay_max":"1h 30m"}"#,
        r#"{"dead_letter":"{topic}-dlq","retry_rate":500}"#,
        r#"{"dead_letter":"","on_lost_range":"report-and-continue"}"#,
        r#"{"timeout":null,"id":["key"],"timeuot":"1s","backoff":"2"}"#,
        r#"{"retry_rate":1e300,"jitter":-1,"max_attempts":4294967296}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn cursors() -> Seeds {
    let at = |shelf| Cursor {
        seen_wall_ms: 1_700_000_000_000,
        topic: TopicIx(1),
        partition: 3,
        origin: 1_042,
        shelf,
    };
    let text = cursor::to_text(at(0), 7);
    let mut seeds = vec![
        text.clone().into_bytes(),
        cursor::to_text(at(1), 8).into_bytes(),
    ];
    // What is behind version and filter.
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .unwrap();
    seeds.push(bytes[9..].to_vec());
    seeds.push(vec![0xff; 23]);
    seeds.push(Vec::from([0; 23]));
    seeds
}
