//! What many keys have in common: times, switches, and their ranges.

use std::time::Duration;

use super::key::Range;

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const US: Duration = Duration::from_micros(1);
pub(super) const HOUR_MS: u64 = 60 * 60 * 1000;
pub(super) const DAY_MS: u64 = 24 * HOUR_MS;

/// Whole `unit`s of `time`, rounded up.
pub(super) fn units(time: Duration, unit: Duration) -> u64 {
    let units = time.as_nanos().div_ceil(unit.as_nanos());
    u64::try_from(units).unwrap_or(u64::MAX)
}

/// `number` units; the ranges of the table leave out what would not fit.
pub(super) fn whole(number: u64, unit: Duration) -> Duration {
    Duration::from_nanos(number.saturating_mul(unit.as_nanos() as u64))
}

pub(super) const fn from_to(least: u64, most: u64) -> Range {
    Range {
        least,
        most,
        powers_of_two: false,
    }
}

/// As it stands in a file.
pub(super) fn on_or_off(is_on: bool) -> String {
    if is_on { "on" } else { "off" }.to_owned()
}

/// Reads that.
pub(super) fn is_on(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(String::new()),
    }
}

/// A field that is a `Duration`, in whole units.
macro_rules! time {
    ($($field:ident).+, $name:literal, $unit:ident, $range:expr) => {
        $crate::config::key::Kind::Number {
            unit: $name,
            range: $range,
            get: |settings| Some($crate::config::kinds::units(settings.$($field).+, $unit)),
            set: |settings, number| {
                settings.$($field).+ = $crate::config::kinds::whole(number, $unit);
            },
        }
    };
}

/// A field that is a `Duration` or none, in milliseconds up to an hour: 0 is none.
macro_rules! time_or_none {
    ($($field:ident).+) => {
        $crate::config::key::Kind::Number {
            unit: "milliseconds",
            range: $crate::config::kinds::from_to(0, $crate::config::kinds::HOUR_MS),
            get: |settings| {
                let millis = |time| {
                    $crate::config::kinds::units(time, $crate::config::kinds::MS)
                };
                Some(settings.$($field).+.map_or(0, millis))
            },
            set: |settings, number| {
                let time = $crate::config::kinds::whole(number, $crate::config::kinds::MS);
                settings.$($field).+ = (number > 0).then_some(time);
            },
        }
    };
}

/// A field that is a `bool`.
macro_rules! switch {
    ($($field:ident).+) => {
        $crate::config::key::Kind::Text {
            form: "\"on\" or \"off\"",
            get: |settings| $crate::config::kinds::on_or_off(settings.$($field).+),
            set: |settings, text| {
                settings.$($field).+ = $crate::config::kinds::is_on(text)?;
                Ok(())
            },
        }
    };
}

pub(super) use {switch, time, time_or_none};
