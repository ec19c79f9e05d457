//! Data sets that are known by name: the 13 of BEIR that papers report on, and NanoBEIR's samples of them.

use std::path::PathBuf;

/// The public data sets of BEIR, in the order of the papers' tables.
pub const BEIR_13: [&str; 13] = [
    "trec-covid",
    "nfcorpus",
    "nq",
    "hotpotqa",
    "fiqa",
    "arguana",
    "webis-touche2020",
    "dbpedia-entity",
    "scidocs",
    "fever",
    "climate-fever",
    "scifact",
    "quora",
];

/// NanoBEIR: 50 queries and up to 10,000 documents of each.
pub const NANO_BEIR: [&str; 13] = [
    "NanoClimateFEVER",
    "NanoDBPedia",
    "NanoFEVER",
    "NanoFiQA2018",
    "NanoHotpotQA",
    "NanoMSMARCO",
    "NanoNFCorpus",
    "NanoNQ",
    "NanoQuoraRetrieval",
    "NanoSCIDOCS",
    "NanoArguAna",
    "NanoSciFact",
    "NanoTouche2020",
];

/// BEIR's data set of which the judgements of `test` are not the ones that count.
const MS_MARCO: &str = "msmarco";

/// A data set and where it is on the Hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownDataset {
    /// As it is written in tables, and as its folder is called.
    pub name: &'static str,
    /// Address of documents and queries.
    pub data: PathBuf,
    /// Address of the judgements.
    pub qrels: PathBuf,
    /// The splits to take, the first one that there is.
    pub splits: &'static [&'static str],
}

/// What `name` means, in upper or lower case: one data set, or the 13 of `beir-13` or `nano-beir`; empty for any other.
pub fn known_datasets(name: &str) -> Vec<KnownDataset> {
    match name.to_ascii_lowercase().as_str() {
        "beir-13" => BEIR_13.map(beir).into(),
        "nano-beir" => NANO_BEIR.map(nano).into(),
        name => {
            let beir = BEIR_13.into_iter().chain([MS_MARCO]).map(beir);
            let all = beir.chain(NANO_BEIR.map(nano));
            all.filter(|set| set.name.eq_ignore_ascii_case(name))
                .collect()
        }
    }
}

fn beir(name: &'static str) -> KnownDataset {
    let address = format!("hf://datasets/BeIR/{name}");
    KnownDataset {
        name,
        qrels: PathBuf::from(format!("{address}-qrels")),
        data: PathBuf::from(address),
        splits: match name {
            MS_MARCO => &["dev", "validation"],
            _ => &["test"],
        },
    }
}

/// The Hub calls every split of NanoBEIR train.
fn nano(name: &'static str) -> KnownDataset {
    let address = PathBuf::from(format!("hf://datasets/zeta-alpha-ai/{name}"));
    KnownDataset {
        name,
        data: address.clone(),
        qrels: address,
        splits: &["test", "train"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_groups() {
        let names =
            |name: &str| -> Vec<&str> { known_datasets(name).iter().map(|set| set.name).collect() };
        assert_eq!(names("beir-13"), BEIR_13);
        assert_eq!(names("Nano-BEIR"), NANO_BEIR);
        assert_eq!(names("nanoscifact"), ["NanoSciFact"]);
        assert_eq!(names("SciFact"), ["scifact"]);
        assert_eq!(names("msmarco"), ["msmarco"]);
        assert_eq!(names("scifact/"), [] as [&str; 0]);
        let nfcorpus = &known_datasets("nfcorpus")[0];
        assert_eq!(
            nfcorpus.qrels.to_str(),
            Some("hf://datasets/BeIR/nfcorpus-qrels")
        );
        assert_eq!(nfcorpus.splits, ["test"]);
    }
}
