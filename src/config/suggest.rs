//! "Did you mean …?": the nearest of the known names.

/// The known name that differs least from `typed`, if it is near enough to be meant.
#[must_use]
pub fn did_you_mean<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |s: &str| s.to_ascii_lowercase().replace(['-', '.', ' '], "_");
    let typed = plain(typed);
    let (distance, nearest) = known
        .into_iter()
        .map(|name| (edit_distance(&typed, &plain(name)), name))
        .min_by_key(|(distance, _)| *distance)?;
    let near_enough = (nearest.len().max(typed.len()) / 3).clamp(1, 4);
    (distance <= near_enough).then_some(nearest)
}

/// Edits (insert, delete, replace, swap of neighbours) from one to the other: optimal string alignment.
fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_find_their_key() {
        let known = ["timeout", "timeout_max", "backoff", "max_attempts"];
        for (typed, meant) in [
            ("time_out", "timeout"),
            ("tiemout", "timeout"),
            ("timeout-max", "timeout_max"),
            ("Backoff", "backoff"),
            ("max_attempt", "max_attempts"),
        ] {
            assert_eq!(did_you_mean(typed, known), Some(meant), "{typed}");
        }
    }

    #[test]
    fn what_is_far_from_everything_is_not_guessed() {
        assert_eq!(did_you_mean("colour", ["timeout", "backoff"]), None);
        assert_eq!(did_you_mean("x", []), None);
    }
}
