//! What a cluster needs that encodes texts itself: an index, pipelines, and models, as requests.

use serde_json::{Value, json};

use super::client::Body;
use super::mapping::IndexSettings;
use super::query::TwoPhase;
use super::{Client, OpenSearchError};

/// A request that sets something up.
#[derive(Debug, Clone, PartialEq)]
pub struct SetupRequest {
    /// What it is for.
    pub purpose: &'static str,
    /// `PUT` or `POST`.
    pub method: &'static str,
    /// Path below the cluster's address.
    pub path: String,
    /// JSON.
    pub body: Value,
    /// Whether it lacks an id that only the cluster knows, such as that of a model which is not registered yet.
    pub is_template: bool,
}

/// What to set up.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// The index.
    pub index: String,
    /// How it is made.
    pub settings: IndexSettings,
    /// The field with the texts.
    pub text_field: String,
    /// Id of the deployed model that encodes documents, where there is one.
    pub document_model: Option<String>,
    /// Id of the deployed tokenizer, or model, that encodes queries, where there is one.
    pub query_model: Option<String>,
    /// Share of a document's largest weight that weights must exceed.
    pub prune_ratio: Option<f32>,
    /// Searches in two phases.
    pub two_phase: Option<TwoPhase>,
    /// What registers models: `config.json` of an export for OpenSearch, with the address of its archive.
    pub registrations: Vec<Value>,
}

impl Setup {
    /// The requests, in their order.
    ///
    /// The formats are those of OpenSearch's documentation, 2.11 to 3.x. Mapping, two-phase pipeline and enricher are
    /// tested on a server; `sparse_encoding` and the registration of models, which need the plugin ml-commons, are not.
    pub fn requests(&self) -> Vec<SetupRequest> {
        let mut requests: Vec<SetupRequest> = self.registrations.iter().map(register).collect();
        requests.push(self.ingest_pipeline());
        requests.push(self.search_pipeline());
        requests.push(self.create_index());
        requests
    }

    fn ingest_pipeline(&self) -> SetupRequest {
        let model = self
            .document_model
            .as_deref()
            .unwrap_or("ID OF THE DOCUMENT MODEL");
        let mut processor = json!({
            "model_id": model,
            "field_map": {self.text_field.as_str(): self.settings.field},
        });
        if let Some(ratio) = self.prune_ratio {
            processor["prune_type"] = json!("max_ratio");
            processor["prune_ratio"] = json!(ratio);
        }
        SetupRequest {
            purpose: "Encodes the text of each document that is written",
            method: "PUT",
            path: format!("_ingest/pipeline/{}", self.ingest_name()),
            body: json!({
                "description": format!("{} to sparse vectors in {}", self.text_field, self.settings.field),
                "processors": [{"sparse_encoding": processor}],
            }),
            is_template: self.document_model.is_none(),
        }
    }

    fn search_pipeline(&self) -> SetupRequest {
        let model = self
            .query_model
            .as_deref()
            .unwrap_or("ID OF THE QUERY TOKENIZER");
        let mut body = self
            .two_phase
            .as_ref()
            .map_or_else(|| json!({"request_processors": []}), TwoPhase::pipeline);
        if let Some(processors) = body["request_processors"].as_array_mut() {
            processors.insert(
                0,
                json!({"neural_query_enricher": {"default_model_id": model}}),
            );
        }
        SetupRequest {
            purpose: "Encodes the text of each neural_sparse query that names no model",
            method: "PUT",
            path: format!("_search/pipeline/{}", self.search_name()),
            body,
            is_template: self.query_model.is_none(),
        }
    }

    fn create_index(&self) -> SetupRequest {
        let mut body = self.settings.body();
        let index = &mut body["settings"]["index"];
        if self.document_model.is_some() {
            index["default_pipeline"] = json!(self.ingest_name());
        }
        if self.query_model.is_some() {
            index["search"] = json!({"default_pipeline": self.search_name()});
        }
        body["mappings"]["properties"][self.text_field.as_str()] = json!({"type": "text"});
        SetupRequest {
            purpose: "The index; its pipelines are those above that have their models",
            method: "PUT",
            path: self.index.clone(),
            body,
            is_template: false,
        }
    }

    fn ingest_name(&self) -> String {
        format!("{}-ingest", self.index)
    }

    fn search_name(&self) -> String {
        format!("{}-search", self.index)
    }
}

/// From the settings of an export to the request that registers and deploys it.
fn register(settings: &Value) -> SetupRequest {
    SetupRequest {
        purpose: "Registers and deploys a model; GET _plugins/_ml/tasks/TASK_ID says its id",
        method: "POST",
        path: "_plugins/_ml/models/_register?deploy=true".to_owned(),
        body: settings.clone(),
        is_template: settings["url"].as_str().is_none(),
    }
}

impl SetupRequest {
    /// Sends it, and gives the answer.
    ///
    /// # Errors
    ///
    /// If the server refuses.
    pub fn apply(&self, client: &Client) -> Result<Value, OpenSearchError> {
        client.send(self.method, &self.path, Body::Json(&self.body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> Setup {
        Setup {
            index: "docs".to_owned(),
            settings: IndexSettings::default(),
            text_field: "text".to_owned(),
            document_model: Some("dddd".to_owned()),
            query_model: Some("qqqq".to_owned()),
            prune_ratio: Some(0.5),
            two_phase: Some(TwoPhase::default()),
            registrations: vec![
                json!({"name": "m", "function_name": "SPARSE_TOKENIZE", "url": "https://a/m.zip"}),
            ],
        }
    }

    /// The formats that OpenSearch's documentation has.
    #[test]
    fn requests_are_as_documented() {
        let requests = setup().requests();
        let paths: Vec<&str> = requests
            .iter()
            .map(|request| request.path.as_str())
            .collect();
        assert_eq!(
            paths,
            [
                "_plugins/_ml/models/_register?deploy=true",
                "_ingest/pipeline/docs-ingest",
                "_search/pipeline/docs-search",
                "docs"
            ]
        );
        let encoding = json!({
            "model_id": "dddd", "prune_type": "max_ratio", "prune_ratio": 0.5,
            "field_map": {"text": "embedding"},
        });
        assert_eq!(
            requests[1].body["processors"],
            json!([{"sparse_encoding": encoding}])
        );
        let processors = requests[2].body["request_processors"]
            .as_array()
            .expect("processors");
        assert_eq!(
            processors[0],
            json!({"neural_query_enricher": {"default_model_id": "qqqq"}})
        );
        assert!(
            processors[1]
                .get("neural_sparse_two_phase_processor")
                .is_some()
        );
        let index = &requests[3].body["settings"]["index"];
        assert_eq!(index["default_pipeline"], "docs-ingest");
        assert_eq!(index["search"]["default_pipeline"], "docs-search");
        assert!(requests.iter().all(|request| !request.is_template));
    }

    #[test]
    fn what_lacks_an_id_is_a_template() {
        let setup = Setup {
            document_model: None,
            query_model: None,
            registrations: vec![json!({"name": "m"})],
            ..setup()
        };
        let requests = setup.requests();
        let templates: Vec<bool> = requests.iter().map(|request| request.is_template).collect();
        assert_eq!(templates, [true, true, true, false]);
        assert!(
            requests[3].body["settings"]["index"]
                .get("default_pipeline")
                .is_none()
        );
    }
}
