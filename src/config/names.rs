//! Names: what Kafka allows, and the templates `{topic}` and `{group_id}`.

/// Longest topic name, Kafka's own bound.
pub const TOPIC_NAME_MAX: usize = 249;

/// Kafka's rule for topic names, which is also its rule for `group.instance.id`.
///
/// # Errors
/// What is wrong, as a fragment that follows the name.
pub fn check_topic_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("is empty".to_owned());
    }
    if name == "." || name == ".." {
        return Err("is not a legal name: Kafka reserves `.` and `..`".to_owned());
    }
    if let Some(c) = name
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
    {
        return Err(format!(
            "is not a legal name: {c:?} is not among letters, digits, `.`, `_` and `-`"
        ));
    }
    if name.len() > TOPIC_NAME_MAX {
        return Err(format!(
            "is not a legal name: {} characters, Kafka allows {TOPIC_NAME_MAX}",
            name.len()
        ));
    }
    Ok(())
}

/// Puts values in the place of `{name}`.
///
/// # Errors
/// The first `{…}` that is not among `known`, or a brace without its other half.
pub fn fill_template(text: &str, known: &[(&str, &str)]) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        out.push_str(&rest[..open]);
        let inner = &rest[open..];
        let close = inner.find('}').filter(|&close| close > 0);
        let Some(close) = close else {
            return Err(format!(
                "has a brace without its other half; a template is written {}",
                list_templates(known)
            ));
        };
        let name = &inner[1..close];
        let Some((_, value)) = known.iter().find(|(known, _)| *known == name) else {
            return Err(format!(
                "has an unknown template `{{{name}}}`; here there is {}",
                list_templates(known)
            ));
        };
        out.push_str(value);
        rest = &inner[close + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn list_templates(known: &[(&str, &str)]) -> String {
    let names: Vec<String> = known.iter().map(|(n, _)| format!("`{{{n}}}`")).collect();
    names.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_rule_for_topic_names_holds() {
        for good in ["orders", "orders.v2", "a_b-C.9", &"x".repeat(249)] {
            assert_eq!(check_topic_name(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "orders/eu",
            "örders",
            "a b",
            &"x".repeat(250),
        ] {
            assert!(check_topic_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn templates_are_filled_and_unknown_ones_refused() {
        let known = [("topic", "orders")];
        assert_eq!(fill_template("{topic}-dlq", &known).unwrap(), "orders-dlq");
        assert_eq!(fill_template("plain", &known).unwrap(), "plain");
        assert_eq!(
            fill_template("{topic}.{topic}", &known).unwrap(),
            "orders.orders"
        );
        for bad in ["{tpoic}-dlq", "{topic", "topic}", "{}", "}{"] {
            assert!(fill_template(bad, &known).is_err(), "{bad}");
        }
    }
}
