//! Elementary functions without branches, so that loops over them vectorise. Within a few units in the last place of
//! the exact values.

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

/// `exp(x)`, for x up to 88; 0 below -87.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // x = n ln 2 + r, with n rounded by adding a number whose last bit is worth 1.
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    // Cephes' polynomial for exp(r), |r| < 0.35.
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = p * (r * r) + r + 1.0;
    // The last bits of `shifted` are n: shifted into the exponent they make 2^n.
    p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3F80_0000))
}

/// `erf(x)`, as a rational function on [-3.92, 3.92], beyond which it is 1 or -1 in float32.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let s = x * x;
    let p = -2.726_142_3e-10;
    let p = p * s + 2.770_681_4e-8;
    let p = p * s - 2.101_024e-6;
    let p = p * s - 5.692_506_4e-5;
    let p = p * s - 7.349_906_3e-4;
    let p = p * s - 2.954_6e-3;
    let p = p * s - 1.609_603_3e-2;
    let q = -1.456_607_2e-5;
    let q = q * s - 2.133_740_6e-4;
    let q = q * s - 1.682_827e-3;
    let q = q * s - 7.373_329e-3;
    let q = q * s - 1.426_473_9e-2;
    let inside = x * p / q;
    if s < 15.3664 {
        inside
    } else {
        1.0f32.copysign(x)
    }
}

/// `x Φ(x)`, Φ being the normal distribution function: the gelu of BERT, exact.
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2))
}

/// `x / 2 (1 + tanh(√(2/π) (x + 0.044715 x³)))`: the gelu of T5 v1.1, nearly [`gelu`].
#[inline(always)]
pub fn gelu_tanh(x: f32) -> f32 {
    const DOUBLE_SQRT_2_PI: f32 = 1.595_769_2;
    // (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u))
    let negative = -DOUBLE_SQRT_2_PI * x * (1.0 + 0.044_715 * x * x);
    let bounded = if negative > 87.0 { 87.0 } else { negative };
    x / (1.0 + exp(bounded))
}

/// The derivative of [`gelu`]: `Φ(x) + x φ(x)`.
#[inline(always)]
pub fn gelu_slope(x: f32) -> f32 {
    const INV_SQRT_2_PI: f32 = 0.398_942_3;
    let density = exp(-0.5 * x * x) * INV_SQRT_2_PI;
    0.5 * (1.0 + erf(x * FRAC_1_SQRT_2)) + x * density
}

#[cfg(test)]
mod tests {
    use super::*;

    /// erf by its Taylor series, in float64.
    fn exact_erf(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }

    fn points(low: f64, high: f64) -> impl Iterator<Item = f32> {
        (0..=4000).map(move |i| (low + (high - low) * f64::from(i) / 4000.0) as f32)
    }

    #[test]
    fn exp_is_exact_to_a_few_units() {
        for x in points(-86.0, 88.0) {
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) / exact - 1.0).abs();
            assert!(error < 3e-7, "exp({x}): relative error {error}");
        }
        assert!(exp(-1e9) < 2e-38 && exp(f32::MIN) < 2e-38 && exp(0.0) == 1.0);
    }

    #[test]
    fn erf_gelu_and_its_slope_are_exact_to_a_few_units() {
        for x in points(-4.5, 4.5) {
            let wide = f64::from(x);
            let error = (f64::from(erf(x)) - exact_erf(wide)).abs();
            assert!(error < 4e-7, "erf({x}): error {error}");
            let phi = 0.5 * (1.0 + exact_erf(wide / std::f64::consts::SQRT_2));
            let error = (f64::from(gelu(x)) - wide * phi).abs();
            assert!(error < 1e-6, "gelu({x}): error {error}");
            let density = (-0.5 * wide * wide).exp() / std::f64::consts::TAU.sqrt();
            let error = (f64::from(gelu_slope(x)) - (phi + wide * density)).abs();
            assert!(error < 1e-6, "gelu'({x}): error {error}");
        }
        assert_eq!((gelu(-20.0), gelu(20.0)), (0.0, 20.0));
    }

    #[test]
    fn the_tanh_formula_is_exact_to_a_few_units() {
        for x in points(-9.0, 9.0) {
            let wide = f64::from(x);
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044_715 * wide.powi(3));
            let error = (f64::from(gelu_tanh(x)) - 0.5 * wide * (1.0 + inner.tanh())).abs();
            assert!(error < 1e-6, "gelu_tanh({x}): error {error}");
        }
        assert!(gelu_tanh(-1e4).abs() < 1e-30 && gelu_tanh(1e4) == 1e4);
    }
}
