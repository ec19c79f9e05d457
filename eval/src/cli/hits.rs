//! Hits as a person reads them, and as JSON lines.

use std::collections::{HashMap, HashSet};
use std::env;
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use data::beir::Document;
use data::{Hub, Passages};
use eval::explain::{TokenMatch, total};
use eval::report::{MatchedSpan, Snippet, snippet};
use eval::text_encoder::TextEncoder;
use model::SparseEncoder;
use serde_json::{Value, json};

use super::print;

/// Bytes of a text that are shown.
const SNIPPET_BYTES: usize = 240;
/// Matched tokens that are shown.
const TOKENS: usize = 8;

/// How hits are shown.
#[derive(Debug, Args)]
pub struct DisplayArguments {
    /// The documents of the index, for titles and texts: JSON lines (.gz, .zst); may begin with hf://
    #[arg(long, value_name = "FILE", conflicts_with_all = ["query_vectors", "run"])]
    corpus: Option<PathBuf>,
    /// Print a JSON object for each hit, one a line
    #[arg(long, conflicts_with_all = ["query_vectors", "run"])]
    json: bool,
    /// Whether matched tokens are set apart by colour; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Color::Auto)]
    color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

impl Color {
    fn is_on(self) -> bool {
        let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                io::stdout().is_terminal()
                    && !is_set("NO_COLOR")
                    && env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }
}

/// A document that was found.
pub struct Found {
    /// Its id.
    pub id: String,
    /// Its row in the corpus, if the index was built of all of it; a cluster does not say.
    pub row: Option<usize>,
    /// Its score.
    pub score: f32,
    /// The tokens that it shares with the query, by name, those that add most first; none where that is not known.
    pub matches: Vec<(String, TokenMatch)>,
}

/// What was found for a query.
pub struct QueryHits<'a> {
    /// The query.
    pub text: &'a str,
    /// Its tokens that have a weight.
    pub tokens: Vec<String>,
    /// Best first.
    pub hits: Vec<Found>,
}

impl QueryHits<'_> {
    /// Why there is no hit.
    fn reason(&self) -> String {
        match self.tokens.as_slice() {
            _ if self.text.trim().is_empty() => "the query is empty".to_owned(),
            [] => "none of the query's tokens is known to the model, or has a weight".to_owned(),
            tokens => format!(
                "no document has any of the query's tokens: {}",
                tokens.join(", ")
            ),
        }
    }
}

/// Where hits go.
pub struct Display<'a> {
    arguments: &'a DisplayArguments,
    encoder: &'a SparseEncoder,
    corpus: Option<Passages>,
}

impl<'a> Display<'a> {
    /// Opens the corpus.
    pub fn new(arguments: &'a DisplayArguments, encoder: &'a SparseEncoder) -> Result<Self> {
        let open = |path: &Path| -> Result<Passages> {
            Ok(Passages::open(&Hub::for_command_line(true).data(path)?)?)
        };
        Ok(Self {
            arguments,
            encoder,
            corpus: arguments.corpus.as_deref().map(open).transpose()?,
        })
    }

    /// Prints all hits.
    pub fn show(&self, results: &[QueryHits]) -> Result<()> {
        let documents = self.documents(results)?;
        let mut text = String::new();
        for query in results {
            match self.arguments.json {
                true => self.add_json(&mut text, query, &documents)?,
                false => self.add_text(&mut text, query, &documents)?,
            }
        }
        Ok(print(&text)?)
    }

    /// The documents of all hits, by id. Where a document is not in the row of its number, the corpus is read once.
    fn documents(&self, results: &[QueryHits]) -> Result<HashMap<String, Document>> {
        let mut documents = HashMap::new();
        let Some(corpus) = &self.corpus else {
            return Ok(documents);
        };
        let hits = || results.iter().flat_map(|query| &query.hits);
        let mut missing: HashSet<&str> = HashSet::new();
        for hit in hits() {
            let row = hit.row.filter(|&row| row < corpus.len());
            let at_row = row.map(|row| corpus.get(row)).transpose()?;
            match at_row.filter(|document| document.id == hit.id) {
                Some(document) => {
                    documents.insert(hit.id.clone(), document);
                }
                None => {
                    missing.insert(&hit.id);
                }
            }
        }
        for row in 0..corpus.len() {
            if missing.is_empty() {
                break;
            }
            let document = corpus.get(row)?;
            if missing.remove(document.id.as_str()) {
                documents.insert(document.id.clone(), document);
            }
        }
        Ok(documents)
    }

    /// The part of the text with most of the score.
    fn snippet(&self, hit: &Found, text: &str) -> Result<Snippet> {
        let score = sum(hit);
        let shares: HashMap<u32, f32> = hit
            .matches
            .iter()
            .filter_map(|(name, found)| {
                let id = self.encoder.tokenizer().id(name)?;
                Some((id, found.product() / score))
            })
            .collect();
        let spans = self.encoder.token_spans(text)?.into_iter();
        let matched = spans.filter_map(|(token, span)| {
            let share = *shares.get(&token)?;
            Some(MatchedSpan { token, span, share })
        });
        let matched: Vec<MatchedSpan> = matched.collect();
        Ok(snippet(text, &matched, SNIPPET_BYTES))
    }

    fn add_text(
        &self,
        out: &mut String,
        query: &QueryHits,
        documents: &HashMap<String, Document>,
    ) -> Result<()> {
        let paint = Paint(self.arguments.color.is_on());
        let _ = writeln!(out, "{}", in_one_line(query.text));
        if query.hits.is_empty() {
            let _ = writeln!(out, "    no hit: {}", query.reason());
        }
        let width = query.hits.len().to_string().len();
        for (rank, hit) in (1..).zip(&query.hits) {
            let document = documents.get(&hit.id);
            let title = document.map_or("", |document| document.title.trim());
            let head = format!("{rank:>width$}  {:.4}  {}", hit.score, hit.id);
            let title = paint.marks(&self.snippet(hit, title)?, "1");
            let _ = writeln!(out, "{}", format!("{head}  {title}").trim_end());
            let indent = " ".repeat(width + 2);
            match document {
                Some(document) => {
                    let snippet = self.snippet(hit, &document.text)?;
                    let _ = writeln!(out, "{indent}{}", paint.marks(&snippet, ""));
                }
                None if self.corpus.is_some() => {
                    let _ = writeln!(out, "{indent}(not in the corpus)");
                }
                None => {}
            }
            if !hit.matches.is_empty() {
                let _ = writeln!(out, "{indent}{}", paint.faint(&shares(hit)));
            }
        }
        out.push('\n');
        Ok(())
    }

    fn add_json(
        &self,
        out: &mut String,
        query: &QueryHits,
        documents: &HashMap<String, Document>,
    ) -> Result<()> {
        if query.hits.is_empty() {
            let line = json!({"query": query.text, "hits": 0, "reason": query.reason()});
            let _ = writeln!(out, "{line}");
        }
        for (rank, hit) in (1..).zip(&query.hits) {
            let score = sum(hit);
            let matches = hit.matches.iter().map(|(name, found)| {
                json!({
                    "token": name,
                    "query_weight": found.query_weight,
                    "document_weight": found.document_weight,
                    "share": found.product() / score,
                })
            });
            let mut line = json!({
                "query": query.text, "rank": rank, "id": hit.id, "score": hit.score,
                "matches": matches.collect::<Vec<Value>>(),
            });
            if let Some(document) = documents.get(&hit.id) {
                line["title"] = document.title.as_str().into();
                line["snippet"] = self.snippet(hit, &document.text)?.text.into();
            }
            let _ = writeln!(out, "{line}");
        }
        Ok(())
    }
}

/// The score as the sum of what the tokens add, above 0 for every hit with known tokens.
fn sum(hit: &Found) -> f32 {
    let matches: Vec<TokenMatch> = hit.matches.iter().map(|(_, found)| *found).collect();
    total(&matches)
}

/// The tokens with the largest shares of the score.
fn shares(hit: &Found) -> String {
    let score = sum(hit);
    let share = |(name, found): &(String, TokenMatch)| {
        format!("{name} {:.0} %", 100.0 * found.product() / score)
    };
    let mut shown: Vec<String> = hit.matches.iter().take(TOKENS).map(share).collect();
    if hit.matches.len() > TOKENS {
        let rest = hit.matches[TOKENS..].iter();
        let rest: f32 = rest.map(|(_, found)| found.product()).sum();
        let count = hit.matches.len() - TOKENS;
        shown.push(format!("{count} more {:.0} %", 100.0 * rest / score));
    }
    shown.join(", ")
}

fn in_one_line(text: &str) -> String {
    let plain = |c: char| match c.is_control() {
        true => ' ',
        false => c,
    };
    text.chars().map(plain).collect()
}

/// Colours of a terminal, or nothing.
struct Paint(bool);

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        match self.0 && !text.is_empty() && !code.is_empty() {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    fn faint(&self, text: &str) -> String {
        self.with("2", text)
    }

    /// The snippet with its marks set apart from the rest, which has the code `rest`.
    fn marks(&self, snippet: &Snippet, rest: &str) -> String {
        let mut text = String::new();
        let mut done = 0;
        for mark in &snippet.marks {
            text.push_str(&self.with(rest, &snippet.text[done..mark.start]));
            text.push_str(&self.with("1;33", &snippet.text[mark.clone()]));
            done = mark.end;
        }
        text.push_str(&self.with(rest, &snippet.text[done..]));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(products: &[f32]) -> Found {
        let matched = |(token, product): (u32, &f32)| {
            let found = TokenMatch {
                token,
                query_weight: 1.0,
                document_weight: *product,
            };
            (format!("t{token}"), found)
        };
        Found {
            id: "d".into(),
            row: Some(0),
            score: products.iter().sum(),
            matches: (0..).zip(products).map(matched).collect(),
        }
    }

    #[test]
    fn shares_add_up() {
        assert_eq!(shares(&found(&[3.0, 1.0])), "t0 75 %, t1 25 %");
        let many = shares(&found(&[1.0; 10]));
        assert!(many.ends_with("t7 10 %, 2 more 20 %"), "{many}");
    }

    #[test]
    fn only_a_terminal_gets_colours() {
        let snippet = Snippet {
            text: "a school b".into(),
            marks: std::iter::once(2..8).collect(),
        };
        assert_eq!(Paint(false).marks(&snippet, "1"), "a school b");
        let mark = "\x1b[1;33mschool\x1b[0m";
        assert_eq!(Paint(true).marks(&snippet, ""), format!("a {mark} b"));
        let rest = |text: &str| format!("\x1b[1m{text}\x1b[0m");
        let expected = format!("{}{mark}{}", rest("a "), rest(" b"));
        assert_eq!(Paint(true).marks(&snippet, "1"), expected);
        assert_eq!(Paint(true).faint(""), "");
        assert!(Color::Always.is_on() && !Color::Never.is_on());
    }

    #[test]
    fn reasons_for_nothing() {
        let reason = |text: &str, tokens: &[&str]| {
            let query = QueryHits {
                text,
                tokens: tokens.iter().map(|&token| token.to_owned()).collect(),
                hits: Vec::new(),
            };
            query.reason()
        };
        assert_eq!(reason(" ", &[]), "the query is empty");
        assert!(reason("\u{1f600}", &[]).contains("known to the model"));
        assert!(reason("a b", &["a", "b"]).ends_with("tokens: a, b"));
    }
}
