//! Bar charts.

use std::collections::BTreeMap;

use super::{Axis, Picture, escape};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 4.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;

/// A bar and what it says when pointed at.
pub struct Bar {
    /// Height; below 0 it hangs from the line of 0.
    pub value: f64,
    /// In words.
    pub label: String,
}

/// Vertical bars from left to right, all of one width. `ends` marks the first and the last bar.
pub fn bars(title: &str, bars: &[Bar], ends: [&str; 2]) -> String {
    let values = bars.iter().map(|bar| bar.value).chain([0.0]);
    let axis = Axis::linear(values, [HEIGHT - BOTTOM, TOP], 4);
    let has_losses = bars.iter().any(|bar| bar.value < 0.0);
    let (step, right) = (
        (WIDTH - LEFT - RIGHT) / bars.len().max(1) as f64,
        WIDTH - RIGHT,
    );
    // Gaps between thin bars would only flicker.
    let width = match step {
        step if step < 4.0 => step,
        step => step * 0.9,
    };
    let base = axis.place(0.0);
    let mut picture = Picture::new(WIDTH, HEIGHT, title);
    picture.horizontal_grid(&axis, LEFT, right);
    for (index, bar) in bars.iter().enumerate() {
        let x = LEFT + index as f64 * step;
        let end = axis.place(bar.value);
        let class = match (has_losses, bar.value < 0.0) {
            (false, _) => "bar",
            (true, false) => "gain",
            (true, true) => "loss",
        };
        // The column above and below a bar answers to the pointer too.
        picture.add(&format!(
            "<g class=\"column\"><title>{}</title><rect class=\"space\" x=\"{x:.2}\" y=\"{TOP}\" width=\"{step:.2}\" \
             height=\"{:.1}\"/><rect class=\"{class}\" x=\"{x:.2}\" y=\"{:.2}\" width=\"{width:.2}\" \
             height=\"{:.2}\"/></g>",
            escape(&bar.label),
            HEIGHT - BOTTOM - TOP,
            base.min(end),
            (base - end).abs()
        ));
    }
    picture.line([LEFT, base], [right, base], "axis");
    picture.text([LEFT, HEIGHT - 8.0], "start", ends[0]);
    picture.text([right, HEIGHT - 8.0], "end", ends[1]);
    picture.finish()
}

/// Sums of `counts` in up to `bins` ranges of equal width from 0 to the largest key: each range's bounds (the upper one
/// excluded) and its sum.
pub fn histogram(counts: &BTreeMap<u32, u64>, bins: u32) -> Vec<(u32, u32, u64)> {
    let Some((&largest, _)) = counts.last_key_value() else {
        return Vec::new();
    };
    let width = (largest + 1).div_ceil(bins).max(1);
    let mut sums = vec![0; (largest / width + 1) as usize];
    for (key, count) in counts {
        sums[(key / width) as usize] += count;
    }
    (0..)
        .zip(sums)
        .map(|(bin, sum)| (bin * width, (bin + 1) * width, sum))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(value: f64, label: &str) -> Bar {
        Bar {
            value,
            label: label.into(),
        }
    }

    #[test]
    fn a_histogram_counts_everything_once() {
        let counts = |keys: &[u32]| {
            let mut counts = BTreeMap::new();
            for &key in keys {
                *counts.entry(key).or_default() += 1;
            }
            counts
        };
        assert_eq!(
            histogram(&counts(&[0, 1, 2, 9, 9]), 5),
            [(0, 2, 2), (2, 4, 1), (4, 6, 0), (6, 8, 0), (8, 10, 2)]
        );
        assert_eq!(histogram(&counts(&[0, 0]), 40), [(0, 1, 2)]);
        assert_eq!(histogram(&counts(&[]), 40), []);
        let values: Vec<u32> = (0..1000).collect();
        let bins = histogram(&counts(&values), 40);
        assert_eq!(bins.iter().map(|bin| bin.2).sum::<u64>(), 1000);
    }

    #[test]
    fn nothing_and_zeros_draw() {
        assert!(bars("t", &[], ["", ""]).ends_with("</svg>\n"));
        let svg = bars("t", &[bar(0.0, "<q>")], ["a", "b"]);
        assert!(
            svg.contains("height=\"0.00\"") && svg.contains("&lt;q&gt;") && !svg.contains("NaN")
        );
    }

    #[test]
    fn losses_hang_below_the_line() {
        let svg = bars("t", &[bar(0.5, "up"), bar(-0.5, "down")], ["", ""]);
        let y = |class: &str| {
            let (_, rest) = svg
                .split_once(&format!("<rect class=\"{class}\""))
                .expect(class);
            let (_, rest) = rest.split_once("y=\"").expect("a place");
            rest.split('"').next().and_then(|y| y.parse::<f64>().ok())
        };
        assert!(y("gain").expect("a number") < y("loss").expect("a number"));
    }
}
