//! Long texts in pieces, so that the cost of a huge document is bounded by what is kept of it.

use tokenizers::{AddedToken, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper};

/// Text longer than this is cut where that cannot change a token.
const PIECE_BYTES: usize = 16 * 1024;

/// Where a text may be cut so that tokenizing the parts one by one gives the tokens of the whole.
///
/// There are such places in BERT's pipeline: normalization looks at one character and its combining marks, words end
/// at whitespace and around each Chinese character and punctuation mark, and WordPiece sees one word at a time.
/// Added tokens are found before all that, so a cut must not fall into one.
pub(super) struct Cuts {
    chinese: bool,
    /// ASCII punctuation that no added token contains.
    punctuation: Vec<char>,
}

impl Cuts {
    /// `None` where the pipeline is another one, or an added token reaches across whitespace.
    pub(super) fn new(tokenizer: &tokenizers::Tokenizer) -> Option<Self> {
        let (
            Some(NormalizerWrapper::BertNormalizer(normalizer)),
            Some(PreTokenizerWrapper::BertPreTokenizer(_)),
            ModelWrapper::WordPiece(_),
        ) = (
            tokenizer.get_normalizer(),
            tokenizer.get_pre_tokenizer(),
            tokenizer.get_model(),
        )
        else {
            return None;
        };
        let added = tokenizer.get_added_tokens_decoder();
        let reaches = |token: &AddedToken| {
            token.lstrip || token.rstrip || !token.content.chars().all(|c| c.is_ascii_graphic())
        };
        if added.values().any(reaches) {
            return None;
        }
        let in_added = |c: &char| added.values().any(|token| token.content.contains(*c));
        let punctuation = ('!'..='~').filter(char::is_ascii_punctuation);
        Some(Self {
            chinese: normalizer.handle_chinese_chars,
            punctuation: punctuation.filter(|c| !in_added(c)).collect(),
        })
    }

    /// The first place after [`PIECE_BYTES`], or the end.
    pub(super) fn first(&self, text: &str) -> usize {
        let start = (PIECE_BYTES..text.len()).find(|&index| text.is_char_boundary(index));
        let Some(start) = start else {
            return text.len();
        };
        let standing_alone = |c: char| {
            matches!(c, ' ' | '\n' | '\r' | '\t')
                || self.chinese && matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}')
                || self.punctuation.contains(&c)
        };
        let mut characters = text[start..].char_indices();
        characters
            .find(|&(_, c)| standing_alone(c))
            .map_or(text.len(), |(offset, c)| start + offset + c.len_utf8())
    }
}
