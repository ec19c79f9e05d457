//! Options of the commands that talk to OpenSearch.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use eval::opensearch::{
    Address, BulkOptions, Client, ClientOptions, FieldType, IndexSettings, LoadOptions, QueryForm,
    SearchOptions, Seismic, SeismicSearch, Target, TemporaryIndex, TwoPhase,
};

use super::super::{positive, ratio};

/// Where help lists what is of no use without a cluster.
pub const HEADING: &str = "OpenSearch";

/// An index of a cluster, where a path is one: `http://HOST:PORT/INDEX`.
pub fn target(path: &Path) -> Result<Option<Target>> {
    match path.to_str().filter(|text| Address::is_one(text)) {
        Some(text) => Ok(Some(text.parse()?)),
        None => Ok(None),
    }
}

/// How to reach a cluster.
#[derive(Debug, Args)]
pub struct ConnectionArguments {
    /// Certificates to trust, in PEM form [default: SSL_CERT_FILE, else Mozilla's]
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    ca_file: Option<PathBuf>,
    /// Go on trying this long while the cluster does not answer or is busy
    #[arg(long, value_name = "SECONDS", default_value_t = 120, help_heading = HEADING)]
    patience: u64,
}

impl ConnectionArguments {
    /// A client of the cluster, as the user of the address, or of OPENSEARCH_USER and OPENSEARCH_PASSWORD.
    pub fn client(&self, address: Address) -> Result<Client> {
        let variable = |name: &str| env::var(name).ok();
        let from_env = || env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty());
        let options = ClientOptions {
            certificates: self
                .ca_file
                .clone()
                .or_else(|| from_env().map(PathBuf::from)),
            patience: Duration::from_secs(self.patience),
            ..ClientOptions::default()
        };
        Ok(Client::new(address.with_user_of(variable), options)?)
    }
}

/// The type of the field with the vectors, as written.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum FieldTypeName {
    /// An inverted index, exact but for weights of 9 bits
    RankFeatures,
    /// SEISMIC, approximate; needs OpenSearch 3.3 and neural-search
    SparseVector,
}

impl From<FieldTypeName> for FieldType {
    fn from(name: FieldTypeName) -> Self {
        match name {
            FieldTypeName::RankFeatures => Self::RankFeatures,
            FieldTypeName::SparseVector => Self::SparseVector(Seismic::default()),
        }
    }
}

/// How an index is made.
#[derive(Debug, Args)]
pub struct IndexSettingsArguments {
    /// Parts of a new index
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive, help_heading = HEADING)]
    shards: usize,
    /// Further copies of each shard, on other nodes
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = HEADING)]
    replicas: usize,
}

impl IndexSettingsArguments {
    pub fn settings(&self) -> IndexSettings {
        IndexSettings {
            shards: self.shards,
            replicas: self.replicas,
            ..IndexSettings::default()
        }
    }
}

/// How an index is loaded.
#[derive(Debug, Args)]
pub struct LoadArguments {
    #[command(flatten)]
    pub connection: ConnectionArguments,
    #[command(flatten)]
    index: IndexSettingsArguments,
    /// Field with the vectors
    #[arg(long, value_name = "NAME", default_value = "embedding", help_heading = HEADING)]
    field: String,
    /// The new index does not keep the vectors as they came: smaller, but documents cannot be updated or re-indexed
    #[arg(long, help_heading = HEADING)]
    drop_vectors: bool,
    /// Size of a request, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 4, value_parser = positive, help_heading = HEADING)]
    body_mib: usize,
    /// Requests at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = positive, help_heading = HEADING)]
    in_flight: usize,
}

impl LoadArguments {
    /// With `append` documents join the index that is there.
    pub fn options(
        &self,
        field_type: FieldTypeName,
        append: bool,
        fingerprint: Option<u32>,
    ) -> LoadOptions {
        LoadOptions {
            settings: IndexSettings {
                field: self.field.clone(),
                field_type: field_type.into(),
                keep_vectors: !self.drop_vectors,
                ..self.index.settings()
            },
            bulk: BulkOptions {
                body_bytes: self.body_mib << 20,
                in_flight: self.in_flight,
            },
            append,
            fingerprint,
        }
    }
}

/// [`QueryForm`] as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum QueryName {
    /// Clauses that every server has
    RankFeature,
    /// The query of the plugin neural-search, with the same scores
    NeuralSparse,
    /// The same in two phases: approximate
    TwoPhase,
    /// Of a sparse_vector: approximate
    Seismic,
}

/// How an index is searched.
#[derive(Debug, Args)]
pub struct QueryArguments {
    /// Form of the queries
    #[arg(long = "query-form", value_enum, default_value_t = QueryName::RankFeature, help_heading = HEADING)]
    pub form: QueryName,
    /// Keep query weights above this share of the largest of their query
    #[arg(long, value_name = "RATIO", value_parser = ratio, help_heading = HEADING)]
    query_prune: Option<f32>,
}

impl QueryArguments {
    pub fn options(&self) -> SearchOptions {
        SearchOptions {
            form: match self.form {
                QueryName::RankFeature => QueryForm::RankFeature,
                QueryName::NeuralSparse => QueryForm::NeuralSparse,
                QueryName::TwoPhase => QueryForm::TwoPhase(TwoPhase::default()),
                QueryName::Seismic => QueryForm::Seismic(SeismicSearch::default()),
            },
            query_prune: self.query_prune,
            ..SearchOptions::default()
        }
    }
}

/// What searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EngineName {
    /// An exact inverted index of our own
    Embedded,
    /// An index in an OpenSearch cluster, for as long as it is needed
    #[value(name = "opensearch")]
    OpenSearch,
}

/// What searches, and where that is.
#[derive(Debug, Args)]
pub struct EngineArguments {
    /// What searches
    #[arg(long, value_enum, default_value_t = EngineName::Embedded)]
    engine: EngineName,
    /// Address of the cluster, `http[s]://[USER:PASSWORD@]HOST[:PORT]`; several nodes separated by commas
    #[arg(
        long,
        value_name = "URL",
        help_heading = HEADING,
        required_if_eq("engine", "opensearch")
    )]
    opensearch: Option<Address>,
    #[command(flatten)]
    connection: ConnectionArguments,
    #[command(flatten)]
    index: IndexSettingsArguments,
    #[command(flatten)]
    query: QueryArguments,
}

impl EngineArguments {
    /// What decides about results besides the documents, without users and passwords; nothing for the embedded index.
    pub fn fingerprint(&self) -> Option<String> {
        let Self {
            engine,
            opensearch,
            connection: _,
            index,
            query,
        } = self;
        (*engine != EngineName::Embedded)
            .then(|| format!("{engine:?} {opensearch:?} {} {query:?}", index.shards))
    }

    /// An index called `ellzero-PURPOSE-NUMBER` for documents over the tokens `names`, if the engine is OpenSearch;
    /// searches ask for `depth` documents.
    pub fn open(
        &self,
        purpose: &str,
        names: impl FnOnce() -> Vec<String>,
        depth: usize,
    ) -> Result<Option<TemporaryIndex>> {
        if self.engine == EngineName::Embedded {
            return Ok(None);
        }
        if self.query.form == QueryName::Seismic {
            bail!(
                "--query-form seismic searches a sparse_vector, and evaluation makes rank_features"
            );
        }
        let address = self
            .opensearch
            .clone()
            .context("--engine opensearch needs --opensearch URL")?;
        let client = self.connection.client(address)?;
        let name = format!("ellzero-{}-{}", index_name(purpose), std::process::id());
        let mut settings = self.index.settings();
        settings.max_result_window = settings.max_result_window.max(depth);
        let load = LoadOptions {
            settings,
            ..LoadOptions::default()
        };
        Ok(Some(TemporaryIndex::create(
            &client,
            &name,
            names(),
            load,
            self.query.options(),
        )?))
    }
}

/// A text as part of an index name.
fn index_name(text: &str) -> String {
    let plain = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_alphanumeric() => c,
        _ => '-',
    };
    text.chars().take(100).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_paths() {
        for path in ["index", "/data/index", "http", "https:/x"] {
            assert!(target(Path::new(path)).expect("a path").is_none(), "{path}");
        }
        let found = target(Path::new("http://a:9200/docs"))
            .expect("a target")
            .expect("no path");
        assert_eq!(found.index, "docs");
        assert!(target(Path::new("http://a:9200")).is_err());
    }

    #[test]
    fn data_sets_name_indices() {
        assert_eq!(index_name("NFCorpus_é.2"), "nfcorpus---2");
    }
}
