//! `vectors`: dot products of dense vectors that were made before, looked up by id.

use std::collections::HashMap;

use data::DenseVectors;

use super::bi_encoder::dense_dot;
use super::error::excerpt;
use super::{QueryDocuments, Teacher, TeacherError, Text};

/// Scores with vectors out of two files.
pub struct VectorScorer {
    name: String,
    queries: DenseVectors,
    documents: DenseVectors,
}

impl VectorScorer {
    /// A teacher with that name.
    ///
    /// # Errors
    ///
    /// [`TeacherError::Dimensions`] if the vectors of both sides differ in length.
    pub fn new(
        name: String,
        queries: DenseVectors,
        documents: DenseVectors,
    ) -> Result<Self, TeacherError> {
        if queries.dimensions() != documents.dimensions() {
            return Err(TeacherError::Dimensions {
                teacher: name,
                queries: queries.dimensions(),
                documents: documents.dimensions(),
            });
        }
        Ok(Self {
            name,
            queries,
            documents,
        })
    }

    fn vector(&self, vectors: &DenseVectors, id: &str) -> Result<Vec<f32>, TeacherError> {
        vectors.get(id)?.ok_or_else(|| TeacherError::NoVector {
            teacher: self.name.clone(),
            path: vectors.path().to_owned(),
            id: id.to_owned(),
        })
    }

    fn id<'a>(&self, row: &QueryDocuments, text: &Text<'a>) -> Result<&'a str, TeacherError> {
        text.id.ok_or_else(|| TeacherError::NoIds {
            teacher: self.name.clone(),
            query: excerpt(row.query.text),
        })
    }
}

impl Teacher for VectorScorer {
    fn name(&self) -> &str {
        &self.name
    }

    fn by_id(&self) -> bool {
        true
    }

    fn score(&self, queries: &[QueryDocuments]) -> Result<Vec<Vec<f32>>, TeacherError> {
        // In a batch every query meets the same documents.
        let mut documents: HashMap<&str, Vec<f32>> = HashMap::new();
        let mut rows = Vec::with_capacity(queries.len());
        for row in queries {
            let query = self.vector(&self.queries, self.id(row, &row.query)?)?;
            let mut scores = Vec::with_capacity(row.documents.len());
            for text in &row.documents {
                let id = self.id(row, text)?;
                if !documents.contains_key(id) {
                    documents.insert(id, self.vector(&self.documents, id)?);
                }
                scores.push(dense_dot(&query, &documents[id]));
            }
            rows.push(scores);
        }
        self.queries.release();
        self.documents.release();
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::teacher::double::candidates;

    fn open(documents: &str) -> Result<VectorScorer, TeacherError> {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["q.jsonl", "d.jsonl"].map(|name| dir.path().join(name));
        fs::write(&paths[0], "{\"id\": 7, \"vector\": [1, 2]}\n").unwrap();
        fs::write(&paths[1], documents).unwrap();
        let [queries, documents] = paths.map(|path| DenseVectors::open(&path).unwrap());
        VectorScorer::new("vectors d.jsonl".to_owned(), queries, documents)
    }

    const DOCUMENTS: &str =
        "{\"id\": \"a\", \"vector\": [3, -0.5]}\n{\"id\": \"b\", \"vector\": [0, 4]}\n";

    #[test]
    fn scores_are_dot_products_of_what_the_ids_name() {
        let teacher = open(DOCUMENTS).unwrap();
        let text = |id| Text {
            id: Some(id),
            text: "anything",
        };
        let row = |documents: &[&'static str]| QueryDocuments {
            query: text("7"),
            documents: documents.iter().map(|id| text(id)).collect(),
        };
        let scores = teacher.score(&[row(&["b", "a", "b"]), row(&[])]).unwrap();
        assert_eq!(scores, [vec![8.0, 2.0, 8.0], vec![]]);
        let missing = teacher.score(&[row(&["c"])]).unwrap_err().to_string();
        assert!(
            missing.contains("d.jsonl has no vector with the id \"c\""),
            "{missing}"
        );
        let no_ids = teacher.score(&[candidates("q", &["d"])]).unwrap_err();
        assert!(
            no_ids.to_string().contains("finds texts by their ids"),
            "{no_ids}"
        );
    }

    #[test]
    fn vectors_of_two_models_are_refused() {
        let error = open("{\"id\": \"a\", \"vector\": [1, 2, 3]}\n")
            .err()
            .unwrap();
        let message = error.to_string();
        assert!(
            message.contains("queries have 2 numbers and those of documents 3"),
            "{message}"
        );
    }
}
