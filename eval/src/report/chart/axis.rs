//! From values to pixels, and the round numbers on the way.

/// A range of values along a range of pixels.
#[derive(Debug, Clone)]
pub struct Axis {
    range: [f64; 2],
    pixels: [f64; 2],
    is_logarithmic: bool,
    /// Round values within the range, ascending.
    pub ticks: Vec<f64>,
}

impl Axis {
    /// Equal distances for equal differences. The range grows to round values around all of `values`; about `ticks`
    /// of them are marked.
    pub fn linear(values: impl IntoIterator<Item = f64>, pixels: [f64; 2], ticks: u32) -> Self {
        let [low, high] = range_of(values).unwrap_or([0.0, 1.0]);
        let margin = match (high > low, low) {
            (true, _) => 0.0,
            (false, 0.0) => 0.5,
            (false, low) => low.abs() / 2.0,
        };
        let step = round_step((high - low + 2.0 * margin) / f64::from(ticks.max(1)));
        let first = ((low - margin) / step + 1e-9).floor();
        let last = ((high + margin) / step - 1e-9).ceil();
        let count = (last - first) as u32;
        Self {
            range: [first * step, last * step],
            pixels,
            is_logarithmic: false,
            ticks: (0..=count)
                .map(|tick| (first + f64::from(tick)) * step)
                .collect(),
        }
    }

    /// Equal distances for equal ratios; `values` are above 0, and get some room around them.
    pub fn logarithmic(values: impl IntoIterator<Item = f64>, pixels: [f64; 2]) -> Self {
        const ROOM: f64 = 1.25;
        let [low, high] = range_of(values).unwrap_or([1.0, 10.0]);
        let range = [low / ROOM, high * ROOM];
        let coarse = decimal_ticks(&[1.0, 2.0, 5.0], range);
        let ticks = match coarse.len() {
            0..3 => decimal_ticks(&[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0], range),
            _ => coarse,
        };
        Self {
            range,
            pixels,
            is_logarithmic: true,
            ticks,
        }
    }

    /// Where a value is, in pixels.
    pub fn place(&self, value: f64) -> f64 {
        let [from, to] = self.range;
        let share = match self.is_logarithmic {
            true => (value / from).ln() / (to / from).ln(),
            false => (value - from) / (to - from),
        };
        let [start, end] = self.pixels;
        start + share * (end - start)
    }
}

fn range_of(values: impl IntoIterator<Item = f64>) -> Option<[f64; 2]> {
    let finite = values.into_iter().filter(|value| value.is_finite());
    finite.fold(None, |range, value| {
        let [low, high] = range.unwrap_or([value; 2]);
        Some([value.min(low), value.max(high)])
    })
}

/// The smallest of 1, 2, 2.5 and 5 times a power of ten that is not below `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let round = [1.0, 2.0, 2.5, 5.0, 10.0];
    let fits = round
        .into_iter()
        .find(|factor| factor * power >= step * (1.0 - 1e-9));
    fits.unwrap_or(10.0) * power
}

fn decimal_ticks(digits: &[f64], [from, to]: [f64; 2]) -> Vec<f64> {
    let powers = from.log10().floor() as i32..=to.log10().ceil() as i32;
    let all = powers.flat_map(|power| digits.iter().map(move |digit| digit * 10f64.powi(power)));
    all.filter(|tick| (from..=to).contains(tick)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_ticks_are_round_and_surround_the_values() {
        for (values, expected) in [
            (vec![0.0, 0.93], vec![0.0, 0.25, 0.5, 0.75, 1.0]),
            (vec![0.612, 0.655], vec![0.6, 0.62, 0.64, 0.66]),
            (vec![-0.4, 0.7], vec![-0.5, 0.0, 0.5, 1.0]),
            (vec![0.0, 41.0], vec![0.0, 20.0, 40.0, 60.0]),
        ] {
            let axis = Axis::linear(values.clone(), [0.0, 100.0], 4);
            let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-9;
            assert!(
                axis.ticks.len() == expected.len() && axis.ticks.iter().zip(&expected).all(near),
                "{values:?}: {:?}",
                axis.ticks
            );
            assert_eq!(axis.place(expected[0]), 0.0);
            assert!((axis.place(*expected.last().expect("some")) - 100.0).abs() < 1e-9);
        }
    }

    #[test]
    fn equal_and_missing_values_have_a_place() {
        for values in [vec![], vec![0.0], vec![3.0, 3.0], vec![f64::NAN, 1.0]] {
            for axis in [
                Axis::linear(values.clone(), [200.0, 10.0], 5),
                Axis::logarithmic(values.iter().map(|value| value + 1.0), [200.0, 10.0]),
            ] {
                let at = axis.place(values.last().copied().unwrap_or(1.0).max(1.0));
                assert!(
                    at.is_finite() && axis.ticks.len() < 30,
                    "{values:?}: {axis:?}"
                );
            }
        }
    }

    #[test]
    fn logarithmic_ticks() {
        let axis = Axis::logarithmic([0.5, 11.4], [0.0, 1.0]);
        assert_eq!(axis.ticks, [0.5, 1.0, 2.0, 5.0, 10.0]);
        assert_eq!(Axis::logarithmic([1.7, 2.3], [0.0, 1.0]).ticks, [1.5, 2.0]);
        assert!((axis.place(0.5 / 1.25)).abs() < 1e-12);
    }
}
