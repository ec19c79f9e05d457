//! The model card.

use configs::Activation;

use super::export::ExportOptions;
use super::layout::Layout;
use crate::config::{EncoderConfig, Family};

/// README.md of an exported model: what it computes, and how to use it from Python.
pub(super) fn text(name: &str, options: &ExportOptions, config: &EncoderConfig) -> String {
    match options.activation {
        Some(activation) => sparse_retriever(name, options, config, activation),
        None => masked_lm(name, options, config),
    }
}

fn masked_lm(name: &str, options: &ExportOptions, config: &EncoderConfig) -> String {
    format!(
        "---\n\
         library_name: transformers\n\
         pipeline_tag: fill-mask\n\
         ---\n\n\
         # {name}\n\n\
         A masked-LM: it guesses the tokens that `[MASK]` stands for, out of the {} of its vocabulary. At most {} tokens \
         of a text are read.\n\
         {FILL_MASK}",
        config.vocab_size,
        options.max_seq_len.min(config.max_positions),
    )
}

const FILL_MASK: &str = r#"
## transformers

```python
from transformers import pipeline

guess = pipeline("fill-mask", "path/to/this/directory")
print(guess("Currently New York is [MASK]."))
```
"#;

fn sparse_retriever(
    name: &str,
    options: &ExportOptions,
    config: &EncoderConfig,
    activation: Activation,
) -> String {
    let logs = activation.logarithms();
    let with_sentence_transformers = options.layouts.contains(&Layout::SentenceTransformers);
    let library = match with_sentence_transformers {
        true => "sentence-transformers",
        false => "transformers",
    };
    let queries = match options.idf {
        Some(_) => {
            "Queries need no model: each distinct token weighs what `idf.json` says, special tokens 0."
        }
        None => "Queries are encoded like documents.",
    };
    let mut card = format!(
        "---\n\
         library_name: {library}\n\
         pipeline_tag: feature-extraction\n\
         tags:\n\
         - sparse-encoder\n\
         - sparse\n\
         - learned-sparse-retrieval\n\
         {}- opensearch\n\
         ---\n\n\
         # {name}\n\n\
         A sparse retriever: texts become vectors over the {} tokens of its vocabulary, compared by dot product.\n\n\
         A document's weight of a token is {} of its largest masked-LM logit over the document's tokens \
         ({logs} logarithm{}, activation `{}`); special tokens weigh 0. {queries}\n\n\
         At most {} tokens of a text are read.\n",
        match options.idf {
            Some(_) => "- inference-free\n",
            None => "",
        },
        config.vocab_size,
        formula(activation),
        if logs == 1 { "" } else { "s" },
        activation.name(),
        options.max_seq_len.min(config.max_positions),
    );
    if with_sentence_transformers {
        card.push_str(&sentence_transformers_code(config));
    } else if logs > 2 {
        card.push_str(
            "\nsentence-transformers has no name for more than two logarithms: use the code below.\n",
        );
    }
    card.push_str(&transformers_code(options, config, logs));
    card
}

/// `log1p(log1p(relu(x)))`, with as many logarithms as the activation has.
fn formula(activation: Activation) -> String {
    let logs = activation.logarithms();
    format!("`{}relu(x){}`", "log1p(".repeat(logs), ")".repeat(logs))
}

/// What loading needs besides the directory: transformers has no code of its own for every family.
fn loading_argument(config: &EncoderConfig) -> &'static str {
    match config.family {
        Family::Bert | Family::DistilBert => "",
        Family::Gte => ", trust_remote_code=True",
    }
}

fn sentence_transformers_code(config: &EncoderConfig) -> String {
    format!(
        r#"
## sentence-transformers

```python
from sentence_transformers import SparseEncoder

model = SparseEncoder("path/to/this/directory"{trust})
documents = model.encode_document(["Currently New York is rainy."])
queries = model.encode_query(["What's the weather in ny now?"])
print(model.similarity(queries, documents))
```
"#,
        trust = loading_argument(config),
    )
}

fn transformers_code(options: &ExportOptions, config: &EncoderConfig, logs: usize) -> String {
    format!(
        r#"
## transformers

```python
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

model = AutoModelForMaskedLM.from_pretrained("path/to/this/directory"{trust}).eval()
tokenizer = AutoTokenizer.from_pretrained("path/to/this/directory")

def encode_documents(texts):
    batch = tokenizer(texts, padding=True, truncation=True, max_length={max_length}, return_tensors="pt",
                      return_token_type_ids=False)
    with torch.no_grad():
        logits = model(**batch).logits * batch["attention_mask"].unsqueeze(-1)
    weights = logits.amax(dim=1).relu()
    for _ in range({logs}):
        weights = weights.log1p()
    weights[:, tokenizer.all_special_ids] = 0
    return weights
```
"#,
        trust = loading_argument(config),
        max_length = options.max_seq_len.min(config.max_positions),
    )
}

#[cfg(test)]
mod tests {
    use data::Tokenizer;

    use super::super::fixture::{options, random_model};
    use super::*;

    #[test]
    fn code_that_loads_remote_code_says_so() {
        for (family, count) in [(Family::Bert, 0), (Family::Gte, 2)] {
            let (dir, _, config) = random_model(family);
            let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
            let options = ExportOptions {
                layouts: &[Layout::SentenceTransformers],
                ..options(dir.path(), &tokenizer)
            };
            let card = text("name", &options, &config);
            let found = card.matches("directory\", trust_remote_code=True)").count();
            assert_eq!(found, count, "{card}");
            assert_eq!(card.matches("path/to/this/directory\"").count(), 3);
        }
    }
}
