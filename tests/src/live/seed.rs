//! Random choices that can be repeated.

use fastrand::Rng;

/// The variable that gives a test the seed of an earlier run.
const VARIABLE: &str = "RINGMESH_TEST_SEED";

/// A generator whose seed is printed, and seen when the test fails.
///
/// # Panics
/// If the variable `RINGMESH_TEST_SEED` is set and no number.
pub fn generator() -> Rng {
    let seed = match std::env::var(VARIABLE) {
        Ok(text) => text.parse().expect("a seed is a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("to repeat: {VARIABLE}={seed}");
    Rng::with_seed(seed)
}
