//! The guards of the core by name: each answers one way to lose a message, or to send one in vain.
//!
//! They hold. Only the build of the mutation check (feature `mutations`) can switch one off at a time, to see that the
//! simulation notices; in any other build the question is answered at compile time.

macro_rules! guards {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What each is there for. The numbers are those of the invariants in docs/architecture.md.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Guard {
            $($(#[$doc])* $name,)*
        }

        impl Guard {
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

guards! {
    /// Nothing fires before everything that was on the ACK topic is applied (6).
    Barrier,
    /// Caught up once is not caught up at the deadline (6).
    BarrierAtDeadline,
    /// A round counts as of when it was asked, not as of when it was answered (6).
    BarrierAsOfAsking,
    /// After an assignment, the source is read to an end learnt after it (6, 8).
    SourceCaughtUp,
    /// After it: an answer to a question of before does not count (6, 8).
    FenceSinceAssignment,
    /// And after the reports of what was submitted when it was ours before (8).
    ReportsBeforeRebuild,
    /// And after what its former owner had submitted has landed or timed out (8).
    FormerOwner,
    /// Who was not confirmed by the group for half a session publishes nothing (6).
    Lease,
    /// And then the ACKs (6).
    AcksCaughtUp,
    /// In this order: what is said of a partition while its source is read again, is read again too (7).
    SourceBeforeAcks,
    /// What was rebuilt beside others is adopted where its ACKs are applied, not where theirs are (6).
    StepBack,
    /// A fence reads the ends of the ACKs first, then those of the source (3).
    FenceOrder,
    /// A broker that does not know all partitions, or not as far as they were read, has not answered (6).
    BarrierKnowsAll,
    /// A partition of the ACK topic is one, whatever named it (6).
    AcksNamedByAnything,
    /// And what the barrier opened for before says nothing of it (6).
    NewAcksShutBarrier,
    /// Nor does a fence of its hold (3, 14).
    FenceKnowsAll,
    /// Nor a fence for what was not ours when it was asked for: nobody could tell (3).
    FenceHoldsForItsOwn,
    /// What is said of a partition that appeared is read from where it was surely not there yet (3, 6).
    AppearedBehindFence,
    /// ACKs are read from where they are needed, not from where their topic begins by now: what is gone is told (6, 7).
    AcksFromWhereNeeded,
    /// Batches of an order that was replaced do not count (6).
    ReaderOrder,
    /// An ACK that came while the payload was fetched stops the publication (7).
    AckStopsPublication,
    /// A copy that may have been acknowledged without having been read is not sent again (7).
    AckedUnseen,
    /// An ambiguous report does not count as a delivery (5).
    AmbiguousIsNoDelivery,
    /// The same attempt again after an ambiguous report, never the next (5, 8).
    SameAttemptAgain,
    /// Dead-lettered for exhaustion only after the last attempt (5).
    LastAttempt,
    /// Between a copy and a dead letter is decided by what is allowed when the payload is at hand (5).
    FateAtLast,
    /// The dead letter is durable before its settlement is written (4).
    DeadLetterFirst,
    /// Whose dead-letter topic was taken away meanwhile is parked, not settled without one (4).
    NowhereToDie,
    /// The settlement is durable before the message is forgotten (4).
    SettlementFirst,
    /// The committed offset stops at the lowest unsettled anchor (2).
    LowestAnchor,
    /// Only a fence that lies below L bounds E (3).
    FenceBelowLow,
    /// E is not past what is applied (3).
    EApplied,
    /// E does not go back behind what is committed: the ACKs there may be gone (13).
    CommittedE,
    /// Nor does a checkpoint have ACKs read again from before it (13).
    ReplayFromE,
    /// The evidence of what a replay would read again holds E back (3).
    Evidence,
    /// What a checkpoint has applied is pinned as a whole when its partition comes back (3).
    EvidenceInCheckpoint,
    /// With early ACKs held, a checkpoint does not claim what is applied (9).
    EarlyInCheckpoint,
    /// An ACK that came while the dead letter was on its way is in it too (9).
    AckBesideDeath,
    /// A checkpoint is taken only under the lease (8, 9).
    CheckpointUnderLease,
    /// Entries of a checkpoint that are older than the commit do not count (9).
    CheckpointBelowLow,
    /// An ACK before its record is kept for it (14).
    EarlyAck,
    /// What was read since an early ACK had no room waits until that is read again (6).
    OverflowWaits,
    /// And the barrier is that of this reading (6).
    OverflowShutsBarrier,
    /// What is said while a partition stands still is read again, behind the copies (7).
    HeardWhileFrozen,
    /// An early ACK is an orphan only by a fence that was asked after it (14).
    OrphanByFence,
    /// A settled message is remembered while a copy of it may still come (8).
    Tombstone,
    /// A record is our copy only if it was sent and is not accounted for yet (14).
    CopyProof,
    /// And only with the payload of the original (14).
    CopyPayload,
    /// A submission may land twice: after an unclear report, before its report, or before where it is reported (8).
    WrittenTwice,
    /// A nack, reject or extend acts only on the delivery that it names (5).
    BoundVerdict,
    /// Of verdicts not acted upon yet the strongest wins (1).
    StrongestVerdict,
    /// An id that several outstanding messages have settles none of them (14).
    SharedId,
}

impl Guard {
    #[cfg(not(feature = "mutations"))]
    pub(super) const fn holds(self) -> bool {
        true
    }

    #[cfg(feature = "mutations")]
    pub(super) fn holds(self) -> bool {
        ASKED.with(|asked| asked[self as usize].set(asked[self as usize].get() + 1));
        OFF.get() != Some(self)
    }

    /// How often each was asked on this thread: one that is never asked guards nothing in the schedules that were run.
    #[cfg(feature = "mutations")]
    #[must_use]
    pub fn asked() -> Vec<(Self, u64)> {
        ASKED.with(|asked| {
            let each = Self::ALL.iter().zip(asked);
            each.map(|(guard, n)| (*guard, n.get())).collect()
        })
    }

    /// Switches this guard off, on this thread, while `run` runs.
    #[cfg(feature = "mutations")]
    pub fn without<R>(self, run: impl FnOnce() -> R) -> R {
        OFF.set(Some(self));
        let result = run();
        OFF.set(None);
        result
    }
}

#[cfg(feature = "mutations")]
thread_local! {
    static OFF: std::cell::Cell<Option<Guard>> = const { std::cell::Cell::new(None) };
    static ASKED: [std::cell::Cell<u64>; Guard::ALL.len()] =
        const { [const { std::cell::Cell::new(0) }; Guard::ALL.len()] };
}
