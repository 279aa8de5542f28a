//! What the demo prints: where to look, a running line, the verdict.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Stage, Tally};
use crate::clock;

/// On a terminal the running line is updated in place; elsewhere there is one a second.
pub struct Screen<W: Write> {
    out: W,
    live: bool,
    last: Option<Instant>,
}

impl<W: Write> Screen<W> {
    pub const fn new(out: W, live: bool) -> Self {
        Self {
            out,
            live,
            last: None,
        }
    }

    pub fn welcome(&mut self, stage: &Stage, http: Option<SocketAddr>) -> io::Result<()> {
        let brokers = &stage.brokers;
        let source = &stage.source;
        writeln!(
            self.out,
            "A Service A sends orders, a Service B processes them and is killed in mid-work, again and again.\n\
             \n\
             Kafka      {brokers}   (topics: {source}, {}, {})\n\
             \x20          kcat -b {brokers} -C -t {source} -f '%p/%o %h %s\\n'",
            stage.ack_topic, stage.dead_letter_topic
        )?;
        if let Some(http) = http {
            writeln!(
                self.out,
                "HTTP       http://{http}/\n\
                 \x20          curl -s http://{http}/api/v1/topics/{source}\n\
                 \x20          curl -s 'http://{http}/api/v1/messages?topic={source}&state=retrying'\n\
                 \x20          curl -s http://{http}/metrics"
            )?;
        }
        writeln!(self.out, "Ctrl-C ends it, with the count.\n")?;
        self.out.flush()
    }

    /// Shows the count, if it is time to.
    pub fn show(
        &mut self,
        elapsed: Duration,
        tally: &Tally,
        outstanding: Option<u64>,
    ) -> io::Result<()> {
        let pause = Duration::from_millis(if self.live { 200 } else { 1_000 });
        let now = clock::instant();
        if self.last.is_some_and(|last| now - last < pause) {
            return Ok(());
        }
        self.last = Some(now);
        let seconds = elapsed.as_secs();
        let line = format!(
            "{:02}:{:02}  sent {}  processed {}  outstanding {}  kills {}  retries {}  duplicates {}",
            seconds / 60,
            seconds % 60,
            tally.sent,
            tally.processed,
            outstanding.map_or_else(|| "?".to_owned(), |n| n.to_string()),
            tally.kills,
            tally.retries,
            tally.duplicates
        );
        if self.live {
            write!(self.out, "\r\x1b[2K{line}")?;
        } else {
            writeln!(self.out, "{line}")?;
        }
        self.out.flush()
    }

    /// A line of its own, the running line left standing above it.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        if self.live && self.last.take().is_some() {
            writeln!(self.out)?;
        }
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }
}
