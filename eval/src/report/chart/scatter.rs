//! Quality against cost, with the frontier of what no other point beats in both.

use super::{Axis, Picture, escape, number};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 44.0;
/// Mean width of a character at 12 pixels, and the height of a line.
const CHARACTER: f64 = 6.5;
const LINE: f64 = 14.0;
/// Distance of a label from its point.
const GAP: f64 = 9.0;

/// How a point is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Own,
    /// The baseline.
    Baseline,
    /// Somebody's, for reference.
    Published,
}

/// A system.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Cost, above 0: less is better.
    pub x: f64,
    /// Quality: more is better.
    pub y: f64,
    /// Its name.
    pub label: String,
    /// How it is drawn.
    pub kind: Kind,
}

/// Points over a logarithmic axis of cost.
pub fn scatter(title: &str, points: &[Point], [x_name, y_name]: [&str; 2]) -> String {
    let x = Axis::logarithmic(points.iter().map(|point| point.x), [LEFT, WIDTH - RIGHT]);
    let y = Axis::linear(
        points.iter().map(|point| point.y),
        [HEIGHT - BOTTOM, TOP],
        5,
    );
    let mut picture = Picture::new(WIDTH, HEIGHT, title);
    picture.horizontal_grid(&y, LEFT, WIDTH - RIGHT);
    for &tick in &x.ticks {
        let at = x.place(tick);
        picture.line([at, HEIGHT - BOTTOM], [at, HEIGHT - BOTTOM + 4.0], "axis");
        picture.text([at, HEIGHT - BOTTOM + 18.0], "middle", &number(tick));
    }
    picture.line(
        [LEFT, HEIGHT - BOTTOM],
        [WIDTH - RIGHT, HEIGHT - BOTTOM],
        "axis",
    );
    picture.text(
        [(LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 6.0],
        "middle",
        x_name,
    );
    picture.label([LEFT + 6.0, TOP + 4.0], "start", y_name);
    let places: Vec<[f64; 2]> = points
        .iter()
        .map(|point| [x.place(point.x), y.place(point.y)])
        .collect();
    let frontier = frontier(points);
    let on_frontier: Vec<[f64; 2]> = frontier.iter().map(|&index| places[index]).collect();
    picture.polyline(&on_frontier, "frontier");
    for (point, place) in points.iter().zip(&places) {
        picture.add(&mark(point, place));
    }
    let y_label = Rectangle {
        left: LEFT,
        top: TOP - LINE,
        width: 8.0 + CHARACTER * y_name.chars().count() as f64,
        height: 2.0 * LINE,
    };
    for (point, (at, anchor)) in points.iter().zip(labels(points, &places, y_label)) {
        picture.label(at, anchor, &point.label);
    }
    picture.finish()
}

fn mark(point: &Point, [x, y]: &[f64; 2]) -> String {
    let Point {
        x: cost,
        y: quality,
        label,
        kind,
    } = point;
    let title = escape(&format!("{label}: {quality:.4} at {cost:.2}"));
    let shape = match kind {
        Kind::Own => format!("<circle class=\"own\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6\">"),
        Kind::Published => {
            format!("<circle class=\"published\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\">")
        }
        Kind::Baseline => format!(
            "<rect class=\"baseline\" x=\"{:.1}\" y=\"{:.1}\" width=\"10\" height=\"10\">",
            x - 5.0,
            y - 5.0
        ),
    };
    let end = match kind {
        Kind::Baseline => "</rect>",
        _ => "</circle>",
    };
    format!("{shape}<title>{title}</title>{end}")
}

/// The points that no other one beats: none costs less and is as good, or costs as much and is better. By cost.
fn frontier(points: &[Point]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|&a, &b| {
        let by_cost = points[a].x.total_cmp(&points[b].x);
        by_cost.then_with(|| points[b].y.total_cmp(&points[a].y))
    });
    let mut best = f64::NEG_INFINITY;
    order.retain(|&index| {
        let is_better = points[index].y > best;
        best = best.max(points[index].y);
        is_better
    });
    order
}

#[derive(Debug, Clone, Copy)]
struct Rectangle {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Rectangle {
    fn overlap(&self, other: &Self) -> f64 {
        let along = |a: f64, a_size: f64, b: f64, b_size: f64| {
            ((a + a_size).min(b + b_size) - a.max(b)).max(0.0)
        };
        along(self.left, self.width, other.left, other.width)
            * along(self.top, self.height, other.top, other.height)
    }

    fn outside(&self) -> f64 {
        let plot = Self {
            left: LEFT,
            top: 0.0,
            width: WIDTH - LEFT,
            height: HEIGHT - BOTTOM,
        };
        self.width * self.height - self.overlap(&plot)
    }
}

/// Where each label goes: beside, above or below its point, where it covers least of points and other labels.
fn labels(
    points: &[Point],
    places: &[[f64; 2]],
    taken: Rectangle,
) -> Vec<([f64; 2], &'static str)> {
    let around = |&[x, y]: &[f64; 2]| Rectangle {
        left: x - 7.0,
        top: y - 7.0,
        width: 14.0,
        height: 14.0,
    };
    let mut taken: Vec<Rectangle> = places.iter().map(around).chain([taken]).collect();
    let mut labels = Vec::new();
    for (point, &[x, y]) in points.iter().zip(places) {
        let width = CHARACTER * point.label.chars().count() as f64;
        let (right, left, up, down) = (x + GAP, x - GAP, y - GAP, y + GAP + 9.0);
        let choices = [
            ([right, y + 4.0], "start"),
            ([left, y + 4.0], "end"),
            ([x, up], "middle"),
            ([x, down], "middle"),
            ([right, up], "start"),
            ([right, down], "start"),
            ([left, up], "end"),
            ([left, down], "end"),
            ([x, up - LINE], "middle"),
            ([x, down + LINE], "middle"),
        ];
        let rectangle = |([x, y], anchor): ([f64; 2], &str)| Rectangle {
            left: match anchor {
                "start" => x,
                "end" => x - width,
                _ => x - width / 2.0,
            },
            top: y - 11.0,
            width,
            height: LINE,
        };
        let covered = |choice: &([f64; 2], &str)| {
            let own = rectangle(*choice);
            let others: f64 = taken.iter().map(|other| own.overlap(other)).sum();
            others + 10.0 * own.outside()
        };
        let best = choices
            .into_iter()
            .min_by(|a, b| covered(a).total_cmp(&covered(b)))
            .unwrap_or(choices[0]);
        taken.push(rectangle(best));
        labels.push(best);
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(x: f64, y: f64) -> Point {
        Point {
            x,
            y,
            label: format!("system {x} {y}"),
            kind: Kind::Own,
        }
    }

    #[test]
    fn the_frontier_has_what_nothing_beats() {
        let points = [
            point(2.0, 0.5),
            point(1.0, 0.4),
            point(2.0, 0.6),
            point(3.0, 0.6),
            point(1.5, 0.3),
            point(9.0, 0.7),
        ];
        assert_eq!(frontier(&points), [1, 2, 5]);
        assert_eq!(frontier(&[]), [] as [usize; 0]);
    }

    #[test]
    fn labels_of_a_cluster_do_not_cover_each_other() {
        let points = [
            point(1.8, 0.504),
            point(1.7, 0.497),
            point(1.8, 0.517),
            point(2.3, 0.49),
        ];
        let svg = scatter("t", &points, ["FLOPS", "nDCG@10"]);
        assert_eq!(svg.matches("<circle").count(), 4);
        let places = [
            [300.0, 100.0],
            [290.0, 110.0],
            [300.0, 90.0],
            [330.0, 120.0],
        ];
        let nowhere = Rectangle {
            left: 0.0,
            top: 0.0,
            width: 0.0,
            height: 0.0,
        };
        let found = labels(&points, &places, nowhere);
        let boxes: Vec<Rectangle> = found
            .iter()
            .zip(&points)
            .map(|(&([x, y], anchor), point)| {
                let width = CHARACTER * point.label.chars().count() as f64;
                let left = match anchor {
                    "start" => x,
                    "end" => x - width,
                    _ => x - width / 2.0,
                };
                Rectangle {
                    left,
                    top: y - 11.0,
                    width,
                    height: LINE,
                }
            })
            .collect();
        for (index, one) in boxes.iter().enumerate() {
            for other in &boxes[..index] {
                assert!(one.overlap(other) == 0.0, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn one_point_and_none_draw() {
        for points in [vec![], vec![point(1.0, 0.5)]] {
            let svg = scatter("t", &points, ["x", "y"]);
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN"), "{svg}");
        }
    }
}
