//! Documents with their tokens shaded by weight.

use std::fmt::Write;

use super::escape;
use crate::beir::DocumentSample;

/// Shades from almost nothing to the document's largest weight.
const SHADES: f32 = 9.0;

/// The documents, each to unfold; the first one is open. Empty where there are none.
pub fn heat_maps(samples: &[DocumentSample]) -> String {
    if samples.is_empty() {
        return String::new();
    }
    let mut html = String::from(
        "<figure><figcaption>Documents drawn at random: the stronger a token's shade, the larger its weight; pointing \
         at it gives the number</figcaption>\n",
    );
    for (index, sample) in samples.iter().enumerate() {
        let open = match index {
            0 => " open",
            _ => "",
        };
        let _ = writeln!(
            html,
            "<details{open}><summary>{}: {} tokens</summary>\n{}</details>",
            escape(&sample.id),
            sample.tokens,
            heat_map(sample)
        );
    }
    html.push_str("</figure>\n");
    html
}

fn heat_map(sample: &DocumentSample) -> String {
    let in_text = sample.spans.iter().map(|&(_, _, weight)| weight);
    let added = sample.expansion.iter().map(|&(_, weight)| weight);
    let largest = in_text.chain(added).fold(0.0, f32::max);
    let mut html = String::from("<p class=\"heat\">");
    let mut done = 0;
    for &(start, end, weight) in &sample.spans {
        let (Some(before), Some(token)) = (
            sample.text.get(done..start),
            sample.text.get(start.max(done)..end),
        ) else {
            continue;
        };
        html.push_str(&escape(before));
        html.push_str(&shaded(token, weight, largest));
        done = end;
    }
    html.push_str(&escape(sample.text.get(done..).unwrap_or_default()));
    if sample.is_cut {
        html.push_str(" …");
    }
    html.push_str("</p>\n");
    if !sample.expansion.is_empty() {
        let added: Vec<String> = sample
            .expansion
            .iter()
            .map(|(token, weight)| shaded(token, *weight, largest))
            .collect();
        let _ = writeln!(
            html,
            "<p class=\"heat added\">Heaviest tokens that are not in the text: {}</p>",
            added.join(" ")
        );
    }
    html
}

/// Plain where it has no weight.
fn shaded(token: &str, weight: f32, largest: f32) -> String {
    let token = escape(token);
    if weight <= 0.0 {
        return token;
    }
    let shade = (SHADES * weight / largest).round().clamp(1.0, SHADES);
    format!("<b class=\"w{shade:.0}\" title=\"{weight:.3}\">{token}</b>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_shaded_where_they_are() {
        let sample = DocumentSample {
            id: "<d>".into(),
            text: "a <b> é".into(),
            is_cut: true,
            spans: vec![(0, 1, 0.0), (2, 3, 0.1), (3, 4, 0.9), (6, 8, 0.45)],
            expansion: vec![("x&y".into(), 0.3)],
            tokens: 4,
        };
        let html = heat_maps(&[sample]);
        for expected in [
            "<summary>&lt;d&gt;: 4 tokens",
            "<p class=\"heat\">a <b class=\"w1\" title=\"0.100\">&lt;</b><b class=\"w9\" title=\"0.900\">b</b>&gt; \
             <b class=\"w5\" title=\"0.450\">é</b> …</p>",
            "<b class=\"w3\" title=\"0.300\">x&amp;y</b>",
        ] {
            assert!(html.contains(expected), "{html}");
        }
        assert_eq!(heat_maps(&[]), "");
    }

    #[test]
    fn odd_spans_lose_no_text() {
        let sample = DocumentSample {
            id: "d".into(),
            text: "中文".into(),
            is_cut: false,
            spans: vec![(0, 3, 1.0), (1, 3, 1.0), (2, 9, 1.0)],
            expansion: Vec::new(),
            tokens: 2,
        };
        let html = heat_map(&sample);
        assert!(html.contains(">中</b>文</p>"), "{html}");
    }
}
