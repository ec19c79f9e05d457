//! Teachers that encode queries and documents apart: every distinct text once, then dot products.

use std::collections::HashMap;

use configs::teachers::Prefixes;

use super::{QueryDocuments, TeacherError};

/// Which side texts are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Query,
    Document,
}

/// The distinct texts of a call, in the order of their first occurrence.
#[derive(Default)]
struct Distinct<'a> {
    numbers: HashMap<&'a str, usize>,
    texts: Vec<String>,
}

impl<'a> Distinct<'a> {
    fn number(&mut self, text: &'a str, prefix: Option<&str>) -> usize {
        *self.numbers.entry(text).or_insert_with(|| {
            self.texts.push(prefixed(prefix, text));
            self.texts.len() - 1
        })
    }
}

/// Scores of all pairs, with `encode` called once for each side that has a text.
pub(super) fn score<V>(
    queries: &[QueryDocuments],
    prefixes: &Prefixes,
    encode: impl Fn(Side, &[String]) -> Result<Vec<V>, TeacherError>,
    dot: impl Fn(&V, &V) -> f32,
) -> Result<Vec<Vec<f32>>, TeacherError> {
    let (mut left, mut right) = (Distinct::default(), Distinct::default());
    let pairs: Vec<(usize, Vec<usize>)> = queries
        .iter()
        .map(|row| {
            let documents = row.documents.iter();
            let documents =
                documents.map(|text| right.number(text.text, prefixes.document_prefix.as_deref()));
            let documents = documents.collect();
            let query = left.number(row.query.text, prefixes.query_prefix.as_deref());
            (query, documents)
        })
        .collect();
    let vectors = |side, texts: &[String]| match texts {
        [] => Ok(Vec::new()),
        texts => encode(side, texts),
    };
    let left = vectors(Side::Query, &left.texts)?;
    let right = vectors(Side::Document, &right.texts)?;
    let row = |(query, documents): (usize, Vec<usize>)| {
        let scores = documents.into_iter();
        let scores = scores.map(|document| dot(&left[query], &right[document]));
        scores.collect()
    };
    Ok(pairs.into_iter().map(row).collect())
}

/// A text behind its prefix.
pub(super) fn prefixed(prefix: Option<&str>, text: &str) -> String {
    format!("{}{text}", prefix.unwrap_or_default())
}

/// Dot product of vectors of the same length: float32 factors, summed in float64.
pub(super) fn dense_dot(left: &[f32], right: &[f32]) -> f32 {
    let products = left.iter().zip(right);
    let products = products.map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.sum::<f64>() as f32
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::teacher::double::candidates;

    #[test]
    fn every_text_is_encoded_once_behind_its_prefix() {
        let prefixes = Prefixes {
            query_prefix: Some("q: ".to_owned()),
            document_prefix: None,
        };
        let queries = [
            candidates("one", &["a", "bb", "a"]),
            candidates("two!", &["bb"]),
            candidates("one", &[]),
        ];
        let seen = RefCell::new(Vec::new());
        let encode = |side, texts: &[String]| {
            seen.borrow_mut().push((side, texts.to_vec()));
            Ok(texts.iter().map(|text| text.len() as f32).collect())
        };
        let scores = score(&queries, &prefixes, encode, |a, b| a * b).unwrap();
        assert_eq!(scores, [vec![6.0, 12.0, 6.0], vec![14.0], vec![]]);
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(
            seen.into_inner(),
            [
                (Side::Query, texts(&["q: one", "q: two!"])),
                (Side::Document, texts(&["a", "bb"]))
            ]
        );
    }

    #[test]
    fn dense_products_are_summed_exactly() {
        let left = [1e8, 1.0, -1e8, 0.5];
        assert_eq!(dense_dot(&left, &[1.0, 1.0, 1.0, 2.0]), 2.0);
    }
}
