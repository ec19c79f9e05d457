//! Bar charts as inline SVG; colours come from the page.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 48.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 8.0;

/// A bar and what it says when pointed at.
pub struct Bar {
    /// Height, from 0.
    pub value: f64,
    /// In words.
    pub label: String,
}

/// Vertical bars from left to right, all of one width. `axis` marks the first and the last bar.
pub fn bars(bars: &[Bar], axis: [&str; 2]) -> String {
    let highest = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let scale = if highest > 0.0 {
        (HEIGHT - BOTTOM - TOP) / highest
    } else {
        0.0
    };
    let step = (WIDTH - LEFT) / bars.len().max(1) as f64;
    let base = HEIGHT - BOTTOM;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">\n"
    );
    for (index, bar) in bars.iter().enumerate() {
        let (x, height) = (LEFT + index as f64 * step, bar.value * scale);
        let width = (step * 0.9).max(0.5);
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.2}\" y=\"{:.2}\" width=\"{width:.2}\" height=\"{height:.2}\"><title>{}</title></rect>",
            base - height,
            super::escape(&bar.label)
        );
    }
    let _ = writeln!(
        svg,
        "<line x1=\"{LEFT}\" y1=\"{base}\" x2=\"{WIDTH}\" y2=\"{base}\"/>"
    );
    let mut mark = |x: f64, y: f64, anchor: &str, text: &str| {
        let text = super::escape(text);
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>"
        );
    };
    mark(LEFT - 6.0, base, "end", "0");
    mark(LEFT - 6.0, TOP + 10.0, "end", &short(highest));
    mark(LEFT, HEIGHT - 6.0, "start", axis[0]);
    mark(WIDTH, HEIGHT - 6.0, "end", axis[1]);
    svg.push_str("</svg>\n");
    svg
}

/// Counts of `values` in up to `bins` ranges of equal width from 0 to the largest: each range's bounds (the upper one
/// excluded) and its count.
pub fn histogram(values: &[u32], bins: u32) -> Vec<(u32, u32, usize)> {
    let Some(&largest) = values.iter().max() else {
        return Vec::new();
    };
    let width = (largest + 1).div_ceil(bins).max(1);
    let mut counts = vec![0; (largest / width + 1) as usize];
    for value in values {
        counts[(value / width) as usize] += 1;
    }
    (0..)
        .zip(counts)
        .map(|(bin, count)| (bin * width, (bin + 1) * width, count))
        .collect()
}

fn short(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_every_value_once() {
        assert_eq!(
            histogram(&[0, 1, 2, 9, 9], 5),
            [(0, 2, 2), (2, 4, 1), (4, 6, 0), (6, 8, 0), (8, 10, 2)]
        );
        assert_eq!(histogram(&[0, 0], 40), [(0, 1, 2)]);
        assert_eq!(histogram(&[], 40), []);
        let values: Vec<u32> = (0..1000).collect();
        assert_eq!(
            histogram(&values, 40)
                .iter()
                .map(|bin| bin.2)
                .sum::<usize>(),
            1000
        );
    }

    #[test]
    fn charts_of_nothing_and_of_zeros_draw() {
        assert!(bars(&[], ["", ""]).ends_with("</svg>\n"));
        let zero = Bar {
            value: 0.0,
            label: "<q>".into(),
        };
        let svg = bars(&[zero], ["a", "b"]);
        assert!(
            svg.contains("height=\"0.00\"") && svg.contains("&lt;q&gt;") && !svg.contains("NaN")
        );
    }
}
