//! Scores and order of the server are those of the embedded index with rounded weights.

use eval::Hit;
use eval::opensearch::{
    Client, IndexSettings, LoadOptions, Loader, QueryForm, SearchOptions, SparseIndex, TwoPhase,
    delete_all, stored_weight,
};
use eval::search::{IndexBuilder, InvertedIndex, Searcher};
use model::SparseVector;

use super::server::{ask, client, shared};
use crate::compare::Checks;

/// Tokens with everything that names of fields do not like.
const TOKENS: [&str; 14] = [
    "sea", "##s", ".", "..", "a.b", ".x.", "é", "日本", "\"", "\\", "*", " ", "-", "_id",
];

/// Score of server and embedded index, where sums are not exact.
const TOLERANCE: f32 = 1e-5;

/// Numbers from 0 to 1, the same ones on every run.
struct Numbers(u32);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 24) as f32
    }

    /// About a third of the tokens.
    fn vector(&mut self, weight: impl Fn(f32) -> f32) -> SparseVector {
        let mut entries = Vec::new();
        for token in 0..TOKENS.len() as u32 {
            if self.next() < 0.35 {
                entries.push((token, weight(self.next())));
            }
        }
        entries.into_iter().collect()
    }
}

/// The same documents in both engines.
struct Both {
    client: Client,
    name: String,
    embedded: InvertedIndex,
    documents: Vec<SparseVector>,
}

impl Both {
    fn new(url: &str, name: &str, documents: Vec<SparseVector>) -> Self {
        let client = client(url);
        let options = LoadOptions {
            settings: IndexSettings {
                shards: 3,
                ..IndexSettings::default()
            },
            ..LoadOptions::default()
        };
        let mut loader = Loader::open(&client, name, options).expect("a new index");
        let mut builder = IndexBuilder::default();
        for (number, document) in documents.iter().enumerate() {
            let id = format!("d{}", number * 7919 % 1000);
            let named = document
                .iter()
                .map(|(token, weight)| (TOKENS[token as usize], weight));
            loader.add(&id, &[], named).expect("taken");
            builder.add(&id, &rounded(document)).expect("a new id");
        }
        loader.finish().expect("complete");
        Self {
            client,
            name: name.to_owned(),
            embedded: builder.finish().expect("unique ids"),
            documents,
        }
    }

    fn search(&self, form: QueryForm, queries: &[SparseVector], k: usize) -> Vec<Vec<Hit>> {
        let options = SearchOptions {
            form,
            batch: 7,
            in_flight: 3,
            ..SearchOptions::default()
        };
        let names = TOKENS.map(str::to_owned).to_vec();
        let index =
            SparseIndex::open(&self.client, &self.name, names, options).expect("searchable");
        index.search(queries, k).expect("answered")
    }

    fn document(&self, id: &str) -> SparseVector {
        let is_it = |number: &usize| format!("d{}", number * 7919 % 1000) == id;
        let number = (0..self.documents.len()).find(is_it).expect("a document");
        rounded(&self.documents[number])
    }
}

impl Drop for Both {
    fn drop(&mut self) {
        delete_all(&self.client, &self.name).expect("removable");
    }
}

fn rounded(vector: &SparseVector) -> SparseVector {
    let entries = vector.iter();
    entries
        .map(|(token, weight)| (token, stored_weight(weight)))
        .collect()
}

fn near(left: f32, right: f32) -> bool {
    (left - right).abs() <= TOLERANCE * right.abs()
}

const EXACT_FORMS: [QueryForm; 2] = [QueryForm::RankFeature, QueryForm::NeuralSparse];

/// Weights whose sums are exact: the order is the same to the last tie, over three shards and at every depth.
#[test]
fn ties_are_broken_as_in_the_embedded_index() {
    let Some(url) = shared() else { return };
    let mut numbers = Numbers(1);
    let weight = |share: f32| [0.5, 1.0, 2.0][(share * 3.0) as usize];
    let documents = (0..300).map(|_| numbers.vector(weight)).collect();
    let both = Both::new(url, "ties", documents);
    let mut queries: Vec<SparseVector> = (0..40).map(|_| numbers.vector(weight)).collect();
    queries.push(SparseVector::default());
    let mut checks = Checks::new();
    for form in EXACT_FORMS {
        for k in [1, 2, 10, 100, 1000] {
            let expected = both.embedded.search(&queries, k).expect("embedded");
            let found = both.search(form, &queries, k);
            for (query, (found, expected)) in found.iter().zip(&expected).enumerate() {
                checks.equal(&format!("{form:?}, k {k}, query {query}"), found, expected);
            }
        }
    }
    checks.finish();
}

/// Any weights: every score is the dot product with rounded weights, and no better document is missing.
#[test]
fn scores_are_dot_products_with_rounded_weights() {
    let Some(url) = shared() else { return };
    let mut numbers = Numbers(2);
    let documents = (0..300)
        .map(|_| numbers.vector(|share| 0.01 + 3.0 * share))
        .collect();
    let both = Both::new(url, "dot-products", documents);
    let queries: Vec<SparseVector> = (0..60)
        .map(|_| numbers.vector(|share| 0.1 + 9.0 * share))
        .collect();
    let two_phase = QueryForm::TwoPhase(TwoPhase::default());
    let mut checks = Checks::new();
    for form in [EXACT_FORMS[0], EXACT_FORMS[1], two_phase] {
        let expected = both.embedded.search(&queries, 20).expect("embedded");
        let found = both.search(form, &queries, 20);
        for ((query, found), expected) in queries.iter().zip(&found).zip(&expected) {
            for hit in found {
                let product = query.dot(&both.document(&hit.id));
                checks.require(near(hit.score, product), || {
                    format!("{form:?}: {} has {}, not {product}", hit.id, hit.score)
                });
            }
            if form != two_phase {
                let same = found
                    .iter()
                    .zip(expected)
                    .all(|(a, b)| near(a.score, b.score));
                checks.require(same && found.len() == expected.len(), || {
                    format!("{form:?}: {found:?} instead of {expected:?}")
                });
            }
        }
        let answered = found.iter().filter(|hits| !hits.is_empty()).count();
        checks.require(answered > 50, || {
            format!("{form:?}: {answered} queries found something")
        });
    }
    checks.finish();
}

/// More documents than an index gives are refused, with the setting's name.
#[test]
fn the_window_of_results_is_named() {
    let Some(url) = shared() else { return };
    let mut numbers = Numbers(3);
    let both = Both::new(url, "window", vec![numbers.vector(|_| 1.0)]);
    let names = TOKENS.map(str::to_owned).to_vec();
    let index = SparseIndex::open(&both.client, "window", names, SearchOptions::default())
        .expect("searchable");
    let message = index
        .search(&both.documents, 10_001)
        .expect_err("too many")
        .to_string();
    for part in [
        url,
        "window",
        "400",
        "index.max_result_window",
        "fewer documents",
    ] {
        assert!(message.contains(part), "no {part} in {message}");
    }
}

/// The index of somebody else: its only field is found, and what it lacks is said.
#[test]
fn other_indices_can_be_searched() {
    let Some(url) = shared() else { return };
    let mapping =
        serde_json::json!({"mappings": {"properties": {"vec": {"type": "rank_features"}}}});
    ask("PUT", &format!("{url}/foreign"), &mapping);
    let document = serde_json::json!({"vec": {"sea": 1.5}});
    ask(
        "PUT",
        &format!("{url}/foreign/_doc/x?refresh=true"),
        &document,
    );
    let client = client(url);
    let open = |index: &str, field: Option<&str>| {
        let options = SearchOptions {
            field: field.map(str::to_owned),
            ..SearchOptions::default()
        };
        SparseIndex::open(&client, index, vec!["sea".to_owned()], options)
    };
    let query = [(0, 2.0)].into_iter().collect();
    let hits = open("foreign", None)
        .expect("searchable")
        .search(&[query], 10)
        .expect("answered");
    assert_eq!((hits[0][0].id.as_str(), hits[0][0].score), ("x", 3.0));
    for (index, field, expected) in [
        ("foreign", Some("text"), "field `text`"),
        ("nothing", None, "there is no such index"),
    ] {
        let message = open(index, field).err().expect(index).to_string();
        assert!(
            message.contains(expected) && message.contains(index),
            "{message}"
        );
    }
    ask(
        "DELETE",
        &format!("{url}/foreign"),
        &serde_json::Value::Null,
    );
}
