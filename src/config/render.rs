//! Problems as text: the line, a caret under the exact place, the cure.
//!
//! A secret never shows. Where a line is shown, everything from the first value on that is, or by its key may be, a
//! secret is masked; of a file that does not parse, so is every value of the Kafka properties.

use super::problem::{Place, Problem};
use super::secrets::{MASK, looks_secret};

/// Longest part of a line that is shown, characters.
const SHOWN_MAX: usize = 160;

/// The text that places point into.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub name: String,
    pub text: String,
    /// Values that must not show: start and end, bytes.
    pub hidden: Vec<(usize, usize)>,
    /// The text could not be parsed, so `hidden` knows nothing.
    pub unparsed: bool,
}

impl Source {
    /// A problem or warning, in several lines.
    pub fn render(&self, problem: &Problem) -> String {
        let mut out = format!("error: {}\n", plain(&problem.what));
        let gutter = self.snippet(&problem.place, &mut out);
        let blank = " ".repeat(gutter);
        if let Some((what, place)) = &problem.also {
            out.push_str(&format!(
                "{blank} = {}: {}\n",
                plain(what),
                self.describe(place)
            ));
        }
        if let Some(cure) = &problem.cure {
            out.push_str(&format!("{blank} = {}\n", plain(cure)));
        }
        out.truncate(out.trim_end().len());
        out
    }

    /// In one line, for a log.
    pub fn render_short(&self, problem: &Problem) -> String {
        let cure = problem.cure.as_ref().map(|c| format!(": {c}"));
        let text = plain(&format!("{}{}", problem.what, cure.unwrap_or_default()));
        match problem.place {
            Place::Nowhere => text,
            _ => format!("{}: {text}", self.describe(&problem.place)),
        }
    }

    /// `ackwarden.toml:12:3`, or the name of the variable or flag.
    pub fn describe(&self, place: &Place) -> String {
        match place {
            Place::File(start, _) => {
                let at = self.locate(*start);
                format!("{}:{}:{}", self.name, at.line, at.column)
            }
            Place::Env { name, .. } => format!("environment variable {}", plain(name)),
            Place::Flag { name, .. } => format!("flag {name}"),
            Place::Nowhere => self.name.clone(),
        }
    }

    /// Writes `--> place`, the line and the caret; returns the gutter's width.
    fn snippet(&self, place: &Place, out: &mut String) -> usize {
        let (number, line, from, to) = match place {
            Place::File(start, end) => {
                let at = self.locate(*start);
                let line = self.text.get(at.from..at.to).unwrap_or("");
                let (line, kept) = self.masked(line, at.from);
                // Counted in characters, and within the line.
                let chars = |byte: usize| {
                    let byte = byte.clamp(at.from, at.to) - at.from;
                    let whole = self.text.get(at.from..at.from + byte).unwrap_or("");
                    whole.chars().count().min(kept)
                };
                (at.line.to_string(), line, chars(*start), chars(*end))
            }
            Place::Env { name, value } => {
                let value = value.as_deref().unwrap_or(MASK);
                let from = name.chars().count() + 1;
                let line = format!("{name}={value}");
                let to = line.chars().count();
                (String::new(), line, from, to)
            }
            Place::Flag { name, value } => {
                let line = format!("{name} {value}");
                let to = line.chars().count();
                (String::new(), line, name.chars().count() + 1, to)
            }
            Place::Nowhere => {
                if !self.name.is_empty() {
                    out.push_str(&format!("  --> {}\n", self.name));
                }
                return 1;
            }
        };
        let gutter = number.len().max(1);
        let blank = " ".repeat(gutter);
        let (line, from, to) = windowed(&plain(&line), from, to);
        let pad = " ".repeat(from);
        let carets = "^".repeat(to.saturating_sub(from).max(1));
        out.push_str(&format!(
            "{blank}--> {}\n{blank} |\n{number:>gutter$} | {line}\n{blank} | {pad}{carets}\n",
            self.describe(place)
        ));
        gutter
    }

    fn locate(&self, offset: usize) -> Location {
        let offset = offset.min(self.text.len());
        let before = self.text.get(..offset).unwrap_or("");
        let from = before.rfind('\n').map_or(0, |i| i + 1);
        let rest = self.text.get(from..).unwrap_or("");
        let len = rest.find('\n').unwrap_or(rest.len());
        let len = rest
            .get(..len)
            .map_or(0, |l| l.trim_end_matches('\r').len());
        Location {
            line: before.matches('\n').count() + 1,
            column: before.get(from..).unwrap_or("").chars().count() + 1,
            from,
            to: from + len,
        }
    }

    /// The line with its secrets masked, and how many of its characters are still the file's.
    fn masked(&self, line: &str, from: usize) -> (String, usize) {
        let by_span = self
            .hidden
            .iter()
            .filter(|(start, end)| *start < from + line.len() && *end > from)
            .map(|(start, _)| start.saturating_sub(from))
            .min();
        let by_key = first_secret_value(line);
        let by_table = self
            .unparsed
            .then(|| self.unparsed_value(line, from))
            .flatten();
        let cut = [by_span, by_key, by_table].into_iter().flatten().min();
        match cut.and_then(|cut| line.get(..cut)) {
            Some(head) => (format!("{head}{MASK}"), head.chars().count()),
            None => (line.to_owned(), line.chars().count()),
        }
    }

    /// Where the part of a line begins that may be a secret, in a text of which only the lines are known.
    fn unparsed_value(&self, line: &str, from: usize) -> Option<usize> {
        let before = self.text.get(..from).unwrap_or("");
        let within_string = ["\"\"\"", "'''"]
            .iter()
            .any(|quotes| before.matches(quotes).count() % 2 == 1);
        if within_string {
            return Some(0);
        }
        let table = before
            .lines()
            .rev()
            .map(str::trim_start)
            .find(|l| l.starts_with('['))
            .unwrap_or("");
        let properties = |text: &str| {
            let text: String = text.chars().filter(|c| !" \"'[".contains(*c)).collect();
            let under_kafka = text.strip_prefix("kafka.").unwrap_or(&text);
            (text.starts_with("kafka.") || table.contains("kafka"))
                && ["properties", "consumer", "producer"]
                    .iter()
                    .any(|section| under_kafka.starts_with(section))
        };
        if properties(table.trim_start()) || properties(line.trim_start()) {
            return line.find('=').map(|at| behind_equals(line, at));
        }
        None
    }
}

/// A place in the text: line and column from 1, and the line's bounds in bytes.
struct Location {
    line: usize,
    column: usize,
    from: usize,
    to: usize,
}

/// Where the value of the first key begins that looks secret: behind its `=`.
fn first_secret_value(line: &str) -> Option<usize> {
    line.match_indices('=').find_map(|(at, _)| {
        let head = line.get(..at)?.trim_end();
        let key = head
            .rfind(['{', ',', '=', '['])
            .map_or(head, |i| head.get(i + 1..).unwrap_or(""));
        looks_secret(key).then(|| behind_equals(line, at))
    })
}

/// Where the value begins whose `=` stands at `at`.
fn behind_equals(line: &str, at: usize) -> usize {
    let blank = line.get(at + 1..).is_some_and(|rest| rest.starts_with(' '));
    at + 1 + usize::from(blank)
}

/// What a terminal may see: tabs as blanks, other control characters replaced.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// The part of a long line around the caret, and the caret's place in it. Counted in characters.
fn windowed(line: &str, from: usize, to: usize) -> (String, usize, usize) {
    let len = line.chars().count();
    if len <= SHOWN_MAX {
        return (line.to_owned(), from, to);
    }
    let start = from
        .saturating_sub(SHOWN_MAX / 4)
        .min(len.saturating_sub(SHOWN_MAX));
    let shown: String = line.chars().skip(start).take(SHOWN_MAX).collect();
    let lead = if start > 0 { "…" } else { "" };
    let tail = if start + SHOWN_MAX < len { "…" } else { "" };
    let shift = lead.chars().count();
    let place = |at: usize| at.saturating_sub(start).min(SHOWN_MAX) + shift;
    (format!("{lead}{shown}{tail}"), place(from), place(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source {
            name: "a.toml".to_owned(),
            text: text.to_owned(),
            ..Source::default()
        }
    }

    fn at(source: &Source, piece: &str) -> String {
        let start = source.text.find(piece).unwrap();
        let place = Place::File(start, start + piece.len());
        source.render(&Problem::new(&place, "wrong").cure("do better"))
    }

    #[test]
    fn the_caret_stands_under_the_exact_place_even_behind_wide_text() {
        insta::assert_snapshot!(at(&source("a = 1\nä = \"ü\" # ö\r\n\tb = 7 # x"), "7"), @r#"
    error: wrong
     --> a.toml:3:6
      |
    3 |  b = 7 # x
      |      ^
      = do better
    "#);
    }

    #[test]
    fn the_end_of_the_file_has_a_caret_too() {
        let source = source("a = [1,\n");
        let place = Place::File(source.text.len(), source.text.len());
        insta::assert_snapshot!(source.render(&Problem::new(&place, "unclosed")), @r#"
    error: unclosed
     --> a.toml:2:1
      |
    2 | 
      | ^
    "#);
    }

    #[test]
    fn a_value_whose_key_looks_secret_is_masked_wherever_it_stands() {
        for line in [
            "\"sasl.password\" = \"hunter2\"",
            "sasl = { mechanism = \"PLAIN\", password = \"hunter2\" }",
            "api_token='hunter2' # hunter2",
        ] {
            for piece in [&line[..1], "hunter2"] {
                let shown = at(&source(line), piece);
                assert!(!shown.contains("hunter2"), "{shown}");
                assert!(shown.contains('^'), "{shown}");
            }
        }
    }

    #[test]
    fn a_text_that_does_not_parse_shows_no_value_of_the_properties() {
        for (text, piece) in [
            ("[kafka.properties]\nx = hunter2", "hunter2"),
            ("[ kafka . properties . sasl ]\nx = hunter2", "hunter2"),
            ("[kafka]\nproperties.x = hunter2", "hunter2"),
            ("kafka.producer.x = hunter2", "hunter2"),
            ("x = \"\"\"\nhunter2 \\y\n\"\"\"", "\\y"),
        ] {
            let mut source = source(text);
            source.unparsed = true;
            let shown = at(&source, piece);
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        let mut source = source("[topics.x]\ntimeout = hunter2");
        source.unparsed = true;
        assert!(at(&source, "hunter2").contains("= hunter2"));
    }

    #[test]
    fn a_long_line_is_shown_around_the_caret() {
        let text = format!("a = \"{}\" # {}", "x".repeat(300), "y".repeat(300));
        let shown = at(&source(&text), "# y");
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines.iter().all(|l| l.chars().count() < 180), "{shown}");
        let caret = lines[4].chars().position(|c| c == '^').unwrap();
        assert_eq!(lines[3].chars().nth(caret), Some('#'), "{shown}");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let shown = at(&source("a = \"\u{1b}[2J\""), "a");
        assert!(!shown.contains('\u{1b}'), "{shown}");
    }
}
