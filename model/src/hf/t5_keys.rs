//! Hugging Face key names of T5, from the places of its parameters.

use crate::mono_t5::config::FeedForwardKind;
use crate::mono_t5::parameter::{Parameter, Part, Stack, Sublayer};

/// Names of the embeddings: files hold the first, some of them copies under the others too.
pub const EMBEDDINGS: [&str; 3] = [
    "shared.weight",
    "encoder.embed_tokens.weight",
    "decoder.embed_tokens.weight",
];

/// A parameter that older releases stored and that nothing ever used.
pub const UNUSED: &str = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight";

/// The key of a parameter.
pub fn t5_key(parameter: Parameter, feed_forward: FeedForwardKind) -> String {
    let (place, part) = match parameter {
        Parameter::Embeddings => return EMBEDDINGS[0].to_owned(),
        Parameter::Head => return "lm_head.weight".to_owned(),
        Parameter::PositionBias(stack) => {
            let stack = stack_name(stack);
            return format!("{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight");
        }
        Parameter::FinalNorm(stack) => {
            return format!("{}.final_layer_norm.weight", stack_name(stack));
        }
        Parameter::Layer(place, part) => (place, part),
    };
    let module = match place.sublayer {
        Sublayer::SelfAttention => "SelfAttention",
        Sublayer::CrossAttention => "EncDecAttention",
        Sublayer::FeedForward => "DenseReluDense",
    };
    let part = match (part, place.sublayer, feed_forward) {
        (Part::Norm, _, _) => "layer_norm".to_owned(),
        (Part::Query, _, _) => format!("{module}.q"),
        (Part::Key, _, _) => format!("{module}.k"),
        (Part::Value, _, _) => format!("{module}.v"),
        (Part::Inner, _, FeedForwardKind::Relu) => format!("{module}.wi"),
        (Part::Inner, _, FeedForwardKind::GatedGelu) => format!("{module}.wi_0"),
        (Part::Factor, _, _) => format!("{module}.wi_1"),
        (Part::Output, Sublayer::FeedForward, _) => format!("{module}.wo"),
        (Part::Output, _, _) => format!("{module}.o"),
    };
    let before = place
        .stack
        .sublayers()
        .iter()
        .take_while(|&&other| other != place.sublayer);
    format!(
        "{}.block.{}.layer.{}.{part}.weight",
        stack_name(place.stack),
        place.layer,
        before.count()
    )
}

fn stack_name(stack: Stack) -> &'static str {
    match stack {
        Stack::Encoder => "encoder",
        Stack::Decoder => "decoder",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mono_t5::parameter::Place;

    #[test]
    fn places_become_keys() {
        use FeedForwardKind::{GatedGelu, Relu};
        let at = |stack, layer, sublayer, part| {
            let place = Place {
                stack,
                layer,
                sublayer,
            };
            Parameter::Layer(place, part)
        };
        let (encoder, decoder) = (Stack::Encoder, Stack::Decoder);
        let table = [
            (Parameter::Embeddings, Relu, "shared.weight"),
            (Parameter::Head, GatedGelu, "lm_head.weight"),
            (
                Parameter::PositionBias(decoder),
                Relu,
                "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            ),
            (
                Parameter::FinalNorm(encoder),
                Relu,
                "encoder.final_layer_norm.weight",
            ),
            (
                at(encoder, 11, Sublayer::SelfAttention, Part::Query),
                Relu,
                "encoder.block.11.layer.0.SelfAttention.q.weight",
            ),
            (
                at(decoder, 3, Sublayer::CrossAttention, Part::Output),
                Relu,
                "decoder.block.3.layer.1.EncDecAttention.o.weight",
            ),
            (
                at(encoder, 0, Sublayer::FeedForward, Part::Norm),
                Relu,
                "encoder.block.0.layer.1.layer_norm.weight",
            ),
            (
                at(decoder, 2, Sublayer::FeedForward, Part::Inner),
                Relu,
                "decoder.block.2.layer.2.DenseReluDense.wi.weight",
            ),
            (
                at(encoder, 2, Sublayer::FeedForward, Part::Inner),
                GatedGelu,
                "encoder.block.2.layer.1.DenseReluDense.wi_0.weight",
            ),
            (
                at(encoder, 2, Sublayer::FeedForward, Part::Factor),
                GatedGelu,
                "encoder.block.2.layer.1.DenseReluDense.wi_1.weight",
            ),
            (
                at(decoder, 0, Sublayer::FeedForward, Part::Output),
                GatedGelu,
                "decoder.block.0.layer.2.DenseReluDense.wo.weight",
            ),
        ];
        for (parameter, feed_forward, key) in table {
            assert_eq!(t5_key(parameter, feed_forward), key);
        }
    }
}
