//! What a server says, checked: as many answers as texts, each about one of them, all of them numbers.

use model::SparseVector;
use serde::Deserialize;

/// An entry of `/rerank`'s answer.
#[derive(Debug, Deserialize)]
pub(super) struct Ranked {
    index: usize,
    score: Option<f64>,
}

/// A text's vector in `/embed`'s answer.
pub(super) type Embedding = Vec<Option<f64>>;

/// A weight in `/embed_sparse`'s answer.
#[derive(Debug, Deserialize)]
pub(super) struct SparseWeight {
    index: u32,
    value: Option<f64>,
}

/// The scores in the order of the texts.
pub(super) fn scores(answer: Vec<Ranked>, texts: usize) -> Result<Vec<f32>, String> {
    count("scores", answer.len(), texts)?;
    let mut scores = vec![None; texts];
    for Ranked { index, score } in answer {
        let Some(slot) = scores.get_mut(index) else {
            return Err(format!("it scores text {index}, but there are {texts}"));
        };
        let score =
            number(score).ok_or_else(|| format!("the score of text {index} is no number"))?;
        if slot.replace(score).is_some() {
            return Err(format!("it scores text {index} twice"));
        }
    }
    let scores: Option<Vec<f32>> = scores.into_iter().collect();
    Ok(scores.expect("as many scores as texts, and none twice"))
}

/// Dense vectors, all of one length.
pub(super) fn vectors(answer: Vec<Embedding>, texts: usize) -> Result<Vec<Vec<f32>>, String> {
    count("vectors", answer.len(), texts)?;
    let length = answer.first().map_or(0, Vec::len);
    let vector = |(index, numbers): (usize, Embedding)| {
        if numbers.is_empty() || numbers.len() != length {
            let found = numbers.len();
            return Err(format!(
                "the vector of text {index} has {found} numbers, the first {length}"
            ));
        }
        let vector: Option<Vec<f32>> = numbers.into_iter().map(number).collect();
        vector
            .ok_or_else(|| format!("the vector of text {index} holds something that is no number"))
    };
    answer.into_iter().enumerate().map(vector).collect()
}

/// Sparse vectors; weights of 0 are left out.
pub(super) fn sparse_vectors(
    answer: Vec<Vec<SparseWeight>>,
    texts: usize,
) -> Result<Vec<SparseVector>, String> {
    count("vectors", answer.len(), texts)?;
    let vector = |(text, weights): (usize, Vec<SparseWeight>)| {
        let mut entries = Vec::with_capacity(weights.len());
        for SparseWeight { index, value } in weights {
            match number(value) {
                Some(weight) if weight > 0.0 => entries.push((index, weight)),
                Some(0.0) => {}
                _ => {
                    return Err(format!(
                        "token {index} of text {text} weighs no number of 0 or more"
                    ));
                }
            }
        }
        entries.sort_unstable_by_key(|&(index, _)| index);
        match entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(format!("token {} of text {text} occurs twice", pair[0].0)),
            None => Ok(entries.into_iter().collect()),
        }
    };
    answer.into_iter().enumerate().map(vector).collect()
}

fn count(what: &str, found: usize, texts: usize) -> Result<(), String> {
    match found == texts {
        true => Ok(()),
        false => Err(format!("it has {found} {what} for {texts} texts")),
    }
}

/// The number as float32, where it is one.
fn number(value: Option<f64>) -> Option<f32> {
    value
        .map(|value| value as f32)
        .filter(|number| number.is_finite())
}
