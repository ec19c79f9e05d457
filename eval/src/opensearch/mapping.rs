//! How an index stores sparse vectors.

use serde_json::{Value, json};

use super::OpenSearchError;

/// Tokens that a `sparse_vector` tells apart: ids are kept in a signed 16-bit number, modulo this.
pub const SEISMIC_TOKENS: usize = 1 << 15;

/// Name of the field with a document's id, by which ties are broken.
pub(super) const ID_FIELD: &str = "id";

/// The type of the field with the vectors.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum FieldType {
    /// An inverted index, exact but for the rounding of [`super::stored_weight`]; every version has it.
    #[default]
    RankFeatures,
    /// SEISMIC, approximate, of the plugin neural-search from version 3.3.
    SparseVector(Seismic),
}

/// Parameters of SEISMIC; the server's defaults where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Seismic {
    /// Documents that a posting list keeps.
    pub n_postings: Option<usize>,
    /// Clusters of a posting list, as a share of its documents.
    pub cluster_ratio: Option<f32>,
    /// Share of a cluster's weight that its summary keeps.
    pub summary_prune_ratio: Option<f32>,
    /// Documents from which on a segment is searched approximately.
    pub approximate_threshold: Option<usize>,
}

/// What an index is made with.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexSettings {
    /// Parts that documents are spread over.
    pub shards: usize,
    /// Further copies of each shard, on other nodes.
    pub replicas: usize,
    /// The field with the vectors.
    pub field: String,
    /// Its type.
    pub field_type: FieldType,
    /// Whether the server keeps the vectors as they came too, for updates and re-indexing.
    pub keep_vectors: bool,
    /// Largest number of documents that a search may ask for.
    pub max_result_window: usize,
}

impl Default for IndexSettings {
    fn default() -> Self {
        Self {
            shards: 1,
            replicas: 0,
            field: "embedding".to_owned(),
            field_type: FieldType::default(),
            keep_vectors: true,
            max_result_window: 10_000,
        }
    }
}

impl IndexSettings {
    /// The body that makes the index. It is not refreshed until all documents are in.
    pub fn body(&self) -> Value {
        let mut settings = json!({
            "number_of_shards": self.shards,
            "number_of_replicas": self.replicas,
            "max_result_window": self.max_result_window,
        });
        let field = match self.field_type {
            FieldType::RankFeatures => json!({"type": "rank_features"}),
            FieldType::SparseVector(seismic) => {
                settings["sparse"] = json!(true);
                json!({"type": "sparse_vector", "method": {"name": "seismic", "parameters": seismic.body()}})
            }
        };
        let mut mappings = json!({
            "dynamic": false,
            "properties": {ID_FIELD: {"type": "keyword"}, self.field.as_str(): field},
        });
        if !self.keep_vectors {
            mappings["_source"] = json!({"excludes": [self.field]});
        }
        json!({"settings": {"index": settings}, "mappings": mappings})
    }

    /// Refuses what the server does not have, or what would mix up tokens. `version` is as the server says it,
    /// `tokens` the size of the vocabulary.
    ///
    /// # Errors
    ///
    /// If a `sparse_vector` is asked of a server before 3.3 or without neural-search, or for more tokens than it tells
    /// apart.
    pub fn check(&self, server: &Server, tokens: usize) -> Result<(), OpenSearchError> {
        let FieldType::SparseVector(_) = self.field_type else {
            return Ok(());
        };
        let reason = if server.version < (3, 3) {
            let (major, minor) = server.version;
            format!(
                "the server is OpenSearch {major}.{minor}, and sparse_vector needs 3.3 or newer: use rank_features"
            )
        } else if !server.has_neural_search {
            "the server lacks the plugin neural-search, which has sparse_vector: use rank_features"
                .to_owned()
        } else if tokens > SEISMIC_TOKENS {
            format!(
                "the vocabulary has {tokens} tokens, and sparse_vector folds ids from {SEISMIC_TOKENS} on onto lower \
                 ones: use rank_features"
            )
        } else {
            return Ok(());
        };
        Err(OpenSearchError::Index {
            index: server.url.clone(),
            reason,
        })
    }
}

impl Seismic {
    fn body(&self) -> Value {
        let parameters = [
            ("n_postings", self.n_postings.map(|n| json!(n))),
            (
                "cluster_ratio",
                self.cluster_ratio.map(|ratio| json!(ratio)),
            ),
            (
                "summary_prune_ratio",
                self.summary_prune_ratio.map(|ratio| json!(ratio)),
            ),
            (
                "approximate_threshold",
                self.approximate_threshold.map(|n| json!(n)),
            ),
        ];
        let given = parameters.into_iter();
        given
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }
}

/// What a server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its address.
    pub url: String,
    /// Major and minor version.
    pub version: (u32, u32),
    /// Whether the plugin neural-search is there, which has `neural_sparse` and `sparse_vector`.
    pub has_neural_search: bool,
}

impl Server {
    /// Asks.
    ///
    /// # Errors
    ///
    /// If there is no answer, or another than OpenSearch gives.
    pub fn ask(client: &super::Client) -> Result<Self, OpenSearchError> {
        let about = client.get("")?;
        let number = about["version"]["number"].as_str().unwrap_or_default();
        let mut parts = number.split('.').map(str::parse::<u32>);
        let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else {
            return Err(OpenSearchError::NotOpenSearch {
                url: client.url(""),
                reason: format!("expected its version, found {about}"),
            });
        };
        let plugins = client.get("_cat/plugins?format=json&h=component")?;
        let names = plugins.as_array().into_iter().flatten();
        let mut names = names.filter_map(|plugin| plugin["component"].as_str());
        Ok(Self {
            url: client.url(""),
            version: (major, minor),
            has_neural_search: names.any(|name| {
                name.to_lowercase()
                    .replace('-', "")
                    .contains("neuralsearch")
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_as_documented() {
        let settings = IndexSettings {
            shards: 2,
            keep_vectors: false,
            ..IndexSettings::default()
        };
        assert_eq!(
            settings.body(),
            json!({
                "settings": {"index": {"number_of_shards": 2, "number_of_replicas": 0, "max_result_window": 10000}},
                "mappings": {
                    "dynamic": false,
                    "_source": {"excludes": ["embedding"]},
                    "properties": {"id": {"type": "keyword"}, "embedding": {"type": "rank_features"}},
                },
            })
        );
        let seismic = Seismic {
            n_postings: Some(4000),
            cluster_ratio: Some(0.5),
            ..Seismic::default()
        };
        let settings = IndexSettings {
            field_type: FieldType::SparseVector(seismic),
            ..IndexSettings::default()
        };
        let body = settings.body();
        assert_eq!(body["settings"]["index"]["sparse"], true);
        let method =
            json!({"name": "seismic", "parameters": {"n_postings": 4000, "cluster_ratio": 0.5}});
        let field = json!({"type": "sparse_vector", "method": method});
        assert_eq!(body["mappings"]["properties"]["embedding"], field);
    }

    #[test]
    fn seismic_is_asked_only_of_those_who_have_it() {
        let server = |version, has_neural_search| Server {
            url: "http://a".to_owned(),
            version,
            has_neural_search,
        };
        let seismic = IndexSettings {
            field_type: FieldType::SparseVector(Seismic::default()),
            ..IndexSettings::default()
        };
        for (server, tokens, expected) in [
            (server((2, 19), true), 30_522, Some("OpenSearch 2.19")),
            (server((3, 3), false), 30_522, Some("neural-search")),
            (server((3, 3), true), 105_879, Some("105879 tokens")),
            (server((3, 3), true), 30_522, None),
            (server((4, 0), true), 1 << 15, None),
        ] {
            let message = seismic
                .check(&server, tokens)
                .err()
                .map(|error| error.to_string());
            match (expected, &message) {
                (Some(expected), Some(message)) => assert!(message.contains(expected), "{message}"),
                (expected, message) => assert_eq!(expected, message.as_deref()),
            }
            assert!(IndexSettings::default().check(&server, tokens).is_ok());
        }
    }
}
