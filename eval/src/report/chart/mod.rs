//! Charts as inline SVG: they scale with the page, and their colours come from it.

mod axis;
mod bars;
mod lines;
mod scatter;

use std::fmt::Write;

use super::escape;

pub use axis::Axis;
pub use bars::{Bar, bars, histogram};
pub use lines::lines;
pub use scatter::{Kind, Point, scatter};

/// A picture under construction; coordinates are pixels at its natural size.
struct Picture {
    svg: String,
}

impl Picture {
    fn new(width: f64, height: f64, label: &str) -> Self {
        let svg = format!(
            "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"{}\">\n",
            escape(label)
        );
        Self { svg }
    }

    /// Adds an element as it is.
    fn add(&mut self, element: &str) {
        self.svg.push_str(element);
        self.svg.push('\n');
    }

    fn line(&mut self, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], class: &str) {
        let _ = writeln!(
            self.svg,
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
    }

    /// `anchor` is start, middle or end.
    fn text(&mut self, [x, y]: [f64; 2], anchor: &str, text: &str) {
        let text = escape(text);
        let _ = writeln!(
            self.svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        );
    }

    /// A text that may lie on lines.
    fn label(&mut self, [x, y]: [f64; 2], anchor: &str, text: &str) {
        let text = escape(text);
        let _ = writeln!(
            self.svg,
            "<text class=\"label\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        );
    }

    fn polyline(&mut self, points: &[[f64; 2]], class: &str) {
        let points: Vec<String> = points
            .iter()
            .map(|[x, y]| format!("{x:.1},{y:.1}"))
            .collect();
        let _ = writeln!(
            self.svg,
            "<polyline class=\"{class}\" points=\"{}\"/>",
            points.join(" ")
        );
    }

    /// Horizontal lines across the plot, with the values left of it.
    fn horizontal_grid(&mut self, axis: &Axis, left: f64, right: f64) {
        for &tick in &axis.ticks {
            let y = axis.place(tick);
            self.line([left, y], [right, y], "grid");
            self.text([left - 6.0, y + 4.0], "end", &number(tick));
        }
    }

    fn finish(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }
}

/// A number in few characters: up to 4 significant digits, very large and very small ones as powers of ten.
fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || size < 1e-12 {
        return "0".to_owned();
    }
    if !(1e-3..1e6).contains(&size) {
        let text = format!("{value:.2e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{exponent}", without_zeros(digits));
    }
    let decimals = 3 - (size.log10().floor() as i32).clamp(-3, 3);
    without_zeros(&format!("{value:.*}", decimals as usize)).to_owned()
}

fn without_zeros(digits: &str) -> &str {
    match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (0.1 + 0.2, "0.3"),
            (0.005, "0.005"),
            (-0.25, "-0.25"),
            (1234.0, "1234"),
            (12.5, "12.5"),
            (250_000.0, "250000"),
            (2e-5, "2e-5"),
            (1.5e7, "1.5e7"),
            (-1e-17, "0"),
        ] {
            assert_eq!(number(value), expected, "{value}");
        }
    }
}
