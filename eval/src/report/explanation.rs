//! One query and one document, drawn.

use std::fmt::Write;

use super::escape;
use super::style::html_page;
use crate::explain::{TokenMatch, total};

const BAR_WIDTH: f32 = 320.0;

/// A page with the two texts, the score, and a bar for what each shared token adds. `token` names the tokens.
pub fn explanation_page<'a>(
    query: &str,
    document: &str,
    matches: &[TokenMatch],
    token: impl Fn(u32) -> &'a str,
) -> String {
    let score = total(matches);
    let largest = matches.first().map_or(1.0, TokenMatch::product);
    let mut body = format!(
        "<h1>Score {score:.4}</h1>\n<h3>Query</h3>\n<p>{}</p>\n<h3>Document</h3>\n<p>{}</p>\n\
         <div class=\"wide\"><table>\n<tr><th>token</th><th>query</th><th>document</th><th>product</th><th></th></tr>\n",
        escape(query),
        escape(document)
    );
    for found in matches {
        let width = BAR_WIDTH * found.product() / largest;
        let _ = writeln!(
            body,
            "<tr><td>{}</td><td>{:.4}</td><td>{:.4}</td><td>{:.4}</td><td class=\"text\">\
             <svg width=\"{BAR_WIDTH}\" height=\"12\"><rect class=\"bar\" width=\"{width:.1}\" height=\"12\"/></svg></td></tr>",
            escape(token(found.token)),
            found.query_weight,
            found.document_weight,
            found.product()
        );
    }
    body.push_str("</table></div>\n");
    html_page("Explanation", &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_and_tokens_named() {
        let found = TokenMatch {
            token: 3,
            query_weight: 2.0,
            document_weight: 0.5,
        };
        let page = explanation_page("<b>q", "d & d", &[found], |_| "##x\"");
        for expected in [
            "&lt;b&gt;q",
            "d &amp; d",
            "##x&quot;",
            "Score 1.0000",
            "width=\"320.0\"",
        ] {
            assert!(page.contains(expected), "{expected}");
        }
        assert!(explanation_page("q", "d", &[], |_| "").contains("Score 0.0000"));
    }
}
