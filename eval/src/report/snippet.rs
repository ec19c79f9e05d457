//! The part of a document that says why it was found.

use std::collections::BTreeSet;
use std::ops::Range;

/// A token that query and document share, where it is in the text.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchedSpan {
    /// Its number.
    pub token: u32,
    /// Its bytes.
    pub span: Range<usize>,
    /// Its share of the score, from 0 to 1.
    pub share: f32,
}

/// Part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// The part, in one line, with `…` where something is left out.
    pub text: String,
    /// Bytes of it that are matched tokens; neighbours are one mark.
    pub marks: Vec<Range<usize>>,
}

/// About `width` bytes of `text` around the tokens with most of the score, each counted once; the beginning where there
/// is none. `spans` are in the order of the text.
pub fn snippet(text: &str, spans: &[MatchedSpan], width: usize) -> Snippet {
    let valid = |span: &Range<usize>| !span.is_empty() && text.get(span.clone()).is_some();
    let spans: Vec<&MatchedSpan> = spans.iter().filter(|found| valid(&found.span)).collect();
    let window = best_window(text, &spans, width);
    let mut cut = String::new();
    let mut marks: Vec<Range<usize>> = Vec::new();
    if window.start > 0 {
        cut.push_str("… ");
    }
    let mut done = window.start;
    let inside =
        |found: &&&MatchedSpan| found.span.start >= window.start && found.span.end <= window.end;
    for found in spans.iter().filter(inside) {
        let span = done.max(found.span.start)..found.span.end;
        if span.is_empty() {
            continue;
        }
        push_in_one_line(&mut cut, &text[done..span.start]);
        let start = cut.len();
        push_in_one_line(&mut cut, &text[span.clone()]);
        match marks.last_mut() {
            Some(last) if last.end == start => last.end = cut.len(),
            _ => marks.push(start..cut.len()),
        }
        done = span.end;
    }
    push_in_one_line(&mut cut, &text[done..window.end]);
    if window.end < text.len() {
        cut.push_str(" …");
    }
    Snippet { text: cut, marks }
}

/// Control characters could do anything to a terminal.
fn push_in_one_line(line: &mut String, text: &str) {
    line.extend(text.chars().map(|c| match c.is_control() {
        true => ' ',
        false => c,
    }));
}

fn best_window(text: &str, spans: &[&MatchedSpan], width: usize) -> Range<usize> {
    if text.len() <= width {
        return 0..text.len();
    }
    let worth = |start: usize| {
        let inside = spans
            .iter()
            .filter(|found| found.span.start >= start && found.span.end <= start + width);
        let mut seen = BTreeSet::new();
        let new = inside.filter(|found| seen.insert(found.token));
        new.map(|found| found.share).sum::<f32>()
    };
    let mut best = (0, worth(0));
    for found in spans {
        // A quarter of the width before the first match gives it a context.
        let start = word_start(text, found.span.start.saturating_sub(width / 4));
        let worth = worth(start);
        if worth > best.1 + 1e-6 {
            best = (start, worth);
        }
    }
    let start = best.0;
    let end = (start + width).min(text.len());
    start..word_end(text, start, end)
}

/// The beginning of the first word at or after `at`.
fn word_start(text: &str, at: usize) -> usize {
    let at = text.ceil_char_boundary(at);
    if at == 0 {
        return 0;
    }
    let is_inside = !text[..at].ends_with(char::is_whitespace);
    let after = match is_inside {
        true => text[at..].find(char::is_whitespace).unwrap_or(0),
        false => 0,
    };
    let rest = &text[at + after..];
    // A text without spaces is cut anywhere.
    match after > 60 {
        true => at,
        false => at + after + (rest.len() - rest.trim_start().len()),
    }
}

/// The end of the last whole word in `start..end`.
fn word_end(text: &str, start: usize, end: usize) -> usize {
    let end = text.floor_char_boundary(end);
    if end == text.len() || text[end..].starts_with(char::is_whitespace) {
        return end;
    }
    match text[start..end].rfind(char::is_whitespace) {
        Some(space) if start + space + 60 > end => {
            start + text[start..start + space].trim_end().len()
        }
        _ => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every occurrence of these words, with their shares.
    fn spans(text: &str, words: &[(&str, f32)]) -> Vec<MatchedSpan> {
        let mut found: Vec<MatchedSpan> = (0..)
            .zip(words)
            .flat_map(|(token, &(word, share))| {
                text.match_indices(word).map(move |(at, _)| MatchedSpan {
                    token,
                    span: at..at + word.len(),
                    share,
                })
            })
            .collect();
        found.sort_by_key(|found| found.span.start);
        found
    }

    fn marked(snippet: &Snippet) -> Vec<&str> {
        let marks = snippet.marks.iter();
        marks.map(|mark| &snippet.text[mark.clone()]).collect()
    }

    #[test]
    fn short_texts_are_whole() {
        let text = "a school\ndistrict\u{1b}";
        let found = snippet(
            text,
            &spans(text, &[("school", 0.5), ("dist", 0.3), ("rict", 0.2)]),
            100,
        );
        assert_eq!(found.text, "a school district ");
        assert_eq!(marked(&found), ["school", "district"]);
        let plain = snippet("", &[], 10);
        assert_eq!((plain.text.as_str(), plain.marks.len()), ("", 0));
    }

    #[test]
    fn the_window_has_most_of_the_score() {
        let filler = "nothing of any use here ".repeat(20);
        let text = format!("water {filler}water and the heavy reactor core {filler}end");
        let words = [("water", 0.4), ("reactor", 0.35), ("core", 0.25)];
        let found = snippet(&text, &spans(&text, &words), 80);
        assert_eq!(marked(&found), ["water", "reactor", "core"]);
        assert!(
            found.text.starts_with("… ") && found.text.ends_with(" …"),
            "{found:?}"
        );
        assert!(found.text.len() < 92, "{found:?}");
        let beginning = snippet(&text, &[], 30);
        assert_eq!(beginning.text, "water nothing of any use here …");
    }

    #[test]
    fn texts_without_spaces_are_cut_between_characters() {
        let text = "水".repeat(500);
        let spans = [MatchedSpan {
            token: 0,
            span: 900..903,
            share: 1.0,
        }];
        let found = snippet(&text, &spans, 100);
        assert_eq!(marked(&found), ["水"]);
        assert!(found.text.len() <= 110, "{}", found.text.len());
        let invalid = [MatchedSpan {
            token: 0,
            span: 1..2,
            share: 1.0,
        }];
        assert!(snippet(&text, &invalid, 10).marks.is_empty());
    }
}
