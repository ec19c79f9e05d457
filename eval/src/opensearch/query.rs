//! The bodies of searches.

use model::SparseVector;
use serde_json::{Map, Value, json};

use super::mapping::ID_FIELD;
use super::weight::{feature_name, is_nameable, is_storable};

/// How a search is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum QueryForm {
    /// A `bool` of linear `rank_feature` clauses: every server has it.
    #[default]
    RankFeature,
    /// `neural_sparse` with `query_tokens`, of the plugin neural-search from version 2.11: the same scores.
    NeuralSparse,
    /// `neural_sparse` in two phases (from 2.15): documents found by the heavier tokens alone, then scored by all.
    TwoPhase(TwoPhase),
    /// `neural_sparse` on a `sparse_vector` (from 3.3): approximate, token ids in place of tokens.
    Seismic(SeismicSearch),
}

/// Parameters of the two-phase processor; the defaults are the server's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TwoPhase {
    /// Tokens above this share of the heaviest belong to the first phase.
    pub prune_ratio: f32,
    /// Documents of the second phase, as a multiple of those asked for.
    pub expansion_rate: f32,
    /// Most documents of the second phase.
    pub max_window_size: usize,
}

impl Default for TwoPhase {
    fn default() -> Self {
        Self {
            prune_ratio: 0.4,
            expansion_rate: 5.0,
            max_window_size: 10_000,
        }
    }
}

/// Parameters of a search with SEISMIC; the defaults are the server's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeismicSearch {
    /// Heaviest tokens of the query whose postings are looked at.
    pub top_n: usize,
    /// Above 1 more clusters are looked at, below 1 fewer.
    pub heap_factor: f32,
}

impl Default for SeismicSearch {
    fn default() -> Self {
        Self {
            top_n: 10,
            heap_factor: 1.0,
        }
    }
}

/// What search bodies are made for.
pub(super) struct QueryBuilder<'a> {
    pub field: &'a str,
    pub form: QueryForm,
    /// Whether documents have a field with their ids, which decides ties.
    pub has_ids: bool,
    /// Tokens by their numbers.
    pub names: &'a [String],
}

impl QueryBuilder<'_> {
    /// The body of a search for the `k` best; `None` where no document can be found, since no token can be asked for.
    pub fn body(&self, query: &SparseVector, k: usize) -> Option<Value> {
        let entries: Vec<(u32, &str, f32)> = query
            .iter()
            .filter_map(|(id, weight)| Some((id, self.names.get(id as usize)?.as_str(), weight)))
            .filter(|&(_, token, weight)| is_nameable(token) && is_storable(weight))
            .collect();
        if entries.is_empty() || k == 0 {
            return None;
        }
        let tokens = || -> Map<String, Value> {
            entries
                .iter()
                .map(|&(_, token, weight)| (token.to_owned(), json!(weight)))
                .collect()
        };
        let query = match self.form {
            QueryForm::RankFeature => {
                let clauses = entries
                    .iter()
                    .map(|&(_, token, weight)| self.rank_feature(token, weight));
                json!({"bool": {"should": clauses.collect::<Vec<_>>()}})
            }
            QueryForm::NeuralSparse | QueryForm::TwoPhase(_) => {
                json!({"neural_sparse": {self.field: {"query_tokens": tokens()}}})
            }
            QueryForm::Seismic(SeismicSearch { top_n, heap_factor }) => {
                let ids: Map<String, Value> = entries
                    .iter()
                    .map(|&(id, _, weight)| (id.to_string(), json!(weight)))
                    .collect();
                let parameters = json!({"k": k, "top_n": top_n, "heap_factor": heap_factor});
                json!({"neural_sparse": {self.field: {"query_tokens": ids, "method_parameters": parameters}}})
            }
        };
        let mut body =
            json!({"size": k, "_source": false, "track_total_hits": false, "query": query});
        match self.form {
            // A second phase cannot be sorted.
            QueryForm::TwoPhase(two_phase) => body["search_pipeline"] = two_phase.pipeline(),
            _ if self.has_ids => {
                body["sort"] = json!(["_score", {ID_FIELD: "desc"}]);
                body["track_scores"] = json!(true);
            }
            _ => {}
        }
        Some(body)
    }

    fn rank_feature(&self, token: &str, weight: f32) -> Value {
        let field = format!("{}.{}", self.field, feature_name(token));
        json!({"rank_feature": {"field": field, "boost": weight, "linear": {}}})
    }
}

impl TwoPhase {
    /// A search pipeline with nothing but this.
    pub(super) fn pipeline(&self) -> Value {
        let parameters = json!({
            "prune_ratio": self.prune_ratio,
            "expansion_rate": self.expansion_rate,
            "max_window_size": self.max_window_size,
        });
        let processor = json!({"enabled": true, "two_phase_parameter": parameters});
        json!({"request_processors": [{"neural_sparse_two_phase_processor": processor}]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(form: QueryForm, has_ids: bool, entries: &[(u32, f32)]) -> Option<Value> {
        let names = ["sea", "1.5", "\0two"].map(str::to_owned);
        let builder = QueryBuilder {
            field: "vec",
            form,
            has_ids,
            names: &names,
        };
        builder.body(&entries.iter().copied().collect(), 10)
    }

    /// The formats that OpenSearch's documentation has.
    #[test]
    fn bodies_are_as_documented() {
        let entries = [(0, 0.5), (1, 2.0), (2, 3.0)];
        assert_eq!(
            body(QueryForm::RankFeature, true, &entries).expect("tokens"),
            json!({
                "size": 10, "_source": false, "track_total_hits": false,
                "sort": ["_score", {"id": "desc"}], "track_scores": true,
                "query": {"bool": {"should": [
                    {"rank_feature": {"field": "vec.sea", "boost": 0.5, "linear": {}}},
                    {"rank_feature": {"field": "vec.1\u{e02e}5", "boost": 2.0, "linear": {}}},
                ]}},
            })
        );
        let plain = json!({
            "size": 10, "_source": false, "track_total_hits": false,
            "query": {"neural_sparse": {"vec": {"query_tokens": {"sea": 0.5, "1.5": 2.0}}}},
        });
        assert_eq!(
            body(QueryForm::NeuralSparse, false, &entries),
            Some(plain.clone())
        );
        let mut two_phase = plain;
        two_phase["search_pipeline"] = json!({"request_processors": [{"neural_sparse_two_phase_processor": {
            "enabled": true,
            "two_phase_parameter": {"prune_ratio": 0.5, "expansion_rate": 5.0, "max_window_size": 10000},
        }}]});
        let parameters = TwoPhase {
            prune_ratio: 0.5,
            ..TwoPhase::default()
        };
        assert_eq!(
            body(QueryForm::TwoPhase(parameters), true, &entries),
            Some(two_phase)
        );
        let seismic = body(
            QueryForm::Seismic(SeismicSearch::default()),
            false,
            &entries,
        )
        .expect("tokens");
        assert_eq!(
            seismic["query"],
            json!({"neural_sparse": {"vec": {
                "query_tokens": {"0": 0.5, "1": 2.0},
                "method_parameters": {"k": 10, "top_n": 10, "heap_factor": 1.0},
            }}})
        );
    }

    /// A `bool` without clauses would find every document.
    #[test]
    fn nothing_is_asked_for_without_tokens() {
        for entries in [&[] as &[_], &[(2, 1.0)], &[(9, 1.0)], &[(0, 1.0e-40)]] {
            assert_eq!(body(QueryForm::RankFeature, true, entries), None);
        }
    }
}
