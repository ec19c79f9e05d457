//! A curve in a small picture, one of several side by side.

use super::{Axis, Picture, escape, number};

const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 24.0;
/// Longer curves are drawn as means of neighbouring points.
const POINTS: usize = 250;
/// Up to so many points are marked.
const MARKED: usize = 40;

/// `points` are pairs of a step and a value, by step.
pub fn lines(title: &str, points: &[(f64, f64)]) -> String {
    let drawn = means(points);
    let x = Axis::linear(points.iter().map(|point| point.0), [LEFT, WIDTH - RIGHT], 4);
    let y = Axis::linear(drawn.iter().map(|point| point.1), [HEIGHT - BOTTOM, TOP], 4);
    let mut picture = Picture::new(WIDTH, HEIGHT, title);
    picture.horizontal_grid(&y, LEFT, WIDTH - RIGHT);
    for &tick in &x.ticks {
        let at = x.place(tick);
        let anchor = match at {
            at if at > WIDTH - RIGHT - 12.0 => "end",
            at if at < LEFT + 12.0 => "start",
            _ => "middle",
        };
        picture.text([at, HEIGHT - 8.0], anchor, &number(tick));
    }
    let placed: Vec<[f64; 2]> = drawn
        .iter()
        .map(|&(step, value)| [x.place(step), y.place(value)])
        .collect();
    picture.polyline(&placed, "curve");
    if placed.len() <= MARKED {
        for ([x, y], (step, value)) in placed.iter().zip(&drawn) {
            let label = escape(&format!("{} at {}", number(*value), number(*step)));
            picture.add(&format!(
                "<circle class=\"mark\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{label}</title></circle>"
            ));
        }
    }
    let last = drawn.last().map_or(String::new(), |point| number(point.1));
    picture.text([LEFT, TOP - 12.0], "start", title);
    picture.text([WIDTH - RIGHT, TOP - 12.0], "end", &last);
    picture.finish()
}

fn means(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(POINTS).max(1);
    let mean = |chunk: &[(f64, f64)]| {
        let count = chunk.len() as f64;
        let sum = |value: fn(&(f64, f64)) -> f64| chunk.iter().map(value).sum::<f64>();
        (sum(|point| point.0) / count, sum(|point| point.1) / count)
    };
    points.chunks(size).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_curves_are_means() {
        let points: Vec<(f64, f64)> = (0..1001)
            .map(|step| (f64::from(step), f64::from(step % 5)))
            .collect();
        let drawn = means(&points);
        assert_eq!((drawn.len(), drawn[0]), (201, (2.0, 2.0)));
        assert_eq!(means(&points[..3]), points[..3]);
    }

    #[test]
    fn curves_of_nothing_of_one_point_and_of_equal_points_draw() {
        for points in [vec![], vec![(1.0, 2.0)], vec![(1.0, 0.0), (2.0, 0.0)]] {
            let svg = lines("loss", &points);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert_eq!(svg.matches("<circle").count(), points.len());
        }
    }
}
