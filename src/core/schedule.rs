//! How long an attempt waits: backoff, its cap, and jitter from a seed.

use super::policy::Policy;

/// The wait of delivery `attempt` (1 = the original), ms.
///
/// The first wait has no jitter, so that first deadlines of one policy come due in the order of arrival.
pub(super) fn wait_ms(
    policy: &Policy,
    own_timeout_ms: Option<u64>,
    attempt: u32,
    seed: u64,
    origin: i64,
) -> u64 {
    let base = own_timeout_ms
        .map_or(policy.timeout_ms, |own| own.min(policy.delay_max_ms))
        .max(1);
    let cap = policy.timeout_max_ms.max(base);
    backed_off(base, cap, policy, attempt, seed, origin)
}

/// What a NACK of delivery `attempt` waits that names no delay, ms.
pub(super) fn nack_wait_ms(policy: &Policy, attempt: u32, seed: u64, origin: i64) -> u64 {
    let cap = policy.timeout_max_ms.max(policy.nack_delay_ms);
    backed_off(policy.nack_delay_ms, cap, policy, attempt, seed, origin)
}

fn backed_off(base: u64, cap: u64, policy: &Policy, attempt: u32, seed: u64, origin: i64) -> u64 {
    let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    let grown = base as f64 * policy.backoff.powi(exponent);
    let wait = if grown.is_finite() {
        grown.min(cap as f64)
    } else {
        cap as f64
    };
    if attempt <= 1 {
        return wait as u64;
    }
    let roll = split_mix(seed ^ (origin as u64).rotate_left(17) ^ u64::from(attempt));
    // −1.0 to 1.0
    let share = (roll >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
    (wait * (1.0 + policy.jitter * share)).max(0.0) as u64
}

fn split_mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_further_delivery_waits_longer_up_to_the_cap() {
        let policy = Policy {
            jitter: 0.0,
            timeout_ms: 1_000,
            timeout_max_ms: 5_000,
            ..Policy::default()
        };
        let waits: Vec<u64> = (1..=5).map(|n| wait_ms(&policy, None, n, 7, 3)).collect();
        assert_eq!(waits, [1_000, 2_000, 4_000, 5_000, 5_000]);
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_share(seed: u64, origin in 0i64..1_000_000, attempt in 2u32..60) {
            let policy = Policy { jitter: 0.25, timeout_ms: 10_000, timeout_max_ms: 10_000, ..Policy::default() };
            let wait = wait_ms(&policy, None, attempt, seed, origin);
            prop_assert!((7_499..=12_500).contains(&wait), "{wait}");
        }
    }
}
