//! The frame of every page.

use super::escape;

/// A complete HTML page that follows the reader's colour scheme.
pub fn html_page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         {body}</main>\n</body>\n</html>\n",
        escape(title)
    )
}

const STYLE: &str = "\
:root { color-scheme: light dark; --paper: #fcfcfa; --ink: #22252a; --faint: #5c626a; --line: #dcded9; --bar: #2f6f8f; \
--gain: #2f7d5b; --loss: #b5533c; --hover: #22252a14; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #17191c; --ink: #e4e6e8; --faint: #a2a9b1; --line: #343840; --bar: #6fb3d2; \
--gain: #63b38d; --loss: #e08a72; --hover: #e4e6e81f; }
}
body { background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 76rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin-top: 2.5rem; } h3 { font-size: 1rem; }
p { max-width: 46rem; } p, figcaption { color: var(--faint); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .45rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { color: var(--faint); font-weight: 600; }
td.text, th.text { text-align: left; white-space: normal; min-width: 16rem; }
td.best { font-weight: 600; } td.up { color: var(--gain); } td.down { color: var(--loss); }
figure { margin: 1rem 0; }
.curves { display: flex; flex-wrap: wrap; gap: .5rem 1rem; }
svg { max-width: 100%; height: auto; } svg rect { shape-rendering: crispEdges; }
svg text { fill: var(--faint); font: 12px system-ui, sans-serif; }
svg .label { fill: var(--ink); paint-order: stroke; stroke: var(--paper); stroke-width: 3px; }
.grid { stroke: var(--line); } .axis { stroke: var(--faint); }
.bar, .own, .mark { fill: var(--bar); } .gain { fill: var(--gain); } .loss { fill: var(--loss); }
.space { fill: transparent; } .column:hover .space { fill: var(--hover); }
.published { fill: var(--paper); stroke: var(--faint); stroke-width: 1.5; } .baseline { fill: var(--loss); }
.curve { fill: none; stroke: var(--bar); stroke-width: 1.5; }
.frontier { fill: none; stroke: var(--faint); stroke-width: 1; stroke-dasharray: 4 3; }
summary { cursor: pointer; margin: .4rem 0; }
.heat { color: var(--ink); line-height: 1.8; overflow-wrap: anywhere; } .heat b { font-weight: inherit; border-radius: .2em; }
.added b { padding: .1em .3em; }
.w1 { background: color-mix(in srgb, var(--bar) 8%, transparent); } .w2 { background: color-mix(in srgb, var(--bar) 14%, transparent); }
.w3 { background: color-mix(in srgb, var(--bar) 20%, transparent); } .w4 { background: color-mix(in srgb, var(--bar) 26%, transparent); }
.w5 { background: color-mix(in srgb, var(--bar) 32%, transparent); } .w6 { background: color-mix(in srgb, var(--bar) 38%, transparent); }
.w7 { background: color-mix(in srgb, var(--bar) 44%, transparent); } .w8 { background: color-mix(in srgb, var(--bar) 50%, transparent); }
.w9 { background: color-mix(in srgb, var(--bar) 56%, transparent); }
";
